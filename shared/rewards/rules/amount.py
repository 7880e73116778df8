"""How much a reward is worth, in the smallest units of its currency. Pure."""

from decimal import Decimal

from shared.errors import InvalidPayloadError
from shared.values.amounts import rounded, smallest_unit


def in_currency(amount: float, currency: object) -> int | float:
    """Return an amount rounded to the places of a currency, given by its ISO code; to two places for an unknown code.

    >>> in_currency(0.30000000000000004, "AUD"), in_currency(12.5, "JPY")
    (0.3, 13)

    Raises:
        InvalidPayloadError: the amount is less than the smallest unit.
    """
    unit = smallest_unit(currency)
    if Decimal(str(amount)) < unit:
        raise InvalidPayloadError(f"data.amount must be a number above 0, at least {unit} in this currency.")
    found = rounded(amount, currency)
    return int(found) if found == int(found) else found
