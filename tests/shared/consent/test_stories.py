"""Sequences in which an opt-out could get lost between two services that are slow and do not know of each other. Times are seconds.

Through everything: doors, queue, workers, and the sandbox of both services.
"""

import pytest

from shared.consent_events import Channel
from tests.support.stories import a_story, meanwhile
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
