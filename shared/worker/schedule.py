"""The scheduled jobs: each becomes one job for every tenant."""

import logging
from datetime import datetime
from typing import Literal

from shared import logs
from shared.errors import ConflictError
from shared.jobs.jobs import EveryTenant, SweepInbox, SweepOutbox
from shared.resync.rules.run import Kind
from shared.services import Services
from shared.tenants.tenants import Tenant


def every_tenant(job: EveryTenant, services: Services) -> None:
    """Queue the job for each tenant that is installed. An error of one tenant is logged and stops no other.

    Raises:
        StoreUnavailableError: the store cannot list the tenants now.
    """
    if job.run == "sweep-outbox":
        _give_back_unanswered(services)
    queued = 0
    for name in services.tenants.names():
        with logs.context(tenant=name):
            try:
                queued += _queued(job, name, services)
            except Exception as error:  # noqa: BLE001 - a tenant that cannot even be read must not stop the others
                logs.write(
                    logging.ERROR,
                    "scheduled job not queued",
                    reason=type(error).__name__,
                    error=logs.where(error),
                )
    logs.write(logging.INFO, "scheduled jobs queued", tenants=queued)


def _give_back_unanswered(services: Services) -> None:
    """Give the grants of unanswered installs back. No tenant's own job can do it: a tenant that was never installed has no queue."""
    from shared.installation.giving_back import give_back_unanswered

    try:
        give_back_unanswered(services)
    except Exception as error:  # noqa: BLE001 - it must not stop what is queued for tenants
        logs.write(
            logging.ERROR,
            "unanswered installs not given up",
            reason=type(error).__name__,
            error=logs.where(error),
        )


def _queued(job: EveryTenant, name: str, services: Services) -> bool:
    tenant = services.tenants.find(name)
    if tenant is None or tenant.klaviyo is None:
        return False
    if job.run == "reconcile":
        return _reconcile(tenant, services)
    if job.run == "heal":
        return _heal(job, tenant, services)
    # First, so that no failure below stops the sweep.
    services.queue.put(_job_of(job.run, job, name, services.new_id(), services.clock()), tenant)
    if job.run == "sweep-inbox":
        from shared.worker.telling import tell_of_traffic

        tell_of_traffic(tenant, services)
    if job.run == "sweep-outbox" and tenant.is_connected:
        from shared.worker.replaying import try_held

        try_held(tenant, services)
    return True


def _reconcile(tenant: Tenant, services: Services) -> bool:
    from shared.resync.orders import Order, begin

    if not tenant.is_connected:
        return False
    try:
        begin(tenant, Kind.RECONCILE, Order(), services)
    except ConflictError:
        logs.write(logging.INFO, "not reconciled, another run is under way", reason="under way")
        return False
    return True


def _heal(job: EveryTenant, tenant: Tenant, services: Services) -> bool:
    from shared.consent.heal import start_heal

    try:
        start_heal(tenant, services, traceparent=job.traceparent)
    except ConflictError:
        logs.write(logging.INFO, "not healed, another run is under way", reason="under way")
        return False
    return True


def _job_of(
    run: Literal["sweep-inbox", "sweep-outbox"], job: EveryTenant, name: str, id: str, now: datetime
) -> SweepInbox | SweepOutbox:
    match run:
        case "sweep-inbox":
            return SweepInbox(tenant=name, id=id, accepted_at=now, traceparent=job.traceparent)
        case "sweep-outbox":
            return SweepOutbox(tenant=name, id=id, accepted_at=now, traceparent=job.traceparent)
