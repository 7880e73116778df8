"""The check of the day on which Klaviyo retires our revision of its API. Klaviyo's answers announce the day; until then, the usual life of
a revision counts.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

from shared.admin.findings import Finding, Severity
from shared.services import Services

RETIREMENT_SOON = timedelta(days=30)
# https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy: a year stable, then a year deprecated.
LIFE_MONTHS = 24
TOLD_MONTHS_BEFORE = 6
_MEND = "Deploy a newer release of the extension. `rehearse --revision` tells what the next revision changes."


def revision(announced: str, services: Services) -> Iterator[Finding]:
    """Tell the day on which Klaviyo retires the revision that we ask for: always if its answers announce the day, else from half a year
    before a revision's life ends.
    """
    own, today = services.settings.klaviyo_revision, services.clock().date()
    if announced:
        day = _day(announced)
        told = f"Klaviyo retires revision {own} of its API {f'on {day}' if day else 'on a day that its answers name'}."
        yield _finding(told, day, today)
        return
    made = date.fromisoformat(own[:10])
    day = _months_after(made, LIFE_MONTHS)
    if today >= _months_after(made, LIFE_MONTHS - TOLD_MONTHS_BEFORE):
        told = f"Klaviyo may retire revision {own} of its API from {day} on: a revision lives for {LIFE_MONTHS} months."
        yield _finding(told, day, today)


def _finding(told: str, day: date | None, today: date) -> Finding:
    is_soon = day is not None and day - today < RETIREMENT_SOON
    return Finding("revision", Severity.CRITICAL if is_soon else Severity.WARNING, told, _MEND)


def _months_after(day: date, months: int) -> date:
    """Return the same day some months later, or the last day of a shorter month."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _day(text: str) -> date | None:
    """Return the day of a text in ISO 8601 or in HTTP's form, None for any other text."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text.strip())
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).date()
        except (ValueError, TypeError, OverflowError):
            continue
    return None
