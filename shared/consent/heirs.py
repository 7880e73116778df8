"""Opt-outs from an address that has moved to another person while Klaviyo still had it on the first person's profile. Nothing shows whose
opt-out it was, so both persons are opted out.

Omneo shows the owner of an email, and former_identities.py its former owner. For a phone number, former_numbers.py
knows both, once the next owner is synced. The room `profiles` does the job, as for every opt-out that is pulled.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from shared.consent.former_identities import FormerIdentities
from shared.consent.former_numbers import FormerNumbers, OptOut, Sharer, mark_of_number
from shared.consent.inbox import Inbox, event_of
from shared.consent.ledger import ensure_ledger_key
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules import decisions, learning, whose
from shared.consent.rules.decisions import Decided
from shared.consent.rules.memory import Memory, key_of
from shared.consent.rules.whose import Verdict
from shared.consent_events import Channel, Decision
from shared.jobs.jobs import PullOptOut
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services


def tell_heirs(
    outs: Iterable[Decided],
    klaviyo_id: str,
    tenant: Tenant,
    services: "Services",
    *,
    profile_id: str = "",
    traceparent: str = "",
) -> None:
    """Apply email opt-outs of a Klaviyo profile also to the present owner of an address that it had then, and to others who had the address
    in Omneo then; but not to `profile_id`, which gets them anyway.

    Raises:
        QueueUnavailableError: not all were queued.
    """
    told, notes = list(outs), FormerIdentities.of(services)
    if not told:
        return
    theirs: dict[str, list[datetime]] = {}
    for heir in notes.heirs_of(tenant.name, klaviyo_id):
        theirs.setdefault(heir.profile_id, []).extend(
            one.at for one in told if heir.may_have_decided(one.at, one.address)
        )
    for sharer in notes.sharers_of(tenant.name, klaviyo_id):
        theirs.setdefault(sharer.profile_id, []).extend(
            one.at for one in told if sharer.may_have_decided(one.at)
        )
    for id, moments in theirs.items():
        if moments and id.casefold() != profile_id.casefold():
            tell_heir(id, max(moments), tenant, services, traceparent=traceparent)


def leave_at_number(
    moments: Iterable[datetime],
    number: str,
    klaviyo_id: str,
    tenant: Tenant,
    services: "Services",
    *,
    profile_id: str = "",
    traceparent: str = "",
) -> None:
    """Note opt-outs under the mark of the phone number that a Klaviyo profile had then, and apply the last one to each
    later owner too, except `profile_id`, which gets them in any case.

    Raises:
        QueueUnavailableError: not all were queued.
    """
    found, notes = sorted(moments), FormerNumbers.of(services)
    if not found:
        return
    for at in found:
        notes.note_opt_out(tenant.name, number, OptOut(at, klaviyo_id, profile_id))
    # After the note: a profile that gets the number now finds the note, or is found here.
    for owner in notes.history(tenant.name, number).owners:
        if owner.casefold() != profile_id.casefold():
            tell_heir(owner, found[-1], tenant, services, channel=Channel.SMS, traceparent=traceparent)


def tell_sharers(
    moments: Iterable[datetime],
    number: str,
    tenant: Tenant,
    services: "Services",
    *,
    profile_id: str = "",
    traceparent: str = "",
) -> None:
    """Apply the last of some opt-outs from a phone number also to others who had the number in Omneo then: nothing tells who has texted.

    Raises:
        QueueUnavailableError: not all were queued.
    """
    told = list(moments)
    for sharer in FormerNumbers.of(services).history(tenant.name, number).sharers if told else ():
        theirs = [at for at in told if sharer.may_have_decided(at)]
        if theirs and sharer.profile_id.casefold() != profile_id.casefold():
            id, last = sharer.profile_id, max(theirs)
            tell_heir(id, last, tenant, services, channel=Channel.SMS, traceparent=traceparent)


def hand_on_waiting(klaviyo_id: str, tenant: Tenant, services: "Services") -> None:
    """Let the opt-outs that wait in the inbox of a Klaviyo profile hold for the next owners of the addresses that it had then, as a flush
    would: before the inbox is forgotten.

    Raises:
        QueueUnavailableError: not all were queued.
    """
    waiting = [
        decisions.decide(event_of(entry), None)
        for entry in Inbox.of(services).open_of(tenant.name, klaviyo_id)
        if not decisions.needs_klaviyo(event_of(entry))
    ]
    store = ConsentMemories.of(services)
    asked_for = store.profile_asked_about(tenant.name, klaviyo_id)
    memories = store.find(tenant.name, asked_for)
    outs = {channel: _persons_outs(memories[channel], waiting) for channel in Channel}
    tell_heirs(outs[Channel.EMAIL], klaviyo_id, tenant, services)
    texts, number = [one.at for one in outs[Channel.SMS]], memories[Channel.SMS].mailed
    if texts and number:
        tell_sharers(texts, number, tenant, services)
    for note in FormerNumbers.of(services).given_up_by(tenant.name, klaviyo_id) if texts else ():
        moments = [at for at in texts if note.may_be_of_next(at)]
        leave_at_number(moments, note.number, klaviyo_id, tenant, services)


def _persons_outs(memory: Memory, waiting: Iterable[Decided]) -> list[Decided]:
    outs = [one for one in waiting if one.decision is Decision.OPT_OUT and one.channel is memory.channel]
    found = whose.verdicts(learning.with_events(memory, outs))
    return [one for one in outs if found.get(key_of(one)) is Verdict.PERSON]


def tell_heir(
    profile_id: str,
    at: datetime,
    tenant: Tenant,
    services: "Services",
    *,
    channel: Channel = Channel.EMAIL,
    traceparent: str = "",
) -> None:
    """Queue an opt-out of that time for the Omneo profile. Raises QueueUnavailableError: nothing was queued."""
    job = PullOptOut(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        profile_id=profile_id,
        channel=channel,
        at=at,
        is_anothers=True,
        traceparent=traceparent,
    )
    services.queue.put(job, tenant)


def share_number(number: str, holder: str, sharer: Sharer, tenant: Tenant, services: "Services") -> None:
    """Remember which phone number of the Omneo profile Klaviyo has with somebody else, the Omneo profile `holder`; "" where there is none.

    Raises:
        QueueUnavailableError: an opt-out of that number was not queued for the profile.
    """
    if tenant.ledger_key is None:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
    mark = mark_of_number(tenant, number) if number else ""
    if FormerNumbers.of(services).note_shared(tenant.name, mark, sharer):
        _tell_known(Channel.SMS, holder, sharer, tenant, services)


def share_email(klaviyo_id: str, holder: str, sharer: Sharer, tenant: Tenant, services: "Services") -> None:
    """Do the same for an email that this Klaviyo profile has, "" where there is none."""
    if FormerIdentities.of(services).note_shared(tenant.name, klaviyo_id, sharer):
        _tell_known(Channel.EMAIL, holder, sharer, tenant, services)


def _tell_known(channel: Channel, holder: str, sharer: Sharer, tenant: Tenant, services: "Services") -> None:
    """Apply an opt-out that the holder of an address got before it was noted that another has the address too."""
    memory = ConsentMemories.of(services).find(tenant.name, holder)[channel] if holder else Memory(channel)
    outs = [one.at for one in whose.persons(memory) if one.decision is Decision.OPT_OUT]
    theirs = [at for at in outs if sharer.may_have_decided(at)]
    if theirs:
        tell_heir(sharer.profile_id, max(theirs), tenant, services, channel=channel)


def learn_of_number(
    number: str, klaviyo_id: str, profile_id: str, tenant: Tenant, services: "Services"
) -> None:
    """Remember the opt-outs under a phone number for the Omneo profile whose Klaviyo profile has got the number."""
    if tenant.ledger_key is None:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
    mark, notes = mark_of_number(tenant, number), FormerNumbers.of(services)
    if not notes.history(tenant.name, mark):
        return
    # Before the notes are read: an opt-out that is noted meanwhile is brought to this owner, or found here.
    notes.note_owner(tenant.name, mark, profile_id)
    moments = notes.history(tenant.name, mark).opt_outs_for(profile_id, klaviyo_id)
    if not moments:
        return

    def learned(memories: Memories) -> Memories:
        return {Channel.SMS: learning.with_opt_outs_at_her_address(memories[Channel.SMS], moments)}

    ConsentMemories.of(services).change(tenant.name, profile_id, learned)
