"""Which syncs bring an opt-out, and so never wait behind others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.consent.rules.learning import with_omneo
from shared.consent.rules.memory import Memory
from shared.consent_events import Channel
from shared.profiles.rules.urgent import brings_an_opt_out

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
STAMP = "2026-11-20T09:00:00+00:00"
OUT: dict[str, Any] = {"email_promo": False, "email_consent_updated_at": STAMP}
IN: dict[str, Any] = {"email_promo": True, "email_consent_updated_at": STAMP}


def known(*comms: dict[str, Any]) -> dict[Channel, Memory]:
    """Return the memories after Omneo has shown these, a minute apart, the last at noon."""
    memories = {channel: Memory(channel) for channel in Channel}
    for number, shown in enumerate(reversed(comms)):
        at = NOON - timedelta(minutes=len(comms) - 1 - number)
        memories = {channel: with_omneo(memory, shown, at) for channel, memory in memories.items()}
    return memories


@pytest.mark.parametrize("comms", [{}, IN, {"email_promo": None, "sms_promo": True}])
def test_who_has_not_opted_out_may_wait(comms: dict[str, Any]) -> None:
    assert not brings_an_opt_out(comms, known(), None)


def test_an_opt_out_that_nobody_has_seen_is_urgent() -> None:
    assert brings_an_opt_out(OUT, known(IN), NOON)


@pytest.mark.parametrize("comms", [{"sms_promo": False}, {"email_optout": True}])
def test_on_each_channel_and_in_each_form(comms: dict[str, Any]) -> None:
    assert brings_an_opt_out(comms, known(IN), NOON)


def test_an_opt_out_that_a_finished_sync_has_read_may_wait() -> None:
    assert not brings_an_opt_out(OUT, known(OUT), NOON)
    assert not brings_an_opt_out(OUT, known(OUT), NOON + timedelta(hours=1))


def test_an_opt_out_that_only_a_sync_that_failed_has_read_is_urgent() -> None:
    assert brings_an_opt_out(OUT, known(OUT), NOON - timedelta(minutes=5))
    assert brings_an_opt_out(OUT, known(OUT), None)


def test_a_newer_opt_out_is_urgent() -> None:
    newer = {**OUT, "email_consent_updated_at": "2026-11-21T09:00:00+00:00"}
    assert brings_an_opt_out(newer, known(OUT), NOON)
