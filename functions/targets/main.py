"""POST /{tenant}/api/v1/targets/klaviyo/metric and upsert-profile-data: Omneo's reactions call here."""

import functions_framework

from shared.errors import UnknownPathError
from shared.handlers.metrics import accept_metric
from shared.handlers.profile_calls import accept_upsert
from shared.jobs import AnyJob
from shared.services import Services
from shared.settings import Needs
from shared.tenants import Tenant
from shared.web import Call, Reply, authenticated_tenant, endpoint, flag, installed, json_body

services = Services.from_environment(Needs.STORE | Needs.OUTBOUND)


def metric(call: Call, tenant: Tenant) -> AnyJob:
    return accept_metric(
        tenant, json_body(call), metric_name=call.query.get("metric", ""), with_token=flag(call, "withToken"),
        queue=services.queue, now=services.clock(), new_id=services.new_id, traceparent=call.traceparent,
    )  # fmt: skip


def upsert(call: Call, tenant: Tenant) -> AnyJob:
    body, queue = json_body(call), services.queue
    return accept_upsert(tenant, body, queue=queue, clock=services.clock, traceparent=call.traceparent)


TARGETS = {"metric": metric, "upsert-profile-data": upsert}


@functions_framework.http
@endpoint("POST", "/{tenant}/api/v1/targets/klaviyo/{target}", largest=1_000_000)
def targets(call: Call) -> Reply:
    """Queue what Omneo sends, and say so once it is safe."""
    accept = TARGETS.get(call.path["target"])
    if accept is None:
        raise UnknownPathError("There is no such target.")
    return 202, {"status": "queued", "id": accept(call, installed(authenticated_tenant(call, services))).id}
