"""The written form of a date, in the letters of PHP's date()."""

from calendar import isleap, monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from deploy.local.sandbox.omneo.twig.zones import ZULU

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")  # fmt: skip
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def php_date(moment: datetime, format: str) -> str:
    r"""Return `moment` in the letters of PHP's date(); a backslash keeps the next letter as it is.

    >>> php_date(datetime(2026, 11, 1, 9, 5, tzinfo=UTC), r"jS F Y \a\t H:i")
    '1st November 2026 at 09:05'
    """
    written, letters = [], iter(format)
    for letter in letters:
        if letter == "\\":
            written.append(next(letters, "\\"))
        else:
            written.append(_LETTERS[letter](moment) if letter in _LETTERS else letter)
    return "".join(written)


def _ordinal(moment: datetime) -> str:
    if moment.day in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(moment.day % 10, "th")


def _apart(moment: datetime, between: str) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}{between}{minutes % 60:02}"


def _zone(moment: datetime) -> str:
    zone = moment.tzinfo
    if zone is ZULU:
        return "Z"
    return zone.key if isinstance(zone, ZoneInfo) else "UTC" if zone is UTC else _apart(moment, ":")


def _is_utc(moment: datetime) -> bool:
    """Return whether PHP counts the zone as UTC itself: London in winter is none, though its clocks agree."""
    return not moment.utcoffset() and (not isinstance(moment.tzinfo, ZoneInfo) or moment.tzname() == "UTC")


def _short_zone(moment: datetime) -> str:
    zone, name = moment.tzinfo, moment.tzname() or ""
    if isinstance(zone, ZoneInfo):
        return name if name[:1].isalpha() else _apart(moment, ":")
    return name if zone is UTC or zone is ZULU else f"GMT{_apart(moment, '')}"


def _beat(moment: datetime) -> str:
    seconds = (moment.astimezone(UTC) + timedelta(hours=1)).time()
    passed = seconds.hour * 3600 + seconds.minute * 60 + seconds.second
    return f"{int(passed / 86.4):03}"


_LETTERS: Mapping[str, Callable[[datetime], str]] = {
    "d": lambda moment: f"{moment.day:02}",
    "j": lambda moment: str(moment.day),
    "S": _ordinal,
    "D": lambda moment: DAYS[moment.weekday()][:3].capitalize(),
    "l": lambda moment: DAYS[moment.weekday()].capitalize(),
    "N": lambda moment: str(moment.isoweekday()),
    "w": lambda moment: str(moment.isoweekday() % 7),
    "z": lambda moment: str(moment.timetuple().tm_yday - 1),
    "W": lambda moment: f"{moment.isocalendar().week:02}",
    "o": lambda moment: str(moment.isocalendar().year),
    "m": lambda moment: f"{moment.month:02}",
    "n": lambda moment: str(moment.month),
    "M": lambda moment: MONTHS[moment.month - 1][:3].capitalize(),
    "F": lambda moment: MONTHS[moment.month - 1].capitalize(),
    "t": lambda moment: str(monthrange(moment.year, moment.month)[1]),
    "L": lambda moment: str(int(isleap(moment.year))),
    "Y": lambda moment: f"{moment.year:04}",
    "y": lambda moment: f"{moment.year % 100:02}",
    "B": _beat,
    "H": lambda moment: f"{moment.hour:02}",
    "G": lambda moment: str(moment.hour),
    "h": lambda moment: f"{moment.hour % 12 or 12:02}",
    "g": lambda moment: str(moment.hour % 12 or 12),
    "i": lambda moment: f"{moment.minute:02}",
    "s": lambda moment: f"{moment.second:02}",
    "u": lambda moment: f"{moment.microsecond:06}",
    "v": lambda moment: f"{moment.microsecond // 1000:03}",
    "A": lambda moment: "PM" if moment.hour > 11 else "AM",
    "a": lambda moment: "pm" if moment.hour > 11 else "am",
    "e": _zone,
    "T": _short_zone,
    "I": lambda moment: str(int(bool(moment.dst()))),
    "O": lambda moment: _apart(moment, ""),
    "P": lambda moment: _apart(moment, ":"),
    "p": lambda moment: "Z" if _is_utc(moment) else _apart(moment, ":"),
    "Z": lambda moment: str(int((moment.utcoffset() or timedelta()).total_seconds())),
    "U": lambda moment: str(int(moment.timestamp() // 1)),
    "c": lambda moment: php_date(moment, r"Y-m-d\TH:i:sP"),
    "r": lambda moment: php_date(moment, "D, d M Y H:i:s O"),
}
