"""What is remembered of our calls to Klaviyo: which is which, what Klaviyo has answered, and how long one may still land."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from shared.consent.rules import calls
from shared.consent.rules.decisions import Decided
from shared.consent.rules.memory import LANDING, UNDER_WAY, Call, Memory
from shared.consent_events import Channel, Consent, Decision

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = 60 * SECOND


def a_call(seconds: float = 0, **changes: Any) -> Call:
    """Return a call of that time, in seconds from noon."""
    at = NOON + timedelta(seconds=seconds)
    return replace(Call(Consent.EMAIL, "in", "01HX", NOON, at, at), **changes)


def remembering(*known: Call) -> Memory:
    """Return a memory of calls, as they were put into it."""
    return Memory(Channel.EMAIL, calls=known)


def an_opt_in(at: datetime) -> Decided:
    """Return a sign-up that Klaviyo has told of."""
    return Decided(f"event at {at}", "subscribed_to_email_marketing", "01HX", at, Decision.OPT_IN)


OTHERS = [
    a_call(1, consent=Consent.SMS),
    a_call(2, consent=Consent.SMS_TRANSACTIONAL),
    a_call(3, direction="out"),
    a_call(4, profile="01HY"),
]


def test_an_answer_is_about_the_last_such_call_and_no_other() -> None:
    first, last = a_call(0), a_call(10)
    memory = remembering(first, last, *OTHERS)
    accepted = calls.accepted(memory, Consent.EMAIL, "in", "01HX")
    assert accepted.calls == (first, replace(last, is_accepted=True), *OTHERS)
    assert calls.refused(memory, Consent.EMAIL, "in", "01HX").calls == (first, *OTHERS)
    assert calls.with_landing(memory, last, NOON).calls == (first, replace(last, landed_at=NOON), *OTHERS)


def test_an_answer_to_what_is_not_remembered_changes_nothing() -> None:
    memory = remembering(*OTHERS)
    assert calls.accepted(memory, Consent.EMAIL, "in", "01HX") == memory
    assert calls.refused(memory, Consent.EMAIL, "in", "01HX") == memory


def test_the_last_call_is_one_of_the_consent_the_way_and_the_profile_that_are_asked_for() -> None:
    memory = remembering(a_call(0), *OTHERS)
    assert calls.last_call(memory, Consent.EMAIL, "in", "01HX") == a_call(0)
    assert calls.last_call(memory, Consent.EMAIL, None, "01HX") == OTHERS[2]
    assert calls.last_call(memory, Consent.SMS, "in", "01HX") == OTHERS[0]
    assert calls.last_call(memory, Consent.SMS, "out", "01HX") is None
    assert calls.last_call(remembering(a_call(0, profile="")), Consent.EMAIL, "in", "01HX") is not None


@pytest.mark.parametrize(
    ("is_accepted", "within"), [(True, LANDING), (False, UNDER_WAY)], ids=["accepted", "no answer seen"]
)
def test_a_call_may_land_for_so_long_and_longer_where_nobody_saw_an_answer(
    is_accepted: bool, within: timedelta
) -> None:
    memory = remembering(a_call(is_accepted=is_accepted))
    assert calls.is_being_carried_out(memory, NOON + within - SECOND)
    assert not calls.is_being_carried_out(memory, NOON + within)


@pytest.mark.parametrize(
    ("seconds", "before_it_is_seen", "once_it_is_seen"),
    [
        (-6, False, False),
        (-5, True, False),
        (54, True, False),
        (55, True, True),
        (65, True, True),
        (66, True, False),
        (70 + UNDER_WAY.seconds, True, False),
        (71 + UNDER_WAY.seconds, False, False),
    ],
)
def test_a_change_may_be_a_calls_landing_while_it_is_under_way_and_then_only_at_the_time_that_klaviyo_showed(
    seconds: float, before_it_is_seen: bool, once_it_is_seen: bool
) -> None:
    """Klaviyo's clock and ours are five seconds apart at most."""
    call = a_call(last_at=NOON + 70 * SECOND)
    changed_at = NOON + seconds * SECOND
    assert call.may_have_landed(changed_at) is before_it_is_seen
    assert replace(call, landed_at=NOON + MINUTE).may_have_landed(changed_at) is once_it_is_seen


def test_a_call_is_under_way_until_it_is_seen_to_land_or_never_will() -> None:
    call = a_call()
    assert call.is_under_way(NOON + UNDER_WAY - SECOND)
    assert not call.is_under_way(NOON + UNDER_WAY)
    assert not replace(call, landed_at=NOON).is_under_way(NOON)


def test_a_call_that_has_landed_or_was_never_made_is_not_being_carried_out() -> None:
    assert not calls.is_being_carried_out(remembering(a_call(landed_at=NOON)), NOON)
    assert not calls.is_being_carried_out(remembering(), NOON)


@pytest.mark.parametrize(
    "shown", [(), (0,), (1,), (0, 1)], ids=["an event alone", "the first", "the last", "both"]
)
def test_of_two_calls_for_the_same_one_landing_leaves_the_other_to_be_waited_for(
    shown: tuple[int, ...],
) -> None:
    """A look may count the one landing as that of both."""
    landed = NOON + 20 * SECOND
    known = [
        a_call(
            10 * number,
            is_accepted=True,
            decided_at=NOON + number * SECOND,
            landed_at=landed if number in shown else None,
        )
        for number in (0, 1)
    ]
    memory = replace(remembering(*known), events=(an_opt_in(landed),))
    until = NOON + 10 * SECOND + LANDING
    assert calls.is_being_carried_out(memory, until - SECOND)
    assert not calls.is_being_carried_out(memory, until)


def test_a_call_that_was_repeated_is_waited_for_until_each_of_the_two_has_landed() -> None:
    landed, again = NOON + 20 * SECOND, NOON + MINUTE
    call = replace(a_call(0, is_accepted=True, landed_at=landed, times=2), last_at=NOON + 10 * SECOND)
    memory = replace(remembering(call), events=(an_opt_in(landed),))
    until = NOON + 10 * SECOND + LANDING
    assert calls.is_being_carried_out(memory, until - SECOND)
    assert not calls.is_being_carried_out(memory, until)
    both = replace(memory, events=(an_opt_in(landed), an_opt_in(again)))
    assert not calls.is_being_carried_out(both, again)


@pytest.mark.parametrize("shown", [(), (0,), (1,)], ids=["events alone", "the first", "the last"])
def test_two_calls_for_the_same_with_two_landings_are_not_waited_for(shown: tuple[int, ...]) -> None:
    landed = [NOON + 20 * SECOND, NOON + MINUTE]
    known = [
        a_call(
            10 * number,
            is_accepted=True,
            decided_at=NOON + number * SECOND,
            landed_at=landed[number] if number in shown else None,
        )
        for number in (0, 1)
    ]
    memory = replace(remembering(*known), events=(*map(an_opt_in, landed),))
    assert not calls.is_being_carried_out(memory, NOON + MINUTE)


def test_a_landing_is_not_that_of_a_call_for_something_else() -> None:
    call = a_call(is_accepted=True)
    for changes in (
        {"direction": "out"},
        {"profile": "01HY"},
        {"consent": Consent.SMS_TRANSACTIONAL},
        {"suppresses": True},
    ):
        for one, other in permutations((call, replace(call, **changes))):
            landed = replace(one, landed_at=NOON + SECOND)
            assert calls.is_being_carried_out(remembering(landed, other), NOON + MINUTE)
            assert not calls.is_being_carried_out(remembering(landed), NOON + MINUTE)
            before = NOON - 3 * SECOND
            earlier = replace(other, asked_at=before, last_at=before)
            both, until = remembering(earlier, landed), before + LANDING
            assert calls.is_being_carried_out(both, until - SECOND)
            assert not calls.is_being_carried_out(both, until)


def test_only_the_newest_calls_are_remembered_whoever_brings_them() -> None:
    many = [a_call(number) for number in range(calls.MOST_CALLS + 3)]
    before, after = many[::2], many[1::2]
    memory = calls.with_calls_before(remembering(*after), [*before, after[0]])
    assert memory.calls == tuple(many[3:])
    newest = a_call(100, direction="out")
    assert calls.with_call(memory, newest).calls == (*many[4:], newest)


def test_the_same_call_soon_after_is_one_that_was_asked_twice_and_later_another() -> None:
    first = a_call(0)
    memory = calls.with_call(remembering(first), a_call(60))
    (both,) = memory.calls
    assert (both.asked_at, both.last_at, both.times) == (NOON, NOON + 60 * SECOND, 2)
    assert (first.most_landings, both.most_landings) == (1, 2)
    later = NOON + timedelta(days=1)
    memory = calls.with_call(memory, replace(first, asked_at=later, last_at=later))
    assert [call.times for call in memory.calls] == [2, 3]
    soon = later + 60 * SECOND
    memory = calls.with_call(memory, replace(first, asked_at=soon, last_at=soon))
    assert [(call.times, call.asked_at) for call in memory.calls] == [(2, NOON), (4, later)]


def test_a_merge_is_remembered_by_its_time() -> None:
    assert calls.with_merge(remembering(a_call()), NOON) == replace(remembering(a_call()), merged_at=NOON)


def test_the_opt_in_that_her_profile_shows_before_a_merge_is_no_others() -> None:
    nothing = Memory(Channel.EMAIL)
    assert not nothing.may_be_merged(NOON)
    merged = calls.with_merge(nothing, NOON, NOON - MINUTE)
    assert merged.own_in == NOON - MINUTE
    times = (NOON - 2 * MINUTE, NOON - MINUTE, NOON, NOON + SECOND)
    assert [merged.may_be_merged(at) for at in times] == [True, False, True, False]


def test_an_opt_out_that_comes_along_and_is_surely_anothers_is_remembered_until_another_comes() -> None:
    merged = calls.with_merge(Memory(Channel.SMS), NOON, others_out=NOON - MINUTE)
    assert merged.others_out == NOON - MINUTE
    later = NOON + MINUTE
    assert calls.with_merge(merged, later).others_out == NOON - MINUTE
    assert calls.with_merge(merged, later, others_out=NOON).others_out == NOON


def test_what_has_come_by_a_merge_is_no_more_hers_at_the_next() -> None:
    merged = calls.with_merge(Memory(Channel.EMAIL), NOON, NOON - MINUTE)
    later = NOON + MINUTE
    assert calls.with_merge(merged, later, NOON) == replace(merged, merged_at=later)
    assert calls.with_merge(merged, later) == replace(merged, merged_at=later)
    since = NOON + SECOND
    assert calls.with_merge(merged, later, since) == replace(merged, merged_at=later, own_in=since)
