"""The person of an erasure: every identifier of the person in Omneo, Klaviyo and our own stores."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.consent.memories import ConsentMemories
from shared.errors import (
    ConflictError,
    DisconnectedError,
    InvalidPayloadError,
    ServiceError,
    WaitError,
)
from shared.klaviyo.profiles import KlaviyoProfile
from shared.matching import other_holder
from shared.profiles.rules.calls import profile_id_of_event, stored_klaviyo_id
from shared.profiles.synced import SyncedProfiles
from shared.services import Services
from shared.tenants.erasures import Identifier, mark_of
from shared.tenants.tenants import Tenant
from shared.values.emails import read_email

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient


@dataclass(frozen=True)
class Person:
    """The identifiers of one person; an unknown identifier is "" or missing.

    `lives` says whether Omneo still has the profile; `was_sought` says whether Klaviyo answered the search for the person.
    """

    profile_id: str
    emails: tuple[str, ...]
    klaviyo_ids: tuple[str, ...]
    lives: bool
    was_sought: bool = True

    def identifiers(self) -> Iterator[tuple[Identifier, str]]:
        """Yield each identifier with its kind."""
        if self.profile_id:
            yield Identifier.OMNEO_ID, self.profile_id
        yield from ((Identifier.EMAIL, email) for email in self.emails)
        yield from ((Identifier.KLAVIYO_ID, id) for id in self.klaviyo_ids)

    def is_called(self, name: Identifier, value: str) -> bool:
        """Return whether this is one of the person's identifiers."""
        return (name, value.strip().casefold()) in {
            (one, known.casefold()) for one, known in self.identifiers()
        }

    def marks(self, tenant: Tenant) -> frozenset[str]:
        """Return the marks of all identifiers."""
        return frozenset(mark_of(tenant, name, value) for name, value in self.identifiers())


def find_person(tenant: Tenant, named: str, services: Services) -> Person:
    """Return the person of an Omneo id or an email address.

    Raises:
        InvalidPayloadError: the text is neither.
        ConflictError: Omneo does not accept our token.
        WaitError: Omneo or Klaviyo cannot answer now.
    """
    try:
        return _Search(tenant, services).find(named.strip())
    except WaitError:
        raise
    except ServiceError as error:
        raise ConflictError(f"Who the person is cannot be looked up: {error}.") from error


@dataclass(frozen=True)
class _Search:
    tenant: Tenant
    services: Services

    def find(self, named: str) -> Person:
        omneo = self.services.omneo(self.tenant)
        id, email = self._read(named)
        if email:
            found = omneo.find_profile_by_email(email)
            id = found.id if found is not None else ""
        fields = omneo.profile_fields(id) if id else None
        held = read_email(fields.get("email")) if fields else None
        emails = {one.casefold(): one for one in (email, held) if one}
        known = {*self._known(id, fields or {})}
        sought = self._in_klaviyo(id, emails.values(), known)
        of_klaviyo = {one: KlaviyoProfile(one) for one in known} if sought is None else sought
        theirs = {one: profile for one, profile in of_klaviyo.items() if not self._is_anothers(profile, id)}
        if id:  # a person with a new address may still get mail at the old one
            emails |= {one.email.casefold(): one.email for one in theirs.values() if one.email}
        lives = fields is not None and fields.get("profile_type") != "deleted"
        return Person(id, tuple(emails.values()), tuple(sorted(theirs)), lives, was_sought=sought is not None)

    def _read(self, named: str) -> tuple[str, str]:
        if "@" not in named:
            try:
                return profile_id_of_event({"id": named}), ""
            except InvalidPayloadError:
                pass  # this error is about an event; the error below names the identifiers that the caller may give
        elif email := read_email(named):
            return "", email
        raise InvalidPayloadError("Name the person by the Omneo profile's id, or by the email address.")

    def _known(self, id: str, fields: Any) -> Iterator[str]:
        """Yield the Klaviyo profiles of the person that Omneo and our own stores know."""
        if not id:
            return
        name = self.tenant.name
        memories = ConsentMemories.of(self.services).find(name, id)
        of_calls = (call.profile for memory in memories.values() for call in memory.calls)
        stored = stored_klaviyo_id(fields, self.tenant.settings.identity_handle)
        found = (stored, SyncedProfiles.of(self.services).find(name, id).klaviyo_id, *of_calls)
        yield from (one for one in found if one)

    def _in_klaviyo(
        self, id: str, emails: Iterable[str], known: Iterable[str]
    ) -> dict[str, KlaviyoProfile] | None:
        """Return the person's Klaviyo profiles by their ids: those that are known, and those that a search finds.

        A merged profile is replaced by the profile that remains; a deleted one stays in the result. None if the account is disconnected.
        """
        if not self.tenant.is_connected:
            return None
        klaviyo = self.services.klaviyo(self.tenant)
        try:
            looked = {one: klaviyo.profile(one) or KlaviyoProfile(one) for one in known}
            found = [*self._found_in(klaviyo, id, emails), *looked.values()]
        except DisconnectedError:
            return None
        return {profile.id: profile for profile in found} | looked

    def _found_in(self, klaviyo: "KlaviyoClient", id: str, emails: Iterable[str]) -> Iterator[KlaviyoProfile]:
        """Yield the profiles that have the person's id, or the person's address if nobody else has it."""
        if id and (found := klaviyo.find_profile_by_external_id(id)):
            yield found
        for email in emails:
            found = klaviyo.find_profile("email", email)
            if found is not None and found.external_id.casefold() in ("", id.casefold()):
                yield found

    def _is_anothers(self, profile: KlaviyoProfile, id: str) -> bool:
        """Return whether another living Omneo profile has it by now, as after a merge. Then it is not erased with this person."""
        handle, omneo = self.tenant.settings.identity_handle, self.services.omneo(self.tenant)
        return other_holder(profile, id or profile.id, handle=handle, omneo=omneo) is not None
