"""JSON Logic, as far as Omneo's page "JSON conditions" uses it. Pure."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any


class UnknownOperatorError(Exception):
    """The rule uses an operator that Omneo's pages do not name."""


def evaluate(rule: Any, data: Any) -> Any:
    """Return the value of `rule` for `data`.

    >>> evaluate({">": [{"var": "tier.rank"}, 1]}, {"tier": {"rank": 2}})
    True

    Raises:
        UnknownOperatorError: the rule uses an operator unknown here.
    """
    if isinstance(rule, list):
        return [evaluate(item, data) for item in rule]
    if not isinstance(rule, Mapping) or len(rule) != 1:
        return rule
    ((operator, raw),) = rule.items()
    arguments = raw if isinstance(raw, list) else [raw]
    if operator in ("and", "or"):
        return _chain(arguments, data, until=operator == "or")
    values = [evaluate(argument, data) for argument in arguments]
    if operator == "var":
        return _look_up(data, *values)
    if operator not in _OPERATORS:
        raise UnknownOperatorError("unknown operator")
    return _OPERATORS[operator](*values)


def _chain(arguments: list[Any], data: Any, *, until: bool) -> Any:
    value: Any = None
    for argument in arguments:
        value = evaluate(argument, data)
        if bool(value) is until:
            break
    return value


def _look_up(data: Any, path: Any = "", fallback: Any = None) -> Any:
    for step in str(path).split(".") if path not in ("", None) else []:
        if isinstance(data, Mapping) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return fallback
    return data


def _same(left: Any, right: Any) -> bool:
    # In JavaScript 1 === 1.0, but true === 1 is false.
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return float("nan")


def _below(*values: Any, allow_equal: bool = False) -> bool:
    numbers = [_number(value) for value in values]
    return all(left < right or (allow_equal and left == right) for left, right in pairwise(numbers))


def _within(item: Any, whole: Any) -> bool:
    return (
        item in whole
        if isinstance(whole, list) or (isinstance(whole, str) and isinstance(item, str))
        else False
    )


_OPERATORS: dict[str, Callable[..., Any]] = {
    "===": _same,
    "!==": lambda left, right: not _same(left, right),
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: _below(right, left),
    ">=": lambda left, right: _below(right, left, allow_equal=True),
    "<": _below,
    "<=": lambda *values: _below(*values, allow_equal=True),
    "in": _within,
    "not_in": lambda item, whole: not _within(item, whole),
    "!": lambda value: not value,
    "!!": bool,
}
