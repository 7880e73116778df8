"""Amounts of money, rounded to the decimal places of their currency."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from shared.values.rendered import read_number, read_plain

# The names of money in Omneo's profiles, rewards and events. The values are sums of fractions: 0.1 + 0.2 is 0.30000000000000004, and an
# email would show it.
MONEY = frozenset(
    {
        "value_initial",
        "value_remaining",
        "reward_balance",
        "point_balance_dollars",
        "combined_balance_dollars",
    }
)

# ISO 4217: currencies that do not have two decimal places.
_NO_PLACES = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"]
)  # fmt: skip
_THREE_PLACES = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
_FOUR_PLACES = frozenset(["CLF", "UYW"])
_DIGITS = 400  # more digits than the largest number and the smallest unit have
_NO_CENTS = 2**53  # from this number on, no float has a fraction


def smallest_unit(currency: object) -> Decimal:
    """Return the smallest unit of a currency, given by its ISO code; a hundredth for an unknown code.

    >>> smallest_unit("JPY"), smallest_unit(" kwd "), smallest_unit(None)
    (Decimal('1'), Decimal('0.001'), Decimal('0.01'))
    """
    return Decimal(1).scaleb(-_places(currency))


def rounded(amount: float, currency: object) -> int | float:
    """Return an amount rounded to the places of a currency, as `smallest_unit` takes it: a half goes away from zero, and no zero is negative.

    So the lowest amount above zero is the smallest unit, and less than half of it becomes zero.

    >>> rounded(0.30000000000000004, "AUD"), rounded(10.999, None), rounded(12.5, "JPY"), rounded(-1.1255, "KWD"), rounded(-1e-320, "")
    (0.3, 11.0, 13.0, -1.126, 0.0)
    """
    if isinstance(amount, int) or abs(amount) >= _NO_CENTS:
        return amount
    with localcontext(prec=_DIGITS):
        return float(Decimal(str(amount)).quantize(smallest_unit(currency), ROUND_HALF_UP)) + 0.0


def rounded_as_given(value: object, currency: object) -> object:
    """Return an amount rounded, as text if it came as text. Any other value, and an amount that is rounded already, stays as it is.

    >>> rounded_as_given(0.30000000000000004, "AUD"), rounded_as_given("10.999", "AUD"), rounded_as_given("30", "AUD"), rounded_as_given("none", "")
    (0.3, '11.00', '30', 'none')
    """
    number = read_number(value)
    if number is None:
        return value
    found = rounded(number, currency)
    if not isinstance(value, str):
        return found
    return value if str(found) == str(number) else f"{found:.{_places(currency)}f}"


def with_rounded_money(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with Omneo's money rounded to the places of the currency beside it or in its `definition`.

    >>> with_rounded_money({"value_remaining": 0.30000000000000004, "weight": 10.999})
    {'value_remaining': 0.3, 'weight': 10.999}
    """
    definition = fields.get("definition")
    currency = fields.get("currency") or (
        definition.get("currency") if isinstance(definition, Mapping) else ""
    )
    return {
        name: rounded_as_given(value, currency) if name in MONEY else value for name, value in fields.items()
    }


def _places(currency: object) -> int:
    code = read_plain(currency).upper() if isinstance(currency, str) else ""
    return 0 if code in _NO_PLACES else 3 if code in _THREE_PLACES else 4 if code in _FOUR_PLACES else 2
