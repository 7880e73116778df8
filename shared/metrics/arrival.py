"""The first place of an accepted event: the queue, or, in a rush, the backlog.

In a rush, thousands of events in the queue would only delay the later jobs: a worker would move each of them into the backlog.
"""

from typing import TYPE_CHECKING

from shared.errors import StoreUnavailableError
from shared.jobs.jobs import SendMetric
from shared.metrics.few import Few
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services


def to_be_queued(
    job: SendMetric, tenant: Tenant, services: "Services", *, is_repeat: bool
) -> SendMetric | None:
    """Return the job to put into the queue, None if its event waits in the backlog and is safe.

    A repeat of a call without a sure answer is queued, unless its event waits in the backlog already. It never goes in bulk: the first
    call's event may be sent. The same holds if the store does not answer whether the event waits: such a store cannot note the call either,
    and the caller's repeat would be a second event.

    Raises:
        QueueUnavailableError: it may wait in the backlog; the caller should call again.
    """
    try:
        waits = _waits(job, tenant, services, is_repeat=is_repeat)
    except StoreUnavailableError:
        return _alone(job)
    if waits:
        return None
    return _alone(job) if is_repeat else job


def _waits(job: SendMetric, tenant: Tenant, services: "Services", *, is_repeat: bool) -> bool:
    if not is_repeat and Few.of(services).has(
        job
    ):  # a check in memory: a single call must not pay for a rush
        return False
    from shared.metrics.lane import waits_already, waits_from_the_start

    return (waits_already if is_repeat else waits_from_the_start)(job, tenant, services)


def _alone(job: SendMetric) -> SendMetric:
    return job.model_copy(update={"alone": True})
