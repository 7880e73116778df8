"""The causes outside the jobs that hold dead jobs, with the time of the first and last death and of the last try."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import DocumentChangedError, DocumentExistsError, DocumentMissingError
from shared.jobs.dead_job import DeadJob
from shared.jobs.rules.causes import HELD, Cause
from shared.storage.documents import Document, Documents, Value, delete_all

_NOTED_AGAIN_AFTER = timedelta(
    minutes=1
)  # thousands of jobs may die of one cause, and not each may write its document


@dataclass(frozen=True)
class HeldCause:
    """A cause that holds jobs: the times of the first and the last death, to the minute, and the time of the last try."""

    cause: Cause
    reason: str
    first_at: datetime
    last_at: datetime
    tried_at: datetime


class HeldCauses:
    """The causes of each tenant, in a document store."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def held(self, tenant: str) -> list[HeldCause]:
        """Return the causes that have held jobs. Some of them may be mended."""
        found = self._documents.find(_collection(tenant))
        return [_held(document) for document in found if document.id in HELD]

    def note_try(self, tenant: str, cause: Cause, *, now: datetime) -> None:
        """Note that a job which the cause holds is tried now."""
        with suppress(DocumentMissingError):
            self._documents.update(_collection(tenant), cause.value, {"tried_at": now})

    def forget(self, tenant: str, cause: Cause) -> None:
        """Forget a cause that holds no job any more."""
        self._documents.delete(_collection(tenant), cause.value)

    def note(self, dead: DeadJob, *, until: datetime) -> None:
        """Note that a job has just died of the cause. The note stays until `until`."""
        collection, id = _collection(dead.tenant), dead.cause.value
        now: dict[str, Value] = {
            "reason": dead.reason,
            "last_at": dead.died_at,
            "expire_at": until,
        }
        found = self._documents.get(collection, id)
        if found is None:
            with suppress(DocumentExistsError):
                first: dict[str, Value] = {"first_at": dead.died_at, "tried_at": dead.died_at}
                self._documents.create(collection, id, now | first)
        elif dead.died_at - _time(found.fields["last_at"]) >= _NOTED_AGAIN_AFTER:
            with suppress(DocumentChangedError):
                self._documents.update(collection, id, now, version=found.version)

    def forget_all(self, tenant: str) -> None:
        """Forget every cause of the tenant."""
        delete_all(self._documents, _collection(tenant))


def _held(document: Document) -> HeldCause:
    first_at, last_at, tried_at = (
        _time(document.fields[name]) for name in ("first_at", "last_at", "tried_at")
    )
    return HeldCause(Cause(document.id), str(document.fields["reason"]), first_at, last_at, tried_at)


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("a cause's time is not a time")
    return value


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/dead_causes"
