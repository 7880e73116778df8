"""The form of JSON: names and types without values, and where two forms differ. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Objects into which a customer or a merchant puts names of their own. The service does not decide their form.
_FREE = frozenset(
    {
        "properties",
        "event_properties",
        "customer_properties",
        "custom_fields",
        "custom_attributes",
        "record",
        "append",
        "unappend",
        "metadata",
        "appearance",
        "patch_identifiers",
    }
)
_DEEPEST = 20  # no answer of use is deeper, and the stack holds no end of it


def is_free(name: str, holder: Mapping[str, Any]) -> bool:
    """Return whether the names below a field are a customer's or a merchant's own, and no words of the service.

    Omneo keeps `meta` of rewards and interactions, which name their profile, as it was given; elsewhere `meta` is the service's.
    """
    return name in _FREE or (name == "meta" and "profile_id" in holder)


@dataclass(frozen=True)
class Shape:
    """The form of a value, or of several values in one place.

    `kinds` are JSON's own names of types, "free" for an object whose names mean nothing to the service. `fields` are an
    object's fields, and `optional` those that not every object has. `item` is the shape of a list's items, None if
    every list was empty.
    """

    kinds: frozenset[str]
    fields: Mapping[str, "Shape"] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    item: "Shape | None" = None


def shape_of(value: Any, depth: int = 0) -> Shape:
    """Return the form of a JSON value. A value that is nested more than 20 deep is "free"."""
    if depth > _DEEPEST:
        return _FREE_FORM
    if isinstance(value, Mapping):
        return Shape(
            frozenset({"object"}),
            {name: _shape_of_field(name, inner, value, depth + 1) for name, inner in value.items()},
        )
    if isinstance(value, list | tuple):
        return Shape(frozenset({"array"}), item=merged([shape_of(row, depth + 1) for row in value]))
    return Shape(frozenset({_kind(value)}))


def _shape_of_field(name: str, value: Any, holder: Mapping[str, Any], depth: int) -> Shape:
    # Omneo lists faults by field, so the names depend on the case.
    is_by_field = name == "errors" and isinstance(value, Mapping)
    is_not_the_services = value is not None and (is_by_field or is_free(name, holder))
    return _FREE_FORM if is_not_the_services else shape_of(value, depth)


def merged(shapes: Sequence[Shape]) -> Shape | None:
    """Return one form for several values in one place, None for none."""
    if not shapes:
        return None
    objects = [shape for shape in shapes if "object" in shape.kinds]
    names = {name: None for shape in objects for name in shape.fields}
    fields = {
        name: merged([shape.fields[name] for shape in objects if name in shape.fields]) or _FREE_FORM
        for name in names
    }
    missing = {name for name in names if any(name not in shape.fields for shape in objects)}
    return Shape(
        frozenset().union(*(shape.kinds for shape in shapes)),
        fields,
        frozenset(missing).union(*(shape.optional for shape in shapes)),
        merged([shape.item for shape in shapes if shape.item is not None]),
    )


def differences(one: Shape, other: Shape, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the places in which two forms differ, each with both forms. A null shows no type, and an empty list shows
    no rows; "" in a triple means that the place is missing.
    """
    if "free" in one.kinds | other.kinds:
        return
    a, b = one.kinds - {"null"}, other.kinds - {"null"}
    if a and b and a != b:
        yield place, _said(a), _said(b)
        return
    for name in sorted({*one.fields, *other.fields}):
        where = f"{place}.{name}" if place else name
        mine, theirs = one.fields.get(name), other.fields.get(name)
        if mine is not None and theirs is not None:
            yield from differences(mine, theirs, where)
        elif mine is None and theirs is not None and name not in other.optional and a:
            yield where, "", _said(theirs.kinds)
        elif mine is not None and theirs is None and name not in one.optional and b:
            yield where, _said(mine.kinds), ""
    if one.item is not None and other.item is not None:
        yield from differences(one.item, other.item, f"{place}[]")


def _said(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return "string"


_FREE_FORM = Shape(frozenset({"free"}))
