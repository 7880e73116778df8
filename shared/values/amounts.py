"""Amounts of money, in the places of their currency."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

from shared.values.rendered import read_number, read_plain

# ISO 4217: currencies that do not have two decimal places.
_NO_PLACES = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"]
)  # fmt: skip
_THREE_PLACES = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
_FOUR_PLACES = frozenset(["CLF", "UYW"])
_DIGITS = 400  # more than the largest number and the smallest unit have
_NO_CENTS = 2**53  # from here on no float has a fraction


def smallest_unit(currency: object) -> Decimal:
    """Return the least amount of a currency, given by its ISO code; a hundredth where that is not known.

    >>> smallest_unit("JPY"), smallest_unit(" kwd "), smallest_unit(None)
    (Decimal('1'), Decimal('0.001'), Decimal('0.01'))
    """
    return Decimal(1).scaleb(-_places(currency))


def rounded(amount: float, currency: object) -> int | float:
    """Return an amount rounded to the places of a currency, as `smallest_unit` takes it: a half goes away from zero, and no zero is negative.

    So the lowest amount is the smallest unit, and less than half of it is nothing.

    >>> rounded(0.30000000000000004, "AUD"), rounded(10.999, None), rounded(12.5, "JPY"), rounded(-1.1255, "KWD"), rounded(-1e-320, "")
    (0.3, 11.0, 13.0, -1.126, 0.0)
    """
    if isinstance(amount, int) or abs(amount) >= _NO_CENTS:
        return amount
    with localcontext(prec=_DIGITS):
        return float(Decimal(str(amount)).quantize(smallest_unit(currency), ROUND_HALF_UP)) + 0.0


def rounded_as_given(value: object, currency: object) -> object:
    """Return an amount rounded, and as text if it is one in text. What is no amount, or is one in those places, stays as it is.

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


def _places(currency: object) -> int:
    code = read_plain(currency).upper() if isinstance(currency, str) else ""
    return 0 if code in _NO_PLACES else 3 if code in _THREE_PLACES else 4 if code in _FOUR_PLACES else 2
