"""Values within a body or an event context, by their paths, and contexts that differ in one respect."""

import re
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]
Path = tuple[str | int, ...]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_YEAR = re.compile(r"\d{4}")


def inside(value: object, *path: str) -> Json:
    """Return the object at a path of names; empty if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def paths(value: object, wanted: Callable[[Any], bool], path: Path = ()) -> Iterator[Path]:
    """Yield the paths of the plain values that are wanted."""
    children: Iterator[tuple[str | int, Any]]
    match value:
        case dict():
            children = iter(value.items())
        case list():
            children = iter(enumerate(value))
        case _:
            if wanted(value):
                yield path
            return
    for name, item in children:
        yield from paths(item, wanted, (*path, name))


def at(value: Any, path: Path) -> Any:
    """Return the value at a path, None if there is none."""
    for name in path:
        try:
            value = value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def turned_round(value: Any, path: Path) -> Any:
    """Return the value with the boolean at the path turned round."""
    if not path:
        return not value
    first, rest = path[0], path[1:]
    if isinstance(value, list):
        return [turned_round(item, rest) if place == first else item for place, item in enumerate(value)]
    return {**value, first: turned_round(value[first], rest)}


def all_different(value: Any) -> Any:
    """Return the value with each number, text and date replaced by another one of its kind; booleans stay."""
    match value:
        case dict():
            return {name: all_different(item) for name, item in value.items()}
        case list():
            return [all_different(item) for item in value]
        case str():
            is_date = _DATE.fullmatch(value)  # a leap year stays one
            return _YEAR.sub(lambda year: str(int(year[0]) - 4), value, count=1) if is_date else f"{value}x"
        case int() | float() if not isinstance(value, bool):
            return value + 1
        case _:
            return value


def below_properties(path: Path) -> Path:
    """Return the part of a path below the properties of an event; the whole path if it leads elsewhere."""
    return path[path.index("properties") + 1 :] if "properties" in path[:-1] else path


def name_of(path: Path) -> str:
    """Return a path as one name, with dots."""
    return ".".join(map(str, path))
