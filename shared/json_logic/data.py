"""The form of a profile for `profile_exclude_logic`: an Omneo profile event, in JSON that the library reads.

Nothing here evaluates anything.
"""

import sys
from collections.abc import Mapping
from typing import Any

Json = Any

_MOST_LEVELS = 100  # the library refuses data nested more than 127 deep


def event_context(profile: Mapping[str, Json]) -> dict[str, Json]:
    """Return the profile as Omneo's profile events have it, also under `profile`.

    A profile that was read has no `flattened_tags` and `flattened_statuses`: they are made of its `tags` and `statuses`.
    """
    data: dict[str, Json] = _plain(profile, 1)
    for flat, rich in (("flattened_tags", "tags"), ("flattened_statuses", "statuses")):
        if not isinstance(data.get(flat), list):
            data[flat] = flattened(data.get(rich))
    return {"profile": dict(data), **data}


def flattened(rows: object) -> list[str]:
    """Return tags or statuses as plain words: a text stays, and an object gives its handle and its name.

    >>> flattened(["vip", {"name": "Staff Member", "handle": "staff"}])
    ['vip', 'staff', 'Staff Member']
    """
    words: list[str] = []
    for row in rows if isinstance(rows, list) else ():
        named = [row.get("handle"), row.get("name")] if isinstance(row, Mapping) else [row]
        words += [word for word in named if isinstance(word, str) and word not in words]
    return words


def _plain(value: Json, level: int) -> Json:
    """Return the value in a form that the library reads: a value that is no JSON, or is nested too deep, becomes null."""
    match value:
        case Mapping() if level <= _MOST_LEVELS:
            return {_text(str(key)): _plain(item, level + 1) for key, item in value.items()}
        case list() if level <= _MOST_LEVELS:
            return [_plain(item, level + 1) for item in value]
        case str():
            return _text(value)
        case bool() | None:
            return value
        case int() | float():
            return value if abs(value) <= sys.float_info.max else None
        case _:
            return None


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()
