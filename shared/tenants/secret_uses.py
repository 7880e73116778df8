"""When a tenant's secrets were last used, so that an operator sees whether an old one can be ended.

The time is exact to some minutes: an instance notes a use once in ten minutes, because every call uses a secret and a document bears about one
write a second. No call fails because a use cannot be noted.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.errors import DocumentExistsError, DocumentMissingError, StoreUnavailableError
from shared.storage.documents import Documents, delete_all, each_document

# Stands for the secret that Klaviyo signed a delivery with: when one last came.
KLAVIYO_DELIVERY = "klaviyo-delivery"
EXACT_TO = timedelta(minutes=10)
KEPT = 10_000


class SecretUses:
    """Notes uses of secrets and tells the last ones."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, str], datetime] = {}

    def note(self, tenant: str, id: str) -> None:
        """Note that the secret was used just now."""
        now = self._clock()
        with self._lock:
            if now - self._noted.get((tenant, id), now - EXACT_TO) < EXACT_TO:
                return
            if len(self._noted) >= KEPT:
                self._noted.clear()
            self._noted[tenant, id] = now
        try:
            self._write(tenant, id, now)
        except StoreUnavailableError:
            return  # noted again by the next use after ten minutes

    def last(self, tenant: str) -> dict[str, datetime]:
        """Return when each secret was last used, by its id; those never used are missing."""
        return {
            document.id: used
            for document in each_document(self._documents, _collection(tenant))
            if isinstance(used := document.fields["used_at"], datetime)
        }

    def forget(self, tenant: str) -> None:
        """Forget every use."""
        delete_all(self._documents, _collection(tenant))

    def _write(self, tenant: str, id: str, now: datetime) -> None:
        try:
            self._documents.update(_collection(tenant), id, {"used_at": now})
        except DocumentMissingError:
            try:
                self._documents.create(_collection(tenant), id, {"used_at": now})
            except DocumentExistsError:
                return  # another instance was faster by a moment


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/secret_uses"
