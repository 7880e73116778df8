"""The caller of a function and its tenant: each function names the credential that it takes, and gets the tenant or a refusal.

authentication.py checks a credential, answers.py answers a refusal.
"""

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from pydantic import SecretStr

from shared import logs
from shared.errors import NotAuthenticatedError, NotInstalledError, StoreUnavailableError
from shared.services import Services
from shared.tenants.connection import INSTALL_FIRST
from shared.tenants.keys import hash_of, id_of, matches
from shared.tenants.secret_uses import KLAVIYO_DELIVERY
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import InstallationKey, StoredSecret, Tenant
from shared.web.authentication import klaviyo_secret, shared_secret, signing_secret
from shared.web.calls import Call

# Returns the id of the tenant's secret that a call proves to know, "" if there is none.
Credential: TypeAlias = Callable[[Call, Tenant], str]


def authenticated_tenant(call: Call, services: Services) -> Tenant:
    """Return the tenant in the path, if Omneo signed the body or sent the webhook secret.

    Raises:
        NotAuthenticatedError: the tenant is unknown, or the credential is missing or wrong; the answer does not say which.
        StoreUnavailableError: the store cannot answer, so the caller is unknown.
    """
    advice = "Sign the body in X-Omneo-Hmac-SHA256, or send the webhook secret in x-omneo-secret."
    headers = ("x-omneo-secret", "X-Omneo-Hmac-SHA256")
    return _authenticated(call, services, _omneo_secret, advice, headers)


def tenant_by_webhook_secret(call: Call, services: Services) -> Tenant:
    """Return the tenant in the path, if the call has the webhook secret: Flows cannot sign. Raises as above."""
    advice = "Send the webhook secret in x-omneo-secret."
    return _authenticated(call, services, _webhook_secret, advice, ("x-omneo-secret",))


def tenant_by_omneo(call: Call, services: Services) -> Tenant:
    """Return the tenant in the path, if Omneo signed the body. Raises as above."""
    advice = "Sign the body in X-Omneo-Hmac-SHA256."
    return _authenticated(call, services, _omneo_signature, advice, ("X-Omneo-Hmac-SHA256",))


def tenant_by_klaviyo(call: Call, services: Services) -> Tenant:
    """Return the tenant in the path, if Klaviyo signed the delivery with the tenant's webhook secret. Raises as above."""
    advice = "Sign the delivery in Klaviyo-Signature."
    tenant = _authenticated(call, services, _klaviyo_secret, advice, ("Klaviyo-Signature",))
    services.secret_uses.note(tenant.name, KLAVIYO_DELIVERY)
    return tenant


def tenant_by_key(call: Call, services: Services) -> Tenant:
    """Return the present state of the tenant in the path, if the caller holds its installation key. Raises as above."""
    # Never from the cache: an ended key must open nothing, and the caller must see the present state.
    tenant = services.tenant_cache.fresh(call.path["tenant"])
    if not _has_installation_key(call, tenant or _DECOY) or tenant is None:
        # Not counted as traffic: only the refusals of admin calls would count, and anybody can cause those.
        because = _why_unknown(call, tenant, ("Authorization",))
        logs.write(logging.WARNING, "installation key refused", reason=because)
        raise NotAuthenticatedError(
            "Send Authorization: Bearer and the tenant's installation key.", because=because
        )
    services.secret_uses.note(tenant.name, key_id(call))
    return tenant


def key_id(call: Call) -> str:
    """Return the id of the caller's installation key, which `tenant_by_key` has checked."""
    return id_of(hash_of(_bearer(call)[1]))


def _authenticated(
    call: Call, services: Services, credential: Credential, advice: str, headers: tuple[str, ...]
) -> Tenant:
    """Return the tenant, and note which of its secrets was used. An unknown secret may be new, so the store is read again for it.

    The credential stands in one of the headers.
    """
    name = call.path["tenant"]
    tenant = services.tenant_cache.get(name)
    given = credential(call, tenant or _DECOY)
    if tenant is None or not given:
        tenant = services.tenant_cache.fresh(name)
        given = credential(call, tenant or _DECOY)
    if tenant is None or not given:
        if tenant is not None:
            call.counted.by(tenant, services)
        raise NotAuthenticatedError(advice, because=_why_unknown(call, tenant, headers))
    call.counted.by(tenant, services)
    services.secret_uses.note(tenant.name, given)
    return tenant


def _why_unknown(call: Call, tenant: Tenant | None, headers: tuple[str, ...]) -> str:
    """Return why a caller is refused, for the log and the tenant's counts. The caller gets the same answer in every case."""
    if tenant is None:
        return "there is no such tenant"
    sent = [name for name in headers if call.headers.get(name)]
    return (
        f"{' and '.join(sent)} {'is' if len(sent) == 1 else 'are'} wrong"
        if sent
        else "no credential was sent"
    )


def installed(tenant: Tenant, services: Services) -> Tenant:
    """Return the present state of the tenant, if the app is installed. A disconnected account counts too, because its jobs wait.

    Never from the cache alone: for some seconds it would refuse calls after an install, which nobody repeats, and after an uninstall it
    would take calls into queues that the uninstall empties. If the store cannot answer, the cache counts.

    Raises:
        NotInstalledError: the app is not installed.
    """
    try:
        now = services.tenant_cache.fresh(tenant.name)
    except StoreUnavailableError:
        now = tenant
    if now is None or now.klaviyo is None:
        raise NotInstalledError(INSTALL_FIRST)
    return now


def _omneo_secret(call: Call, tenant: Tenant) -> str:
    """Return the id of the secret with which Omneo signed the body, or that it sent; "" if it is none of the tenant's."""
    return _webhook_secret(call, tenant) or _omneo_signature(call, tenant)


def _webhook_secret(call: Call, tenant: Tenant) -> str:
    """Return the id of the webhook secret that was sent, "" if it is not valid."""
    return shared_secret(call.headers.get("x-omneo-secret", ""), tenant.webhook_secrets)


def _omneo_signature(call: Call, tenant: Tenant) -> str:
    """Return the id of the secret with which Omneo signed the body, "" if it is none of the tenant's."""
    signature = call.headers.get("X-Omneo-Hmac-SHA256", "")
    return signing_secret(signature, call.body, tenant.omneo_signing_secrets)


def _klaviyo_secret(call: Call, tenant: Tenant) -> str:
    """Return the id of the secret with which Klaviyo signed the delivery, "" if it is none of the tenant's."""
    signature, timestamp = (call.headers.get(f"Klaviyo-{name}", "") for name in ("Signature", "Timestamp"))
    return klaviyo_secret(signature, timestamp, call.body, tenant.webhook_secrets)


def _has_installation_key(call: Call, tenant: Tenant) -> bool:
    scheme, key = _bearer(call)
    known = matches(key, [key.hash for key in tenant.installation_keys])
    return known and scheme == "bearer"


def _bearer(call: Call) -> tuple[str, str]:
    scheme, _, key = call.headers.get("Authorization", "").partition(" ")
    return scheme.lower(), key.strip()


def _random_secret() -> StoredSecret:
    return StoredSecret.model_construct(value=SecretStr(secrets.token_hex(32)), created_at=datetime.now(UTC))


# Stands in for a tenant that does not exist, so that its refusal takes the same path and time. Nothing is validated: that would build the
# models before anybody calls.
_DECOY = Tenant.model_construct(
    name="",
    created_at=datetime.now(UTC),
    installation_keys=(InstallationKey.model_construct(hash="0" * 64, created_at=datetime.now(UTC)),),
    omneo_token=SecretStr(""),
    omneo_signing_secrets=(_random_secret(),),
    webhook_secrets=(_random_secret(),),
    settings=TenantSettings.model_construct(task_queue_name="decoy"),
)
