"""Whose a Klaviyo profile was that is gone: Omneo held its id as an identity until Klaviyo had a new profile of the same person.

Klaviyo may tell for days of what somebody decided there before a merchant deleted the profile, and then neither side knows whose it was.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentExistsError
from shared.storage.documents import Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

# Longer than Klaviyo repeats a delivery, or a heal reads back.
KEPT = timedelta(days=90)


class FormerIdentities:
    """Keeps and tells which Omneo profile a Klaviyo profile was."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.clock)

    def note(self, tenant: str, klaviyo_id: str, profile_id: str) -> None:
        """Remember that the Klaviyo profile was the Omneo profile's."""
        fields: dict[str, Value] = {"profile": profile_id, "expire_at": self._clock() + KEPT}
        try:
            self._documents.create(_collection(tenant), _id(klaviyo_id), fields)
        except DocumentExistsError:
            self._documents.update(_collection(tenant), _id(klaviyo_id), fields)

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

    def forget(self, tenant: str) -> None:
        """Forget all of it."""
        delete_all(self._documents, _collection(tenant))


def _id(klaviyo_id: str) -> str:
    return hashlib.sha256(klaviyo_id.encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/former_identities"
