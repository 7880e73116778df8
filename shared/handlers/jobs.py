"""Run any job: one match, so that a job kind without a handler is a type error."""

from shared.handlers.metrics import send_metric
from shared.jobs import AnyJob, SendMetric
from shared.services import Services
from shared.tenants import Tenant


def run(job: AnyJob, tenant: Tenant, services: Services) -> None:
    """Do the job once. Whatever it raises, `delivery.deliver` decides about."""
    match job:
        case SendMetric():
            send_metric(job, tenant, services.klaviyo(tenant), services.omneo(tenant))
