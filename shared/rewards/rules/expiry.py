"""When a reward expires: the call says it, or else its definition, in the reward's own time zone."""

import calendar
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.errors import InvalidPayloadError
from shared.values import read_number
from shared.values.dates import read_day, read_local_time
from shared.values.zones import read_zone

_END_OF_DAY = time(23, 59, 59)
_LONGEST = 100_000  # periods; anything near it is beyond the calendar


def read_timezone(name: str) -> ZoneInfo:
    """Return the time zone.

    Raises:
        InvalidPayloadError: there is no time zone of this name.
    """
    zone = read_zone(name)
    if zone is None:
        raise InvalidPayloadError("data.timezone must be an IANA time zone, as in Australia/Melbourne.")
    return zone


def read_expiry(text: str, timezone: str) -> str:
    """Return the time that a call gives, as Omneo takes it: `Y-m-d H:i:s` in the reward's time zone.

    A date alone means the end of that day. A time with an offset is converted to the zone. Any other spelling is refused, because its
    meaning would be a guess.

    Raises:
        InvalidPayloadError: it is no time.

    >>> read_expiry("2026-12-31", "Australia/Melbourne")
    '2026-12-31 23:59:59'
    """
    zone = read_timezone(timezone)
    if day := read_day(text):
        return _stamp(datetime.combine(day, _END_OF_DAY))
    given = read_local_time(text)
    try:
        if given is not None:
            return _stamp(given.astimezone(zone) if given.tzinfo else given)
    except OverflowError:
        pass  # at the ends of the calendar the zone has no such time
    raise InvalidPayloadError(
        "data.expires_at must be a date, as in 2026-12-31, or a time, as in 2026-12-31 23:59:59."
    )


def check_is_ahead(expires_at: str, timezone: str, now: datetime) -> None:
    """Raise InvalidPayloadError if a time that `read_expiry` returned lies in the past."""
    # Compared without a zone: near the ends of the calendar a local time has no counterpart in UTC.
    if datetime.fromisoformat(expires_at) <= now.astimezone(read_timezone(timezone)).replace(tzinfo=None):
        raise InvalidPayloadError("data.expires_at must lie in the future, in the reward's time zone.")


def expiry_of(
    *, period: object, period_type: object, absolute_expiry: object, timezone: str, now: datetime
) -> str:
    """Return when a reward of this definition expires if it is issued now: at the end of a day in its time zone.

    `period` counts days, weeks, months or years, as `period_type` says; with any of its `absolute_` types, or without a
    period, the date in `absolute_expiry` holds.

    Raises:
        InvalidPayloadError: the definition names no expiry, or its date is over; the call must name one.
    """
    zone = read_timezone(timezone)
    today = now.astimezone(zone).date()
    unit = str(period_type).strip().lower().removesuffix("s")
    try:
        day = _after(today, read_number(period), unit) or _fixed(absolute_expiry, zone)
    except (ValueError, OverflowError):
        day = None
    if day is None:
        raise InvalidPayloadError(
            "data.expires_at is needed: the reward definition has no period and no date to take it from."
        )
    if day < today:
        raise InvalidPayloadError("data.expires_at is needed: the date in the reward definition is over.")
    return _stamp(datetime.combine(day, _END_OF_DAY))


def _after(today: date, period: float | None, unit: str) -> date | None:
    if period is None or not 0 < period <= _LONGEST or period != int(period):
        return None
    count = int(period)
    match unit:
        case "day":
            return today + timedelta(days=count)
        case "week":
            return today + timedelta(weeks=count)
        case "month":
            return _months_after(today, count)
        case "year":
            return _months_after(today, 12 * count)
        case _:
            return None


def _months_after(day: date, count: int) -> date:
    """Return the same day of a later month, or that month's last. Raises ValueError beyond the calendar.

    >>> _months_after(date(2027, 1, 31), 1), _months_after(date(2028, 2, 29), 12)
    (datetime.date(2027, 2, 28), datetime.date(2029, 2, 28))
    """
    years, month = divmod(day.month - 1 + count, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _fixed(text: object, zone: ZoneInfo) -> date | None:
    """Return the date in Omneo's answer. Only a time with an offset is converted to the zone."""
    if not text or not isinstance(text, str):
        return None
    fixed = datetime.fromisoformat(text)
    return (fixed.astimezone(zone) if fixed.tzinfo else fixed).date()


def _stamp(local: datetime) -> str:
    return local.replace(tzinfo=None, microsecond=0).isoformat(" ")
