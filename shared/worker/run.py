"""The table of the code that does each kind of job. It is a `match`, so that the type checker finds a kind without code.

Each row imports its code when the first such job comes: a worker gets the jobs of only one direction, and an import of all code would make
a cold start slower. A job that needs more than one call has a function below the table.
"""

from shared.consent.inbox import Inbox
from shared.erasure.dropping import dropping
from shared.errors import CannotSucceedError
from shared.jobs.jobs import (
    AddInteraction,
    AnyJob,
    CompareConsent,
    DeleteProfile,
    EveryTenant,
    FlushInbox,
    Heal,
    ImportSyncs,
    KeepMasterList,
    Notify,
    PackEvents,
    PackRecords,
    PackSyncs,
    Provision,
    PullOptOut,
    ReadEvents,
    ReplayDeadJobs,
    Resync,
    SendMetric,
    SendRecords,
    SpreadEvents,
    SweepInbox,
    SweepOutbox,
    SyncProfile,
)
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.worker.telling import tell_of_a_new_connection


def run(job: AnyJob, tenant: Tenant, services: Services) -> None:  # noqa: C901, PLR0912, PLR0915 - one branch for each kind of job
    """Do a job of a tenant once. `delivery.deliver` handles each error that this raises."""
    match job:
        case SendMetric():
            _send_metric(job, tenant, services)
        case PackEvents():
            _pack_events(job, tenant, services)
        case Provision():
            _provision(tenant, services)
        case SendRecords():
            from shared.records.records import send_records

            send_records(job, tenant, services)
        case PackRecords():
            from shared.records.packing import pack_records

            pack_records(job, tenant, services)
        case SpreadEvents():
            from shared.consent.spreading import spread

            spread(job, tenant, inbox=Inbox.of(services), queue=services.queue, clock=services.clock)
        case ReadEvents():
            from shared.consent.spreading import read_and_spread

            read_and_spread(job, tenant, inbox=Inbox.of(services), queue=services.queue, clock=services.clock)
        case FlushInbox():
            from shared.consent.flush import flush

            flush(job, tenant, services)
        case SweepInbox():
            from shared.consent.spreading import sweep

            sweep(job, tenant, inbox=Inbox.of(services), queue=services.queue, clock=services.clock)
        case SweepOutbox():
            _sweep_outbox(job, tenant, services)
        case AddInteraction():
            from shared.consent.interactions import add_refused_interaction

            add_refused_interaction(job, tenant, services.omneo(tenant))
        case KeepMasterList():
            from shared.consent.master_list import keep_master_list

            keep_master_list(job, tenant, services)
        case Heal():
            from shared.consent.heal import heal

            heal(job, tenant, services)
        case SyncProfile():
            from shared.profiles.sync import sync_profile

            sync_profile(job, tenant, services)
        case PackSyncs():
            from shared.profiles.packing import pack_syncs

            pack_syncs(job, tenant, services)
        case ImportSyncs():
            from shared.resync.syncs_in_bulk import import_syncs

            import_syncs(
                job,
                services,
                known=lambda: _known_now(tenant, services),
                dropping=lambda: dropping(_known_now(tenant, services), services),
            )
        case DeleteProfile():
            from shared.profiles.deleted import delete_profile

            delete_profile(job, tenant, services)
        case PullOptOut():
            from shared.profiles.opt_outs import pull_opt_out

            pull_opt_out(job, tenant, services)
        case CompareConsent():
            from shared.profiles.look import compare_consent

            compare_consent(job, tenant, services)
        case Resync():
            from shared.resync.stretch import resync

            resync(job, tenant, services)
        case Notify():
            from shared.notify.sending import send_notice

            send_notice(job, tenant, services)
        case ReplayDeadJobs():
            from shared.worker.replaying import replay_dead_jobs

            replay_dead_jobs(job, tenant, services)
        case EveryTenant():
            raise CannotSucceedError("A scheduled job has no tenant.")


def _send_metric(job: SendMetric, tenant: Tenant, services: Services) -> None:
    from shared.metrics.metrics import send_metric

    if send_metric(job, tenant, services.klaviyo(tenant), services.omneo(tenant)):
        from shared.profiles.calls import sync_soon

        sync_soon(tenant, job.omneo_profile_id, queue=services.queue, clock=services.clock)


def _pack_events(job: PackEvents, tenant: Tenant, services: Services) -> None:
    from shared.metrics.packing import pack_events

    pack_events(job, tenant, services, dropping=lambda: dropping(_known_now(tenant, services), services))


def _provision(tenant: Tenant, services: Services) -> None:
    from shared.installation.leaving import leave_former_accounts
    from shared.installation.provision import provision

    # Not the cached tenant: for some seconds after a merchant has changed the account, it holds the tokens of the old one.
    tenant = services.tenant_cache.fresh(tenant.name) or tenant
    provision(
        tenant,
        klaviyo=services.klaviyo(tenant),
        omneo=services.omneo(tenant),
        tenants=services.tenants,
        leases=services.leases,
        public_url=services.settings.public_url,
    )
    tell_of_a_new_connection(tenant, services)
    leave_former_accounts(services.tenant_cache.fresh(tenant.name) or tenant, services)


def _sweep_outbox(job: SweepOutbox, tenant: Tenant, services: Services) -> None:
    from shared.metrics.packing import sweep_events
    from shared.profiles.packing import sweep_backlog
    from shared.records.packing import sweep_outbox
    from shared.resync.syncs_in_bulk import sweep_imports

    sweep_outbox(job, tenant, services)
    sweep_events(job, tenant, services)
    sweep_backlog(job, tenant, services)
    sweep_imports(job, tenant, services)


def _known_now(tenant: Tenant, services: Services) -> Tenant:
    """Return the tenant as the next job would read it: a job that runs for minutes must notice changes."""
    return services.tenant_cache.get(tenant.name) or services.tenant_cache.fresh(tenant.name) or tenant
