"""The persons of a job: the ids and email addresses in its body, and how they are stored. Pure.

A dead job can be found by a person, although the store never holds who that is: it holds only hashes under a key of the tenant.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

Json = Any
MOST_NAMES = 200  # beside the largest body, a document has no room for more

_IDS = frozenset(
    {"profile", "profile_id", "profile_ids", "omneo_profile_id", "external_id", "klaviyo_id", "person_id"}
)


def names_in(body: Json) -> list[str]:
    """Return the ids and the addresses of the persons in a job's body, at most `MOST_NAMES`.

    >>> names_in({"id": "job", "event": {"profile": {"data": {"id": "01J", "attributes": {"email": "A@example.org"}}}}})
    ['01J', 'a@example.org']
    """
    return sorted(set(_names(body, "", about_a_profile=False)))[:MOST_NAMES]


def hashed_name(key: str, name: str) -> str:
    """Return the hash of an id or an address for the store; `key` is the tenant's own."""
    text = f"dead job\0{_plain(name)}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _names(value: Json, key: str, *, about_a_profile: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        inside = about_a_profile or key == "profile"
        for name, inner in value.items():
            yield from _names(
                inner, name, about_a_profile=inside and name in ("data", "attributes", "id", "profile")
            )
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names(inner, key, about_a_profile=about_a_profile)
    elif isinstance(value, str) and _is_name(value, key, about_a_profile=about_a_profile):
        yield _plain(value)


def _is_name(value: str, key: str, *, about_a_profile: bool) -> bool:
    return bool(value.strip()) and (_is_address(value) or key in _IDS or (about_a_profile and key == "id"))


def _is_address(value: str) -> bool:
    return "@" in value and len(value) <= 254 and not any(map(str.isspace, value.strip()))


def _plain(name: str) -> str:
    name = name.strip()
    return name.casefold() if "@" in name else name
