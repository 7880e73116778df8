"""Whom an erasure is about: every identifier of one person that Omneo, Klaviyo and our own stores tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.consent.memories import ConsentMemories
from shared.errors import (
    ConflictError,
    DisconnectedError,
    InvalidPayloadError,
    ServiceError,
    WaitError,
)
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.rules.calls import profile_id_of_event, stored_klaviyo_id
from shared.profiles.synced import SyncedProfiles
from shared.services import Services
from shared.tenants.erasures import Identifier, mark_of
from shared.tenants.tenants import Tenant
from shared.values.emails import read_email


@dataclass(frozen=True)
class Person:
    """What one person is known by, "" and none for what nobody knows. `lives` says whether Omneo still has the profile."""

    profile_id: str
    emails: tuple[str, ...]
    klaviyo_ids: tuple[str, ...]
    lives: bool

    def identifiers(self) -> Iterator[tuple[Identifier, str]]:
        """Yield each identifier with what it is."""
        if self.profile_id:
            yield Identifier.OMNEO_ID, self.profile_id
        yield from ((Identifier.EMAIL, email) for email in self.emails)
        yield from ((Identifier.KLAVIYO_ID, id) for id in self.klaviyo_ids)

    def marks(self, tenant: Tenant) -> frozenset[str]:
        """Return the marks of all of them."""
        return frozenset(mark_of(tenant, name, value) for name, value in self.identifiers())


def find_person(tenant: Tenant, named: str, services: Services) -> Person:
    """Return the person whom an Omneo id or an email address names.

    Raises:
        InvalidPayloadError: it is neither.
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
        in_klaviyo = [*self._in_klaviyo(id, emails.values())]
        if id:  # whose address has changed may still be mailed at the one before
            emails |= {one.email.casefold(): one.email for one in in_klaviyo if one.email}
        known = {*self._known(id, fields or {}), *(one.id for one in in_klaviyo)}
        lives = fields is not None and fields.get("profile_type") != "deleted"
        return Person(id, tuple(emails.values()), tuple(sorted(known)), lives)

    def _read(self, named: str) -> tuple[str, str]:
        if "@" not in named:
            try:
                return profile_id_of_event({"id": named}), ""
            except InvalidPayloadError:
                pass
        elif email := read_email(named):
            return "", email
        raise InvalidPayloadError("Name the person by the Omneo profile's id, or by the email address.")

    def _known(self, id: str, fields: Any) -> Iterator[str]:
        """Yield the Klaviyo profiles that Omneo and our own stores know to be the person's."""
        if not id:
            return
        name = self.tenant.name
        memories = ConsentMemories.of(self.services).find(name, id)
        of_calls = (call.profile for memory in memories.values() for call in memory.calls)
        stored = stored_klaviyo_id(fields, self.tenant.settings.identity_handle)
        found = (stored, SyncedProfiles.of(self.services).find(name, id).klaviyo_id, *of_calls)
        yield from (one for one in found if one)

    def _in_klaviyo(self, id: str, emails: Any) -> Iterator[KlaviyoProfile]:
        """Yield the Klaviyo profiles that are found by the person's id, and by the address where it is of nobody else."""
        if not self.tenant.is_connected:
            return
        klaviyo = self.services.klaviyo(self.tenant)
        try:
            if id and (found := klaviyo.find_profile_by_external_id(id)):
                yield found
            for email in emails:
                found = klaviyo.find_profile("email", email)
                if found is not None and found.external_id.casefold() in ("", id.casefold()):
                    yield found
        except DisconnectedError:
            return
