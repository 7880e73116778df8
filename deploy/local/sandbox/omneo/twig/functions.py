"""Twig's functions, and its tests after `is`."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime

from deploy.local.sandbox.omneo.twig.dates import read_moment
from deploy.local.sandbox.omneo.twig.filters.arguments import string
from deploy.local.sandbox.omneo.twig.filters.json_encode import JSON_CONSTANTS
from deploy.local.sandbox.omneo.twig.numbers import remainder
from deploy.local.sandbox.omneo.twig.php import (
    Value,
    array,
    compare,
    is_empty,
    is_same,
    key,
    number,
    numeric,
    whole,
)
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope
from deploy.local.sandbox.omneo.twig.zones import zone_named

LONGEST_RANGE = 10_000


def _most(scope: Scope, *values: Value) -> Value:
    return _chosen(values, lambda one, best: compare(one, best) > 0)


def _least(scope: Scope, *values: Value) -> Value:
    return _chosen(values, lambda one, best: compare(one, best) < 0)


def _chosen(values: tuple[Value, ...], is_better: Callable[[Value, Value], bool]) -> Value:
    given = [*values]
    if len(given) == 1:
        if not isinstance(given[0], dict):
            raise Refusal("max and min take an array, or two values and more.")
        given = [*given[0].values()]
    if not given:
        raise Refusal("max and min of nothing are nothing.")
    best = given[0]
    for one in given[1:]:
        if is_better(one, best):
            best = one
    return best


def span(scope: Scope, start: Value, end: Value, step: Value = 1) -> Value:
    """Return PHP's range: of numbers, or of letters.

    Raises:
        Refusal: it is too long, or its step leads nowhere.
    """
    if isinstance(start, str) and isinstance(end, str) and numeric(start) is None and numeric(end) is None:
        first, last = _letter(start), _letter(end)
        return array(chr(code) for code in _steps(scope, first, last, whole(step)))
    numbers = [number(one) for one in (start, end, step)]
    if any(isinstance(one, float) and one != int(one) for one in numbers):
        raise Refusal("A range of numbers with a fraction is not known here.")
    has_float = any(isinstance(one, float) for one in numbers[:2])
    found = _steps(scope, *map(int, numbers))
    return array(float(one) if has_float else one for one in found)


def _letter(given: str) -> int:
    if not given[:1].isascii() or not given:
        raise Refusal("A range is of numbers or of plain letters.")
    return ord(given[0])


def _steps(scope: Scope, first: int, last: int, step: int) -> range:
    by = abs(step)
    if not by or (by > abs(last - first) and first != last):
        raise Refusal("The step of a range must lead from its start to its end.")
    if abs(last - first) // by >= LONGEST_RANGE:
        raise Refusal(f"A range has at most {LONGEST_RANGE} steps.")
    found = range(first, last + 1, by) if first <= last else range(first, last - 1, -by)
    scope.budget.take(items=len(found))
    return found


def _cycle(scope: Scope, values: Value, position: Value) -> Value:
    if not isinstance(values, dict):
        return values
    if not values:
        raise Refusal("cycle takes an array that is not empty.")
    return values.get(int(remainder(whole(position), len(values))))


def _date(scope: Scope, date: Value = None, timezone: Value = None) -> Value:
    zone = (
        zone_named("UTC") if timezone is None else None if timezone is False else zone_named(string(timezone))
    )
    return read_moment(date, scope.now, zone)


def _constant(scope: Scope, constant: Value, object_: Value = None) -> Value:
    if not isinstance(constant, str) or object_ is not None or constant not in JSON_CONSTANTS:
        raise Refusal("constant knows the options of json_encode here, and nothing else.")
    return JSON_CONSTANTS[constant]


def _attribute(scope: Scope, variable: Value, attribute: Value, arguments: Value = None) -> Value:
    if arguments is not None:
        raise Refusal("Nothing can be called here.")
    return item_of(variable, attribute)


def item_of(value: Value, name: Value) -> Value:
    """Return the item of an array under a key, null if there is none or if the value is not an array.

    A date has its timestamp.
    """
    if isinstance(value, datetime):
        if name != "timestamp":
            raise Refusal("Of a date only its timestamp is read here.")
        return math.floor(value.timestamp())
    if not isinstance(value, dict):
        return None
    if isinstance(name, dict):
        raise Refusal("An array is no key.")
    return value.get(key(name))


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "attribute": _attribute,
    "constant": _constant,
    "cycle": _cycle,
    "date": _date,
    "max": _most,
    "min": _least,
    "range": span,
}


def _divisible(value: Value, by: Value) -> bool:
    return remainder(number(value), number(by)) == 0


# The tests after `is`. `defined` looks at an expression and not at its value: it is in expressions.py.
ASKED: Mapping[str, Callable[..., bool]] = {
    "even": lambda value: remainder(number(value), 2) == 0,
    "odd": lambda value: remainder(number(value), 2) != 0,
    "same as": is_same,
    "none": lambda value: value is None,
    "null": lambda value: value is None,
    "divisible by": _divisible,
    "empty": is_empty,
    "iterable": lambda value: isinstance(value, dict),
}
# These are followed by a value without parentheses too.
ASKED_WITH_ONE = frozenset({"same as", "divisible by"})
