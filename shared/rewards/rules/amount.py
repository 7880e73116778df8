"""How much a reward is worth, in the smallest units of its currency. Pure."""

from decimal import ROUND_HALF_UP, Decimal

from shared.errors import InvalidPayloadError

# ISO 4217: currencies that do not have two decimal places.
_NO_PLACES = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_THREE_PLACES = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])


def in_currency(amount: float, currency: object) -> int | float:
    """Return an amount rounded to the places of a currency, given by its ISO code; to two places where that is not known.

    >>> in_currency(0.30000000000000004, "AUD"), in_currency(10.999, None), in_currency(12.5, "JPY"), in_currency(1.1255, "KWD")
    (0.3, 11, 13, 1.126)

    Raises:
        InvalidPayloadError: it is less than the smallest unit.
    """
    unit = Decimal(1).scaleb(-_places(currency))
    exact = Decimal(str(amount))
    if exact < unit:
        raise InvalidPayloadError(f"data.amount must be a number above 0, at least {unit} in this currency.")
    rounded = exact.quantize(unit, ROUND_HALF_UP)
    return int(rounded) if rounded == int(rounded) else float(rounded)


def _places(currency: object) -> int:
    code = currency.upper() if isinstance(currency, str) else ""
    if code in _NO_PLACES:
        return 0
    return 3 if code in _THREE_PLACES else 2
