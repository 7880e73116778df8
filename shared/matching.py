"""Which Omneo profile a Klaviyo profile is: by the stored identity, then by Klaviyo's external_id, then by email.

Omneo's page "Profile sync" has the order. A profile that Klaviyo has merged into another answers as the other.
"""

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Found_co = TypeVar("Found_co", covariant=True)
P = TypeVar("P")


class Identifiers(Protocol):
    """What a Klaviyo profile is known by. `external_id` and `email` are "" where it has none."""

    @property
    def id(self) -> str: ...
    @property
    def external_id(self) -> str: ...
    @property
    def email(self) -> str: ...


class OmneoProfiles(Protocol[Found_co]):
    """The searches of Omneo's client that matching uses."""

    def find_profile_by_identity(self, *, identifier: str, handle: str) -> Found_co | None: ...
    def find_profile_by_email(self, email: str) -> Found_co | None: ...
    def profile(self, profile_id: str) -> Found_co | None: ...


def omneo_profile_of(
    klaviyo_id: str, *, handle: str, omneo: OmneoProfiles[P], klaviyo: Callable[[], Identifiers | None]
) -> P | None:
    """Return the Omneo profile, None when there is none. One call where the identity is stored under `handle`.

    `klaviyo` reads the Klaviyo profile; it is called only when no identity is stored.

    Raises:
        ServiceError, DisconnectedError: what Omneo or Klaviyo answered.
    """
    if found := omneo.find_profile_by_identity(identifier=klaviyo_id, handle=handle):
        return found
    profile = klaviyo()
    if profile is None:
        return None
    if profile.id != klaviyo_id and (
        found := omneo.find_profile_by_identity(identifier=profile.id, handle=handle)
    ):
        return found
    if _UUID.fullmatch(profile.external_id) and (found := omneo.profile(profile.external_id)):
        return found
    return omneo.find_profile_by_email(profile.email) if profile.email else None
