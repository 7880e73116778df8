r"""PHP's dates: the meaning of a text, the moves of a date and its written form. Every date here knows its zone, UTC
unless one is named.

A text is read piece by piece, each by the first pattern that fits; one that no pattern fits is refused, though PHP may know it.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from deploy.local.sandbox.omneo.twig.php import Value, text
from deploy.local.sandbox.omneo.twig.refusals import Refusal

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {"sec": "second", "min": "minute"}
_ZULU = timezone(timedelta(), "Z")
_DIGITS = re.compile(r"-?[0-9]+")


def read_moment(value: Value, now: float, zone: tzinfo | None = UTC) -> datetime:
    """Return the date that a template means, in `zone`, or in its own if that is None. Null, "" and "now" are now, in Unix seconds.

    Raises:
        Refusal: it cannot be read.
    """
    if isinstance(value, datetime):
        return value if zone is None else value.astimezone(zone)
    if isinstance(value, dict):
        raise Refusal("An array is no date.")
    written = "now" if value is None else text(value)
    with_own = parse(written, datetime.fromtimestamp(now, UTC))
    return with_own if zone is None else _in_reach(lambda: with_own.astimezone(zone))


def parse(written: str, now: datetime) -> datetime:
    """Return the date of a text. Missing parts are those of the present moment; a day without a time is at midnight."""
    if _DIGITS.fullmatch(written):
        return _in_reach(lambda: datetime.fromtimestamp(int(written), UTC))
    said = _Said().read(written)
    base = now if said.zone is None else now.astimezone(said.zone)
    if said.time is None and (said.day is not None or said.zone is not None):
        base = base.replace(hour=0, minute=0, second=0, microsecond=0)
    return said.applied(base)


def modified(moment: datetime, by: str) -> datetime:
    """Return a date moved by a text such as "+14 days"."""
    said = _Said().read(by)
    if said.zone is not None:
        raise Refusal("A zone cannot be given to |date_modify here.")
    return said.applied(moment)


def zone_named(name: str) -> tzinfo:
    """Return the zone of a name such as Australia/Sydney, or of an offset such as +10:00.

    Raises:
        Refusal: there is none.
    """
    if found := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        return _offset(found[1], int(found[2]), int(found[3]))
    if name.upper() in ("UTC", "Z"):
        return UTC if name.upper() == "UTC" else _ZULU
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise Refusal("There is no such time zone, or it is not known here.") from None


def _offset(sign: str, hours: int, minutes: int = 0) -> tzinfo:
    ahead = timedelta(hours=hours, minutes=minutes)
    if ahead >= timedelta(hours=24):
        raise Refusal("There is no such time zone.")
    # Named, for without a name 0 hours would be UTC itself, which PHP calls otherwise.
    return timezone(-ahead if sign == "-" else ahead, "offset")


def _in_reach(make: Callable[[], datetime]) -> datetime:
    try:
        return make()
    except (ValueError, OverflowError, OSError):
        raise Refusal("The date lies outside the years 1 to 9999, or there is no such day.") from None


def _on_one_clock(base: datetime, apart: timedelta) -> datetime:
    """Return `base` moved by a time; PHP's own answer where clocks change in between is not relied upon."""
    moved = base + apart
    offsets = {one.replace(fold=fold).utcoffset() for one in (base, moved) for fold in (0, 1)}
    is_there = {one.replace(fold=fold).utcoffset() for one in (moved,) for fold in (0, 1)}
    if len(is_there) > 1 or (apart and len(offsets) > 1):
        raise Refusal("A date is not moved to or over a change of the clocks here.")
    return moved


class _Said:
    """The parts of a date that a text has named so far."""

    def __init__(self) -> None:
        self.day: tuple[int, int, int] | None = None
        self.time: tuple[int, int, int, int] | None = None
        self.zone: tzinfo | None = None
        self.moved = dict.fromkeys(("year", "month", "day", "hour", "minute", "second"), 0)
        self.weekday: tuple[int, bool] | None = None  # and whether the day itself counts
        self.day_of_month = ""

    def read(self, written: str) -> "_Said":
        """Take in a whole text.

        Raises:
            Refusal: a part of it cannot be read.
        """
        rest = written.strip(" \t\n").lower()
        if len(rest) > 100:
            raise Refusal("The text is too long to be a date.")
        while rest:
            for pattern, take in _PATTERNS:
                if found := pattern.match(rest):
                    take(self, found)
                    rest = rest[found.end() :].lstrip(" \t,")
                    break
            else:
                raise Refusal("The text is no date that can be read here.")
        return self

    def applied(self, base: datetime) -> datetime:
        """Return the date that is meant, seen from `base`."""
        if self.day is not None:
            year, month, day = self.day
            base = _in_reach(lambda: base.replace(year=year, month=month, day=1)) + timedelta(days=day - 1)
        if self.time is not None:
            hour, minute, second, fraction = self.time
            base = base.replace(hour=hour, minute=minute, second=second, microsecond=fraction)
        return _in_reach(lambda: self._moved(base))

    def _moved(self, base: datetime) -> datetime:
        if self.weekday is not None:
            base += timedelta(days=self._days_to_weekday(base, *self.weekday))
        months = base.month - 1 + self.moved["month"]
        year, month = base.year + self.moved["year"] + months // 12, months % 12 + 1
        day = base.day
        if self.day_of_month == "first":
            day = 1
        elif self.day_of_month == "last":
            day, year, month = 0, year + month // 12, month % 12 + 1
        if self.day_of_month and self.moved["day"]:
            raise Refusal("The first or last day of a month is not moved by days here.")
        base = base.replace(year=year, month=month, day=1) + timedelta(days=day - 1 + self.moved["day"])
        apart = timedelta(
            hours=self.moved["hour"], minutes=self.moved["minute"], seconds=self.moved["second"]
        )
        return _on_one_clock(base, apart)

    def _days_to_weekday(self, base: datetime, weekday: int, counts: bool) -> int:
        days = weekday - base.isoweekday() % 7
        is_back = self.moved["day"] < 0
        if (is_back and days < 0) or (not is_back and days <= -int(counts)):
            days += 7
        return days

    def set_day(self, year: int, month: int, day: int) -> None:
        if self.day is not None or not 1 <= month <= 12 or not 1 <= day <= 31:
            raise Refusal("The text is no date that can be read here.")
        self.day = (year, month, day)

    def set_time(self, hour: int, minute: int = 0, second: int = 0, fraction: int = 0) -> None:
        if not (0 <= hour <= 24 and minute < 60 and second < 60) or hour == 24:
            raise Refusal("The text is no time that can be read here.")
        self.time = (hour, minute, second, fraction)

    def set_zone(self, zone: tzinfo) -> None:
        if self.zone is not None:
            raise Refusal("The text names two time zones.")
        self.zone = zone

    def move(self, amount: int, unit: str) -> None:
        name = _UNITS.get(unit, unit)
        factor = {"week": 7, "fortnight": 14}.get(name, 1)
        if abs(amount) > 1_000_000_000:
            raise Refusal("A date cannot be moved so far.")
        self.moved["day" if factor > 1 else name] += amount * factor

    def turn_back(self) -> None:
        if self.weekday is not None:
            raise Refusal("A weekday is not turned back here.")
        self.moved = {name: -amount for name, amount in self.moved.items()}

    def go_to(self, weekday: str, which: str) -> None:
        if self.weekday is not None:
            raise Refusal("The text names two weekdays.")
        place = next(place for place, name in enumerate(_DAYS, 1) if name.startswith(weekday[:3])) % 7
        amount = _WHICH.get(which, 0)
        self.moved["day"] += (amount - 1 if amount > 0 else amount) * 7
        self.weekday = (place, which in ("", "this"))
        self.time = (0, 0, 0, 0)


_WHICH = {"next": 1, "last": -1, "previous": -1, "this": 0}
_UNIT = r"(sec|second|min|minute|hour|day|week|fortnight|month|year)s?\b"
_WEEKDAY = (
    r"(mon(?:day)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:r|rs|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)\b"
)
_MONTH = r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b"


def _month(name: str) -> int:
    return next(place for place, month in enumerate(_MONTHS, 1) if month.startswith(name[:3]))


def _take_time(said: _Said, found: re.Match[str]) -> None:
    hour, minute, second = (int(part or 0) for part in found.groups()[:3])
    if found["half"]:
        if not 1 <= hour <= 12:
            raise Refusal("The text is no time that can be read here.")
        hour = hour % 12 + (12 if found["half"] == "p" else 0)
    said.set_time(hour, minute, second, int(f"{found['fraction'] or 0:0<6}"[:6]))


def _take_word(said: _Said, found: re.Match[str]) -> None:
    word = found[1]
    if word == "now":
        return
    said.set_time(12 if word == "noon" else 0)
    said.moved["day"] += {"tomorrow": 1, "yesterday": -1}.get(word, 0)


def _take_day_of(said: _Said, found: re.Match[str]) -> None:
    said.day_of_month = found[1]


def _take_amount(said: _Said, found: re.Match[str]) -> None:
    signs = found[1].count("-")
    said.move((-1 if signs % 2 else 1) * int(found[2]), found[3])


def _take_which(said: _Said, found: re.Match[str]) -> None:
    if found[2] == "week":
        raise Refusal('Say "+1 week": what PHP makes of "next week" is not relied upon.')
    said.move(_WHICH[found[1]], found[2])


def _take_offset(said: _Said, found: re.Match[str]) -> None:
    said.set_zone(_offset(found[1], int(found[2]), int(found[3] or 0)))


_TIME_TAIL = r"(?:[.,](?P<fraction>\d{1,9}))?"
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[_Said, re.Match[str]], None]], ...] = tuple(
    (re.compile(pattern, re.ASCII), take)
    for pattern, take in (
        (r"(\d{4})-(\d{1,2})-(\d{1,2})(?=t\d|\D|$)", lambda said, found: said.set_day(int(found[1]), int(found[2]), int(found[3]))),
        (r"(\d{4})/(\d{1,2})/(\d{1,2})(?!\d)", lambda said, found: said.set_day(int(found[1]), int(found[2]), int(found[3]))),
        (r"(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)", lambda said, found: said.set_day(int(found[3]), int(found[1]), int(found[2]))),
        (r"(\d{1,2})[.-](\d{1,2})[.-](\d{4})(?!\d)", lambda said, found: said.set_day(int(found[3]), int(found[2]), int(found[1]))),
        (rf"(\d{{1,2}})(?:st|nd|rd|th)?[ \t.-]*{_MONTH}[ \t.,-]*(\d{{4}})(?!\d)", lambda said, found: said.set_day(int(found[3]), _month(found[2]), int(found[1]))),
        (rf"{_MONTH}[ \t.-]*(\d{{1,2}})(?:st|nd|rd|th)?[, \t]+(\d{{4}})(?![\d:])", lambda said, found: said.set_day(int(found[3]), _month(found[1]), int(found[2]))),
        (rf"t?(\d{{1,2}}):(\d{{2}})(?::(\d{{2}}){_TIME_TAIL})?(?:\s*(?P<half>[ap])\.?m\.?\b)?(?![\d:])", _take_time),
        (r"(\d{1,2})(?P<minute>)?(?P<second>)?(?P<fraction>)?\s*(?P<half>[ap])m\b", _take_time),
        (r"(first|last) day of\b", _take_day_of),
        (rf"([+-][ \t+-]*|)(\d{{1,9}})[ \t]*{_UNIT}", _take_amount),
        (rf"(next|last|previous|this)[ \t]+{_UNIT}", _take_which),
        (rf"(next|last|previous|this)[ \t]+{_WEEKDAY}", lambda said, found: said.go_to(found[2], found[1])),
        (r"(now|today|midnight|noon|tomorrow|yesterday)\b", _take_word),
        (r"ago\b", lambda said, found: said.turn_back()),
        (_WEEKDAY, lambda said, found: said.go_to(found[1], "")),
        (r"(?:utc|gmt)\b(?![+-])", lambda said, found: said.set_zone(UTC)),
        (r"z\b(?![+-])", lambda said, found: said.set_zone(_ZULU)),
        (r"([+-])(\d{2}):?(\d{2})?(?![\d:])", _take_offset),
        (r"[a-z]+/[a-z_]+(?:/[a-z_]+)?", lambda said, found: said.set_zone(_zone_in_any_case(found[0]))),
    )
)  # fmt: skip


def _zone_in_any_case(name: str) -> tzinfo:
    parts = ("_".join(word.capitalize() for word in part.split("_")) for part in name.split("/"))
    return zone_named("/".join(parts))


# Writing


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
    if zone is _ZULU:
        return "Z"
    return zone.key if isinstance(zone, ZoneInfo) else "UTC" if zone is UTC else _apart(moment, ":")


def _is_utc(moment: datetime) -> bool:
    """Return whether PHP counts the zone as UTC itself: London in winter is none, though its clocks agree."""
    return not moment.utcoffset() and (not isinstance(moment.tzinfo, ZoneInfo) or moment.tzname() == "UTC")


def _short_zone(moment: datetime) -> str:
    name = moment.tzname() or ""
    if moment.tzinfo in (UTC, _ZULU) and name != "offset":
        return name
    if isinstance(moment.tzinfo, ZoneInfo) and name[:1].isalpha():
        return name
    return f"GMT{_apart(moment, '')}" if not isinstance(moment.tzinfo, ZoneInfo) else _apart(moment, ":")


def _beat(moment: datetime) -> str:
    seconds = (moment.astimezone(UTC) + timedelta(hours=1)).time()
    passed = seconds.hour * 3600 + seconds.minute * 60 + seconds.second
    return f"{int(passed / 86.4):03}"


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _last_day(moment: datetime) -> int:
    return 29 if moment.month == 2 and _is_leap(moment.year) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[moment.month - 1]  # fmt: skip


_LETTERS: Mapping[str, Callable[[datetime], str]] = {
    "d": lambda moment: f"{moment.day:02}",
    "j": lambda moment: str(moment.day),
    "S": _ordinal,
    "D": lambda moment: _DAYS[moment.weekday()][:3].capitalize(),
    "l": lambda moment: _DAYS[moment.weekday()].capitalize(),
    "N": lambda moment: str(moment.isoweekday()),
    "w": lambda moment: str(moment.isoweekday() % 7),
    "z": lambda moment: str(moment.timetuple().tm_yday - 1),
    "W": lambda moment: f"{moment.isocalendar().week:02}",
    "o": lambda moment: str(moment.isocalendar().year),
    "m": lambda moment: f"{moment.month:02}",
    "n": lambda moment: str(moment.month),
    "M": lambda moment: _MONTHS[moment.month - 1][:3].capitalize(),
    "F": lambda moment: _MONTHS[moment.month - 1].capitalize(),
    "t": lambda moment: str(_last_day(moment)),
    "L": lambda moment: str(int(_is_leap(moment.year))),
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
