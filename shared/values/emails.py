"""Email addresses, as Klaviyo takes them."""

import re

from shared.values.rendered import is_unrendered, read_plain

LONGEST = 254

# U+FFFD stands for a letter that was lost. What stands before the @ is the mailbox's own affair, but what belongs to a sentence or a list around an address is not part of it.
_LOCAL = r"[^@\s<>()\[\]\\,;:\"\ufffd]{1,64}"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_TOP = r"(?=[^.]*[^\W\d_])"  # the last label is no number: 127.0.0.1 is no mail domain
_POINTS = {
    0x3002: ".",
    0xFF61: ".",
}  # Chinese and Japanese keyboards type them, and a domain treats them as its points
_EMAIL = re.compile(rf"{_LOCAL}@(?:{_LABEL}\.)+{_TOP}{_LABEL}")


def read_email(value: object) -> str | None:
    """Return the address, trimmed, without invisible characters, its case kept; None for anything else.

    Klaviyo refuses a domain without a dot, and a mailto: address is a link. An address with an unrendered placeholder would be the same for
    everybody.

    >>> read_email(" Jane@example.org "), read_email("jane@localhost"), read_email("mailto:jane@example.org")
    ('Jane@example.org', None, None)
    >>> read_email("{{email}}@example.org")
    """
    if not isinstance(value, str):
        return None
    text = read_plain(value).translate(_POINTS)
    return text if len(text) <= LONGEST and _EMAIL.fullmatch(text) and not is_unrendered(text) else None
