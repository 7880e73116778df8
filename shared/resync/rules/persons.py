"""Whose Klaviyo profile a bulk import would write, where it goes without the profile's id. Pure.

Klaviyo finds such a profile by any identifier, a phone number too. Families share numbers, and no two people may become one: so who would
be found by a number, or is another Omneo profile by its external_id, stays out of the import and is synced alone, where
`profiles/rules/owners.py` decides.
"""

from enum import StrEnum

from shared.matching import Identifiers
from shared.values.omneo_ids import read_omneo_id


class Apart(StrEnum):
    """Why somebody stays out of an import, as the report of a run says it."""

    ID = "another profile has its Klaviyo id"
    EMAIL = "another profile has its email"
    PHONE = "another profile has its phone number"
    SHARED_EMAIL = "another of the run has its email"
    SHARED_PHONE = "another of the run has its phone number"


def is_anothers(profile: Identifiers, omneo_id: str) -> bool:
    """Return whether a Klaviyo profile names another Omneo profile. An external_id that is no Omneo id names nobody."""
    named = read_omneo_id(profile.external_id)
    return bool(named) and named != omneo_id.casefold()


def is_found_by_number_alone(owner: Identifiers, omneo_id: str, email: str) -> bool:
    """Return whether nothing but the phone number speaks for it that the number's owner in Klaviyo is this person."""
    if owner.external_id.casefold() == omneo_id.casefold():
        return False
    return is_anothers(owner, omneo_id) or not email or owner.email.casefold() != email.casefold()


def why_apart(
    omneo_id: str, email: str, *, email_owner: Identifiers | None, phone_owner: Identifiers | None
) -> Apart | None:
    """Return why an import without an id would write another person's profile, None if it would not. The owners are Klaviyo's."""
    if email_owner is not None and is_anothers(email_owner, omneo_id):
        return Apart.EMAIL
    if phone_owner is not None and is_found_by_number_alone(phone_owner, omneo_id, email):
        return Apart.PHONE
    return None
