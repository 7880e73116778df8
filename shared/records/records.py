"""Records: a call from Omneo puts them into the outbox, and a job sends them from there, in the order in which they were accepted.

Only Klaviyo knows which property makes two records one object, by a mapping that a merchant draws. So the order of a whole data source is kept,
and with it the order of each object. A record is in the outbox before its call is answered. Only packing.py takes records out and sends them, one
run at a time. Later records wait behind a record that cannot be sent now. A queue could not do this: Cloud Tasks delivers in any order.

A record that comes alone is sent at once. The records of the next ten seconds are sent together when these seconds are over. So any load
needs few calls, and few writes to the documents of a data source.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from shared import logs
from shared.jobs.jobs import PackRecords, SendRecords
from shared.jobs.rules.windows import hashed
from shared.records.outbox import Outbox
from shared.records.rules.record import read_records
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:  # the function that only queues must not import the clients
    from shared.services import Services


def accept_records(
    tenant: Tenant,
    body: object,
    *,
    id: str,
    at: datetime,
    is_stored: bool,
    services: "Services",
    traceparent: str,
) -> None:
    """Store the records of `body`, and queue the packer. `id` is the id of the call, and `at` is its place in the order.

    `is_stored` says that the records are already stored under this id, so only the packer is queued.

    Raises:
        InvalidPayloadError, PayloadTooLargeError: the caller can fix it.
        StoreUnavailableError: not all records are stored; the caller should call again.
        QueueUnavailableError: all records are stored. They are sent at the latest after the next call or the next sweep.
    """
    asked = read_records(body, id=id)
    logs.note(metric=asked.data_source)
    if not is_stored:
        Outbox.of(services).add(tenant.name, asked.data_source, asked.records, job=id, accepted_at=at)
    pack_now(tenant, asked.data_source, services, traceparent=traceparent)
    logs.note(job=id, kind="send-records", records=len(asked.records))


def send_records(job: SendRecords, tenant: Tenant, services: "Services") -> None:
    """Put the records of a job into the outbox, in the place of their call, and queue the packer.

    Raises:
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    outbox = Outbox.of(services)
    if job.replay:
        outbox.add_replayed(tenant.name, job)
    else:
        outbox.add(tenant.name, job.data_source, job.records, job=job.id, accepted_at=job.accepted_at)
    pack_now(tenant, job.data_source, services, traceparent=job.traceparent)


def pack_now(tenant: Tenant, data_source: str, services: "Services", *, traceparent: str = "") -> None:
    """Queue the packer for the end of this window of ten seconds, and for now if this is the window's first request.

    Raises:
        QueueUnavailableError: the queue did not take both runs.
    """
    if pack_soon(tenant, data_source, services, traceparent=traceparent):
        job = _packing(tenant, data_source, services.clock(), traceparent=traceparent)
        services.queue.put(job, tenant)


def pack_soon(
    tenant: Tenant,
    data_source: str,
    services: "Services",
    *,
    after: float = 0.0,
    attempts: int = 0,
    traceparent: str = "",
) -> bool:
    """Queue a run of the packer that reads the outbox after this moment. All who ask within ten seconds share one run.

    Return whether this is the first request in the window.
    """
    from shared.jobs.windows import once_a_window

    return once_a_window(
        lambda now: _packing(tenant, data_source, now, attempts=attempts, traceparent=traceparent),
        tenant,
        *_about(tenant, data_source),
        queue=services.queue,
        clock=services.clock,
        after=after,
    )


def _packing(
    tenant: Tenant, data_source: str, now: datetime, *, attempts: int = 0, traceparent: str
) -> PackRecords:
    return PackRecords(
        tenant=tenant.name,
        id=hashed(*_about(tenant, data_source))[:32],
        accepted_at=now,
        data_source=data_source,
        attempts=attempts,
        traceparent=traceparent,
    )


def _about(tenant: Tenant, data_source: str) -> tuple[str, ...]:
    return ("pack", tenant.name, data_source)
