"""Inbound consent: one flush brings what waits in a Klaviyo profile's inbox to its Omneo profile.

Read the Omneo profile once, decide on each event, write one comms update, then one interaction an event. Decisions are kept in the
entries before anything is sent, so a flush that dies is finished by the next and repeats at most the call whose answer it did not see.
What an event means stands in `rules/decisions.py`.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared import logs
from shared.consent.echo_notes import EchoNotes
from shared.consent.echoes import Notes, doubtful, is_echo
from shared.consent.inbox import Inbox
from shared.consent.interactions import add_interaction
from shared.consent.klaviyo_profile import ProfileReadOnce
from shared.consent.ledger import ConsentLedger, ConsentRecord, ensure_ledger_key
from shared.consent.remembered import decided_of, event_of, foreign_stamps
from shared.consent.rules import decisions as consent
from shared.consent.rules.decisions import Decided
from shared.consent_events import Channel, Decision, SystemEvent
from shared.errors import DisconnectedError, NotFoundError, RefusedError, ServiceError, WaitError
from shared.jobs.jobs import AddInteraction, FlushInbox, KeepMasterList
from shared.jobs.rules.windows import CLOCKS_APART, hashed
from shared.matching import omneo_profile_of
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.consent.inbox import Entry
    from shared.omneo.client import Profile

TURN = timedelta(minutes=5)  # as long as a worker may run
TRACE = timedelta(minutes=1)  # how long a turn that is over is remembered
_SECONDS = 3.0
# What is dropped without a word to Omneo.
_SILENT = frozenset({Decision.ECHO, Decision.TWIN})


def flush(job: FlushInbox, tenant: Tenant, services: Services) -> None:
    """Bring every open entry of the Klaviyo profile to Omneo.

    Raises:
        ServiceError, DisconnectedError: a service is missing; what does not need it was done, and the rest waits. Where Omneo refuses
            the consent itself, the entries stay open for a replay.
    """
    read_at = services.clock()
    entries = Inbox.of(services).open_of(tenant.name, job.profile)
    if not entries:
        return
    look = ProfileReadOnce(job.profile, tenant, services)
    profile = omneo_profile_of(
        job.profile,
        handle=tenant.settings.identity_handle,
        omneo=services.omneo(tenant),
        klaviyo=lambda: look.profile,
    )
    if profile is None:
        _skip(entries, tenant, services)
        return
    # Two at once on one profile could let the older decision be the last; other Klaviyo profiles may lead to it as well.
    turn = services.leases.acquire(f"consent {tenant.name} {profile.id}", lasting=TURN)
    if turn is None:
        raise WaitError("another flush is at the profile", service="The extension", retry_after=_SECONDS)
    try:
        if turn.before is not None and turn.before >= read_at - CLOCKS_APART:
            profile = _again(profile, tenant, services)
            entries = Inbox.of(services).open_of(tenant.name, job.profile)
        _Flush(tenant, profile, tuple(entries), look, services, job.traceparent).run()
    finally:
        services.leases.release(turn, trace=TRACE)


def _skip(entries: Iterable["Entry"], tenant: Tenant, services: Services) -> None:
    count = 0
    for entry in entries:
        Inbox.of(services).update(
            tenant.name, entry, decision=Decision.UNKNOWN_PROFILE, stage="done", open=False
        )
        count += 1
    logs.write(logging.INFO, "consent events skipped, Omneo has no such profile", events=count)


def _again(profile: "Profile", tenant: Tenant, services: Services) -> "Profile":
    """Read the profile again: somebody else may have changed it since it was read."""
    found = services.omneo(tenant).profile(profile.id)
    if found is None:
        raise _gone()
    return found


def _gone() -> WaitError:
    return WaitError("the profile has just gone", service="Omneo", retry_after=_SECONDS)


@dataclass(frozen=True)
class _Flush:
    """One flush of one Klaviyo profile, its Omneo profile found and its turn taken."""

    tenant: Tenant
    profile: "Profile"
    entries: tuple["Entry", ...]
    look: ProfileReadOnce
    services: Services
    traceparent: str

    def run(self) -> None:
        # Through whichever Klaviyo profile they came: what was decided for the Omneo profile before.
        remembered = Inbox.of(self.services).of_omneo(self.tenant.name, self.profile.id)
        reopened = self._reopened(remembered)
        ids = {entry.id for entry in reopened}
        before = [entry for entry in remembered if entry.decision and entry.id not in ids]
        waiting = sorted((*self.entries, *reopened), key=lambda entry: (entry.at, entry.event_id))
        foreign = foreign_stamps(self.profile.comms, before)
        ready, missing = self._ready(waiting)
        entries = self._decide(ready, before, foreign)
        changes = self._changes({entry.id: entry for entry in (*before, *entries)}.values(), foreign)
        self._write(changes)
        self._keep_master_list(entries, {**self.profile.comms, **changes})
        for entry in entries:
            self._finish(entry)
        logs.note(decisions=dict(Counter(entry.decision for entry in entries)))
        if missing is not None:
            raise missing

    @cached_property
    def _notes(self) -> Notes:
        return EchoNotes.of(self.services).notes_of(self.tenant.name, self.look.id)

    def _reopened(self, remembered: Iterable["Entry"]) -> list["Entry"]:
        """Open the entries again that were taken for echoes and, with what has come since, may be none."""
        new = [entry for entry in self.entries if not entry.decision]
        if not any(entry.decision == Decision.ECHO for entry in remembered):
            return []  # as nearly always: the notes need not be read for this
        return [
            Inbox.of(self.services).update(self.tenant.name, entry, decision="", stage="new", open=True)
            for entry in doubtful(remembered, new, self._notes)
        ]

    def _changes(self, entries: Iterable["Entry"], foreign: consent.Stamps) -> dict[str, Any]:
        known = {decided_of(entry): entry.stage for entry in entries}
        done = {event.id for event, stage in known.items() if stage == "done"}
        return consent.merge(known, self.profile.comms, foreign, done=done)

    def _ready(
        self, waiting: Iterable["Entry"]
    ) -> tuple[list["Entry"], ServiceError | DisconnectedError | None]:
        """Return the entries that can be decided now, and what Klaviyo said if the others must wait.

        An opt-out needs nothing of Klaviyo's, and is not kept waiting because Klaviyo is down.
        """
        asking = [entry for entry in waiting if not entry.decision and consent.needs_klaviyo(event_of(entry))]
        if asking:
            try:
                _ = self.look.email
            except (ServiceError, DisconnectedError) as error:
                return [entry for entry in waiting if entry not in asking], error
        return list(waiting), None

    def _decide(
        self, ready: Iterable["Entry"], before: Iterable["Entry"], foreign: consent.Stamps
    ) -> list["Entry"]:
        """Decide on what is not decided yet, and keep the decisions before any of them takes effect."""
        known = [decided_of(entry) for entry in before]
        decided, new = [], []
        for entry in ready:
            made = decided_of(entry) if entry.decision else self._decision(event_of(entry), known)
            if not entry.decision:
                known.append(made)
                new.append(made)
            decided.append((entry, made))
        self._note_in_ledger(consent.moves(new, self.profile.comms, foreign, before=map(decided_of, before)))
        return [self._kept(entry, made, foreign) for entry, made in decided]

    def _decision(self, event: SystemEvent, known: Iterable[Decided]) -> Decided:
        klaviyo = self.look.email if consent.needs_klaviyo(event) else None
        if consent.is_marked(event, klaviyo) or is_echo(event, self._notes, known):
            return consent.without_effect(event, Decision.ECHO)
        # An echo is not counted: the other topic of its act is an echo itself, or another act.
        if consent.is_twin(event, (one for one in known if one.decision is not Decision.ECHO)):
            return consent.without_effect(event, Decision.TWIN)
        return consent.decide(event, klaviyo)

    def _kept(self, entry: "Entry", made: Decided, foreign: consent.Stamps) -> "Entry":
        silent = made.decision in _SILENT
        return Inbox.of(self.services).update(
            self.tenant.name,
            entry,
            omneo=self.profile.id,
            decision=made.decision,
            clears_bounce=made.clears_bounce,
            foreign_stamp=foreign.get(made.channel),
            stage="done" if silent else "decided",
            open=not silent,
        )

    def _note_in_ledger(self, moves: Collection[consent.Move]) -> None:
        if not moves:
            return
        tenant = self.tenant
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(self.services.tenants, tenant.name)
        for move in moves:
            record = ConsentRecord(
                at=move.event.at,
                channel=move.event.channel,
                before=move.before,
                after=move.after,
                source=f"klaviyo:{move.event.topic}",
                event_id=move.event.id,
            )
            ConsentLedger.of(self.services).record(tenant, self.profile.id, record)

    def _write(self, changes: Mapping[str, Any]) -> None:
        if not changes:
            return
        try:
            self.services.omneo(self.tenant).update_comms(self.profile.id, changes)
        except NotFoundError:
            raise _gone() from None

    def _keep_master_list(self, entries: Iterable["Entry"], comms: consent.Comms) -> None:
        """Have the master list looked after, if an opt-in leaves the profile subscribed to email."""
        opt_in = any(
            entry.decision == Decision.OPT_IN and decided_of(entry).channel is Channel.EMAIL
            for entry in entries
        )
        if not (
            opt_in
            and self.tenant.settings.master_list_id
            and consent.is_subscribed(comms, Channel.EMAIL)
            and self.tenant.klaviyo is not None
        ):
            return
        job = KeepMasterList(
            tenant=self.tenant.name,
            # One id for all that look after this profile: given up several times over, they are one dead job.
            id=hashed("master list", self.tenant.name, self.look.id)[:32],
            accepted_at=self.services.clock(),
            profile=self.look.id,
            traceparent=self.traceparent,
        )
        self.services.queue.put(job, self.tenant)

    def _finish(self, entry: "Entry") -> None:
        """Add the event's interaction, unless it is to make none, and close its entry."""
        if entry.decision in _SILENT:
            return
        event, signal = event_of(entry), decided_of(entry).signal
        try:
            add_interaction(event, signal, self.profile.id, self.tenant, self.services.omneo(self.tenant))
        except RefusedError:
            # One that Omneo will not have must not hold up the others: it becomes a job of its own, and dies with its reason.
            job = AddInteraction(
                tenant=self.tenant.name,
                id=entry.id,
                accepted_at=self.services.clock(),
                omneo_profile_id=self.profile.id,
                event=event,
                signal=signal,
                traceparent=self.traceparent,
            )
            self.services.queue.put(job, self.tenant)
        Inbox.of(self.services).update(self.tenant.name, entry, stage="done", open=False)
