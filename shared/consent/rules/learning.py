"""How a memory of consent learns from Klaviyo and Omneo, in any order: events, Omneo's fields as read, and Omneo's
fields as written. Pure.

Our own calls to Klaviyo are noted in `calls.py`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from shared.consent.rules.decisions import Decided, direction_in, in_order, read_stamp, stamp_name
from shared.consent.rules.memory import CLOCKS_APART, DECISIONS, Comms, Key, Memory, Seen, key_of, latest
from shared.consent.rules.results import last_word
from shared.consent.rules.whose import Verdict, persons, untold, verdicts
from shared.consent_events import Channel, Decision

PULLED = "profile "  # begins the id of an opt-out that no event has reported
MOST_EVENTS = 40
_UNSUBSCRIBED: Mapping[Channel, str] = {
    Channel.EMAIL: "unsubscribed_from_email_marketing",
    Channel.SMS: "unsubscribed_from_sms_marketing",
}


def with_events(memory: Memory, events: Iterable[Decided]) -> Memory:
    """Return the memory with these events of its channel; an event that it holds already stays unchanged."""
    known = {key_of(event): event for event in memory.events}
    for event in events:
        known.setdefault(key_of(event), event)
    return _pruned(replace(memory, events=tuple(in_order(known.values()))))


def with_our_landings(memory: Memory, events: Iterable[Decided]) -> Memory:
    """Return the memory with those events that are our own landings. If they would change the list of untold events,
    return the memory unchanged.

    For an email opt-in after an opt-out, only Klaviyo can show whose it is. So here no such opt-in counts as ours.
    """
    word = last_word(memory)
    is_out = word is not None and word.direction == "out" and memory.channel is Channel.EMAIL
    mine = [
        event
        for event in events
        if event.channel is memory.channel
        and not (is_out and event.decision is Decision.OPT_IN and event.mark == "")
    ]
    found = verdicts(with_events(memory, mine))
    after = with_events(memory, [event for event in mine if found.get(key_of(event)) is Verdict.OURS])
    return after if untold(after) == untold(memory) else memory


def _pruned(memory: Memory) -> Memory:
    """Return the memory without the oldest events that have their interaction already."""
    if len(memory.events) <= MOST_EVENTS:
        return memory
    waiting = {key_of(event) for event in untold(memory)}
    newest = {key_of(event) for event in memory.events[-MOST_EVENTS:]}
    return replace(
        memory, events=tuple(event for event in memory.events if key_of(event) in newest | waiting)
    )


def with_pulled(memory: Memory, at: datetime, address: str = "") -> Memory:
    """Return the memory with an opt-out that Klaviyo's profile shows and Omneo does not have, with or without an event
    for it.

    `address` is the mark of the address that Omneo showed some seconds after that time, "" if that address is not
    known.

    The opt-out is to be written to Omneo, even if it was written before: an undated opt-in has replaced it in Omneo,
    and does not count.
    """
    return with_events(_with_opt_outs_to_write(memory), [_pulled(memory.channel, at, address)])


def with_opt_outs_at_her_address(memory: Memory, moments: Iterable[datetime]) -> Memory:
    """Return the memory with opt-outs for the address that is hers now.

    Klaviyo reported them on the profile of its former owner.
    """
    return with_events(memory, [_pulled(memory.channel, at, "") for at in moments])


def _pulled(channel: Channel, at: datetime, address: str) -> Decided:
    id, topic = f"{PULLED}{at.isoformat()}", _UNSUBSCRIBED[channel]
    return Decided(id, topic, "", at, Decision.OPT_OUT, is_told=True, address=address)


def address_at(memory: Memory, at: datetime) -> str:
    """Return the mark of the address that Omneo first showed after an opt-out of that time, "" if none is known.

    An event may come long after its time.
    """
    outs = [event for event in memory.events if event.decision is Decision.OPT_OUT and event.at == at]
    return next((event.address for event in sorted(outs, key=is_pulled, reverse=True) if event.address), "")


def is_pulled(event: Decided) -> bool:
    """Return whether a sync found this opt-out on Klaviyo's profile, without an event."""
    return event.id.startswith(PULLED)


def with_omneo(memory: Memory, comms: Comms, read_at: datetime) -> Memory:
    """Return the memory with Omneo's fields, as read at that time. The same fields again change nothing.

    We wrote a stamp that equals an event's time. A stamp in the future does not count. An opt-out without a new stamp
    is noted with the time of the read. An opt-in without a new stamp has no date, but ends an opt-out of Omneo's own. A
    read during our write, or right after it, may still show the old fields.
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
    is_newest = is_new and (before is None or latest(before.stamp, dated) != before.stamp)
    if not is_newest and memory.seen_at is not None and read_at < memory.seen_at + CLOCKS_APART:
        return memory
    memory = _with_replaced_opt_out(replace(memory, seen=shown, seen_at=read_at))
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
    if shown.direction is None or DECISIONS[shown.direction] in by_us:
        return memory
    if shown.direction == "in":
        if stamp is not None and stamp == memory.ahead:
            memory = _with_opt_outs_to_write(memory)
        return replace(memory, omneo_in=latest(memory.omneo_in, dated if is_new else None))
    has_turned = bool(by_us) or (before is not None and before.direction != shown.direction)
    is_in_order = is_new and dated is not None and not _is_before_an_opt_in(memory, dated)
    if dated is not None and dated == memory.told_in:
        is_in_order = False  # the stamp is an opt-in's: the opt-out after it has none
    since = read_at if (has_turned and not is_in_order) or stamp == memory.ahead else dated
    is_decided = has_turned or is_new or (stamp is not None and stamp == memory.ahead)
    return replace(memory, omneo_out=latest(memory.omneo_out, since)) if is_decided else memory


def with_stamps_ahead(
    memories: Mapping[Channel, Memory], stamps: Mapping[Channel, datetime]
) -> dict[Channel, Memory]:
    """Return the memories with the stamps that lay in the future when Omneo reported them: they never count."""
    return {
        channel: replace(memory, ahead=stamps[channel]) if channel in stamps else memory
        for channel, memory in memories.items()
    }


def with_opt_in_told(memory: Memory, comms: Comms) -> Memory:
    """Return the memory with the stamp of an opt-in that Omneo's webhook shows.

    If Omneo shows an opt-out with this stamp later, the opt-out has no stamp of its own.
    """
    stamp, seen = read_stamp(comms.get(stamp_name(memory.channel))), memory.seen
    if direction_in(comms, memory.channel) != "in" or stamp is None or stamp == memory.ahead:
        return memory
    if seen is None or latest(seen.stamp, stamp) == seen.stamp:
        return memory
    return replace(memory, told_in=latest(memory.told_in, stamp))


def with_opt_out_told(memory: Memory, comms: Comms) -> Memory:
    """Return the memory with the stamp of an opt-out that Omneo's webhook shows; it may come before or after a write that replaces the opt-out
    in Omneo.
    """
    stamp, seen = read_stamp(comms.get(stamp_name(memory.channel))), memory.seen
    if direction_in(comms, memory.channel) != "out" or stamp is None or stamp == memory.ahead:
        return memory
    if seen is None or latest(seen.stamp, stamp) == seen.stamp:
        return memory
    return _with_replaced_opt_out(replace(memory, told_out=latest(memory.told_out, stamp)))


def _with_replaced_opt_out(memory: Memory) -> Memory:
    """Return the memory with an opt-out that Omneo's webhook has shown, if our last write may have replaced it in Omneo.

    Omneo has no write that checks for changes meanwhile. What we wrote is then older than the opt-out, but not the write.
    """
    stamp, seen = memory.told_out, memory.seen
    if stamp is None or seen is None or seen.stamp is None or memory.seen_at is None:
        return memory
    is_by_us = any(event.is_written and event.at == seen.stamp for event in memory.events)
    if not is_by_us or not seen.stamp < stamp <= memory.seen_at + CLOCKS_APART:
        return memory
    return replace(memory, omneo_out=latest(memory.omneo_out, stamp))


def _noticed(memory: Memory, shown: Seen, stamp: datetime | None) -> Memory:
    """Return the memory with each event marked as written whose time Omneo shows: our write took effect, even if its
    answer was lost.

    If Omneo shows an opt-in, an opt-out with the same time was not written. If Omneo shows no decision, or was never
    read, no event was written: we read before we write.
    """
    if shown.direction is None or memory.seen is None:
        return memory
    given = {Decision.OPT_IN} if shown.direction == "in" else {Decision.OPT_IN, Decision.OPT_OUT}
    events = tuple(
        replace(event, is_written=True) if event.at == stamp and event.decision in given else event
        for event in memory.events
    )
    return replace(memory, events=events)


def _with_opt_outs_to_write(memory: Memory) -> Memory:
    """Return the memory with its opt-outs to be written again: an opt-in with a stamp in the future does not overrule them."""
    events = tuple(
        replace(event, is_written=False) if event.decision is Decision.OPT_OUT else event
        for event in memory.events
    )
    return replace(memory, events=events)


def _is_before_an_opt_in(memory: Memory, at: datetime) -> bool:
    ins = [event.at for event in persons(memory) if event.decision is Decision.OPT_IN]
    newest = latest(memory.omneo_in, *ins)
    return newest is not None and at < newest


def is_opt_out_taken_back(before: Memory, after: Memory) -> bool:
    """Return whether Omneo shows an opt-in where it showed an opt-out, and no event of Klaviyo's has its time."""
    if before.seen is None or after.seen is None:
        return False
    by_event = any(
        event.decision is Decision.OPT_IN and event.at == after.seen.stamp for event in after.events
    )
    return (before.seen.direction, after.seen.direction) == ("out", "in") and not by_event


def written(memory: Memory, comms: Comms, given: Collection[Key], at: datetime | None) -> Memory:
    """Return the memory after `to_omneo` was written to Omneo, which held these comms at the time `at`; `at` is None if
    there was nothing to write.

    `given` are the events that were known then.
    """
    found = verdicts(memory)
    events = tuple(
        replace(event, is_written=True)
        if key_of(event) in given and found[key_of(event)] is Verdict.PERSON
        else event
        for event in memory.events
    )
    memory = replace(memory, events=events)
    seen = Seen(direction_in(comms, memory.channel), read_stamp(comms.get(stamp_name(memory.channel))))
    # If nothing was written, these fields of Omneo are still to be learned: she may have changed them since our last
    # write.
    if at is None or seen == memory.seen:
        return memory
    return _with_replaced_opt_out(replace(memory, seen=seen, seen_at=at))


def told(memory: Memory, event: Decided) -> Memory:
    """Return the memory after the event's interaction was made."""
    events = tuple(
        replace(one, is_told=True) if key_of(one) == key_of(event) else one for one in memory.events
    )
    return replace(memory, events=events)
