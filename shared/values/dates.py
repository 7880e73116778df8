"""Dates and times: ISO 8601 in its usual spelling, and Omneo's `Y-m-d H:i:s`, which is UTC.

Other spellings are unclear: 20271231 may be a day or a number of seconds, and 01/02/2027 may be one of two days.
"""

import re
from datetime import UTC, date, datetime

from shared.values.rendered import read_plain

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})? ?((?i:Z|UTC|GMT)|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)


def read_day(value: object) -> date | None:
    """Return the day of a date without a time, None for any other text.

    >>> read_day(" 2027-12-31 "), read_day("20271231"), read_day("2027-12-31 10:00")
    (datetime.date(2027, 12, 31), None, None)
    """
    text = read_plain(value) if isinstance(value, str) else ""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def read_local_time(value: object) -> datetime | None:
    """Return the time in a text, without a zone if it names none; None for any other text.

    >>> read_local_time("2027-12-31 10:00"), read_local_time("2027-12-31")
    (datetime.datetime(2027, 12, 31, 10, 0), None)
    """
    found = _TIME.fullmatch(read_plain(value)) if isinstance(value, str) else None
    if not found:
        return None
    day, minute, second, fraction, zone = found.groups(default="")
    offset = "+00:00" if zone.upper() in {"Z", "UTC", "GMT"} else zone
    try:
        return datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{fraction[:7]}{offset}")
    except ValueError:
        return None


def read_time(value: object) -> datetime | None:
    """Return the moment of a text in UTC. A text without a zone is UTC, and a date without a time means midnight. None for any other text.

    >>> read_time("2027-12-31T10:00:00+10:00").isoformat(), read_time("2027-12-31").isoformat()
    ('2027-12-31T00:00:00+00:00', '2027-12-31T00:00:00+00:00')
    """
    time = read_local_time(value)
    if time is None:
        day = read_day(value)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        return None
