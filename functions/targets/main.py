"""POST /{tenant}/api/v1/targets/klaviyo/{target}: Omneo's reactions call here. shared/targets/routes.py lists the targets."""

import functions_framework

from shared.services import Services
from shared.settings import Needs
from shared.targets.routes import TargetCall, is_dry_run, target_named
from shared.web.callers import authenticated_tenant, installed
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoint

services = Services.from_environment(Needs.STORE | Needs.INBOUND | Needs.OUTBOUND)


@functions_framework.http
@endpoint("POST", "/{tenant}/api/v1/targets/klaviyo/{target}", largest=1_000_000)
def targets(call: Call) -> Reply:
    """Queue the call's job, and answer 202 once the queue has it. A dry run answers 200, and never counts as traffic."""
    target = target_named(call.path["target"])
    if is_dry_run(call.query):
        call.counted.leave_out()
    tenant = installed(authenticated_tenant(call, services), services)
    return target.answer(TargetCall(tenant, json_body(call), call.query, call.traceparent), services)
