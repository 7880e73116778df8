"""The whole deployed `targets`, with one change: the queue accepts every job without a call.

The rest is our own cost.
"""

from functions.targets.main import services, targets
from shared.direction import Direction
from shared.jobs.jobs import AnyJob, write_job
from shared.tenants.tenants import Tenant

__all__ = ["targets"]


class AcceptingQueue:
    """Takes every job, writes it as it would travel, and forgets it."""

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Write the job's task body and the queue's name; no one reads them."""
        self.put_back(
            tenant.queue_name(job.direction),
            write_job(job),
            tenant=tenant.name,
            direction=job.direction,
            delay=delay,
        )

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        """Forget it."""


vars(services)["queue"] = AcceptingQueue()
