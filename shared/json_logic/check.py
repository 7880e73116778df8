"""The expressions that `profile_exclude_logic` may hold: the operators, the number of their arguments, and a bound on repetitions.

Only the expression is checked, never a profile, and the library that evaluates it is not loaded.

https://docs.omneo.io/dev-guides/reactions/json-conditions, https://jsonlogic.com/operations.html
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.json_logic.size import (
    ITERATORS,
    MOST_CHARACTERS,
    MOST_STEPS,
    USUAL_ITEMS,
    arguments,
    most_characters,
    most_steps,
)

Json = Any

# The least and the most arguments of an operator; None means no limit.
ARITY: dict[str, tuple[int, int | None]] = {
    "var": (1, 2), "missing": (1, None), "missing_some": (2, 2),
    "==": (2, 2), "===": (2, 2), "!=": (2, 2), "!==": (2, 2), ">": (2, 2), ">=": (2, 2), "<": (2, 3), "<=": (2, 3),
    "!": (1, 1), "!!": (1, 1), "and": (1, None), "or": (1, None), "if": (2, None), "?:": (3, 3),
    "in": (2, 2), "not_in": (2, 2), "cat": (1, None), "substr": (2, 3),
    "+": (1, None), "-": (1, 2), "*": (1, None), "/": (2, 2), "%": (2, 2), "max": (1, None), "min": (1, None),
    "some": (2, 2), "all": (2, 2), "none": (2, 2), "filter": (2, 2), "map": (2, 2), "reduce": (3, 3), "merge": (1, None),
}  # fmt: skip
# Operators whose result is larger than their arguments; in `reduce`, it would grow without limit.
_GROWING = ITERATORS | {"merge", "cat"}
# The library refuses JSON nested more than 127 deep; an operation is two levels, `not_in` four.
MOST_LEVELS = 20
MOST_NESTED_LISTS = 2


def check_logic(expression: object) -> str:
    """Return "" for logic that can be evaluated, otherwise the fault: the operator, its place and the fix.

    An empty object is valid and matches no profile. The fault never shows a value.
    """
    if not isinstance(expression, Mapping):
        return 'must be a JSON object with one operator, as in {"==": [{"var": "tier.handle"}, "staff"]}'
    if not expression:
        return ""
    if fault := next(_faults(expression, "", 1, 0, in_step=False), ""):
        return fault
    if most_steps(expression, data_items=USUAL_ITEMS) > MOST_STEPS:
        return "goes through more list items than is allowed for each profile: shorten the lists that it holds itself"
    if most_characters(expression) > MOST_CHARACTERS:
        return (
            "would build too large a value: name each value once, and do not repeat it in merge, cat or map"
        )
    return ""


def path_into(path: str, operator: str, number: int) -> str:
    return f"{path}.{operator}[{number}]" if path else f"{operator}[{number}]"


def _faults(value: object, path: str, level: int, iterators: int, *, in_step: bool) -> Iterator[str]:
    if level > MOST_LEVELS and isinstance(value, Mapping | list):
        yield f"is nested more than {MOST_LEVELS} operations deep: flatten it"
    elif isinstance(value, Mapping):
        yield from _operation_faults(value, path, level, iterators, in_step)
    elif isinstance(value, list):
        if in_step and any(isinstance(item, Mapping | list) for item in value):
            yield f"builds a list inside the step of reduce{_at(path)}: use numbers there"
        for number, item in enumerate(value):
            yield from _faults(item, f"{path}[{number}]", level + 1, iterators, in_step=in_step)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"holds a number that is not finite{_at(path)}"


def _operation_faults(
    value: Mapping[str, Json], path: str, level: int, iterators: int, in_step: bool
) -> Iterator[str]:
    if len(value) != 1:
        yield f"needs exactly one operator in every object; use and, or{_at(path)}"
        return
    ((operator, given),) = value.items()
    if fault := _operator_fault(operator, given, path, in_step):
        yield fault
        return
    inside = iterators + (operator in ITERATORS)
    if inside > MOST_NESTED_LISTS:
        yield f"goes through lists inside lists more than {MOST_NESTED_LISTS} deep{_at(path)}"
        return
    for number, argument in enumerate(arguments(given)):
        step = in_step or (operator == "reduce" and number == 1)
        yield from _faults(argument, path_into(path, operator, number), level + 1, inside, in_step=step)


def _operator_fault(operator: str, given: object, path: str, in_step: bool) -> str:
    shown = operator if re.fullmatch(r"[\w.!=<>?:%*/+-]{1,30}", operator) else "something"
    if operator == "log":
        return f"uses log{_at(path)}, which would print personal data: leave it out"
    if operator not in ARITY:
        return (
            f"uses {shown} as an operator{_at(path)}, which is unknown: use one of {', '.join(sorted(ARITY))}"
        )
    if in_step and operator in _GROWING:
        return f"uses {operator} inside the step of reduce{_at(path)}: use numbers there"
    if in_step and operator == "var" and not _is_plain_path(given):
        # Each step sees the result of the step before: a thousand items would be nested a thousand deep.
        return f'needs the path of one value in var inside the step of reduce{_at(path)}, as in {{"var": "current"}}'
    fewest, most = ARITY[operator]
    count = len(arguments(given))
    if count < fewest or (most is not None and count > most):
        return f"gives {operator} {_counted(count)}{_at(path)}: it takes {_range(fewest, most)}"
    return _var_fault(given, path) if operator == "var" else ""


def _var_fault(given: object, path: str) -> str:
    name = arguments(given)[0]
    if (
        name is None
        or isinstance(name, str | Mapping)
        or (isinstance(name, int) and not isinstance(name, bool))
    ):
        return ""
    return f'needs a path in var{_at(path)}, as in {{"var": "tier.handle"}}'


def _is_plain_path(given: object) -> bool:
    (name, *_) = arguments(given) or [None]
    return isinstance(name, int) or (isinstance(name, str) and name != "")


def _at(path: str) -> str:
    return f" at {path}" if path and len(path) <= 100 else ""


def _counted(count: int) -> str:
    return f"{count} argument{'' if count == 1 else 's'}"


def _range(fewest: int, most: int | None) -> str:
    if most is None:
        return f"{fewest} or more"
    return str(fewest) if fewest == most else f"{fewest} to {most}"
