"""The backlog of profile syncs: those that could not begin because Klaviyo takes no more, until the packer gives them back to the queue.

One document holds the job of one profile, however many calls about the profile come; a second document notes its place in the order. The job is
kept as it was. It names its profile by the id and holds nothing else of the person. Syncs come out in the order in which they were accepted.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, cast

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.jobs.jobs import SyncProfile, write_job
from shared.storage.documents import Document, Documents, Scalar, Value, Version, delete_all

if TYPE_CHECKING:
    from shared.services import Services

_TRIES = 5


@dataclass(frozen=True)
class WaitingSync:
    """A sync that waits. `body` is the job as the queue takes it."""

    id: str
    body: bytes
    accepted_at: datetime
    version: Version

    @property
    def job(self) -> SyncProfile:
        """The job."""
        return SyncProfile.model_validate_json(self.body)


class SyncBacklog:
    """Takes syncs in and gives them out."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents)

    def add(self, tenant: str, job: SyncProfile) -> None:
        """Let a sync wait. With one of the same profile that waits already it becomes one: see `together`."""
        for _ in range(_TRIES):
            found = self._of(tenant, job.profile_id)
            try:
                if found is None:
                    self._documents.create(_collection(tenant), _id(job), _encoded(job))
                    # If the process dies before this, another call about the profile waits as a separate sync.
                    self._note_place(tenant, job)
                    return
                both = _encoded(together(_decoded(found), job))
                self._documents.update(_collection(tenant), found.id, both, version=found.version)
            except DocumentExistsError:
                self._note_place(tenant, job)  # it was put here before, by a delivery that died then
                continue
            except DocumentChangedError:
                continue  # the packer has just given it back, or another call came at the same moment
            return
        raise StoreUnavailableError("the waiting sync is being changed too often to be written")

    def first(
        self, tenant: str, most: int, *, alone: bool | None = None, after: str | None = None
    ) -> list[WaitingSync]:
        """Return those that were accepted first, at most so many; with `alone`, only those that go alone, or only the
        others.

        `after` is the id of the last one of the page before.
        """
        found = self._documents.find(_collection(tenant), where=_where(alone), after=after, limit=most)
        return [_waiting(document) for document in found]

    def waits(self, tenant: str, profile_id: str) -> bool:
        """Return whether a sync of the profile waits."""
        return self._of(tenant, profile_id) is not None

    def set_apart(self, tenant: str, sync: WaitingSync, job: SyncProfile) -> None:
        """Let a sync wait as this job from now on; one that another call has joined meanwhile, or that has gone, stays as it is."""
        with suppress(DocumentChangedError):
            self._documents.update(_collection(tenant), sync.id, _encoded(job), version=sync.version)

    def take_out(self, tenant: str, sync: WaitingSync) -> None:
        """Take out a sync that was given back; one that another call has joined meanwhile goes on waiting."""
        try:
            self._documents.delete(_collection(tenant), sync.id, version=sync.version)
        except DocumentChangedError:
            return
        # A call at this moment may have noted a new place: then the next call waits as a separate sync.
        self._documents.delete(_places(tenant), sync.id.rpartition(" ")[2])

    def count(self, tenant: str, *, alone: bool | None = None) -> int:
        """Return how many profiles wait; with `alone` as in `first`."""
        return self._documents.count(_collection(tenant), where=_where(alone))

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget the waiting sync of a profile, and return the number of documents."""
        found = self._of(tenant, profile_id)
        if found is not None:
            self._documents.delete(_collection(tenant), found.id)
        self._documents.delete(_places(tenant), _hashed(profile_id))
        return int(found is not None)

    def forget(self, tenant: str) -> None:
        """Forget everything that waits."""
        delete_all(self._documents, _collection(tenant))
        delete_all(self._documents, _places(tenant))

    def _of(self, tenant: str, profile_id: str) -> Document | None:
        place = self._documents.get(_places(tenant), _hashed(profile_id))
        return None if place is None else self._documents.get(_collection(tenant), str(place.fields["place"]))

    def _note_place(self, tenant: str, job: SyncProfile) -> None:
        fields: dict[str, Value] = {"place": _id(job)}
        try:
            self._documents.create(_places(tenant), _hashed(job.profile_id), fields)
        except DocumentExistsError:
            with suppress(DocumentMissingError):  # forgotten in this very moment
                self._documents.update(_places(tenant), _hashed(job.profile_id), fields)


def together(waiting: SyncProfile, other: SyncProfile) -> SyncProfile:
    """Return the sync that does for both: as old as the older, and for all calls that the two stand for."""
    pick: Callable[..., datetime] = min
    return other.model_copy(
        update={
            "accepted_at": pick(waiting.accepted_at, other.accepted_at),
            "attempts": max(waiting.attempts, other.attempts),
            "until": max(waiting.until, other.until),
            "leaves_undated": waiting.leaves_undated and other.leaves_undated,
            "alone": waiting.alone or other.alone,
            "traceparent": waiting.traceparent or other.traceparent,
        }
    )


def _id(job: SyncProfile) -> str:
    moment = job.accepted_at.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S%f} {_hashed(job.profile_id)}"


def _hashed(profile_id: str) -> str:
    return hashlib.sha256(profile_id.encode()).hexdigest()[:32]


def _encoded(job: SyncProfile) -> dict[str, Value]:
    body, accepted_at = write_job(job).decode(), job.accepted_at.astimezone(UTC)
    return {"job": body, "accepted_at": accepted_at, "alone": job.alone}


def _where(alone: bool | None) -> dict[str, Scalar] | None:
    return None if alone is None else {"alone": alone}


def _decoded(document: Document) -> SyncProfile:
    return SyncProfile.model_validate_json(str(document.fields["job"]))


def _waiting(document: Document) -> WaitingSync:
    return WaitingSync(
        document.id,
        str(document.fields["job"]).encode(),
        cast(datetime, document.fields["accepted_at"]),
        document.version,
    )


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/waiting_syncs"


def _places(tenant: str) -> str:
    return f"tenants/{tenant}/waiting_sync_places"
