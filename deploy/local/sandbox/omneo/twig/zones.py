"""Time zones as PHP names them."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from deploy.local.sandbox.omneo.twig.refusals import Refusal

ZULU = timezone(timedelta(), "Z")


def zone_named(name: str) -> tzinfo:
    """Return the zone of a name such as Australia/Sydney, or of an offset such as +10:00.

    Raises:
        Refusal: there is none.
    """
    if found := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        return offset(found[1], int(found[2]), int(found[3]))
    if name.upper() in ("UTC", "Z"):
        return UTC if name.upper() == "UTC" else ZULU
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise Refusal("There is no such time zone, or it is not known here.") from None


def offset(sign: str, hours: int, minutes: int = 0) -> tzinfo:
    """Return the zone that lies so far before or behind UTC. Raises as `zone_named`."""
    ahead = timedelta(hours=hours, minutes=minutes)
    if ahead >= timedelta(hours=24):
        raise Refusal("There is no such time zone.")
    # Named, for without a name 0 hours would be UTC itself, which PHP calls otherwise.
    return timezone(-ahead if sign == "-" else ahead, "offset")


def zone_in_any_case(name: str) -> tzinfo:
    """Return the zone of a name such as australia/sydney. Raises as `zone_named`."""
    parts = ("_".join(word.capitalize() for word in part.split("_")) for part in name.split("/"))
    return zone_named("/".join(parts))
