"""PHP's values: how they print, count as true, compare and become numbers. A template computes only with these values.

An array of PHP's is a dict here, its keys whole numbers or text as PHP keeps them; a list of JSON has the keys 0, 1 and so on.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias, Union

from deploy.local.sandbox.omneo.twig.refusals import Refusal

Key: TypeAlias = int | str
Array: TypeAlias = dict[Key, "Value"]
Value: TypeAlias = Union[bool, int, float, str, Array, datetime, "Arrow", None]


@dataclass(frozen=True)
class Arrow:
    """A function that a template writes with `=>`."""

    call: Callable[..., Value]


LARGEST = 2**63 - 1
_BLANKS = r"[ \t\n\r\v\f]*"
_NUMBER = re.compile(rf"{_BLANKS}([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_KEY = re.compile(r"0|-?[1-9][0-9]*")


def of_json(value: object, depth: int = 0) -> Value:
    """Return a value of JSON as PHP reads it.

    Raises:
        Refusal: it is nested too deep.
    """
    if depth > 100:
        raise Refusal("The context is nested too deep.")
    match value:
        case dict():
            return {key(name): of_json(item, depth + 1) for name, item in value.items()}
        case list() | tuple():
            return {place: of_json(item, depth + 1) for place, item in enumerate(value)}
        case bool() | None | str() | float():
            return value
        case int():
            return fitted(value)
        case _:
            raise Refusal("The context holds what is no JSON.")


def array(items: Iterable[Value]) -> Array:
    """Return the items under 0, 1 and so on."""
    return dict(enumerate(items))


def is_list(items: Array) -> bool:
    """Return whether the keys are 0, 1 and so on in this order."""
    return all(place == name for place, name in enumerate(items))


def key(value: Value) -> Key:
    """Return a value as the key of an array."""
    match value:
        case str():
            is_short = len(value) <= 20  # as the longest whole number of PHP's
            return int(value) if is_short and _KEY.fullmatch(value) and abs(int(value)) <= LARGEST else value
        case bool() | int() | float():
            return int(value)
        case None:
            return ""
        case _:
            raise Refusal("This is no key of an array.")


def text(value: Value) -> str:
    """Return the printed form of `value`."""
    match value:
        case None | False:
            return ""
        case True:
            return "1"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return float_text(value)
        case dict():
            return "Array"
        case datetime():
            raise Refusal("A date is printed by |date.")
        case _:
            raise Refusal("A function cannot be printed.")


def float_text(value: float, digits: int | None = 14, exponent: str = "E") -> str:
    """Return a float as PHP writes it, with so many digits, or as few as tell it from others."""
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    written = _shortest(value) if digits is None else f"{value:.{digits}g}"
    mantissa, mark, power = written.partition("e")
    if not mark:
        return written
    point = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{point}{exponent}{int(power):+d}"


def _shortest(value: float) -> str:
    """Return the fewest digits that tell a float from others: in full from 1e-4 up to 1e17, otherwise with a power of ten."""
    exact = Decimal(repr(value)).normalize()
    return f"{exact:f}" if value == 0 or 1e-4 <= abs(value) < 1e17 else f"{exact:e}"


def is_true(value: Value) -> bool:
    """Return whether PHP counts the value as true: "0" and an empty array are not."""
    return value != "0" and bool(value) if not isinstance(value, float) else value != 0.0


def is_empty(value: Value) -> bool:
    """Return whether Twig's `empty` holds: of "", false, null and an empty array, and of no number."""
    return value is None or value is False or (isinstance(value, str | dict) and not value)


def numeric(given: str) -> int | float | None:
    """Return the number that the whole of a text writes, None if it writes none."""
    found = _NUMBER.match(given)
    if found is None or given[found.end() :].strip(" \t\n\r\v\f"):
        return None
    return _read(found[1])


def number(value: Value) -> int | float:
    """Return a value as arithmetic takes it.

    Raises:
        Refusal: it is no number.
    """
    match value:
        case None:
            return 0
        case bool() | int():
            return int(value)
        case float():
            return value
        case str():
            if (found := numeric(value)) is not None:
                return found
            raise Refusal("A text that is no number cannot be computed with.")
        case _:
            raise Refusal("An array or a date cannot be computed with.")


def whole(value: Value) -> int:
    """Return a value as a whole number, as an argument that must be one is taken."""
    found = number(value)
    if isinstance(found, float) and not abs(found) < LARGEST:
        raise Refusal("The number is too large.")
    return int(found)


def cast(value: Value) -> float:
    """Return the result of `(float)` for a value: for a text, the number at its beginning, or 0."""
    if isinstance(value, str):
        found = _NUMBER.match(value)
        return float(_read(found[1])) if found else 0.0
    return float(number(value))


def _read(written: str) -> int | float:
    if _WHOLE.fullmatch(written) and len(written) < 25:
        return fitted(int(written))
    return float(written)


def fitted(value: int) -> int | float:
    """Return a whole number, as a float if PHP's whole numbers do not go so far."""
    return value if -LARGEST - 1 <= value <= LARGEST else float(value)


def compare(left: Value, right: Value) -> int:
    """Return -1, 0 or 1 as PHP's `<=>` does.

    Raises:
        Refusal: the two cannot be compared.
    """
    match left, right:
        case (None, str()) | (str(), None):
            return _order(text(left), text(right))
        case (bool() | None, _) | (_, bool() | None):
            return _order(is_true(left), is_true(right))
        case str() | int() | float(), str() | int() | float():
            return _compare_scalars(left, right)
        case _:
            return _compare_parts(left, right)


def _compare_scalars(left: str | float, right: str | float) -> int:
    """Compare as numbers if both are some, else as texts."""
    one = numeric(left) if isinstance(left, str) else left
    other = numeric(right) if isinstance(right, str) else right
    if one is not None and other is not None:
        return _order(one, other)
    return _order(text(left), text(right))


def _compare_parts(left: Value, right: Value) -> int:
    if isinstance(left, dict) and isinstance(right, dict):
        if len(left) != len(right):
            return _order(len(left), len(right))
        for name, item in left.items():
            if name not in right:
                return 1
            if found := compare(item, right[name]):
                return found
        return 0
    if isinstance(left, datetime) and isinstance(right, datetime):
        return _order(left, right)
    if isinstance(left, datetime | Arrow) or isinstance(right, datetime | Arrow):
        raise Refusal("A date can be compared with a date alone.")
    return 1 if isinstance(left, dict) else -1


def _order(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def is_same(left: Value, right: Value) -> bool:
    """Return whether PHP's `===` holds."""
    if isinstance(left, dict) and isinstance(right, dict):
        return [*left] == [*right] and all(is_same(item, right[name]) for name, item in left.items())
    return type(left) is type(right) and left == right
