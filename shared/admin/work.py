"""The checks of waiting work and of work that was given up: queues, backlogs, dead jobs."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from shared.admin.findings import REINSTALL, REPAIR, Finding, Severity, shown
from shared.direction import Direction
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.queue import QueueState
from shared.metrics.backlog import Backlog
from shared.profiles.backlog import SyncBacklog
from shared.resync.sync_imports import SyncImports
from shared.services import Services
from shared.tenants.tenants import Tenant

OLD_TASK = timedelta(minutes=15)
OLD_SYNC = timedelta(hours=1)


def queues(tenant: Tenant, states: Mapping[Direction, QueueState | str], now: datetime) -> Iterator[Finding]:
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
                f"{state.depth} jobs wait, the oldest since {shown(state.oldest)}.",
                "Look at the log of the worker for what they wait for.",
            )
        else:
            yield Finding(check, Severity.OK, f"{state.depth} jobs wait.")


def dead_jobs(tenant: Tenant, services: Services) -> Iterator[Finding]:
    if counts := DeadJobStore.of(services).counts(tenant.name):
        causes = ", ".join(f"{count} {cause.value}" for cause, count in counts.items())
        yield Finding(
            "dead jobs",
            Severity.WARNING,
            f"{sum(counts.values())} jobs were given up: {causes}.",
            f"Read their reasons: python -m deploy.tenants dead list {tenant.name}",
        )
    else:
        yield Finding("dead jobs", Severity.OK, "No job was given up.")


def event_backlog(tenant: Tenant, services: Services) -> Iterator[Finding]:
    backlog, now = Backlog.of(services), services.clock()
    first = backlog.first(tenant.name)
    if first is None:
        yield Finding("event backlog", Severity.OK, "No event waits for a bulk job.")
        return
    waits = f"{backlog.count(tenant.name)} events wait for a bulk job, since {shown(first.since)}."
    if tenant.is_connected and now - first.since > OLD_TASK:
        help = "Look at the log of the worker for what the job pack-events waits for."
        yield Finding("event backlog", Severity.WARNING, waits, help)
    else:
        yield Finding("event backlog", Severity.OK, waits)


def profile_syncs(tenant: Tenant, services: Services) -> Iterator[Finding]:
    waiting = SyncBacklog.of(services)
    first = next(iter(waiting.first(tenant.name, 1)), None)
    imported = sum(len(one.rows) for one in SyncImports.of(services).all(tenant.name))
    in_bulk = f" {imported} are in bulk imports under way." if imported else ""
    if first is None:
        yield Finding("profile syncs", Severity.OK, f"No sync waits for Klaviyo to take more.{in_bulk}")
        return
    is_old = tenant.is_connected and services.clock() - first.accepted_at > OLD_SYNC
    yield Finding(
        "profile syncs",
        Severity.WARNING if is_old else Severity.OK,
        f"{waiting.count(tenant.name)} wait for Klaviyo to take more, the first since {shown(first.accepted_at)}.{in_bulk}",
        "Look at what else calls this Klaviyo account: the runbook's service-throttling." if is_old else "",
    )
