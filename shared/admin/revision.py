"""The check of the API's revision: Klaviyo's answers announce the day on which it is retired."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

from shared.admin.findings import Finding, Severity
from shared.services import Services

RETIREMENT_SOON = timedelta(days=30)


def revision(announced: str, services: Services) -> Iterator[Finding]:
    """Tell of the day on which Klaviyo retires the revision that we ask for, if its answers announce one."""
    if not announced:
        return
    day = _day(announced)
    is_soon = day is not None and day - services.clock().date() < RETIREMENT_SOON
    yield Finding(
        "revision",
        Severity.CRITICAL if is_soon else Severity.WARNING,
        f"Klaviyo retires revision {services.settings.klaviyo_revision} of its API"
        f" {f'on {day}' if day else 'on a day that its answers name'}.",
        "Deploy a newer release of the extension.",
    )


def _day(text: str) -> date | None:
    """Return the day in ISO 8601 or in the form of HTTP, None if it is neither."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text.strip())
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).date()
        except (ValueError, TypeError, OverflowError):
            continue
    return None
