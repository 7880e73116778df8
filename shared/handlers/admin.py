"""What CX Manager may ask and tell about one tenant. Who is asking was settled before."""

from typing import Any

from shared.errors import NotInstalledError
from shared.handlers.heal import start_heal
from shared.handlers.settings import change_settings, read_settings
from shared.handlers.status import status
from shared.handlers.uninstall import uninstall
from shared.services import Services
from shared.tenant_settings import settings_schema
from shared.tenants import WEBHOOK_SECRET_LENGTH, Tenant

Reply = tuple[int, dict[str, Any]]


def get_settings(tenant: Tenant, services: Services) -> Reply:
    """GET settings."""
    return 200, read_settings(tenant, services)


def put_settings(tenant: Tenant, services: Services, body: object) -> Reply:
    """PUT settings: what is absent stays as it is."""
    return 200, read_settings(change_settings(tenant.name, body, services), services)


def get_schema(tenant: Tenant, services: Services) -> Reply:
    """GET settings/schema."""
    return 200, settings_schema(WEBHOOK_SECRET_LENGTH)


def get_status(tenant: Tenant, services: Services) -> Reply:
    """GET status."""
    return 200, status(tenant, services)


def post_install_link(tenant: Tenant, services: Services) -> Reply:
    """POST install-link: a link that starts an install without the installation key, for an hour, once."""
    link = services.install_links.make(tenant.name)
    url = f"{services.settings.public_url}/klaviyo/install?link={link}"
    return 200, {"url": url, "expires_at": services.install_links.read(link).expires_at.isoformat()}


def delete_install(tenant: Tenant, services: Services) -> Reply:
    """DELETE install."""
    after = uninstall(tenant, services)
    services.status_reports.forget(tenant.name)
    return 200, {"status": "uninstalled", "left_behind": list(after.left_behind)}


def post_heal(tenant: Tenant, services: Services) -> Reply:
    """POST heal: read back from Klaviyo the consent events that no webhook brought."""
    if tenant.klaviyo is None:
        raise NotInstalledError("Install the app from Klaviyo's marketplace first.")
    return 202, {"status": "queued", "id": start_heal(tenant, services).id}
