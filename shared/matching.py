"""Finds the Omneo profile of a Klaviyo profile, and the Klaviyo profile of an Omneo profile: by the stored identity, then by Klaviyo's
external_id,
then by email.

Omneo's page "Profile sync" has the order. When Klaviyo has merged a profile into another, it answers with the other. No profile is
matched by phone: families share one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from shared.errors import RefusedError
from shared.values.omneo_ids import read_omneo_id


class Identifiers(Protocol):
    """The identifiers of a Klaviyo profile. A missing `external_id` or `email` is ""."""

    @property
    def id(self) -> str: ...
    @property
    def external_id(self) -> str: ...
    @property
    def email(self) -> str: ...


class OmneoProfile(Protocol):
    """An Omneo profile, deleted or living."""

    @property
    def id(self) -> str: ...
    @property
    def lives(self) -> bool: ...


Found_co = TypeVar("Found_co", covariant=True)
P = TypeVar("P")
Living = TypeVar("Living", bound=OmneoProfile)


class OmneoProfiles(Protocol[Found_co]):
    """The searches of Omneo's client that matching uses."""

    def find_profile_by_identity(self, *, identifier: str, handle: str) -> Found_co | None: ...
    def find_profile_by_email(self, email: str) -> Found_co | None: ...
    def profile(self, profile_id: str) -> Found_co | None: ...


@dataclass(frozen=True)
class Match(Generic[P]):
    """The Omneo profile that was found, and whether only the email led to it."""

    profile: P
    is_by_email: bool = False


def identity_in(rows: object, handle: str) -> object:
    """Return the identifier of the newest identity with this handle of an Omneo profile, None if there is none.

    After a merge, several identities may have one handle; Omneo's own SDK takes the newest.
    """
    listed = rows if isinstance(rows, list) else ()
    named = [row for row in listed if isinstance(row, Mapping) and row.get("handle") == handle]
    newest = max(named, key=lambda row: str(row.get("created_at") or ""), default=None)
    return newest.get("identifier") if newest else None


def absorbed_identities_in(rows: object, handle: str) -> frozenset[str]:
    """Return the identifiers with this handle that an Omneo profile holds since others were merged into it."""
    listed = rows if isinstance(rows, list) else ()
    named = [row for row in listed if isinstance(row, Mapping) and row.get("handle") == handle]
    return frozenset(str(row.get("identifier") or "") for row in named if row.get("merged_from"))


def omneo_profile_of(
    klaviyo_id: str, *, handle: str, omneo: OmneoProfiles[P], klaviyo: Callable[[], Identifiers | None]
) -> P | None:
    """Return the Omneo profile that `match_of` finds, None when there is none. Raises as that does."""
    match = match_of(klaviyo_id, handle=handle, omneo=omneo, klaviyo=klaviyo)
    return None if match is None else match.profile


def match_of(
    klaviyo_id: str, *, handle: str, omneo: OmneoProfiles[P], klaviyo: Callable[[], Identifiers | None]
) -> Match[P] | None:
    """Return the Omneo profile and how it was found, None when there is none. If the identity is stored under `handle`, this takes one
    call.

    `klaviyo` reads the Klaviyo profile; it is called only when no identity is stored.

    Raises:
        ServiceError, DisconnectedError: Omneo or Klaviyo refused, or could not answer.
    """
    if found := omneo.find_profile_by_identity(identifier=klaviyo_id, handle=handle):
        return Match(found)
    profile = klaviyo()
    if profile is None:
        return None
    if profile.id != klaviyo_id and (
        found := omneo.find_profile_by_identity(identifier=profile.id, handle=handle)
    ):
        return Match(found)
    if read_omneo_id(profile.external_id) and (found := omneo.profile(profile.external_id)):
        return Match(found)
    found = omneo.find_profile_by_email(profile.email) if profile.email else None
    return None if found is None else Match(found, is_by_email=True)


def owner_of_email(email: str, omneo: OmneoProfiles[P]) -> P | None:
    """Return the Omneo profile that has an email, None if there is none, also where Omneo does not take it for one: then nobody has it.

    Raises:
        ServiceError: what else Omneo answered.
    """
    try:
        return omneo.find_profile_by_email(email)
    except RefusedError as error:
        if error.status not in (400, 422):
            raise
        return None


def other_holder(
    klaviyo: Identifiers, omneo_id: str, *, handle: str, omneo: OmneoProfiles[Living]
) -> Living | None:
    """Return the other living Omneo profile that a Klaviyo profile belongs to, None if there is none and `omneo_id` may have it.

    A Klaviyo profile belongs to the Omneo profile in its external_id, or, without an external_id, to the Omneo profile that holds its id as
    an identity. No call where it names `omneo_id` itself.

    Raises:
        ServiceError: Omneo refused, or could not answer.
    """
    if klaviyo.external_id.casefold() == omneo_id.casefold():
        return None
    if read_omneo_id(klaviyo.external_id) and (found := omneo.profile(klaviyo.external_id)) and found.lives:
        return found
    found = omneo.find_profile_by_identity(identifier=klaviyo.id, handle=handle)
    is_other = found is not None and found.lives and found.id.casefold() != omneo_id.casefold()
    return found if is_other else None
