"""POST /{tenant}/api/v1/targets/klaviyo/metric[?withToken=true][&metric=NAME]: Omneo's reactions call here."""

import functions_framework

from shared.errors import UnknownPathError
from shared.handlers.metrics import accept_metric
from shared.services import Services
from shared.settings import Needs
from shared.web import Call, Reply, authenticated_tenant, endpoint, flag, installed, json_body

services = Services.from_environment(Needs.STORE | Needs.OUTBOUND)


@functions_framework.http
@endpoint("POST", "/{tenant}/api/v1/targets/klaviyo/{target}", largest=1_000_000)
def targets(call: Call) -> Reply:
    """Queue what Omneo sends, and say so once it is safe."""
    if call.path["target"] != "metric":
        raise UnknownPathError("There is no such target.")
    tenant = installed(authenticated_tenant(call, services))
    job = accept_metric(
        tenant,
        json_body(call),
        metric_name=call.query.get("metric", ""),
        with_token=flag(call, "withToken"),
        queue=services.queue,
        now=services.clock(),
        new_id=services.new_id,
        traceparent=call.traceparent,
    )
    return 202, {"status": "queued", "id": job.id}
