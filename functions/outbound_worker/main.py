"""POST /tasks/outbound: Cloud Tasks delivers the jobs from Omneo to Klaviyo here."""

import functions_framework

from shared.direction import Direction
from shared.jobs.jobs import Delivery, Outcome
from shared.services import Services
from shared.settings import TASKS, Needs
from shared.web.endpoints import worker
from shared.worker.delivery import deliver

services = Services.from_environment(Needs.STORE | TASKS | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)


@functions_framework.http
@worker(Direction.OUTBOUND)
def outbound_worker(delivery: Delivery) -> Outcome:
    """Do one job, or let it wait, or give it up."""
    return deliver(delivery, services)
