"""Numbers as templates render them: as JSON has them, or as text, with or without separators for thousands."""

import re
import sys


def read_number(value: object) -> int | float | None:
    """Return a finite number, or one written in text; None for anything else.

    >>> read_number(" 1,250.50 "), read_number(7), read_number("seven"), read_number(True), read_number("inf")
    (1250.5, 7, None, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if abs(value) <= sys.float_info.max else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text, re.ASCII):
        text = text.replace(",", "")  # as Twig's number_format writes it
    if not re.fullmatch(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})", text, re.ASCII):
        return None
    return float(text) if "." in text else int(text)
