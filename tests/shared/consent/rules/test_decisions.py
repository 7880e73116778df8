"""What Klaviyo's consent events come to: the published table, row by row, and what several of them write together."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.consent.rules import learning, results
from shared.consent.rules.decisions import (
    TABLE,
    TOPICS,
    TWINS,
    Decided,
    KlaviyoEmail,
    decide,
    is_subscribed,
    landing_of,
    mark_of,
    needs_klaviyo,
    read_stamp,
    row_of,
    state_of,
    write_stamp,
)
from shared.consent.rules.memory import Memory
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


def merge(
    events: Iterable[Decided],
    comms: Mapping[str, Any],
    stamps: Mapping[Channel, datetime | None],
    *,
    done: Iterable[str] = (),
) -> dict[str, Any]:
    """Return what Omneo is given of these events, where it holds this, with stamps of its own; `done` were given before."""
    given: dict[str, Any] = {}
    for memory in remembered(events, stamps, done):
        given |= results.to_omneo(memory, comms)
    return given


def remembered(
    events: Iterable[Decided], stamps: Mapping[Channel, datetime | None], done: Iterable[str] = ()
) -> list[Memory]:
    """Return the memories of both channels; the events in `done` were given to Omneo, and told, before."""
    known = set(done)
    events = [replace(one, is_written=one.id in known, is_told=one.id in known) for one in events]
    return [
        learning.with_events(
            Memory(channel, omneo_in=stamps.get(channel)),
            [one for one in events if one.channel is channel and one.decision is not NONE],
        )
        for channel in Channel
    ]


ASKED = {"subscribed_to_email_marketing", "subscribed_to_list", "bounced_email"}


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

    def test_klaviyo_is_asked_where_a_row_or_the_mark_needs_it_and_nowhere_else(self) -> None:
        asked = {topic for topic in TOPICS if needs_klaviyo(an_event(topic))}
        assert asked == ASKED
        assert needs_klaviyo(an_event("bounced_email", bounce="soft"))
        assert not needs_klaviyo(an_event("bounced_email", bounce="hard"))

    @pytest.mark.parametrize(
        ("topic", "bounce"),
        [("bounced_email", "hard"), *((topic, "") for topic in sorted(TOPICS - ASKED))],
    )
    def test_where_klaviyo_is_not_asked_its_answer_would_change_nothing(
        self, topic: str, bounce: Bounce
    ) -> None:
        event = an_event(topic, bounce=bounce)
        assert not needs_klaviyo(event)
        answers: tuple[KlaviyoEmail | None, ...] = (None, SUBSCRIBED, UNSUBSCRIBED, UNDELIVERABLE)
        assert len({decide(event, klaviyo) for klaviyo in answers}) == 1
        assert mark_of(event, replace(SUBSCRIBED, marker="omneo")) != "omneo"


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_call_of_ours_lands_as_an_opt_in_or_an_opt_out_and_as_nothing_else(topic: str) -> None:
    landing = landing_of(an_event(topic))
    if row_of(topic).decision not in (OPT_IN, OPT_OUT):
        assert landing is None
    else:
        assert landing is not None
        assert (landing.topic, landing.decision) == (topic, row_of(topic).decision)
        assert (landing.is_written, landing.is_told) == (False, False)


class TestOurMark:
    @pytest.mark.parametrize("spelling", ["omneo", "OMNEO", "Omneo", "oMnEo"])
    def test_it_is_known_in_any_case_on_the_consent(self, spelling: str) -> None:
        assert mark_of(an_event(), replace(SUBSCRIBED, marker=spelling)) == "omneo"
        assert mark_of(an_event("subscribed_to_list"), replace(SUBSCRIBED, marker=spelling)) == "omneo"

    @pytest.mark.parametrize("spelling", ["", "omneo2", "not omneo", "klaviyo"])
    def test_what_is_not_the_mark_is_a_persons_own_act(self, spelling: str) -> None:
        assert mark_of(an_event(), replace(SUBSCRIBED, marker=spelling)) != "omneo"

    def test_what_the_event_itself_says_goes_first(self) -> None:
        assert mark_of(an_event(method="omneo"), None) == "omneo"
        assert mark_of(an_event("unsubscribed_from_sms_marketing", method="omneo"), None) == ""
        assert mark_of(an_event(method="other"), replace(SUBSCRIBED, marker="omneo")) != "omneo"

    @pytest.mark.parametrize(
        "topic", sorted(TOPICS - {"subscribed_to_email_marketing", "subscribed_to_list"})
    )
    def test_the_mark_of_a_consent_says_nothing_of_any_other_event(self, topic: str) -> None:
        assert mark_of(an_event(topic), replace(SUBSCRIBED, marker="omneo", changed_at=NOON)) != "omneo"

    @pytest.mark.parametrize(
        ("seconds", "marked"), [(-3600, True), (0, True), (10, True), (11, False), (36_000, False)]
    )
    def test_an_opt_in_long_before_our_consent_is_another_act(self, seconds: int, marked: bool) -> None:
        changed_at = NOON + timedelta(seconds=seconds)
        assert (
            mark_of(an_event(), replace(SUBSCRIBED, marker="omneo", changed_at=changed_at)) == "omneo"
        ) is marked

    @pytest.mark.parametrize("seconds", [-2, 0, 2])
    def test_another_mark_is_that_of_the_opt_in_by_which_klaviyo_has_the_consent_at_that_moment(
        self, seconds: int
    ) -> None:
        changed_at = NOON + timedelta(seconds=seconds)
        anothers = replace(SUBSCRIBED, marker="klaviyo", changed_at=changed_at)
        assert mark_of(an_event(), anothers) == "other"
        assert mark_of(an_event(), replace(anothers, changed_at=NOON + timedelta(seconds=3))) == ""
        assert mark_of(an_event(), replace(anothers, consent="UNSUBSCRIBED")) == ""
        assert mark_of(an_event(), replace(anothers, marker=None)) == ""

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
    @pytest.mark.parametrize("topic", [OPTED_IN, OPTED_OUT])
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
    def told(
        self,
        events: Iterable[Decided],
        held: Mapping[str, Any],
        stamps: Mapping[Channel, datetime | None] = NO_STAMPS,
        done: Iterable[str] = (),
    ) -> list[tuple[str, str, str]]:
        made = [move for memory in remembered(events, stamps, done) for move in results.moves(memory, held)]
        return [(move.event.topic, move.before, move.after) for move in made]

    def test_each_decision_says_what_it_did(self) -> None:
        three = [decided("bounced_email", 2), decided(OPTED_OUT, 1), decided(OPTED_IN)]
        assert self.told(three, {}) == [
            (OPTED_IN, "unset", "subscribed"),
            (OPTED_OUT, "subscribed", "unsubscribed"),
            ("bounced_email", "unsubscribed", "bounced"),
        ]

    def test_one_that_gives_way_did_nothing_and_is_told_all_the_same(self) -> None:
        stamps = {**NO_STAMPS, Channel.EMAIL: NOON}
        made = self.told([decided(OPTED_IN, -1)], {"email_promo": False}, stamps)
        assert made == [(OPTED_IN, "unsubscribed", "unsubscribed")]

    def test_one_that_comes_late_did_not_undo_a_newer_one(self) -> None:
        newer = decided(OPTED_OUT, 60)
        held = {"email_promo": False, "email_consent_updated_at": "2026-11-21 12:01:00"}
        assert self.told([decided(OPTED_IN), newer], held, done=[newer.id]) == [
            (OPTED_IN, "unsubscribed", "unsubscribed")
        ]
