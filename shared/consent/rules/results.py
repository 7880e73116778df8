"""The conclusions from a memory of consent: the newest decision, what to write to Omneo, and when to compare both sides. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.consent.rules.decisions import Decided, in_order, is_stamped, same, state_of, writes
from shared.consent.rules.memory import LANDING, UNDER_WAY, Comms, Memory, Word, latest
from shared.consent.rules.whose import persons
from shared.consent_events import Decision


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

    A decision gives way to a newer one of Omneo's own, a bounce to nothing but an opt-in. A decision that was written before stays if it
    is still the newest: somebody may have changed it in Omneo since.
    """
    return _changes(memory, persons(memory), comms)


@dataclass(frozen=True)
class Move:
    """The effect of an event on the consent of its channel, in two words; the same word twice if it did nothing."""

    event: Decided
    before: str
    after: str


def moves(memory: Memory, comms: Comms) -> list[Move]:
    """Return the effect of each untold event on Omneo's consent, in order."""
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
    newest = latest(memory.omneo_in, memory.omneo_out)
    fields: dict[str, tuple[Any, bool]] = {}
    for event in events:
        if not _gives_way(event, newest):
            fields |= {name: (value, event.is_written) for name, value in writes(event).items()}
    return {
        name: value
        for name, (value, is_written) in fields.items()
        if not is_written and not same(name, comms.get(name), value)
    }


def _gives_way(event: Decided, newest: datetime | None) -> bool:
    if newest is None or not is_stamped(event.decision):
        return False
    return event.at <= newest if event.decision is Decision.OPT_IN else event.at < newest


def is_complained(memory: Memory) -> bool:
    """Return whether she has complained of spam and not subscribed in Klaviyo herself since."""
    found = [
        event.topic
        for event in persons(memory)
        if event.topic == "marked_email_as_spam" or event.decision is Decision.OPT_IN
    ]
    return bool(found) and found[-1] == "marked_email_as_spam"


def look_at(memory: Memory, now: datetime) -> datetime | None:
    """Return the time at which both sides must be compared, None if there is no reason for it.

    That is so if the newest decision is an opt-out and Klaviyo may hold an opt-in, ours or hers, that reached Klaviyo after her decision.
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
