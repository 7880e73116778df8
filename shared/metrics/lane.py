"""The way of an event: a single call, or, while single calls are throttled, the backlog, from which bulk jobs take it.

A live event goes in a single call whenever Klaviyo allows it, and never waits behind the backlog. In a rush, an event that is one of few of
its metric counts as live; the others go in bulk and leave single calls to it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.errors import WaitError
from shared.jobs.jobs import PackEvents, SendMetric, write_job
from shared.jobs.rules.windows import Window, hashed
from shared.klaviyo.limits import Endpoint
from shared.metrics.backlog import Backlog
from shared.metrics.few import Few
from shared.metrics.rules.bulk import LARGEST_EVENT
from shared.metrics.rules.event import email_of, klaviyo_profile_id, metric_name_of
from shared.metrics.singles import UNTRIED, Singles
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import METRIC, Row, What, name_shown
from shared.traffic.traffic import Traffic

if TYPE_CHECKING:
    from shared.services import Services

# A live event waits at most so long for the end of a rest: a bulk job would bring it to Klaviyo later.
SOON = timedelta(seconds=5)


def goes_to_the_backlog(job: SendMetric, tenant: Tenant, services: "Services", *, is_again: bool) -> bool:
    """Put an event into the backlog if it must not go singly now and may go in bulk; return whether it waits there.

    `is_again` says that the queue delivers it once more: a worker that died may have sent it, or put it there.

    Raises:
        OwnServiceError: of ours; the queue must deliver again.
    """
    if not may_go_in_bulk(job):
        return _goes_singly(tenant, services)
    if is_again:
        return waits_already(job, tenant, services) or _goes_singly(tenant, services)
    if not _is_held_back(tenant, services, is_few=Few.of(services).has(job)):
        return _goes_singly(tenant, services)
    set_aside(job, tenant, services)
    return True


def waits_already(job: SendMetric, tenant: Tenant, services: "Services") -> bool:
    """Return whether the event of this job is in the backlog; if so, queue a packer.

    Raises:
        OwnServiceError: our store or queue cannot answer.
    """
    is_there = Backlog.of(services).holds(tenant.name, job)
    if is_there:
        pack_soon(tenant, services, traceparent=job.traceparent)
    return is_there


def waits_from_the_start(job: SendMetric, tenant: Tenant, services: "Services") -> bool:
    """Put a new event that is not one of few into the backlog if a worker would do so; return whether it waits there.

    Raises:
        OwnServiceError: our store or queue cannot answer; the event may wait in the backlog.
    """
    if not may_go_in_bulk(job) or not _is_held_back(tenant, services, is_few=False):
        return False
    set_aside(job, tenant, services)
    row = Row(METRIC, What.WAITING, metric=name_shown(metric_name_of(job.event)))
    Traffic.of(services).count(tenant.name, row)
    return True


def _is_held_back(tenant: Tenant, services: "Services", *, is_few: bool) -> bool:
    """Return whether an event that may go in bulk must not go singly now. An event that is one of few waits in the queue for the end of a
    short rest.
    """
    rests = services.rests
    until = rests.until(tenant.name, Endpoint.EVENTS)
    if is_few:
        return until is not None and until - services.clock() > SOON
    return until is not None or rests.until(tenant.name, UNTRIED) is not None


def _goes_singly(tenant: Tenant, services: "Services") -> bool:
    """Count a single call if it is made now, and return False: the event does not wait in the backlog."""
    if services.rests.until(tenant.name, Endpoint.EVENTS) is None:
        Singles.of(services).count(tenant.name)
    return False


def was_throttled(error: Exception) -> bool:
    """Return whether Klaviyo throttled the call, which then surely had no effect."""
    return isinstance(error, WaitError) and error.service == "Klaviyo" and error.status == 429


def set_aside(job: SendMetric, tenant: Tenant, services: "Services") -> None:
    """Put an event into the backlog, where it waits for a bulk job.

    Raises:
        OwnServiceError: of ours; the queue must deliver again.
    """
    Backlog.of(services).add(tenant.name, job, at=services.clock())
    pack_soon(tenant, services, traceparent=job.traceparent)


def may_go_in_bulk(job: SendMetric) -> bool:
    """Return whether an event may stand in a bulk job: it was never tried, and it needs no other call first.

    A replay was tried, and so was a job that waited. A token is minted for a single call and is valid for minutes. An event that names only
    an Omneo profile needs a look-up. A large event would take the place of many.
    """
    is_untried = job.attempts == 0 and not (job.replay or job.dead_id or job.alone)
    is_named = bool(klaviyo_profile_id(job.event) or email_of(job.event))
    return is_untried and is_named and not job.with_token and len(write_job(job)) <= LARGEST_EVENT


def persons_of(job: SendMetric) -> dict[str, str]:
    """Return the ids and addresses of the event's person, by the names that receipts use."""
    return {
        "email": email_of(job.event),
        "klaviyo_id": klaviyo_profile_id(job.event),
        "omneo_id": job.omneo_profile_id,
    }


def pack_soon(
    tenant: Tenant, services: "Services", *, after: float = 0.0, attempts: int = 0, traceparent: str = ""
) -> None:
    """Queue a run of the packer that reads the backlog after this moment. All who ask within ten seconds share one run."""
    from shared.jobs.windows import once_a_window

    asked, now = services.kept(_Asked, _Asked), services.clock()
    if not after and asked.is_known(tenant.name, now):
        return

    def packing(now: datetime) -> PackEvents:
        return PackEvents(
            tenant=tenant.name,
            id=hashed("pack-events", tenant.name)[:32],
            accepted_at=now,
            attempts=attempts,
            traceparent=traceparent,
        )

    clock: Callable[[], datetime] = services.clock
    once_a_window(packing, tenant, "pack-events", tenant.name, queue=services.queue, clock=clock, after=after)
    if not after:
        asked.note(tenant.name, now)


class _Asked:
    """The last window for which this process has queued the packer: of thousands of requests in a window, one reaches the queue."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def is_known(self, tenant: str, now: datetime) -> bool:
        """Return whether the window's task is queued and has surely not started."""
        window = Window.at(now)
        return self._windows.get(tenant) == window and not window.may_be_over(now)

    def note(self, tenant: str, now: datetime) -> None:
        """Note that the window of this moment, or a later one, has its task."""
        self._windows[tenant] = Window.at(now)
