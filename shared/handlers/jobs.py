"""Run any job: one match, so that a job kind without a handler is a type error.

A handler is imported when its first job comes: one worker has the jobs of one direction, and a cold start is somebody waiting.
"""

from shared.errors import CannotSucceedError
from shared.jobs import (
    AddInteraction,
    AnyJob,
    DeleteProfile,
    EveryTenant,
    FlushInbox,
    Heal,
    KeepMasterList,
    PackRecords,
    Provision,
    PullOptOut,
    Resync,
    SendMetric,
    SendRecords,
    SpreadEvents,
    SweepInbox,
    SweepOutbox,
    SyncProfile,
)
from shared.services import Services
from shared.tenants import Tenant


def run(job: AnyJob, tenant: Tenant, services: Services) -> None:  # noqa: C901, PLR0912 - one branch for each kind of job
    """Do a job of a tenant once. Whatever it raises, `delivery.deliver` decides about."""
    match job:
        case SendMetric():
            from shared.handlers.metrics import send_metric

            send_metric(job, tenant, services.klaviyo(tenant), services.omneo(tenant))
        case Provision():
            from shared.handlers.provision import provision

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
        case SendRecords():
            from shared.handlers.records import send_records

            send_records(job, tenant, services)
        case PackRecords():
            from shared.handlers.packing import pack_records

            pack_records(job, tenant, services)
        case SpreadEvents():
            from shared.handlers.inbox import spread

            spread(job, tenant, inbox=services.inbox, queue=services.queue, clock=services.clock)
        case FlushInbox():
            from shared.handlers.consent import flush

            flush(job, tenant, services)
        case SweepInbox():
            from shared.handlers.inbox import sweep

            sweep(job, tenant, inbox=services.inbox, queue=services.queue, clock=services.clock)
        case SweepOutbox():
            from shared.handlers.packing import sweep_outbox

            sweep_outbox(job, tenant, services)
        case AddInteraction():
            from shared.handlers.interactions import add_refused_interaction

            add_refused_interaction(job, tenant, services.omneo(tenant))
        case KeepMasterList():
            from shared.handlers.master_list import keep_master_list

            keep_master_list(job, tenant, services)
        case Heal():
            from shared.handlers.heal import heal

            heal(job, tenant, services)
        case SyncProfile():
            from shared.handlers.profiles import sync_profile

            sync_profile(job, tenant, services)
        case DeleteProfile():
            from shared.handlers.deleted_profiles import delete_profile

            delete_profile(job, tenant, services)
        case PullOptOut():
            from shared.handlers.opt_outs import pull_opt_out

            pull_opt_out(job, tenant, services)
        case Resync():
            from shared.handlers.resync import resync

            resync(job, tenant, services)
        case EveryTenant():
            raise CannotSucceedError("A scheduled job belongs to no tenant.")
