"""What is remembered of consents comes back as it was, on both stores, and two who change it at once lose nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import accepted, with_call, with_landing, with_merge
from shared.consent.rules.decisions import Decided
from shared.consent.rules.learning import with_events, with_omneo
from shared.consent.rules.memory import Call, Memory
from shared.consent_events import Channel, Consent, Decision
from shared.errors import StoreUnavailableError
from shared.storage.documents import Documents
from tests.support.stores import Overtaken
from tests.support.through import Through

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
JANE = "5d1f6a3e"
EMPTY = {channel: Memory(channel) for channel in Channel}


@pytest.fixture
def memories(documents: Documents) -> ConsentMemories:
    return ConsentMemories(documents)


def with_event(number: int) -> Callable[[Memories], Memories]:
    """Return the change by which an event is remembered."""
    at = NOON + timedelta(seconds=number)
    event = Decided(f"{number}", "unsubscribed_from_email_marketing", "01HX", at, Decision.OPT_OUT)
    return lambda known: {Channel.EMAIL: with_events(known[Channel.EMAIL], [event])}


def with_a_call(known: Memories) -> Memories:
    """Return what is known with a call about the Klaviyo profile 01HX."""
    memory = with_call(known[Channel.SMS], Call(Consent.SMS, "in", "01HX", NOON, NOON, NOON))
    return {Channel.SMS: memory}


def whole(known: Memories) -> Memories:
    """Return memories in which everything is filled."""
    email = with_omneo(with_event(1)(known)[Channel.EMAIL], {"email_promo": True}, NOON)
    shown = {"sms_promo": False, "sms_consent_updated_at": "2027-01-01 10:00:00"}
    sms = with_omneo(with_a_call(known)[Channel.SMS], shown, NOON)
    sms = with_landing(accepted(sms, Consent.SMS, "in", "01HX"), sms.calls[0], NOON)
    sms = with_merge(sms, NOON, NOON, others_out=NOON)
    return {Channel.EMAIL: email, Channel.SMS: sms}


def test_nothing_is_known_of_who_never_was_seen(memories: ConsentMemories) -> None:
    assert memories.find("acme", JANE) == EMPTY
    assert memories.profile_asked_about("acme", "01HX") == ""


def test_what_is_remembered_comes_back_as_it_was(memories: ConsentMemories) -> None:
    kept = memories.change("acme", JANE, whole)
    assert memories.find("acme", JANE) == kept
    assert kept != EMPTY
    assert memories.find("acme-stg", JANE) == EMPTY


def test_a_change_that_changes_nothing_writes_nothing(
    memories: ConsentMemories, documents: Documents
) -> None:
    class Writing(Through):
        def passing(self, operation: str, call: Callable[[], Any]) -> Any:
            assert operation == "get"
            return call()

    memories.change("acme", JANE, whole)
    ConsentMemories(Writing(documents)).change("acme", JANE, lambda known: known)


def test_who_was_asked_about_is_found_by_the_klaviyo_profile(memories: ConsentMemories) -> None:
    memories.change("acme", "another", with_a_call)
    memories.change("acme", JANE, with_a_call)
    assert memories.profile_asked_about("acme", "01HX") == JANE
    assert memories.profile_asked_about("acme-stg", "01HX") == ""


def test_who_asks_about_anothers_klaviyo_profile_takes_over_what_was_asked_about_it(
    memories: ConsentMemories,
) -> None:
    def with_a_later_call(known: Memories) -> Memories:
        later = NOON + timedelta(minutes=1)
        return {
            Channel.SMS: with_call(known[Channel.SMS], Call(Consent.SMS, "out", "01HX", later, later, later))
        }

    memories.change("acme", "another", with_a_call)
    kept = memories.change("acme", JANE, with_a_later_call)
    assert memories.find("acme", JANE) == kept
    assert [call.direction for call in kept[Channel.SMS].calls] == ["in", "out"]
    again = memories.change("acme", JANE, with_event(1))
    assert again[Channel.SMS] == kept[Channel.SMS]


def test_who_is_overtaken_does_it_again_with_what_the_faster_one_wrote(
    memories: ConsentMemories, documents: Documents
) -> None:
    memories.change("acme", JANE, with_event(0))
    overtaken = Overtaken(documents, lambda: memories.change("acme", JANE, with_event(1)))
    ConsentMemories(overtaken).change("acme", JANE, with_event(2))
    assert [event.id for event in memories.find("acme", JANE)[Channel.EMAIL].events] == ["0", "1", "2"]


def test_of_many_who_remember_something_at_once_nobody_loses_anything(memories: ConsentMemories) -> None:
    start = threading.Barrier(6)

    def remember(number: int) -> None:
        start.wait(timeout=60)
        memories.change("acme", JANE, with_event(number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(remember, range(6)))
    assert len(memories.find("acme", JANE)[Channel.EMAIL].events) == 6


def test_one_that_never_stands_still_is_an_error_and_no_endless_loop(
    memories: ConsentMemories, documents: Documents
) -> None:
    class Restless(Through):
        def passing(self, operation: str, call: Callable[[], Any]) -> Any:
            return None if operation == "get" else call()

    memories.change("acme", JANE, with_event(0))
    with pytest.raises(StoreUnavailableError):
        ConsentMemories(Restless(documents)).change("acme", JANE, with_event(1))


def test_what_only_a_newer_revision_knows_is_passed_over(
    memories: ConsentMemories, documents: Documents
) -> None:
    kept = memories.change("acme", JANE, whole)
    (found,) = documents.find("tenants/acme/consent")
    sms = found.fields["sms"]
    assert isinstance(sms, dict)
    documents.update("tenants/acme/consent", found.id, {"sms": {**sms, "later": 1}, "whatsapp": {}})
    assert memories.find("acme", JANE) == kept


def test_a_profile_and_a_tenant_are_forgotten_alone(memories: ConsentMemories) -> None:
    for profile in (JANE, "another"):
        memories.change("acme", profile, with_event(0))
    memories.change("acme", JANE, with_a_call)
    memories.change("acme-stg", JANE, with_a_call)
    memories.forget_profile("acme", JANE)
    assert (memories.find("acme", JANE), memories.profile_asked_about("acme", "01HX")) == (EMPTY, "")
    assert memories.find("acme", "another") != EMPTY
    memories.forget("acme")
    assert memories.find("acme", "another") == EMPTY
    assert memories.profile_asked_about("acme-stg", "01HX") == JANE
