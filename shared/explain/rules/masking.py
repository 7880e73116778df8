"""The values of a profile that an operator may see without asking for personal values. Pure.

The rule: everything is masked except the values named here. These are names (of attributes and properties), booleans and empty values,
balances, tiers, the preferred store, the ids that Omneo and Klaviyo gave, and the flags, words and dates of consents. A masked value shows
only its kind, as in `<text>`: neither its length nor a part of it.

A text or number that the tenant's `profile_exclude_logic` compares with a masked value is masked too: "equal to Smith: true" would tell the
name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.consent.rules.decisions import read_stamp
from shared.json_logic.exclude_logic import TraceStep
from shared.json_logic.size import arguments
from shared.profiles.rules.mapping import DEFAULTS
from shared.values.attribute_names import property_named

Json = Any

BALANCES = frozenset({"reward_balance", "point_balance", "point_balance_dollars", "combined_balance_dollars"})
HANDLES = frozenset(
    {"tier_handle", "tier.handle", "tier.name", "preferred_location.name", "preferred_location_id"}
)
# Operators that only join answers: each argument is masked separately.
_CONNECTIVES = frozenset({"and", "or", "!", "!!", "if", "?:"})
_PATHS = frozenset({"var", "missing", "missing_some"})
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,6})?")
_WORD = re.compile(r"[A-Z]+(_[A-Z]+){0,4}")


def kind_of(value: Json) -> str:
    """Return the text in place of a masked value.

    >>> kind_of("Jane"), kind_of(7), kind_of([1, 2])
    ('<text>', '<number>', '<list>')
    """
    match value:
        case str():
            return "<text>"
        case list() | tuple():
            return "<list>"
        case Mapping():
            return "<object>"
        case _:
            return "<number>"


def masked(value: Json) -> Json:
    """Return the value as an operator may see it at any place: the value itself if it is a boolean or empty, otherwise its kind."""
    return value if value is None or isinstance(value, bool) or value in ("", [], {}) else kind_of(value)


def masked_at(path: str, value: Json) -> Json:
    """Return the value at a path of the Omneo profile as an operator may see it."""
    path = path.removeprefix("profile.")
    is_plain = isinstance(value, str | int | float)
    if path in HANDLES and is_plain:
        return value
    if path in BALANCES and is_plain and _NUMBER.fullmatch(str(value)):
        return value
    return masked(value)


def masked_resource(resource: Mapping[str, Json], mappings: Mapping[str, str]) -> dict[str, Json]:
    """Return the `data` of Klaviyo's create-or-update with its values masked. `mappings` is the tenant's setting."""
    return {**resource, "attributes": _attributes(resource["attributes"], mappings)}


def masked_step(step: TraceStep) -> TraceStep:
    """Return a step of the exclude logic with its values masked."""
    return TraceStep(step.path, masked_logic(step.expression), _value(step), step.error)


def masked_logic(expression: Json) -> Json:
    """Return the expression without the texts and numbers that it compares with masked values."""
    return _logic(expression, is_hidden=False)


def flag(value: Json) -> Json:
    """Return a flag of Omneo's consent as an operator may see it. Laravel may write a flag as true, 1 or "1"."""
    return value if value in (0, 1, "0", "1", "true", "false") else masked(value)


def date(value: Json) -> Json:
    """Return a date of consent as an operator may see it: in its own spelling if it can be read as a date."""
    return value if read_stamp(value) is not None else masked(value)


def word(value: Json) -> Json:
    """Return one of Klaviyo's words, such as NEVER_SUBSCRIBED, as an operator may see it."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else masked(value)


def _attributes(attributes: Mapping[str, Json], mappings: Mapping[str, str]) -> dict[str, Json]:
    # A mapping may put any value under one of our names, so the possible sources of a property count, not its name.
    sources = [*DEFAULTS.items(), *((path, property_named(name)) for path, name in mappings.items())]
    shown: dict[str, Json] = {}
    for name, value in attributes.items():
        if name == "properties":
            shown[name] = {
                key: _property([path for path, named in sources if named == key], item)
                for key, item in value.items()
            }
        elif name == "location":
            shown[name] = {key: masked(item) for key, item in value.items()}
        else:
            shown[name] = value if name == "external_id" else masked(value)
    return shown


def _property(paths: list[str], value: Json) -> Json:
    is_shown = bool(paths) and all(masked_at(path, value) == value for path in paths)
    return value if is_shown else masked(value)


def _value(step: TraceStep) -> Json:
    ((operator, given),) = step.expression.items()
    path = arguments(given)[0] if operator == "var" else None
    return masked_at(path, step.value) if isinstance(path, str) else masked(step.value)


def _logic(value: Json, *, is_hidden: bool) -> Json:
    if isinstance(value, list):
        return [_logic(item, is_hidden=is_hidden) for item in value]
    if not isinstance(value, Mapping):
        return masked(value) if is_hidden else value
    ((operator, given),) = value.items()
    if operator in _PATHS:
        terms = arguments(given)
        places = [_place(operator, number, term) for number, term in enumerate(terms)]
        return {operator: places if isinstance(given, list) else places[0]}
    hides = is_hidden or any(not _is_shown(path) for path in _paths(value))
    terms = [
        _logic(term, is_hidden=is_hidden if operator in _CONNECTIVES and isinstance(term, Mapping) else hides)
        for term in arguments(given)
    ]
    return {operator: terms if isinstance(given, list) else terms[0]}


def _place(operator: str, number: int, term: Json) -> Json:
    """Return the path in a `var`, which is no value. Its default may be one."""
    is_path = operator != "var" or number == 0
    if is_path and isinstance(term, str | int):
        return term
    if is_path and isinstance(term, list):
        return [_place(operator, number, item) for item in term]
    return _logic(term, is_hidden=True)


def _paths(value: Json) -> Iterator[Json]:
    """Yield every path that an expression looks at."""
    if isinstance(value, list):
        for item in value:
            yield from _paths(item)
    if not isinstance(value, Mapping):
        return
    ((operator, given),) = value.items()
    if operator == "var":
        yield arguments(given)[0]
    elif operator in _PATHS:
        yield None
    for term in arguments(given):
        yield from _paths(term)


def _is_shown(path: Json) -> bool:
    name = path.removeprefix("profile.") if isinstance(path, str) else ""
    return name in HANDLES or name in BALANCES
