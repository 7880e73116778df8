"""Omneo's consent and Klaviyo's side by side: which calls to make to Klaviyo and what to write to Omneo, one step for each consent, with
its reason.
Pure. Live sync, look, resync, reconcile and explain all use this module.

    consent_steps   the steps for both channels, and the memories with what the two sides have shown
    still_asked     the same question once more, of one consent, right before Klaviyo is asked

`memory.py` holds everything that is known beside the two states, `held.py` Klaviyo's state, and `step.py` the form of a step.

The newest decision counts, wherever it was made. A state in Klaviyo that comes from our own call is no decision. At the same second, and in every
doubt, the opt-out counts. Without a date an opt-in fills only NEVER_SUBSCRIBED, and an opt-out applies. A suppression by a person (the customer's
unsubscribe, or the merchant's hand) is an opt-out that a subscribe would lift; one for a bounce or a wrong address is none; a complaint of
spam is never lifted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.consent.rules.calls import last_call
from shared.consent.rules.decisions import direction_in, flag, read_stamp, stamp_name
from shared.consent.rules.held import Held, Subject, held_of, kind_of, with_klaviyo
from shared.consent.rules.learning import with_omneo
from shared.consent.rules.memory import CLOCKS_APART, LANDING, MAY_BE_OURS, Call, Memory, Word
from shared.consent.rules.results import is_complained, last_word
from shared.consent.rules.step import Outcome, Reason, Step
from shared.consent.rules.whose import our_landings, persons
from shared.consent_events import Channel, Consent, Decision

# A call that changes nothing is not made for ever. An unsubscribe may be tried again after so long, a subscribe for one decision may not.
_MOST_TIMES = 4
_REST = timedelta(hours=24)

Json = Any


@dataclass(frozen=True)
class ConsentRules:
    """The tenant's settings: the meaning of a consent that Omneo never recorded, and whether transactional SMS follows SMS marketing."""

    unset: Mapping[Channel, str]
    sms_transactional: bool = False


def consent_steps(
    memories: Mapping[Channel, Memory],
    comms: Mapping[str, Json],
    subjects: Mapping[Channel, Subject],
    *,
    rules: ConsentRules,
    read_at: datetime,
    now: datetime,
) -> tuple[dict[Channel, Memory], list[Step]]:
    """Return the memories with what both sides show, and the steps for email, SMS and, if the tenant wants it, transactional SMS.

    `comms` is Omneo's `attributes.comms`, as it was when Omneo was asked at `read_at`.

    https://docs.omneo.io/extensions/klaviyo/profile-sync, https://developers.klaviyo.com/en/reference/get_profile
    """
    known, steps = {}, []
    for channel in Channel:
        memory = with_klaviyo(with_omneo(memories[channel], comms, read_at), subjects[channel], now)
        known[channel] = memory
        step = step_of(memory, comms, subjects[channel], unset=rules.unset[channel], now=now)
        if step.outcome is Outcome.UNSUBSCRIBE and step.decided_at is None:
            step = replace(step, decided_at=now)  # an opt-out without a date, which applies from now on
        known[channel] = _applied(step, memory)
        if step.outcome is Outcome.UNSUBSCRIBE and step.opted_out_at is not None:
            pulled = replace(step, outcome=Outcome.PULL_OPT_OUT, reason=Reason.KLAVIYO_OPT_OUT_NEWER)
            steps.append(pulled)
            step = replace(step, opted_out_at=None)
        steps.append(step)
    if rules.sms_transactional:
        steps.append(_transactional(steps[-1], known[Channel.SMS], comms, subjects[Channel.SMS]))
    return known, steps


def still_asked(
    step: Step,
    memory: Memory,
    comms: Mapping[str, Json],
    subject: Subject,
    *,
    unset: str,
    read_at: datetime,
    now: datetime,
) -> Memory | None:
    """Return the memory with what both sides have shown, if a step is still to be taken with it; None if it is not."""
    memory = _applied(step, with_klaviyo(with_omneo(memory, comms, read_at), subject, now))
    if step.consent is Consent.SMS_TRANSACTIONAL:
        held = held_of(subject, Consent.SMS, now)
        word = _Sides(memory, comms, held, subject, unset, now).newest
        is_asked = step.outcome is not Outcome.SUBSCRIBE or word is None or word.direction == "in"
    else:
        is_asked = step_of(memory, comms, subject, unset=unset, now=now).outcome is step.outcome
    return memory if is_asked else None


def _applied(step: Step, memory: Memory) -> Memory:
    """Return the memory with an opt-out of Omneo's that had no date, and has that of the step by which it is applied."""
    undated = (Reason.OMNEO_OPT_OUT_UNDATED, Reason.OPT_OUT_OF_NEVER_SUBSCRIBED)
    if step.outcome is Outcome.UNSUBSCRIBE and step.reason in undated and memory.omneo_out is None:
        return replace(memory, omneo_out=step.decided_at)
    return memory


def step_of(
    memory: Memory, comms: Mapping[str, Json], subject: Subject, *, unset: str, now: datetime
) -> Step:
    """Return the step for the marketing consent of the memory's channel."""
    consent = Consent(memory.channel.value)
    if not subject.mailed:
        return Step(consent, Outcome.LEAVE, Reason.NO_IDENTIFIER)
    sides = _Sides(memory, comms, held_of(subject, consent, now), subject, unset, now)
    newest = sides.newest
    if newest is not None and newest.direction == "out":
        return _opted_out(sides, newest.at)
    return _opted_in(sides) if subject.address else Step(consent, Outcome.LEAVE, Reason.NO_IDENTIFIER)


@dataclass(frozen=True)
class _Sides:
    """One channel of one profile, from both sides."""

    memory: Memory
    comms: Mapping[str, Json]
    held: Held
    subject: Subject
    unset: str
    now: datetime

    @property
    def consent(self) -> Consent:
        return Consent(self.memory.channel.value)

    @property
    def omneo(self) -> Word | str:
        """Omneo's consent, "" if Omneo has none recorded."""
        direction = direction_in(self.comms, self.memory.channel)
        if direction is None:
            return "in" if self.unset == "subscribe" else ""
        return direction

    @property
    def decided_at(self) -> datetime | None:
        """The date of Omneo's consent, None if it has none."""
        memory, stamp = self.memory, self._stamp
        if self.omneo == "out":
            outs = [event.at for event in persons(memory) if event.decision is Decision.OPT_OUT]
            found = [at for at in (memory.omneo_out, stamp if stamp in outs else None) if at is not None]
            return max(found, default=None)
        ins = [event.at for event in persons(memory) if event.decision is Decision.OPT_IN]
        is_unset = direction_in(self.comms, memory.channel) is None
        return stamp if is_unset or stamp in (memory.omneo_in, *ins) else None

    @property
    def _stamp(self) -> datetime | None:
        stamp = read_stamp(self.comms.get(stamp_name(self.memory.channel)))
        return None if stamp is None or stamp == self.memory.ahead else stamp

    @property
    def newest(self) -> Word | None:
        """The newest decision of all that is known and shown. A decision without a date is older than all others; an opt-out without a
        date is newer.
        """
        words = [
            word for word in (last_word(self.memory), self._of_omneo, self._of_klaviyo) if word is not None
        ]
        return max(words, key=lambda word: (word.at, word.direction == "out"), default=None)

    @property
    def _of_omneo(self) -> Word | None:
        if self.omneo == "out":
            return Word("out", self.decided_at or self.now)
        return Word("in", self.decided_at) if self.omneo and self.decided_at else None

    @property
    def _of_klaviyo(self) -> Word | None:
        held = self.held
        if held.is_opted_out:
            if held.newest_at is not None and held.newest_at == self.memory.others_out:
                return None
            return Word("out", held.newest_at or self.now) if self.omneo else None
        if held.consent != "SUBSCRIBED" or held.changed_at is None or self.is_ours:
            return None
        return Word("in", held.changed_at)

    @property
    def is_ours(self) -> bool:
        """Whether Klaviyo's opt-in is, or may be, the landing of a call of ours, or has come with a profile that was merged into hers.

        For email, Klaviyo shows whose it is.
        """
        at = self.held.changed_at
        if self.held.is_marked or at is None:
            return self.held.is_marked
        if self.memory.may_be_merged(at):
            return True
        landings = our_landings(self.memory, "in")
        if any(abs(at - moment) <= CLOCKS_APART for moment in landings):
            return True
        return not self.held.shows_whose and any(
            call.may_have_landed(at, MAY_BE_OURS) for call in self.calls("in")
        )

    def calls(self, direction: str) -> list[Call]:
        """Return our calls in one direction."""
        return [
            call
            for call in self.memory.calls
            if (call.consent, call.direction) == (self.consent, direction)
            and call.profile in (self.subject.klaviyo_id, "")
        ]

    def under_way(self, direction: str) -> Call | None:
        """Return the last call in a direction that may still land."""
        found = [call for call in self.calls(direction) if call.is_under_way(self.now)]
        return found[-1] if found else None

    def step(
        self,
        outcome: Outcome,
        reason: Reason,
        opted_out_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Step:
        return Step(self.consent, outcome, reason, at or self.decided_at, opted_out_at)


def _opted_out(sides: _Sides, at: datetime) -> Step:
    """The last word is an opt-out of this time."""
    held = sides.held
    is_for_omneo = sides.omneo == "in"
    if held.is_opted_out and is_for_omneo and not sides.under_way("in"):
        return sides.step(Outcome.PULL_OPT_OUT, Reason.KLAVIYO_OPT_OUT_NEWER, at)
    pulled = at if is_for_omneo else None
    if held.consent == "UNSUBSCRIBED" and not sides.under_way("in"):
        return sides.step(Outcome.LEAVE, Reason.AGREED, pulled)
    if sides.omneo != "out":
        reason = Reason.OPT_OUT_UNDONE
    elif held.consent == "NEVER_SUBSCRIBED":
        reason = Reason.OPT_OUT_OF_NEVER_SUBSCRIBED
    else:
        reason = Reason.OMNEO_OPT_OUT_NEWER if sides.decided_at else Reason.OMNEO_OPT_OUT_UNDATED
    outcome = Outcome.LEAVE if _is_asked_out(sides, at) else Outcome.UNSUBSCRIBE
    if outcome is Outcome.LEAVE and pulled is not None:
        outcome = Outcome.PULL_OPT_OUT
    if outcome is Outcome.LEAVE:
        reason = Reason.ALREADY_ASKED
    return sides.step(outcome, reason, pulled, at if sides.decided_at or sides.omneo != "out" else None)


def _is_asked_out(sides: _Sides, at: datetime) -> bool:
    """Return whether an opt-out was asked for that no opt-in of ours can have followed, or asked for in vain too often."""
    outs, ins = sides.calls("out"), sides.calls("in")
    if not outs:
        return False
    last = outs[-1]
    if last.times >= _MOST_TIMES and last.decided_at in (at, None) and sides.now < last.last_at + _REST:
        return True
    is_under_way = last.is_accepted and last.landed_at is None and sides.now < last.last_at + LANDING
    is_for_this = last.decided_at is None or last.decided_at >= at
    return is_under_way and is_for_this and not any(call.last_at >= last.last_at for call in ins)


def _opted_in(sides: _Sides) -> Step:
    """The last word is an opt-in, or nobody has said a dated word."""
    held = sides.held
    if sides.omneo == "out":
        return sides.step(Outcome.LEAVE, Reason.KLAVIYO_OPT_IN_NEWER)
    if not sides.omneo:
        return sides.step(Outcome.LEAVE, Reason.NO_OPINION)
    reason = _why_subscribe(sides)
    if reason is None:
        known = held.consent in ("SUBSCRIBED", "NEVER_SUBSCRIBED")
        return sides.step(Outcome.LEAVE, Reason.AGREED if known else Reason.KLAVIYO_CONSENT_UNKNOWN)
    if held.is_complained or is_complained(sides.memory):
        return sides.step(Outcome.LEAVE, Reason.KLAVIYO_COMPLAINT)
    if flag(sides.comms.get(f"{sides.memory.channel}_bounced")):
        return sides.step(Outcome.LEAVE, Reason.BOUNCED)
    return _once(sides.step(Outcome.SUBSCRIBE, reason), sides.memory, sides.subject)


def _why_subscribe(sides: _Sides) -> Reason | None:
    held = sides.held
    # A merge may leave an older suppression beside a newer opt-in.
    if held.is_opted_out or (held.is_suppressed and sides.memory.merged_at is not None):
        return Reason.OMNEO_OPT_IN_NEWER
    if held.consent == "NEVER_SUBSCRIBED":
        return Reason.FILLS_NEVER_SUBSCRIBED
    undoing = sides.under_way("out")
    if held.consent == "SUBSCRIBED" and undoing is not None and sides.decided_at is not None:
        asked_since = any(call.last_at >= undoing.last_at for call in sides.calls("in"))
        return None if asked_since else Reason.OMNEO_OPT_IN_NEWER
    return None


def _once(step: Step, memory: Memory, subject: Subject) -> Step:
    """Return the step, without a subscribe that was asked for before: double opt-in would mail again at every sync."""
    asked = last_call(memory, step.consent, "in", subject.klaviyo_id)
    if asked is None or not asked.is_accepted or asked.decided_at != step.decided_at:
        return step
    if memory.merged_at is not None and asked.last_at <= memory.merged_at and asked.times < _MOST_TIMES:
        return step  # what came of it has been merged with another profile's consent
    return replace(step, outcome=Outcome.LEAVE, reason=Reason.ALREADY_ASKED)


def _transactional(sms: Step, memory: Memory, comms: Mapping[str, Json], subject: Subject) -> Step:
    """Transactional SMS goes with SMS marketing where Klaviyo has never heard of it, and ends with `sms_optout`.

    As for marketing, an opt-out is about the number that Klaviyo has, whatever has become of Omneo's.
    """
    consent = Consent.SMS_TRANSACTIONAL
    if not subject.mailed:
        return Step(consent, Outcome.LEAVE, Reason.NO_IDENTIFIER)
    held = str(kind_of(subject, consent).get("consent") or "NEVER_SUBSCRIBED")
    marketing = str(kind_of(subject, Consent.SMS).get("consent") or "")
    if flag(comms.get("sms_optout")):
        outcome = Outcome.UNSUBSCRIBE if held == "SUBSCRIBED" else Outcome.LEAVE
        return Step(consent, outcome, Reason.SMS_OPTED_OUT, sms.decided_at)
    if not subject.address:
        return Step(consent, Outcome.LEAVE, Reason.NO_IDENTIFIER)
    is_wanted = sms.outcome is Outcome.SUBSCRIBE or (
        sms.reason is Reason.AGREED and marketing == "SUBSCRIBED"
    )
    if held != "NEVER_SUBSCRIBED" or not is_wanted:
        reason = Reason.AGREED if is_wanted else Reason.NO_OPINION
        return Step(consent, Outcome.LEAVE, reason, sms.decided_at)
    return _once(Step(consent, Outcome.SUBSCRIBE, Reason.WITH_SMS_MARKETING, sms.decided_at), memory, subject)
