"""The former owners of Klaviyo profiles that are gone, and of email addresses that a profile has given up.

For days after that, Klaviyo may send events of decisions from before, and then neither side knows whose decision it was. Omneo held the id
of the gone profile as an identity, until Klaviyo had a new profile of the same person. Profiles that have an email in Omneo which Klaviyo has
with somebody else are noted too: an opt-out of that email may be theirs.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.consent.former_numbers import Sharer
from shared.errors import DocumentExistsError, DocumentMissingError
from shared.storage.documents import Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

# Longer than Klaviyo repeats a delivery, or a heal reads back.
KEPT = timedelta(days=90)


@dataclass(frozen=True)
class Heir:
    """The present owner of an email address in Omneo. From `since` to `until`, the Klaviyo profile of another person
    may still have had it.

    `address` is the mark of the email, "" in a note of an earlier release. `had_all` means that the whole Klaviyo
    profile was theirs then, with any address.
    """

    profile_id: str
    since: datetime
    until: datetime
    address: str = ""
    had_all: bool = False

    def may_have_decided(self, at: datetime, address: str = "") -> bool:
        """Return whether a decision through the Klaviyo profile at that time may be the heir's.

        It is not if Omneo still had the email on the other profile after that. `address` is the mark of the email that
        Omneo showed, "" if that is not known.
        """
        return self.since <= at <= self.until and not (address and address == self.address)


class FormerIdentities:
    """Stores the former Omneo profile of a Klaviyo profile, and the present owner of an address that a Klaviyo profile has given up."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def note(self, tenant: str, klaviyo_id: str, profile_id: str) -> None:
        """Remember that the Klaviyo profile was the Omneo profile's."""
        self._keep(tenant, _id(klaviyo_id), {"profile": profile_id})

    def note_heir(self, tenant: str, klaviyo_id: str, heir: Heir) -> None:
        """Remember the present owner of each email address that the Klaviyo profile gives up; repeated calls make one note."""
        given_up = _id(klaviyo_id)
        fields: dict[str, Value] = {
            "profile": heir.profile_id,
            "given_up_by": given_up,
            "since": heir.since,
            "until": heir.until,
            "address": heir.address,
            "had_all": heir.had_all,
        }
        self._keep(
            tenant, _id(f"{given_up} {heir.profile_id} {heir.since.isoformat()} {heir.address}"), fields
        )

    def heirs_of(self, tenant: str, klaviyo_id: str) -> list[Heir]:
        """Return the new holders of the email addresses that the Klaviyo profile has given up."""
        found = self._documents.find(_collection(tenant), where={"given_up_by": _id(klaviyo_id)})
        rows = [(row.fields, row.fields["since"], row.fields["until"]) for row in found]
        return [
            Heir(
                str(fields["profile"]),
                since,
                until,
                str(fields.get("address") or ""),
                had_all=bool(fields.get("had_all")),
            )
            for fields, since, until in rows
            if isinstance(since, datetime) and isinstance(until, datetime)
        ]

    def note_shared(self, tenant: str, klaviyo_id: str, sharer: Sharer) -> bool:
        """Remember that the Omneo profile has from now on the email that this Klaviyo profile of somebody else has, "" for none.

        Return whether it had that of another before, or none.
        """
        id, with_whom, is_noted = sharer.profile_id, _id(klaviyo_id) if klaviyo_id else "", False
        for row in self._documents.find(_collection(tenant), where={"shared_by": id}):
            if row.fields["until"] is not None:
                continue
            is_same = row.fields["shared_with"] == with_whom
            is_noted = is_noted or is_same
            left: dict[str, Value] = {
                "until": None if is_same else self._clock(),
                "expire_at": self._clock() + KEPT,
            }
            with suppress(DocumentMissingError):  # forgotten in this very moment
                self._documents.update(_collection(tenant), row.id, left)
        if with_whom and not is_noted:
            fields: dict[str, Value] = {
                "profile": id,
                "shared_by": id,
                "shared_with": with_whom,
                "since": sharer.since,
                "until": None,
            }
            self._keep(tenant, _id(f"shared {with_whom} {id} {sharer.since.isoformat()}"), fields)
        return bool(with_whom) and not is_noted

    def sharers_of(self, tenant: str, klaviyo_id: str) -> list[Sharer]:
        """Return who has, or had, an email in Omneo that the Klaviyo profile of somebody else has."""
        found = self._documents.find(_collection(tenant), where={"shared_with": _id(klaviyo_id)})
        rows = [(row.fields, row.fields["since"], row.fields["until"]) for row in found]
        return [
            Sharer(str(fields["profile"]), since, until if isinstance(until, datetime) else None)
            for fields, since, until in rows
            if isinstance(since, datetime)
        ]

    def _keep(self, tenant: str, id: str, fields: dict[str, Value]) -> None:
        fields = {**fields, "expire_at": self._clock() + KEPT}
        try:
            self._documents.create(_collection(tenant), id, fields)
        except DocumentExistsError:
            self._documents.update(_collection(tenant), id, fields)

    def profile_of(self, tenant: str, klaviyo_id: str) -> str:
        """Return the id of the Omneo profile, "" if none is known."""
        found = self._documents.get(_collection(tenant), _id(klaviyo_id))
        return "" if found is None else str(found.fields["profile"])

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget all notes about an Omneo profile, and return their number."""
        return self._forget_where(tenant, {"profile": profile_id})

    def forget_klaviyo_profile(self, tenant: str, klaviyo_id: str) -> int:
        """Forget all notes about a Klaviyo profile, and return their number."""
        known = self._documents.get(_collection(tenant), _id(klaviyo_id)) is not None
        if known:
            self._documents.delete(_collection(tenant), _id(klaviyo_id))
        of = _id(klaviyo_id)
        return (
            known
            + self._forget_where(tenant, {"given_up_by": of})
            + self._forget_where(tenant, {"shared_with": of})
        )

    def _forget_where(self, tenant: str, where: Mapping[str, str]) -> int:
        count = 0
        while page := self._documents.find(_collection(tenant), where=where):
            for document in page:
                self._documents.delete(_collection(tenant), document.id)
            count += len(page)
        return count

    def forget(self, tenant: str) -> None:
        """Forget all of it."""
        delete_all(self._documents, _collection(tenant))


def _id(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/former_identities"
