"""PHP's arithmetic, rounding and writing of numbers."""

import math
from collections.abc import Callable, Mapping

from deploy.local.sandbox.omneo.twig.php import Value, cast, fitted, number, whole
from deploy.local.sandbox.omneo.twig.refusals import Refusal

Number = int | float
MOST_DECIMALS = 53


def number_format(value: Value, decimals: int = 0, point: str = ".", thousands: str = ",") -> str:
    """Return a number the way PHP's number_format writes it; any other value counts as 0.

    >>> number_format("1234.5", 2), number_format(2.5)
    ('1,234.50', '3')

    Raises:
        Refusal: an array, or more decimals than a number has.
    """
    if decimals > MOST_DECIMALS:
        raise Refusal(f"A number has at most {MOST_DECIMALS} decimals.")
    places = max(0, decimals)
    rounded = round_half_up(cast(value), places)
    written = f"{abs(rounded):.{places}f}"
    if not math.isfinite(rounded):
        return written
    before, _, after = written.partition(".")
    grouped = f"{int(before):,}".replace(",", thousands)
    sign = "-" if rounded < 0 else ""
    return f"{sign}{grouped}{point + after if after else ''}"


def round_half_up(value: float, places: int = 0) -> float:
    """Return a float as PHP's round does: first to the 15 digits that a float is good for, then half away from zero."""
    if not math.isfinite(value) or value == 0.0:
        return value
    places = max(-300, min(places, 300))
    good = 14 - math.floor(math.log10(abs(value)))
    if places < good < places + 15:
        moved = _half_up(_moved(value, max(-300, min(good, 300))))
        moved = _moved(moved, max(-60, places - good))
    else:
        moved = _moved(value, places)
    if abs(moved) >= 1e15:
        return value
    return _moved(_half_up(moved), -places)


def _moved(value: float, places: int) -> float:
    """Return `value` times that power of ten."""
    if places >= 0:
        return value * 10.0**places
    return value / 10.0**-places


def _half_up(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)  # of -0.4 it is -0, which PHP writes so


def power(left: Number, right: Number) -> Number:
    """Return `**`."""
    if left < 0 and math.isfinite(right) and right != int(right):
        return math.nan
    try:
        found: float | complex = float(left) ** float(right)
    except OverflowError:
        return math.inf
    except ZeroDivisionError:
        return math.inf
    if isinstance(found, complex):
        return math.nan
    if isinstance(left, int) and isinstance(right, int) and right >= 0 and abs(found) < 2**63:
        return fitted(left**right)
    return found


def divided(left: Number, right: Number) -> Number:
    """Return `/`: whole where it is even."""
    _refuse_zero(right)
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return fitted(left // right)
    return left / right


def divided_down(left: Number, right: Number) -> Number:
    """Return `//`, which is `(int) floor($a / $b)`."""
    found = divided(left, right)
    return whole(float(math.floor(found)) if math.isfinite(found) else 0)


def remainder(left: Number, right: Number) -> Number:
    """Return `%`, which has the sign of the dividend."""
    one, other = whole(left), whole(right)
    _refuse_zero(other)
    return int(math.copysign(abs(one) % abs(other), one))


def _refuse_zero(value: Number) -> None:
    if value == 0:
        raise Refusal("Nothing is divided by zero.")


def _fitted(found: Number) -> Number:
    return fitted(found) if isinstance(found, int) else found


_BY_SIGN: Mapping[str, Callable[[Number, Number], Number]] = {
    "+": lambda left, right: _fitted(left + right),
    "-": lambda left, right: _fitted(left - right),
    "*": lambda left, right: _fitted(left * right),
    "/": divided,
    "//": divided_down,
    "%": remainder,
    "**": power,
}
SIGNS = frozenset(_BY_SIGN)


def computed(sign: str, left: Value, right: Value) -> Number:
    """Return the result of one of `SIGNS` for two values. Raises: Refusal: one is not a number, or the divisor is not
    allowed.
    """
    try:
        return _BY_SIGN[sign](number(left), number(right))
    except OverflowError:
        raise Refusal("The number is too large.") from None
