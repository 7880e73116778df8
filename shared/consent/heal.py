"""Heal: consent events that no webhook brought are read back from Klaviyo and handled like those that came.

Klaviyo disables a webhook after 48 hours of errors and does not send the missed events again. A run reads from 72 hours before the last run that
finished, or since the install, a page a job; the inbox knows which events were handled. A tenant has one run at a time: a lease goes from job to job.
"""

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared import logs
from shared.consent.rules.decisions import TOPICS
from shared.consent.rules.delivery import in_parts, read_event, unread_row
from shared.errors import ConflictError, QueueUnavailableError, RefusedError
from shared.jobs.jobs import Heal, ReadEvents, SpreadEvents
from shared.notify.telling import tell_of_an_ended_run
from shared.services import Services
from shared.storage.leases import Lease
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient
    from shared.klaviyo.history import EventPage

OVERLAP = timedelta(hours=72)
LEASE = timedelta(hours=25)  # the job of a page is given up after a day
UNSURE = timedelta(minutes=5)  # a job that the queue has taken runs within these
_KLAVIYO = "klaviyo"  # the integration under which Klaviyo records its own events


def heal(job: Heal, tenant: Tenant, services: Services) -> None:
    """Read one page, queue its events, and queue the job of the next page. After the last page, note that the run is over.

    Raises:
        ServiceError, DisconnectedError: Klaviyo refused, or could not answer; the page is read again.
        OwnServiceError: our store or queue cannot answer; the page is read again.
    """
    lease = Lease.of(_lease_name(tenant.name), job.holder)
    try:
        is_over = _take_a_step(job, tenant, services)
    except RefusedError:
        services.leases.release(lease)  # the job dies, and an operator may start again
        raise
    if is_over:
        services.leases.release(lease)
    else:
        services.leases.renew(lease, lasting=LEASE)


def _take_a_step(job: Heal, tenant: Tenant, services: Services) -> bool:
    """Do what `heal` does, and return whether the run is over."""
    if job.began_at is None:
        # Not the cached one: a run that begins must know of another account, and of a run that has just finished.
        tenant = services.tenant_cache.fresh(tenant.name) or tenant
    if tenant.klaviyo is None:
        return True
    klaviyo = services.klaviyo(tenant)
    if job.began_at is None or job.since is None:
        job = _begun(job, tenant, klaviyo, services.clock())
        services.queue.put(job, tenant)
        return False
    if not job.metrics:
        _finish(tenant.name, job.began_at, job.since, services)
        logs.write(logging.INFO, "heal finished", events=job.found)
        tell_of_an_ended_run(tenant, services, id=job.id, kind=job.kind, state="done")
        return True
    services.queue.put(_after_a_page(job, job.since, tenant, klaviyo, services), tenant)
    return False


def start_heal(tenant: Tenant, services: Services, *, traceparent: str = "") -> Heal:
    """Queue a run, and return its first job.

    Raises:
        ConflictError: a run is under way.
        QueueUnavailableError: the queue did not take it, as far as we know; the next run may begin in five minutes.
    """
    lease = services.leases.acquire(_lease_name(tenant.name), lasting=LEASE)
    if lease is None:
        raise ConflictError("A heal is under way. Call again when it is over.")
    job = Heal(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        traceparent=traceparent,
        holder=lease.holder,
    )
    try:
        services.queue.put(job, tenant)
    except QueueUnavailableError:
        # It may have taken the job all the same: then the job makes this longer when it runs, and no second run reads beside it.
        services.leases.renew(lease, lasting=UNSURE)
        raise
    return job


def _lease_name(tenant: str) -> str:
    return f"heal {tenant}"


def _begun(job: Heal, tenant: Tenant, klaviyo: "KlaviyoClient", now: datetime) -> Heal:
    """Return the job with the metrics to read: each metric of Klaviyo's own that is a consent topic under another name."""
    connected_at = tenant.klaviyo.connected_at if tenant.klaviyo else now
    metrics = tuple(
        (metric.id, topic)
        for metric in klaviyo.metrics()
        if metric.integration.casefold() == _KLAVIYO
        and (topic := metric.name.lower().replace(" ", "_")) in TOPICS
    )
    since = tenant.heal_from or connected_at
    return job.model_copy(update={"began_at": now, "since": since, "metrics": metrics})


def _after_a_page(
    job: Heal, since: datetime, tenant: Tenant, klaviyo: "KlaviyoClient", services: Services
) -> Heal:
    """Queue a page's events and return the job that goes on from there, as young as its page."""
    (metric_id, _), *others = job.metrics
    fresh = {"accepted_at": services.clock(), "attempts": 0, "last_failure": ""}
    try:
        page = klaviyo.events("" if job.whole else metric_id, since=since, cursor=job.cursor)
    except RefusedError as error:
        if job.whole or error.status != 400:
            raise
        # This costs a read of every event of the account, a thousand a call.
        logs.write(logging.WARNING, "Klaviyo does not filter by the metric; all events are read")
        return job.model_copy(update={**fresh, "whole": True, "cursor": ""})
    found = _queue(page, job, tenant, klaviyo, services)
    rest = job.metrics if page.cursor else () if job.whole else tuple(others)
    return job.model_copy(
        update={**fresh, "cursor": page.cursor, "metrics": rest, "found": job.found + found}
    )


def _queue(page: "EventPage", job: Heal, tenant: Tenant, klaviyo: "KlaviyoClient", services: Services) -> int:
    """Queue the events of a page, and return how many there are. Events that cannot be read become a job of their own."""
    topics, now = dict(job.metrics), services.clock()
    rows = [
        (topic, row)
        for row in page.events
        if (topic := topics.get(_metric_of(row), "") if job.whole else job.metrics[0][1])
    ]
    read = [(topic, row, read_event(topic, row, id=str(row.get("id") or ""), now=now)) for topic, row in rows]
    known = tuple(event for _, _, event in read if event is not None)
    unread = [unread_row(topic, row) for topic, row, event in read if event is None]
    account = tenant.klaviyo_account_id or (klaviyo.account().id if rows else "")
    for part in in_parts(known):
        spread = SpreadEvents(
            tenant=tenant.name,
            id=services.new_id(),
            accepted_at=now,
            account=account,
            events=part,
            traceparent=job.traceparent,
        )
        services.queue.put(spread, tenant)
    if unread:
        again = ReadEvents(
            tenant=tenant.name,
            id=services.new_id(),
            accepted_at=now,
            account=account,
            rows=tuple(map(dict, unread)),
            traceparent=job.traceparent,
        )
        services.queue.put(again, tenant)
    return len(rows)


def _metric_of(row: object) -> str:
    for name in ("relationships", "metric", "data", "id"):
        row = row.get(name) if isinstance(row, dict) else None
    return row if isinstance(row, str) else ""


def _finish(name: str, began_at: datetime, since: datetime, services: Services) -> None:
    """Remember from when on the next run has to read: never from before this one did, which may have been since the install."""
    reached = max(began_at - OVERLAP, since)

    def edit(tenant: Tenant) -> Tenant:
        if tenant.klaviyo is None:
            return tenant  # uninstalled meanwhile: the next install starts anew
        return tenant.model_copy(update={"heal_from": max(tenant.heal_from or reached, reached)})

    services.tenants.change(name, edit)
