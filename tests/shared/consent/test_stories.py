"""Sequences in which an opt-out could get lost between two services that are slow and do not know of each other. Times are seconds.

Through everything: doors, queue, workers, and the sandbox of both services.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.consent.inbox import Inbox
from shared.consent.webhook import accept_delivery
from shared.consent_events import Channel, Direction
from tests.support.resyncing import a_base, opt_in, opt_out
from tests.support.stories import Story, a_story, meanwhile
from tests.support.syncing import UNSUBSCRIBE
from tests.support.world import ACCOUNT, TENANT, World

LIST = "MASTER"
OUT_ON_BOTH = ("out", "out")
MINUTES = 60.0
SIX_MINUTES = 6 * MINUTES
DAY = 86_400.0


@pytest.mark.parametrize("left_after", [5, 30, 50])
def test_1_who_leaves_while_our_own_list_subscribe_is_under_way_is_out(
    world: World, left_after: float
) -> None:
    with a_story(world, master_list_id=LIST) as story:
        story.shop.klaviyo.marketing_list(ACCOUNT, "Everybody", id=LIST)
        story.lands_after(60)
        story.subscribes()
        story.goes_on_until_we_ask()
        story.goes_on(left_after)
        story.lands_after(2)
        story.unsubscribes()
        story.goes_on(61)
        assert story.shop.consent() == "SUBSCRIBED"
        story.goes_on(left_after + SIX_MINUTES)
        assert story.ends() == OUT_ON_BOTH
        assert story.asked() == ["in", "out"]


@pytest.mark.parametrize("lands_at", [20, 45])
def test_2_who_opts_out_in_omneo_before_our_subscribe_has_landed_is_out(
    world: World, lands_at: float
) -> None:
    with a_story(world) as story:
        story.unsubscribes()
        story.goes_on(60)
        story.shop.forget_calls()
        story.lands_after(lands_at)
        story.decides_in_omneo("in")
        story.goes_on_until_we_ask()
        story.lands_after(2)
        story.decides_in_omneo("out")
        story.goes_on(SIX_MINUTES)
        assert story.ends() == OUT_ON_BOTH
        assert 2 <= len(story.asked()) <= 3


def test_3_who_opts_out_in_omneo_while_a_flush_waits_for_klaviyo_is_out(world: World) -> None:
    with a_story(world) as story:
        story.subscribes()
        story.goes_on(1)
        with meanwhile(world, "GET /api/profiles/", lambda: story.decides_in_omneo("out")):
            story.goes_on(30)
        assert story.shop.comms(story.id)["email_promo"] is False
        story.goes_on(SIX_MINUTES)
        assert story.ends() == OUT_ON_BOTH


def test_4_who_opts_out_without_a_stamp_while_interactions_fail_stays_out(world: World) -> None:
    with a_story(world) as story:
        story.shop.omneo.fail(next=1000, match="POST *interactions*", status=503)
        story.subscribes()
        story.goes_on(30)
        assert story.shop.comms(story.id)["email_promo"] is True
        story.decides_in_omneo("out", stamped=False)
        story.goes_on(600)
        assert story.ends() == OUT_ON_BOTH
        story.shop.omneo.faults.clear()
        story.goes_on(3600)
        assert story.ends() == OUT_ON_BOTH
        assert story.interactions() == ["subscribed_to_email_marketing"]


@pytest.mark.parametrize("before", ["nothing", "out", "in"])
def test_5_the_same_where_only_the_answer_of_the_write_was_lost(world: World, before: str) -> None:
    with a_story(world) as story:
        if before != "nothing":
            story.decides_in_omneo("in" if before == "in" else "out")
            story.goes_on(SIX_MINUTES + 60)
        story.shop.omneo.fail(next=1, match="PUT *comms*", kind="reset", takes_effect=True)
        if before == "in":
            story.unsubscribes()
            story.goes_on(story.second + 20)
        story.subscribes()
        story.goes_on(story.second + 14)
        story.decides_in_omneo("out", stamped=False)
        story.goes_on(story.second + SIX_MINUTES)
        assert story.ends() == OUT_ON_BOTH


def test_6_an_unsubscribe_a_day_after_a_call_that_failed_is_hers(world: World) -> None:
    with a_story(world) as story:
        story.decides_in_omneo("in")
        story.goes_on(SIX_MINUTES)
        story.shop.klaviyo.fail(next=1, match=f"POST {UNSUBSCRIBE}", status=503)
        story.decides_in_omneo("out")
        story.goes_on_until_we_ask(UNSUBSCRIBE)
        story.decides_in_omneo("in")
        story.goes_on(SIX_MINUTES)
        assert story.ends() == ("in", "in")
        before = story.interactions()
        story.world.clock.advance(DAY)
        story.unsubscribes()
        story.goes_on(story.second + 60)
        assert story.ends() == OUT_ON_BOTH
        assert story.interactions() == [*before, "unsubscribed_from_email_marketing"]


def test_7_an_unsubscribe_through_one_profile_after_an_opt_in_through_another_is_hers(world: World) -> None:
    with a_story(world) as story:
        story.subscribes()
        story.goes_on(30)
        story.decides_in_omneo("out")
        story.goes_on(SIX_MINUTES)
        assert story.ends() == OUT_ON_BOTH
        first = story.shop.profile().id
        klaviyo = story.shop.klaviyo
        other = klaviyo.profile(ACCOUNT, email="canary-other@example.org").id
        story.shop.omneo.change_profile(
            TENANT,
            story.id,
            identities=[{"handle": "klaviyo", "identifier": id} for id in (first, other)],
            tells=False,
        )
        klaviyo.subscribe(ACCOUNT, other)
        story.goes_on(story.second + 30)
        assert story.shop.comms(story.id)["email_promo"] is True
        klaviyo.subscribe(ACCOUNT, first)
        story.goes_on(story.second + 30)
        klaviyo.unsubscribe(ACCOUNT, first)
        story.goes_on(story.second + 60)
        assert story.shop.comms(story.id)["email_promo"] is False
        assert story.interactions()[-1] == "unsubscribed_from_email_marketing"


@pytest.mark.parametrize("ahead", [30, 60, 3600, 36_000])
@pytest.mark.parametrize("told", [True, False], ids=["by the webhook", "by the pull"])
def test_8_a_stamp_that_lies_ahead_holds_no_opt_out_back(world: World, ahead: float, told: bool) -> None:
    with a_story(world) as story:
        story.decides_in_omneo("in", ahead=ahead)
        story.goes_on(25)
        assert story.shop.consent() == "SUBSCRIBED"
        story.unsubscribes()
        if not told:
            story.shop.klaviyo._account(ACCOUNT).outbox.clear()
            story.shop.change(story.id, first_name="Janet")
        story.goes_on(25 + 120)
        assert story.ends() == OUT_ON_BOTH
        story.world.clock.advance(ahead)
        story.shop.change(story.id, first_name="June")
        story.goes_on(story.second + 60)
        assert story.ends() == OUT_ON_BOTH


def test_9_an_sms_subscribe_that_lands_late_is_no_opt_in_of_hers(world: World) -> None:
    with a_story(world, Channel.SMS) as story:
        story.lands_after(150)
        story.decides_in_omneo("in")
        story.goes_on_until_we_ask()
        story.goes_on(60)
        story.lands_after(2)
        story.decides_in_omneo("out")
        story.goes_on(151)
        assert story.shop.consent("sms") == "SUBSCRIBED"
        story.goes_on(60 + SIX_MINUTES)
        assert story.ends() == OUT_ON_BOTH
        assert "subscribed_to_sms_marketing" not in story.interactions()


@pytest.mark.parametrize(
    "topic",
    ["unsubscribed_from_email_marketing", "marked_email_as_spam", "manually_suppressed_from_email_marketing"],
)
@pytest.mark.parametrize("mark", ["omneo", "Omneo"])
def test_10_our_mark_never_excuses_dropping_an_opt_out(world: World, topic: str, mark: str) -> None:
    with a_story(world) as story:
        story.decides_in_omneo("in")
        story.goes_on(SIX_MINUTES)
        klaviyo, profile = story.shop.klaviyo, story.shop.profile().id
        account = klaviyo._account(ACCOUNT)
        account.record(
            f"event:klaviyo.{topic}",
            topic,
            profile,
            {"custom_method_detail": mark},
            at=world.clock.timestamp(),
        )
        story.goes_on(story.second + 30)
        assert story.shop.comms(story.id)["email_promo"] is False
        assert story.interactions() == [topic]


class TestWhatADeliverySays:
    """Rows of a delivery that are not as Klaviyo's page has them are applied, or a person is told."""

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda data: data["attributes"].update(timestamp=str(data["attributes"]["timestamp"])),
            lambda data: data["attributes"].update(timestamp=data["attributes"]["timestamp"] * 1000),
            lambda data: data["attributes"].update(timestamp=None, datetime=None),
            lambda data: data.pop("attributes"),
        ],
        ids=["a text", "milliseconds", "no time", "no attributes"],
    )
    def test_11_an_event_with_an_odd_time_is_applied(
        self, world: World, spoil: Callable[[Any], object]
    ) -> None:
        with a_story(world) as story:
            assert delivered(story, spoil) == []
            assert story.ends() == ("out", "out")

    def test_11_an_event_of_a_profile_with_a_number_for_an_id_is_handled(self, world: World) -> None:
        def number(data: Any) -> None:
            data["relationships"]["profile"]["data"]["id"] = 42

        with a_story(world) as story:
            handle = [{"handle": "klaviyo", "identifier": "42"}]
            story.shop.omneo.change_profile(TENANT, story.id, identities=handle, tells=False)
            assert delivered(story, number) == []
            assert story.shop.comms(story.id)["email_promo"] is False

    @pytest.mark.parametrize("field", ["profile", "id"])
    def test_11_what_cannot_be_read_at_all_is_on_the_desk(self, world: World, field: str) -> None:
        def spoil(data: Any) -> None:
            data.pop("relationships" if field == "profile" else "id")

        with a_story(world) as story:
            (dead,) = delivered(story, spoil, external_id="" if field == "id" else "e1")
            assert dead.kind == "read-events"
            assert "cannot be read" in dead.reason or "can be read" in dead.reason

    def test_12_one_event_id_under_two_topics_is_two_events(self, world: World) -> None:
        with a_story(world) as story:
            rows = [a_row(story, "dropped_email"), a_row(story, "unsubscribed_from_email_marketing")]
            assert take(story, rows) == []
            assert sorted(story.interactions()) == ["dropped_email", "unsubscribed_from_email_marketing"]
            assert take(story, list(reversed(rows))) == []
            assert len(story.interactions()) == 2
            assert story.ends() == ("out", "out")


def test_13_an_undated_opt_in_that_a_run_has_left_is_not_subscribed_by_its_closing_pass(world: World) -> None:
    with a_base(world) as shop:
        (id,) = shop.base(1, comms={"email_promo": True}, identities=[])
        shop.world.clock.advance(60)
        run = shop.begin()
        shop.change_quietly(id, first_name="Janet")
        shop.end(run)
        shop.sync()
        assert "email: no consent date" in shop.told(run)[id]
        assert shop.consent_of(id) == "NEVER_SUBSCRIBED"
        assert shop.of(id).attributes["first_name"] == "Janet"


@pytest.mark.parametrize("direction", ["in", "out"])
def test_14_a_runs_own_echoes_are_known_before_anybody_is_asked(world: World, direction: Direction) -> None:
    with a_base(world) as shop:
        consents = opt_in if direction == "in" else opt_out
        ids = shop.base(20, comms=consents(shop))
        run = shop.end(shop.begin())
        assert run.read == 20
        shop.sync()
        assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED" if direction == "in" else "UNSUBSCRIBED"}
        shop.forget_calls()
        told = shop.klaviyo.deliver(ACCOUNT)
        assert sum(delivery.events for delivery in told) >= 20
        shop.world.work()
        shop.world.work(13)
        assert shop.klaviyo_calls() == []
        assert shop.omneo_calls() == []
        assert [*Inbox.of(world.services).older_than(TENANT, world.clock() + timedelta(days=1))] == []


def a_row(story: Story, topic: str, *, external_id: str = "e1", **changes: Any) -> dict[str, Any]:
    """Return a row of a delivery, of an event that has just happened."""
    at = world_time(story)
    data = {
        "type": "event",
        "id": external_id,
        "attributes": {"timestamp": at, "datetime": None, "event_properties": {}},
        "relationships": {"profile": {"data": {"type": "profile", "id": story.shop.profile().id}}},
    }
    return {
        "topic": f"event:klaviyo.{topic}",
        "external_id": external_id,
        "payload": {"data": {**data, **changes}},
    }


def world_time(story: Story) -> int:
    return int(story.world.clock.timestamp())


def delivered(story: Story, spoil: Callable[[Any], object], external_id: str = "e1") -> list[Any]:
    """Let Klaviyo tell of an unsubscribe that she makes, its event spoiled; return the dead jobs."""
    story.decides_in_omneo("in")
    story.goes_on(SIX_MINUTES)
    story.unsubscribes()
    story.shop.klaviyo._account(ACCOUNT).outbox.clear()
    row = a_row(story, "unsubscribed_from_email_marketing", external_id=external_id)
    spoil(row["payload"]["data"])
    return take(story, [row])


def take(story: Story, rows: list[dict[str, Any]]) -> list[Any]:
    """Take a delivery, let a minute pass, and return the dead jobs."""
    services, now = story.world.services, story.world.clock()
    meta = {
        "klaviyo_account_id": ACCOUNT,
        "klaviyo_webhook_id": "W",
        "timestamp": now.isoformat(),
        "version": "2024-06-28",
    }
    accept_delivery(
        story.world.read(),
        {"meta": meta, "data": rows},
        webhook_id="W",
        queue=services.queue,
        now=now,
        traceparent="",
    )
    story.goes_on(story.second + 60)
    return story.world.dead_jobs()
