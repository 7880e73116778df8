"""Bringing a remembered consent to Omneo: the ledger, one write, and an interaction for each event.

The caller holds the profile's turn, and its last outside call was the read of the profile: no outside call stands between that and the write.
`rules/results.py` decides what to write. The write is noted before anything else is tried.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.consent.former_numbers import mark_of_number
from shared.consent.interactions import add_interaction
from shared.consent.ledger import ConsentLedger, ConsentRecord, ensure_ledger_key
from shared.consent.looks import look_where_undone
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules import learning, results, whose
from shared.consent.rules.decisions import Decided, read_stamp, stamp_name, state_of
from shared.consent.rules.memory import CLOCKS_APART, Memory, key_of
from shared.consent.stamps_ahead import StampsAhead
from shared.consent_events import Channel, SystemEvent
from shared.errors import NotFoundError, RefusedError, TurnTakenError, WaitError
from shared.jobs.jobs import AddInteraction
from shared.jobs.rules.windows import hashed
from shared.services import Services
from shared.storage.leases import Lease, id_of
from shared.tenants.erasures import Identifier, mark_of
from shared.tenants.tenants import Tenant
from shared.values.phones import phone_of, region_of

if TYPE_CHECKING:
    from shared.omneo.client import Profile

TURN = timedelta(minutes=5)  # as long as a worker may run
TRACE = timedelta(minutes=1)  # how long a turn that is over is remembered
_SECONDS = 3.0
_FRESH = timedelta(seconds=2)
_MOST_READS = 3

Learn = Callable[[Memory], Memory]


@contextmanager
def consent_turn(profile_id: str, tenant: Tenant, services: Services) -> Iterator[Lease]:
    """Hold the turn to write the Omneo profile's consent: of two writers at once, the one with the older decision could
    be the last.

    Raises:
        TurnTakenError: somebody else has it.
    """
    name = f"consent {tenant.name} {profile_id}"
    turn = services.leases.acquire(name, lasting=TURN)
    if turn is None:
        raise TurnTakenError("another flush works on the profile", turn=id_of(name))
    try:
        yield turn
    finally:
        services.leases.release(turn, trace=TRACE)


def read_last(profile_id: str, tenant: Tenant, services: Services) -> "tuple[Profile | None, datetime]":
    """Return the profile, None if there is none, and when Omneo was asked for it.

    The write would overwrite a decision that was made while a slow answer was on its way, so a slow answer is asked for again.

    Raises:
        ServiceError: Omneo refused or did not answer.
    """
    omneo = services.omneo(tenant)
    for _ in range(_MOST_READS):
        read_at = services.clock()
        profile = omneo.profile(profile_id)
        if is_fresh(read_at, services.clock()):
            break
    return profile, read_at


def is_fresh(read_at: datetime, now: datetime) -> bool:
    """Return whether an answer to a question of that time still counts as Omneo's present state."""
    return now - read_at <= _FRESH


def gone() -> WaitError:
    """Return the error of a profile that was there a moment ago."""
    return WaitError("the profile has just gone", service="Omneo", retry_after=_SECONDS)


@dataclass
class ToOmneo:
    """One profile's way to what is remembered of it. `profile` is what Omneo showed when it was asked at `read_at`.

    `memories` is what is remembered, once `learn` was called; `comms` is what Omneo holds.
    """

    tenant: Tenant
    profile: "Profile"
    read_at: datetime
    services: Services
    traceparent: str = ""

    def __post_init__(self) -> None:
        self.comms: Mapping[str, Any] = self.profile.comms
        self.memories: Memories = {}
        self._store = ConsentMemories.of(self.services)

    def address_after(self, channel: Channel, at: datetime) -> str:
        """Return the mark of the address that Omneo showed, "" if there is none, or if the read may be older than that moment."""
        return "" if self.read_at < at + CLOCKS_APART else self.address(channel)

    def address(self, channel: Channel) -> str:
        """Return the mark of the email or phone number that Omneo showed, "" if there is none."""
        if channel is Channel.SMS:
            number = self.number
            return mark_of_number(self.with_ledger_key(), number) if number else ""
        return (
            mark_of(self.with_ledger_key(), Identifier.EMAIL, self.profile.email)
            if self.profile.email
            else ""
        )

    @property
    def number(self) -> str:
        """The phone number that Omneo showed, "" if there is none that can be read."""
        country = self.tenant.klaviyo.account_country if self.tenant.klaviyo else ""
        region = region_of(self.tenant.settings.default_region, country)
        return phone_of(self.profile.model_dump(), region) or ""

    def with_ledger_key(self) -> Tenant:
        """Return the tenant, which has a ledger key by now."""
        if self.tenant.ledger_key is None:
            self.tenant = ensure_ledger_key(self.services.tenants, self.tenant.name)
        return self.tenant

    def learn(self, learn: Learn) -> None:
        """Remember Omneo's fields and the result of `learn`, and note each decision in the ledger."""

        before = self._store.find(self.tenant.name, self.profile.id)
        ahead = StampsAhead.of(self.services).told(self.tenant, self.profile.id, self.comms, before)

        def learned(memories: Memories) -> Memories:
            known = learning.with_stamps_ahead(memories, ahead)
            return {
                channel: learn(learning.with_omneo(memory, self.comms, self.read_at))
                for channel, memory in known.items()
            }

        note_decisions(
            before,
            learned(before),
            self.comms,
            profile_id=self.profile.id,
            tenant=self.tenant,
            services=self.services,
        )
        self.memories = self._store.change(self.tenant.name, self.profile.id, learned)

    def write(self) -> None:
        """Write the fields that Omneo does not have yet.

        Raises:
            ServiceError: Omneo refused or did not answer.
        """
        by_channel = {
            channel: results.to_omneo(memory, self.comms) for channel, memory in self.memories.items()
        }
        changes = {name: value for fields in by_channel.values() for name, value in fields.items()}
        if changes:
            try:
                self.services.omneo(self.tenant).update_comms(self.profile.id, changes)
            except NotFoundError:
                raise gone() from None
        self.comms = {**self.comms, **changes}
        had = {(event.id, event.topic) for memory in self.memories.values() for event in memory.events}
        now = self.services.clock()

        def written(memory: Memory) -> Memory:
            # Of a channel of which nothing was written Omneo may show what is still to be understood.
            at = now if by_channel.get(memory.channel) else None
            return learning.written(memory, self.comms, had, at) if memory.events else memory

        self._change(written)

    def look(self) -> None:
        """Have both sides compared where an opt-in may have landed in Klaviyo after she opted out."""
        look_where_undone(
            self.memories, self.profile.id, self.tenant, self.services, traceparent=self.traceparent
        )

    def tell(self) -> None:
        """Add the interactions that are still to be made."""
        events = [event for memory in self.memories.values() for event in whose.untold(memory)]
        for event in sorted(events, key=lambda one: (one.at, one.id)):
            as_told = SystemEvent(id=event.id, topic=event.topic, profile=event.profile, at=event.at)
            self.add(as_told, event.signal)
            self._told(event)

    def add(self, event: SystemEvent, signal: int) -> None:
        """Add an event's interaction.

        If Omneo refuses one, it must not hold up the others: it becomes a separate job.
        """
        try:
            add_interaction(event, signal, self.profile.id, self.tenant, self.services.omneo(self.tenant))
        except RefusedError:
            job = AddInteraction(
                tenant=self.tenant.name,
                id=hashed("interaction", self.tenant.name, event.id, event.topic)[:32],
                accepted_at=self.services.clock(),
                omneo_profile_id=self.profile.id,
                event=event,
                signal=signal,
                traceparent=self.traceparent,
            )
            self.services.queue.put(job, self.tenant)

    def _told(self, event: Decided) -> None:
        self._change(
            lambda memory: learning.told(memory, event) if memory.channel is event.channel else memory
        )

    def _change(self, edit: Learn) -> None:
        def edited(memories: Memories) -> Memories:
            return {channel: edit(memory) for channel, memory in memories.items()}

        self.memories = self._store.change(self.tenant.name, self.profile.id, edited)


def note_decisions(
    before: Memories,
    after: Memories,
    comms: Mapping[str, Any],
    *,
    profile_id: str,
    tenant: Tenant,
    services: Services,
) -> None:
    """Record the decisions that are known since `before`: Omneo's own, and those of the events whose interaction is still to be made."""
    records = [
        record
        for channel in after
        for record in (
            *_of_omneo(before[channel], after[channel], comms),
            *_of_events(before[channel], after[channel], comms),
        )
    ]
    record_decisions(records, profile_id, tenant, services)


def record_decisions(
    records: Collection[ConsentRecord], profile_id: str, tenant: Tenant, services: Services
) -> None:
    """Record decisions about a profile in the tenant's ledger."""
    if not records:
        return
    if tenant.ledger_key is None:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
    for record in records:
        ConsentLedger.of(services).record(tenant, profile_id, record)


_STATES = {"in": "subscribed", "out": "unsubscribed", None: "unset"}


def _of_omneo(before: Memory, after: Memory, comms: Mapping[str, Any]) -> Iterator[ConsentRecord]:
    stamp = read_stamp(comms.get(stamp_name(after.channel)))
    seen_at = before.seen_at.isoformat() if before.seen_at else "ever"
    for direction, at in _decided_in_omneo(before, after):
        yield ConsentRecord(
            at=at,
            channel=after.channel,
            before=_STATES[before.seen.direction if before.seen else None],
            after=state_of(comms, after.channel),
            source="omneo",
            # Without a date it is the change of what was seen before: the same, however often it is noted.
            event_id=f"{after.channel} {direction} {at.isoformat() if at == stamp else f'since {seen_at}'}",
        )


def _decided_in_omneo(before: Memory, after: Memory) -> Iterator[tuple[str, datetime]]:
    """Yield the decisions in Omneo since `before`, with their times; an undated opt-in has the time when it was seen."""
    if after.omneo_in is not None and after.omneo_in != before.omneo_in:
        yield "in", after.omneo_in
    elif learning.is_opt_out_taken_back(before, after) and after.seen_at is not None:
        yield "in", after.seen_at
    if after.omneo_out is not None and after.omneo_out != before.omneo_out:
        yield "out", after.omneo_out


def _of_events(before: Memory, after: Memory, comms: Mapping[str, Any]) -> Iterator[ConsentRecord]:
    for move in results.moves(after, comms):
        is_pulled = learning.is_pulled(move.event)
        yield ConsentRecord(
            at=move.event.at,
            channel=Channel(after.channel),
            before=move.before,
            after=move.after,
            source="klaviyo:profile" if is_pulled else f"klaviyo:{move.event.topic}",
            event_id=_id_of(before, move.event),
        )


def _id_of(before: Memory, event: Decided) -> str:
    """Return the event's id; another, where Omneo was given the event before, has shown an opt-in since, and is to be given it again."""
    id = event.id.removeprefix(learning.PULLED)
    was_given = any(key_of(one) == key_of(event) and one.is_written for one in before.events)
    is_given_again = was_given and not event.is_written
    return f"{id} since {before.seen_at.isoformat()}" if is_given_again and before.seen_at else id
