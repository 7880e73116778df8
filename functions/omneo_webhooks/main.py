"""POST /{tenant}/api/v1/webhooks/omneo: Omneo tells here of profiles that were created, updated or deleted."""

import functions_framework

from shared.profiles.calls import accept_profile_event
from shared.services import Services
from shared.settings import Needs
from shared.web.callers import tenant_by_omneo
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoint

services = Services.from_environment(Needs.STORE | Needs.OUTBOUND)


@functions_framework.http
@endpoint("POST", "/{tenant}/api/v1/webhooks/omneo", largest=1_000_000)
def omneo_webhooks(call: Call) -> Reply:
    """Queue what the event asks for, and say so once it is safe."""
    tenant = tenant_by_omneo(call, services)
    return 202, accept_profile_event(
        tenant,
        call.headers.get("X-Omneo-Event", ""),
        json_body(call),
        services,
        traceparent=call.traceparent,
    )
