"""The checks of Omneo: our token and our webhooks."""

from collections.abc import Iterator
from datetime import timedelta

from shared.admin.findings import IT_PASSES, REPAIR, Finding, Severity, what_mends_it
from shared.errors import ServiceError, TokenRejectedError
from shared.klaviyo.resources import OMNEO_TRIGGERS, omneo_webhook_path
from shared.services import Services
from shared.tenants.tenants import Tenant

TOKEN_WARNING = timedelta(days=14)


def omneo(tenant: Tenant, services: Services) -> Iterator[Finding]:
    """Check our token, and our webhooks if the token can be used and the app is installed."""
    token = _token(tenant, services)
    yield token
    if token.severity is not Severity.CRITICAL and tenant.klaviyo is not None:
        yield _webhooks(tenant, services)


def _token(tenant: Tenant, services: Services) -> Finding:
    change = f"Make a token in CX Manager, then: python -m deploy.tenants set {tenant.name} omneo_token"
    try:
        expires_at = services.omneo(tenant).verify_token()
    except TokenRejectedError:
        return Finding("omneo token", Severity.CRITICAL, "Omneo rejects our token.", change)
    except ServiceError as error:
        mend = what_mends_it(error) or IT_PASSES
        return Finding("omneo token", Severity.CRITICAL, f"Omneo cannot be called: {error}.", mend)
    if expires_at is None:
        return Finding("omneo token", Severity.OK, "Omneo accepts our token.")
    if expires_at - services.clock() < TOKEN_WARNING:
        return Finding(
            "omneo token", Severity.WARNING, f"Our Omneo token expires on {expires_at:%Y-%m-%d}.", change
        )
    return Finding("omneo token", Severity.OK, f"Omneo accepts our token until {expires_at:%Y-%m-%d}.")


def _webhooks(tenant: Tenant, services: Services) -> Finding:
    url = services.settings.public_url + omneo_webhook_path(tenant.name)
    try:
        all_of_them = services.omneo(tenant).webhooks(tenant.settings.namespace)
    except ServiceError as error:
        message = f"Omneo's webhooks cannot be read: {error}."
        return Finding("omneo webhooks", Severity.WARNING, message, what_mends_it(error))
    ours = {hook.trigger: hook for hook in all_of_them if hook.url == url}
    if missing := [trigger for trigger in OMNEO_TRIGGERS if trigger not in ours]:
        return Finding(
            "omneo webhooks", Severity.WARNING, f"Missing: {', '.join(missing)}.", REPAIR, safe=True
        )
    if disabled := [trigger for trigger in OMNEO_TRIGGERS if not ours[trigger].is_active]:
        message = f"Made, but not enabled: {', '.join(disabled)}."
        mend = "Enable them in CX Manager when profiles should be synced."
        return Finding("omneo webhooks", Severity.WARNING, message, mend)
    return Finding("omneo webhooks", Severity.OK, "All three are enabled.")
