"""Reads the moments in the parameters of a call."""

from datetime import UTC, datetime


def read_moment(text: str) -> datetime | None:
    """Return the moment of a date, or of a time with or without a zone, in UTC; None if it cannot be read.

    A URL has a blank in place of the plus of a zone unless the caller has written `%2B`.

    >>> read_moment("2026-11-21T10:00:00 02:00")
    datetime.datetime(2026, 11, 21, 8, 0, tzinfo=datetime.timezone.utc)
    >>> read_moment("yesterday")
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat("+".join(text.rsplit(" ", 1)))
        except ValueError:
            return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return None
