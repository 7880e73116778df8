"""Records: a call from Omneo becomes jobs, and the jobs become records in one of Klaviyo's data sources.

A job is sent at once, a few records one by one and more of them in bulk. When Klaviyo throttles it, or earlier records of its
data source are still waiting, it puts its records into the outbox and is done: packing.py sends them in full bulk jobs, and once
the outbox is empty records go at once again. So the way changes with the load and by itself, with no state but what waits, and
records are not overtaken by later ones. A queue could not do it: Cloud Tasks hands out one task at a time, and a task that
waits cannot be put together with another.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from shared import logs
from shared.errors import (
    CannotSucceedError,
    DisconnectedError,
    RefusedError,
    TokenRejectedError,
    WaitError,
)
from shared.jobs.jobs import PackRecords, SendRecords
from shared.jobs.rules.patience import seconds_to_wait
from shared.jobs.rules.windows import hashed
from shared.records.outbox import Outbox
from shared.records.rules.record import Record, apart, blamed, parcels, read_records
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:  # the function that only queues must not pay for the clients
    from shared.jobs.queue import TaskQueue
    from shared.services import Services

# Klaviyo takes 750 single calls a minute and 15 in bulk: so many single ones cost no more of the one limit than a bulk call of
# the other, and are still sent within a second or two.
ONE_BY_ONE = 10


def accept_records(
    tenant: Tenant,
    body: object,
    *,
    queue: "TaskQueue",
    now: datetime,
    new_id: Callable[[], str],
    traceparent: str,
) -> str:
    """Queue the records that `body` holds, in as few jobs as fit a task, and return the call's id, once they are safe.

    Raises:
        InvalidPayloadError, PayloadTooLargeError: the caller can fix it.
        QueueUnavailableError: not all of it was queued; the caller should call again.
    """
    id = new_id()
    asked = read_records(body, id=id)
    for number, part in enumerate(parcels(asked.records)):
        job = SendRecords(
            tenant=tenant.name,
            id=f"{id}-{number}" if number else id,
            accepted_at=now,
            data_source=asked.data_source,
            records=part,
            traceparent=traceparent,
        )
        queue.put(job, tenant)
    logs.note(job=id, kind="send-records", records=len(asked.records))
    return id


def send_records(job: SendRecords, tenant: Tenant, services: "Services") -> None:
    """Send the records of a job, or let them wait in the outbox.

    Raises:
        RefusedError, CannotSucceedError: Klaviyo will never take them; none of this job's was sent.
        ServiceError, DisconnectedError: Klaviyo cannot take them now; none of this job's was sent.
    """
    from shared.records.data_sources import DataSource

    if not job.by_itself and Outbox.of(services).is_waiting(tenant.name, job.data_source):
        put_aside(job, job.records, tenant, services)
        return
    source, sent = DataSource(job.data_source, tenant, services), 0
    try:
        for part in _calls(job):
            source.send(part, bulk=len(part) > 1)
            sent += len(part)
    except (WaitError, TokenRejectedError, DisconnectedError) as error:
        is_throttled = isinstance(error, WaitError) and error.status == 429
        if job.by_itself or not (sent or is_throttled):
            raise
        after = 0.0
        # Room for single calls says nothing of room for bulk ones: only a bulk call's wait is the packer's.
        if isinstance(error, WaitError) and len(job.records) > ONE_BY_ONE:
            after = seconds_to_wait(0, error.retry_after, services.random())
        put_aside(job, job.records[sent:], tenant, services, after=after)
    except (RefusedError, CannotSucceedError) as error:
        left = job.records[sent:]
        if not sent and (len(left) == 1 or concerns_all(error)):
            raise
        bad = [0] if len(job.records) <= ONE_BY_ONE and not job.by_itself else None
        send_apart(left, error, tenant, services, job=job, bad=bad)
    logs.note(records=sent)


def put_aside(
    job: SendRecords,
    records: Sequence[Record],
    tenant: Tenant,
    services: "Services",
    *,
    after: float = 0.0,
) -> None:
    """Put records into the outbox, and see to it that it is packed, `after` seconds from now or later."""
    Outbox.of(services).add(tenant.name, job.data_source, records, job=job.id, accepted_at=job.accepted_at)
    pack_soon(tenant, job.data_source, services, after=after, traceparent=job.traceparent)
    logs.write(logging.INFO, "records wait in the outbox", records=len(records))


def pack_soon(
    tenant: Tenant,
    data_source: str,
    services: "Services",
    *,
    after: float = 0.0,
    attempts: int = 0,
    traceparent: str = "",
) -> None:
    """Queue a run of the packer that reads the outbox after this moment, one for all that ask within ten seconds."""
    from shared.jobs.windows import once_a_window

    about = ("pack", tenant.name, data_source)

    def job(now: datetime) -> PackRecords:
        return PackRecords(
            tenant=tenant.name,
            id=hashed(*about)[:32],
            accepted_at=now,
            data_source=data_source,
            attempts=attempts,
            traceparent=traceparent,
        )

    once_a_window(job, tenant, *about, queue=services.queue, clock=services.clock, after=after)


def send_apart(
    records: Sequence[Record],
    error: RefusedError | CannotSucceedError,
    tenant: Tenant,
    services: "Services",
    *,
    job: SendRecords,
    bad: Sequence[int] | None = None,
) -> None:
    """Queue records that were refused together as jobs of their own, so that only those which are refused alone die.

    `bad` are the records to blame, if they are known for certain; else the refusal may name them.
    """
    if bad is None:
        fields = error.fields if isinstance(error, RefusedError) else ()
        bad = blamed(fields, len(records))
    parts = [tuple(records)] if concerns_all(error) else apart(records, bad)
    for number, part in enumerate(piece for one in parts for piece in parcels(one)):
        alone = job.model_copy(
            update={
                "id": hashed("apart", job.id, str(number))[:32],
                "records": part,
                "by_itself": True,
                "attempts": 0,
            }
        )
        services.queue.put(alone, tenant)


def concerns_all(error: RefusedError | CannotSucceedError) -> bool:
    """Return whether a refusal is about the account or its data source, not about any of the records."""
    return isinstance(error, CannotSucceedError) or error.status == 403


def _calls(job: SendRecords) -> Iterator[tuple[Record, ...]]:
    if job.by_itself or len(job.records) > ONE_BY_ONE:
        yield tuple(job.records)
    else:
        yield from ((record,) for record in job.records)
