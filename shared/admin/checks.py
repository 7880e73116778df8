"""The list of the doctor's checks, and those about the tenant itself: set-up, settings, secrets.

Each check says in plain words what it found and what mends it. klaviyo.py, omneo.py, work.py and traffic.py hold the other checks.
"""

from collections.abc import Callable, Iterator

from shared.admin import klaviyo, work
from shared.admin.findings import REPAIR, Finding, Severity
from shared.admin.meaning import faults, list_fault
from shared.admin.omneo import omneo
from shared.admin.traffic import check as traffic
from shared.installation.provision import steps_of
from shared.services import Services
from shared.tenants.tenants import StepState, Tenant
from shared.values.phones import region_of

Check = Callable[[Tenant, Services], Iterator[Finding]]


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
            "No time zone is set, and the Klaviyo account names none.",
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
            "Look when each was last used, and end each that no Flow uses any more.",
        )


def _address_limits(_: Tenant, services: Services) -> Iterator[Finding]:
    if not services.settings.limits_addresses:
        yield Finding(
            "address limits",
            Severity.WARNING,
            "Calls to the install and to this API are not limited by address.",
            "Ask Google for the quota SECURITY_POLICIES of the project, then deploy again.",
        )


CHECKS: tuple[Check, ...] = (
    klaviyo.connection,
    klaviyo.scopes,
    klaviyo.data_sources,
    klaviyo.webhook,
    omneo,
    _set_up,
    _settings,
    traffic,
    work.dead_jobs,
    work.event_backlog,
    work.profile_syncs,
    _secrets,
    _address_limits,
)
