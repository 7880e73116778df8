"""One memory of consent: what is known of an Omneo profile's consent on one channel, and what follows from it. Pure.

A `Memory` holds the decisions (Klaviyo's events, Omneo's stamps, an opt-out in Omneo that was seen without a stamp) and our own calls to
Klaviyo. It is put together by

    with_events, with_pulled, with_omneo, written, told    what Klaviyo and Omneo have said, and what Omneo was given
    with_call, accepted, refused, with_landing, with_merge what we have asked of Klaviyo, and what came of it

in any order, and asked by

    verdicts    which events are a person's, which are our own doing, and which are told twice
    last_word   which way the newest decision goes, and when it was
    to_omneo    the comms fields that Omneo is to be given
    moves       what each event that is not told yet does to what Omneo holds, for the ledger
    untold      the events whose interaction is still to be made
    look_at     when both sides are to be compared again, None if there is no need

What is to be asked of Klaviyo also needs what Klaviyo holds, and stands in `comparison.py`. Nothing is decided about consent anywhere else.

Klaviyo carries a call out seconds to minutes after it was asked, in any order, and stamps the consent then. So a call is remembered
before it is made, and counts as one that may have landed until it is seen to have. In doubt an opt-out is the person's, and an opt-in
is ours: whatever nobody can know ends as an opt-out.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from shared.consent.rules.decisions import (
    Decided,
    canonical,
    direction_in,
    in_order,
    is_stamped,
    read_stamp,
    same,
    stamp_name,
    state_of,
    writes,
)
from shared.consent_events import Channel, Consent, Decision, Direction

# Klaviyo carries a call out within this, as a rule: so long after it both sides are looked at.
LANDING = timedelta(minutes=3)
# Until then a call that is not seen to have landed may still be under way.
UNDER_WAY = 2 * LANDING
# For so long an opt-in may be the effect of our call: where Klaviyo asks the person to confirm, it waits for that.
MAY_BE_OURS = timedelta(hours=72)
# How far apart the clocks of Klaviyo, Omneo and our machines may be.
CLOCKS_APART = timedelta(seconds=5)
PULLED = "profile "  # begins the id of what no event has told of
MOST_EVENTS = 40
MOST_CALLS = 12

Key: TypeAlias = tuple[str, str]
Comms: TypeAlias = Mapping[str, Any]


class Verdict(StrEnum):
    """Whose an event is."""

    PERSON = "person"
    OURS = "ours"
    TWIN = "twin"  # the other topic of an act that is counted already


@dataclass(frozen=True)
class Call:
    """A consent that we have asked Klaviyo for.

    `profile` is Klaviyo's id, "" if it had none yet. `decided_at` is the decision that the call is for, None if it has no date.
    `asked_at` is when it was first asked, `last_at` when last: in between nobody knows which of them took effect. `is_accepted` says that
    Klaviyo's answer was seen. `landed_at` is Klaviyo's time of the effect, None until it is seen. `times` is how often the same was asked.
    """

    consent: Consent
    direction: Direction
    profile: str
    decided_at: datetime | None
    asked_at: datetime
    last_at: datetime
    is_accepted: bool = False
    landed_at: datetime | None = None
    suppresses: bool = False
    times: int = 1

    def is_under_way(self, now: datetime) -> bool:
        """Return whether it may still land."""
        return self.landed_at is None and now < self.last_at + UNDER_WAY

    def may_have_landed(self, at: datetime, within: timedelta = UNDER_WAY) -> bool:
        """Return whether what happened in Klaviyo at that time may be its effect."""
        if self.landed_at is not None:
            return abs(at - self.landed_at) <= CLOCKS_APART
        return self.asked_at - CLOCKS_APART <= at <= self.last_at + within


@dataclass(frozen=True)
class Seen:
    """What Omneo last showed, or was last given: which way, None if it never was recorded, and the stamp."""

    direction: Direction | None
    stamp: datetime | None


@dataclass(frozen=True)
class Word:
    """A decision: which way, and when."""

    direction: Direction
    at: datetime


@dataclass(frozen=True)
class Memory:
    """What is known of one channel.

    `omneo_in` is the newest stamp of an opt-in that was decided in Omneo; `omneo_out` the same of an opt-out, or when it was first seen
    if no stamp tells. `seen_at` is when Omneo first showed `seen`, or was given it. `ahead` is a stamp that lay ahead of the clock when it was seen, and never counts.
    `merged_at` is when another Klaviyo profile was last asked to be merged into hers, which may bring its consent along.
    """

    channel: Channel
    events: tuple[Decided, ...] = ()
    calls: tuple[Call, ...] = ()
    omneo_in: datetime | None = None
    omneo_out: datetime | None = None
    seen: Seen | None = None
    seen_at: datetime | None = None
    ahead: datetime | None = None
    merged_at: datetime | None = None


# What is said to us


def with_events(memory: Memory, events: Iterable[Decided]) -> Memory:
    """Return the memory with these events of its channel; one that it holds already stays as it is."""
    known = {_key(event): event for event in memory.events}
    for event in events:
        known.setdefault(_key(event), event)
    return _pruned(replace(memory, events=tuple(in_order(known.values()))))


def with_our_landings(memory: Memory, events: Iterable[Decided]) -> Memory:
    """Return the memory with those of the events that are our own landings, if they change nothing about any other."""
    mine = [event for event in events if event.channel is memory.channel]
    found = verdicts(with_events(memory, mine))
    after = with_events(memory, [event for event in mine if found.get(_key(event)) is Verdict.OURS])
    return after if untold(after) == untold(memory) else memory


def _pruned(memory: Memory) -> Memory:
    """Return the memory without the oldest events, whose interactions are made."""
    if len(memory.events) <= MOST_EVENTS:
        return memory
    waiting = {_key(event) for event in untold(memory)}
    newest = {_key(event) for event in memory.events[-MOST_EVENTS:]}
    return replace(memory, events=tuple(event for event in memory.events if _key(event) in newest | waiting))


def with_pulled(memory: Memory, at: datetime) -> Memory:
    """Return the memory with an opt-out that Omneo does not have and Klaviyo's profile shows, whether or not an event tells of it.

    Omneo is to be given it, also where it was given it before: an opt-in without a date has taken it back, and does not count.
    """
    pulled = Decided(
        f"{PULLED}{at.isoformat()}", _UNSUBSCRIBED[memory.channel], "", at, Decision.OPT_OUT, is_told=True
    )
    return with_events(_with_opt_outs_to_write(memory), [pulled])


def with_omneo(memory: Memory, comms: Comms, read_at: datetime) -> Memory:
    """Return the memory with what Omneo showed when it was read at that time. Showing the same again changes nothing.

    A stamp that is an event's was written by us. A stamp that lies ahead is none. A change without a new stamp is noted if it is an
    opt-out, as of then; an opt-in without one has no date, but ends an opt-out of Omneo's own. What was read while we wrote, or right after it, may be what was before.
    """
    stamp = read_stamp(comms.get(stamp_name(memory.channel)))
    if stamp is not None and stamp > read_at + CLOCKS_APART:
        memory = replace(memory, ahead=stamp)
    dated = None if stamp == memory.ahead else stamp
    shown, before = Seen(direction_in(comms, memory.channel), stamp), memory.seen
    if shown == before:
        return memory
    memory = _noticed(memory, shown, dated)
    by_us = [event.decision for event in memory.events if event.is_written and event.at == dated]
    is_new = dated is not None and not by_us and (before is None or dated != before.stamp)
    is_newest = is_new and (before is None or before.stamp is None or (dated or read_at) > before.stamp)
    if not is_newest and memory.seen_at is not None and read_at < memory.seen_at + CLOCKS_APART:
        return memory
    memory = replace(memory, seen=shown, seen_at=read_at)
    if (
        before is not None
        and before.direction == "out"
        and shown.direction != "out"
        and not is_new
        and not by_us
    ):
        memory = replace(
            memory, omneo_out=None
        )  # Omneo's own opt-out was taken back in Omneo, without a date
    if shown.direction is None or _DECISIONS[shown.direction] in by_us:
        return memory
    if shown.direction == "in":
        if stamp is not None and stamp == memory.ahead:
            memory = _with_opt_outs_to_write(memory)
        return replace(memory, omneo_in=_latest(memory.omneo_in, dated if is_new else None))
    has_turned = bool(by_us) or (before is not None and before.direction != shown.direction)
    is_in_order = is_new and dated is not None and not _is_before_an_opt_in(memory, dated)
    since = read_at if (has_turned and not is_in_order) or stamp == memory.ahead else dated
    is_decided = has_turned or is_new or (stamp is not None and stamp == memory.ahead)
    return replace(memory, omneo_out=_latest(memory.omneo_out, since)) if is_decided else memory


def _noticed(memory: Memory, shown: Seen, stamp: datetime | None) -> Memory:
    """Return the memory with the events as written whose time Omneo shows: our write took effect, though no answer told.

    Where an opt-out has the very time of an opt-in that Omneo shows, it has not.
    """
    if stamp is None:
        return memory
    given = {Decision.OPT_IN} if shown.direction == "in" else {Decision.OPT_IN, Decision.OPT_OUT}
    events = tuple(
        replace(event, is_written=True) if event.at == stamp and event.decision in given else event
        for event in memory.events
    )
    return replace(memory, events=events)


def _with_opt_outs_to_write(memory: Memory) -> Memory:
    """Return the memory with its opt-outs to be written again: an opt-in with a stamp that lies ahead is no decision over them."""
    events = tuple(
        replace(event, is_written=False) if event.decision is Decision.OPT_OUT else event
        for event in memory.events
    )
    return replace(memory, events=events)


def is_opt_out_taken_back(before: Memory, after: Memory) -> bool:
    """Return whether Omneo shows an opt-in where it showed an opt-out, and no event of Klaviyo's has its time."""
    if before.seen is None or after.seen is None:
        return False
    by_event = any(
        event.decision is Decision.OPT_IN and event.at == after.seen.stamp for event in after.events
    )
    return (before.seen.direction, after.seen.direction) == ("out", "in") and not by_event


def _is_before_an_opt_in(memory: Memory, at: datetime) -> bool:
    ins = [event.at for event in memory.events if event.decision is Decision.OPT_IN]
    newest = _latest(memory.omneo_in, *ins)
    return newest is not None and at < newest


def written(memory: Memory, comms: Comms, given: Collection[Key], at: datetime | None) -> Memory:
    """Return the memory after Omneo was given `to_omneo`, and holds these comms at that time, None if there was nothing to give.

    `given` are the events that were known then.
    """
    found = verdicts(memory)
    events = tuple(
        replace(event, is_written=True)
        if _key(event) in given and found[_key(event)] is Verdict.PERSON
        else event
        for event in memory.events
    )
    memory = replace(memory, events=events)
    seen = Seen(direction_in(comms, memory.channel), read_stamp(comms.get(stamp_name(memory.channel))))
    # Where nothing was given, what Omneo shows is still to be understood: she may have changed it since our last write.
    return memory if at is None or seen == memory.seen else replace(memory, seen=seen, seen_at=at)


def told(memory: Memory, event: Decided) -> Memory:
    """Return the memory after the event's interaction was made."""
    events = tuple(replace(one, is_told=True) if _key(one) == _key(event) else one for one in memory.events)
    return replace(memory, events=events)


# What we ask


def with_call(memory: Memory, call: Call) -> Memory:
    """Return the memory with a call that is about to be made. The same call once more, soon after, is one of which neither is known."""
    same_before = [one for one in memory.calls if _is_same(one, call)]
    rest = list(memory.calls)
    if same_before:
        last = same_before[-1]
        call = replace(call, times=last.times + 1)
        if last.is_under_way(call.asked_at):
            rest.remove(last)
            call = replace(call, asked_at=last.asked_at)
    calls = (*rest, call)
    return replace(memory, calls=calls[-MOST_CALLS:])


def with_calls_before(memory: Memory, calls: Iterable[Call]) -> Memory:
    """Return the memory with what was asked about her Klaviyo profile when it was another's."""
    others = [call for call in calls if call not in memory.calls]
    known = sorted((*others, *memory.calls), key=lambda call: call.last_at)
    return replace(memory, calls=tuple(known)[-MOST_CALLS:])


def accepted(memory: Memory, consent: Consent, direction: Direction, profile: str) -> Memory:
    """Return the memory after Klaviyo has accepted the last such call."""
    call = last_call(memory, consent, direction, profile)
    if call is None:
        return memory
    calls = tuple(replace(one, is_accepted=True) if one is call else one for one in memory.calls)
    return replace(memory, calls=calls)


def refused(memory: Memory, consent: Consent, direction: Direction, profile: str) -> Memory:
    """Return the memory after Klaviyo has refused the last such call for good: it has no effect."""
    call = last_call(memory, consent, direction, profile)
    return replace(memory, calls=tuple(one for one in memory.calls if one is not call))


def with_landing(memory: Memory, call: Call, at: datetime) -> Memory:
    """Return the memory after Klaviyo has shown that a call has landed, and when."""
    calls = tuple(replace(one, landed_at=at) if one is call else one for one in memory.calls)
    return replace(memory, calls=calls)


def with_merge(memory: Memory, at: datetime) -> Memory:
    """Return the memory before another Klaviyo profile is merged into hers: what Klaviyo shows from before may be the other's."""
    return replace(memory, merged_at=at)


def last_call(memory: Memory, consent: Consent, direction: Direction | None, profile: str) -> Call | None:
    """Return the last call for a consent of a Klaviyo profile, in one direction or either."""
    calls = [
        call
        for call in memory.calls
        if call.consent is consent and call.profile in (profile, "") and direction in (call.direction, None)
    ]
    return calls[-1] if calls else None


# What follows


def verdicts(memory: Memory) -> dict[Key, Verdict]:
    """Return whose each event is. The more is known the more events are a person's: what was one stays one."""
    found = {_key(event): Verdict.PERSON for event in memory.events}
    found |= dict.fromkeys(_our_opt_ins(memory), Verdict.OURS)
    newest_ins = [
        event.at
        for event in memory.events
        if event.decision is Decision.OPT_IN and found[_key(event)] is Verdict.PERSON
    ]
    if memory.omneo_in is not None:
        newest_ins.append(memory.omneo_in)
    found |= dict.fromkeys(_our_opt_outs(memory, newest_ins), Verdict.OURS)
    counted: list[Decided] = []
    for event in sorted(memory.events, key=lambda one: (not one.is_told, one.at, one.id, one.topic)):
        if found[_key(event)] is not Verdict.PERSON:
            continue
        if not event.is_told and _is_twin(event, counted):
            found[_key(event)] = Verdict.TWIN
        counted.append(event)
    return found


def persons(memory: Memory) -> list[Decided]:
    """Return the events that are a person's decisions or a fact about her address, in order."""
    found = verdicts(memory)
    return [event for event in in_order(memory.events) if found[_key(event)] is Verdict.PERSON]


def our_landings(memory: Memory, direction: Direction, profile: str = "") -> list[datetime]:
    """Return the times of the events that are our own landings in a direction, of one Klaviyo profile or of any."""
    found = verdicts(memory)
    return [
        event.at
        for event in memory.events
        if event.decision is _DECISIONS[direction]
        and found[_key(event)] is Verdict.OURS
        and profile in (event.profile, "")
    ]


def verdict_of(memory: Memory, event: Decided) -> Verdict:
    """Return whose an event of the memory is."""
    return verdicts(memory)[_key(event)]


def last_word(memory: Memory) -> Word | None:
    """Return the newest decision on either side, None if there is none with a date. At the same second it is an opt-out."""
    words = [
        Word("in" if event.decision is Decision.OPT_IN else "out", event.at)
        for event in persons(memory)
        if is_stamped(event.decision)
    ]
    if memory.omneo_in is not None:
        words.append(Word("in", memory.omneo_in))
    if memory.omneo_out is not None:
        words.append(Word("out", memory.omneo_out))
    return max(words, key=lambda word: (word.at, word.direction == "out"), default=None)


def to_omneo(memory: Memory, comms: Comms) -> dict[str, Any]:
    """Return the comms fields that change, beside what Omneo holds.

    A decision gives way to a newer one of Omneo's own, a bounce to nothing but an opt-in. What was written before is left alone where it
    still has the last word: somebody may have changed it in Omneo since.
    """
    return _changes(memory, persons(memory), comms)


@dataclass(frozen=True)
class Move:
    """What an event did to the consent of its channel, in two words; the same word twice if it did nothing."""

    event: Decided
    before: str
    after: str


def moves(memory: Memory, comms: Comms) -> list[Move]:
    """Return what each of the untold events does to the consent that Omneo holds, in order."""
    known = persons(memory)
    new = [event for event in known if not (event.is_told and event.is_written)]
    others = [event for event in known if event not in new]
    held, made = dict(comms), []
    for number, event in enumerate(new, 1):
        was = state_of(held, memory.channel)
        held |= _changes(memory, in_order([*others, *new[:number]]), held)
        made.append(Move(event, was, state_of(held, memory.channel)))
    return made


def _changes(memory: Memory, events: Iterable[Decided], comms: Comms) -> dict[str, Any]:
    newest = _latest(memory.omneo_in, memory.omneo_out)
    fields: dict[str, tuple[Any, bool]] = {}
    for event in events:
        if not _gives_way(event, newest):
            fields |= {name: (value, event.is_written) for name, value in writes(event).items()}
    return {
        name: value
        for name, (value, is_written) in fields.items()
        if not is_written and not same(name, comms.get(name), value)
    }


def untold(memory: Memory) -> list[Decided]:
    """Return the persons' events whose interaction is still to be made, in order."""
    return [event for event in persons(memory) if not event.is_told]


def is_pulled(event: Decided) -> bool:
    """Return whether it was not told of, but found on Klaviyo's profile."""
    return event.id.startswith(PULLED)


def is_complained(memory: Memory) -> bool:
    """Return whether she has complained of spam and not subscribed in Klaviyo herself since."""
    found = [
        event.topic
        for event in persons(memory)
        if event.topic == "marked_email_as_spam" or event.decision is Decision.OPT_IN
    ]
    return bool(found) and found[-1] == "marked_email_as_spam"


def look_at(memory: Memory, now: datetime) -> datetime | None:
    """Return when both sides are to be compared, None if nothing known asks for it.

    That is so where the last word is an opt-out and Klaviyo may hold an opt-in, ours or hers, that came to it later than she decided.
    """
    word = last_word(memory)
    if word is None or word.direction == "in" or not _may_be_subscribed(memory):
        return None
    return max([now, *(call.last_at + LANDING for call in memory.calls if call.is_under_way(now))])


def _may_be_subscribed(memory: Memory) -> bool:
    ins = [event.at for event in memory.events if event.decision is Decision.OPT_IN]
    outs = [event.at for event in memory.events if event.decision is Decision.OPT_OUT]
    for call in memory.calls:
        if call.direction == "in":
            ins.append(call.landed_at or call.last_at + UNDER_WAY)
        elif call.is_accepted:
            outs.append(call.landed_at or call.last_at)
    return bool(ins) and (not outs or max(ins) >= max(outs))


# Whose an event is


def _our_opt_ins(memory: Memory) -> Iterable[Key]:
    """Yield the opt-ins that are the landing of a call of ours, one act for one call, or that carry our mark."""
    open_calls = [call for call in memory.calls if _is_of(call, memory, "in") and call.landed_at is None]
    landings = [
        (call.profile, call.landed_at)
        for call in memory.calls
        if _is_of(call, memory, "in") and call.landed_at is not None
    ]
    opt_ins = [event for event in memory.events if event.decision is Decision.OPT_IN]
    for event in sorted(opt_ins, key=lambda one: (one.at, one.id, one.topic)):
        if event.is_told or event.mark == "other":
            continue
        if any(
            profile in (event.profile, "") and abs(event.at - at) <= CLOCKS_APART for profile, at in landings
        ):
            yield _key(event)
            continue
        call = next(
            (
                one
                for one in open_calls
                if one.profile in (event.profile, "") and one.may_have_landed(event.at, MAY_BE_OURS)
            ),
            None,
        )
        if call is not None:
            open_calls.remove(call)
            landings.append((event.profile, event.at))
        if call is not None or event.mark == "omneo" or _may_undo_an_opt_out(memory, event):
            yield _key(event)


def _may_undo_an_opt_out(memory: Memory, event: Decided) -> bool:
    """Return whether an opt-in may be the landing of a call that she has opted out after, though another was taken for it.

    Of SMS nothing shows whose an opt-in is, so two that come soon after our call may be told apart wrongly.
    """
    if event.channel is not Channel.SMS:
        return False
    outs = [one.at for one in memory.events if one.decision is Decision.OPT_OUT]
    if memory.omneo_out is not None:
        outs.append(memory.omneo_out)
    return any(
        call.profile in (event.profile, "")
        and call.asked_at - CLOCKS_APART <= event.at <= call.last_at + UNDER_WAY
        and any(call.asked_at <= at <= event.at for at in outs)
        for call in memory.calls
        if _is_of(call, memory, "in")
    )


def _our_opt_outs(memory: Memory, opted_in: Iterable[datetime]) -> Iterable[Key]:
    """Yield the opt-outs that are the landing of a call of ours, and that no opt-in since the call's decision makes doubtful."""
    calls = [call for call in memory.calls if _is_of(call, memory, "out")]
    opt_outs = [event for event in memory.events if event.decision is Decision.OPT_OUT]
    landed: dict[int, datetime] = {}
    ins = list(opted_in)
    for event in sorted(opt_outs, key=lambda one: (one.at, one.id, one.topic)):
        if event.is_told:
            continue
        for number, call in enumerate(calls):
            at = landed.get(number)
            if (
                call.profile in (event.profile, "")
                and call.suppresses == (event.topic == "manually_suppressed_from_email_marketing")
                and event.topic != "marked_email_as_spam"
                and event.topic
                and (call.may_have_landed(event.at) if at is None else abs(event.at - at) <= CLOCKS_APART)
                and not any((call.decided_at or call.asked_at) < moment <= event.at for moment in ins)
            ):
                landed.setdefault(number, event.at)
                yield _key(event)
                break


def _is_of(call: Call, memory: Memory, direction: Direction) -> bool:
    # No event tells of a transactional consent.
    return call.direction == direction and call.consent.value == memory.channel.value


def _is_twin(event: Decided, counted: Iterable[Decided]) -> bool:
    """Return whether the act was counted already under its other topic."""
    act = (event.profile, canonical(event.topic), event.at)
    by_topic = Counter(one.topic for one in counted if (one.profile, canonical(one.topic), one.at) == act)
    others = [count for topic, count in by_topic.items() if topic != event.topic]
    return max(others, default=0) > by_topic[event.topic]


def _is_same(one: Call, other: Call) -> bool:
    return (one.consent, one.direction, one.profile, one.decided_at, one.suppresses) == (
        other.consent,
        other.direction,
        other.profile,
        other.decided_at,
        other.suppresses,
    )


def _gives_way(event: Decided, newest: datetime | None) -> bool:
    if newest is None or not is_stamped(event.decision):
        return False
    return event.at <= newest if event.decision is Decision.OPT_IN else event.at < newest


_UNSUBSCRIBED: Mapping[Channel, str] = {
    Channel.EMAIL: "unsubscribed_from_email_marketing",
    Channel.SMS: "unsubscribed_from_sms_marketing",
}
_DECISIONS: Mapping[Direction | None, Decision] = {"in": Decision.OPT_IN, "out": Decision.OPT_OUT}


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _key(event: Decided) -> Key:
    return event.id, event.topic
