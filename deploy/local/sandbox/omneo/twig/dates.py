"""PHP's dates: the meaning of a text, and the moves of a date. Every date here knows its zone, UTC unless one is named.
date_format.py writes dates.

A text is read piece by piece, each by the first pattern that fits; one that no pattern fits is refused, though PHP may know it.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from deploy.local.sandbox.omneo.twig.date_format import DAYS, MONTHS
from deploy.local.sandbox.omneo.twig.php import Value, text
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.zones import ZULU, offset, zone_in_any_case

_UNITS = {"sec": "second", "min": "minute"}
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


def _in_reach(make: Callable[[], datetime]) -> datetime:
    try:
        return make()
    except (ValueError, OverflowError, OSError):
        raise Refusal("The date lies outside the years 1 to 9999, or there is no such day.") from None


def _on_one_clock(base: datetime, apart: timedelta) -> datetime:
    """Return `base` moved by a time; PHP's own answer where clocks change in between is not relied upon."""
    moved = base + apart
    if len(_offsets(moved)) > 1 or (apart and len(_offsets(base, moved)) > 1):
        raise Refusal("A date is not moved to or over a change of the clocks here.")
    return moved


def _offsets(*moments: datetime) -> set[timedelta | None]:
    """Return the offsets of these times on the clocks of their zones: a time in a change of the clocks has two."""
    return {moment.replace(fold=fold).utcoffset() for moment in moments for fold in (0, 1)}


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
        if hour >= 24 or minute >= 60 or second >= 60:
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
        place = next(place for place, name in enumerate(DAYS, 1) if name.startswith(weekday[:3])) % 7
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
    return next(place for place, month in enumerate(MONTHS, 1) if month.startswith(name[:3]))


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
    said.set_zone(offset(found[1], int(found[2]), int(found[3] or 0)))


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
        (r"z\b(?![+-])", lambda said, found: said.set_zone(ZULU)),
        (r"([+-])(\d{2}):?(\d{2})?(?![\d:])", _take_offset),
        (r"[a-z]+/[a-z_]+(?:/[a-z_]+)?", lambda said, found: said.set_zone(zone_in_any_case(found[0]))),
    )
)  # fmt: skip
