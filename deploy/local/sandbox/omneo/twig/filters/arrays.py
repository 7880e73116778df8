"""The filters of arrays. Those that take a text as well, as |length does, stand here too."""

from collections.abc import Callable, Mapping
from functools import cmp_to_key
from itertools import chain, count, islice
from math import ceil
from typing import Any

from deploy.local.sandbox.omneo.twig.filters.arguments import Filter, arrow, items_of, string
from deploy.local.sandbox.omneo.twig.php import (
    Array,
    Key,
    Value,
    array,
    cast,
    compare,
    is_true,
    key,
    text,
    whole,
)
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope


def _length(scope: Scope, thing: Value) -> Value:
    return len(thing) if isinstance(thing, dict) else len(text(thing))


def _join(scope: Scope, value: Value, glue: Value = "", and_: Value = None) -> Value:
    parts = (
        [text(item) for item in value.values()]
        if isinstance(value, dict)
        else []
        if value is None
        else [text(value)]
    )
    between = string(glue)
    scope.budget.take(sum(map(len, parts)) + len(between) * len(parts))
    if and_ is None or and_ == glue or len(parts) < 2:
        return between.join(parts)
    return between.join(parts[:-1]) + string(and_) + parts[-1]


def _split(scope: Scope, value: Value, delimiter: Value, limit: Value = None) -> Value:
    given, between = string(value), string(delimiter)
    scope.budget.take(items=len(given) if not between else given.count(between))
    if between:
        return array(_exploded(given, between, None if limit is None else whole(limit)))
    size = whole(limit)
    if size <= 1:
        return array(given) if given else array([""])
    if len(given) < size:
        return array([given])
    return array(given[place : place + size] for place in range(0, len(given), size))


def _exploded(given: str, between: str, limit: int | None) -> list[str]:
    if limit is None:
        return given.split(between)
    if limit < 0:
        return given.split(between)[:limit]
    return given.split(between, max(1, limit) - 1)


def _slice(
    scope: Scope, item: Value, start: Value, length: Value = None, preserve_keys: Value = False
) -> Value:
    given = item if isinstance(item, dict) else text(item)
    first, last = _bounds(len(given), whole(start), None if length is None else whole(length))
    if isinstance(given, str):
        return given[first:last]
    scope.budget.take(items=max(0, last - first))
    part = dict(islice(given.items(), first, max(first, last)))
    return part if is_true(preserve_keys) else _renumbered(part)


def _bounds(size: int, start: int, length: int | None) -> tuple[int, int]:
    first = max(0, size + start) if start < 0 else min(start, size)
    if length is None:
        return first, size
    return first, max(first, size + length) if length < 0 else min(size, first + length)


def _renumbered(*arrays: Array) -> Array:
    """Return the items of all, the last of those under one name, and those under numbers counted anew."""
    found: Array = {}
    numbers = count()
    for name, item in chain.from_iterable(items.items() for items in arrays):
        found[next(numbers) if isinstance(name, int) else name] = item
    return found


def _first(scope: Scope, item: Value) -> Value:
    if isinstance(item, dict):
        return next(iter(item.values()), False)
    return text(item)[:1]


def _last(scope: Scope, item: Value) -> Value:
    if isinstance(item, dict):
        return next(reversed(item.values()), False)
    return text(item)[-1:]


def _reverse(scope: Scope, item: Value, preserve_keys: Value = False) -> Value:
    if isinstance(item, dict):
        scope.budget.take(items=len(item))
        turned = dict(reversed(item.items()))
        return turned if is_true(preserve_keys) else _renumbered(turned)
    return text(item)[::-1]


def _keys(scope: Scope, array_: Value) -> Value:
    if not isinstance(array_, dict):
        return {}
    scope.budget.take(items=len(array_))
    return array(array_)


def _merge(scope: Scope, arr1: Value, arr2: Value) -> Value:
    one, other = items_of(arr1, "merge"), items_of(arr2, "merge")
    scope.budget.take(items=len(one) + len(other))
    return _renumbered(one, other)


def _batch(scope: Scope, items: Value, size: Value, fill: Value = None, preserve_keys: Value = True) -> Value:
    given, wanted = items_of(items, "batch"), cast(size)
    if not 0 < wanted <= 10_000:  # neither infinite nor no number
        raise Refusal("The size of a batch is from 1 to 10000.")
    width = ceil(wanted)
    scope.budget.take(items=len(given) + (width if fill is not None else 0))
    pairs, found = [*given.items()], []
    for place in range(0, len(pairs), width):
        part = dict(pairs[place : place + width])
        found.append(part if is_true(preserve_keys) else array(part.values()))
    while fill is not None and found and len(found[-1]) < width:
        last = found[-1]
        last[max((name for name in last if isinstance(name, int)), default=-1) + 1] = fill
    return array(found)


def _column(scope: Scope, array_: Value, name: Value, index: Value = None) -> Value:
    if index is not None:
        raise Refusal("column takes no index here.")
    rows, wanted = items_of(array_, "column"), key(name)
    scope.budget.take(items=len(rows))
    return array(row[wanted] for row in rows.values() if isinstance(row, dict) and wanted in row)


def _filter(scope: Scope, array_: Value, arrow_: Value = None) -> Value:
    given, holds = items_of(array_, "filter"), arrow(arrow_, "filter")
    scope.budget.take(items=len(given))
    return {name: item for name, item in given.items() if is_true(holds(item, name))}


def _map(scope: Scope, array_: Value, arrow_: Value) -> Value:
    given, made = items_of(array_, "map"), arrow(arrow_, "map")
    scope.budget.take(items=len(given))
    return {name: made(item, name) for name, item in given.items()}


def _reduce(scope: Scope, array_: Value, arrow_: Value, initial: Value = None) -> Value:
    carried, step = initial, arrow(arrow_, "reduce")
    for name, item in items_of(array_, "reduce").items():
        carried = step(carried, item, name)
    return carried


def _sort(scope: Scope, array_: Value, arrow_: Value = None) -> Value:
    given = items_of(array_, "sort")
    scope.budget.take(items=3 * len(given))
    if arrow_ is None:
        kinds = {str if isinstance(item, str) else float for item in given.values()}
        if len(kinds) > 1 or any(isinstance(item, dict | bool) or item is None for item in given.values()):
            raise Refusal("sort takes texts or numbers, not both, unless it is told how to compare.")
        order: Callable[[Any, Any], int] = compare
    else:
        told = arrow(arrow_, "sort")

        def order(left: Any, right: Any) -> int:
            return whole(told(left, right))

    def by_value(one: tuple[Key, Value], other: tuple[Key, Value]) -> int:
        return order(one[1], other[1])

    return dict(sorted(given.items(), key=cmp_to_key(by_value)))


ARRAY_FILTERS: Mapping[str, Filter] = {
    "batch": _batch,
    "column": _column,
    "filter": _filter,
    "first": _first,
    "join": _join,
    "keys": _keys,
    "last": _last,
    "length": _length,
    "map": _map,
    "merge": _merge,
    "reduce": _reduce,
    "reverse": _reverse,
    "slice": _slice,
    "sort": _sort,
    "split": _split,
}
