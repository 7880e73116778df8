"""The notes about each synced Omneo profile: the values that the sync filled in Klaviyo, the identifiers that it left there, when it last read
the profile, and whether the profile was deleted since. `consent/memories.py` keeps the memory of its consents.

The notes hold names of filled values, hashes of identifiers, and Klaviyo's profile ids, but never a personal value. A writer holds the profile's
turn.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from shared.errors import DocumentExistsError, DocumentMissingError
from shared.profiles.waiting import waiting_collection
from shared.storage.documents import Document, Documents, Value, delete_all, each_document

if TYPE_CHECKING:
    from shared.services import Services

# Longer than any job can wait or lie dead before it is replayed.
DELETED_KEPT = timedelta(days=400)
# Longer than a run over the whole base lasts.
RUN_LASTS = timedelta(days=14)


@dataclass(frozen=True)
class SyncedProfile:
    """The notes about a profile; all empty for one that was never synced.

    `account` is the Klaviyo account that `klaviyo_id`, `filled` and `left` belong to. `left` are the identifiers that
    Klaviyo had after the last sync, and those that it refuses, as hashes by name. `cleared` are values that a sync has
    cleared after an earlier one filled them, the last one at `cleared_at`: an import under way at that time fills them
    again. `written_at` is the time of the last write to Klaviyo by a sync, finished or not.
    """

    account: str = ""
    klaviyo_id: str = ""
    filled: frozenset[str] = frozenset()
    left: Mapping[str, str] = field(default_factory=dict)
    read_at: datetime | None = None
    deleted_at: datetime | None = None
    written_at: datetime | None = None
    cleared: frozenset[str] = frozenset()
    cleared_at: datetime | None = None

    def cleared_since(self, since: datetime) -> frozenset[str]:
        """Return the values that were cleared, if some were since then."""
        return self.cleared if self.cleared_at is not None and self.cleared_at >= since else frozenset()


class SyncedProfiles:
    """Stores the results of syncs."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def find(self, tenant: str, profile_id: str) -> SyncedProfile:
        """Return the stored result of an Omneo profile's last sync."""
        found = self._documents.get(_collection(tenant), _id(profile_id))
        if found is None or self._has_expired(found):
            return SyncedProfile()
        return _decode(found.fields)

    def knows(self, tenant: str, klaviyo_id: str) -> bool:
        """Return whether a profile that was not deleted is remembered as this one of Klaviyo's."""
        found = self._documents.find(_collection(tenant), where={"klaviyo_id": klaviyo_id})
        return any(_decode(document.fields).deleted_at is None for document in found)

    def keep(self, tenant: str, profile_id: str, synced: SyncedProfile) -> None:
        """Store this in place of the last result."""
        fields: dict[str, Value] = {
            "account": synced.account,
            "klaviyo_id": synced.klaviyo_id,
            "filled": [*sorted(synced.filled)],
            "left": {**synced.left},
            "cleared": [*sorted(synced.cleared)],
            "cleared_at": synced.cleared_at,
            "read_at": synced.read_at,
            "deleted_at": synced.deleted_at,
            "written_at": synced.written_at,
            "expire_at": None if synced.deleted_at is None else self._clock() + DELETED_KEPT,
        }
        self._write(tenant, profile_id, fields)

    def fill(self, tenant: str, profile_id: str, synced: SyncedProfile) -> None:
        """Remember the filled values and the identifiers in Klaviyo, and keep the other notes about the profile."""
        fields: dict[str, Value] = {
            "account": synced.account,
            "klaviyo_id": synced.klaviyo_id,
            "filled": [*sorted(synced.filled)],
            "left": {**synced.left},
        }
        self._write(tenant, profile_id, fields)

    def unbury(self, tenant: str, profile_id: str) -> None:
        """Forget that the profile was deleted, because it exists again."""
        if self.find(tenant, profile_id).deleted_at is not None:
            self._write(tenant, profile_id, {"deleted_at": None, "expire_at": None})

    def forget_left(self, tenant: str, profile_id: str) -> None:
        """Forget the identifiers that a sync has left in Klaviyo: the next sync looks up their owners."""
        if self.find(tenant, profile_id).left:
            self._write(tenant, profile_id, {"left": {}})

    def bury(self, tenant: str, profile_id: str, at: datetime) -> None:
        """Remember that the profile was deleted, and keep its other notes."""
        fields: dict[str, Value] = {"deleted_at": at, "expire_at": self._clock() + DELETED_KEPT}
        self._write(tenant, profile_id, fields)
        burial: dict[str, Value] = {"at": at, "expire_at": self._clock() + RUN_LASTS}
        try:
            self._documents.create(_burials(tenant), _id(profile_id), burial)
        except DocumentExistsError:
            with suppress(DocumentMissingError):
                self._documents.update(_burials(tenant), _id(profile_id), burial)

    def buried_of(
        self, tenant: str, profile_ids: Iterable[str], since: datetime
    ) -> Iterator[tuple[str, datetime]]:
        """Yield which of these profiles were deleted since then, within the last days, and when. A restored profile is left out."""
        ids = {_id(profile_id): profile_id for profile_id in profile_ids}
        for document in each_document(self._documents, _burials(tenant)):
            at: Any = document.fields["at"]
            is_meant = document.id in ids and isinstance(at, datetime) and at >= since
            if is_meant and self.find(tenant, ids[document.id]).deleted_at is not None:
                yield ids[document.id], at

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget a profile, and return how many documents that was: one or none."""
        found = self._documents.get(_collection(tenant), _id(profile_id))
        self._documents.delete(_collection(tenant), _id(profile_id))
        self._documents.delete(_burials(tenant), _id(profile_id))
        return int(found is not None)

    def forget(self, tenant: str) -> None:
        """Forget every profile."""
        delete_all(self._documents, _collection(tenant))
        delete_all(self._documents, _burials(tenant))
        delete_all(self._documents, waiting_collection(tenant))

    def _write(self, tenant: str, profile_id: str, fields: Mapping[str, Value]) -> None:
        collection, id = _collection(tenant), _id(profile_id)
        try:
            self._documents.update(collection, id, fields)
        except DocumentMissingError:
            try:
                self._documents.create(collection, id, fields)
            except DocumentExistsError:
                self._documents.update(collection, id, fields)

    def _has_expired(self, found: Document) -> bool:
        expiry = found.fields.get("expire_at")
        return isinstance(expiry, datetime) and expiry <= self._clock()


def _decode(fields: Mapping[str, Any]) -> SyncedProfile:
    return SyncedProfile(
        account=fields.get("account") or "",
        klaviyo_id=fields.get("klaviyo_id") or "",
        filled=frozenset(fields.get("filled") or ()),
        left=fields.get("left") or {},
        read_at=fields.get("read_at"),
        deleted_at=fields.get("deleted_at"),
        cleared=frozenset(fields.get("cleared") or ()),
        cleared_at=fields.get("cleared_at"),
        written_at=fields.get("written_at"),
    )


def _id(profile_id: str) -> str:
    return hashlib.sha256(profile_id.encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/synced_profiles"


def _burials(tenant: str) -> str:
    return f"tenants/{tenant}/burials"
