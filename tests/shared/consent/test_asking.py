"""Asking Klaviyo for a consent: what is remembered of the call before it is made, and which opt-outs keep it from being made."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.consent.asking import AskedConsent, Asking
from shared.consent.former_numbers import FormerNumbers, GivenUp, OptOut
from shared.consent.inbox import Inbox, entry_id
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import with_merge
from shared.consent.rules.memory import Call, Memory
from shared.consent_events import Channel, Consent, SystemEvent
from shared.services import Services
from tests.support.world import ACCOUNT, TENANT, Clock, a_tenant

NOW = Clock().now
DECIDED = NOW - timedelta(hours=1)
JANE = "5d1f6a3e"
ASKED = AskedConsent(JANE, "01HX", Consent.EMAIL, "in", DECIDED)
OUT = "unsubscribed_from_email_marketing"
EMPTY = {channel: Memory(channel) for channel in Channel}
CALL = Call(Consent.EMAIL, "in", "01HX", DECIDED, asked_at=NOW, last_at=NOW)


@pytest.fixture
def asking(store_services: Services) -> Asking:
    return Asking(a_tenant(TENANT, NOW), store_services)


def remembered(asking: Asking) -> Memories:
    return ConsentMemories.of(asking.services).find(TENANT, JANE)


def told(asking: Asking, topic: str, at: datetime, profile: str = "01HX", *, closed: bool = False) -> None:
    """Let an event wait in the inbox, or have been handled."""
    inbox = Inbox.of(asking.services)
    inbox.add(TENANT, ACCOUNT, SystemEvent(id="e1", topic=topic, profile=profile, at=at))
    entry = inbox.get(TENANT, entry_id(ACCOUNT, "e1"))
    assert entry is not None
    if closed:
        inbox.close(TENANT, entry)


def test_a_call_that_is_to_be_made_is_remembered_first(asking: Asking) -> None:
    assert asking.begin(ASKED)
    assert remembered(asking) == {**EMPTY, Channel.EMAIL: Memory(Channel.EMAIL, calls=(CALL,))}


def test_a_call_that_is_not_to_be_made_any_more_is_not_remembered(asking: Asking) -> None:
    assert not asking.begin(ASKED, lambda memory: None)
    assert remembered(asking) == EMPTY


def test_what_is_found_out_in_the_last_moment_is_remembered_beside_the_call(asking: Asking) -> None:
    assert asking.begin(ASKED, lambda memory: with_merge(memory, DECIDED))
    email = Memory(Channel.EMAIL, calls=(CALL,), merged_at=DECIDED)
    assert remembered(asking) == {**EMPTY, Channel.EMAIL: email}


def test_what_klaviyo_answers_is_remembered_of_that_call_alone(asking: Asking) -> None:
    by_sms = replace(ASKED, consent=Consent.SMS)
    asking.begin(ASKED)
    asking.begin(by_sms)
    assert not remembered(asking)[Channel.EMAIL].calls[0].is_accepted
    asking.accepted(ASKED)
    asking.refused(by_sms)
    assert remembered(asking)[Channel.EMAIL].calls == (replace(CALL, is_accepted=True),)
    assert remembered(asking)[Channel.SMS].calls == ()


@pytest.mark.parametrize(
    ("seconds", "is_made"),
    [(-1, True), (0, False), (1, False)],
    ids=["before the opt-in", "in the same second", "after the opt-in"],
)
def test_nobody_is_subscribed_whose_opt_out_was_told_to_us_and_is_no_older(
    asking: Asking, seconds: int, is_made: bool
) -> None:
    told(asking, OUT, DECIDED + timedelta(seconds=seconds))
    assert asking.begin(ASKED) is is_made
    assert bool(remembered(asking)[Channel.EMAIL].calls) is is_made


def test_an_opt_in_without_a_date_gives_way_to_any_opt_out(asking: Asking) -> None:
    told(asking, OUT, NOW - timedelta(days=1000))
    assert not asking.begin(replace(ASKED, decided_at=None))


@pytest.mark.parametrize(
    ("topic", "profile", "closed"),
    [
        ("unsubscribed_from_sms_marketing", "01HX", False),
        ("bounced_email", "01HX", False),
        ("subscribed_to_email_marketing", "01HX", False),
        (OUT, "01HY", False),
        (OUT, "01HX", True),  # what has been handled is in the memory, where the caller sees it
    ],
)
def test_what_is_no_opt_out_of_this_channel_and_profile_that_waits_keeps_nobody_from_being_subscribed(
    asking: Asking, topic: str, profile: str, closed: bool
) -> None:
    told(asking, topic, NOW, profile, closed=closed)
    assert asking.begin(ASKED)


def test_an_opt_out_of_email_keeps_nobody_from_being_subscribed_to_sms(asking: Asking) -> None:
    told(asking, OUT, NOW)
    assert asking.begin(replace(ASKED, consent=Consent.SMS))


def test_who_has_no_klaviyo_profile_yet_has_taken_nothing_back(asking: Asking) -> None:
    told(asking, OUT, NOW)
    assert asking.begin(replace(ASKED, klaviyo_id=""))
    assert [call.profile for call in remembered(asking)[Channel.EMAIL].calls] == [""]


def test_who_opted_out_in_a_former_klaviyo_profile_is_not_subscribed_while_the_present_one_is_unknown(
    asking: Asking,
) -> None:
    asking.begin(ASKED)
    told(asking, OUT, NOW)
    assert not asking.begin(replace(ASKED, klaviyo_id=""))


def test_nobody_is_subscribed_to_texts_whose_number_has_opted_out_while_another_had_it(
    asking: Asking,
) -> None:
    memories = ConsentMemories.of(asking.services)
    by_sms = replace(ASKED, consent=Consent.SMS)
    numbers = FormerNumbers.of(asking.services)
    numbers.note_opt_out(TENANT, "a mark", OptOut(DECIDED, "01HY", "joe"))
    assert asking.begin(by_sms)
    memories.change(TENANT, JANE, lambda _: {Channel.SMS: Memory(Channel.SMS, mailed="a mark")})
    assert not asking.begin(by_sms)


def test_a_call_that_may_still_land_is_known_by_the_klaviyo_profile_that_it_is_about(asking: Asking) -> None:
    assert not asking.is_landing("01HX")
    asking.begin(ASKED)
    assert asking.is_landing("01HX")
    assert not asking.is_landing("01HY")
    asking.refused(ASKED)
    assert not asking.is_landing("01HX")


def test_an_email_address_is_looked_for_among_no_phone_numbers(asking: Asking) -> None:
    memories = ConsentMemories.of(asking.services)
    with_mark = Memory(Channel.EMAIL, mailed="a mark")
    memories.change(TENANT, JANE, lambda _: {Channel.EMAIL: with_mark})
    given_up = GivenUp("a mark", "01HY", NOW - timedelta(days=1), NOW)
    FormerNumbers.of(asking.services).note_given_up(TENANT, given_up)
    told(asking, OUT, NOW, "01HY")
    assert asking.begin(ASKED)


def test_an_opt_out_that_waits_does_not_keep_an_opt_out_from_being_asked_for(asking: Asking) -> None:
    told(asking, OUT, NOW)
    assert asking.begin(replace(ASKED, direction="out"))
