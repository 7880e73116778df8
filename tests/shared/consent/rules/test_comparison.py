"""Omneo's consent against Klaviyo's: a table of single decisions, and what holds over any history of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared import consent_events
from shared.consent.rules.calls import with_call
from shared.consent.rules.comparison import ConsentRules, consent_steps, step_of, still_asked
from shared.consent.rules.decisions import Decided, read_stamp
from shared.consent.rules.held import Subject, with_klaviyo
from shared.consent.rules.learning import with_events, with_omneo
from shared.consent.rules.memory import LANDING, Call, Memory
from shared.consent.rules.step import Outcome, Reason, Step
from shared.consent.rules.whose import Verdict, verdict_of
from shared.consent_events import Consent, Decision

Channel = Literal["email", "sms"]

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
EARLY, MIDDLE, LATE = "2026-03-01 10:00:00", "2026-05-01 10:00:00", "2026-07-01 10:00:00"
PERSONAL = ("USER_SUPPRESSED", "SPAM_COMPLAINT", "UNSUBSCRIBE")
BOUNCES = ("HARD_BOUNCE", "INVALID_EMAIL")
CHANNELS: tuple[Channel, ...] = ("email", "sms")

Json = dict[str, Any]


def klaviyo(
    consent: str | None,
    at: str | None = None,
    *,
    updated: str | None = None,
    suppressed: str = "",
    suppressed_at: str | None = None,
    channel: Channel = "email",
) -> Json:
    """Return Klaviyo's `subscriptions`, which says for every channel more than is compared."""
    marketing: Json = {
        f"can_receive_{channel}_marketing": consent != "SUBSCRIBED",  # a lie that nobody may believe
        "consent": consent,
        "consent_timestamp": at,
        "last_updated": updated,
    }
    if channel == "email":
        rows = [{"reason": suppressed, "timestamp": suppressed_at}] if suppressed else []
        marketing |= {"suppression": rows, "list_suppressions": [{"list_id": "x", "timestamp": LATE}]}
    return {channel: {"marketing": marketing}, "whatsapp": None}


def ask(
    subscriptions: Json | None,
    *,
    channel: Channel = "email",
    unset: Literal["subscribe", "leave"] = "subscribe",
    has_identifier: bool = True,
    stamp: object = None,
    **comms: object,
) -> Step:
    named = {f"{channel}_{name}": value for name, value in comms.items()}
    named[f"{channel}_consent_updated_at"] = stamp
    return found(channel, named, subscriptions, unset, has_identifier=has_identifier)


def found(
    channel: Channel, comms: Json, subscriptions: Json | None, unset: str, *, has_identifier: bool = True
) -> Step:
    """Return what is to be done where nothing is remembered."""
    memory = with_omneo(Memory(consent_events.Channel(channel)), comms, NOW)
    subject = Subject("01HX", "canary-address" if has_identifier else "", subscriptions)
    return step_of(memory, comms, subject, unset=unset, now=NOW)


def both(decision: Step) -> tuple[str, str]:
    return decision.outcome.value, decision.reason.value


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("comms", "subscribed"),
    [
        ({"promo": True}, True),
        ({"promo": None}, True),
        ({}, True),
        ({"promo": True, "optout": None, "bounced": None}, True),
        ({"promo": True, "optout": False, "bounced": False}, True),
        ({"promo": False}, False),
        ({"promo": 0}, False),
        ({"promo": True, "optout": True}, False),
        ({"promo": None, "optout": True}, False),
        ({"promo": False, "optout": False, "bounced": True}, False),
    ],
)
def test_a_new_profile_gets_what_omneo_says(channel: Channel, comms: Json, subscribed: bool) -> None:
    step = ask(None, channel=channel, **comms)
    assert both(step) == (
        ("subscribe", "fills_never_subscribed")
        if subscribed
        else ("unsubscribe", "opt_out_of_never_subscribed")
    )


@pytest.mark.parametrize(
    "subscriptions", [None, {}, {"email": None}, {"email": {"marketing": None}}, klaviyo(None)]
)
def test_a_channel_that_klaviyo_does_not_mention_was_never_subscribed(subscriptions: Json | None) -> None:
    assert both(ask(subscriptions, promo=True)) == ("subscribe", "fills_never_subscribed")


@pytest.mark.parametrize("consent", ["NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"])
@pytest.mark.parametrize("promo", [True, False, None])
def test_without_an_identifier_nothing_is_said(consent: str, promo: bool | None) -> None:
    step = ask(klaviyo(consent), promo=promo, stamp=LATE, has_identifier=False)
    assert both(step) == ("leave", "no_identifier")


class TestNeverRecorded:
    """`promo` is null."""

    @pytest.mark.parametrize("consent", ["NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"])
    def test_with_leave_it_is_no_opinion(self, consent: str) -> None:
        assert both(ask(klaviyo(consent), promo=None, unset="leave", stamp=LATE)) == ("leave", "no_opinion")

    def test_an_opt_out_is_an_opinion_whatever_the_setting(self) -> None:
        step = ask(klaviyo("SUBSCRIBED", EARLY), promo=None, optout=True, unset="leave", stamp=LATE)
        assert both(step) == ("unsubscribe", "omneo_opt_out_newer")

    def test_with_leave_a_recorded_consent_counts_as_ever(self) -> None:
        assert ask(None, promo=True, unset="leave").outcome is Outcome.SUBSCRIBE


class TestBounced:
    def test_a_bounce_never_unsubscribes(self) -> None:
        for consent, reason in (("SUBSCRIBED", "agreed"), ("NEVER_SUBSCRIBED", "bounced")):
            assert both(ask(klaviyo(consent, EARLY), promo=True, bounced=True, stamp=LATE)) == (
                "leave",
                reason,
            )

    def test_a_bounced_address_is_not_subscribed_again(self) -> None:
        step = ask(klaviyo("UNSUBSCRIBED", EARLY), promo=True, bounced=True, stamp=LATE)
        assert both(step) == ("leave", "bounced")

    def test_klaviyos_newer_opt_out_is_learnt_all_the_same(self) -> None:
        step = ask(klaviyo("UNSUBSCRIBED", LATE), promo=True, bounced=True, stamp=EARLY)
        assert step.outcome is Outcome.PULL_OPT_OUT


@pytest.mark.parametrize(
    ("subscriptions", "stamp", "expected"),
    [
        (klaviyo("SUBSCRIBED", EARLY), LATE, ("leave", "agreed")),
        (klaviyo("SUBSCRIBED", LATE), EARLY, ("leave", "agreed")),
        (klaviyo("SUBSCRIBED"), None, ("leave", "agreed")),
        (klaviyo("UNSUBSCRIBED", EARLY), LATE, ("subscribe", "omneo_opt_in_newer")),
        (klaviyo("UNSUBSCRIBED", LATE), EARLY, ("pull_opt_out", "klaviyo_opt_out_newer")),
        (klaviyo("UNSUBSCRIBED", LATE), LATE, ("pull_opt_out", "klaviyo_opt_out_newer")),
        (klaviyo("UNSUBSCRIBED", EARLY), None, ("pull_opt_out", "klaviyo_opt_out_newer")),
        (klaviyo("UNSUBSCRIBED"), None, ("pull_opt_out", "klaviyo_opt_out_newer")),
        (klaviyo("UNSUBSCRIBED"), LATE, ("pull_opt_out", "klaviyo_opt_out_newer")),
        (klaviyo("UNSUBSCRIBED", EARLY, updated=LATE), MIDDLE, ("pull_opt_out", "klaviyo_opt_out_newer")),
        (klaviyo("NEVER_SUBSCRIBED", updated=LATE), EARLY, ("subscribe", "fills_never_subscribed")),
        (klaviyo("PENDING", EARLY), LATE, ("leave", "klaviyo_consent_unknown")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channel", CHANNELS)
def test_an_opt_in_needs_to_be_the_newer(
    channel: Channel, subscriptions: Json, stamp: str | None, expected: tuple[str, str]
) -> None:
    assert both(ask({channel: subscriptions["email"]}, channel=channel, promo=True, stamp=stamp)) == expected


@pytest.mark.parametrize(
    ("subscriptions", "stamp", "expected"),
    [
        (klaviyo("UNSUBSCRIBED", EARLY), LATE, ("leave", "agreed")),
        (klaviyo("UNSUBSCRIBED", LATE), None, ("leave", "agreed")),
        (klaviyo("SUBSCRIBED", EARLY), LATE, ("unsubscribe", "omneo_opt_out_newer")),
        (klaviyo("SUBSCRIBED", LATE), LATE, ("unsubscribe", "omneo_opt_out_newer")),
        (klaviyo("SUBSCRIBED", LATE), EARLY, ("leave", "klaviyo_opt_in_newer")),
        (klaviyo("SUBSCRIBED", EARLY, updated=LATE), MIDDLE, ("leave", "klaviyo_opt_in_newer")),
        (klaviyo("SUBSCRIBED", LATE), None, ("unsubscribe", "omneo_opt_out_undated")),
        (klaviyo("SUBSCRIBED"), EARLY, ("unsubscribe", "omneo_opt_out_newer")),
        (klaviyo("NEVER_SUBSCRIBED", updated=LATE), EARLY, ("unsubscribe", "opt_out_of_never_subscribed")),
        (klaviyo("NEVER_SUBSCRIBED"), None, ("unsubscribe", "opt_out_of_never_subscribed")),
        (klaviyo("PENDING", EARLY), LATE, ("unsubscribe", "omneo_opt_out_newer")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channel", CHANNELS)
def test_an_opt_out_applies_unless_klaviyo_holds_a_newer_opt_in(
    channel: Channel, subscriptions: Json, stamp: str | None, expected: tuple[str, str]
) -> None:
    assert both(ask({channel: subscriptions["email"]}, channel=channel, promo=False, stamp=stamp)) == expected


class TestSuppressions:
    """A suppression by a person is an opt-out, one for a bounce is none; both have a time."""

    @pytest.mark.parametrize("reason", [*PERSONAL, "A_NEW_ONE"])
    @pytest.mark.parametrize("consent", ["NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"])
    def test_an_older_opt_in_does_not_lift_it_and_omneo_learns_of_it(self, reason: str, consent: str) -> None:
        held = klaviyo(consent, EARLY, suppressed=reason, suppressed_at=LATE)
        for stamp in (MIDDLE, LATE, None):
            step = ask(held, promo=True, stamp=stamp)
            assert step.outcome is Outcome.PULL_OPT_OUT
            assert step.opted_out_at == read_stamp(LATE)

    def test_a_newer_opt_in_lifts_it(self) -> None:
        held = klaviyo("NEVER_SUBSCRIBED", suppressed="USER_SUPPRESSED", suppressed_at=EARLY)
        assert both(ask(held, promo=True, stamp=LATE)) == ("subscribe", "omneo_opt_in_newer")

    def test_an_undated_suppression_is_not_lifted_either(self) -> None:
        held = klaviyo("NEVER_SUBSCRIBED", suppressed="SPAM_COMPLAINT")
        for stamp in (LATE, None):
            assert ask(held, promo=True, stamp=stamp).outcome is Outcome.PULL_OPT_OUT

    @pytest.mark.parametrize("consent", ["NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"])
    def test_a_complaint_is_never_lifted(self, consent: str) -> None:
        held = klaviyo(consent, EARLY, suppressed="SPAM_COMPLAINT", suppressed_at=MIDDLE)
        assert both(ask(held, promo=True, stamp=LATE)) == ("leave", "klaviyo_complaint")

    @pytest.mark.parametrize("consent", ["NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"])
    def test_a_merchants_suppression_is_lifted_by_a_newer_opt_in(self, consent: str) -> None:
        held = klaviyo(consent, EARLY, suppressed="USER_SUPPRESSED", suppressed_at=MIDDLE)
        assert both(ask(held, promo=True, stamp=LATE)) == ("subscribe", "omneo_opt_in_newer")

    def test_who_subscribed_after_it_is_subscribed(self) -> None:
        held = klaviyo("SUBSCRIBED", LATE, suppressed="USER_SUPPRESSED", suppressed_at=EARLY)
        assert both(ask(held, promo=True)) == ("leave", "agreed")

    @pytest.mark.parametrize(
        "suppressed_at", ["2026-07-01T10:00:00+00:00", "2026-07-01T10:00:00.900000+00:00"]
    )
    def test_who_was_suppressed_and_subscribed_in_one_second_is_opted_out(self, suppressed_at: str) -> None:
        held = klaviyo(
            "SUBSCRIBED",
            "2026-07-01T10:00:00.500000+00:00",
            suppressed="USER_SUPPRESSED",
            suppressed_at=suppressed_at,
        )
        assert ask(held, promo=True).outcome is Outcome.PULL_OPT_OUT

    @pytest.mark.parametrize("reason", BOUNCES)
    def test_a_bounce_is_no_opt_out_but_its_time_counts_against_an_opt_in(self, reason: str) -> None:
        fresh = klaviyo("NEVER_SUBSCRIBED", suppressed=reason, suppressed_at=LATE)
        assert both(ask(fresh, promo=True)) == ("subscribe", "fills_never_subscribed")
        held = klaviyo("UNSUBSCRIBED", EARLY, suppressed=reason, suppressed_at=LATE)
        assert ask(held, promo=True, stamp=MIDDLE).outcome is Outcome.PULL_OPT_OUT

    @pytest.mark.parametrize("reason", [*PERSONAL, *BOUNCES])
    def test_no_suppression_keeps_an_opt_out_from_being_written(self, reason: str) -> None:
        held = klaviyo("SUBSCRIBED", EARLY, suppressed=reason, suppressed_at=LATE)
        assert both(ask(held, promo=False, stamp=MIDDLE)) == ("unsubscribe", "omneo_opt_out_newer")


class TestStamps:
    @pytest.mark.parametrize(
        "text",
        ["2026-07-23 10:00:00", "2026-07-23T10:00:00Z", "2026-07-23T10:00:00.999999+00:00", "2026-07-23T20:00:00+10:00",
         " 2026-07-23 10:00:00 ", "2026-07-23T10:00:00"],
    )  # fmt: skip
    def test_every_spelling_is_the_same_second_of_utc(self, text: str) -> None:
        assert read_stamp(text) == datetime(2026, 7, 23, 10, tzinfo=UTC)

    @pytest.mark.parametrize(
        "value", [None, "", "soon", 0, 1784800800, True, [], {}, "0001-01-01T00:00:00+14:00"]
    )
    def test_what_is_no_time_is_none(self, value: object) -> None:
        assert read_stamp(value) is None

    def test_consented_at_is_omneos_stamp(self) -> None:
        assert ask(None, promo=True, stamp=LATE).decided_at == read_stamp(LATE)
        assert ask(None, promo=True, stamp="soon").decided_at is None

    def test_within_one_second_the_opt_out_wins(self) -> None:
        held = klaviyo("UNSUBSCRIBED", "2026-07-01T10:00:00.100000+00:00")
        assert ask(held, promo=True, stamp="2026-07-01T10:00:00.900000Z").outcome is Outcome.PULL_OPT_OUT
        held = klaviyo("SUBSCRIBED", "2026-07-01T10:00:00.900000+00:00")
        assert ask(held, promo=False, stamp="2026-07-01T10:00:00.100000Z").outcome is Outcome.UNSUBSCRIBE

    def test_an_opt_in_from_the_future_beats_nothing(self) -> None:
        step = ask(klaviyo("UNSUBSCRIBED", LATE), promo=True, stamp="2099-01-01 00:00:00")
        assert step.outcome is Outcome.PULL_OPT_OUT
        assert step.decided_at is None
        assert (
            ask(klaviyo("SUBSCRIBED", LATE), promo=False, stamp="2099-01-01 00:00:00").outcome
            is Outcome.UNSUBSCRIBE
        )


# Over any history

TIMES = [None, *((NOW - timedelta(days=days)).isoformat() for days in (9, 6, 3, 1))]
OMNEO = st.fixed_dictionaries(
    {
        "email_promo": st.sampled_from([True, False, None]),
        "email_optout": st.sampled_from([True, False, None]),
        "email_bounced": st.sampled_from([True, False, None]),
        "email_consent_updated_at": st.sampled_from(TIMES),
    }
)
KLAVIYO = st.one_of(
    st.none(),
    st.builds(
        klaviyo,
        st.sampled_from(["NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"]),
        st.sampled_from(TIMES),
        updated=st.sampled_from(TIMES),
        suppressed=st.sampled_from(["", *PERSONAL, *BOUNCES]),
        suppressed_at=st.sampled_from(TIMES),
    ),
)


def asked(comms: Json, subscriptions: Json | None, unset: str) -> Step:
    return found("email", comms, subscriptions, unset)


def applied(decision: Step, comms: Json, subscriptions: Json | None) -> tuple[Json, Json | None]:
    """Return both sides after the decision: what Klaviyo's job and our update of Omneo do."""
    match decision.outcome:
        case Outcome.SUBSCRIBE:  # lifts what a person suppressed, and nothing else
            rows = [] if subscriptions is None else subscriptions["email"]["marketing"]["suppression"]
            kept = next((row for row in rows if row["reason"] in BOUNCES), {"reason": "", "timestamp": None})
            after = klaviyo(
                "SUBSCRIBED", NOW.isoformat(), suppressed=str(kept["reason"]), suppressed_at=kept["timestamp"]
            )
            return comms, after
        case Outcome.UNSUBSCRIBE:
            return comms, klaviyo("UNSUBSCRIBED", NOW.isoformat())
        case Outcome.PULL_OPT_OUT:
            at = decision.opted_out_at
            stamp = f"{at:%Y-%m-%d %H:%M:%S}" if at else comms["email_consent_updated_at"]
            return {**comms, "email_promo": False, "email_consent_updated_at": stamp}, subscriptions
        case Outcome.LEAVE:
            return comms, subscriptions


@settings(max_examples=1500, deadline=None)
@given(comms=OMNEO, subscriptions=KLAVIYO, unset=st.sampled_from(["subscribe", "leave"]))
def test_what_was_applied_is_never_taken_back(comms: Json, subscriptions: Json | None, unset: str) -> None:
    first = asked(comms, subscriptions, unset)
    comms, subscriptions = applied(first, comms, subscriptions)
    second = asked(comms, subscriptions, unset)
    if first.outcome is not Outcome.PULL_OPT_OUT:
        assert second.outcome is Outcome.LEAVE
        return
    # A suppression that Omneo has just learnt of may become an unsubscribe, so that it outlives its lifting.
    assert second.outcome in (Outcome.LEAVE, Outcome.UNSUBSCRIBE)
    assert asked(*applied(second, comms, subscriptions), unset).outcome is Outcome.LEAVE


@settings(max_examples=1500, deadline=None)
@given(comms=OMNEO, subscriptions=KLAVIYO, unset=st.sampled_from(["subscribe", "leave"]))
@example(
    comms={"email_promo": True, "email_consent_updated_at": TIMES[2]},
    subscriptions=klaviyo("NEVER_SUBSCRIBED", suppressed="SPAM_COMPLAINT", suppressed_at=TIMES[3]),
    unset="subscribe",
)
@example(
    comms={
        "email_promo": True,
        "email_optout": False,
        "email_bounced": False,
        "email_consent_updated_at": TIMES[3],
    },
    subscriptions=klaviyo("UNSUBSCRIBED", suppressed="HARD_BOUNCE", suppressed_at=TIMES[0]),
    unset="subscribe",
)
def test_an_older_opt_in_never_undoes_an_opt_out(comms: Json, subscriptions: Json | None, unset: str) -> None:
    step = asked(comms, subscriptions, unset)
    if step.outcome is not Outcome.SUBSCRIBE or subscriptions is None:
        return
    marketing = subscriptions["email"]["marketing"]
    by_hand = [row["timestamp"] for row in marketing["suppression"] if row["reason"] in PERSONAL]
    if marketing["consent"] == "UNSUBSCRIBED" or by_hand:
        stamp = read_stamp(comms["email_consent_updated_at"])
        known = [
            read_stamp(time) for time in (*by_hand, marketing["consent_timestamp"], marketing["last_updated"])
        ]
        assert stamp is not None
        assert any(known)
        assert all(time is None or stamp > time for time in known)


@settings(max_examples=800, deadline=None)
@given(comms=OMNEO, subscriptions=KLAVIYO, unset=st.sampled_from(["subscribe", "leave"]))
def test_only_omneos_own_opt_out_unsubscribes_and_only_its_opt_in_subscribes(
    comms: Json, subscriptions: Json | None, unset: str
) -> None:
    opted_out = comms["email_promo"] is False or comms["email_optout"] is True
    step = asked(comms, subscriptions, unset)
    if step.outcome is Outcome.UNSUBSCRIBE:
        assert opted_out
    if step.outcome is Outcome.SUBSCRIBE:
        assert not opted_out
        assert comms["email_bounced"] is not True
    assert isinstance(step.reason, Reason)


def test_whom_a_consent_is_of_shows_no_address() -> None:
    subject = Subject("01HX", "canary-jane@example.org", {"email": {"canary": {}}}, held="canary-other")
    assert "01HX" in repr(subject)
    assert "canary" not in repr(subject)


def test_a_landing_that_an_event_has_told_of_is_not_the_later_act_that_klaviyo_shows() -> None:
    """She unsubscribes once more after our unsubscribe has landed: that is hers, whatever the look finds first."""
    call = Call(Consent.EMAIL, "out", "01HX", NOW, NOW, NOW, is_accepted=True)
    topic = "unsubscribed_from_email_marketing"
    landed, hers = (
        Decided(id, topic, "01HX", NOW + timedelta(seconds=seconds), Decision.OPT_OUT)
        for id, seconds in (("landed", 10), ("hers", 185))
    )
    memory = with_events(with_call(Memory(consent_events.Channel.EMAIL), call), [landed])
    subject = Subject("01HX", "canary-address", klaviyo("UNSUBSCRIBED", hers.at.isoformat()))
    memory = with_events(with_klaviyo(memory, subject, NOW + timedelta(seconds=190)), [hers])
    assert [verdict_of(memory, one) for one in (landed, hers)] == [Verdict.OURS, Verdict.PERSON]


@pytest.mark.parametrize(
    ("consent", "reason"),
    [("SUBSCRIBED", Reason.OMNEO_OPT_OUT_UNDATED), ("NEVER_SUBSCRIBED", Reason.OPT_OUT_OF_NEVER_SUBSCRIBED)],
)
def test_an_opt_out_without_a_date_is_remembered_as_of_the_moment_at_which_it_is_applied(
    consent: str, reason: Reason
) -> None:
    email = consent_events.Channel.EMAIL
    comms, subject = {"email_promo": False}, Subject("01HX", "canary-address", klaviyo(consent, EARLY))
    known, steps = both_sides(comms, subject)
    (step,) = (step for step in steps if step.consent is Consent.EMAIL)
    assert (step.outcome, step.reason, step.decided_at) == (Outcome.UNSUBSCRIBE, reason, NOW)
    assert known[email].omneo_out == NOW
    later = NOW + timedelta(hours=1)
    asked = still_asked(step, Memory(email), comms, subject, unset="leave", read_at=later, now=later)
    assert asked is not None
    assert asked.omneo_out == NOW


def test_an_opt_out_with_a_date_is_remembered_as_of_that() -> None:
    comms = {"email_promo": False, "email_consent_updated_at": LATE}
    known, _ = both_sides(comms, Subject("01HX", "canary-address", klaviyo("SUBSCRIBED", EARLY)))
    assert known[consent_events.Channel.EMAIL].omneo_out == read_stamp(LATE)


def test_an_opt_out_of_klaviyos_that_omneo_shows_has_its_date_in_omneo_too() -> None:
    at = read_stamp(LATE)
    assert at is not None
    out = Decided("e1", "unsubscribed_from_email_marketing", "01HX", at, Decision.OPT_OUT, is_written=True)
    comms = {"email_promo": False, "email_consent_updated_at": LATE}
    memory = with_omneo(with_events(Memory(consent_events.Channel.EMAIL), [out]), comms, NOW)
    subject = Subject("01HX", "canary-address", klaviyo("SUBSCRIBED", EARLY))
    step = step_of(memory, comms, subject, unset="leave", now=NOW)
    assert (step.outcome, step.reason, step.decided_at) == (
        Outcome.UNSUBSCRIBE,
        Reason.OMNEO_OPT_OUT_NEWER,
        at,
    )


@pytest.mark.parametrize(
    ("asked_since", "age", "outcome"),
    [
        (False, 10, Outcome.SUBSCRIBE),
        (True, 10, Outcome.LEAVE),
        (False, 3600, Outcome.LEAVE),  # it has landed or never will: what Klaviyo shows is so
    ],
)
def test_whose_unsubscribe_is_under_way_is_subscribed_again_where_omneo_has_an_opt_in_by_now(
    asked_since: bool, age: float, outcome: Outcome
) -> None:
    channel, began = consent_events.Channel.EMAIL, NOW - timedelta(seconds=age)
    memory = with_call(Memory(channel), Call(Consent.EMAIL, "out", "01HX", began, began, began))
    if asked_since:
        memory = with_call(memory, Call(Consent.EMAIL, "in", "01HX", NOW, NOW, NOW))
    stamp = f"{NOW - timedelta(seconds=5):%Y-%m-%d %H:%M:%S}"
    comms = {"email_promo": True, "email_consent_updated_at": stamp}
    subject = Subject("01HX", "canary-address", klaviyo("SUBSCRIBED", EARLY))
    memory = with_omneo(memory, comms, NOW)
    assert step_of(memory, comms, subject, unset="leave", now=NOW).outcome is outcome


@pytest.mark.parametrize(
    ("times", "is_accepted", "outcome"),
    [
        (1, True, Outcome.SUBSCRIBE),
        (3, True, Outcome.SUBSCRIBE),
        (4, True, Outcome.LEAVE),
        (5, True, Outcome.LEAVE),
        (4, False, Outcome.SUBSCRIBE),  # Klaviyo was down, say
    ],
)
def test_a_subscribe_is_asked_four_times_at_most_for_one_decision_however_often_profiles_are_merged(
    times: int, is_accepted: bool, outcome: Outcome
) -> None:
    stamp = NOW - timedelta(hours=1)
    comms = {"email_promo": True, "email_consent_updated_at": f"{stamp:%Y-%m-%d %H:%M:%S}"}
    asked_at = NOW - timedelta(minutes=20)
    call = Call(Consent.EMAIL, "in", "01HX", stamp, asked_at, asked_at, is_accepted=is_accepted, times=times)
    memory = with_omneo(Memory(consent_events.Channel.EMAIL, calls=(call,), merged_at=NOW), comms, NOW)
    subject = Subject("01HX", "canary-address", klaviyo("NEVER_SUBSCRIBED", EARLY))
    assert step_of(memory, comms, subject, unset="leave", now=NOW).outcome is outcome


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, Outcome.LEAVE),
        ({"is_accepted": False}, Outcome.UNSUBSCRIBE),  # nobody saw an answer
        ({"last_at": NOW - LANDING}, Outcome.UNSUBSCRIBE),  # it never landed
        ({"landed_at": NOW}, Outcome.UNSUBSCRIBE),  # what Klaviyo shows has come since
        ({"decided_at": NOW - timedelta(days=2)}, Outcome.UNSUBSCRIBE),  # it was for an earlier opt-out
    ],
)
def test_an_unsubscribe_that_may_still_land_is_not_asked_for_again(changes: Json, outcome: Outcome) -> None:
    stamp = NOW - timedelta(hours=1)
    asked_at = NOW - LANDING + timedelta(seconds=1)
    call = replace(
        Call(Consent.EMAIL, "out", "01HX", stamp, asked_at, asked_at, is_accepted=True),
        **changes,
    )
    comms = {"email_promo": False, "email_consent_updated_at": f"{stamp:%Y-%m-%d %H:%M:%S}"}
    memory = with_omneo(Memory(consent_events.Channel.EMAIL, calls=(call,)), comms, NOW)
    subject = Subject("01HX", "canary-address", klaviyo("SUBSCRIBED", EARLY))
    assert step_of(memory, comms, subject, unset="leave", now=NOW).outcome is outcome


def test_a_subscribe_to_texts_of_either_kind_is_taken_unless_an_opt_out_is_the_last_word_by_then() -> None:
    stamp = NOW - timedelta(hours=1)
    comms = {"sms_promo": True, "sms_consent_updated_at": f"{stamp:%Y-%m-%d %H:%M:%S}"}
    subject = Subject("01HX", "canary-phone", klaviyo("SUBSCRIBED", EARLY, channel="sms"))
    empty = Memory(consent_events.Channel.SMS)
    out = Decided("e1", "unsubscribed_from_sms_marketing", "01HX", NOW, Decision.OPT_OUT)

    def is_taken(consent: Consent, memory: Memory) -> bool:
        step = Step(consent, Outcome.SUBSCRIBE, Reason.FILLS_NEVER_SUBSCRIBED, stamp)
        return still_asked(step, memory, comms, subject, unset="leave", read_at=NOW, now=NOW) is not None

    assert is_taken(Consent.SMS_TRANSACTIONAL, empty)
    assert not is_taken(Consent.SMS_TRANSACTIONAL, with_events(empty, [out]))
    assert not is_taken(Consent.SMS, empty)  # Klaviyo has it by now


@pytest.mark.parametrize(
    ("transactional", "marketing", "comms", "outcome"),
    [
        ("SUBSCRIBED", "SUBSCRIBED", {"sms_optout": True}, Outcome.UNSUBSCRIBE),
        ("UNSUBSCRIBED", "UNSUBSCRIBED", {"sms_optout": True}, Outcome.LEAVE),
        ("NEVER_SUBSCRIBED", "NEVER_SUBSCRIBED", {"sms_optout": True}, Outcome.LEAVE),
        ("NEVER_SUBSCRIBED", "SUBSCRIBED", {"sms_promo": True}, Outcome.SUBSCRIBE),
        ("NEVER_SUBSCRIBED", "NEVER_SUBSCRIBED", {"sms_promo": True}, Outcome.SUBSCRIBE),
        ("UNSUBSCRIBED", "SUBSCRIBED", {"sms_promo": True}, Outcome.LEAVE),
        ("SUBSCRIBED", "SUBSCRIBED", {"sms_promo": True}, Outcome.LEAVE),
        ("NEVER_SUBSCRIBED", "NEVER_SUBSCRIBED", {}, Outcome.LEAVE),
    ],
)
def test_transactional_sms_goes_with_sms_marketing_and_ends_with_the_opt_out(
    transactional: str, marketing: str, comms: Json, outcome: Outcome
) -> None:
    held = {
        "sms": {
            "marketing": {"consent": marketing, "consent_timestamp": EARLY},
            "transactional": {"consent": transactional, "consent_timestamp": EARLY},
        }
    }
    channels = consent_events.Channel

    def last(phone: str) -> Step:
        _, steps = consent_steps(
            {channel: Memory(channel) for channel in channels},
            comms,
            {channels.EMAIL: Subject("01HX", "", None), channels.SMS: Subject("01HX", phone, held)},
            rules=ConsentRules(unset=dict.fromkeys(channels, "leave"), sms_transactional=True),
            read_at=NOW,
            now=NOW,
        )
        return steps[-1]

    assert (last("canary-phone").consent, last("canary-phone").outcome) == (
        Consent.SMS_TRANSACTIONAL,
        outcome,
    )
    assert last("").outcome is Outcome.LEAVE


@pytest.mark.parametrize(
    ("asked", "landed"),
    [
        (((0, 0),), [60]),
        (((0, 0), (50, 50)), [10, 60]),  # the mark is that of the later one's
        (((0, 0), (70, 70)), [60, None]),
        (((0, 50),), [10]),  # asked twice, it may have landed twice
    ],
)
def test_where_klaviyo_shows_our_mark_no_earlier_opt_in_is_that_calls_landing(
    asked: tuple[tuple[int, int], ...], landed: list[int | None]
) -> None:
    began = NOW - timedelta(seconds=100)

    def at(seconds: int) -> datetime:
        return began + timedelta(seconds=seconds)

    calls = tuple(
        Call(Consent.EMAIL, "in", "01HX", at(first), at(first), at(last), is_accepted=True)
        for first, last in asked
    )
    hers = Decided("hers", "subscribed_to_email_marketing", "01HX", at(10), Decision.OPT_IN)
    memory = replace(with_events(Memory(consent_events.Channel.EMAIL), [hers]), calls=calls)
    subscriptions = klaviyo("SUBSCRIBED", at(60).isoformat())
    subscriptions["email"]["marketing"]["custom_method_detail"] = "omneo"
    seen = with_klaviyo(memory, Subject("01HX", "canary-address", subscriptions), NOW)
    assert [call.landed_at for call in seen.calls] == [None if one is None else at(one) for one in landed]
    assert verdict_of(seen, hers) is (Verdict.OURS if 10 in landed else Verdict.PERSON)


@pytest.mark.parametrize(
    ("shown", "age", "has_landed"),
    [
        ({"custom_method_detail": "omneo"}, 600, True),
        ({"custom_method_detail": "omneo"}, 10, True),  # it is marked as ours: no need to wait
        ({"custom_method_detail": "a form"}, 600, False),
        ({}, 600, True),  # nothing shows whose it is, and by now ours must have landed
        ({}, 10, False),
    ],
)
def test_a_subscription_is_the_landing_of_our_call_unless_klaviyo_shows_that_it_is_anothers(
    shown: Json, age: float, has_landed: bool
) -> None:
    asked_at = NOW - timedelta(seconds=age)
    landed_at = asked_at + timedelta(seconds=5)
    subscriptions = klaviyo("SUBSCRIBED", landed_at.isoformat())
    subscriptions["email"]["marketing"] |= shown
    call = Call(Consent.EMAIL, "in", "01HX", asked_at, asked_at, asked_at)
    memory = with_call(Memory(consent_events.Channel.EMAIL), call)
    (seen,) = with_klaviyo(memory, Subject("01HX", "canary-address", subscriptions), NOW).calls
    assert seen.landed_at == (landed_at if has_landed else None)


def both_sides(comms: Json, subject: Subject) -> tuple[dict[consent_events.Channel, Memory], list[Step]]:
    """Return what is known, and what is to be done, where nothing was remembered and nobody has a phone."""
    channels = consent_events.Channel
    return consent_steps(
        {channel: Memory(channel) for channel in channels},
        comms,
        {channels.EMAIL: subject, channels.SMS: Subject("01HX", "", None)},
        rules=ConsentRules(unset=dict.fromkeys(channels, "leave")),
        read_at=NOW,
        now=NOW,
    )
