"""Moments as the parameters of a call name them."""

from datetime import UTC, datetime


def read_moment(text: str) -> datetime | None:
    """Return the moment that a date, or a time with or without its zone, stands for, in UTC; None if it cannot be read.

    A URL in which nobody has written `%2B` for the plus of a zone has a blank there.

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
