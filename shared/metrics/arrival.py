"""Where an event waits that has just been accepted: in the queue, or, in a rush, at once in the backlog.

Thousands that are put into the queue stand before whatever is put there later, though each would only go from there into the backlog.
"""

from typing import TYPE_CHECKING

from shared.jobs.jobs import SendMetric
from shared.metrics.few import Few
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services


def to_be_queued(
    job: SendMetric, tenant: Tenant, services: "Services", *, is_repeat: bool
) -> SendMetric | None:
    """Return the job to put into the queue, None if its event waits in the backlog and is safe.

    A repeat of a call that was not surely answered is queued, unless it waits there already. It never goes in bulk: the first may be sent.

    Raises:
        OwnServiceError: of ours; the caller should call again.
    """
    if is_repeat:
        from shared.metrics.lane import waits_already

        return None if waits_already(job, tenant, services) else job.model_copy(update={"alone": True})
    if Few.of(services).has(job):  # first, since it asks nobody: a single call is not to pay for a rush
        return job
    from shared.metrics.lane import waits_from_the_start

    return None if waits_from_the_start(job, tenant, services) else job
