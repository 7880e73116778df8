"""The checks of the doctor. Each check looks for itself, and says in plain words what it found and what mends it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from shared.admin.findings import Finding, Severity
from shared.admin.meaning import faults, list_fault
from shared.admin.revision import revision
from shared.admin.traffic import check as _traffic
from shared.direction import Direction
from shared.errors import (
    DisconnectedError,
    ServiceError,
    TokenRejectedError,
    WaitError,
)
from shared.http.forbidden import lacks_a_scope, what_mends
from shared.installation.provision import steps_of
from shared.installation.uninstall import DATA_SOURCES_STAY
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.queue import QueueState
from shared.klaviyo.resources import (
    DATA_SOURCES,
    OMNEO_TRIGGERS,
    SCOPES,
    SYSTEM_TOPICS,
    omneo_webhook_path,
    webhook_name,
)
from shared.metrics.backlog import Backlog
from shared.profiles.backlog import SyncBacklog
from shared.resync.sync_imports import SyncImports
from shared.services import Services
from shared.tenants.secret_uses import KLAVIYO_DELIVERY
from shared.tenants.tenants import StepState, Tenant
from shared.values.phones import region_of

OLD_TASK = timedelta(minutes=15)
OLD_SYNC = timedelta(hours=1)
TOKEN_WARNING = timedelta(days=14)


REINSTALL = "Install the app again from Klaviyo's marketplace; nothing is lost meanwhile."
FIRST_INSTALL = (
    "Make an install link (`install-link`), or let the merchant install the app from Klaviyo's marketplace."
)
REPAIR = "Run the repair: it makes what is missing."
IT_PASSES = "Jobs wait, and go on by themselves when it answers again."


Check = Callable[[Tenant, Services], Iterator[Finding]]


def _connection(tenant: Tenant, services: Services) -> Iterator[Finding]:
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
            "klaviyo", Severity.CRITICAL, "Klaviyo no longer honours the installation; jobs wait.", REINSTALL
        )
        return
    api = services.klaviyo(tenant)
    try:
        account = api.account()
    except (ServiceError, DisconnectedError) as error:
        yield from revision(api.retirement, services)
        mend = IT_PASSES if isinstance(error, WaitError) else _mend(error) or REINSTALL
        # Being asked to wait says that Klaviyo is there and knows us.
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


def _mend(error: Exception) -> str:
    """Return what mends a refusal whose cause the service names, "" for anything else."""
    if not isinstance(error, ServiceError) or error.status != 403 or isinstance(error, WaitError):
        return ""
    return REINSTALL if lacks_a_scope(error) else what_mends(error)


def _scopes(tenant: Tenant, services: Services) -> Iterator[Finding]:
    klaviyo = tenant.klaviyo
    if klaviyo is None or klaviyo.disconnected:
        return
    if missing := sorted(set(SCOPES) - set(klaviyo.scope.split())):
        yield Finding(
            "scopes", Severity.CRITICAL, f"Permissions are missing: {', '.join(missing)}.", REINSTALL
        )
    else:
        yield Finding("scopes", Severity.OK, "Every permission is granted.")


def _data_sources(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if not tenant.is_connected:
        return
    try:
        missing = sorted(set(DATA_SOURCES) - set(services.klaviyo(tenant).data_sources()))
    except (ServiceError, DisconnectedError) as error:
        yield Finding(
            "data sources", Severity.WARNING, f"The data sources cannot be looked at: {error}.", _mend(error)
        )
        return
    if missing:
        yield Finding("data sources", Severity.WARNING, f"Missing: {', '.join(missing)}.", REPAIR, safe=True)
    else:
        yield Finding("data sources", Severity.OK, "All six are there.")


def _webhook(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if not tenant.is_connected:
        return
    klaviyo = services.klaviyo(tenant)
    try:
        name, id = webhook_name(tenant.name), tenant.provisions.webhook_id
        ours = [hook for hook in klaviyo.webhooks() if hook.name == name or hook.id == id]
        wanted = SYSTEM_TOPICS & klaviyo.webhook_topics()
    except (ServiceError, DisconnectedError) as error:
        yield Finding(
            "webhook", Severity.WARNING, f"Klaviyo's webhooks cannot be looked at: {error}.", _mend(error)
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
            "webhook", Severity.WARNING, "Klaviyo's webhook is not as it should be.", REPAIR, safe=True
        )
    else:
        yield Finding(
            "webhook",
            Severity.OK,
            f"Enabled, with all {len(wanted)} topics. {_last_delivery(tenant, services)}",
        )


def _last_delivery(tenant: Tenant, services: Services) -> str:
    last = services.secret_uses.last(tenant.name).get(KLAVIYO_DELIVERY)
    return f"Its last delivery came at {_shown(last)}." if last else "No delivery has come yet."


def _omneo(tenant: Tenant, services: Services) -> Iterator[Finding]:
    omneo = services.omneo(tenant)
    change = f"Make a token in CX Manager, then: python -m deploy.tenants set {tenant.name} omneo_token"
    try:
        expires_at = omneo.verify_token()
    except TokenRejectedError:
        yield Finding("omneo token", Severity.CRITICAL, "Omneo rejects our token.", change)
        return
    except ServiceError as error:
        mend = _mend(error) or IT_PASSES
        yield Finding("omneo token", Severity.CRITICAL, f"Omneo cannot be called: {error}.", mend)
        return
    if expires_at is not None and expires_at - services.clock() < TOKEN_WARNING:
        yield Finding(
            "omneo token", Severity.WARNING, f"Our Omneo token expires on {expires_at:%Y-%m-%d}.", change
        )
    else:
        until = f" until {expires_at:%Y-%m-%d}" if expires_at else ""
        yield Finding("omneo token", Severity.OK, f"Omneo accepts our token{until}.")
    if tenant.klaviyo is None:
        return
    try:
        url = services.settings.public_url + omneo_webhook_path(tenant.name)
        hooks = {hook.trigger: hook for hook in omneo.webhooks(tenant.settings.namespace) if hook.url == url}
    except ServiceError as error:
        yield Finding(
            "omneo webhooks",
            Severity.WARNING,
            f"Omneo's webhooks cannot be looked at: {error}.",
            _mend(error),
        )
        return
    if missing := [trigger for trigger in OMNEO_TRIGGERS if trigger not in hooks]:
        yield Finding(
            "omneo webhooks", Severity.WARNING, f"Missing: {', '.join(missing)}.", REPAIR, safe=True
        )
    elif disabled := [trigger for trigger in OMNEO_TRIGGERS if not hooks[trigger].is_active]:
        yield Finding(
            "omneo webhooks",
            Severity.WARNING,
            f"Made, but not enabled: {', '.join(disabled)}.",
            "Enable them in CX Manager when profiles should be synced.",
        )
    else:
        yield Finding("omneo webhooks", Severity.OK, "All three are enabled.")


def check_queues(
    tenant: Tenant, states: Mapping[Direction, QueueState | str], now: datetime
) -> Iterator[Finding]:
    if tenant.klaviyo is None:
        return
    for direction, state in states.items():
        check = f"{direction} queue"
        if isinstance(state, str):
            yield Finding(check, Severity.CRITICAL, state)
        elif not state.exists:
            yield Finding(check, Severity.CRITICAL, "The queue does not exist.", REPAIR, safe=True)
        elif state.paused and tenant.is_connected:
            yield Finding(check, Severity.CRITICAL, "The queue is paused.", REPAIR, safe=True)
        elif state.paused:
            wait = f"The queue is paused while the account is disconnected; {state.depth} jobs wait."
            yield Finding(check, Severity.WARNING, wait, REINSTALL)
        elif state.oldest and now - state.oldest > OLD_TASK:
            yield Finding(
                check,
                Severity.WARNING,
                f"{state.depth} jobs wait, the oldest since {_shown(state.oldest)}.",
                "Look at the log of the worker for what they wait for.",
            )
        else:
            yield Finding(check, Severity.OK, f"{state.depth} jobs wait.")


def _set_up(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if tenant.klaviyo is None:
        return
    failed = [step for step in steps_of(tenant) if step["state"] == StepState.FAILED]
    for step in failed:
        yield Finding(
            "set-up",
            Severity.CRITICAL,
            f"{step['title']} failed: {str(step['reason']).rstrip('.')}.",
            REPAIR,
            safe=True,
        )
    for former in tenant.former_accounts:
        left = f"Klaviyo account {former.connection.account_id}, which was connected before, is not left yet."
        yield Finding("set-up", Severity.WARNING, left, REPAIR, safe=True)
    if not failed and not tenant.former_accounts:
        yield Finding("set-up", Severity.OK, "No part of the set-up has failed.")


def _settings(tenant: Tenant, services: Services) -> Iterator[Finding]:
    settings = tenant.settings
    wrong = faults(settings)
    if fault := list_fault(tenant, services, settings.master_list_id):
        wrong["master_list_id"] = fault
    for name, fault in wrong.items():
        yield Finding("settings", Severity.WARNING, f"{name}: {fault}.", f"Set {name} anew, or to null.")
    account = tenant.klaviyo.account_timezone if tenant.klaviyo else ""
    if tenant.klaviyo is not None and not (settings.timezone or account):
        yield Finding(
            "settings",
            Severity.WARNING,
            "No time zone is set, nor does the Klaviyo account name one.",
            "Set timezone.",
        )
    elif (settings.timezone or account) and not wrong:
        zone = settings.timezone or f"{account}, as the Klaviyo account's"
        yield Finding("settings", Severity.OK, f"They are valid. The time zone is {zone}. {_phones(tenant)}")


def _phones(tenant: Tenant) -> str:
    region = region_of(
        tenant.settings.default_region, tenant.klaviyo.account_country if tenant.klaviyo else ""
    )
    if region:
        return f"Phone numbers without a prefix are read as those of {region}."
    return "Phone numbers without a prefix are left out: set default_region."


def _dead_jobs(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if counts := DeadJobStore(services.documents, services.keys).counts(tenant.name):
        causes = ", ".join(f"{count} {cause.value}" for cause, count in counts.items())
        yield Finding(
            "dead jobs",
            Severity.WARNING,
            f"{sum(counts.values())} jobs were given up: {causes}.",
            f"Read their reasons: python -m deploy.tenants dead list {tenant.name}",
        )
    else:
        yield Finding("dead jobs", Severity.OK, "No job was given up.")


def _backlog(tenant: Tenant, services: Services) -> Iterator[Finding]:
    backlog, now = Backlog.of(services), services.clock()
    first = backlog.first(tenant.name)
    if first is None:
        yield Finding("event backlog", Severity.OK, "No event waits for a bulk job.")
        return
    waits = f"{backlog.count(tenant.name)} events wait for a bulk job, since {_shown(first.since)}."
    if tenant.is_connected and now - first.since > OLD_TASK:
        help = "Look at the log of the worker for what the job pack-events waits for."
        yield Finding("event backlog", Severity.WARNING, waits, help)
    else:
        yield Finding("event backlog", Severity.OK, waits)


def _syncs(tenant: Tenant, services: Services) -> Iterator[Finding]:
    waiting = SyncBacklog.of(services)
    first = next(iter(waiting.first(tenant.name, 1)), None)
    imported = sum(len(one.rows) for one in SyncImports.of(services).all(tenant.name))
    in_bulk = f" {imported} are in bulk imports under way." if imported else ""
    if first is None:
        yield Finding("profile syncs", Severity.OK, f"None waits for Klaviyo to take more.{in_bulk}")
        return
    is_old = tenant.is_connected and services.clock() - first.accepted_at > OLD_SYNC
    yield Finding(
        "profile syncs",
        Severity.WARNING if is_old else Severity.OK,
        f"{waiting.count(tenant.name)} wait for Klaviyo to take more, the first since {_shown(first.accepted_at)}.{in_bulk}",
        "Look at what else calls this Klaviyo account: the runbook's service-throttling." if is_old else "",
    )


def _secrets(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if older := services.tenants.reencrypt(tenant.name, dry_run=True):
        yield Finding(
            "keys",
            Severity.WARNING,
            f"{older} secrets are sealed by an older key.",
            "python -m deploy.tenants reencrypt",
        )
    else:
        yield Finding("keys", Severity.OK, "Every secret is sealed by the newest key.")
    if extra := len(tenant.webhook_secrets) - 1:
        yield Finding(
            "webhook secret",
            Severity.WARNING,
            f"{extra} older webhook secrets are still valid."
            if extra > 1
            else "An older webhook secret is still valid.",
            "Look when each was last used, and end those that no flow uses any more.",
        )


def _address_limits(_: Tenant, services: Services) -> Iterator[Finding]:
    if not services.settings.limits_addresses:
        yield Finding(
            "address limits",
            Severity.WARNING,
            "No address is held back that calls the install or this API too often.",
            "Google gives the project no security policies: the operator asks for the quota SECURITY_POLICIES, then deploys again.",
        )


CHECKS: tuple[Check, ...] = (
    _connection,
    _scopes,
    _data_sources,
    _webhook,
    _omneo,
    _set_up,
    _settings,
    _traffic,
    _dead_jobs,
    _backlog,
    _syncs,
    _secrets,
    _address_limits,
)


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
