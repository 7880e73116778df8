"""Writes an opt-out to Omneo that a comparison has found in Klaviyo and that is newer than Omneo's consent, as Klaviyo's webhook would."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from shared import logs
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.heirs import tell_heir
from shared.consent.ledger import ensure_ledger_key
from shared.consent.memories import ConsentMemories
from shared.consent.rules import learning, whose
from shared.consent.rules.decisions import direction_in
from shared.consent.rules.memory import CLOCKS_APART, Memory
from shared.consent.rules.step import Step
from shared.consent.to_omneo import ToOmneo, consent_turn, read_last
from shared.consent_events import Channel, Decision
from shared.jobs.jobs import PullOptOut
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.calls import sync_soon
from shared.services import Services
from shared.tenants.erasures import Identifier, mark_of
from shared.tenants.tenants import Tenant

# By then Klaviyo has the address there no more, as a rule; when it is so is noted once more.
AT_IT = timedelta(seconds=10)


def queue_pull(
    step: Step, tenant: Tenant, services: Services, *, profile_id: str, traceparent: str = ""
) -> None:
    """Queue what tells Omneo of the opt-out that a step has found."""
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


def leave_opt_outs_to_heir(
    given_up: KlaviyoProfile,
    since: datetime,
    tenant: Tenant,
    services: Services,
    *,
    profile_id: str,
    traceparent: str = "",
) -> Heir | None:
    """Apply an opt-out since then also to the present owner of the email address that Klaviyo still has on this profile; return who that is.

    As long as it does, what the new owner decides is told of that profile. Nothing tells whose it was, so both are opted out: for what
    is known already a job is queued, and what is told later finds a note. Not for an opt-out after which Omneo still had the address with
    this person.
    """
    found = services.omneo(tenant).find_profile_by_email(given_up.email)
    if found is None or not found.lives or found.id.casefold() == profile_id.casefold():
        return None
    if tenant.ledger_key is None:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
    mark = mark_of(tenant, Identifier.EMAIL, given_up.email)
    heir = Heir(found.id, since, services.clock() + AT_IT, mark)
    # Before the memory is read: an event that is flushed meanwhile finds the note, or is found.
    FormerIdentities.of(services).note_heir(tenant.name, given_up.id, heir)
    memory = ConsentMemories.of(services).find(tenant.name, profile_id)[Channel.EMAIL]
    outs = [
        one.at
        for one in whose.persons(memory)
        if one.decision is Decision.OPT_OUT and one.at >= since and one.address != mark
    ]
    if outs:
        tell_heir(heir.profile_id, max(outs), tenant, services, traceparent=traceparent)
    return heir


def note_given_up(klaviyo_id: str, heir: Heir, tenant: Tenant, services: Services) -> None:
    """Note that Klaviyo has the address on this profile no more: what is decided through it from now on is not the heir's."""
    until = services.clock() + CLOCKS_APART
    FormerIdentities.of(services).note_heir(tenant.name, klaviyo_id, replace(heir, until=until))


def pull_opt_out(job: PullOptOut, tenant: Tenant, services: Services) -> None:
    """Write the opt-out to Omneo, unless a newer decision is known by now. Repeating this is harmless.

    Raises:
        ServiceError: what Omneo answered; or a flush is at the profile, and this waits for it.
    """
    # The turn of the flushes: an older decision of theirs must not be the last.
    with consent_turn(job.profile_id, tenant, services):
        profile, read_at = read_last(job.profile_id, tenant, services)
        if profile is None:
            logs.write(logging.INFO, "opt-out not pulled", reason="gone")
            return
        way = ToOmneo(tenant, profile, read_at, services, job.traceparent)
        before, at = way.comms, job.at or job.accepted_at
        address = "" if job.is_anothers or job.channel is not Channel.EMAIL else way.address_after(at)

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
