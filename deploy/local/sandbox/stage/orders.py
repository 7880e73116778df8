"""An order from outside, compared with its method's arguments: a field of another name or type is refused by its name, without any effect."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
Json = dict[str, Any]


def carry_out(method: Callable[..., T], fields: Json) -> T:
    """Call a method with the fields of an order as its arguments; raise as `checked` does."""
    return checked(method, fields)()


def checked(method: Callable[..., T], fields: Json, *, at: str = "") -> Callable[[], T]:
    """Return the call of a method with the fields of an order as its arguments. `at` says where in the order they stand.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it.
    """
    takes = _Takes(method)
    for name, value in fields.items():
        if name not in takes.named and takes.others is None:
            raise ValueError(f"{_path(at, name)} is not known here; known are {', '.join(takes.named)}")
        check(takes.named.get(name, takes.others), value, _path(at, name))
    for name in takes.needed:
        if name not in fields:
            raise ValueError(f"{_path(at, name)} is needed")
    return partial(method, **fields)


def check(hint: Any, value: object, path: str) -> None:
    """Raise ValueError, which names the path, unless a value of JSON is of the type."""
    try:
        _adapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        inner = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise ValueError(f"{path}{inner}: {first['msg']}") from None


def all_checked(method: Callable[..., T], fields: Mapping[str, Any], name: str) -> list[Callable[[], T]]:
    """Return the calls of a method with each of the rows that an order gives under a name; raise as `checked` does."""
    given = fields.get(name, [])
    check(list[Json], given, name)
    return [checked(method, row, at=f"{name}[{number}]") for number, row in enumerate(given)]


def set_on(owner: object, name: str, value: object) -> None:
    """Set a switch of an object to a value of its type, or raise ValueError, which names it."""
    check(_hint_of(owner, name), value, name)
    setattr(owner, name, value)


def known(fields: Mapping[str, Any], *names: str) -> None:
    """Raise ValueError if an order has an unknown field: without the error, a part of the order would silently be left out."""
    if others := sorted(fields.keys() - {*names}):
        raise ValueError(f"{', '.join(others)} is not known here; known are {', '.join(names)}")


def _hint_of(owner: object, name: str) -> Any:
    read = getattr(type(owner), name, None)
    if isinstance(read, property):
        return get_type_hints(read.fget)["return"]
    return get_type_hints(type(owner)).get(name, _like(getattr(owner, name)))


def _like(value: object) -> Any:
    """Return the type of the values that may replace a value."""
    if isinstance(value, tuple | list | frozenset):
        return Sequence[str]
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return float | None if value is None else type(value)
    return type(value)


class _Takes:
    """The arguments of a method: the types of its arguments by name, that of any other, and which are needed."""

    def __init__(self, method: Callable[..., Any]) -> None:
        hints = get_type_hints(method)
        parameters = inspect.signature(method).parameters.values()
        kinds = {parameter.kind for parameter in parameters}
        by_name = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        self.named = {one.name: hints.get(one.name, Any) for one in by_name}
        self.needed = [one.name for one in by_name if one.default is one.empty]
        others = [hints.get(one.name, Any) for one in parameters if one.kind is one.VAR_KEYWORD]
        self.others = others[0] if others and inspect.Parameter.VAR_KEYWORD in kinds else None


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _path(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
