"""The checks of Klaviyo: the connection, its permissions, the data sources and the webhook."""

from collections.abc import Iterator

from shared.admin.findings import IT_PASSES, REINSTALL, REPAIR, Finding, Severity, shown, what_mends_it
from shared.admin.revision import revision
from shared.errors import DisconnectedError, ServiceError, WaitError
from shared.installation.uninstall import DATA_SOURCES_STAY
from shared.klaviyo.resources import DATA_SOURCES, SCOPES, SYSTEM_TOPICS, webhook_name
from shared.services import Services
from shared.tenants.secret_uses import KLAVIYO_DELIVERY
from shared.tenants.tenants import Tenant

FIRST_INSTALL = (
    "Make an install link (`install-link`), or let the merchant install the app from Klaviyo's marketplace."
)


def connection(tenant: Tenant, services: Services) -> Iterator[Finding]:
    klaviyo = tenant.klaviyo
    if klaviyo is None:
        was = (
            "has been uninstalled" if DATA_SOURCES_STAY in tenant.left_behind else "has never been installed"
        )
        refused = f"The app {was}: no Klaviyo account is connected, and calls are refused."
        yield Finding("klaviyo", Severity.CRITICAL, refused, FIRST_INSTALL)
        return
    if klaviyo.disconnected:
        yield Finding(
            "klaviyo", Severity.CRITICAL, "Klaviyo no longer accepts our tokens; jobs wait.", REINSTALL
        )
        return
    api = services.klaviyo(tenant)
    try:
        account = api.account()
    except (ServiceError, DisconnectedError) as error:
        yield from revision(api.retirement, services)
        mend = IT_PASSES if isinstance(error, WaitError) else what_mends_it(error) or REINSTALL
        # A 429 shows that Klaviyo works and accepts our token.
        throttled = isinstance(error, WaitError) and error.status == 429
        severity = Severity.WARNING if throttled else Severity.CRITICAL
        yield Finding("klaviyo", severity, f"Klaviyo cannot be called: {error}.", mend)
        return
    yield from revision(api.retirement, services)
    if tenant.klaviyo_account_id and account.id != tenant.klaviyo_account_id:
        yield Finding(
            "klaviyo", Severity.CRITICAL, "The tokens belong to another Klaviyo account.", REINSTALL
        )
    else:
        yield Finding("klaviyo", Severity.OK, f"Connected to Klaviyo account {account.id}; its token works.")


def scopes(tenant: Tenant, services: Services) -> Iterator[Finding]:
    klaviyo = tenant.klaviyo
    if klaviyo is None or klaviyo.disconnected:
        return
    if missing := sorted(set(SCOPES) - set(klaviyo.scope.split())):
        yield Finding(
            "scopes", Severity.CRITICAL, f"Permissions are missing: {', '.join(missing)}.", REINSTALL
        )
    else:
        yield Finding("scopes", Severity.OK, "Every permission is granted.")


def data_sources(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if not tenant.is_connected:
        return
    try:
        missing = sorted(set(DATA_SOURCES) - set(services.klaviyo(tenant).data_sources()))
    except (ServiceError, DisconnectedError) as error:
        yield Finding(
            "data sources",
            Severity.WARNING,
            f"The data sources cannot be read: {error}.",
            what_mends_it(error),
        )
        return
    if missing:
        yield Finding("data sources", Severity.WARNING, f"Missing: {', '.join(missing)}.", REPAIR, safe=True)
    else:
        yield Finding("data sources", Severity.OK, "All six exist.")


def webhook(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if not tenant.is_connected:
        return
    klaviyo = services.klaviyo(tenant)
    try:
        name, id = webhook_name(tenant.name), tenant.provisions.webhook_id
        ours = [hook for hook in klaviyo.webhooks() if hook.name == name or hook.id == id]
        wanted = SYSTEM_TOPICS & klaviyo.webhook_topics()
    except (ServiceError, DisconnectedError) as error:
        yield Finding(
            "webhook", Severity.WARNING, f"Klaviyo's webhooks cannot be read: {error}.", what_mends_it(error)
        )
        return
    if not ours:
        yield Finding(
            "webhook",
            Severity.CRITICAL,
            "Klaviyo's webhook is missing: opt-outs do not arrive.",
            REPAIR,
            safe=True,
        )
    elif not ours[0].enabled:
        yield Finding(
            "webhook",
            Severity.CRITICAL,
            "Klaviyo has disabled its webhook: opt-outs do not arrive.",
            REPAIR,
            safe=True,
        )
    elif len(ours) > 1 or ours[0].name != name or ours[0].topics != wanted:
        yield Finding(
            "webhook",
            Severity.WARNING,
            "Klaviyo's webhook has a wrong name or wrong topics, or there are several.",
            REPAIR,
            safe=True,
        )
    else:
        yield Finding(
            "webhook",
            Severity.OK,
            f"Enabled, with all {len(wanted)} topics. {_last_delivery(tenant, services)}",
        )


def _last_delivery(tenant: Tenant, services: Services) -> str:
    last = services.secret_uses.last(tenant.name).get(KLAVIYO_DELIVERY)
    return f"Its last delivery came at {shown(last)}." if last else "No delivery has come yet."
