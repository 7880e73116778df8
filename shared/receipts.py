"""Receipts: the result of a job, under the id that its caller got.

A job that has to wait always leaves a receipt. A job that is done leaves one for a day if it had to wait, was replayed or is a heal (its
last page leaves it). With the setting `receipt_days`, every job leaves one when it is queued and when it is done. A dead job needs no
receipt, because its row on the desk is one. Records are the exception: one call may have many rows, and the call is done when the records
of all rows have gone. So a job that is done at its first try costs no write if `receipt_days` is 0, and two writes otherwise.

A person appears only as hashes under the tenant's ledger key. A receipt that cannot be written fails no job.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentExistsError, DocumentMissingError, StoreUnavailableError
from shared.storage.documents import Document, Documents, Value, Write, delete_all, each_document
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(days=35)  # of a job that is not over: a queue keeps a task for 31 days
KEPT_AFTER_A_WAIT = timedelta(days=1)
NAMES = ("email", "klaviyo_id", "omneo_id")  # the names by which a person is found


class Fate(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True)
class Receipt:
    """The known state of a job.

    `at` is the time of this state. `why` and `next_try_at` are of one that waits, `answered` is what was heard last when it was done,
    `rows` are the rows on the desk of records that were given up and have not gone since, whether they still stand or not. `metric` is the
    metric's name or the data source's.
    """

    id: str
    kind: str
    state: Fate
    at: datetime
    metric: str = ""
    attempts: int = 0
    why: str = ""
    next_try_at: datetime | None = None
    answered: str = ""
    rows: tuple[str, ...] = ()


class Receipts:
    """Stores and reads receipts. `persons` are the ids and addresses of a job's person: see `NAMES`."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def queued(self, tenant: Tenant, id: str, kind: str, metric: str = "") -> None:
        """Note that a call was accepted. Nothing is noted if receipts are off, or if the job is done already."""
        if not tenant.settings.receipt_days:
            return
        receipt = Receipt(id, kind, Fate.QUEUED, self._clock(), metric)
        with suppress(StoreUnavailableError, DocumentExistsError):
            self._documents.create(_collection(tenant.name), id, self._encoded(tenant, receipt, {}, KEPT))

    def waits(self, tenant: Tenant, receipt: Receipt, persons: Mapping[str, str]) -> None:
        """Note that a job waits."""
        self._put(tenant, receipt, persons, KEPT)

    def is_done(
        self, tenant: Tenant, receipt: Receipt, persons: Mapping[str, str], *, always: bool = False
    ) -> None:
        """Note that a job is done, if receipts are on or it had to wait, or `always`."""
        days = tenant.settings.receipt_days
        if days or receipt.attempts or always:
            self._put(tenant, receipt, persons, timedelta(days=days) if days else KEPT_AFTER_A_WAIT)

    def waiting(self, tenant: Tenant, receipt: Receipt, persons: Mapping[str, str]) -> Write:
        """Return the write of a receipt that a job waits, for a caller that makes several writes at once."""
        return Write(_collection(tenant.name), receipt.id, self._encoded(tenant, receipt, persons, KEPT))

    def done_after_a_wait(self, tenant: Tenant, receipt: Receipt, persons: Mapping[str, str]) -> Write:
        """Return the write of a receipt that a job is done which had to wait, for a caller that makes several writes at once."""
        days = tenant.settings.receipt_days
        keep = timedelta(days=days) if days else KEPT_AFTER_A_WAIT
        return Write(_collection(tenant.name), receipt.id, self._encoded(tenant, receipt, persons, keep))

    def has_died(self, tenant: Tenant, receipt: Receipt) -> None:
        """Leave the state to the row on the desk."""
        if receipt.attempts or tenant.settings.receipt_days:
            with suppress(StoreUnavailableError):
                self._documents.delete(_collection(tenant.name), receipt.id)

    def records_have_died(self, tenant: Tenant, receipt: Receipt, *, row: str) -> None:
        """Note that records of a call were given up, with their row on the desk."""
        with suppress(StoreUnavailableError):
            rows = (*self._rows_beside(tenant, receipt, row), row)
            self._put(tenant, replace(receipt, rows=rows), {}, _while_dead(tenant))

    def records_have_gone(self, tenant: Tenant, receipt: Receipt, *, row: str = "") -> None:
        """Note that records of a call are sent. If they had died, this was their row. The call is done unless other records of it are dead.

        It is noted if receipts are on, or if the records had died.
        """
        days = tenant.settings.receipt_days
        if not days and not row:
            return
        with suppress(StoreUnavailableError):
            if rows := self._rows_beside(tenant, receipt, row):
                self._put(tenant, replace(receipt, state=Fate.DEAD, rows=rows), {}, _while_dead(tenant))
            else:
                self._put(tenant, receipt, {}, timedelta(days=days) if days else KEPT_AFTER_A_WAIT)

    def find(self, tenant: str, id: str) -> Receipt | None:
        """Return the receipt of a job, None if there is none.

        Raises:
            StoreUnavailableError: the store cannot answer.
        """
        found = self._documents.get(_collection(tenant), id)
        return None if found is None or self._has_expired(found) else _decoded(found)

    def of_person(self, tenant: Tenant, persons: Mapping[str, str]) -> list[Receipt]:
        """Return the receipts of a person's jobs, newest first. Raises as `find`."""
        found = {document.id: document for document in self._all(tenant, persons)}
        receipts = [_decoded(document) for document in found.values() if not self._has_expired(document)]
        return sorted(receipts, key=lambda receipt: receipt.at, reverse=True)

    def forget_person(self, tenant: Tenant, persons: Mapping[str, str]) -> int:
        """Forget every receipt of a person; return how many there were."""
        found = {document.id for document in self._all(tenant, persons)}
        for id in found:
            self._documents.delete(_collection(tenant.name), id)
        return len(found)

    def forget(self, tenant: str) -> None:
        """Forget every receipt of a tenant."""
        delete_all(self._documents, _collection(tenant))

    def _rows_beside(self, tenant: Tenant, receipt: Receipt, row: str) -> tuple[str, ...]:
        before = self.find(tenant.name, receipt.id)
        return tuple(one for one in before.rows if one != row) if before else ()

    def _put(self, tenant: Tenant, receipt: Receipt, persons: Mapping[str, str], keep: timedelta) -> None:
        fields = self._encoded(tenant, receipt, persons, keep)
        collection = _collection(tenant.name)
        with suppress(StoreUnavailableError):
            try:
                self._documents.update(collection, receipt.id, fields)
            except DocumentMissingError:
                with suppress(DocumentExistsError):  # the same job, delivered twice at once
                    self._documents.create(collection, receipt.id, fields)

    def _encoded(
        self, tenant: Tenant, receipt: Receipt, persons: Mapping[str, str], keep: timedelta
    ) -> dict[str, Value]:
        fields: dict[str, Value] = {
            "kind": receipt.kind,
            "state": receipt.state.value,
            "at": receipt.at,
            "metric": receipt.metric,
            "attempts": receipt.attempts,
            "why": receipt.why,
            "next_try_at": receipt.next_try_at,
            "answered": receipt.answered,
            "rows": list(receipt.rows),
            "expire_at": receipt.at + keep,
        }
        return fields | dict(_hashes(tenant, persons))

    def _all(self, tenant: Tenant, persons: Mapping[str, str]) -> Iterator[Document]:
        for name, hash in _hashes(tenant, persons):
            yield from each_document(self._documents, _collection(tenant.name), where={name: hash})

    def _has_expired(self, found: Document) -> bool:
        expiry = found.fields["expire_at"]
        return not isinstance(expiry, datetime) or expiry <= self._clock()


def _while_dead(tenant: Tenant) -> timedelta:
    return timedelta(days=tenant.settings.dead_job_days)


def _hashes(tenant: Tenant, persons: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return the hashes of a person's names; none for a tenant without a ledger key."""
    if tenant.ledger_key is None:
        return []
    key = tenant.ledger_key.get_secret_value().encode()
    return [
        (
            name,
            hmac.new(
                key, f"receipt\0{name}\0{persons[name].strip().casefold()}".encode(), hashlib.sha256
            ).hexdigest(),
        )
        for name in NAMES
        if persons.get(name, "").strip()
    ]


def _decoded(found: Document) -> Receipt:
    fields = found.fields
    at, next_try_at = fields["at"], fields.get("next_try_at")
    if not isinstance(at, datetime):
        raise TypeError("a receipt's time is not a time")
    return Receipt(
        id=found.id,
        kind=str(fields["kind"]),
        state=Fate(str(fields["state"])),
        at=at,
        metric=str(fields.get("metric", "")),
        attempts=int(str(fields.get("attempts", 0))),
        why=str(fields.get("why", "")),
        next_try_at=next_try_at if isinstance(next_try_at, datetime) else None,
        answered=str(fields.get("answered", "")),
        rows=tuple(map(str, rows)) if isinstance(rows := fields.get("rows"), list) else (),
    )


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/receipts"
