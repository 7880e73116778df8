"""Writes an opt-out to Omneo that a comparison has found in Klaviyo and that is newer than Omneo's consent, as Klaviyo's webhook would."""

import logging

from shared import logs
from shared.consent.rules import learning
from shared.consent.rules.decisions import direction_in
from shared.consent.rules.memory import Memory
from shared.consent.rules.step import Step
from shared.consent.to_omneo import ToOmneo, consent_turn, read_last
from shared.jobs.jobs import PullOptOut
from shared.profiles.calls import sync_soon
from shared.services import Services
from shared.tenants.tenants import Tenant


def queue_pull(
    step: Step, tenant: Tenant, services: Services, *, profile_id: str, traceparent: str = ""
) -> None:
    """Queue a job that brings the opt-out of a step to Omneo."""
    job = PullOptOut(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        profile_id=profile_id,
        channel=step.consent.channel,
        at=step.opted_out_at,
        traceparent=traceparent,
    )
    services.queue.put(job, tenant)


def pull_opt_out(job: PullOptOut, tenant: Tenant, services: Services) -> None:
    """Write the opt-out to Omneo, unless a newer decision is known by now. Repeating this is harmless.

    Raises:
        ServiceError: Omneo refused or did not answer; or a flush holds the profile's turn, and this waits for it.
    """
    # The turn of the flushes: an older decision of theirs must not be the last.
    with consent_turn(job.profile_id, tenant, services):
        profile, read_at = read_last(job.profile_id, tenant, services)
        if profile is None:
            logs.write(logging.INFO, "opt-out not pulled", reason="gone")
            return
        way = ToOmneo(tenant, profile, read_at, services, job.traceparent)
        before, at = way.comms, job.at or job.accepted_at
        address = "" if job.is_anothers else way.address_after(job.channel, at)

        def with_opt_out(memory: Memory) -> Memory:
            is_meant = memory.channel is job.channel and direction_in(before, job.channel) != "out"
            return learning.with_pulled(memory, at, address) if is_meant else memory

        way.learn(with_opt_out)
        way.write()
        if way.comms == before:
            logs.write(logging.INFO, "opt-out not pulled", reason="decided since")
        else:
            logs.write(logging.INFO, "opt-out pulled from Klaviyo")
        if job.is_anothers and tenant.klaviyo is not None:
            # Klaviyo holds it of another's profile. Whatever was written: a process may have died between the write and this.
            sync_soon(tenant, job.profile_id, queue=services.queue, clock=services.clock, may_wait=False)
        way.look()
        way.tell()
