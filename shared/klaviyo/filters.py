"""Klaviyo's filter expressions, as its documents write them: https://developers.klaviyo.com/en/docs/filtering_. Pure."""

import json
from collections.abc import Collection
from datetime import UTC, datetime


def equals(field: str, value: str) -> str:
    r"""Return the filter for one value.

    >>> equals("email", 'jane"doe@example.org')
    'equals(email,"jane\\"doe@example.org")'
    """
    return f"equals({field},{_text(value)})"


def any_of(field: str, values: Collection[str]) -> str:
    """Return the filter for several values.

    >>> any_of("id", ["b", "a"])
    'any(id,["a","b"])'
    """
    return f"any({field},[{','.join(map(_text, sorted(values)))}])"


def from_then_on(field: str, moment: datetime) -> str:
    """Return the filter for an aware moment and all later times, to the second.

    >>> from_then_on("datetime", datetime(2026, 11, 29, 12, tzinfo=UTC))
    'greater-or-equal(datetime,2026-11-29T12:00:00Z)'
    """
    return f"greater-or-equal({field},{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
