"""/{tenant}/api/v1/settings, status, install-link and install: CX Manager's side, with the tenant's installation key."""

import functions_framework

from shared.handlers import admin as handlers
from shared.services import Services
from shared.settings import TASKS, Needs
from shared.web import Call, Reply, endpoints, json_body, tenant_by_key

services = Services.from_environment(
    Needs.STORE | Needs.QUEUES | TASKS | Needs.KLAVIYO_APP | Needs.PUBLIC_URL, short_waits=3
)
BASE = "/{tenant}/api/v1"


def put_settings(call: Call) -> Reply:
    """Authenticate before the body is read."""
    tenant = tenant_by_key(call, services)
    return handlers.put_settings(tenant, services, json_body(call))


ROUTES = {
    ("GET", f"{BASE}/settings"): lambda call: handlers.get_settings(tenant_by_key(call, services), services),
    ("PUT", f"{BASE}/settings"): put_settings,
    ("GET", f"{BASE}/settings/schema"): lambda call: handlers.get_schema(
        tenant_by_key(call, services), services
    ),
    ("GET", f"{BASE}/status"): lambda call: handlers.get_status(tenant_by_key(call, services), services),
    ("POST", f"{BASE}/install-link"): lambda call: handlers.post_install_link(
        tenant_by_key(call, services), services
    ),
    ("DELETE", f"{BASE}/install"): lambda call: handlers.delete_install(
        tenant_by_key(call, services), services
    ),
    ("POST", f"{BASE}/heal"): lambda call: handlers.post_heal(tenant_by_key(call, services), services),
}

admin = functions_framework.http(endpoints("admin", ROUTES, largest=200_000))
