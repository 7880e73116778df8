"""The persons whom a tenant was asked to forget: a keyed hash of each identifier, and the time. It is kept as long as the queue may
deliver older jobs.

A key of the tenant makes the hashes: a reader of the database alone can neither tell whose a hash is nor try out addresses.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from shared.errors import DocumentChangedError, DocumentExistsError, StoreUnavailableError
from shared.storage.documents import Documents, Value, delete_all, each_document
from shared.tenants.tenants import Tenant

# As long as Cloud Tasks keeps a task that it cannot deliver.
KEPT = timedelta(days=31)
_TRIES = 10


class Identifier(StrEnum):
    """The identifiers of a person."""

    OMNEO_ID = "omneo_id"
    KLAVIYO_ID = "klaviyo_id"
    EMAIL = "email"


class Erasures:
    """Keeps and tells who was erased."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    def note(self, tenant: str, marks: Iterable[str], at: datetime) -> None:
        """Remember that who has these marks was erased at that time. The last time counts."""
        for mark in marks:
            self._note(tenant, mark, at)

    def _note(self, tenant: str, mark: str, at: datetime) -> None:
        fields: dict[str, Value] = {"at": at, "expire_at": at + KEPT}
        for _ in range(_TRIES):
            found = self._documents.get(_collection(tenant), mark)
            try:
                if found is None:
                    self._documents.create(_collection(tenant), mark, fields)
                elif not isinstance(noted := found.fields["at"], datetime) or noted < at:
                    self._documents.update(_collection(tenant), mark, fields, version=found.version)
            except (DocumentExistsError, DocumentChangedError):
                continue
            return
        raise StoreUnavailableError("an erasure is being noted too often to be written")

    def last(self, tenant: str, mark: str) -> datetime | None:
        """Return when who has this mark was erased, None if nobody was within the time that counts."""
        found = self._documents.get(_collection(tenant), mark)
        at = None if found is None else found.fields["at"]
        return at if isinstance(at, datetime) and self._clock() < at + KEPT else None

    def all(self, tenant: str) -> dict[str, datetime]:
        """Return when who has each mark was erased: for a caller that has many to look for."""
        found: dict[str, datetime] = {}
        for document in each_document(self._documents, _collection(tenant)):
            at = document.fields["at"]
            if isinstance(at, datetime) and self._clock() < at + KEPT:
                found[document.id] = at
        return found

    def forget(self, tenant: str) -> None:
        """Forget all of them."""
        delete_all(self._documents, _collection(tenant))


def mark_of(tenant: Tenant, name: Identifier, value: str) -> str:
    """Return the mark of an identifier, the same in any case of its letters.

    Raises:
        ValueError: the tenant has no ledger key.
    """
    if tenant.ledger_key is None:
        raise ValueError("the tenant has no ledger key")
    text = f"erased\0{name}\0{value.strip().casefold()}"
    key = tenant.ledger_key.get_secret_value().encode()
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/erasures"
