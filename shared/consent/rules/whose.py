"""Whether an event is a person's decision, or our own call that has landed. Pure; it knows only a memory of consent.

One landing belongs to one call, and has one event of each topic. For email, Klaviyo may show whose a consent is; for SMS it never does. In
doubt an opt-out counts as the person's, and an opt-in as ours.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.consent.rules.decisions import Decided, canonical, in_order
from shared.consent.rules.memory import (
    CLOCKS_APART,
    DECISIONS,
    LANDING,
    MAY_BE_OURS,
    UNDER_WAY,
    Call,
    Key,
    Memory,
    key_of,
)
from shared.consent_events import Channel, Decision, Direction


class Verdict(StrEnum):
    """The origin of an event."""

    PERSON = "person"
    OURS = "ours"
    TWIN = "twin"  # the other topic of an act that is counted already


def verdicts(memory: Memory) -> dict[Key, Verdict]:
    """Return whose each event is. The more is known the more events are a person's: what was one stays one."""
    found = {key_of(event): Verdict.PERSON for event in memory.events}
    found |= dict.fromkeys(_our_opt_ins(memory), Verdict.OURS)
    newest_ins = [
        event.at
        for event in memory.events
        if event.decision is Decision.OPT_IN and found[key_of(event)] is Verdict.PERSON
    ]
    if memory.omneo_in is not None:
        newest_ins.append(memory.omneo_in)
    found |= dict.fromkeys(_our_opt_outs(memory, newest_ins), Verdict.OURS)
    counted: list[Decided] = []
    for event in sorted(memory.events, key=lambda one: (not one.is_told, one.at, one.id, one.topic)):
        if found[key_of(event)] is not Verdict.PERSON:
            continue
        if not event.is_told and _is_twin(event, counted):
            found[key_of(event)] = Verdict.TWIN
        counted.append(event)
    return found


def verdict_of(memory: Memory, event: Decided) -> Verdict:
    """Return whose an event of the memory is."""
    return verdicts(memory)[key_of(event)]


def persons(memory: Memory) -> list[Decided]:
    """Return the events that are a person's decisions or a fact about her address, in order."""
    found = verdicts(memory)
    return [event for event in in_order(memory.events) if found[key_of(event)] is Verdict.PERSON]


def untold(memory: Memory) -> list[Decided]:
    """Return the persons' events whose interaction is still to be made, in order."""
    return [event for event in persons(memory) if not event.is_told]


def our_landings(memory: Memory, direction: Direction, profile: str = "") -> list[datetime]:
    """Return the times of the events that are our own landings in a direction, of one Klaviyo profile or of any."""
    found = verdicts(memory)
    return [
        event.at
        for event in memory.events
        if event.decision is DECISIONS[direction]
        and found[key_of(event)] is Verdict.OURS
        and profile in (event.profile, "")
    ]


def _our_opt_ins(memory: Memory) -> Iterable[Key]:
    """Yield the opt-ins that are the landing of a call of ours, one act for one call, or that carry our mark."""
    open_calls = [call for call in memory.calls if _is_of(call, memory, "in") and call.landed_at is None]
    landings = [
        _Landing(call.profile, call.landed_at)
        for call in memory.calls
        if _is_of(call, memory, "in") and call.landed_at is not None
    ]
    # What was asked several times, because no answer told whether it was taken, may land once for each.
    spare = [
        replace(call, landed_at=None)
        for call in memory.calls
        if _is_of(call, memory, "in")
        for _ in range(1, call.most_landings)
    ]
    opt_ins = [event for event in memory.events if event.decision is Decision.OPT_IN]
    # What carries our mark is the landing of a call for sure, so another opt-in is not that one's, though it came before.
    for event in sorted(opt_ins, key=lambda one: (one.mark != "omneo", one.at, one.id, one.topic)):
        if event.is_told or event.mark == "other":
            continue
        if any(landing.takes(event) for landing in landings):
            yield key_of(event)
            continue
        call = _call_of(event, open_calls)
        if call is not None:
            open_calls.remove(call)
        elif (call := _call_of(event, spare, UNDER_WAY)) is not None:
            spare.remove(call)
        if call is not None:
            landings.append(_Landing(event.profile, event.at, {event.topic}))
        if call is not None or event.mark == "omneo" or _may_undo_an_opt_out(memory, event):
            yield key_of(event)


def _call_of(event: Decided, calls: Iterable[Call], within: timedelta = MAY_BE_OURS) -> Call | None:
    """Return the call that an opt-in is the landing of, None if it can be of none.

    With our mark it is the last one's: those before it are left to opt-ins that bear none, of which in doubt each is ours.
    """
    may_be = [
        call
        for call in calls
        if call.profile in (event.profile, "") and call.may_have_landed(event.at, within)
    ]
    if not may_be:
        return None
    return may_be[-1] if event.mark == "omneo" else may_be[0]


@dataclass
class _Landing:
    """When a call landed, of which Klaviyo profile, "" if it had none yet, and of which topics an event of it is known."""

    profile: str
    at: datetime
    topics: set[str] = field(default_factory=set)

    def takes(self, event: Decided) -> bool:
        """Return whether the event is of this landing, and count it: one landing has one event of a topic, so a second is another act."""
        is_of_this = self.profile in (event.profile, "") and abs(event.at - self.at) <= CLOCKS_APART
        if not is_of_this or event.topic in self.topics:
            return False
        self.topics.add(event.topic)
        return True


def _may_undo_an_opt_out(memory: Memory, event: Decided) -> bool:
    """Return whether an opt-in may be the landing of a call that she has opted out after, though another was taken for it.

    For SMS nothing shows whose an opt-in is, so two opt-ins soon after our call may be confused.
    """
    if event.channel is not Channel.SMS:
        return False
    outs = [one.at for one in memory.events if one.decision is Decision.OPT_OUT]
    if memory.omneo_out is not None:
        outs.append(memory.omneo_out)
    return any(
        call.profile in (event.profile, "")
        and call.asked_at - CLOCKS_APART <= event.at <= call.last_at + LANDING
        and any(call.asked_at <= at <= event.at for at in outs)
        for call in memory.calls
        if _is_of(call, memory, "in")
    )


def _our_opt_outs(memory: Memory, opted_in: Iterable[datetime]) -> Iterable[Key]:
    """Yield the opt-outs that are the landing of a call of ours, and that no opt-in since the call's decision makes doubtful."""
    calls = [call for call in memory.calls if _is_of(call, memory, "out")]
    opt_outs = [event for event in memory.events if event.decision is Decision.OPT_OUT]
    landed: dict[int, _Landing] = {}
    ins = list(opted_in)
    for event in sorted(opt_outs, key=lambda one: (one.at, one.id, one.topic)):
        if event.is_told:
            continue
        for number, call in enumerate(calls):
            if (
                call.profile in (event.profile, "")
                and call.suppresses == (event.topic == "manually_suppressed_from_email_marketing")
                and event.topic != "marked_email_as_spam"
                and not any((call.decided_at or call.asked_at) < moment <= event.at for moment in ins)
                and _lands(landed, number, call, event)
            ):
                yield key_of(event)
                break


def _lands(landed: dict[int, _Landing], number: int, call: Call, event: Decided) -> bool:
    """Return whether the event is the call's landing, or of it; the first that may be is it."""
    if number in landed:
        return landed[number].takes(event)
    if not call.may_have_landed(event.at):
        return False
    landed[number] = _Landing(event.profile, event.at, {event.topic})
    return True


def _is_of(call: Call, memory: Memory, direction: Direction) -> bool:
    # No event tells of a transactional consent.
    return call.direction == direction and call.consent.value == memory.channel.value


def _is_twin(event: Decided, counted: Iterable[Decided]) -> bool:
    """Return whether the act was counted already under its other topic."""
    act = (event.profile, canonical(event.topic), event.at)
    by_topic = Counter(one.topic for one in counted if (one.profile, canonical(one.topic), one.at) == act)
    others = [count for topic, count in by_topic.items() if topic != event.topic]
    return max(others, default=0) > by_topic[event.topic]
