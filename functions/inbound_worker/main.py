"""POST /tasks/inbound: Cloud Tasks delivers the jobs from Klaviyo to Omneo here, and Cloud Scheduler the scheduled jobs."""

import functions_framework

from shared.direction import Direction
from shared.jobs.jobs import Delivery, Outcome
from shared.services import Services
from shared.settings import TASKS, Needs
from shared.web.endpoints import worker
from shared.worker.delivery import deliver

services = Services.from_environment(Needs.STORE | TASKS | Needs.KLAVIYO_APP)


@functions_framework.http
@worker(Direction.INBOUND)
def inbound_worker(delivery: Delivery) -> Outcome:
    """Do one job, or let it wait, or give it up."""
    return deliver(delivery, services)
