"""Leases: one holder at a time, for a while, over any number of instances.

A lease rests on the store's `create`, which lets exactly one caller win, and on an expiry that is checked here: the store's
own removal of expired documents comes hours late. A holder that dies loses its lease when it expires.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.documents import Document, Documents, Value
from shared.errors import DocumentChangedError, DocumentExistsError, DocumentMissingError

COLLECTION = "leases"


@dataclass(frozen=True)
class Lease:
    """Proof of holding; hand it back to `release`."""

    id: str
    holder: str


class Leases:
    """Takes and gives back leases."""

    def __init__(
        self, documents: Documents, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._new_id = new_id

    def acquire(self, name: str, *, lasting: timedelta) -> Lease | None:
        """Return a lease on `name`, None while somebody else holds it."""
        id = hashlib.sha256(name.encode()).hexdigest()[:32]
        lease = Lease(id, self._new_id())
        fields: dict[str, Value] = {"holder": lease.holder, "expire_at": self._clock() + lasting}
        try:
            self._documents.create(COLLECTION, id, fields)
        except DocumentExistsError:
            return lease if self._take_over(id, fields) else None
        return lease

    def release(self, lease: Lease) -> None:
        """Give the lease back; if it expired and another took it over, leave that one alone."""
        held = self._documents.get(COLLECTION, lease.id)
        if held is None or held.fields.get("holder") != lease.holder:
            return
        try:
            self._documents.delete(COLLECTION, lease.id, version=held.version)
        except DocumentChangedError:
            return  # taken over between the two lines above

    def _take_over(self, id: str, fields: dict[str, Value]) -> bool:
        held = self._documents.get(COLLECTION, id)
        if held is None or not self._has_expired(held):
            return False
        try:
            self._documents.update(COLLECTION, id, fields, version=held.version)
        except (DocumentChangedError, DocumentMissingError):
            return False
        return True

    def _has_expired(self, held: Document) -> bool:
        expiry = held.fields.get("expire_at")
        return not isinstance(expiry, datetime) or expiry <= self._clock()
