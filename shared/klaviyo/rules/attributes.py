"""The attributes of Klaviyo's profiles and events, their kinds, and the values that Klaviyo would refuse.

https://developers.klaviyo.com/en/reference/create_or_update_profile
"""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any

from shared.values import is_unrendered, read_id, read_number
from shared.values.emails import read_email
from shared.values.phones import e164

Json = Any

# Not Klaviyo's published limits: longer names are of no use, and no segment can use a value with deeper nesting.
LONGEST_NAME = 200
MOST_LEVELS = 20
# Klaviyo takes 100 KB a profile; the text around the attributes, and the spaces of another JSON writer, need some of it.
PROFILE_BYTES = 95 * 1024

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?")
_TIMEZONE = re.compile(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}")


def fitted(attribute: str, value: Json, region: str) -> Json:
    """Return the value in the attribute's form, None if Klaviyo would refuse it there. `region` is for phone numbers.

    >>> fitted("location.zip", 3000.0, ""), fitted("first_name", " Jane ", ""), fitted("first_name", ["Jane"], "")
    ('3000', 'Jane', None)
    """
    name = attribute.removeprefix("location.")
    if name in ("latitude", "longitude"):
        return _coordinate(value, 90 if name == "latitude" else 180)
    if name == "phone_number":
        return e164(value, region)
    if name == "email":
        return read_email(value)
    text = _text(value)
    return text if text and _CHECKS.get(name, bool)(text) else None


def plain(value: Json, level: int = 1) -> Json:
    """Return the value as JSON that Klaviyo can store.

    Raises:
        ValueError: Klaviyo cannot store the value, or it is nested too deep.
    """
    if level > MOST_LEVELS:
        raise ValueError("nested too deep")
    match value:
        case dict():
            return {plain_text(str(key)): plain(item, level + 1) for key, item in value.items()}
        case list():
            return [plain(item, level + 1) for item in value]
        case str():
            return plain_text(value)
        case bool() | None:
            return value
        case int() if abs(value) < 2**63:
            return value
        case float() if math.isfinite(value):
            return value
        case _:
            raise ValueError("no JSON")


def plain_text(text: str) -> str:
    """Return the text without the characters that cannot be sent: half a surrogate pair, and NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")


def _text(value: Json) -> str:
    """Return a name, a zip or the like as text, a number too; "" for any other value, and for an unrendered template."""
    if isinstance(value, str):
        return "" if is_unrendered(value) else plain_text(value).strip()
    return read_id(value) or ""


def _coordinate(value: Json, limit: int) -> float | None:
    number = read_number(value)
    return float(number) if number is not None and abs(number) <= limit else None


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_CHECKS: dict[str, Callable[[str], bool]] = {
    "locale": lambda text: _LOCALE.fullmatch(text) is not None,
    "timezone": lambda text: _TIMEZONE.fullmatch(text) is not None,
    "image": lambda text: text.startswith(("https://", "http://")),
    "ip": _is_ip,
}
