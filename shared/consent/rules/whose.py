"""Whether an event is a person's decision, or our own call that has landed. Pure; it knows only a memory of consent.

One landing belongs to one call, and has one event of each topic. For email, Klaviyo may show the author of a consent;
for SMS it never does. In doubt an opt-out counts as the person's, and an opt-in as ours.
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
    TWIN = "twin"  # the other topic of an act that counts already


def verdicts(memory: Memory) -> dict[Key, Verdict]:
    """Return the author of each event. New knowledge only adds events of a person: an event of a person stays one."""
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
    """Return the author of an event of the memory."""
    return verdicts(memory)[key_of(event)]


def persons(memory: Memory) -> list[Decided]:
    """Return the events that are a person's decisions or a fact about her address, in order."""
    found = verdicts(memory)
    return [event for event in in_order(memory.events) if found[key_of(event)] is Verdict.PERSON]


def untold(memory: Memory) -> list[Decided]:
    """Return the persons' events whose interaction is still to be made, in order."""
    return [event for event in persons(memory) if not event.is_told]


def our_landings(memory: Memory, direction: Direction, profile: str = "") -> list[datetime]:
    """Return the times of our own landings in a direction, for one Klaviyo profile or for all."""
    found = verdicts(memory)
    return [
        event.at
        for event in memory.events
        if event.decision is DECISIONS[direction]
        and found[key_of(event)] is Verdict.OURS
        and profile in (event.profile, "")
    ]


def _our_opt_ins(memory: Memory) -> Iterable[Key]:
    """Yield the opt-ins that carry our mark or are the landing of one of our calls. Each call has one landing."""
    open_calls = [call for call in memory.calls if _is_of(call, memory, "in") and call.landed_at is None]
    landings = [
        _Landing(call.profile, call.landed_at)
        for call in memory.calls
        if _is_of(call, memory, "in") and call.landed_at is not None
    ]
    # A call that was repeated because its answer was lost may land once for each repeat.
    spare = [
        replace(call, landed_at=None)
        for call in memory.calls
        if _is_of(call, memory, "in")
        for _ in range(1, call.most_landings)
    ]
    opt_ins = [event for event in memory.events if event.decision is Decision.OPT_IN]
    # An opt-in with our mark is certainly the landing of a call. So another opt-in is not that call's landing, even if
    # it came earlier.
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
    """Return the call whose landing an opt-in is, None if it cannot be the landing of any call.

    With our mark, it is the last call. The earlier calls are left to opt-ins without our mark, each of which in doubt
    is ours.
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
    """The landing of a call: its time, its Klaviyo profile ("" if the call had none yet), and the topics of its known events."""

    profile: str
    at: datetime
    topics: set[str] = field(default_factory=set)

    def takes(self, event: Decided) -> bool:
        """Return whether the event belongs to this landing, and count it.

        A landing has one event of a topic, so a second is another act.
        """
        is_of_this = self.profile in (event.profile, "") and abs(event.at - self.at) <= CLOCKS_APART
        if not is_of_this or event.topic in self.topics:
            return False
        self.topics.add(event.topic)
        return True


def _may_undo_an_opt_out(memory: Memory, event: Decided) -> bool:
    """Return whether an opt-in may be the landing of a call before her opt-out, although another opt-in counts as that
    landing.

    For SMS nothing shows the author of an opt-in, so the code may confuse two opt-ins soon after our call.
    """
    if event.channel is not Channel.SMS:
        return False
    outs = [one.at for one in memory.events if one.decision is Decision.OPT_OUT]
    if memory.omneo_out is not None:
        outs.append(memory.omneo_out)
    return any(
        call.profile in (event.profile, "")
        and event.at <= call.last_at + LANDING
        and any(call.asked_at <= at <= event.at for at in outs)
        for call in memory.calls
        if _is_of(call, memory, "in")
    )


def _our_opt_outs(memory: Memory, opted_in: Iterable[datetime]) -> Iterable[Key]:
    """Yield the opt-outs that are the landing of one of our calls, without an opt-in between the call's decision and the opt-out."""
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
    """Return whether the event belongs to the call's landing. The first event that may be the landing counts as it."""
    if number in landed:
        return landed[number].takes(event)
    if not call.may_have_landed(event.at):
        return False
    landed[number] = _Landing(event.profile, event.at, {event.topic})
    return True


def _is_of(call: Call, memory: Memory, direction: Direction) -> bool:
    # No event reports a transactional consent.
    return call.direction == direction and call.consent.value == memory.channel.value


def _is_twin(event: Decided, counted: Iterable[Decided]) -> bool:
    """Return whether the act counts already under its other topic."""
    act = (event.profile, canonical(event.topic), event.at)
    by_topic = Counter(one.topic for one in counted if (one.profile, canonical(one.topic), one.at) == act)
    others = [count for topic, count in by_topic.items() if topic != event.topic]
    return max(others, default=0) > by_topic[event.topic]
