"""Status: the doctor's report. A recent report is shown again, because Klaviyo allows only fifteen reads of its webhooks a minute."""

from datetime import timedelta
from typing import Any

from shared.admin.doctor import connection, examine
from shared.admin.reports import RECENT, StatusReports
from shared.errors import WaitError
from shared.resync.runs import Resyncs
from shared.services import Services
from shared.tenants.tenants import Tenant

LEASE = timedelta(seconds=90)
# How long a caller waits for a report that another call is making.
PATIENCE_SECONDS, GLANCE_SECONDS = 20.0, 0.5
_TELLING = ("connected", "account_id", "connected_at")  # the fields by which two connections differ


def status(tenant: Tenant, services: Services) -> dict[str, Any]:
    """Return a report on the tenant that is at most a minute old. While another call makes a new report, return the last one.

    `run` is the run over the whole base that is under way, None if there is none. `tenant` must be read just before the call.

    Raises:
        WaitError: another call is making the first report, and takes long.
    """
    return {**_report(tenant, services), "run": _run(tenant, services)}


def _run(tenant: Tenant, services: Services) -> dict[str, Any] | None:
    from shared.resync.orders import summary

    run = Resyncs.of(services).under_way(tenant.name)
    return None if run is None else summary(run)


def _report(tenant: Tenant, services: Services) -> dict[str, Any]:
    recent = _last(tenant, services)
    if recent is not None:
        return recent
    lease = services.leases.acquire(f"status {tenant.name}", lasting=LEASE)
    if lease is None:
        return _while_another_looks(tenant, services)
    try:
        # Another call may have finished between the two lines above.
        return _last(tenant, services) or _new_report(tenant, services)
    finally:
        services.leases.release(lease)


def _last(tenant: Tenant, services: Services, *, within: timedelta = RECENT) -> dict[str, Any] | None:
    """Return the last report, unless the connection has changed since the report was begun."""
    report = StatusReports.of(services).last(tenant.name, within=within)
    now = connection(tenant)
    return report if report and all(report["klaviyo"][name] == now[name] for name in _TELLING) else None


def _new_report(tenant: Tenant, services: Services) -> dict[str, Any]:
    report = examine(tenant, services)
    StatusReports.of(services).keep(tenant.name, report)
    return report


def _while_another_looks(tenant: Tenant, services: Services) -> dict[str, Any]:
    for _ in range(int(PATIENCE_SECONDS / GLANCE_SECONDS)):
        if report := _last(tenant, services, within=timedelta(days=1)):
            return report
        services.sleep(GLANCE_SECONDS)
    raise WaitError("another call is examining the tenant right now", service="The extension")
