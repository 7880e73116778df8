"""Places in an Omneo profile: the paths of a tenant's mappings, and dates in one spelling.

A path is dotted, as in `tier.name` or `addresses.0.city`. Two lists are entered by a name: `custom_attributes.NAMESPACE:HANDLE` gives
the value in its own type, `identities.HANDLE` the identifier.

https://docs.omneo.io/api-reference/profile/overview
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date
from typing import Any, Final

from shared.matching import identity_in
from shared.values import read_number
from shared.values.booleans import read_boolean
from shared.values.dates import read_day, read_local_time

Json = Any


class Missing:
    """The type of MISSING: the profile has no value there, which is not the same as null."""


MISSING: Final = Missing()


def at_path(profile: Mapping[str, Json], path: str) -> Json:
    """Return the value at the path, MISSING if there is none.

    >>> at_path({"tier": {"name": "Gold"}}, "tier.name"), at_path({"tier": None}, "tier.name")
    ('Gold', None)
    """
    first, _, rest = path.partition(".")
    if first == "custom_attributes" and ":" in rest:
        # One that is not in the list was removed from it, and so is empty; without a list nothing is told.
        absent = None if isinstance(profile.get(first), list) else MISSING
        return next((value for name, value in custom_attributes(profile) if name == rest), absent)
    if first == "identities" and rest and not rest.split(".")[0].isdigit():
        identity = identity_in(profile.get("identities"), rest)
        return MISSING if identity is None else identity
    found: Json = profile
    for step in path.split("."):
        found = _step(found, step)
        if found is None or found is MISSING:
            return found
    return found


def custom_attributes(profile: Mapping[str, Json]) -> list[tuple[str, Json]]:
    """Return the custom attributes as (`namespace:handle`, value in its declared type)."""
    rows = profile.get("custom_attributes")
    return [
        (f"{row['namespace']}:{row['handle']}", _typed(row.get("value"), row.get("type")))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and row.get("namespace") and row.get("handle")
    ]


def birth_date(profile: Mapping[str, Json]) -> Json:
    """Return the birthday as an ISO date when it is whole, None when a part of it is empty, MISSING when none is told."""
    parts = [profile.get(f"birth_{part}", MISSING) for part in ("year", "month", "day")]
    if all(part is MISSING for part in parts):
        whole = profile.get("birth_date", MISSING)
        return iso_date(whole) if isinstance(whole, str) else whole
    try:
        return date(*(int(read_number(part)) for part in parts)).isoformat()  # type: ignore[arg-type]  # None is caught
    except (TypeError, ValueError, OverflowError):
        return None


def iso_date(text: str) -> str | None:
    """Return the date of an ISO date or time, None for anything else."""
    time = read_local_time(text)
    day = time.date() if time else read_day(text)
    return day.isoformat() if day else None


def iso_time(value: Json) -> Json:
    """Return one of Omneo's times (UTC) in RFC 3339, which Klaviyo reads as a date. Any other value stays as it is.

    >>> iso_time("2024-02-03 04:05:06")
    '2024-02-03T04:05:06+00:00'
    """
    time = read_local_time(value)
    if time is None:
        day = read_day(value)
        return f"{day}T00:00:00+00:00" if day else value
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def _step(found: Json, step: str) -> Json:
    if isinstance(found, Mapping):
        return found.get(step, MISSING)
    if isinstance(found, list) and step.isascii() and step.isdigit() and len(step) < 6:
        return found[int(step)] if int(step) < len(found) else MISSING
    return MISSING


def _typed(value: Json, kind: Json) -> Json:
    """Return a value that was rendered as text in the type that its attribute declares, if it can be read as such."""
    read = _READERS.get(str(kind))
    if read is None or not isinstance(value, str) or not value.strip():
        return value
    try:
        return read(value)
    except (ValueError, RecursionError):
        return value


def _integer(text: str) -> Json:
    number = read_number(text)
    return int(number) if number is not None and number == int(number) else text


def _float(text: str) -> Json:
    number = read_number(text)
    return text if number is None else float(number)


def _boolean(text: str) -> Json:
    found = read_boolean(text)
    return text if found is None else found


_READERS: dict[str, Callable[[str], Json]] = {
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "json": json.loads,
    "array": json.loads,
}
