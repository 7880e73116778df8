"""The Omneo profiles that are never synced to Klaviyo, each for a reason with a name.

https://docs.omneo.io/extensions/klaviyo/profile-sync names the four. The page does not say how a connection profile is marked. So the
type, a tag and a flag of that name each count as the mark.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from shared.json_logic.data import flattened
from shared.json_logic.exclude_logic import matches
from shared.values import read_plain
from shared.values.booleans import read_boolean

_CONNECTION = "connection"


class Exclusion(StrEnum):
    """Why a profile is not synced, for the log and for `explain`."""

    EXAMPLE_EMAIL = "example_email"
    STAFF_PROFILE = "staff_profile"
    CONNECTION_PROFILE = "connection_profile"
    EXCLUDE_LOGIC = "exclude_logic"


def exclusion(profile: Mapping[str, Any], logic: Mapping[str, Any] | None) -> Exclusion | None:
    """Return why this Omneo profile is never synced, None if it is. `logic` is the tenant's `profile_exclude_logic`.

    Raises:
        ExcludeLogicError: only the logic is left to decide, and it cannot be evaluated on this profile.
    """
    email = read_plain(str(profile.get("email") or "")).lower()
    if "@example.com" in email:
        return Exclusion.EXAMPLE_EMAIL
    if email.startswith("staff-profile-"):
        return Exclusion.STAFF_PROFILE
    if _is_connection(profile):
        return Exclusion.CONNECTION_PROFILE
    if logic and matches(logic, profile):
        return Exclusion.EXCLUDE_LOGIC
    return None


def _is_connection(profile: Mapping[str, Any]) -> bool:
    tags = [*flattened(profile.get("tags")), *flattened(profile.get("flattened_tags"))]
    words = [profile.get("profile_type"), *tags]
    return read_boolean(profile.get(_CONNECTION)) is True or any(
        isinstance(word, str) and read_plain(word).lower() == _CONNECTION for word in words
    )
