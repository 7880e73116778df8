"""The jobs that wait before they cost anything: their first call to Klaviyo would not be made now, or would be refused, or another is at it."""

from contextlib import suppress

from shared.errors import CannotSucceedError, RestingError, ServiceError, TurnTakenError
from shared.jobs.jobs import AnyJob, CompareConsent, KeepMasterList, SendMetric, SyncProfile
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.pace import TenantPace
from shared.services import Services
from shared.tenants.tenants import Tenant


def check_rests(job: AnyJob, tenant: Tenant, services: Services) -> None:
    """Return if nothing that the job needs first is resting.

    Raises:
        RestingError: it is to be put back until then.
    """
    needed = _first_need(job)
    if needed is None or tenant.klaviyo is None:
        return
    TenantPace(tenant.name, services.rests, services.clock).check(needed)
    now = services.clock()
    until = services.rests.until(tenant.name, Endpoint.TOKEN)
    if until is not None and tenant.klaviyo.expires_at <= now:
        raise RestingError(
            "the access token has expired, and Klaviyo could not renew it a moment ago",
            service="Klaviyo",
            retry_after=(until - now).total_seconds(),
        )


def check_turn(job: AnyJob, services: Services) -> None:
    """Return if the turn is free that the job has found taken, or it has found none so: what leads to the turn is not asked for in vain.

    Raises:
        TurnTakenError: somebody else has it still.
    """
    if job.turn and services.leases.is_held(job.turn):
        raise TurnTakenError("another job of ours is still at the profile", turn=job.turn)


def waits_behind_others(job: SyncProfile, tenant: Tenant, services: Services) -> RestingError | None:
    """Return why a sync is to wait in the backlog, None if it is not to. Raises as `may_wait`."""
    from shared.profiles.packing import may_wait, seconds_to_wait

    after = seconds_to_wait(tenant, services)
    if after is None or not may_wait(job, tenant, services):
        return None
    why = "Klaviyo takes no more profiles for now, and live traffic goes first"
    return RestingError(why, service="Klaviyo", status=429, retry_after=after)


def opt_outs_go_first(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Apply the opt-outs of a sync that is about to wait. What cannot be done of it now is done with the sync.

    Raises:
        DisconnectedError: the account is disconnected.
        OwnServiceError: of ours; the queue must deliver again.
    """
    from shared.profiles.sync import opt_out_meanwhile

    with suppress(ServiceError, CannotSucceedError):
        opt_out_meanwhile(job, tenant, services)


def _first_need(job: AnyJob) -> Endpoint | None:
    """Return what a job calls before all else of Klaviyo's, None where that is not one thing, or costs nothing to find out."""
    match job:
        case SendMetric():
            return Endpoint.EVENTS
        case SyncProfile():
            return Endpoint.PROFILE_IMPORT
        case CompareConsent(profile_ids=ids):
            return Endpoint.READ_PROFILES if len(ids) > 1 else Endpoint.READ_PROFILE
        case KeepMasterList():
            return Endpoint.READ_PROFILE
        case _:
            return None
