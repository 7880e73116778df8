"""Packing: the records in the outbox for one data source are sent in their order, in calls as full as they can be.

A lease lets one packer at a time work for a tenant and data source. The packer alone sends what it reads, and notes the sent records before it
takes them out. A packer that finds another at work, is throttled or runs out of time leaves the rest to the next window. No record is
sent before an earlier record that has to wait.
"""

import logging
from datetime import datetime, timedelta

from shared import logs
from shared.jobs.jobs import PackRecords, SweepOutbox
from shared.jobs.rules.patience import is_given_up, seconds_to_wait
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.data_sources import DataSource
from shared.records.outbox import Outbox, Parcel
from shared.records.records import pack_soon
from shared.records.rules.record import BULK_BYTES, MOST_RECORDS, Record, bytes_sent, fitting
from shared.records.sending import Batch, Later, Sending
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import RECORDS, Row, What
from shared.traffic.traffic import Traffic

LEASE = timedelta(minutes=5)  # as long as a worker may run
# A run begins no call later than this, so that the call and its notes end well before the lease does.
WORKS_FOR = timedelta(minutes=2)
SWEPT_AFTER = timedelta(minutes=2)


def pack_records(job: PackRecords, tenant: Tenant, services: Services) -> None:
    """Send the waiting records. A later run is queued for the records that this run does not send.

    Raises:
        DisconnectedError: the account is disconnected; the records go on waiting.
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    outbox = Outbox.of(services)
    if outbox.is_resting(tenant.name, job.data_source, services.clock()):
        return  # a run comes when the wait is over
    lease = services.leases.acquire(f"pack {tenant.name} {job.data_source}", lasting=LEASE)
    if lease is None:
        pack_soon(tenant, job.data_source, services, traceparent=job.traceparent)
        return
    try:
        after = _send_waiting(job, tenant, services)
        if after is not None:
            attempts = job.attempts + 1 if after else 0
            pack_soon(
                tenant,
                job.data_source,
                services,
                after=after,
                attempts=attempts,
                traceparent=job.traceparent,
            )
            outbox.rest(tenant.name, job.data_source, services.clock() + timedelta(seconds=after))
    finally:
        services.leases.release(lease)


def sweep_outbox(job: SweepOutbox, tenant: Tenant, services: Services) -> None:
    """Queue a run of the packer for each data source whose records have waited for minutes. This replaces a lost run."""
    if not tenant.is_connected:
        return  # the queue is paused, and its jobs will still be done
    for title in DATA_SOURCES:
        first = next(Outbox.of(services).waiting(tenant.name, title), None)
        if first is not None and services.clock() - first.accepted_at >= SWEPT_AFTER:
            pack_soon(tenant, title, services, traceparent=job.traceparent)
            logs.write(logging.WARNING, "records have waited for minutes", records=len(first.left))


def _send_waiting(job: PackRecords, tenant: Tenant, services: Services) -> float | None:
    """Send batch after batch. Return the seconds until the next run, None when nothing waits any more."""
    ends = services.clock() + WORKS_FOR
    source, sent = DataSource(job.data_source, tenant, services), 0
    Outbox.of(services).finish(tenant.name, job.data_source)
    try:
        while (batch := _next_batch(tenant, job.data_source, services)) is not None:
            sending = Sending(batch, source, tenant, services)
            later = _send(sending, batch, job, ends, services)
            sent += sending.gone - sending.dead
            if later is not None:
                return seconds_to_wait(job.attempts, later.error.retry_after, services.random())
            if not sending.is_over:
                return 0.0
        return None
    finally:
        logs.note(records=sent)
        if sent:
            counted = Row(RECORDS, What.DELIVERED, metric=job.data_source)
            Traffic.of(services).count(tenant.name, counted, sent)


def _send(
    sending: Sending, batch: Batch, job: PackRecords, ends: datetime, services: Services
) -> Later | None:
    """Send a batch until it is done, or has to wait, or the time of the run is over. Take out the settled records in every case."""
    try:
        while not sending.is_over and services.clock() < ends:
            if later := sending.step():
                return later
        return None
    finally:
        if sent := batch.sent_after(sending.gone):
            sending.end_replays(sent)
            Outbox.of(services).take_out(job.tenant, job.data_source, sent)
            sending.leave_receipts(sent)


def _next_batch(tenant: Tenant, data_source: str, services: Services) -> Batch | None:
    """Return the next records to send, None when there are none. Records that are given up come apart from all others.

    Each replay comes apart too: if its records die again, they keep the same row.
    """
    parcels: list[Parcel] = []
    records: list[Record] = []
    sizes: list[int] = []
    is_old = False
    for parcel in Outbox.of(services).waiting(tenant.name, data_source):
        old = _is_given_up(parcel.waits_since, tenant, services)
        apart = bool(parcels) and (is_old != old or bool(parcel.replay or parcels[-1].replay))
        if apart or len(records) >= MOST_RECORDS or sum(sizes) > BULK_BYTES:
            break
        is_old = old
        sizes += map(bytes_sent, parcel.left)
        parcels.append(parcel)
        records += parcel.left
    if not parcels:
        return None
    return Batch(tuple(records[: fitting(sizes, most_bytes=BULK_BYTES)]), tuple(parcels), is_old)


def _is_given_up(accepted_at: datetime, tenant: Tenant, services: Services) -> bool:
    now = services.clock()
    return is_given_up(now - accepted_at - tenant.time_disconnected(accepted_at, now))
