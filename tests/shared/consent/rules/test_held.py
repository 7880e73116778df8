"""What Klaviyo holds of a person's consent, as its profile shows it."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.consent.rules.held import Subject, is_opted_out, opted_in_at, with_klaviyo
from shared.consent.rules.memory import LANDING, Call, Memory
from shared.consent_events import Channel, Consent

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EARLIER = "2026-05-01T10:00:00+00:00"


def held(consent: str, at: str = EARLIER, **marketing: object) -> Subject:
    """Return a person whose email consent Klaviyo shows so."""
    said = {"consent": consent, "consent_timestamp": at, **marketing}
    return Subject("01HX", "canary-address", {"email": {"marketing": said}})


@pytest.mark.parametrize("consent", ["UNSUBSCRIBED", "NEVER_SUBSCRIBED", "", "WITHDRAWN", "SUBSCRIBED"])
def test_an_opt_in_and_an_opt_out_are_told_from_whatever_else_klaviyo_holds(consent: str) -> None:
    subject = held(consent)
    opted_in = datetime(2026, 5, 1, 10, tzinfo=UTC) if consent == "SUBSCRIBED" else None
    assert opted_in_at(subject, Channel.EMAIL, NOON) == opted_in
    assert is_opted_out(subject, Channel.EMAIL, NOON) is (consent == "UNSUBSCRIBED")
    assert opted_in_at(subject, Channel.SMS, NOON) is None
    assert not is_opted_out(subject, Channel.SMS, NOON)


def test_whom_a_person_had_suppressed_has_opted_out_until_she_subscribes() -> None:
    suppression = [{"reason": "USER_SUPPRESSED", "timestamp": EARLIER}]
    assert is_opted_out(held("NEVER_SUBSCRIBED", suppression=suppression), Channel.EMAIL, NOON)
    assert is_opted_out(held("SUBSCRIBED", suppression=suppression), Channel.EMAIL, NOON)
    later = "2026-05-01T10:00:01+00:00"
    assert not is_opted_out(held("SUBSCRIBED", later, suppression=suppression), Channel.EMAIL, NOON)


@pytest.mark.parametrize(
    ("seconds", "is_another"), [(0, True), (5, True), (6, False), (-5, True), (-6, False)]
)
def test_what_klaviyo_shows_at_the_moment_of_one_calls_landing_is_not_that_of_the_next(
    seconds: int, is_another: bool
) -> None:
    at, landed = NOON + timedelta(seconds=10), NOON + timedelta(seconds=20)
    known = (
        Call(Consent.EMAIL, "out", "01HX", NOON, NOON, NOON, is_accepted=True, landed_at=landed),
        Call(Consent.EMAIL, "out", "01HX", at, at, at, is_accepted=True),
    )
    subject = held("UNSUBSCRIBED", (landed + timedelta(seconds=seconds)).isoformat())
    memory = with_klaviyo(Memory(Channel.EMAIL, calls=known), subject, at + LANDING / 2)
    assert (memory.calls[1].landed_at is None) is is_another
