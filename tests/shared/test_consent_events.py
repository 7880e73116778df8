"""A consent event as it travels: whole, in UTC, to the second, and through a job unchanged."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.consent_events import SystemEvent

WHOLE: dict[str, Any] = {
    "id": "73WCCK7JKtE",
    "topic": "bounced_email",
    "profile": "01PROFILE",
    "at": "2026-11-21T10:00:00+00:00",
    "bounce": "hard",
    "method": "omneo",
}


@given(passed=st.timedeltas(timedelta(), timedelta(days=40_000)), hours=st.integers(-12, 14))
def test_its_time_is_kept_in_utc_to_the_second(passed: timedelta, hours: int) -> None:
    moment = datetime(1990, 1, 1, tzinfo=timezone(timedelta(hours=hours))) + passed
    kept = SystemEvent.model_validate({**WHOLE, "at": moment}).at
    assert (kept.tzinfo, kept.microsecond) == (UTC, 0)
    assert timedelta() <= moment - kept < timedelta(seconds=1)


@given(microseconds=st.lists(st.integers(0, 999_999), min_size=2, max_size=2))
def test_within_one_second_no_event_is_the_older(microseconds: list[int]) -> None:
    second = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
    one, other = (
        SystemEvent.model_validate({**WHOLE, "at": second.replace(microsecond=part)}) for part in microseconds
    )
    assert one == other


def test_it_comes_out_of_a_job_as_it_went_in() -> None:
    event = SystemEvent.model_validate(WHOLE)
    assert SystemEvent.model_validate_json(event.model_dump_json()) == event


def test_one_that_a_newer_revision_wrote_can_be_read() -> None:
    assert SystemEvent.model_validate({**WHOLE, "list": "L1"}) == SystemEvent.model_validate(WHOLE)


def test_an_event_that_says_no_more_needs_no_more() -> None:
    few = {name: WHOLE[name] for name in ("id", "topic", "profile", "at")}
    event = SystemEvent.model_validate(few)
    assert (event.bounce, event.method) == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"topic": ""},
        {"profile": ""},
        {"bounce": "Hard"},
        {"at": "2026-11-21T10:00:00"},
        {"at": "0001-01-01T00:00:00+10:00"},
    ],
    ids=str,
)
def test_what_cannot_be_decided_on_is_no_event(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SystemEvent.model_validate({**WHOLE, **change})
