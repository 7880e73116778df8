"""The lane of profile syncs: which syncs wait in the backlog while Klaviyo takes no more, and the packer that gives them back to the queue.

A sync that brings an opt-out does not wait here: it stays in the queue and runs when the rest is over. The packer runs once in ten seconds. It
gives back as many syncs as Klaviyo takes in that time, and leaves room for live syncs. So the queue never holds more than some seconds of
syncs, and a new event or opt-out does not wait behind them.

While many wait, the packer gives back only those that go alone, and the others go in bulk imports
(`resync/syncs_in_bulk.py`). What bulk has not taken for half an hour goes by itself too.
"""

from datetime import datetime, timedelta

from shared import logs
from shared.consent.memories import ConsentMemories
from shared.errors import RefusedError
from shared.jobs.jobs import ImportSyncs, PackSyncs, SweepOutbox, SyncProfile
from shared.jobs.rules.patience import is_given_up
from shared.jobs.rules.windows import LENGTH, SETTLE, hashed
from shared.jobs.windows import once_a_window
from shared.klaviyo.limits import Endpoint
from shared.profiles.backlog import SyncBacklog, WaitingSync
from shared.profiles.rules.sync_plan import comms_of
from shared.profiles.rules.urgent import brings_an_opt_out
from shared.profiles.synced import SyncedProfiles
from shared.services import Services
from shared.storage.leases import Lease
from shared.tenants.tenants import Tenant

# The endpoints of a sync: it calls the last two if Klaviyo does not have the profile's identifiers yet.
NEEDED = (Endpoint.PROFILE_IMPORT, Endpoint.READ_PROFILES, Endpoint.CREATE_PROFILE)
GIVEN_BACK = "syncs given back"  # rests until these syncs have had their time, so that the next run does not come early
SHARE = 0.8  # of Klaviyo's limit: the rest is for live syncs
# Renewed while syncs are given back. If a packer is killed, the next one can begin after this time.
LEASE = timedelta(minutes=1)
RENEWED_EVERY = 20  # syncs
SWEPT_AFTER = timedelta(minutes=2)
# So many go in bulk: those that single syncs bring within two minutes are not worth the wait for an import.
MANY = 1_200
LEFT_TO_BULK = timedelta(minutes=30)


def seconds_to_wait(tenant: Tenant, services: Services) -> float | None:
    """Return for how many seconds Klaviyo takes no syncs, None if it does."""
    rests, now = services.rests, services.clock()
    untils = [rests.until(tenant.name, endpoint) for endpoint in NEEDED]
    if tenant.klaviyo is not None and tenant.klaviyo.expires_at <= now:
        untils.append(rests.until(tenant.name, Endpoint.TOKEN))
    return max(((until - now).total_seconds() for until in untils if until is not None), default=None)


def may_wait(job: SyncProfile, tenant: Tenant, services: Services) -> bool:
    """Return whether a sync may wait behind others. A sync with an opt-out and a replayed sync may not.

    If Omneo refuses to answer, the sync counts as one with an opt-out. For a sync that has waited before, Omneo is not asked again.

    Raises:
        WaitError, TokenRejectedError: Omneo cannot tell now. The sync would get the same answer, so it waits for Omneo:
        if it waited for Klaviyo, it would come back before the opt-outs that come after it.
    """
    if not job.may_wait or job.replay:
        return False
    if job.has_waited:
        return True
    try:
        profile = services.omneo(tenant).profile_fields(job.profile_id)
    except RefusedError:
        return False
    comms = comms_of(profile) if profile is not None else None
    if comms is None:
        return True
    synced = SyncedProfiles.of(services).find(tenant.name, job.profile_id)
    # A sync to another account does not count for this one.
    synced_at = synced.read_at if synced.account == tenant.klaviyo_account_id else None
    memories = ConsentMemories.of(services).find(tenant.name, job.profile_id)
    return not brings_an_opt_out(comms, memories, synced_at)


def keep_for_later(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Put a sync into the backlog, and queue the packer: not for the end of the rest only, because bulk imports need not wait for it.

    Raises:
        OwnServiceError: one of the two was not done; do both again.
    """
    SyncBacklog.of(services).add(tenant.name, job.model_copy(update={"has_waited": True}))
    pack_soon(tenant, services, traceparent=job.traceparent)


def pack_syncs(job: PackSyncs, tenant: Tenant, services: Services) -> None:
    """Give back as many syncs as Klaviyo takes now. While a sync waits, a later run of the packer is queued when this returns.

    Raises:
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    lease = services.leases.acquire(lease_name(tenant.name), lasting=LEASE)
    if lease is None:
        pack_soon(tenant, services, traceparent=job.traceparent)
        return
    try:
        after = _give_back(tenant, services, lease)
    finally:
        services.leases.release(lease)
    if after is not None:
        pack_soon(tenant, services, after=after, traceparent=job.traceparent)


def lease_name(tenant: str) -> str:
    """Return the name of the packer's lease. No other packer's lease has it, whatever the tenants' names are."""
    return f"pack-syncs {tenant}"


def sweep_backlog(job: SweepOutbox, tenant: Tenant, services: Services) -> None:
    """Queue a run of the packer if a sync has waited for minutes; a run that was lost is made up for like this."""
    if not tenant.is_connected:
        return
    for first in SyncBacklog.of(services).first(tenant.name, 1):
        if services.clock() - first.accepted_at >= SWEPT_AFTER:
            pack_soon(tenant, services, traceparent=job.traceparent)


def pack_soon(tenant: Tenant, services: Services, *, after: float = 0.0, traceparent: str = "") -> None:
    """Queue a run of the packer that reads the backlog after this moment, one for all that ask within ten seconds."""

    def packing(now: datetime) -> PackSyncs:
        id = hashed("pack syncs", tenant.name)[:32]
        return PackSyncs(tenant=tenant.name, id=id, accepted_at=now, traceparent=traceparent)

    once_a_window(
        packing, tenant, "pack syncs", tenant.name, queue=services.queue, clock=services.clock, after=after
    )


def import_soon(
    tenant: Tenant, services: Services, *, after: float = 0.0, attempts: int = 0, traceparent: str = ""
) -> None:
    """Queue a run that sends syncs in bulk, one for all that ask within ten seconds."""

    def importing(now: datetime) -> ImportSyncs:
        id = hashed("import syncs", tenant.name)[:32]
        return ImportSyncs(
            tenant=tenant.name, id=id, accepted_at=now, attempts=attempts, traceparent=traceparent
        )

    once_a_window(
        importing,
        tenant,
        "import syncs",
        tenant.name,
        queue=services.queue,
        clock=services.clock,
        after=after,
    )


def are_many(tenant: Tenant, services: Services) -> bool:
    """Return whether so many syncs wait that may go in bulk that they do."""
    return SyncBacklog.of(services).count(tenant.name, alone=False) >= MANY


def _give_back(tenant: Tenant, services: Services, lease: Lease) -> float | None:
    """Give back a window's worth; return the seconds until the next may follow, None when nothing waits any more."""
    backlog, now = SyncBacklog.of(services), services.clock()
    given_back = services.rests.look(tenant.name, GIVEN_BACK)
    if given_back is not None:
        return 0.0  # another run was a moment faster
    a_second = SHARE * services.rests.limit(tenant.name, Endpoint.PROFILE_IMPORT).a_minute / 60
    most = max(1, int(a_second * LENGTH.total_seconds()))
    waiting = backlog.first(tenant.name, most)
    if not waiting:
        return None
    if are_many(tenant, services):
        import_soon(tenant, services)
        if now - waiting[0].accepted_at < LEFT_TO_BULK:
            waiting = backlog.first(tenant.name, most, alone=True)
    seconds = seconds_to_wait(tenant, services)
    if (
        seconds is not None
    ):  # then the worker gives up the syncs that have waited for too long, and no others are given back
        waiting = [sync for sync in waiting if _is_given_up(sync, tenant, now)]
    if waiting:
        # Before anything is given back: a run that dies has given back too few then, and none gives back too many.
        services.rests.rest(tenant.name, GIVEN_BACK, now + LENGTH - SETTLE)
    queue = tenant.queue_name(PackSyncs.direction)
    for number, sync in enumerate(waiting):
        if number % RENEWED_EVERY == 0 and not services.leases.renew(lease, lasting=LEASE):
            return 0.0  # another packer is at it: this one took too long
        services.queue.put_back(
            queue, sync.body, tenant=tenant.name, direction=PackSyncs.direction, delay=number / a_second
        )
        backlog.take_out(tenant.name, sync)
    logs.note(syncs=len(waiting))
    return seconds or 0.0


def _is_given_up(sync: WaitingSync, tenant: Tenant, now: datetime) -> bool:
    return is_given_up(now - sync.accepted_at - tenant.time_disconnected(sync.accepted_at, now))
