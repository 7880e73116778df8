"""Status: the doctor's report. A fresh report is looked up and not made again, because Klaviyo allows only fifteen looks a minute."""

from datetime import timedelta
from typing import Any

from shared.admin.doctor import examine
from shared.admin.reports import StatusReports
from shared.errors import WaitError
from shared.resync.runs import Resyncs
from shared.services import Services
from shared.tenants.tenants import Tenant

LEASE = timedelta(seconds=90)
# How long one waits whom somebody else is making a report for.
PATIENCE_SECONDS, GLANCE_SECONDS = 20.0, 0.5


def status(tenant: Tenant, services: Services) -> dict[str, Any]:
    """Return the tenant's report, not older than a minute; while somebody is making a new one, the one before.

    `run` is the run over the whole base that is under way, as it is now, None if there is none.

    Raises:
        WaitError: somebody is making the first one, and it takes long.
    """
    return {**_report(tenant, services), "run": _run(tenant, services)}


def _run(tenant: Tenant, services: Services) -> dict[str, Any] | None:
    from shared.resync.orders import summary

    run = Resyncs.of(services).under_way(tenant.name)
    return None if run is None else summary(run)


def _report(tenant: Tenant, services: Services) -> dict[str, Any]:
    # What was said of the account before is not so any more.
    since = tenant.klaviyo.connected_at if tenant.klaviyo else None
    recent = StatusReports.of(services).last(tenant.name, since=since)
    if recent is not None:
        return recent
    lease = services.leases.acquire(f"status {tenant.name}", lasting=LEASE)
    if lease is None:
        return _while_another_looks(tenant, services)
    try:
        # Another may have finished between the two lines above.
        return StatusReports.of(services).last(tenant.name, since=since) or _new_report(tenant, services)
    finally:
        services.leases.release(lease)


def _new_report(tenant: Tenant, services: Services) -> dict[str, Any]:
    report = examine(tenant, services)
    StatusReports.of(services).keep(tenant.name, report)
    return report


def _while_another_looks(tenant: Tenant, services: Services) -> dict[str, Any]:
    for _ in range(int(PATIENCE_SECONDS / GLANCE_SECONDS)):
        if report := StatusReports.of(services).last(tenant.name, within=timedelta(days=1)):
            return report
        services.sleep(GLANCE_SECONDS)
    raise WaitError("somebody else is looking at the tenant right now", service="The extension")
