"""Inbound consent: one flush brings the waiting events of a Klaviyo profile's inbox to its Omneo profile.

Events that surely come from our own calls are remembered and closed before any outside call. For the others, Klaviyo is asked if an event
needs it, then Omneo's profile is read, and then its turn is taken: no outside call stands between the last read and the write. The result
of the events is remembered before anything is sent. So the next flush finishes one that died, and repeats at most the call whose answer was
not seen. A flush asks Klaviyo for no consent except for the master list: the look mends differences. At the end an opt-out from email is
passed on to the profile that has the email by now; what she decided never waits for that.

`rules/decisions.py` says what an event means; `rules/memory.py` and the modules that it names say what all events mean together.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from shared import logs
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.former_numbers import FormerNumbers, GivenUp, mark_of_number
from shared.consent.heirs import leave_at_number, tell_heir, tell_heirs, tell_sharers
from shared.consent.inbox import Entry, Inbox, event_of
from shared.consent.klaviyo_profile import ProfileReadOnce
from shared.consent.ledger import ensure_ledger_key
from shared.consent.looks import look_at, look_where_undone
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules import decisions, learning, numbers, whose
from shared.consent.rules.decisions import Decided
from shared.consent.rules.whose import Verdict
from shared.consent.to_omneo import ToOmneo, consent_turn, gone, is_fresh, read_last
from shared.consent_events import Channel, Decision
from shared.errors import DisconnectedError, ServiceError
from shared.jobs.jobs import FlushInbox, KeepMasterList
from shared.jobs.rules.windows import CLOCKS_APART, hashed
from shared.matching import Match, absorbed_identities_in, match_of, owner_of_email
from shared.services import Services
from shared.storage.leases import Lease
from shared.tenants.tenants import Tenant
from shared.values.omneo_ids import read_omneo_id
from shared.values.phones import e164, phone_of, region_of

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile
    from shared.omneo.client import Profile

Trouble: TypeAlias = ServiceError | DisconnectedError


def flush(job: FlushInbox, tenant: Tenant, services: Services) -> None:
    """Bring every open entry of the Klaviyo profile to Omneo.

    Raises:
        ServiceError, DisconnectedError: a service is missing; what does not need it was done, and the rest waits. If Omneo refuses the
        consent itself, the entries stay open for a replay.
    """
    opened_at = services.clock()
    entries, waits = _without_our_landings(_open(job, tenant, services), job.profile, tenant, services)
    if not (entries or waits):
        return
    look = ProfileReadOnce(job.profile, tenant, services)
    ready = _Ready.of(entries, look)
    read_at = services.clock()
    match = _match(tenant, services, look)
    if match is None:
        tell_heirs(ready.outs(Channel.EMAIL), look.id, tenant, services, traceparent=job.traceparent)
        _leave_of_nobody(ready.outs(Channel.SMS), look, tenant, services)
        _skip(entries, tenant, services)
        return
    profile = match.profile
    ready = _told_apart(ready, profile, look, tenant, services)
    # Other Klaviyo profiles may lead to the same Omneo profile.
    with consent_turn(profile.id, tenant, services) as turn:
        # Whoever had the turn since the entries were read may have closed them: an interaction is added once.
        if not is_fresh(read_at, services.clock()) or _has_been_held(turn, since=opened_at):
            ready = _Ready.of(_open(job, tenant, services), look)
            ready = _told_apart(ready, profile, look, tenant, services)
            profile, read_at = _again(profile, tenant, services)
        if match.is_by_email:
            texts, ready = ready.outs(Channel.SMS), _of_her_number(ready, profile, look, tenant)
            if not ready.outs(Channel.SMS):
                _leave_of_nobody(texts, look, tenant, services)
        _bring(ready, ToOmneo(tenant, profile, read_at, services, job.traceparent), look)
    if ready.missing is not None:
        raise ready.missing


def _open(job: FlushInbox, tenant: Tenant, services: Services) -> list[Entry]:
    return Inbox.of(services).open_of(tenant.name, job.profile)


@dataclass(frozen=True)
class _Ready:
    """The entries that can be decided now, each with its result, and Klaviyo's refusal if others must wait.

    An opt-out needs no data from Klaviyo, and does not wait while Klaviyo is down. `anothers` are the opt-ins, by id
    and topic, for an address that another profile has now.
    """

    decided: Sequence[tuple[Entry, Decided]]
    missing: Trouble | None = None
    anothers: frozenset[tuple[str, str]] = frozenset()

    def outs(self, channel: Channel) -> list[Decided]:
        """Return the opt-outs on a channel."""
        made = [one for _, one in self.decided if one.decision is Decision.OPT_OUT]
        return [one for one in made if one.channel is channel]

    def ins(self, channel: Channel) -> list[Decided]:
        """Return the opt-ins on a channel."""
        made = [one for _, one in self.decided if one.decision is Decision.OPT_IN]
        return [one for one in made if one.channel is channel]

    def without_opt_ins(self, missing: Trouble) -> "_Ready":
        """Return the entries without the opt-ins, which wait for a service."""
        left = [(entry, one) for entry, one in self.decided if one.decision is not Decision.OPT_IN]
        return replace(self, decided=left, missing=self.missing or missing)

    @property
    def of_person(self) -> list[Decided]:
        """The decisions to remember.

        An opt-in for another person's address counts like a landing of ours, and is undone like one.
        """
        made = [one for _, one in self.decided if one.decision is not Decision.NONE]
        return [replace(one, mark="omneo") if self.is_told_apart(one) else one for one in made]

    def is_told_apart(self, one: Decided) -> bool:
        """Return whether it is an opt-in for an address that another profile has now."""
        return (one.id, one.topic) in self.anothers

    @classmethod
    def of(cls, entries: Iterable[Entry], look: ProfileReadOnce) -> "_Ready":
        decided: list[tuple[Entry, Decided]] = []
        missing: Trouble | None = None
        for entry in entries:
            event = event_of(entry)
            try:
                email = look.email if missing is None and decisions.needs_klaviyo(event) else None
            except (ServiceError, DisconnectedError) as error:
                missing = error
            if missing is None or not decisions.needs_klaviyo(event):
                decided.append((entry, decisions.decide(event, email)))
        return cls(decided, missing)


def _without_our_landings(
    entries: list[Entry], klaviyo_id: str, tenant: Tenant, services: Services
) -> tuple[list[Entry], bool]:
    """Close the entries that are the landings of our own calls, as is known without a look at anybody; return the others.

    And whether an event was taken for one before, and is known for a person's by now: its entry is closed, and Omneo has not been told.
    """
    store = ConsentMemories.of(services)
    profile_id = store.profile_asked_about(tenant.name, klaviyo_id)
    if not profile_id:
        return entries, False
    landings = [one for entry in entries if (one := decisions.landing_of(event_of(entry))) is not None]

    def landed(memories: Memories) -> Memories:
        return {channel: learning.with_our_landings(memory, landings) for channel, memory in memories.items()}

    memories = store.change(tenant.name, profile_id, landed)
    ours = {
        key
        for memory in memories.values()
        for key, verdict in whose.verdicts(memory).items()
        if verdict is Verdict.OURS
    }
    left = [entry for entry in entries if (entry.event_id, entry.topic) not in ours]
    if len(left) < len(entries):
        look_where_undone(memories, profile_id, tenant, services)
        logs.note(decisions={Verdict.OURS.value: len(entries) - len(left)})
    for entry in entries:
        if entry not in left:
            Inbox.of(services).close(tenant.name, entry)
    return left, any(whose.untold(memory) for memory in memories.values())


def _match(tenant: Tenant, services: Services, look: ProfileReadOnce) -> "Match[Profile] | None":
    def shown() -> "KlaviyoProfile | None":
        # The one into which it was merged may be another person's.
        return None if _is_former(look, tenant, services) else look.profile

    found = match_of(
        look.id, handle=tenant.settings.identity_handle, omneo=services.omneo(tenant), klaviyo=shown
    )
    if found is not None or shown() is not None:
        return found
    id = FormerIdentities.of(services).profile_of(tenant.name, look.id)
    former = services.omneo(tenant).profile(id) if id else None
    return Match(former) if former is not None and former.lives else None


def _is_former(look: ProfileReadOnce, tenant: Tenant, services: Services) -> bool:
    """Return whether Klaviyo shows the profile no longer under its id, and it is known whose it was."""
    is_itself = look.profile is not None and look.profile.id == look.id
    return not is_itself and bool(FormerIdentities.of(services).profile_of(tenant.name, look.id))


def _of_her_number(ready: _Ready, profile: "Profile", look: ProfileReadOnce, tenant: Tenant) -> _Ready:
    """Return the results of a Klaviyo profile's entries for an Omneo profile that was found by the email, and may be another person."""
    held = look.profile
    if held is None or not any(numbers.is_of_a_number(one) for _, one in ready.decided):
        return ready
    number, in_klaviyo = _number_of(profile, tenant), e164(held.phone_number, _region(tenant)) or ""
    # It names none, or another: by her own id she would have been found.
    names_another = bool(read_omneo_id(held.external_id))
    decided = [
        (
            entry,
            numbers.without_decision_of_another_number(
                one, in_klaviyo=in_klaviyo, in_omneo=number, names_another=names_another
            ),
        )
        for entry, one in ready.decided
    ]
    return replace(ready, decided=decided)


def _told_apart(
    ready: _Ready, profile: "Profile", look: ProfileReadOnce, tenant: Tenant, services: Services
) -> _Ready:
    """Return the entries with the opt-ins that are another's. While a service cannot tell which are, all opt-ins wait, and no opt-out does."""
    try:
        return replace(ready, anothers=_anothers(ready, profile, look, tenant, services))
    except (ServiceError, DisconnectedError) as error:
        return ready.without_opt_ins(error)


def _anothers(
    ready: _Ready, profile: "Profile", look: ProfileReadOnce, tenant: Tenant, services: Services
) -> frozenset[tuple[str, str]]:
    """Return the opt-ins for an address that is another's in Omneo by now, and that Klaviyo has or had with this profile; and those of
    somebody else whose Klaviyo profile it was then.

    Raises:
        ServiceError, DisconnectedError: what Klaviyo or Omneo answered.
    """
    emails, texts = ready.ins(Channel.EMAIL), ready.ins(Channel.SMS)
    opt_ins = [*emails, *texts]
    if not opt_ins:
        return frozenset()
    heirs = [
        heir
        for heir in FormerIdentities.of(services).heirs_of(tenant.name, look.id)
        if heir.profile_id.casefold() != profile.id.casefold()
    ]
    if _is_still_of_a_merged(profile, look, tenant):
        found = [*opt_ins]
    elif emails and _whose_address(profile, look, tenant, services):
        found = [*emails]
    else:
        found = []
    found += [one for one in emails if any(heir.may_have_decided(one.at) for heir in heirs)]
    found += [one for one in opt_ins if any(heir.had_all and heir.may_have_decided(one.at) for heir in heirs)]
    found += _at_former_number(texts, profile, look, tenant, services)
    return frozenset((one.id, one.topic) for one in found)


def _is_still_of_a_merged(profile: "Profile", look: ProfileReadOnce, tenant: Tenant) -> bool:
    """Return whether Klaviyo's profile still names a person who was merged into this one in Omneo."""
    if look.id not in absorbed_identities_in(profile.identities, tenant.settings.identity_handle):
        return False
    held = look.profile
    named = read_omneo_id(held.external_id) if held is not None and held.id == look.id else ""
    return bool(named) and named.casefold() != profile.id.casefold()


def _at_former_number(
    opt_ins: Sequence[Decided], profile: "Profile", look: ProfileReadOnce, tenant: Tenant, services: Services
) -> Sequence[Decided]:
    """Return the SMS opt-ins at a number that our last sync left in Klaviyo, and that the Omneo profile no longer has.

    They are not for the number that Omneo shows. A number that the person has given to Klaviyo since then is not a
    former one.
    """
    number = _number_of(profile, tenant)
    if not opt_ins or number is None:
        return []
    left = ConsentMemories.of(services).find(tenant.name, profile.id)[Channel.SMS].mailed
    tenant = ensure_ledger_key(services.tenants, tenant.name)
    if left and left != mark_of_number(tenant, number):
        shown = look.profile.phone_number if look.profile is not None else ""
        if not shown or mark_of_number(tenant, shown) == left:
            return opt_ins
    notes = FormerNumbers.of(services).given_up_by(tenant.name, look.id)
    return [one for one in opt_ins if any(note.may_be_of_next(one.at) for note in notes)]


def _number_of(profile: "Profile", tenant: Tenant) -> str | None:
    return phone_of(profile.model_dump(), _region(tenant))


def _region(tenant: Tenant) -> str:
    country = tenant.klaviyo.account_country if tenant.klaviyo else ""
    return region_of(tenant.settings.default_region, country)


def _whose_address(profile: "Profile", look: ProfileReadOnce, tenant: Tenant, services: Services) -> str:
    """Return the other Omneo profile that now has the email of this Klaviyo profile, "" if there is none."""
    held = look.profile
    if held is None or not held.email or held.email.casefold() == (profile.email or "").casefold():
        return ""
    heir = owner_of_email(held.email, services.omneo(tenant))
    is_anothers = heir is not None and heir.lives and heir.id.casefold() != profile.id.casefold()
    return heir.id if heir and is_anothers else ""


def _tell_whose_address(outs: Sequence[Decided], way: ToOmneo, look: ProfileReadOnce) -> None:
    """Apply email opt-outs also to the present owner of the email that Klaviyo still has on this profile: nothing shows
    whose opt-outs they were.

    Klaviyo is not read if Omneo shows the email that the last sync left there.

    Raises:
        ServiceError: Klaviyo or Omneo refused or did not answer.
    """
    left = way.memories[Channel.EMAIL].mailed
    theirs = [one.at for one in outs if not left or one.address != left]
    if not theirs or (left and way.address(Channel.EMAIL) == left):
        return
    with suppress(DisconnectedError):  # the person's own opt-out is not kept waiting for a new connection
        if heir := _whose_address(way.profile, look, way.tenant, way.services):
            tell_heir(heir, max(theirs), way.tenant, way.services, traceparent=way.traceparent)


def _skip(entries: Sequence[Entry], tenant: Tenant, services: Services) -> None:
    for entry in entries:
        Inbox.of(services).close(tenant.name, entry)
    logs.write(logging.INFO, "consent events skipped, Omneo has no such profile", events=len(entries))


def _has_been_held(turn: Lease, since: datetime) -> bool:
    return turn.before is not None and turn.before >= since - CLOCKS_APART


def _again(profile: "Profile", tenant: Tenant, services: Services) -> "tuple[Profile, datetime]":
    """Read the profile again: somebody else may have changed it since it was read."""
    found, read_at = read_last(profile.id, tenant, services)
    if found is None:
        raise gone()
    return found, read_at


def _bring(ready: _Ready, way: ToOmneo, look: ProfileReadOnce) -> None:
    made = [
        replace(one, address=_address_after(one, way, look)) if one.decision is Decision.OPT_OUT else one
        for one in ready.of_person
    ]
    way.learn(
        lambda memory: learning.with_events(memory, [one for one in made if one.channel is memory.channel])
    )
    verdicts = {
        key: verdict for memory in way.memories.values() for key, verdict in whose.verdicts(memory).items()
    }
    outs = {channel: _persons_outs(ready, channel, verdicts, way) for channel in Channel}
    try:
        way.write()
    finally:  # also where Omneo refuses this person's
        _leave_to_heirs(outs, way, look)
    _keep_master_list([one for one in made if verdicts[one.id, one.topic] is Verdict.PERSON], way, look)
    way.look()
    is_to_be_looked_at = any(
        one.topic == decisions.LIFTED or ready.is_told_apart(one) for _, one in ready.decided
    )
    if way.tenant.klaviyo is not None and is_to_be_looked_at:
        look_at(way.tenant, way.profile.id, way.services.clock(), way.services, traceparent=way.traceparent)
    way.tell()
    _tell_whose_address(outs[Channel.EMAIL], way, look)
    _leave_at_shown_number(outs[Channel.SMS], way, look)
    topics: dict[tuple[str, datetime], str] = {}
    for entry, one in ready.decided:
        is_remembered = one.decision is not Decision.NONE and not ready.is_told_apart(one)
        # One act may have come under two topics.
        act = (decisions.canonical(one.topic), one.at)
        if not is_remembered and topics.setdefault(act, one.topic) == one.topic:
            way.add(event_of(entry), one.signal)
        Inbox.of(way.services).close(way.tenant.name, entry)
    logs.note(decisions=_counted(ready, verdicts))


def _address_after(out: Decided, way: ToOmneo, look: ProfileReadOnce) -> str:
    """Return the mark of the address that Omneo first showed after an opt-out; "" if a sync has seen it with another in between, who has
    given it back since.
    """
    address, services = way.address_after(out.channel, out.at), way.services
    notes: Sequence[Heir | GivenUp]
    if not address:
        return ""
    if out.channel is Channel.EMAIL:
        heirs = FormerIdentities.of(services).heirs_of(way.tenant.name, look.id)
        notes = [heir for heir in heirs if heir.address == address]
    else:
        given_up = FormerNumbers.of(services).given_up_by(way.tenant.name, look.id)
        notes = [note for note in given_up if note.number == address]
    return "" if any(note.since <= out.at <= note.until <= way.read_at for note in notes) else address


def _persons_outs(
    ready: _Ready, channel: Channel, verdicts: Mapping[tuple[str, str], Verdict], way: ToOmneo
) -> list[Decided]:
    """Return the opt-outs that are a person's, each with the address that Omneo first showed after it."""
    persons = [one for one in ready.outs(channel) if verdicts[one.id, one.topic] is Verdict.PERSON]
    return [replace(one, address=learning.address_at(way.memories[channel], one.at)) for one in persons]


def _leave_to_heirs(outs: Mapping[Channel, Sequence[Decided]], way: ToOmneo, look: ProfileReadOnce) -> None:
    """Let opt-outs hold for the next owners of addresses that the Klaviyo profile had then; no service is asked."""
    tell_heirs(
        outs[Channel.EMAIL],
        look.id,
        way.tenant,
        way.services,
        profile_id=way.profile.id,
        traceparent=way.traceparent,
    )
    texts, left = outs[Channel.SMS], way.memories[Channel.SMS].mailed
    if texts and (number := left or way.address(Channel.SMS)):
        _share(number, texts, way)
    for note in FormerNumbers.of(way.services).given_up_by(way.tenant.name, look.id) if texts else ():
        _share(note.number, [one for one in texts if one.at <= note.until], way)
        _leave(note.number, [one for one in texts if note.may_be_of_next(one.at, one.address)], way, look)
    if texts and left and way.address(Channel.SMS) != left:
        _leave(left, [one for one in texts if one.address != left], way, look)


def _share(number: str, outs: Iterable[Decided], way: ToOmneo) -> None:
    moments, id = [one.at for one in outs], way.profile.id
    tell_sharers(moments, number, way.tenant, way.services, profile_id=id, traceparent=way.traceparent)


def _leave_at_shown_number(outs: Sequence[Decided], way: ToOmneo, look: ProfileReadOnce) -> None:
    """Note opt-outs under the number that Klaviyo shows with the profile, if no sync of ours has left one there, and Omneo shows another.

    Raises:
        ServiceError: Klaviyo refused or did not answer.
    """
    if not outs or way.memories[Channel.SMS].mailed:
        return
    with suppress(DisconnectedError):  # the person's own opt-out is not kept waiting for a new connection
        if look.profile is not None and look.profile.phone_number:
            number = mark_of_number(way.with_ledger_key(), look.profile.phone_number)
            if number != way.address(Channel.SMS):
                _leave(number, [one for one in outs if one.address != number], way, look)


def _leave(number: str, outs: Iterable[Decided], way: ToOmneo, look: ProfileReadOnce) -> None:
    moments = [one.at for one in outs]
    leave_at_number(
        moments,
        number,
        look.id,
        way.tenant,
        way.services,
        profile_id=way.profile.id,
        traceparent=way.traceparent,
    )


def _leave_of_nobody(
    outs: Sequence[Decided], look: ProfileReadOnce, tenant: Tenant, services: Services
) -> None:
    """Note the opt-outs of a Klaviyo profile that is nobody's in Omneo under the numbers that it has, or had then."""
    if not outs:
        return
    for note in FormerNumbers.of(services).given_up_by(tenant.name, look.id):
        moments = [one.at for one in outs if note.may_be_of_next(one.at)]
        leave_at_number(moments, note.number, look.id, tenant, services)
    if look.profile is not None and look.profile.phone_number:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
        number = mark_of_number(tenant, look.profile.phone_number)
        leave_at_number([one.at for one in outs], number, look.id, tenant, services)
        tell_sharers([one.at for one in outs], number, tenant, services)


def _counted(ready: _Ready, verdicts: Mapping[tuple[str, str], Verdict]) -> dict[str, int]:
    """Return how often each thing came of an event, for the log."""
    words = Counter[str]()
    for _, one in ready.decided:
        verdict = verdicts.get((one.id, one.topic), Verdict.PERSON)
        words[one.decision.value if verdict is Verdict.PERSON else verdict.value] += 1
    return dict(words)


def _keep_master_list(persons: Iterable[Decided], way: ToOmneo, look: ProfileReadOnce) -> None:
    """Have the master list looked after, if an opt-in leaves the profile subscribed to email."""
    tenant, services = way.tenant, way.services
    opt_in = any(one.decision is Decision.OPT_IN and one.channel is Channel.EMAIL for one in persons)
    if not (
        opt_in
        and tenant.settings.master_list_id
        and decisions.is_subscribed(way.comms, Channel.EMAIL)
        and tenant.klaviyo is not None
    ):
        return
    job = KeepMasterList(
        tenant=tenant.name,
        # One id for all that look after this profile: given up several times over, they are one dead job.
        id=hashed("master list", tenant.name, look.id)[:32],
        accepted_at=services.clock(),
        profile=look.id,
        omneo_profile_id=way.profile.id,
        traceparent=way.traceparent,
    )
    services.queue.put(job, tenant)
