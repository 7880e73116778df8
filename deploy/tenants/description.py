"""The view of a tenant for operators. It shows no secret, only whether it is set, and since when."""

from datetime import datetime
from typing import Any

from shared.direction import Direction
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import InstallationKey, StoredSecret, Tenant

# Named one by one: a newer revision may have stored a secret that this one does not know as such.
_OF_KLAVIYO = {"expires_at", "scope", "account_id", "connected_at", "disconnected_reason"}


def connection(tenant: Tenant) -> str:
    """Return the state of the Klaviyo connection."""
    if tenant.klaviyo is None:
        return "not installed"
    return "disconnected" if tenant.klaviyo.disconnected else "connected"


def described(tenant: Tenant) -> dict[str, Any]:
    """Return the tenant as JSON values; times are ISO 8601 in UTC."""
    klaviyo = tenant.klaviyo.model_dump(include=_OF_KLAVIYO) if tenant.klaviyo else {}
    return {
        "name": tenant.name,
        "created_at": _iso(tenant.created_at),
        "klaviyo": {
            "state": connection(tenant),
            **{key: _iso(value) if isinstance(value, datetime) else value for key, value in klaviyo.items()},
        },
        "queues": {direction.value: tenant.queue_name(direction) for direction in Direction},
        "settings": tenant.settings.model_dump(include=set(TenantSettings.model_fields)),
        "omneo_token": "set",
        "installation_keys": [_shown(key) for key in tenant.installation_keys],
        "webhook_secrets": [_shown(secret) for secret in tenant.webhook_secrets],
        "omneo_signing_secrets": [_shown(secret) for secret in tenant.omneo_signing_secrets],
    }


def _shown(secret: StoredSecret | InstallationKey) -> dict[str, str]:
    return {"id": secret.id, "created_at": _iso(secret.created_at)}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
