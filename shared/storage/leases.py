"""Leases: one holder at a time, for a while, over any number of instances.

The store's `create` lets exactly one caller take a lease. This module checks the expiry, because the store removes expired documents hours
late. A holder that dies loses its lease when it expires. The document of a returned lease may stay for a while; the lease is free then. It
shows when the lease was last held.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.errors import DocumentChangedError, DocumentExistsError, DocumentMissingError
from shared.storage.documents import Document, Documents, Value

COLLECTION = "leases"


@dataclass(frozen=True)
class Lease:
    """The proof that a caller holds a lease; the caller returns it with `release`.

    `before` is the end of the last lease of another holder: the time at which it was returned with a trace, or at which the lease of a dead
    holder expired. It is None if nothing is known.
    """

    id: str
    holder: str
    before: datetime | None = None

    @classmethod
    def of(cls, name: str, holder: str) -> "Lease":
        """Return the proof of `holder`'s lease on `name`, for a process that goes on with the holder's work."""
        return cls(id_of(name), holder)


def id_of(name: str) -> str:
    """Return the id of the lease on `name`; it does not show the name."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


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
        lease = Lease.of(name, self._new_id())
        fields: dict[str, Value] = {"holder": lease.holder, "expire_at": self._clock() + lasting}
        try:
            self._documents.create(COLLECTION, lease.id, fields)
        except DocumentExistsError:
            return self._taken_over(lease, fields)
        return lease

    def is_held(self, id: str) -> bool:
        """Return whether somebody holds the lease with this id now."""
        held = self._documents.get(COLLECTION, id)
        return held is not None and not self._is_free(held)

    def renew(self, lease: Lease, *, lasting: timedelta) -> bool:
        """Let the lease last that long from now on, and return True. A lease that has expired and has a new holder is left alone."""
        held = self._documents.get(COLLECTION, lease.id)
        if held is None or held.fields.get("holder") != lease.holder:
            return False
        later: dict[str, Value] = {"expire_at": self._clock() + lasting}
        try:
            self._documents.update(COLLECTION, lease.id, later, version=held.version)
        except (DocumentChangedError, DocumentMissingError):
            return False  # taken over, or returned, between the two lines above
        return True

    def release(self, lease: Lease, *, trace: timedelta | None = None) -> None:
        """Return the lease. A lease that has expired and has a new holder is left alone.

        The lease can be taken again at once. With `trace`, `Lease.before` tells the next holder within that time.
        """
        held = self._documents.get(COLLECTION, lease.id)
        if held is None or held.fields.get("holder") != lease.holder:
            return
        try:
            if trace is None:
                self._documents.delete(COLLECTION, lease.id, version=held.version)
            else:
                left = self._trace(trace)
                self._documents.update(COLLECTION, lease.id, left, version=held.version)
        except DocumentChangedError:
            return  # taken over between the two lines above

    def _trace(self, lasting: timedelta) -> dict[str, Value]:
        now = self._clock()
        # It has no holder, so that a second return leaves it alone.
        return {"holder": "", "released_at": now, "expire_at": now + lasting}

    def _taken_over(self, lease: Lease, fields: dict[str, Value]) -> Lease | None:
        held = self._documents.get(COLLECTION, lease.id)
        if held is None or not self._is_free(held):
            return None
        taken = {**fields, "released_at": None}
        try:
            self._documents.update(COLLECTION, lease.id, taken, version=held.version)
        except (DocumentChangedError, DocumentMissingError):
            return None
        return replace(lease, before=_last_held(held))

    def _is_free(self, held: Document) -> bool:
        expiry = held.fields.get("expire_at")
        is_given_back = held.fields.get("released_at") is not None
        return is_given_back or not isinstance(expiry, datetime) or expiry <= self._clock()


def _last_held(held: Document) -> datetime | None:
    """Return when a free lease was returned or expired."""
    moment = held.fields.get("released_at") or held.fields.get("expire_at")
    return moment if isinstance(moment, datetime) else None
