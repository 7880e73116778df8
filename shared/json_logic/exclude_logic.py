"""The tenant's `profile_exclude_logic`: JSON Logic that says which profiles are never synced.

`jsonlogic-rs` evaluates it, and is loaded only when there is logic to evaluate. This module adds what the library lacks: the library takes an
unknown operator for a value that is true, its `log` prints, and lists in lists or a growing `reduce` have no bound.

Variables are those of Omneo's profile events, from the root: `email`, `tier.handle`, `flattened_tags`, `aggregations.spend_12m`. A profile
that was read has no `flattened_tags` and `flattened_statuses`: they are made of its `tags` and `statuses`. The prefix `profile.` is
understood too.

https://docs.omneo.io/dev-guides/reactions/json-conditions, https://jsonlogic.com/operations.html
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import ExtensionError
from shared.json_logic.check import ARITY, check_logic, path_into
from shared.json_logic.data import event_context
from shared.json_logic.size import (
    ITERATORS,
    MOST_CHARACTERS,
    MOST_STEPS,
    arguments,
    items_of,
    most_characters,
    most_steps,
)

__all__ = ["ExcludeLogicError", "TraceStep", "check_logic", "matches", "trace"]

Json = Any

MOST_TRACED = 500
TOO_MUCH_TO_SHOW = "The result is too large to be shown."


class ExcludeLogicError(ExtensionError):
    """The logic cannot be evaluated on this profile; the message names the operator and holds no value."""


@dataclass(frozen=True)
class TraceStep:
    """One operation: its place, as in `and[0].!`, its expression, and its result. `error` is "" if there is a result."""

    path: str
    expression: Json
    value: Json
    error: str = ""


def matches(expression: Mapping[str, Json], profile: Mapping[str, Json]) -> bool:
    """Return whether the profile matches, by JSON Logic's own rules of truth. An empty expression matches no profile.

    Raises:
        ExcludeLogicError: the logic cannot be evaluated, so it is unknown whether the profile may be synced.
    """
    if not expression:
        return False
    if fault := check_logic(expression):
        raise ExcludeLogicError(f"profile_exclude_logic {fault}.")
    data = event_context(profile)
    text = json.dumps(data)
    _check_work(expression, data, text)
    return bool(_evaluated({"!!": [_rewritten(expression)]}, text))


def trace(expression: Mapping[str, Json], profile: Mapping[str, Json]) -> list[TraceStep]:
    """Return every operation with its result on this profile, outer ones first, at most `MOST_TRACED`.

    All branches are evaluated, also those that an `and`, `or` or `if` would never reach. An operation inside a `some`, `map` or the like
    sees one item at a time, and is shown only as part of it. Values are the profile's own.

    Raises:
        ExcludeLogicError: the logic cannot be evaluated at all.
    """
    if not expression:
        return []
    if fault := check_logic(expression):
        raise ExcludeLogicError(f"profile_exclude_logic {fault}.")
    data = event_context(profile)
    text = json.dumps(data)
    _check_work(expression, data, text)
    steps, shown = [], 0
    for (path, operation), _ in zip(_operations(expression, ""), range(MOST_TRACED), strict=False):
        try:
            value = _evaluated(_rewritten(operation), text)
        except ExcludeLogicError as error:
            steps.append(TraceStep(path, operation, None, str(error)))
            continue
        shown += len(json.dumps(value))
        is_shown = shown <= MOST_CHARACTERS
        steps.append(
            TraceStep(path, operation, value if is_shown else None, "" if is_shown else TOO_MUCH_TO_SHOW)
        )
    return steps


# The evaluation


def _operations(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _operations(item, f"{path}[{number}]")
    if not isinstance(value, Mapping):
        return
    ((operator, given),) = value.items()
    yield (f"{path}.{operator}" if path else operator), value
    for number, argument in enumerate(arguments(given)):
        if operator not in ITERATORS or number != 1:  # its second argument sees single items
            yield from _operations(argument, path_into(path, operator, number))


def _rewritten(value: Json) -> Json:
    """Return the expression in standard operators, rewritten where the library is stricter than JavaScript."""
    if isinstance(value, list):
        return [_rewritten(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    ((operator, given),) = value.items()
    terms = [_rewritten(argument) for argument in arguments(given)]
    match operator:
        case "not_in":
            return {"!": [_contains(*terms)]}
        case "in":
            return _contains(*terms)
        case _:
            return {operator: terms}


def _contains(item: Json, where: Json) -> Json:
    # JavaScript searches a text for any value, even null; the library takes only text.
    return {"in": [{"cat": [item]} if isinstance(where, str) else item, where]}


def _evaluated(expression: Json, data: str) -> Json:
    from jsonlogic_rs import apply_serialized  # type: ignore[import-untyped]  # it ships no types

    try:
        return apply_serialized(json.dumps(expression), data, json.loads)
    except ValueError as error:
        # The library quotes values, so only the operator's name is taken from its message.
        named = re.search(r"'([^']{1,20})'", str(error))
        operator = named[1] if named and named[1] in ARITY else ""
    where = f" {operator} does not take what the profile holds there:" if operator else ""
    raise ExcludeLogicError(
        f"profile_exclude_logic cannot be evaluated on this profile:{where} guard it with an and or an if."
    )


def _check_work(expression: Json, data: Json, text: str) -> None:
    """Raise ExcludeLogicError if this would take too long or too much memory. `text` is `data` as JSON."""
    items = items_of(data)
    if most_steps(expression, data_items=items) > MOST_STEPS:
        raise ExcludeLogicError(
            "profile_exclude_logic goes through more list items on this profile than is allowed: simplify it."
        )
    if most_characters(expression, data_characters=len(text), data_items=items) > max(
        MOST_CHARACTERS, 2 * len(text)
    ):
        raise ExcludeLogicError(
            "profile_exclude_logic builds a larger value from this profile than is allowed: simplify it."
        )
