"""What a sync asks of Klaviyo, with what the extension remembers of its own calls."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.consent.rules.plan import ConsentRules, Step, Subject, Told, Why, consent_steps
from shared.consent.rules.to_klaviyo import Outcome, Reason
from shared.consent_events import Channel, Consent, Direction

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SUBSCRIBE_UNSET = {Channel.EMAIL: "subscribe", Channel.SMS: "subscribe"}
EMAIL = "canary-jane@example.org"
PHONE = "+61412345678"


def stamp(seconds: float) -> str:
    """Return a moment as Omneo writes it, `seconds` from noon."""
    return f"{NOON + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"


def iso(seconds: float) -> str:
    """Return a moment as Klaviyo writes it."""
    return (NOON + timedelta(seconds=seconds)).isoformat()


def told(direction: Direction, made: float | None, at: float, klaviyo_id: str = "01HX") -> Told:
    """Return what was asked at `at` for the stamp `made`."""
    since = None if made is None else NOON + timedelta(seconds=made)
    return Told(direction, since, NOON + timedelta(seconds=at), klaviyo_id)


def sms_steps(
    comms: Mapping[str, Any],
    marketing: Mapping[str, Any],
    known: Mapping[Consent, Told] | None = None,
    *,
    foreign: bool = True,
    transactional: str = "",
    phone: str = PHONE,
    now: float = 86_400,
) -> dict[Consent, Step]:
    """Return the steps by consent; email has no address here."""
    subscriptions = {"sms": {"marketing": marketing, "transactional": {"consent": transactional or None}}}
    steps = consent_steps(
        comms,
        {Channel.EMAIL: Subject("01HX", "", {}), Channel.SMS: Subject("01HX", phone, subscriptions)},
        rules=ConsentRules(SUBSCRIBE_UNSET, sms_transactional=bool(transactional)),
        told=known or {},
        is_foreign=lambda channel: foreign,
        now=NOON + timedelta(seconds=now),
    )
    return {step.consent: step for step in steps}


def sms(*args: Any, **named: Any) -> tuple[Outcome, str]:
    """Return what is done about SMS marketing, and why."""
    step = sms_steps(*args, **named)[Consent.SMS]
    return step.outcome, step.reason


OUT = {"sms_promo": False, "sms_consent_updated_at": stamp(-30)}
IN = {"sms_promo": True, "sms_consent_updated_at": stamp(-30)}
SUBSCRIBED = {"consent": "SUBSCRIBED", "consent_timestamp": iso(0)}
UNSUBSCRIBED = {"consent": "UNSUBSCRIBED", "consent_timestamp": iso(0)}


def test_a_persons_newer_decision_in_klaviyo_stands() -> None:
    assert sms(OUT, SUBSCRIBED) == (Outcome.LEAVE, Reason.KLAVIYO_OPT_IN_NEWER)
    assert sms(IN, UNSUBSCRIBED) == (Outcome.PULL_OPT_OUT, Reason.KLAVIYO_OPT_OUT_NEWER)


@pytest.mark.parametrize("made", [-40, None])
def test_an_opt_out_is_newer_than_the_opt_in_that_we_asked_for(made: float | None) -> None:
    known = {Consent.SMS: told("in", made, -20)}
    assert sms(OUT, SUBSCRIBED, known) == (Outcome.UNSUBSCRIBE, Reason.OMNEO_OPT_OUT_NEWER)


def test_an_opt_in_is_newer_than_the_opt_out_that_we_asked_for() -> None:
    known = {Consent.SMS: told("out", -40, -20)}
    assert sms(IN, UNSUBSCRIBED, known) == (Outcome.SUBSCRIBE, Reason.OMNEO_OPT_IN_NEWER)
    bounced = {**IN, "sms_bounced": True}
    assert sms(bounced, UNSUBSCRIBED, known) == (Outcome.LEAVE, Reason.BOUNCED)


@pytest.mark.parametrize(
    ("known", "foreign"),
    [
        (told("out", None, -20), True),  # nobody knows which came first
        (told("out", -30, -20), True),  # the same decision
        (told("out", -40, -61), True),  # long before what Klaviyo holds
        (told("out", -40, 6), True),  # after it
        (told("in", -40, -20), True),  # the other way
        (told("out", -40, -20, "01OTHER"), True),  # another profile
        (told("out", -40, -20), False),  # Omneo's stamp came from Klaviyo, and so is Klaviyo's to compare
    ],
)
def test_an_opt_out_in_klaviyo_stands_unless_it_is_surely_ours(known: Told, foreign: bool) -> None:
    found = sms(IN, UNSUBSCRIBED, {Consent.SMS: known}, foreign=foreign)
    assert found == (Outcome.PULL_OPT_OUT, Reason.KLAVIYO_OPT_OUT_NEWER)


@pytest.mark.parametrize(
    "known", [told("in", -40, -61), told("in", -40, 6), told("in", -20, -20), told("in", -40, -20, "01OTHER")]
)
def test_an_opt_in_in_klaviyo_that_is_not_ours_stands(known: Told) -> None:
    assert sms(OUT, SUBSCRIBED, {Consent.SMS: known}) == (Outcome.LEAVE, Reason.KLAVIYO_OPT_IN_NEWER)


@pytest.mark.parametrize(
    ("marker", "outcome"),
    [("omneo", Outcome.UNSUBSCRIBE), ("Omneo", Outcome.UNSUBSCRIBE), ("form", Outcome.LEAVE)],
)
def test_an_email_consent_with_our_mark_is_ours_whenever_it_was(marker: str, outcome: Outcome) -> None:
    marketing = {**SUBSCRIBED, "custom_method_detail": marker, "suppression": []}
    (email, _) = consent_steps(
        {"email_promo": False, "email_consent_updated_at": stamp(-30)},
        {
            Channel.EMAIL: Subject("01HX", EMAIL, {"email": {"marketing": marketing}}),
            Channel.SMS: Subject("01HX", "", {}),
        },
        rules=ConsentRules(SUBSCRIBE_UNSET),
        told={},
        is_foreign=lambda channel: True,
        now=NOON,
    )
    assert email.outcome is outcome


def test_a_decision_is_asked_for_once_and_the_next_again() -> None:
    never = {"consent": "NEVER_SUBSCRIBED"}
    known = {Consent.SMS: told("in", -30, -20)}
    assert sms(IN, never, known) == (Outcome.LEAVE, Why.ALREADY_ASKED)
    later = {**IN, "sms_consent_updated_at": stamp(-10)}
    assert sms(later, never, known) == (Outcome.SUBSCRIBE, Reason.FILLS_NEVER_SUBSCRIBED)
    assert sms(IN, never, {Consent.SMS: told("in", -30, -20, "01OTHER")})[0] is Outcome.SUBSCRIBE
    assert sms({}, never, {Consent.SMS: told("in", None, -20)}) == (Outcome.LEAVE, Why.ALREADY_ASKED)


@pytest.mark.parametrize(
    ("opted_out", "now", "found"),
    [
        (0, 60, (Outcome.LEAVE, Why.ALREADY_ASKED)),
        (0, 300, (Outcome.PULL_OPT_OUT, Reason.KLAVIYO_OPT_OUT_NEWER)),  # it stays: it is hers
        (55, 60, (Outcome.PULL_OPT_OUT, Reason.KLAVIYO_OPT_OUT_NEWER)),  # not what we asked for
    ],
)
def test_our_opt_out_that_klaviyo_still_holds_while_our_opt_in_is_on_its_way_is_no_news(
    opted_out: float, now: float, found: tuple[Outcome, str]
) -> None:
    known = told("in", -30, 10).after(told("out", -40, -20))
    marketing = {"consent": "UNSUBSCRIBED", "consent_timestamp": iso(opted_out)}
    assert sms(IN, marketing, {Consent.SMS: known}, now=now) == found


def test_what_was_asked_remembers_when_it_was_last_the_other_way() -> None:
    out, again = told("out", -40, -20), told("out", -30, -10)
    assert told("in", 0, 0).after(None).reversed_at is None
    assert told("in", 0, 0).after(out).reversed_at == out.at
    assert again.after(told("in", 0, 0).after(out)).reversed_at == NOON
    assert told("in", 5, 5).after(told("in", 0, 0).after(out)).reversed_at == out.at
    assert told("in", 0, 0, "01OTHER").after(out).reversed_at is None


def test_an_opt_out_is_asked_for_until_klaviyo_shows_it() -> None:
    known = {Consent.SMS: told("out", -30, -20)}
    assert sms(OUT, {"consent": "NEVER_SUBSCRIBED"}, known)[0] is Outcome.UNSUBSCRIBE


@pytest.mark.parametrize(
    ("comms", "marketing", "transactional", "outcome"),
    [
        (IN, "NEVER_SUBSCRIBED", "NEVER_SUBSCRIBED", Outcome.SUBSCRIBE),
        (IN, "SUBSCRIBED", "NEVER_SUBSCRIBED", Outcome.SUBSCRIBE),
        (IN, "SUBSCRIBED", "SUBSCRIBED", Outcome.LEAVE),
        (IN, "SUBSCRIBED", "UNSUBSCRIBED", Outcome.LEAVE),
        (IN, "UNSUBSCRIBED", "NEVER_SUBSCRIBED", Outcome.LEAVE),
        (OUT, "NEVER_SUBSCRIBED", "NEVER_SUBSCRIBED", Outcome.LEAVE),
        (OUT, "UNSUBSCRIBED", "SUBSCRIBED", Outcome.LEAVE),
        ({**OUT, "sms_optout": True}, "UNSUBSCRIBED", "SUBSCRIBED", Outcome.UNSUBSCRIBE),
        ({**OUT, "sms_optout": True}, "UNSUBSCRIBED", "NEVER_SUBSCRIBED", Outcome.LEAVE),
    ],
)
def test_transactional_sms_goes_with_marketing_and_ends_with_the_opt_out(
    comms: dict[str, Any], marketing: str, transactional: str, outcome: Outcome
) -> None:
    held = {"consent": marketing, "consent_timestamp": iso(0)}
    steps = sms_steps(comms, held, transactional=transactional)
    assert steps[Consent.SMS_TRANSACTIONAL].outcome is outcome
    nowhere = sms_steps(comms, held, transactional=transactional, phone="")
    assert nowhere[Consent.SMS_TRANSACTIONAL].outcome is Outcome.LEAVE


TIMES = st.integers(-200, 200)


@given(
    promo=st.sampled_from([True, False, None]),
    decided=st.none() | TIMES,
    consent=st.sampled_from(["SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"]),
    since=st.none() | TIMES,
    known=st.none() | st.builds(told, st.sampled_from(["in", "out"]), st.none() | TIMES, TIMES),
    foreign=st.booleans(),
)
def test_an_opt_out_is_never_undone_by_an_older_opt_in(
    promo: bool | None,
    decided: int | None,
    consent: str,
    since: int | None,
    known: Told | None,
    foreign: bool,
) -> None:
    comms = {"sms_promo": promo, "sms_consent_updated_at": None if decided is None else stamp(decided)}
    marketing = {"consent": consent, "consent_timestamp": None if since is None else iso(since)}
    outcome, _ = sms(comms, marketing, {Consent.SMS: known} if known else {}, foreign=foreign)
    if outcome is Outcome.SUBSCRIBE and consent == "UNSUBSCRIBED":
        # Only by a dated opt-in: later than Klaviyo's opt-out, or than the decision that made us ask for that opt-out.
        assert decided is not None
        assert since is not None
        ours = known is not None and known.direction == "out" and known.stamp is not None and foreign
        assert decided > since or (
            ours
            and known is not None
            and known.stamp is not None
            and NOON + timedelta(seconds=decided) > known.stamp
        )
    if promo is False:
        assert outcome in (Outcome.UNSUBSCRIBE, Outcome.LEAVE)
    if promo is False and consent != "SUBSCRIBED":
        assert (outcome is Outcome.UNSUBSCRIBE) == (consent == "NEVER_SUBSCRIBED")
