"""POST /{tenant}/api/v1/webhooks/klaviyo/system: Klaviyo reports here who subscribed, unsubscribed, bounced or complained."""

import functions_framework

from shared.consent.webhook import accept_delivery
from shared.services import Services
from shared.settings import Needs
from shared.web.callers import tenant_by_klaviyo
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoint

services = Services.from_environment(Needs.STORE | Needs.INBOUND)


@functions_framework.http
@endpoint("POST", "/{tenant}/api/v1/webhooks/klaviyo/system", largest=25_000_000)
def system_webhooks(call: Call) -> Reply:
    """Queue the events of the delivery, and answer once the queue has them."""
    tenant = tenant_by_klaviyo(call, services)
    taken = accept_delivery(
        tenant,
        json_body(call, lenient=True),
        webhook_id=call.headers.get("Klaviyo-Webhook-Id", ""),
        queue=services.queue,
        now=services.clock(),
        traceparent=call.traceparent,
        look_again=lambda: services.tenant_cache.fresh(tenant.name),
    )
    return 202, taken
