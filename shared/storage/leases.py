"""Leases: one holder at a time, for a while, over any number of instances.

The store's `create` lets exactly one caller win a lease. This module checks the expiry, because the store removes expired documents hours
late. A holder that dies loses its lease when it expires. The document of a lease that was given back may stay for a while, free to take. It
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
    """Proof of holding; hand it back to `release`.

    `before` is when somebody else is known to have held it last: when they gave it back and left a trace, or when the lease of
    one that died ran out. None when nothing is known.
    """

    id: str
    holder: str
    before: datetime | None = None

    @classmethod
    def of(cls, name: str, holder: str) -> "Lease":
        """Return the proof of a lease on `name` that `holder` took, for a process that goes on with the holder's work."""
        return cls(id_of(name), holder)


def id_of(name: str) -> str:
    """Return the id of the lease on `name`, which shows nothing of the name."""
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
        """Let the lease last that long from now on, and return True; if it expired and another took it over, leave that one alone."""
        held = self._documents.get(COLLECTION, lease.id)
        if held is None or held.fields.get("holder") != lease.holder:
            return False
        later: dict[str, Value] = {"expire_at": self._clock() + lasting}
        try:
            self._documents.update(COLLECTION, lease.id, later, version=held.version)
        except (DocumentChangedError, DocumentMissingError):
            return False  # taken over, or given back, between the two lines above
        return True

    def release(self, lease: Lease, *, trace: timedelta | None = None) -> None:
        """Give the lease back; if it expired and another took it over, leave that one alone.

        It can be taken at once. With `trace`, the next holder within that time learns of it from `Lease.before`.
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
        # Nobody's, so that who gives back a second time leaves it alone.
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
    """Return when a lease that is free was given back, or ran out."""
    moment = held.fields.get("released_at") or held.fields.get("expire_at")
    return moment if isinstance(moment, datetime) else None
