"""The profiles that wait for an identifier (an email address or a phone number) that another profile still has in Klaviyo.

The sync of that other profile looks here: it gives up an identifier that its person no longer has, and starts the syncs that wait for it. An
identifier appears only as a hash under the tenant's own key, so that nobody can read it here or try out addresses.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from shared.errors import DocumentExistsError, DocumentMissingError
from shared.storage.documents import Document, Documents, Value, delete_all, each_document

if TYPE_CHECKING:
    from shared.services import Services
    from shared.tenants.tenants import Tenant

KEPT = timedelta(days=90)


class Waiting:
    """Keeps the profiles that wait, by identifier."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def note(self, tenant: str, identifier: str, profile_id: str) -> bool:
        """Remember that the Omneo profile waits for the identifier, a hash; return whether its owner is still to be synced for that."""
        fields: dict[str, Value] = {
            "identifier": identifier,
            "profile": profile_id,
            "is_told": False,
            "expire_at": self._clock() + KEPT,
        }
        try:
            self._documents.create(waiting_collection(tenant), _id(identifier, profile_id), fields)
        except DocumentExistsError:
            found = self._documents.get(waiting_collection(tenant), _id(identifier, profile_id))
            return found is None or not found.fields["is_told"]
        return True

    def told(self, tenant: str, identifier: str, profile_id: str) -> None:
        """Remember that the sync of the identifier's owner is queued.

        It is queued once only: otherwise two profiles that wait for each other would start each other for ever.
        """
        with suppress(DocumentMissingError):  # given up already
            fields: dict[str, Value] = {"is_told": True}
            self._documents.update(waiting_collection(tenant), _id(identifier, profile_id), fields)

    def those_for(self, tenant: str, identifier: str) -> list[str]:
        """Return the Omneo profiles that wait for the identifier."""
        return [str(document.fields["profile"]) for document in self._all(tenant, identifier)]

    def end(self, tenant: str, identifier: str) -> None:
        """Forget the profiles that wait for the identifier."""
        for document in self._all(tenant, identifier):
            self._documents.delete(waiting_collection(tenant), document.id)

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget that an Omneo profile waits for any identifier, and return the number of notes."""
        found = [*self._matching(tenant, {"profile": profile_id})]
        for document in found:
            self._documents.delete(waiting_collection(tenant), document.id)
        return len(found)

    def forget(self, tenant: str) -> None:
        """Forget everybody who waits."""
        delete_all(self._documents, waiting_collection(tenant))

    def _all(self, tenant: str, identifier: str) -> Iterator[Document]:
        return self._matching(tenant, {"identifier": identifier})

    def _matching(self, tenant: str, where: Mapping[str, str]) -> Iterator[Document]:
        return each_document(self._documents, waiting_collection(tenant), where=where)


def hashes(tenant: "Tenant", identifiers: Mapping[str, Any]) -> dict[str, str]:
    """Return the identifiers by name, each as a hash under the tenant's ledger key; without those that are empty.

    Raises:
        ValueError: the tenant has no such key.
    """
    if tenant.ledger_key is None:
        raise ValueError("the tenant has no ledger key")
    key = tenant.ledger_key.get_secret_value().encode()
    return {
        name: hmac.new(key, f"identifier\0{name}\0{value}".casefold().encode(), hashlib.sha256).hexdigest()[
            :32
        ]
        for name, value in identifiers.items()
        if value
    }


def _id(identifier: str, profile_id: str) -> str:
    return hashlib.sha256(f"{identifier} {profile_id}".encode()).hexdigest()[:32]


def waiting_collection(tenant: str) -> str:
    """Return the collection of the notes."""
    return f"tenants/{tenant}/waiting_profiles"
