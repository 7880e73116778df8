"""Our calls to Klaviyo in a memory of consent: noted before the call, and again with its result. Pure.

Klaviyo only answers that it has accepted a call. It carries the call out later, and may never show that it did.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from shared.consent.rules.memory import CLOCKS_APART, LANDING, UNDER_WAY, Call, Memory
from shared.consent.rules.whose import our_landings
from shared.consent_events import Consent, Direction

MOST_CALLS = 12


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


def with_merge(
    memory: Memory,
    at: datetime,
    shown_in: datetime | None = None,
    *,
    others_out: datetime | None = None,
) -> Memory:
    """Return the memory before another Klaviyo profile is merged into hers: what Klaviyo shows from before may be the other's.

    `shown_in` is the time of the opt-in that hers shows still, None if it shows none. `others_out` is the time of an opt-out that the other
    shows, and that is surely not hers, None if there is none.
    """
    is_own = shown_in is not None and not memory.may_be_merged(shown_in)
    own_in = shown_in if is_own else memory.own_in
    return replace(memory, merged_at=at, own_in=own_in, others_out=others_out or memory.others_out)


def last_call(memory: Memory, consent: Consent, direction: Direction | None, profile: str) -> Call | None:
    """Return the last call for a consent of a Klaviyo profile, in one direction or either."""
    calls = [
        call
        for call in memory.calls
        if call.consent is consent and call.profile in (profile, "") and direction in (call.direction, None)
    ]
    return calls[-1] if calls else None


def is_being_carried_out(memory: Memory, now: datetime, direction: Direction | None = None) -> bool:
    """Return whether a call, in one direction or either, may still land: Klaviyo would look for the address then, whoever has it."""
    return any(
        now < _may_land_until(call) for call in _unshown(memory) if direction in (call.direction, None)
    )


def _may_land_until(call: Call) -> datetime:
    return call.last_at + (LANDING if call.is_accepted else UNDER_WAY)


def _unshown(memory: Memory) -> list[Call]:
    """Return the calls of whose landing nothing is left to see, if each landing is that of one call.

    Nothing shows which of two calls for the same has landed, and `landed_at` may be one landing for both. So each landing
    counts as that of the call that must land first, and the other is still waited for. A call that was repeated because
    its answer was lost may land once for each repeat.
    """
    unshown: list[Call] = []
    taken: list[tuple[Call, datetime]] = []
    asked = [call for call in memory.calls for _ in range(call.most_landings)]
    for call in sorted(asked, key=_may_land_until):
        free = [at for at in _landings_of(memory, call) if not any(_is_it(*one, call, at) for one in taken)]
        if free:
            taken.append((call, min(free)))
        else:
            unshown.append(call)
    return unshown


def _landings_of(memory: Memory, call: Call) -> list[datetime]:
    """Return the landings that may be this call's, those included that count as another's."""
    told = our_landings(memory, call.direction, call.profile)
    counted = [one.landed_at for one in memory.calls if one.landed_at is not None and _asks_alike(one, call)]
    may_be = replace(call, landed_at=None)
    return [at for at in (*told, *counted) if may_be.may_have_landed(at) or at == call.landed_at]


def _is_it(taker: Call, taken: datetime, call: Call, at: datetime) -> bool:
    return _asks_alike(taker, call) and abs(taken - at) <= CLOCKS_APART


def _asks_alike(one: Call, other: Call) -> bool:
    """Return whether two calls have the same effect on one Klaviyo profile, whatever they were for."""
    return (one.consent, one.direction, one.suppresses) == (
        other.consent,
        other.direction,
        other.suppresses,
    ) and (one.profile == other.profile or "" in (one.profile, other.profile))


def _is_same(one: Call, other: Call) -> bool:
    return (one.consent, one.direction, one.profile, one.decided_at, one.suppresses) == (
        other.consent,
        other.direction,
        other.profile,
        other.decided_at,
        other.suppresses,
    )
