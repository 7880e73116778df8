"""Run any job: one match, so that a job kind without a handler is a type error."""

from shared.handlers.metrics import send_metric
from shared.handlers.provision import provision
from shared.jobs import AnyJob, Provision, SendMetric
from shared.services import Services
from shared.tenants import Tenant


def run(job: AnyJob, tenant: Tenant, services: Services) -> None:
    """Do the job once. Whatever it raises, `delivery.deliver` decides about."""
    match job:
        case SendMetric():
            send_metric(job, tenant, services.klaviyo(tenant), services.omneo(tenant))
        case Provision():
            # Not the cached one: seconds after a merchant has changed the account, its tokens are still the old account's.
            tenant = services.tenant_cache.fresh(tenant.name) or tenant
            provision(
                tenant,
                klaviyo=services.klaviyo(tenant),
                omneo=services.omneo(tenant),
                tenants=services.tenants,
                leases=services.leases,
                public_url=services.settings.public_url,
            )
