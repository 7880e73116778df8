"""Packing: what waits in the outbox for one data source is sent in bulk jobs, as full as they can be.

One packer at a time for each tenant and data source, by a lease: what it reads it alone sends, and it notes what went before it
takes that out. A packer that finds another at work, is throttled or runs out of time leaves the rest to the next window.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared import logs
from shared.errors import CannotSucceedError, RefusedError, TokenRejectedError, WaitError
from shared.jobs.jobs import PackRecords, SendRecords, SweepOutbox
from shared.jobs.rules.patience import is_given_up, seconds_to_wait
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.data_sources import DataSource
from shared.records.outbox import Outbox, Parcel
from shared.records.records import pack_soon, send_apart
from shared.records.rules.record import BULK_BYTES, MOST_RECORDS, Record, bytes_sent, fitting
from shared.services import Services
from shared.tenants.tenants import Tenant

LEASE = timedelta(minutes=5)  # as long as a worker may run
# A run begins no call later than this: the call and what follows it end well before the lease does.
WORKS_FOR = timedelta(minutes=2)
SWEPT_AFTER = timedelta(minutes=2)


@dataclass(frozen=True)
class Batch:
    """Records that go in one call, the parcels they are from, and how many of each parcel's will have gone then."""

    records: tuple[Record, ...]
    parcels: tuple[Parcel, ...]
    sent: dict[str, int]

    @property
    def accepted_at(self) -> datetime:
        """When the earliest of them was accepted."""
        return min(parcel.accepted_at for parcel in self.parcels)


def pack_records(job: PackRecords, tenant: Tenant, services: Services) -> None:
    """Send what waits. Whatever is not sent now has a run of its own to come when this returns.

    Raises:
        DisconnectedError: the account is disconnected; what waits goes on waiting.
        OwnServiceError: of ours; the queue must deliver again.
    """
    lease = services.leases.acquire(f"pack {tenant.name} {job.data_source}", lasting=LEASE)
    if lease is None:
        pack_soon(tenant, job.data_source, services, traceparent=job.traceparent)
        return
    try:
        after = _send_waiting(job, tenant, services)
    finally:
        services.leases.release(lease)
    if after is not None:
        pack_soon(
            tenant,
            job.data_source,
            services,
            after=after,
            attempts=job.attempts + 1 if after else 0,
            traceparent=job.traceparent,
        )


def sweep_outbox(job: SweepOutbox, tenant: Tenant, services: Services) -> None:
    """Queue a run of the packer wherever something has waited for minutes; a run that was lost is made up for like this."""
    if not tenant.is_connected:
        return  # the queue is paused, and what is on it will be done
    for title in DATA_SOURCES:
        first = next(Outbox.of(services).waiting(tenant.name, title), None)
        if first is not None and services.clock() - first.accepted_at >= SWEPT_AFTER:
            pack_soon(tenant, title, services, traceparent=job.traceparent)
            logs.write(logging.WARNING, "records have waited for minutes", records=len(first.left))


def _send_waiting(job: PackRecords, tenant: Tenant, services: Services) -> float | None:
    """Send batch after batch; return after how many seconds to go on, None when nothing waits any more."""
    outbox, began, sent = Outbox.of(services), services.clock(), 0
    source = DataSource(job.data_source, tenant, services)
    outbox.finish(tenant.name, job.data_source)
    while (batch := _next_batch(tenant, job.data_source, services)) is not None:
        if services.clock() - began >= WORKS_FOR:
            return 0.0
        if _is_given_up(batch.accepted_at, tenant, services):
            _hand_over(batch, job, None, tenant, services)
        else:
            try:
                source.send(batch.records, bulk=True)
            except (WaitError, TokenRejectedError) as error:
                logs.note(records=sent)
                return seconds_to_wait(job.attempts, error.retry_after, services.random())
            except (RefusedError, CannotSucceedError) as error:
                _hand_over(batch, job, error, tenant, services)
            else:
                sent += len(batch.records)
        outbox.take_out(tenant.name, job.data_source, batch.sent)
    logs.note(records=sent)
    return None


def _next_batch(tenant: Tenant, data_source: str, services: Services) -> Batch | None:
    """Return the next records to send, None when there are none. Those to be given up come apart from all others."""
    parcels: list[Parcel] = []
    records: list[Record] = []
    sizes: list[int] = []
    is_old: bool | None = None
    for parcel in Outbox.of(services).waiting(tenant.name, data_source):
        old = _is_given_up(parcel.accepted_at, tenant, services)
        if is_old not in (None, old) or len(records) >= MOST_RECORDS or sum(sizes) > BULK_BYTES:
            break
        is_old = old
        sizes += map(bytes_sent, parcel.left)
        parcels.append(parcel)
        records += parcel.left
    if not parcels:
        return None
    return _fitted(parcels, records[: fitting(sizes, most_bytes=BULK_BYTES)])


def _fitted(parcels: Sequence[Parcel], records: Sequence[Record]) -> Batch:
    """Return a batch of these records, which are the first of what is left in the parcels."""
    sent, room = {}, len(records)
    for parcel in parcels:
        taken = min(room, len(parcel.left))
        if taken or not parcel.left:
            sent[parcel.id] = parcel.sent + taken
            room -= taken
    return Batch(tuple(records), tuple(parcels), sent)


def _hand_over(
    batch: Batch,
    job: PackRecords,
    error: RefusedError | CannotSucceedError | None,
    tenant: Tenant,
    services: Services,
) -> None:
    """Make jobs of their own of what was refused, or is to be given up: each is tried once more, and dies with its own reason."""
    whole = SendRecords(
        tenant=tenant.name,
        id=f"{batch.parcels[0].id}-{batch.parcels[0].sent}",
        accepted_at=batch.accepted_at,
        data_source=job.data_source,
        records=batch.records,
        traceparent=job.traceparent,
    )
    reason = error or CannotSucceedError("It has waited for 24 hours.")
    send_apart(batch.records, reason, tenant, services, job=whole)


def _is_given_up(accepted_at: datetime, tenant: Tenant, services: Services) -> bool:
    now = services.clock()
    return is_given_up(now - accepted_at - tenant.time_disconnected(accepted_at, now))
