"""Asking Klaviyo for a consent: the call is remembered before it is made, and looked after when it must have landed.

Right before the call the memory and the inbox are read once more: no subscribe is sent after Klaviyo has told us of a newer opt-out. The
caller decides which consent to ask for, and makes the call itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from shared.consent.former_numbers import FormerNumbers
from shared.consent.inbox import Inbox
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules import calls, memory
from shared.consent.rules.decisions import row_of
from shared.consent.rules.memory import Call
from shared.consent_events import Channel, Consent, Decision, Direction
from shared.services import Services
from shared.tenants.tenants import Tenant

Still: TypeAlias = Callable[[memory.Memory], memory.Memory | None]


@dataclass(frozen=True)
class AskedConsent:
    """A consent that Klaviyo is to be asked for: of which Omneo and which Klaviyo profile, which way, and for the decision of which time.

    `suppresses` is a suppression instead of an unsubscribe.
    """

    profile_id: str
    klaviyo_id: str
    consent: Consent
    direction: Direction
    decided_at: datetime | None
    suppresses: bool = False


@dataclass(frozen=True)
class Asking:
    """Remembers the calls of a tenant."""

    tenant: Tenant
    services: Services

    def begin(self, asked: AskedConsent, still: Still = lambda memory: memory) -> bool:
        """Remember a call that is about to be made; return whether it is still to be made.

        `still` is given what is remembered of the channel at this moment, and returns that, or with what else it knows; None if the call
        is not to be made any more.
        """
        if asked.direction == "in" and self._is_taken_back(asked):
            return False
        begun: list[bool] = []

        def with_call(memories: Memories) -> Memories:
            channel, now = asked.consent.channel, self.services.clock()
            memory = still(memories[channel])
            begun[:] = [memory is not None]
            if memory is None:
                return {}
            call = Call(
                asked.consent,
                asked.direction,
                asked.klaviyo_id,
                asked.decided_at,
                asked_at=now,
                last_at=now,
                suppresses=asked.suppresses,
            )
            return {channel: calls.with_call(memory, call)}

        self._store.change(self.tenant.name, asked.profile_id, with_call)
        return begun[0]

    def accepted(self, asked: AskedConsent) -> None:
        """Remember that Klaviyo has accepted the call."""
        self._change(asked, calls.accepted)

    def refused(self, asked: AskedConsent) -> None:
        """Remember that Klaviyo has refused the call for good, which then has no effect."""
        self._change(asked, calls.refused)

    def is_landing(self, klaviyo_id: str) -> bool:
        """Return whether Klaviyo may still carry out a call about this Klaviyo profile, whichever Omneo profile it was made for."""
        id = self._store.profile_asked_about(self.tenant.name, klaviyo_id)
        memories = self._store.find(self.tenant.name, id).values() if id else ()
        return any(calls.is_being_carried_out(memory, self.services.clock()) for memory in memories)

    def _change(
        self, asked: AskedConsent, edit: Callable[[memory.Memory, Consent, Direction, str], memory.Memory]
    ) -> None:
        def edited(memories: Memories) -> Memories:
            channel = asked.consent.channel
            return {channel: edit(memories[channel], asked.consent, asked.direction, asked.klaviyo_id)}

        self._store.change(self.tenant.name, asked.profile_id, edited)

    def _is_taken_back(self, asked: AskedConsent) -> bool:
        """Return whether an opt-out that is no older waits in the inbox, of this Klaviyo profile or one that the person had before."""
        memory = self._store.find(self.tenant.name, asked.profile_id)[asked.consent.channel]
        known = {event.profile for event in memory.events} | {call.profile for call in memory.calls}
        outs = [at for id in {*known, asked.klaviyo_id} if id for at in self._waiting(id, asked)]
        if memory.mailed and asked.consent.channel is Channel.SMS:
            outs += self._at_her_number(memory.mailed, asked)
        return any(asked.decided_at is None or at >= asked.decided_at for at in outs)

    def _waiting(self, klaviyo_id: str, asked: AskedConsent) -> list[datetime]:
        """Return the opt-outs that wait in the inbox of a Klaviyo profile."""
        entries = Inbox.of(self.services).open_of(self.tenant.name, klaviyo_id)
        rows = [(entry.at, row_of(entry.topic)) for entry in entries]
        return [
            at
            for at, row in rows
            if row.decision is Decision.OPT_OUT and row.channel is asked.consent.channel
        ]

    def _at_her_number(self, number: str, asked: AskedConsent) -> list[datetime]:
        """Return the opt-outs from the person's phone number that are noted, or wait in the inbox of the profile that had it before."""
        history = FormerNumbers.of(self.services).history(self.tenant.name, number)
        waiting = [
            at
            for former in history.former(asked.klaviyo_id)
            for at in self._waiting(former.klaviyo_id, asked)
            if former.may_be_of_next(at)
        ]
        return [*history.opt_outs_for(asked.profile_id, asked.klaviyo_id), *waiting]

    @property
    def _store(self) -> ConsentMemories:
        return ConsentMemories.of(self.services)
