"""Time zones by their IANA names: those of places, and UTC."""

import zoneinfo
from functools import cache
from zoneinfo import ZoneInfo

from shared.values.rendered import read_id

# The first part of a zone's name. What else is in the database names no place: `Factory`, `localtime` (this machine's), `Etc/GMT+10` (ten
# hours west of UTC, not east), `EST` (no summer time).
_AREAS = frozenset(
    ["Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil", "Canada", "Chile", "Europe", "Indian",
     "Mexico", "Pacific", "US"]
)  # fmt: skip
# Older names of places that stand alone.
_ALONE = frozenset(
    ["Cuba", "Egypt", "Eire", "GB", "GB-Eire", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya", "NZ",
     "NZ-CHAT", "Navajo", "PRC", "Poland", "Portugal", "ROC", "ROK", "Singapore", "Turkey", "W-SU"]
)  # fmt: skip
_UTC = frozenset(["UTC", "GMT", "Etc/UTC", "Etc/GMT"])


@cache  # it reads a folder of files
def zones() -> frozenset[str]:
    """Return the names of the zones of places, and UTC."""
    names = zoneinfo.available_timezones()
    return frozenset(
        name for name in names if name in _ALONE | _UTC or ("/" in name and name.partition("/")[0] in _AREAS)
    )


def read_zone(value: object) -> ZoneInfo | None:
    """Return the time zone of a name, None for any other value.

    >>> read_zone(" Australia/Melbourne\u200b"), read_zone("localtime"), read_zone("Etc/GMT+10"), read_zone("../UTC")
    (zoneinfo.ZoneInfo(key='Australia/Melbourne'), None, None, None)
    """
    name = read_id(value)
    return ZoneInfo(name) if name in zones() else None
