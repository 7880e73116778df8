"""The whole deployed `system_webhooks`, with one change: the queue accepts a job as late as a queue across a network may."""

import time

from functions.system_webhooks.main import services, system_webhooks
from shared.jobs.jobs import AnyJob, write_job
from shared.tenants.tenants import Tenant

__all__ = ["system_webhooks"]

SECONDS = 0.05


class FarQueue:
    """Takes every job after a while, and forgets it."""

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Write the job's task body, which no one reads, and let the while pass."""
        write_job(job)
        time.sleep(SECONDS)


vars(services)["queue"] = FarQueue()
