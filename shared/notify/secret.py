"""The secret that signs messages to a tenant's address: it is made here and shown only once."""

import base64
import secrets as random
from datetime import datetime

from pydantic import SecretStr

from shared.tenants.tenants import StoredSecret, Tenant, TenantStore

PREFIX = "whsec_"
KEPT = 2  # the newest secret, and the secret that it replaces


def new_notify_secret(tenants: TenantStore, name: str, now: datetime) -> str:
    """Make a new secret for the tenant and return it. The last secret goes on signing beside it; an older one ends.

    Raises:
        DocumentMissingError: there is no such tenant.
    """
    text = PREFIX + base64.b64encode(random.token_bytes(32)).decode()
    secret = StoredSecret(value=SecretStr(text), created_at=now)

    def with_it(tenant: Tenant) -> Tenant:
        return tenant.model_copy(update={"notify_secrets": (secret, *tenant.notify_secrets)[:KEPT]})

    tenants.change(name, with_it)
    return text
