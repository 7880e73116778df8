"""/{tenant}/api/v1/settings, status, install, resync and so on: the calls of CX Manager, with the tenant's installation key."""

from collections.abc import Callable
from functools import partial

import functions_framework

from shared.admin.interface import PATH, openapi
from shared.admin.routes import ROUTES, Asked, Handler, read_query
from shared.services import Services
from shared.settings import TASKS, Needs
from shared.web.callers import key_id, tenant_by_key
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoints

services = Services.from_environment(
    Needs.STORE | Needs.QUEUES | TASKS | Needs.KLAVIYO_APP | Needs.PUBLIC_URL, short_waits=3
)


def with_key(route: tuple[str, str], handler: Handler) -> Callable[[Call], Reply]:
    """Authenticate the caller before the call reads anything else."""

    def answer(call: Call) -> Reply:
        tenant = tenant_by_key(call, services)
        body = partial(json_body, call) if call.body else lambda: None
        return handler(tenant, services, Asked(call.path, body, read_query(route, call.query), key_id(call)))

    return answer


routes = {
    ("GET", PATH): lambda call: (200, openapi()),
    **{(route[0], "/{tenant}/api/v1" + route[1]): with_key(route, run) for route, run in ROUTES.items()},
}

admin = functions_framework.http(endpoints("admin", routes, largest=200_000))
