"""Whose a Klaviyo profile was that is gone, and whose the address was that one has given up.

Klaviyo may tell for days of what somebody decided there before that, and then neither side knows whose decision it was. Omneo held the
id of a profile that is gone as an identity, until Klaviyo had a new profile of the same person.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentExistsError
from shared.storage.documents import Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

# Longer than Klaviyo repeats a delivery, or a heal reads back.
KEPT = timedelta(days=90)


@dataclass(frozen=True)
class Heir:
    """The Omneo profile that has an email address by now, and between which times a Klaviyo profile of another's may have had it still."""

    profile_id: str
    since: datetime
    until: datetime

    def may_have_decided(self, at: datetime) -> bool:
        """Return whether what somebody decided through the Klaviyo profile then may have been the heir's decision."""
        return self.since <= at <= self.until


class FormerIdentities:
    """Keeps and tells which Omneo profile a Klaviyo profile was, and who has the address that one has given up."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.clock)

    def note(self, tenant: str, klaviyo_id: str, profile_id: str) -> None:
        """Remember that the Klaviyo profile was the Omneo profile's."""
        self._keep(tenant, _id(klaviyo_id), {"profile": profile_id})

    def note_heir(self, tenant: str, klaviyo_id: str, heir: Heir) -> None:
        """Remember who has the email address that the Klaviyo profile gives up."""
        fields: dict[str, Value] = {"profile": heir.profile_id, "since": heir.since, "until": heir.until}
        self._keep(tenant, _id_of_address(klaviyo_id), fields)

    def heir_of(self, tenant: str, klaviyo_id: str) -> Heir | None:
        """Return who has the email address that the Klaviyo profile gave up last, None if nobody is known."""
        found = self._documents.get(_collection(tenant), _id_of_address(klaviyo_id))
        if found is None:
            return None
        since, until = found.fields["since"], found.fields["until"]
        if not (isinstance(since, datetime) and isinstance(until, datetime)):
            return None
        return Heir(str(found.fields["profile"]), since, until)

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
        """Forget what an Omneo profile's Klaviyo profiles were, and return how many that was."""
        where, count = {"profile": profile_id}, 0
        while page := self._documents.find(_collection(tenant), where=where):
            for document in page:
                self._documents.delete(_collection(tenant), document.id)
            count += len(page)
        return count

    def forget_klaviyo_profile(self, tenant: str, klaviyo_id: str) -> int:
        """Forget whose the Klaviyo profile and its former address were, and return how much that was."""
        ids = (_id(klaviyo_id), _id_of_address(klaviyo_id))
        known = [id for id in ids if self._documents.get(_collection(tenant), id) is not None]
        for id in known:
            self._documents.delete(_collection(tenant), id)
        return len(known)

    def forget(self, tenant: str) -> None:
        """Forget all of it."""
        delete_all(self._documents, _collection(tenant))


def _id(klaviyo_id: str) -> str:
    return hashlib.sha256(klaviyo_id.encode()).hexdigest()[:32]


def _id_of_address(klaviyo_id: str) -> str:
    return _id(f"address {klaviyo_id}")


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/former_identities"
