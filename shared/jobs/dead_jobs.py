"""The dead-letter desk: jobs that the worker has given up, each with a plain reason.

A dead job keeps the whole job, encrypted, and a replay puts it back unchanged: with the same `unique_id` it cannot make a second event.
"""

import zlib
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    UndecryptableError,
)
from shared.storage.documents import Document, Documents, Value
from shared.storage.encryption import KeyRing

_BODY = "dead_job.body"
_DETAIL = "dead_job.detail"
_AT_ONCE = 20  # of up to 1 MiB each, which the store has to bring within one time-out


class DeadJob(BaseModel):
    """A job that the worker has given up.

    `reason` is plain and holds nothing personal. `detail` holds the service's own words and may quote personal data. `request_id` is the
    service's name for the call that it refused, "" if it gives none. `body` is the task's body, unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    tenant: str
    kind: str
    reason: str
    detail: str = ""
    body: bytes
    attempts: int
    died_at: AwareDatetime
    request_id: str = ""


class DeadJobStore:
    """Dead jobs of each tenant, in a document store."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self._keys = keys

    def add(self, dead: DeadJob, *, keep: timedelta) -> None:
        """Record a dead job. A second record of the same job changes nothing: a worker that dies halfway records it twice."""
        fields: dict[str, Value] = {
            "kind": dead.kind,
            "reason": dead.reason,
            "detail": self._keys.encrypt(dead.detail, tenant=dead.tenant, field=_DETAIL),
            "body": self._sealed(dead),
            "attempts": dead.attempts,
            "died_at": dead.died_at,
            "expire_at": dead.died_at + keep,
            "request_id": dead.request_id,
        }
        try:
            self._documents.create(_collection(dead.tenant), dead.id, fields)
        except DocumentExistsError:
            return

    def find(self, tenant: str, id: str) -> DeadJob | None:
        """Return the dead job with this id, None if there is none."""
        found = self._documents.get(_collection(tenant), id)
        return None if found is None else self._decode(tenant, found)

    def page(self, tenant: str, *, after: str | None = None, limit: int = 100) -> list[DeadJob]:
        """Return dead jobs in the order of their ids."""
        found = self._documents.find(_collection(tenant), after=after, limit=limit)
        return [self._decode(tenant, document) for document in found]

    def count(self, tenant: str) -> int:
        """Return how many dead jobs the tenant has."""
        return self._documents.count(_collection(tenant))

    def delete(self, tenant: str, id: str) -> None:
        """Forget a dead job."""
        self._documents.delete(_collection(tenant), id)

    def cut_down(self, tenant: str, id: str, body: bytes) -> None:
        """Keep a part of a dead job, in place of the whole and of what was said of it. One that is gone stays gone."""
        fields: dict[str, Value] = {
            "body": self._keys.encrypt_bytes(zlib.compress(body), tenant=tenant, field=_BODY),
            "detail": self._keys.encrypt("", tenant=tenant, field=_DETAIL),
        }
        with suppress(DocumentMissingError):
            self._documents.update(_collection(tenant), id, fields)

    def delete_all(self, tenant: str) -> None:
        """Forget every dead job of the tenant."""
        while found := self._documents.find(_collection(tenant), limit=_AT_ONCE):
            for document in found:
                self._documents.delete(_collection(tenant), document.id)

    def reencrypt(self, tenant: str, *, dry_run: bool = False) -> int:
        """Seal every job of an older key with the first key, and return how many there were.

        Raises:
            UndecryptableError: some cannot be read; all others were written.
        """
        due, after, unreadable = 0, None, None
        while found := self._documents.find(_collection(tenant), after=after, limit=_AT_ONCE):
            after = found[-1].id
            stale = [document for document in found if not self._is_current(document)]
            due += len(stale)
            for document in () if dry_run else stale:
                try:
                    self._renew(tenant, document)
                except UndecryptableError as error:
                    unreadable = error
        if unreadable is not None:
            raise unreadable
        return due

    def _sealed(self, dead: DeadJob) -> str:
        # A job may hold 900 KB and a document 1 MiB, ciphertext in base64 included: only compressed does the one fit the other.
        return self._keys.encrypt_bytes(zlib.compress(dead.body), tenant=dead.tenant, field=_BODY)

    def _renew(self, tenant: str, document: Document) -> None:
        dead = self._decode(tenant, document)
        sealed: dict[str, Value] = {
            "detail": self._keys.encrypt(dead.detail, tenant=tenant, field=_DETAIL),
            "body": self._sealed(dead),
        }
        try:
            self._documents.update(_collection(tenant), document.id, sealed, version=document.version)
        except (DocumentMissingError, DocumentChangedError):
            return  # replayed, expired, or renewed by another run of the same command

    def _is_current(self, document: Document) -> bool:
        return all(self._keys.is_current(str(document.fields[name])) for name in ("detail", "body"))

    def _decode(self, tenant: str, document: Document) -> DeadJob:
        fields = document.fields
        return DeadJob(
            id=document.id,
            tenant=tenant,
            kind=str(fields["kind"]),
            reason=str(fields["reason"]),
            detail=self._keys.decrypt(str(fields["detail"]), tenant=tenant, field=_DETAIL),
            body=zlib.decompress(self._keys.decrypt_bytes(str(fields["body"]), tenant=tenant, field=_BODY)),
            attempts=int(str(fields["attempts"])),
            died_at=_time(fields["died_at"]),
            request_id=str(fields.get("request_id") or ""),
        )


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/dead_jobs"


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("a dead job's time is not a time")
    return value
