"""What is known of a channel's consent, folded: whose an event is, which way the newest decision goes, what Omneo is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.consent.rules import calls, learning, results, whose
from shared.consent.rules.decisions import Decided, stamp_name
from shared.consent.rules.memory import LANDING, Call, Memory, Seen, Word
from shared.consent.rules.whose import Verdict
from shared.consent_events import Channel, Consent, Decision, Direction

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST, SECOND = "01FIRST", "01SECOND"
IN, OUT = "subscribed_to_email_marketing", "unsubscribed_from_email_marketing"
DECISIONS = {
    IN: Decision.OPT_IN,
    OUT: Decision.OPT_OUT,
    "marked_email_as_spam": Decision.OPT_OUT,
    "manually_suppressed_from_email_marketing": Decision.OPT_OUT,
    "bounced_email": Decision.BOUNCED,
}


def at(seconds: float) -> datetime:
    """Return a moment, in seconds from noon."""
    return NOON + timedelta(seconds=seconds)


def event(topic: str, seconds: float, profile: str = FIRST, **known: Any) -> Decided:
    """Return an event that a person may have made."""
    return Decided(f"{topic} {seconds} {profile}", topic, profile, at(seconds), DECISIONS[topic], **known)


def comms(promo: bool | None, seconds: float | None = None) -> dict[str, Any]:
    """Return what Omneo holds of email."""
    stamp = None if seconds is None else f"{at(seconds):%Y-%m-%d %H:%M:%S}"
    return {"email_promo": promo, stamp_name(Channel.EMAIL): stamp}


def a_memory(*events: Decided, asked: tuple[tuple[Direction, float], ...] = (), since: float = 0) -> Memory:
    """Return a memory of events, and of calls about the first profile for a decision of that time."""
    memory = Memory(Channel.EMAIL)
    for direction, seconds in asked:
        call = Call(Consent.EMAIL, direction, FIRST, at(since), at(seconds), at(seconds))
        memory = calls.with_call(memory, call)
        memory = calls.accepted(memory, Consent.EMAIL, direction, FIRST)
    return learning.with_events(memory, events)


def written(memory: Memory, held: dict[str, Any]) -> Memory:
    """Return the memory after Omneo was given all of it, and holds this."""
    return learning.written(memory, held, {(one.id, one.topic) for one in memory.events}, at(20))


def verdicts_of(memory: Memory) -> list[Verdict]:
    """Return whose the events are, by time."""
    return [whose.verdict_of(memory, one) for one in memory.events]


PERSON, OURS = Verdict.PERSON, Verdict.OURS


class TestOptOut:
    @pytest.mark.parametrize("seconds", [-4, 0, 20, 179, 350])
    def test_is_ours_while_an_unsubscribe_of_ours_is_under_way(self, seconds: float) -> None:
        assert verdicts_of(a_memory(event(OUT, seconds), asked=(("out", 0),))) == [OURS]

    @pytest.mark.parametrize("seconds", [-60, 400, 86_400])
    def test_is_the_persons_at_any_other_time(self, seconds: float) -> None:
        assert verdicts_of(a_memory(event(OUT, seconds), asked=(("out", 0),))) == [PERSON]

    def test_is_the_persons_where_an_opt_in_has_come_since_the_decision(self) -> None:
        """In doubt: our call may have landed, or she may have left."""
        memory = a_memory(event(IN, 10), event(OUT, 20), asked=(("out", 5),))
        assert verdicts_of(memory) == [PERSON, PERSON]
        memory = learning.with_omneo(a_memory(event(OUT, 20), asked=(("out", 5),)), comms(True, 10), at(30))
        assert verdicts_of(memory) == [PERSON]

    def test_stays_ours_whatever_is_decided_after_it(self) -> None:
        memory = learning.with_omneo(a_memory(event(OUT, 20), asked=(("out", 5),)), comms(True, 900), at(901))
        assert verdicts_of(memory) == [OURS]

    def test_of_another_profile_is_the_persons(self) -> None:
        assert verdicts_of(a_memory(event(OUT, 20, SECOND), asked=(("out", 5),))) == [PERSON]

    @pytest.mark.parametrize("topic", ["marked_email_as_spam", "manually_suppressed_from_email_marketing"])
    def test_that_no_unsubscribe_brings_about_is_the_persons(self, topic: str) -> None:
        assert verdicts_of(a_memory(event(topic, 20), asked=(("out", 5),))) == [PERSON]

    def test_is_the_persons_once_our_call_has_landed(self) -> None:
        memory = a_memory(event(OUT, 20), event(OUT, 60), asked=(("out", 5),))
        assert verdicts_of(memory) == [OURS, PERSON]

    def test_is_the_persons_where_another_of_its_topic_is_our_landing_a_moment_before(self) -> None:
        """One landing has one event of a topic, so that she leaves in that moment is seen."""
        memory = a_memory(event(OUT, 20), event(OUT, 24), asked=(("out", 5),))
        assert verdicts_of(memory) == [OURS, PERSON]

    def test_with_our_mark_is_the_persons(self) -> None:
        assert verdicts_of(a_memory(event(OUT, 20, mark="omneo"))) == [PERSON]


class TestOptIn:
    def test_is_our_landing_whatever_was_decided_since_and_the_next_one_is_the_persons(self) -> None:
        memory = a_memory(event(OUT, 60), event(IN, 150), event(IN, 400), asked=(("in", 0),))
        assert verdicts_of(memory) == [PERSON, OURS, PERSON]

    def test_has_a_second_topic_in_the_same_act(self) -> None:
        listed = event(IN, 30)
        listed = Decided("list", "subscribed_to_list", FIRST, listed.at, Decision.OPT_IN)
        assert verdicts_of(a_memory(event(IN, 30), listed, asked=(("in", 0),))) == [OURS, OURS]

    def test_is_the_persons_where_another_of_its_topic_is_our_landing_a_moment_before(self) -> None:
        assert verdicts_of(a_memory(event(IN, 30), event(IN, 31), asked=(("in", 0),))) == [OURS, PERSON]

    def test_after_an_opt_out_is_taken_for_our_landing_only_where_klaviyo_says_so(self) -> None:
        """Our call may have landed late, or she has signed up again."""
        calm, left = a_memory(asked=(("in", 0),)), a_memory(event(OUT, 60), asked=(("in", 0),))
        for memory, mark, is_ours in ((calm, "", True), (left, "", False), (left, "omneo", True)):
            after = learning.with_our_landings(memory, [event(IN, 150, mark=mark)])
            assert (len(after.events) > len(memory.events)) is is_ours

    def test_before_the_call_is_the_persons(self) -> None:
        assert verdicts_of(a_memory(event(IN, -10), asked=(("in", 0),))) == [PERSON]

    def test_with_our_mark_is_ours_and_with_anothers_the_persons(self) -> None:
        assert verdicts_of(a_memory(event(IN, 10, mark="omneo"))) == [OURS]
        assert verdicts_of(a_memory(event(IN, 10, mark="other"), asked=(("in", 0),))) == [PERSON]

    def test_after_a_call_that_was_refused_is_the_persons(self) -> None:
        memory = calls.refused(a_memory(asked=(("in", 0),)), Consent.EMAIL, "in", FIRST)
        assert verdicts_of(learning.with_events(memory, [event(IN, 10)])) == [PERSON]

    def test_is_the_persons_where_one_with_our_mark_comes_after_it_and_both_ours_without_the_mark(
        self,
    ) -> None:
        hers, landing = event(IN, 10), event(IN, 60)
        for told in permutations([hers, replace(landing, mark="omneo")]):
            assert verdicts_of(a_memory(*told, asked=(("in", 0),))) == [PERSON, OURS]
        assert verdicts_of(a_memory(hers, landing, asked=(("in", 0),))) == [OURS, PERSON]

    def test_is_ours_where_the_one_with_our_mark_may_be_of_the_call_after_it(self) -> None:
        landings = [event(IN, 10), event(IN, 60, mark="omneo")]
        assert verdicts_of(a_memory(*landings, asked=(("in", 0), ("in", 50)), since=0)) == [OURS, OURS]

    def test_is_ours_at_the_time_at_which_klaviyo_showed_the_landing(self) -> None:
        memory = a_memory(asked=(("in", 0),))
        memory = calls.with_landing(memory, memory.calls[0], at(100))
        assert verdicts_of(learning.with_events(memory, [event(IN, 40), event(IN, 101)])) == [PERSON, OURS]


class TestTwins:
    def test_two_topics_of_one_act_count_once_and_two_acts_twice(self) -> None:
        topics = ["unsubscribed_from_sms_marketing", "unsubscribed_from_text_messaging_marketing"]
        twins = [Decided(topic, topic, FIRST, at(0), Decision.OPT_OUT) for topic in topics]
        again = Decided("again", topics[0], FIRST, at(0), Decision.OPT_OUT)
        memory = learning.with_events(Memory(Channel.SMS), twins)
        assert sorted(verdicts_of(memory)) == [Verdict.PERSON, Verdict.TWIN]
        assert sorted(verdicts_of(learning.with_events(memory, [again]))) == [PERSON, PERSON, Verdict.TWIN]

    def test_one_that_was_told_stays_the_one_that_counts(self) -> None:
        topics = ["unsubscribed_from_sms_marketing", "unsubscribed_from_text_messaging_marketing"]
        late, told = (Decided(topic, topic, FIRST, at(0), Decision.OPT_OUT) for topic in topics)
        memory = learning.told(learning.with_events(Memory(Channel.SMS), [told]), told)
        memory = learning.with_events(memory, [late])
        assert whose.untold(memory) == []


class TestOmneo:
    def test_a_stamp_is_a_decision(self) -> None:
        memory = learning.with_omneo(a_memory(), comms(True, 0), at(10))
        assert results.last_word(memory) == Word("in", at(0))
        assert results.last_word(learning.with_omneo(memory, comms(False, 20), at(30))) == Word("out", at(20))

    @pytest.mark.parametrize("ahead", [30, 36_000])
    def test_a_stamp_that_lies_ahead_is_none_not_even_when_its_time_has_come(self, ahead: float) -> None:
        shown = comms(True, ahead)
        memory = learning.with_omneo(a_memory(), shown, at(1))
        memory = learning.with_omneo(learning.with_events(memory, [event(OUT, 10)]), shown, at(ahead + 60))
        assert results.last_word(memory) == Word("out", at(10))
        assert results.to_omneo(memory, shown)["email_promo"] is False

    def test_a_change_without_a_stamp_counts_as_of_when_it_is_seen_if_it_is_an_opt_out(self) -> None:
        memory = learning.with_omneo(a_memory(), comms(True, 0), at(10))
        out = learning.with_omneo(memory, comms(False, 0), at(99))
        assert results.last_word(out) == Word("out", at(99))
        assert learning.with_omneo(out, comms(False, 0), at(200)) == out

    def test_an_opt_in_without_a_stamp_has_no_date_but_ends_omneos_own_opt_out(self) -> None:
        out = learning.with_omneo(
            learning.with_omneo(a_memory(), comms(True, 0), at(10)), comms(False, 0), at(99)
        )
        assert results.last_word(learning.with_omneo(out, comms(True, 0), at(300))) == Word("in", at(0))
        heard = learning.with_events(out, [event(OUT, 50)])
        assert results.last_word(learning.with_omneo(heard, comms(True, 0), at(300))) == Word("out", at(50))

    def test_an_opt_out_dated_back_before_the_opt_in_that_it_replaces_counts_as_of_now(self) -> None:
        memory = learning.with_omneo(a_memory(), comms(True, 50), at(60))
        assert results.last_word(learning.with_omneo(memory, comms(False, 40), at(99))) == Word("out", at(99))

    @pytest.mark.parametrize(("asked", "counts_as_of"), [((("in", 0),), 45), ((), 99)])
    def test_an_opt_out_is_dated_back_before_no_opt_in_that_is_our_own_landing(
        self, asked: tuple[tuple[Direction, float], ...], counts_as_of: float
    ) -> None:
        memory = learning.with_omneo(a_memory(event(IN, 50), asked=asked), comms(True, 0), at(1))
        out = learning.with_omneo(memory, comms(False, 45), at(99))
        assert out.omneo_out == at(counts_as_of)

    def test_what_we_wrote_is_no_decision_of_omneos(self) -> None:
        memory = a_memory(event(IN, 5))
        shown = {**comms(None), **results.to_omneo(memory, comms(None))}
        memory = learning.with_omneo(written(memory, shown), shown, at(30))
        assert memory.omneo_in is None
        assert results.to_omneo(memory, shown) == {}

    @pytest.mark.parametrize("before", [comms(None), comms(False, -50), comms(True, -50)])
    @pytest.mark.parametrize("answered", [True, False])
    def test_a_decision_that_was_written_is_not_written_again_over_a_later_change(
        self, before: dict[str, Any], answered: bool
    ) -> None:
        """Whether we saw the answer to our write or not."""
        memory = learning.with_omneo(a_memory(event(IN, 5)), before, at(10))
        given = {**before, **results.to_omneo(memory, before)}
        if answered:
            memory = written(memory, given)
        changed = {**given, "email_promo": False}
        memory = learning.with_omneo(memory, changed, at(60))
        assert results.to_omneo(memory, changed) == {}
        assert results.last_word(memory) == Word("out", at(60))
        assert results.look_at(memory, at(60)) == at(60)

    def test_at_the_same_second_the_opt_out_is_written(self) -> None:
        memory = a_memory(event(IN, 0), event(OUT, 0))
        assert results.to_omneo(memory, comms(None))["email_promo"] is False
        first = written(a_memory(event(IN, 0)), comms(True, 0))
        late = learning.with_omneo(learning.with_events(first, [event(OUT, 0)]), comms(True, 0), at(9))
        assert results.to_omneo(late, comms(True, 0)) == {"email_promo": False}

    @pytest.mark.parametrize("topic", [OUT, "marked_email_as_spam", IN])
    def test_a_stamp_of_its_second_beside_no_decision_does_not_say_that_it_was_written(
        self, topic: str
    ) -> None:
        memory = learning.with_omneo(a_memory(event(topic, 5)), comms(None, 5), at(30))
        assert results.to_omneo(memory, comms(None, 5))["email_promo"] is (topic == IN)

    def test_no_stamp_holds_a_bounce_back_and_an_opt_in_clears_it(self) -> None:
        memory = learning.with_omneo(a_memory(event("bounced_email", 0)), comms(True, 50), at(60))
        assert results.to_omneo(memory, comms(True, 50)) == {"email_bounced": True}
        memory = learning.with_events(memory, [event(IN, 80, clears_bounce=True)])
        assert results.to_omneo(memory, {**comms(True, 50), "email_bounced": True})["email_bounced"] is False


class TestLook:
    def test_is_not_needed_where_nothing_can_have_undone_an_opt_out(self) -> None:
        assert results.look_at(a_memory(event(OUT, 0)), at(5)) is None
        assert results.look_at(a_memory(event(IN, 0)), at(5)) is None
        assert results.look_at(a_memory(event(IN, 0), event(OUT, 3)), at(5)) is None

    def test_is_needed_when_our_opt_in_may_land_after_an_opt_out(self) -> None:
        memory = a_memory(event(OUT, 30), asked=(("in", 0),))
        assert results.look_at(memory, at(40)) == at(0) + LANDING
        assert results.look_at(memory, at(86_400)) == at(86_400)

    def test_is_needed_when_an_opt_in_has_lost_to_omneos_opt_out(self) -> None:
        memory = learning.with_omneo(a_memory(event(IN, 0)), comms(False, 20), at(30))
        assert results.look_at(memory, at(40)) == at(40)


@pytest.mark.parametrize(
    ("told", "shown", "since"),
    [
        pytest.param(comms(True, 30), comms(False, 30), 50, id="the stamp is the opt-in's"),
        pytest.param(comms(True, 30), comms(False, 31), 31, id="it has a stamp of its own"),
        pytest.param(comms(False, 30), comms(False, 30), 30, id="it was told with its stamp"),
        pytest.param(comms(True), comms(False, 30), 30, id="the opt-in was told without a stamp"),
    ],
)
def test_an_opt_out_with_the_stamp_of_an_opt_in_that_omneo_has_told_has_no_date(
    told: dict[str, Any], shown: dict[str, Any], since: float
) -> None:
    memory = replace(a_memory(), seen=Seen("in", at(0)), seen_at=at(5))
    after = learning.with_omneo(learning.with_opt_in_told(memory, told), shown, at(50))
    assert after.omneo_out == at(since)
    # Of a stamp that was seen, or of whom Omneo was never asked about, nothing is noted.
    assert learning.with_opt_in_told(memory, comms(True, 0)) == memory
    assert learning.with_opt_in_told(a_memory(), told) == a_memory()
    assert learning.with_opt_in_told(replace(memory, ahead=at(30)), told).told_in is None


OUT_AT_30 = comms(promo=False, seconds=30)


@pytest.mark.parametrize(
    ("told", "written_at", "counts"),
    [
        pytest.param(OUT_AT_30, 28, True, id="within the clocks before the opt-out, as reads may lag"),
        pytest.param(OUT_AT_30, 31, True, id="after the opt-out"),
        pytest.param(OUT_AT_30, 20, False, id="before the opt-out, which Omneo still shows then"),
        pytest.param(
            comms(promo=False, seconds=10), 31, False, id="told late: no newer than what was written"
        ),
        pytest.param(comms(promo=True, seconds=30), 31, False, id="it is an opt-in"),
        pytest.param(comms(promo=False), 31, False, id="it has no stamp"),
    ],
)
def test_an_opt_out_that_omneo_tells_counts_if_our_write_may_have_replaced_it(
    told: dict[str, Any], written_at: float, counts: bool
) -> None:
    signed_up = replace(event("subscribed_to_email_marketing", 15), is_written=True)
    seen = Seen("in", at(15))
    memory = replace(a_memory(signed_up), seen=seen, seen_at=at(written_at))
    after = learning.with_opt_out_told(memory, told)
    assert after.omneo_out == (at(30) if counts else None)
    # What somebody else wrote to Omneo has replaced nothing unseen.
    others = replace(memory, events=())
    assert learning.with_opt_out_told(others, told).omneo_out is None
    assert learning.with_opt_out_told(replace(memory, seen=None), told).omneo_out is None


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("before", [Seen(None, None), Seen("out", at(2)), Seen("in", at(2))])
def test_an_opt_out_that_omneo_tells_before_our_write_replaces_it_counts_also_if_the_write_is_only_seen_later(
    before: Seen, is_known: bool
) -> None:
    signed_up = event("subscribed_to_email_marketing", 15)
    memory = replace(a_memory(signed_up), seen=before, seen_at=at(16))
    told = learning.with_opt_out_told(memory, OUT_AT_30)
    assert told.omneo_out is None  # a read shows it, if no write replaces it
    ours = comms(promo=True, seconds=15)
    if is_known:
        after = learning.written(told, ours, {(signed_up.id, signed_up.topic)}, at(31))
    else:  # the process has died after the write
        after = learning.with_omneo(told, ours, at(40))
    assert after.omneo_out == at(30)
    # A write from before the opt-out replaces nothing: Omneo still shows the opt-out.
    early = learning.written(told, ours, {(signed_up.id, signed_up.topic)}, at(20))
    assert early.omneo_out is None


def test_a_complaint_stands_until_she_subscribes_in_klaviyo_herself() -> None:
    assert results.is_complained(a_memory(event("marked_email_as_spam", 0)))
    assert results.is_complained(a_memory(event("marked_email_as_spam", 0), event(IN, 9), asked=(("in", 5),)))
    assert not results.is_complained(a_memory(event("marked_email_as_spam", 0), event(IN, 9)))


def test_the_same_call_again_is_one_of_which_either_may_have_taken_effect() -> None:
    memory = a_memory(asked=(("in", 0), ("in", 100)))
    (call,) = memory.calls
    assert (call.asked_at, call.last_at, call.times) == (at(0), at(100), 2)


# Any history

topics = st.sampled_from(list(DECISIONS))
events = st.builds(
    event,
    topics,
    st.integers(0, 30).map(lambda step: step * 20),
    st.sampled_from([FIRST, SECOND]),
    clears_bounce=st.just(False),
    mark=st.sampled_from(["", "", "omneo", "other"]),
)
asked_calls = st.lists(
    st.tuples(st.sampled_from(["in", "out"]), st.integers(0, 30).map(lambda step: step * 20)), max_size=4
)
histories = st.lists(events, min_size=1, max_size=6, unique_by=lambda one: (one.id, one.topic))


def test_a_call_that_was_asked_twice_lands_twice_at_most() -> None:
    memory = a_memory(event(IN, 70), event(IN, 80), event(IN, 90), asked=(("in", 0), ("in", 60)))
    assert len(memory.calls) == 1
    assert verdicts_of(memory) == [OURS, OURS, PERSON]


def lived(history: list[Decided], made: list[tuple[Direction, float]], shown: dict[str, Any]) -> Any:
    """Return what stands at the end, and what was told, when each event comes by itself and all that follows is done."""
    memory, held = a_memory(asked=tuple(sorted(made, key=lambda call: call[1]))), dict(shown)
    told = []
    for one in history:
        memory = learning.with_omneo(learning.with_events(memory, [one]), held, at(10_000))
        held |= results.to_omneo(memory, held)
        memory = written(memory, held)
        for each in whose.untold(memory):
            memory = learning.told(memory, each)
            told.append((each.id, each.topic))
    return held, results.last_word(memory), sorted(told)


def test_an_opt_out_of_omneos_at_the_second_of_an_opt_in_was_not_written_by_us_where_nobody_had_looked() -> (
    None
):
    history = [event(IN, 0), event(IN, 20)]
    ends = [lived(order, [], comms(False, 0)) for order in (history, history[::-1])]
    assert ends[0] == ends[1]
    assert ends[0][0]["email_promo"] is True


@given(
    histories, asked_calls, st.sampled_from([True, False, None]), st.none() | st.integers(0, 600), st.data()
)
def test_any_order_of_arrival_with_repeats_ends_the_same(
    history: list[Decided], made: Any, promo: bool | None, stamp: int | None, data: st.DataObject
) -> None:
    shown = comms(promo, stamp)
    order = data.draw(st.permutations(history + data.draw(st.lists(st.sampled_from(history), max_size=3))))
    held, word, told = lived(history, made, shown)
    assert lived(order, made, shown) == (held, word, told)
    assert len(told) == len(set(told))


@given(histories, asked_calls, st.sampled_from([True, False, None]), st.none() | st.integers(0, 600))
def test_a_persons_newest_opt_out_is_never_beaten_by_what_is_older_or_as_old(
    history: list[Decided], made: Any, promo: bool | None, stamp: int | None
) -> None:
    memory = a_memory(*history, asked=tuple(made))
    memory = learning.with_omneo(memory, comms(promo, stamp), at(10_000))
    word = results.last_word(memory)
    outs = [one.at for one in whose.persons(memory) if one.decision is Decision.OPT_OUT]
    if word is not None and word.direction == "in" and outs:
        assert word.at > max(outs)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_persons_last_word_stands_whatever_comes_first(order: tuple[int, ...]) -> None:
    """An echo of ours, then she subscribes, then she unsubscribes: no order of arrival may lose the last."""
    history = [event(OUT, 10), event(IN, 3600), event(OUT, 7200)]
    memory = a_memory(asked=(("out", 0),))
    for number in order:
        memory = learning.with_events(memory, [history[number]])
    assert [one.topic for one in whose.untold(memory)] == [IN, OUT]
    assert results.last_word(memory) == Word("out", at(7200))


class TestWhatOmneoShows:
    """What was read around a write of ours, and what takes an opt-out back."""

    def test_what_is_read_within_moments_of_our_write_may_be_what_was_before(self) -> None:
        given = comms(False)
        memory = learning.written(a_memory(event(OUT, 0)), given, {(event(OUT, 0).id, OUT)}, at(20))
        assert (memory.seen, memory.seen_at) == (Seen("out", None), at(20))
        assert learning.with_omneo(memory, comms(True), at(24)) == memory
        later = learning.with_omneo(memory, comms(True), at(25))
        assert (later.seen, later.seen_at) == (Seen("in", None), at(25))

    def test_what_omneo_shows_where_nothing_was_given_is_still_to_be_understood(self) -> None:
        memory = learning.with_omneo(a_memory(), comms(False), at(0))
        assert learning.written(memory, comms(True, 10), (), None) == memory
        seen = learning.written(memory, comms(True, 10), (), at(20))
        assert (seen.seen, seen.seen_at) == (Seen("in", at(10)), at(20))
        assert learning.written(memory, comms(False), (), at(20)) == memory  # since when stays as it was

    @pytest.mark.parametrize(
        ("before", "after", "is_so"),
        [
            (("out", 0), ("in", 30), True),
            (("out", 0), ("in", 50), False),  # the time of an event of Klaviyo's, which we wrote
            (("in", 0), ("in", 30), False),
            (("out", 0), ("out", 30), False),
            (None, ("in", 30), False),
            (("out", 0), None, False),
        ],
    )
    def test_an_opt_out_is_taken_back_in_omneo_by_an_opt_in_that_no_event_explains(
        self, before: tuple[Direction, float] | None, after: tuple[Direction, float] | None, is_so: bool
    ) -> None:
        known = [
            replace(a_memory(event(IN, 50)), seen=Seen(seen[0], at(seen[1])) if seen else None)
            for seen in (before, after)
        ]
        assert learning.is_opt_out_taken_back(*known) is is_so


@pytest.mark.parametrize(
    ("stamped", "is_written"), [(None, True), (30, True), (3600, False)], ids=["undated", "later", "ahead"]
)
def test_an_opt_out_is_written_again_where_omneo_shows_an_opt_in_with_a_stamp_ahead_of_the_clock(
    stamped: float | None, is_written: bool
) -> None:
    memory = written(a_memory(event(OUT, 10)), comms(False, 10))
    assert [one.is_written for one in memory.events] == [True]
    memory = learning.with_omneo(memory, comms(True, stamped), at(60))
    assert [one.is_written for one in memory.events] == [is_written]


def test_of_many_events_the_newest_are_remembered_and_whoever_is_still_to_be_told_of() -> None:
    told = [event(OUT, number, is_written=True, is_told=True) for number in range(1, 60)]
    memory = a_memory(event(IN, 0), *told)
    assert memory.events == (event(IN, 0), *told[-learning.MOST_EVENTS :])


class TestWhoseBesideOthers:
    """An event is judged by itself, whatever came before it."""

    def test_what_was_told_or_is_anothers_does_not_make_our_landing_hers(self) -> None:
        memory = a_memory(
            event(IN, 1, is_told=True), event(IN, 2, mark="other"), event(IN, 20), asked=(("in", 15),)
        )
        assert verdicts_of(memory) == [Verdict.PERSON, Verdict.PERSON, Verdict.OURS]

    def test_two_calls_have_two_landings(self) -> None:
        memory = a_memory(event(IN, 5), event(IN, 2000), asked=(("in", 0),))
        memory = calls.with_landing(memory, memory.calls[0], at(5))
        later = Call(Consent.EMAIL, "in", FIRST, at(1990), at(1990), at(1990))
        assert verdicts_of(calls.with_call(memory, later)) == [Verdict.OURS, Verdict.OURS]

    def test_an_act_under_two_topics_is_one_also_after_a_landing_of_ours(self) -> None:
        topics = (
            "unsubscribed_from_sms_marketing",
            "subscribed_to_sms_marketing",
            "subscribed_to_text_messaging_marketing",
        )
        events = [
            Decided(topic, topic, FIRST, at(seconds), decision)
            for topic, seconds, decision in zip(
                topics, (10, 7200, 7200), (Decision.OPT_OUT, Decision.OPT_IN, Decision.OPT_IN), strict=True
            )
        ]
        memory = calls.with_call(Memory(Channel.SMS), Call(Consent.SMS, "out", FIRST, at(0), at(0), at(0)))
        memory = learning.with_events(memory, events)
        assert sorted(verdicts_of(memory)) == sorted([Verdict.OURS, Verdict.PERSON, Verdict.TWIN])

    @pytest.mark.parametrize(
        ("channel", "seconds", "verdict"),
        [
            (Channel.EMAIL, 20, Verdict.PERSON),
            (Channel.SMS, 20, Verdict.OURS),
            (Channel.SMS, LANDING.seconds, Verdict.OURS),
            (Channel.SMS, LANDING.seconds + 1, Verdict.PERSON),  # our call has landed by then
        ],
    )
    def test_a_second_opt_in_after_her_opt_out_is_hers_where_klaviyo_shows_whose_it_is(
        self, channel: Channel, seconds: int, verdict: Verdict
    ) -> None:
        to, of = (f"{word}_{channel}_marketing" for word in ("subscribed_to", "unsubscribed_from"))
        acts = [(to, 5, Decision.OPT_IN), (of, 10, Decision.OPT_OUT), (to, seconds, Decision.OPT_IN)]
        events = [Decided(f"{after}", topic, FIRST, at(after), act) for topic, after, act in acts]
        call = Call(Consent(channel.value), "in", FIRST, at(0), at(0), at(0))
        memory = learning.with_events(calls.with_call(Memory(channel), call), events)
        assert verdicts_of(memory) == [Verdict.OURS, Verdict.PERSON, verdict]

    def test_an_opt_out_is_hers_where_she_opted_in_between_the_decision_and_the_call(self) -> None:
        call = Call(Consent.EMAIL, "out", FIRST, at(0), at(100), at(100))
        memory = calls.with_call(a_memory(event(IN, 50), event(OUT, 110)), call)
        assert verdicts_of(memory) == [Verdict.PERSON, Verdict.PERSON]
        assert verdicts_of(calls.with_call(a_memory(event(OUT, 110)), call)) == [Verdict.OURS]

    def test_an_opt_out_that_was_told_to_omneo_as_hers_stays_hers(self) -> None:
        assert verdicts_of(a_memory(event(OUT, 10, is_told=True), asked=(("out", 0),))) == [Verdict.PERSON]

    def test_one_opt_out_is_the_landing_of_one_call_and_the_next_of_the_next(self) -> None:
        memory = a_memory(event(OUT, 40), event(OUT, 100), asked=(("out", 0),))
        memory = calls.with_call(memory, Call(Consent.EMAIL, "out", FIRST, at(30), at(30), at(30)))
        assert verdicts_of(memory) == [Verdict.OURS, Verdict.OURS]

    def test_the_landings_of_one_way_are_not_those_of_the_other(self) -> None:
        memory = a_memory(event(IN, 5), event(OUT, 610), asked=(("in", 0), ("out", 600)), since=-1)
        assert verdicts_of(memory) == [Verdict.OURS, Verdict.OURS]
        assert [list(whose.our_landings(memory, way)) for way in ("in", "out")] == [[at(5)], [at(610)]]
