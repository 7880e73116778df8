"""Klaviyo's system webhooks: a delivery is checked, cut down to the needed fields, and queued as a whole. No single event is handled here."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared import logs
from shared.consent.rules.delivery import EVENTS_AT_ONCE, SystemDelivery, in_parts, read_delivery
from shared.errors import NotAuthenticatedError
from shared.jobs.jobs import ReadEvents, SpreadEvents
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.jobs.queue import TaskQueue

NOT_INSTALLED = "not installed"
OTHER_ACCOUNT = "another account"
PUT_AT_ONCE = 5


def accept_delivery(
    tenant: Tenant,
    body: object,
    *,
    webhook_id: str,
    queue: "TaskQueue",
    now: datetime,
    traceparent: str,
    look_again: Callable[[], Tenant | None] = lambda: None,
) -> dict[str, Any]:
    """Queue the consent events of a delivery. Return how many were taken, and how many were left out by reason.

    `webhook_id` is the id in the header. `look_again` reads the tenant from the store. Events that the extension does not need are accepted
    too: Klaviyo would send refused events again for two days and then disable the webhook.

    Raises:
        InvalidPayloadError: the body is no delivery of Klaviyo's.
        NotAuthenticatedError: header and body name different webhooks.
        QueueUnavailableError: a part of the delivery may not be queued. Klaviyo sends all of it again, and an event that comes twice counts
        once.
    """
    delivery = read_delivery(body, now=now)
    if not webhook_id or delivery.webhook_id != webhook_id:
        raise NotAuthenticatedError("Klaviyo-Webhook-Id and meta.klaviyo_webhook_id must be the same.")
    left_out = Counter(delivery.left_out)
    events, unread = delivery.events, delivery.unread
    if _why_not_ours(tenant, delivery):
        # It may have been installed, or have changed its account, seconds ago.
        tenant = look_again() or tenant
    if reason := _why_not_ours(tenant, delivery):
        left_out[reason] += len(events) + len(unread)
        events, unread = (), ()
    jobs: list[SpreadEvents | ReadEvents] = [
        SpreadEvents(
            tenant=tenant.name,
            accepted_at=now,
            account=delivery.account,
            events=part,
            traceparent=traceparent,
        )
        for part in in_parts(events)
    ]
    jobs += [
        ReadEvents(
            tenant=tenant.name,
            accepted_at=now,
            account=delivery.account,
            rows=tuple(map(dict, unread[first : first + EVENTS_AT_ONCE])),
            sent_at=delivery.sent_at,
            traceparent=traceparent,
        )
        for first in range(0, len(unread), EVENTS_AT_ONCE)
    ]
    _put_all(jobs, tenant, queue)
    logs.note(events=len(events) + len(unread), left_out=dict(left_out))
    return {"status": "queued", "events": len(events) + len(unread), "left_out": dict(left_out)}


def _put_all(jobs: Iterable[SpreadEvents | ReadEvents], tenant: Tenant, queue: "TaskQueue") -> None:
    """Queue the jobs, some of them at the same time; raise the error of the first job that the queue did not take."""
    # Klaviyo waits five seconds for all of them, and a slow moment of the queue must not count once a job.
    with ThreadPoolExecutor(PUT_AT_ONCE) as threads:
        for _ in threads.map(lambda job: queue.put(job, tenant), jobs):
            pass


def _why_not_ours(tenant: Tenant, delivery: SystemDelivery) -> str:
    if tenant.klaviyo is None:
        return NOT_INSTALLED
    # A tenant whose tokens an operator has set knows no account.
    known = tenant.klaviyo_account_id
    return OTHER_ACCOUNT if known and delivery.account != known else ""
