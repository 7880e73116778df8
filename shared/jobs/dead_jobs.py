"""The dead-letter desk: jobs that the worker has given up, each with a plain reason.

A dead job keeps the whole job, encrypted, and a replay puts it back unchanged: with the same `unique_id` it cannot make a second event. Its
row stays until the replayed job has succeeded. Each replay has a word of its own, which the row and the job carry. When the row has another
word, a later replay has overtaken the job, and the job is not done. replays.py decides what is replayed, and when.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol, Self

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
    UndecryptableError,
)
from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.dead_job_rows import (
    SealedRows,
    is_new_death,
    is_under_way,
    kept_at_a_new_death,
    read_unsealed,
)
from shared.jobs.held_causes import HeldCauses
from shared.jobs.rules.causes import HELD, Cause
from shared.jobs.rules.wanted import Wanted
from shared.storage.documents import Document, Documents, Value, delete_all, each_document
from shared.storage.encryption import KeyRing

_AT_ONCE = 20  # of up to 1 MiB each: the store must return them within one time-out
_MOST_READ = 400  # in one scan
_TRIES = 10
# A replay that still waits must find its row: a task that is put back waits for hours at most.
_KEPT_WHILE_REPLAYED = timedelta(days=3)


class Stores(Protocol):
    """What the desk is made of: documents, and the keys of their sealed fields."""

    @property
    def documents(self) -> Documents: ...
    @property
    def keys(self) -> KeyRing: ...


class DeadJobStore:
    """Dead jobs of each tenant, in a document store."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self._rows = SealedRows(keys)
        self.causes = HeldCauses(documents)

    @classmethod
    def of(cls, services: Stores) -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.keys)

    def add(self, dead: DeadJob, *, keep: timedelta) -> bool:
        """Record a dead job, and return whether that changes anything. When a job on the desk dies again, its row is updated.

        A second record of the same death changes nothing: a worker that dies halfway records it twice. `dead.replay` is the replay that
        died; its row is changed if it is still the last one, and no row is made for it. If the job could not be read, the row keeps its
        earlier fields: part of the job may have been erased since it was replayed.
        """
        is_new = self._write(dead, keep)
        if dead.cause in HELD:
            until = dead.died_at + max(keep, _KEPT_WHILE_REPLAYED)
            self.causes.note(dead, until=until)
        return is_new

    def find(self, tenant: str, id: str) -> DeadJob | None:
        """Return the dead job with this id, None if there is none."""
        found = self._documents.get(_collection(tenant), id)
        return None if found is None else self._rows.read(tenant, found)

    def has(self, tenant: str, id: str) -> bool:
        """Return whether a job with this id is on the desk, or is being replayed from there."""
        return self._documents.get(_collection(tenant), id) is not None

    def is_empty(self, tenant: str) -> bool:
        """Return whether no job is on the desk."""
        return not self._documents.find(_collection(tenant), limit=1)

    def of_call(self, tenant: str, call: str) -> DeadJob | None:
        """Return the row of a call's records, without body and detail: a dead row, or else a row that is queued again, or else None."""
        for state in (DeadJobState.DEAD, DeadJobState.REPLAYED):
            where = {"call": call, "state": state.value}
            for found in self._documents.find(_collection(tenant), where=where, limit=1):
                return read_unsealed(tenant, found)
        return None

    def page(self, tenant: str, *, after: str | None = None, limit: int = 100) -> list[DeadJob]:
        """Return dead jobs in the order of their ids."""
        found = self._documents.find(_collection(tenant), after=after, limit=limit)
        return [self._rows.read(tenant, document) for document in found]

    def scan(
        self, tenant: str, wanted: Wanted, *, now: datetime, after: str | None = None, most: int = 100
    ) -> tuple[list[DeadJob], str | None]:
        """Return dead jobs that match the filters, in the order of their ids and without body and detail, and the start of the next scan.

        The second value is None after the last row. A scan ends after some hundreds of rows, so it may find fewer than `most`, or none.
        """
        found: list[DeadJob] = []
        where: Mapping[str, str] = wanted.asked_of_the_store
        for _ in range(_MOST_READ // _AT_ONCE):
            page = self._documents.find(_collection(tenant), where=where, after=after, limit=_AT_ONCE)
            for document in page:
                after = document.id
                dead = read_unsealed(tenant, document)
                if (dead.expire_at is None or dead.expire_at > now) and wanted.means(dead):
                    found.append(dead)
                if len(found) == most:
                    return found, after
            if len(page) < _AT_ONCE:
                return found, None
        return found, after

    def count(self, tenant: str) -> int:
        """Return how many dead jobs the tenant has, without those that are queued again."""
        replayed = self._count(tenant, {"state": DeadJobState.REPLAYED.value})
        return self._documents.count(_collection(tenant)) - replayed

    def counts(self, tenant: str) -> dict[Cause, int]:
        """Return how many dead jobs each cause has, without the jobs that are queued again."""
        of_causes: dict[Cause, int] = {
            cause: self._count(tenant, {"cause": cause.value, "state": DeadJobState.DEAD.value})
            for cause in Cause
            if cause is not Cause.OTHER
        }
        rest = self.count(tenant) - sum(of_causes.values())  # also rows from before there were causes
        of_causes[Cause.OTHER] = rest
        return {cause: count for cause, count in of_causes.items() if count > 0}

    def count_meant(self, tenant: str, wanted: Wanted) -> int | None:
        """Return how many rows match the filters, None if only a scan can tell."""
        if not wanted.is_all_the_store_s:
            return None
        return self._count(tenant, wanted.asked_of_the_store)

    def count_of_run(self, tenant: str, run: str, state: DeadJobState) -> int:
        """Return how many jobs that a run has replayed are in this state."""
        return self._count(tenant, {"run": run, "state": state.value})

    def begin_replay(
        self, tenant: str, id: str, *, replay: str, run: str, now: datetime, keep: timedelta
    ) -> bool:
        """Note that the job is queued again under this word, which ends earlier replays; return whether there is such a row."""
        fields: dict[str, Value] = {
            "state": DeadJobState.REPLAYED.value,
            "replay": replay,
            "run": run,
            "replayed_at": now,
            "expire_at": now + max(keep, _KEPT_WHILE_REPLAYED),
        }
        try:
            self._documents.update(_collection(tenant), id, fields)
        except DocumentMissingError:
            return False
        return True

    def is_meant(self, tenant: str, id: str, replay: str) -> bool:
        """Return whether a replayed job must still be done: its row exists, and no later replay has overtaken it."""
        found = self._documents.get(_collection(tenant), id)
        return found is not None and is_under_way(found, replay)

    def keep_waiting(self, tenant: str, id: str, replay: str, *, now: datetime) -> None:
        """Keep the row of a replayed job that has to wait for some more days."""
        found = self._documents.get(_collection(tenant), id)
        if found is None or not is_under_way(found, replay):
            return
        until = now + _KEPT_WHILE_REPLAYED
        if _time(found.fields["expire_at"]) < until:
            with suppress(DocumentChangedError):
                self._documents.update(_collection(tenant), id, {"expire_at": until}, version=found.version)

    def end_replay(self, tenant: str, id: str, replay: str) -> DeadJob | None:
        """Remove the row of a replayed job that has succeeded, and return it without body; None if the row has another word."""
        found = self._documents.get(_collection(tenant), id)
        if found is None or not is_under_way(found, replay):
            return None
        with suppress(DocumentChangedError):  # the job has died again, or is replayed again
            self._documents.delete(_collection(tenant), id, version=found.version)
        return read_unsealed(tenant, found)

    def settle(self, tenant: str, id: str, *, since: datetime) -> DeadJob | None:
        """Remove a row because a job that began at `since` has done its work; return it without body, None if no job died before that."""
        found = self._documents.get(_collection(tenant), id)
        if found is None or _time(found.fields["died_at"]) > since:
            return None
        try:
            self._documents.delete(_collection(tenant), id, version=found.version)
        except DocumentChangedError:
            return None  # the job has died again, or is replayed
        return read_unsealed(tenant, found)

    def of_kind(self, tenant: str, kind: str) -> list[str]:
        """Return the ids of some rows of a rare kind."""
        found = self._documents.find(_collection(tenant), where={"kind": kind}, limit=_AT_ONCE)
        return [document.id for document in found]

    def cut_down(self, tenant: str, id: str, cut: Callable[[DeadJob], DeadJob | None]) -> bool:
        """Keep only the body, the detail and the profiles that `cut` leaves of a dead job, or remove the job; return whether this changes
        it.

        A removed job stays removed. If somebody else has written in between, `cut` is called again with the new state, so it must be
        repeatable.
        """
        collection = _collection(tenant)
        for _ in range(_TRIES):
            found = self._documents.get(collection, id)
            if found is None:
                return False
            dead = self._rows.read(tenant, found)
            left = cut(dead)
            if left == dead:
                return False
            try:
                if left is None:
                    self._documents.delete(collection, id, version=found.version)
                else:
                    part = self._rows.sealed(left) | {"profiles": list(left.profiles)}
                    self._documents.update(collection, id, part, version=found.version)
            except DocumentChangedError:
                continue
            return True
        raise StoreUnavailableError("the dead job is being changed too often to be written")

    def delete_all(self, tenant: str) -> None:
        """Forget every dead job of the tenant."""
        self.causes.forget_all(tenant)
        delete_all(self._documents, _collection(tenant), at_once=_AT_ONCE)

    def reencrypt(self, tenant: str, *, dry_run: bool = False) -> int:
        """Encrypt every job of an older key with the first key, and return how many there were.

        Raises:
            UndecryptableError: some cannot be read; all others were written.
        """
        due, unreadable = 0, None
        for document in each_document(self._documents, _collection(tenant), at_once=_AT_ONCE):
            if self._rows.is_current(document):
                continue
            due += 1
            if dry_run:
                continue
            try:
                self._renew(tenant, document)
            except UndecryptableError as error:
                unreadable = error
        if unreadable is not None:
            raise unreadable
        return due

    def _write(self, dead: DeadJob, keep: timedelta) -> bool:
        fields = self._rows.write(dead, keep)
        collection = _collection(dead.tenant)
        for _ in range(_TRIES):
            found = self._documents.get(collection, dead.id)
            try:
                if found is None:
                    if dead.replay:
                        return False  # the row has expired, or its person was erased
                    self._documents.create(collection, dead.id, fields)
                elif is_new_death(found, dead):
                    again = fields | kept_at_a_new_death(found, dead)
                    self._documents.update(collection, dead.id, again, version=found.version)
                else:
                    return False
            except (DocumentExistsError, DocumentChangedError):
                continue
            return True
        raise StoreUnavailableError("the dead job is being changed too often to be written")

    def _count(self, tenant: str, where: Mapping[str, str]) -> int:
        return self._documents.count(_collection(tenant), where=where)

    def _renew(self, tenant: str, document: Document) -> None:
        dead = self._rows.read(tenant, document)
        try:
            self._documents.update(
                _collection(tenant), document.id, self._rows.sealed(dead), version=document.version
            )
        except (DocumentMissingError, DocumentChangedError):
            return  # replayed, expired, or renewed by another run of the same command


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/dead_jobs"


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("a dead job's time is not a time")
    return value
