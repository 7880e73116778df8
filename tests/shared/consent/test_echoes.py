"""What is taken for the echo of a call of our own, and what is a person's: by mark and by what was asked, in any order of arrival."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from shared.consent_events import Channel, Direction
from tests.support.consenting import (
    MASTER_LIST,
    Inflow,
    Person,
    Retailer,
    an_event,
    remember_a_call,
    retailer,
)
from tests.support.world import ACCOUNT, World

SUBSCRIBED = "subscribed_to_email_marketing"
UNSUBSCRIBED = "unsubscribed_from_email_marketing"
HOUR = 3600.0


@pytest.fixture
def shop(world: World) -> Iterator[Retailer]:
    """Return a tenant whose consent comes in."""
    with retailer(world) as shop:
        yield shop


def told(shop: Retailer, person: Person) -> list[str]:
    """Return the names of the interactions that come of what has happened."""
    shop.deliver()
    shop.settle()
    assert shop.open() == 0
    return [name for name, _ in shop.interactions(person)]


@pytest.mark.parametrize("mark", ["omneo", "Omneo", "OMNEO"])
@pytest.mark.parametrize("where", ["on the event", "on the profile"])
def test_what_carries_our_mark_is_dropped(shop: Retailer, mark: str, where: str) -> None:
    shop.klaviyo.consent.custom_source_in_events = where == "on the event"
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, custom_source=mark)
    assert told(shop, jane) == []
    assert shop.comms(jane) == {}
    assert shop.calls() == ["POST */api/v3/profiles/search-id"]
    assert shop.ledger(jane) == []


def test_anybody_elses_mark_is_no_echo(shop: Retailer) -> None:
    shop.klaviyo.consent.custom_source_in_events = True
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, custom_source="omneo-shop")
    assert told(shop, jane) == [SUBSCRIBED]


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize(
    ("direction", "act", "after"), [("in", "subscribe", 71 * HOUR), ("out", "unsubscribe", HOUR / 12)]
)
def test_what_we_have_asked_for_is_dropped_while_it_may_land(
    shop: Retailer, channel: Channel, direction: Direction, act: str, after: float
) -> None:
    jane = shop.person()
    remember_a_call(shop, jane, direction, channel)
    shop.world.clock.advance(after)
    getattr(shop.klaviyo, act)(ACCOUNT, jane.klaviyo, channel=channel.value)
    assert told(shop, jane) == []
    assert shop.comms(jane) == {}


@pytest.mark.parametrize(
    "difference",
    [{"channel": "sms"}, {"act": "subscribe"}, {"after": 73 * HOUR}, {"after": -120.0}],
    ids=["on the other channel", "in the other direction", "long after the call", "long before the call"],
)
def test_a_call_drops_nothing_else(shop: Retailer, difference: dict[str, Any]) -> None:
    jane = shop.person()
    remember_a_call(shop, jane, "out")
    at = shop.world.clock.timestamp() + difference.get("after", 0.0)
    shop.world.clock.advance(max(0.0, difference.get("after", 0.0)))
    act = getattr(shop.klaviyo, difference.get("act", "unsubscribe"))
    act(ACCOUNT, jane.klaviyo, channel=difference.get("channel", "email"), at=at)
    assert len(told(shop, jane)) == 1


def test_spam_is_never_an_echo(shop: Retailer) -> None:
    jane = shop.person()
    remember_a_call(shop, jane, "out")
    shop.klaviyo.mark_as_spam(ACCOUNT, jane.klaviyo)
    assert told(shop, jane) == ["marked_email_as_spam"]
    assert shop.comms(jane)["email_promo"] is False


def test_a_call_is_only_its_own_profiles(shop: Retailer) -> None:
    jane, joe = shop.person(), shop.person()
    remember_a_call(shop, jane, "out")
    shop.klaviyo.unsubscribe(ACCOUNT, joe.klaviyo)
    assert told(shop, joe) == [UNSUBSCRIBED]


def test_a_call_in_the_other_direction_ends_the_one_before(shop: Retailer) -> None:
    jane = shop.person(comms={"email_promo": True})
    remember_a_call(shop, jane, "out")
    shop.world.clock.advance(HOUR)
    remember_a_call(shop, jane, "in")
    shop.world.clock.advance(HOUR)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    assert told(shop, jane) == [UNSUBSCRIBED]
    assert shop.comms(jane)["email_promo"] is False


ACTS = [("unsubscribe", 10.0), ("subscribe", HOUR), ("unsubscribe", 2 * HOUR)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_persons_last_word_stands_whatever_comes_first(shop: Retailer, order: tuple[int, ...]) -> None:
    """An echo of ours, then she subscribes, then she unsubscribes: no order of arrival may lose the last."""
    jane = shop.person()
    inflow = Inflow.of(shop.world)
    remember_a_call(shop, jane, "out")
    start = shop.world.clock()
    shop.world.clock.advance(3 * HOUR)
    events = [
        an_event(jane, SUBSCRIBED if act == "subscribe" else UNSUBSCRIBED, start + timedelta(seconds=after))
        for act, after in ACTS
    ]
    for number in order:
        inflow.spread(events[number])
        inflow.flush(jane.klaviyo)
        shop.world.clock.advance(30)
    assert shop.interactions(jane) == [(SUBSCRIBED, 1), (UNSUBSCRIBED, -1)]
    assert shop.comms(jane)["email_promo"] is False
    assert shop.comms(jane)["email_consent_updated_at"] == "2026-11-21 12:00:00"
    assert shop.open() == 0


@pytest.mark.parametrize("renewed", [False, True], ids=["called once", "called again"])
def test_what_comes_days_late_cannot_undo_an_opt_out_that_was_taken_for_an_echo(
    shop: Retailer, renewed: bool
) -> None:
    jane, inflow = shop.person(), Inflow.of(shop.world)
    remember_a_call(shop, jane, "out")
    start = shop.world.clock()
    shop.world.clock.advance(3 * HOUR)
    inflow.spread(an_event(jane, UNSUBSCRIBED, start + timedelta(hours=2)))
    inflow.flush(jane.klaviyo)
    shop.world.clock.advance(80 * HOUR)
    if renewed:
        remember_a_call(shop, jane, "out")
    inflow.spread(an_event(jane, SUBSCRIBED, start + timedelta(hours=1)))
    inflow.flush(jane.klaviyo)
    assert shop.comms(jane)["email_promo"] is False
    assert shop.interactions(jane) == [(SUBSCRIBED, 1), (UNSUBSCRIBED, -1)]


def test_an_echo_from_before_an_opt_in_of_hers_stays_one(shop: Retailer) -> None:
    jane = shop.person()
    remember_a_call(shop, jane, "out")
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    assert told(shop, jane) == []
    shop.world.clock.advance(HOUR)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    assert told(shop, jane) == [SUBSCRIBED]


def test_the_loop_of_the_master_list_ends(world: World) -> None:
    with retailer(world, master_list_id=MASTER_LIST) as shop:
        shop.klaviyo.marketing_list(ACCOUNT, "Everybody", id=MASTER_LIST)
        shop.klaviyo.consent.repeats_consent_events = True
        shop.klaviyo.consent.job_seconds = 2.0
        jane = shop.person()
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
        for _ in range(4):
            shop.deliver()
            shop.settle()
        [profile] = [row for row in shop.klaviyo.profiles(ACCOUNT) if row.id == jane.klaviyo]
        assert MASTER_LIST in profile.memberships
        assert shop.interactions(jane) == [(SUBSCRIBED, 1)]
        calls = shop.calls("klaviyo")
        assert calls.count("POST api/profile-subscription-bulk-create-jobs") == 1
        assert len(shop.klaviyo.events(ACCOUNT)) == 3  # hers, and two of ours that came back


@pytest.mark.parametrize("marked_first", [True, False])
def test_an_echo_does_not_take_its_twin_topic_along(shop: Retailer, marked_first: bool) -> None:
    jane, inflow, at = shop.person(), Inflow.of(shop.world), shop.world.clock()
    marked = an_event(jane, "unsubscribed_from_sms_marketing", at, method="omneo")
    plain = an_event(jane, "unsubscribed_from_text_messaging_marketing", at)
    for event in (marked, plain) if marked_first else (plain, marked):
        inflow.spread(event)
        inflow.flush(jane.klaviyo)
        shop.world.clock.advance(30)
    assert shop.comms(jane)["sms_promo"] is False
    assert shop.interactions(jane) == [("unsubscribed_from_sms_marketing", -1)]
