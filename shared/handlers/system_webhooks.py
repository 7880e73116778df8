"""Klaviyo's system webhooks: a delivery is checked, cut down to what is needed, and queued. Nothing is done for each event here."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared import logs
from shared.domain.system_webhooks import SystemDelivery, in_parts, read_delivery
from shared.errors import NotAuthenticatedError
from shared.jobs import SpreadEvents
from shared.tenants import Tenant

if TYPE_CHECKING:
    from shared.queue import TaskQueue

NOT_INSTALLED = "not installed"
OTHER_ACCOUNT = "another account"


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
    """Queue the consent events of a delivery, and return how many were taken and, by reason, how many were not.

    `webhook_id` is the header's. `look_again` reads the tenant afresh. What is not ours is accepted all the same: refused, Klaviyo
    would send it again for two days and then disable the webhook.

    Raises:
        InvalidPayloadError: it is no delivery of Klaviyo's.
        NotAuthenticatedError: header and body name different webhooks.
        QueueUnavailableError: some of it was perhaps not queued; Klaviyo sends all of it again, and what came twice counts once.
    """
    delivery = read_delivery(body, now=now)
    if not webhook_id or delivery.webhook_id != webhook_id:
        raise NotAuthenticatedError("Klaviyo-Webhook-Id and meta.klaviyo_webhook_id must be the same.")
    left_out = Counter(delivery.left_out)
    events = delivery.events
    if _why_not_ours(tenant, delivery):
        # It may have been installed, or have changed its account, seconds ago.
        tenant = look_again() or tenant
    if reason := _why_not_ours(tenant, delivery):
        left_out[reason] += len(events)
        events = ()
    for part in in_parts(events):
        job = SpreadEvents(
            tenant=tenant.name,
            accepted_at=now,
            account=delivery.account,
            events=part,
            traceparent=traceparent,
        )
        queue.put(job, tenant)
    logs.note(events=len(events), left_out=dict(left_out))
    return {"status": "queued", "events": len(events), "left_out": dict(left_out)}


def _why_not_ours(tenant: Tenant, delivery: SystemDelivery) -> str:
    if tenant.klaviyo is None:
        return NOT_INSTALLED
    # A tenant whose tokens an operator has set knows no account.
    known = tenant.klaviyo_account_id
    return OTHER_ACCOUNT if known and delivery.account != known else ""
