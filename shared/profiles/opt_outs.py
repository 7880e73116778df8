"""An opt-out that a sync found in Klaviyo, newer than what Omneo holds: Omneo learns of it here, as it would from Klaviyo's webhook."""

import logging
from typing import TYPE_CHECKING, Any

from shared import logs
from shared.consent.echo_notes import EchoNotes
from shared.consent.flush import TRACE, TURN
from shared.consent.ledger import ConsentLedger, ConsentRecord, ensure_ledger_key
from shared.consent.rules import decisions as consent
from shared.consent.rules.plan import Step
from shared.errors import NotFoundError, WaitError
from shared.jobs.jobs import PullOptOut
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.omneo.client import Profile

_SECONDS = 3.0


def queue_pull(
    step: Step,
    tenant: Tenant,
    services: Services,
    *,
    profile_id: str,
    klaviyo_id: str,
    traceparent: str = "",
) -> None:
    """Queue what tells Omneo of the opt-out that a step has found with a Klaviyo profile."""
    channel = step.consent.channel
    if step.opted_out_at is not None:
        # It came after our own opt-in, whose echo is over by that: the next opt-in is the person's, told of or not.
        EchoNotes.of(services).end(tenant.name, klaviyo_id, channel, "in", before=step.opted_out_at)
    job = PullOptOut(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        profile_id=profile_id,
        channel=channel,
        at=step.opted_out_at,
        traceparent=traceparent,
    )
    services.queue.put(job, tenant)


def pull_opt_out(job: PullOptOut, tenant: Tenant, services: Services) -> None:
    """Write the opt-out to Omneo, unless Omneo holds a newer decision by now. Repeating this is harmless.

    Raises:
        ServiceError: what Omneo answered; or a flush is at the profile, and this waits for it.
    """
    # The turn of the flushes: an older decision of theirs must not be the last.
    turn = services.leases.acquire(f"consent {tenant.name} {job.profile_id}", lasting=TURN)
    if turn is None:
        raise WaitError("a flush is at the profile", service="The extension", retry_after=_SECONDS)
    try:
        _write(job, tenant, services)
    finally:
        services.leases.release(turn, trace=TRACE)


def _write(job: PullOptOut, tenant: Tenant, services: Services) -> None:
    omneo = services.omneo(tenant)
    profile = omneo.profile(job.profile_id)
    if profile is None:
        logs.write(logging.INFO, "opt-out not pulled", reason="gone")
        return
    changes = _changes(job, profile)
    if not changes:
        logs.write(logging.INFO, "opt-out not pulled", reason="decided since")
        return
    _record(job, profile, tenant, services)
    try:
        omneo.update_comms(profile.id, changes)
    except NotFoundError:
        logs.write(logging.INFO, "opt-out not pulled", reason="gone")
        return
    logs.write(logging.INFO, "opt-out pulled from Klaviyo")


def _changes(job: PullOptOut, profile: "Profile") -> dict[str, Any]:
    """Return the comms fields to write, none if Omneo's decision is the newer one or is an opt-out already."""
    stamp = consent.read_stamp(profile.comms.get(consent.stamp_name(job.channel)))
    if stamp is not None and (job.at is None or stamp > job.at):
        return {}
    if profile.comms.get(f"{job.channel}_promo") in (False, "0", "false"):
        return {}
    dated = {consent.stamp_name(job.channel): consent.write_stamp(job.at)} if job.at else {}
    return {f"{job.channel}_promo": False, **dated}


def _record(job: PullOptOut, profile: "Profile", tenant: Tenant, services: Services) -> None:
    if tenant.ledger_key is None:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
    before = consent.state_of(profile.comms, job.channel)
    after = consent.state_of({**profile.comms, f"{job.channel}_promo": False}, job.channel)
    record = ConsentRecord(
        at=job.at or job.accepted_at,
        channel=job.channel,
        before=before,
        after=after,
        source="klaviyo:profile",
        event_id=job.at.isoformat() if job.at else job.id,
    )
    ConsentLedger.of(services).record(tenant, profile.id, record)
