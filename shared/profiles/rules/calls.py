"""Finds the Omneo profile that a call is about: Omneo's webhooks, and the target that asks for a sync.

Omneo's pages "Event contexts" and "Webhooks": a profile event's body is the profile; other contexts have it below `profile`.
"""

import re
from collections.abc import Mapping

from shared.errors import InvalidPayloadError
from shared.matching import absorbed_identities_in
from shared.profiles.rules.omneo_paths import at_path
from shared.values import read_id
from shared.values.omneo_ids import read_omneo_id

CREATED, UPDATED, DELETED = "profile.created", "profile.updated", "profile.deleted"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def profile_id_of_event(body: object) -> str:
    """Return the id of the profile that a profile event's context is.

    Raises:
        InvalidPayloadError: it holds none.
    """
    found = _id(body.get("id")) if isinstance(body, Mapping) else ""
    if not found:
        raise InvalidPayloadError("Send the event's context: an object with the profile's id as id.")
    return found


def profile_id_of_target(body: object) -> str:
    """Return the id of the profile to sync: `profile_id`, `profile.id`, or `id` of a profile's own context.

    At the root of other contexts stands the id of a reward or the like, which is no UUID.

    Raises:
        InvalidPayloadError: it holds none.
    """
    if not isinstance(body, Mapping):
        raise InvalidPayloadError("Send a JSON object.")
    profile = body.get("profile")
    inner = profile.get("id") if isinstance(profile, Mapping) else None
    found = _id(body.get("profile_id")) or _id(inner) or read_omneo_id(body.get("id"))
    if not found:
        raise InvalidPayloadError(
            "Give the Omneo profile's id as profile_id, or an event context that has it as profile.id:"
            " an email address or a mobile number does not say which profile is meant."
        )
    return found


def stored_klaviyo_id(profile: Mapping[str, object], handle: str) -> str:
    """Return the Klaviyo profile id that the profile holds as an identity, "" if it holds none."""
    return _id(at_path(profile, f"identities.{handle}"))


def merged_klaviyo_ids(profile: Mapping[str, object], handle: str) -> tuple[str, ...]:
    """Return the other Klaviyo ids that the profile holds since profiles were merged into it in Omneo."""
    stored = stored_klaviyo_id(profile, handle)
    return tuple(sorted(absorbed_klaviyo_ids(profile, handle) - {stored}))


def absorbed_klaviyo_ids(profile: Mapping[str, object], handle: str) -> frozenset[str]:
    """Return all Klaviyo ids that the profile holds since profiles were merged into it in Omneo."""
    return frozenset(map(_id, absorbed_identities_in(profile.get("identities"), handle))) - {""}


def _id(value: object) -> str:
    id = (
        read_id(value) if isinstance(value, str) else None
    )  # a number belongs to nobody: ids of Omneo and of Klaviyo are not numbers
    if not id:
        return ""
    return read_omneo_id(id) or (id if _ID.fullmatch(id) else "")
