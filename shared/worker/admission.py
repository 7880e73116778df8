"""The checks that let a job wait before it costs anything: its first call to Klaviyo rests, or another job works on the same profile."""

from contextlib import suppress

from shared.errors import CannotSucceedError, RestingError, ServiceError, TurnTakenError
from shared.jobs.jobs import AnyJob, CompareConsent, KeepMasterList, SendMetric, SyncProfile
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.pace import TenantPace
from shared.services import Services
from shared.tenants.tenants import Tenant


def check_rests(job: AnyJob, tenant: Tenant, services: Services) -> None:
    """Return if the first endpoint that the job calls does not rest.

    Raises:
        RestingError: the endpoint rests; the job goes back to the queue until the rest ends.
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
    """Return unless another job still holds the turn that this job found taken before. The check saves the calls that come before the turn.

    Raises:
        TurnTakenError: the other job still holds the turn.
    """
    if job.turn and services.leases.is_held(job.turn):
        raise TurnTakenError("another job of ours still works on the profile", turn=job.turn)


def waits_behind_others(job: SyncProfile, tenant: Tenant, services: Services) -> RestingError | None:
    """Return why a sync has to wait in the backlog, None if it can be done now. Raises as `may_wait`."""
    from shared.profiles.packing import may_wait, seconds_to_wait

    after = seconds_to_wait(tenant, services)
    if after is None or not may_wait(job, tenant, services):
        return None
    why = "Klaviyo takes no more profiles for now, and live traffic goes first"
    return RestingError(why, service="Klaviyo", status=429, retry_after=after)


def opt_outs_go_first(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Apply the opt-outs of a sync that is about to wait. An opt-out that fails now is applied later by the sync itself.

    Raises:
        DisconnectedError: the account is disconnected.
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    from shared.profiles.sync import opt_out_meanwhile

    with suppress(ServiceError, CannotSucceedError):
        opt_out_meanwhile(job, tenant, services)


def _first_need(job: AnyJob) -> Endpoint | None:
    """Return the endpoint of Klaviyo that a job calls first, None if it has no single first endpoint, or if the call costs nothing."""
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
