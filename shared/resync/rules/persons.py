"""The person whose Klaviyo profile a bulk import would write. Pure.

Klaviyo finds a profile that is sent without its id by any of its identifiers, a phone number too. Families share numbers, and no two people
may become one: so an address goes into an import only where Klaviyo finds this person by it, or nobody. A profile that is sent without an
address is synced alone when the imports are over; `profiles/rules/owners.py` decides then.
"""

from dataclasses import dataclass

from shared.matching import Identifiers
from shared.values.omneo_ids import read_omneo_id


@dataclass(frozen=True)
class Claim:
    """The profile that brings an address to Klaviyo in an import: an Omneo profile, and whether Klaviyo finds it by its id instead of by
    the address.
    """

    omneo_id: str
    has_id: bool

    def allows(self, other: "Claim") -> bool:
        """Return whether the other may be sent with the address too: of two with ids Klaviyo refuses one, and tells us."""
        return self.omneo_id == other.omneo_id or (self.has_id and other.has_id)


def is_anothers(profile: Identifiers, omneo_id: str) -> bool:
    """Return whether a Klaviyo profile names another Omneo profile. An external_id that is no Omneo id names nobody."""
    named = read_omneo_id(profile.external_id)
    return bool(named) and named.casefold() != omneo_id.casefold()


def is_found_by_number_alone(owner: Identifiers, omneo_id: str, email: str) -> bool:
    """Return whether only the phone number suggests that its owner in Klaviyo is this person."""
    if owner.external_id.casefold() == omneo_id.casefold():
        return False
    return is_anothers(owner, omneo_id) or not email or owner.email.casefold() != email.casefold()
