"""What Klaviyo's consent events come to: the published table, row by row, and that no order of arrival changes the end.

Beside the rules stands a model of what a flush keeps (`Kept`), because the end state depends on both.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.consent.inbox import Entry
from shared.consent.remembered import decided_of, event_of, foreign_stamps
from shared.consent.rules.decisions import (
    TABLE,
    TOPICS,
    TWINS,
    Decided,
    KlaviyoEmail,
    Move,
    decide,
    is_marked,
    is_subscribed,
    is_twin,
    merge,
    moves,
    needs_klaviyo,
    read_stamp,
    state_of,
    without_effect,
    write_stamp,
)
from shared.consent_events import Bounce, Channel, Decision, SystemEvent

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NO_STAMPS: dict[Channel, datetime | None] = {Channel.EMAIL: None, Channel.SMS: None}
OPT_IN, OPT_OUT, BOUNCED, NONE = Decision.OPT_IN, Decision.OPT_OUT, Decision.BOUNCED, Decision.NONE

SUBSCRIBED = KlaviyoEmail(consent="SUBSCRIBED")
UNSUBSCRIBED = KlaviyoEmail(consent="UNSUBSCRIBED")
UNDELIVERABLE = KlaviyoEmail(consent="SUBSCRIBED", suppressions=frozenset({"HARD_BOUNCE"}))

IN = {"email_promo": True, "email_optout": False}
OUT = {"email_promo": False}
IN_SMS, OUT_SMS = {"sms_promo": True, "sms_optout": False}, {"sms_promo": False}

# The consent table of the design, in its order: topic, what Klaviyo says now, what the event says of the bounce; then what is
# written besides the stamp, the signal, and the channel that is stamped.
ROWS: list[tuple[str, KlaviyoEmail | None, Bounce, dict[str, bool], int, str]] = [
    ("subscribed_to_email_marketing", SUBSCRIBED, "", {**IN, "email_bounced": False}, 1, "email"),
    ("subscribed_to_email_marketing", UNSUBSCRIBED, "", {**IN, "email_bounced": False}, 1, "email"),
    ("subscribed_to_email_marketing", UNDELIVERABLE, "", IN, 1, "email"),
    ("subscribed_to_email_marketing", None, "", IN, 1, "email"),
    ("subscribed_to_list", SUBSCRIBED, "", {**IN, "email_bounced": False}, 1, "email"),
    ("subscribed_to_list", UNDELIVERABLE, "", IN, 1, "email"),
    ("subscribed_to_list", UNSUBSCRIBED, "", {}, 1, ""),
    ("subscribed_to_list", KlaviyoEmail(consent="NEVER_SUBSCRIBED"), "", {}, 1, ""),
    ("subscribed_to_list", None, "", {}, 1, ""),
    ("unsubscribed_from_email_marketing", SUBSCRIBED, "", OUT, -1, "email"),
    ("unsubscribed_from_list", UNSUBSCRIBED, "", {}, 0, ""),
    ("bounced_email", SUBSCRIBED, "hard", {"email_bounced": True}, -1, ""),
    ("bounced_email", UNDELIVERABLE, "", {"email_bounced": True}, -1, ""),
    ("bounced_email", UNDELIVERABLE, "soft", {"email_bounced": True}, -1, ""),
    ("bounced_email", KlaviyoEmail(suppressions=frozenset({"INVALID_EMAIL"})), "", {"email_bounced": True}, -1, ""),
    ("bounced_email", KlaviyoEmail(suppressions=frozenset({"UNSUBSCRIBE"})), "", {}, 0, ""),
    ("bounced_email", SUBSCRIBED, "soft", {}, 0, ""),
    ("bounced_email", SUBSCRIBED, "", {}, 0, ""),
    ("bounced_email", None, "", {}, 0, ""),
    ("dropped_email", UNDELIVERABLE, "", {}, 0, ""),
    ("marked_email_as_spam", SUBSCRIBED, "", OUT, -1, "email"),
    ("manually_suppressed_from_email_marketing", SUBSCRIBED, "", OUT, -1, "email"),
    ("manually_unsuppressed_from_email_marketing", SUBSCRIBED, "", {}, 0, ""),
    ("updated_email_preferences", SUBSCRIBED, "", {}, 0, ""),
    ("subscribed_to_sms_marketing", None, "", IN_SMS, 1, "sms"),
    ("subscribed_to_text_messaging_marketing", None, "", IN_SMS, 1, "sms"),
    ("unsubscribed_from_sms_marketing", None, "", OUT_SMS, -1, "sms"),
    ("unsubscribed_from_text_messaging_marketing", None, "", OUT_SMS, -1, "sms"),
    ("failed_to_deliver_sms", None, "", {"sms_bounced": True}, -1, ""),
    ("failed_to_deliver_text_message", None, "", {"sms_bounced": True}, -1, ""),
]  # fmt: skip


def an_event(topic: str = "subscribed_to_email_marketing", **changes: Any) -> SystemEvent:
    """Return an event of noon."""
    return SystemEvent(**{"id": "e1", "topic": topic, "profile": "01P", "at": NOON, **changes})


def decided(topic: str, seconds: int = 0, decision: Decision | None = None, **changes: Any) -> Decided:
    """Return an event, so many seconds after noon, that came to what its row says."""
    outcome = TABLE[TWINS.get(topic, topic)].decision if decision is None else decision
    whole = Decided(f"{topic} {seconds}", topic, "01P", NOON + timedelta(seconds=seconds), outcome)
    return replace(whole, **changes)


OPTED_IN, OPTED_OUT = "subscribed_to_email_marketing", "unsubscribed_from_email_marketing"


class TestTheTable:
    def test_every_topic_has_its_rows_here(self) -> None:
        assert {row[0] for row in ROWS} == TOPICS

    @pytest.mark.parametrize(("topic", "klaviyo", "bounce", "written", "signal", "stamped"), ROWS)
    def test_a_row(
        self,
        topic: str,
        klaviyo: KlaviyoEmail | None,
        bounce: Bounce,
        written: dict[str, bool],
        signal: int,
        stamped: str,
    ) -> None:
        made = decide(an_event(topic, bounce=bounce), klaviyo)
        stamp = {f"{stamped}_consent_updated_at": "2026-11-21 12:00:00"} if stamped else {}
        assert merge([made], {}, NO_STAMPS) == {**written, **stamp}
        assert made.signal == signal

    @pytest.mark.parametrize("topic", sorted(TOPICS))
    def test_what_is_an_echo_or_a_twin_writes_nothing(self, topic: str) -> None:
        for decision in (Decision.ECHO, Decision.TWIN, Decision.UNKNOWN_PROFILE):
            assert merge([without_effect(an_event(topic), decision)], {}, NO_STAMPS) == {}

    def test_klaviyo_is_asked_where_a_row_or_the_mark_needs_it_and_nowhere_else(self) -> None:
        asked = {topic for topic in TOPICS if needs_klaviyo(an_event(topic))}
        assert asked == {"subscribed_to_email_marketing", "subscribed_to_list", "bounced_email"}
        assert needs_klaviyo(an_event("bounced_email", bounce="soft"))
        assert not needs_klaviyo(an_event("bounced_email", bounce="hard"))

    @pytest.mark.parametrize("topic", sorted(TOPICS))
    def test_where_klaviyo_is_not_asked_its_answer_would_change_nothing(self, topic: str) -> None:
        for bounce in ("hard", "soft", ""):
            event = an_event(topic, bounce=bounce)
            answers: tuple[KlaviyoEmail | None, ...] = (None, SUBSCRIBED, UNSUBSCRIBED, UNDELIVERABLE)
            if not needs_klaviyo(event):
                assert len({decide(event, klaviyo) for klaviyo in answers}) == 1
                marked = replace(SUBSCRIBED, marker="omneo")
                assert not is_marked(event, marked)


class TestOurMark:
    @pytest.mark.parametrize("spelling", ["omneo", "OMNEO", "Omneo", "oMnEo"])
    def test_it_is_known_in_any_case_on_the_consent(self, spelling: str) -> None:
        assert is_marked(an_event(), replace(SUBSCRIBED, marker=spelling))
        assert is_marked(an_event("subscribed_to_list"), replace(SUBSCRIBED, marker=spelling))

    @pytest.mark.parametrize("spelling", ["", "omneo2", "not omneo", "klaviyo"])
    def test_what_is_not_the_mark_is_a_persons_own_act(self, spelling: str) -> None:
        assert not is_marked(an_event(), replace(SUBSCRIBED, marker=spelling))

    def test_what_the_event_itself_says_goes_first(self) -> None:
        assert is_marked(an_event(method="omneo"), None)
        assert is_marked(an_event("unsubscribed_from_sms_marketing", method="omneo"), None)
        assert not is_marked(an_event(method="other"), replace(SUBSCRIBED, marker="omneo"))

    @pytest.mark.parametrize(
        "topic", sorted(TOPICS - {"subscribed_to_email_marketing", "subscribed_to_list"})
    )
    def test_the_mark_of_a_consent_says_nothing_of_any_other_event(self, topic: str) -> None:
        assert not is_marked(an_event(topic), replace(SUBSCRIBED, marker="omneo", changed_at=NOON))

    @pytest.mark.parametrize(
        ("minutes", "marked"), [(-60, True), (0, True), (10, True), (11, False), (600, False)]
    )
    def test_an_opt_in_long_before_our_consent_is_another_act(self, minutes: int, marked: bool) -> None:
        changed_at = NOON + timedelta(minutes=minutes)
        assert is_marked(an_event(), replace(SUBSCRIBED, marker="omneo", changed_at=changed_at)) is marked

    def test_it_is_read_from_klaviyos_profile(self) -> None:
        marketing = {
            "consent": "SUBSCRIBED",
            "custom_method_detail": "Omneo",
            "consent_timestamp": "2026-11-21T10:00:00.25+00:00",
            "last_updated": "2026-11-21T23:00:00+11:00",
            "suppression": [{"reason": "HARD_BOUNCE", "timestamp": "2026-01-01T00:00:00+00:00"}],
        }
        read = KlaviyoEmail.read({"email": {"marketing": marketing}})
        assert read == KlaviyoEmail("SUBSCRIBED", frozenset({"HARD_BOUNCE"}), "Omneo", NOON)
        assert (read.is_subscribed, read.is_bounced) == (True, True)
        del marketing["last_updated"]
        earlier = KlaviyoEmail.read({"email": {"marketing": marketing}}).changed_at
        assert earlier == NOON - timedelta(hours=2)

    @pytest.mark.parametrize(
        "subscriptions",
        [
            None,
            {},
            [],
            {"email": None},
            {"email": {}},
            {"email": {"marketing": None}},
            {"email": {"marketing": {}}},
        ],
        ids=str,
    )
    def test_a_profile_without_consent_is_nothing(self, subscriptions: object) -> None:
        assert KlaviyoEmail.read(subscriptions) == KlaviyoEmail()


class TestStamps:
    def test_one_is_written_in_utc_without_a_zone(self) -> None:
        there = datetime.fromisoformat("2026-11-21T23:00:00+11:00")
        assert write_stamp(there) == "2026-11-21 12:00:00"

    @pytest.mark.parametrize(
        "text",
        [
            "2026-11-21 12:00:00",
            "2026-11-21T12:00:00Z",
            "2026-11-21T12:00:00.000000Z",
            "2026-11-21T12:00:00.999999+00:00",
            "2026-11-21T23:00:00+11:00",
            " 2026-11-21 12:00:00 ",
        ],
    )
    def test_either_of_omneos_formats_is_read(self, text: str) -> None:
        assert read_stamp(text) == NOON

    @pytest.mark.parametrize("value", [None, "", "soon", "0000-00-00 00:00:00", 1_795_262_400, True, [], {}, "0001-01-01T00:00:00+10:00"], ids=str)  # fmt: skip
    def test_what_is_no_stamp_is_none(self, value: object) -> None:
        assert read_stamp(value) is None

    @given(st.timedeltas(timedelta(days=-20_000), timedelta(days=300_000)))
    def test_what_is_written_is_read_back_to_the_second(self, passed: timedelta) -> None:
        moment = NOON + passed
        assert read_stamp(write_stamp(moment)) == moment.replace(microsecond=0)

    def test_a_bounce_is_no_decision_of_a_persons_and_gets_none(self) -> None:
        assert merge([decided("bounced_email")], {}, NO_STAMPS) == {"email_bounced": True}
        assert merge([decided("failed_to_deliver_sms")], {}, NO_STAMPS) == {"sms_bounced": True}


class TestMerging:
    @pytest.mark.parametrize("topic", [OPTED_IN, OPTED_OUT, "bounced_email"])
    def test_what_is_older_than_the_stamp_in_omneo_changes_nothing(self, topic: str) -> None:
        assert merge([decided(topic, -1)], {}, {**NO_STAMPS, Channel.EMAIL: NOON}) == {}

    def test_a_stamp_holds_for_its_own_channel_alone(self) -> None:
        both = [decided(OPTED_OUT, -1), decided("unsubscribed_from_sms_marketing", -1)]
        assert merge(both, {}, {**NO_STAMPS, Channel.EMAIL: NOON}) == {
            "sms_promo": False,
            "sms_consent_updated_at": "2026-11-21 11:59:59",
        }

    def test_at_the_second_of_the_stamp_an_opt_out_counts_and_an_opt_in_gives_way(self) -> None:
        stamps = {**NO_STAMPS, Channel.EMAIL: NOON}
        held = {"email_promo": True, "email_consent_updated_at": "2026-11-21 12:00:00"}
        assert merge([decided(OPTED_OUT)], held, stamps) == {"email_promo": False}
        assert merge([decided(OPTED_IN, clears_bounce=True)], {**held, "email_promo": False}, stamps) == {}

    @pytest.mark.parametrize("first", [OPTED_IN, OPTED_OUT])
    def test_at_the_same_second_an_opt_out_wins_whichever_came_first(self, first: str) -> None:
        both = [decided(OPTED_IN, id="b"), decided(OPTED_OUT, id="a" if first == OPTED_OUT else "c")]
        assert merge(both, {}, NO_STAMPS)["email_promo"] is False

    def test_at_the_same_second_a_bounce_is_not_cleared(self) -> None:
        both = [decided(OPTED_IN, id="z", clears_bounce=True), decided("bounced_email", id="a")]
        assert merge(both, {}, NO_STAMPS)["email_bounced"] is True

    def test_the_newest_has_the_last_word_and_the_stamp(self) -> None:
        three = [decided(OPTED_IN, 2), decided(OPTED_OUT, 1), decided(OPTED_IN, 0)]
        assert merge(three, {}, NO_STAMPS) == {**IN, "email_consent_updated_at": "2026-11-21 12:00:02"}

    def test_a_bounce_after_the_last_decision_leaves_decision_and_stamp(self) -> None:
        assert merge([decided(OPTED_IN), decided("bounced_email", 5)], {}, NO_STAMPS) == {
            **IN,
            "email_bounced": True,
            "email_consent_updated_at": "2026-11-21 12:00:00",
        }

    @pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0), ("1", "0"), ("true", "false")])
    def test_only_what_changes_is_written_however_omneo_writes_its_flags(self, yes: Any, no: Any) -> None:
        held = {"email_promo": yes, "email_optout": no, "email_consent_updated_at": "2026-11-21T12:00:00Z"}
        assert merge([decided(OPTED_IN)], held, NO_STAMPS) == {}
        assert merge([decided(OPTED_IN)], {**held, "email_promo": no}, NO_STAMPS) == {"email_promo": True}
        assert merge([decided(OPTED_IN)], {**held, "email_optout": None}, NO_STAMPS) == {
            "email_optout": False
        }

    def test_nothing_is_written_for_nothing(self) -> None:
        assert merge([], {"email_promo": True}, {}) == {}

    def test_an_event_without_effect_does_not_undo_what_omneo_was_told_since_without_a_stamp(self) -> None:
        opt_in = decided(OPTED_IN)
        held = {**IN, "email_optout": True, "email_consent_updated_at": "2026-11-21 12:00:00"}
        for topic in ("updated_email_preferences", "dropped_email", "unsubscribed_from_list"):
            assert merge([opt_in, decided(topic, 9)], held, NO_STAMPS, done={opt_in.id}) == {}
        assert merge([opt_in, decided("bounced_email", 9)], held, NO_STAMPS, done={opt_in.id}) == {
            "email_bounced": True
        }

    def test_a_new_opt_in_does(self) -> None:
        opt_in, again = decided(OPTED_IN), decided(OPTED_IN, 60)
        held = {**IN, "email_optout": True, "email_consent_updated_at": "2026-11-21 12:00:00"}
        assert merge([opt_in, again], held, NO_STAMPS, done={opt_in.id}) == {
            "email_optout": False,
            "email_consent_updated_at": "2026-11-21 12:01:00",
        }

    def test_an_older_opt_in_that_comes_late_writes_what_no_newer_event_has_written(self) -> None:
        opt_out = decided(OPTED_OUT, 60)
        held = {"email_promo": False, "email_optout": True, "email_consent_updated_at": "2026-11-21 12:01:00"}
        assert merge([opt_out, decided(OPTED_IN)], held, NO_STAMPS, done={opt_out.id}) == {
            "email_optout": False
        }


def test_subscribed_is_blocked_only_by_a_recorded_no() -> None:
    assert is_subscribed({}, Channel.EMAIL)
    assert is_subscribed(dict.fromkeys(("sms_promo", "sms_optout", "sms_bounced")), Channel.SMS)
    for no in ({"email_promo": False}, {"email_optout": True}, {"email_bounced": True}, {"email_promo": "0"}):
        assert not is_subscribed({"email_promo": True, **no}, Channel.EMAIL)
        assert is_subscribed(no, Channel.SMS)


@pytest.mark.parametrize(
    ("comms", "word"),
    [
        ({}, "unset"),
        ({"email_promo": True}, "subscribed"),
        ({"email_promo": False}, "unsubscribed"),
        ({"email_promo": True, "email_optout": True}, "unsubscribed"),
        ({"email_promo": True, "email_bounced": True}, "bounced"),
        ({"email_promo": True, "email_bounced": "0"}, "subscribed"),
    ],
)
def test_consent_is_told_in_a_word(comms: Mapping[str, Any], word: str) -> None:
    assert state_of(comms, Channel.EMAIL) == word


class TestMoves:
    def told(self, made: Iterable[Move]) -> list[tuple[str, str, str]]:
        return [(move.event.topic, move.before, move.after) for move in made]

    def test_each_decision_says_what_it_did(self) -> None:
        three = [decided("bounced_email", 2), decided(OPTED_OUT, 1), decided(OPTED_IN)]
        assert self.told(moves(three, {}, NO_STAMPS)) == [
            (OPTED_IN, "unset", "subscribed"),
            (OPTED_OUT, "subscribed", "unsubscribed"),
            ("bounced_email", "unsubscribed", "bounced"),
        ]

    def test_one_that_gives_way_did_nothing_and_is_told_all_the_same(self) -> None:
        stamps = {**NO_STAMPS, Channel.EMAIL: NOON}
        made = moves([decided(OPTED_IN, -1)], {"email_promo": False}, stamps)
        assert self.told(made) == [(OPTED_IN, "unsubscribed", "unsubscribed")]

    def test_one_that_comes_late_did_not_undo_a_newer_one(self) -> None:
        newer = decided(OPTED_OUT, 60)
        held = {"email_promo": False, "email_consent_updated_at": "2026-11-21 12:01:00"}
        made = moves([decided(OPTED_IN)], held, NO_STAMPS, before=[newer])
        assert self.told(made) == [(OPTED_IN, "unsubscribed", "unsubscribed")]

    def test_what_decides_nothing_is_not_told(self) -> None:
        silent = [decided(OPTED_IN, decision=word) for word in (NONE, Decision.ECHO, Decision.TWIN)]
        assert moves(silent, {}, NO_STAMPS) == []


class TestTwins:
    @pytest.mark.parametrize(("newer", "older"), TWINS.items())
    def test_the_second_of_two_names_is_a_twin_whichever_it_is(self, newer: str, older: str) -> None:
        for first, second in ((newer, older), (older, newer)):
            assert not is_twin(an_event(first), [])
            assert is_twin(an_event(second, id="e2"), [decided(first)])

    @pytest.mark.parametrize(
        "change",
        [{"profile": "01Q"}, {"at": NOON + timedelta(seconds=1)}, {"topic": "failed_to_deliver_sms"}],
    )
    def test_another_act_is_none(self, change: dict[str, Any]) -> None:
        event = an_event(**{"topic": "subscribed_to_text_messaging_marketing", "id": "e2", **change})
        assert not is_twin(event, [decided("subscribed_to_sms_marketing")])

    def test_two_of_one_name_are_two_acts(self) -> None:
        assert not is_twin(an_event(id="e2"), [decided(OPTED_IN)])

    @given(
        topics=st.lists(
            st.sampled_from(["failed_to_deliver_sms", "failed_to_deliver_text_message"]), max_size=8
        ),
        echoes=st.lists(st.booleans(), min_size=8, max_size=8),
    )
    def test_any_order_of_arrival_counts_the_same(self, topics: list[str], echoes: list[bool]) -> None:
        known: list[Decided] = []
        for number, topic in enumerate(topics):
            event = an_event(topic, id=str(number))
            outcome = Decision.TWIN if is_twin(event, known) else Decision.ECHO if echoes[number] else BOUNCED
            known.append(without_effect(event, outcome))
        counted = sum(one.decision is not Decision.TWIN for one in known)
        assert counted == max(Counter(topics).values(), default=0)


# --- Whatever the order.


@dataclass
class Kept:
    """What Omneo holds and the inbox remembers of one Omneo profile, and how a flush changes both."""

    comms: dict[str, Any]
    klaviyo: Mapping[str, KlaviyoEmail]
    entries: dict[str, Entry] = field(default_factory=dict)

    def flush(self, arrived: Iterable[SystemEvent], *, dies: bool = False) -> None:
        """Flush the events of one Klaviyo profile; one that dies has kept its decisions, and written nothing."""
        for event in arrived:
            self.entries.setdefault(event.id, _entry(event))
        profiles = {event.profile for event in arrived}
        waiting = [e for e in self._remembered() if e.open and e.profile in profiles]
        before = [entry for entry in self._remembered() if entry.omneo]
        foreign = foreign_stamps(self.comms, before)
        known = [decided_of(entry) for entry in before]
        for entry in waiting:
            if not entry.decision:
                known.append(self._decide(entry, known, foreign))
        if dies:
            return
        done = {entry.event_id for entry in before if entry.stage == "done"}
        self.comms |= merge(known, self.comms, foreign, done=done)
        for entry in waiting:
            self._keep(self.entries[entry.event_id], stage="done", open=False)

    def counted(self) -> Counter[tuple[str, str]]:
        """Return how many acts of each kind were counted, and how they were decided."""
        return Counter(
            (TWINS.get(e.topic, e.topic), e.decision)
            for e in self.entries.values()
            if e.decision != Decision.TWIN
        )

    def _decide(
        self, entry: Entry, known: list[Decided], foreign: Mapping[Channel, datetime | None]
    ) -> Decided:
        event = event_of(entry)
        made = (
            without_effect(event, Decision.TWIN)
            if is_twin(event, known)
            else decide(event, self.klaviyo[event.profile])
        )
        self._keep(
            entry,
            omneo="omneo-1",
            decision=made.decision,
            clears_bounce=made.clears_bounce,
            foreign_stamp=foreign.get(made.channel),
            stage="decided",
        )
        return made

    def _keep(self, entry: Entry, **changes: Any) -> None:
        self.entries[entry.event_id] = replace(entry, **changes)

    def _remembered(self) -> list[Entry]:
        return sorted(self.entries.values(), key=lambda entry: (entry.at, entry.event_id))


def _entry(event: SystemEvent) -> Entry:
    return Entry(
        id=event.id,
        event_id=event.id,
        topic=event.topic,
        profile=event.profile,
        at=event.at,
        bounce=event.bounce,
        method=event.method,
        received_at=NOON,
    )


PROFILES = ("01P", "01Q", "01R")
emails = st.sampled_from([SUBSCRIBED, UNSUBSCRIBED, UNDELIVERABLE, KlaviyoEmail()])
# A few seconds for many events, so that many fall into one.
seconds = st.integers(0, 3).map(lambda number: NOON + timedelta(seconds=number))
flags = st.sampled_from([True, False, None])
stamps = st.none() | st.integers(-1, 4).map(lambda number: write_stamp(NOON + timedelta(seconds=number)))


@st.composite
def histories(draw: st.DrawFn) -> list[SystemEvent]:
    """Draw what happened to a person who has several Klaviyo profiles; some acts come under both names."""
    acts = draw(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(TOPICS)),
                st.sampled_from(PROFILES),
                seconds,
                st.sampled_from(["hard", "soft", ""]),
            ),
            min_size=1,
            max_size=10,
        )
    )
    history = []
    names = {**TWINS, **{older: newer for newer, older in TWINS.items()}}
    for number, (topic, profile, at, bounce) in enumerate(acts):
        both = [topic, names[topic]] if topic in names and draw(st.booleans()) else [topic]
        for place, name in enumerate(both):
            # Ids that sort otherwise than the events happened.
            id = f"{draw(st.integers(0, 9))}-{number}-{place}"
            history.append(an_event(name, id=id, profile=profile, at=at, bounce=bounce))
    return history


@st.composite
def initial_comms(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what Omneo holds before: every flag, and a stamp of somebody else's or none, on each channel."""
    comms: dict[str, Any] = {}
    for channel in Channel:
        comms |= {f"{channel}_{name}": draw(flags) for name in ("promo", "optout", "bounced")}
        comms[f"{channel}_consent_updated_at"] = draw(stamps)
    return comms


def written_by_hand(
    history: Iterable[SystemEvent], comms: Mapping[str, Any], klaviyo: Mapping[str, KlaviyoEmail]
) -> dict[str, Any]:
    """Return what the design's words come to: events in time order, opt-outs last in a second, none older than the stamp."""
    held = dict(comms)
    foreign = {channel: comms[f"{channel}_consent_updated_at"] for channel in Channel}
    rows = []
    for event in history:
        made = decide(event, klaviyo[event.profile])
        order = [NONE, OPT_IN, BOUNCED, OPT_OUT].index(made.decision)
        rows.append((event.at, order, made))
    for at, _, made in sorted(rows, key=lambda row: row[:2]):
        stamp, mine = foreign[made.channel], write_stamp(at)
        if stamp is not None and (mine < stamp or (mine == stamp and made.decision is OPT_IN)):
            continue
        if made.decision is BOUNCED:
            held[f"{made.channel}_bounced"] = True
        elif made.decision is not NONE:
            held[f"{made.channel}_promo"] = made.decision is OPT_IN
            held[f"{made.channel}_consent_updated_at"] = mine
        if made.decision is OPT_IN:
            held[f"{made.channel}_optout"] = False
            if made.clears_bounce:
                held["email_bounced"] = False
    return held


@given(
    history=histories(),
    comms=initial_comms(),
    klaviyo=st.fixed_dictionaries(dict.fromkeys(PROFILES, emails)),
    chance=st.randoms(use_true_random=False),
)
@example(
    history=[an_event(OPTED_OUT, id="1", at=NOON), an_event(OPTED_IN, id="2", at=NOON, profile="01Q")],
    comms={f"{channel}_{name}": None for channel in Channel for name in ("promo", "optout", "bounced")}
    | {"email_consent_updated_at": write_stamp(NOON), "sms_consent_updated_at": None},
    klaviyo=dict.fromkeys(PROFILES, SUBSCRIBED),
    chance=random.Random(1),
)
def test_any_order_any_repetition_and_any_split_into_flushes_end_the_same(
    history: list[SystemEvent],
    comms: dict[str, Any],
    klaviyo: dict[str, KlaviyoEmail],
    chance: random.Random,
) -> None:
    straight, shuffled = Kept(dict(comms), klaviyo), Kept(dict(comms), klaviyo)
    for event in sorted(history, key=lambda event: event.at):
        straight.flush([event])
    arrivals = history + chance.sample(history, chance.randint(0, len(history)))
    chance.shuffle(arrivals)
    while arrivals:
        size = chance.randint(1, len(arrivals))
        part, arrivals = arrivals[:size], arrivals[size:]
        for profile in chance.sample(PROFILES, len(PROFILES)):
            if mine := [event for event in part if event.profile == profile]:
                shuffled.flush(mine, dies=chance.random() < 0.2)
    for profile in PROFILES:  # whatever had died is done in the end
        shuffled.flush([event for event in history if event.profile == profile])
    assert shuffled.comms == straight.comms == written_by_hand(history, comms, klaviyo)
    assert shuffled.counted() == straight.counted()


@given(
    first=histories(),
    second=histories(),
    klaviyo=st.fixed_dictionaries(dict.fromkeys(PROFILES, emails)),
    changes=st.dictionaries(
        st.sampled_from(
            [f"{channel}_{name}" for channel in Channel for name in ("promo", "optout", "bounced")]
        ),
        flags,
    ),
)
def test_what_was_changed_in_omneo_without_a_stamp_stays_unless_a_new_event_says_otherwise(
    first: list[SystemEvent],
    second: list[SystemEvent],
    klaviyo: dict[str, KlaviyoEmail],
    changes: dict[str, bool | None],
) -> None:
    kept = Kept({}, klaviyo)
    for event in first:
        kept.flush([event])
    kept.comms |= changes
    fresh = [event.model_copy(update={"id": f"second {event.id}"}) for event in second]
    spoken_of = {
        name for event in fresh for name in merge([decide(event, klaviyo[event.profile])], {}, NO_STAMPS)
    }
    for event in fresh:
        kept.flush([event])
    untouched = changes.keys() - spoken_of
    assert {name: kept.comms[name] for name in untouched} == {name: changes[name] for name in untouched}


class TestForeignStamps:
    def an_entry(self, topic: str, at: datetime, decision: Decision, foreign: datetime | None) -> Entry:
        event = an_event(topic, id=f"{topic} {at}", at=at)
        return replace(_entry(event), omneo="omneo-1", decision=decision, foreign_stamp=foreign)

    def test_a_stamp_that_no_event_wrote_is_foreign(self) -> None:
        comms = {"email_consent_updated_at": "2026-11-21 12:00:00", "sms_consent_updated_at": None}
        older = self.an_entry(OPTED_IN, NOON - timedelta(seconds=1), OPT_IN, None)
        assert foreign_stamps(comms, []) == {Channel.EMAIL: NOON, Channel.SMS: None}
        assert foreign_stamps(comms, [older]) == {Channel.EMAIL: NOON, Channel.SMS: None}

    def test_one_of_ours_stands_for_the_one_it_replaced(self) -> None:
        comms = {"email_consent_updated_at": "2026-11-21 12:00:00"}
        before = NOON - timedelta(days=1)
        assert foreign_stamps(comms, [self.an_entry(OPTED_IN, NOON, OPT_IN, before)])[Channel.EMAIL] == before
        assert foreign_stamps(comms, [self.an_entry(OPTED_OUT, NOON, OPT_OUT, None)])[Channel.EMAIL] is None

    @pytest.mark.parametrize("decision", [NONE, BOUNCED, Decision.ECHO, Decision.TWIN])
    def test_an_event_that_writes_no_stamp_is_not_whose_it_is(self, decision: Decision) -> None:
        comms = {"email_consent_updated_at": "2026-11-21 12:00:00"}
        assert foreign_stamps(comms, [self.an_entry(OPTED_IN, NOON, decision, None)])[Channel.EMAIL] == NOON

    def test_an_event_of_the_other_channel_is_not_whose_it_is(self) -> None:
        comms = {"email_consent_updated_at": "2026-11-21 12:00:00"}
        other = self.an_entry("subscribed_to_sms_marketing", NOON, OPT_IN, None)
        assert foreign_stamps(comms, [other])[Channel.EMAIL] == NOON
