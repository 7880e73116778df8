"""The look some minutes after a call: what has come apart is mended, however often the look dies, and nothing goes round for ever."""

from collections.abc import Iterator

import pytest

from shared.jobs.jobs import CompareConsent
from shared.profiles.look import compare_consent
from tests.support.mortal import Fate, KilledError, mortal_services
from tests.support.stories import Story, a_story
from tests.support.world import ACCOUNT, TENANT, World


@pytest.fixture
def story(world: World) -> Iterator[Story]:
    """Return a customer who opted out in Omneo while our subscribe was under way, which then landed last."""
    with a_story(world) as story:
        apart(story)
        yield story


def apart(story: Story) -> None:
    """Let both sides come apart: nobody tells of what has happened."""
    story.lands_after(60)
    story.decides_in_omneo("in")
    story.goes_on_until_we_ask()
    story.decides_in_omneo("out", tells=False)
    story.lands_after(1)
    story.goes_on(61, told=False)
    assert story.shop.consent() == "SUBSCRIBED"
    story.world.clock.advance(200)  # whatever was asked has landed


def a_look(story: Story, *profile_ids: str) -> CompareConsent:
    """Return a look at the profiles, at her if none are named."""
    return CompareConsent(
        tenant=TENANT, accepted_at=story.world.clock(), profile_ids=profile_ids or (story.id,)
    )


def test_it_reads_both_sides_once_and_asks_once(story: Story) -> None:
    story.shop.forget_calls()
    compare_consent(a_look(story), story.world.read(), story.world.services)
    assert [call.method for call in story.shop.omneo_calls()] == ["GET"]
    assert [call.method for call in story.shop.klaviyo_calls()] == ["GET", "POST"]
    story.goes_on(story.second + 10)
    assert story.shop.consent() == "UNSUBSCRIBED"


def test_it_asks_for_nothing_where_both_sides_agree(story: Story) -> None:
    for _ in range(2):
        compare_consent(a_look(story), story.world.read(), story.world.services)
        story.goes_on(story.second + 30)
    assert story.shop.consent() == "UNSUBSCRIBED"
    asked = story.asked()
    story.goes_on(story.second + 3600)
    assert story.asked() == asked


@pytest.mark.parametrize("at", range(16))
def test_it_dies_at_any_moment_and_is_finished_by_the_next(story: Story, at: int) -> None:
    try:
        compare_consent(
            a_look(story), story.world.read(), mortal_services(story.world.services, Fate(at, kills=True))
        )
    except KilledError:
        story.world.clock.advance(400)
    compare_consent(a_look(story), story.world.read(), story.world.services)
    story.goes_on(story.second + 30)
    assert story.ends() == ("out", "out")


def test_of_a_hundred_only_who_has_come_apart_is_looked_at_from_both_sides(story: Story) -> None:
    agreed = story.shop.customer(email="canary-joe@example.org", comms={"email_promo": True})
    story.goes_on(story.second + 30)
    story.shop.forget_calls()
    compare_consent(a_look(story, story.id, agreed), story.world.read(), story.world.services)
    assert [call.path for call in story.shop.klaviyo_calls()] == ["/api/profiles"]
    assert story.shop.omneo_calls() == []


def test_what_klaviyo_never_carries_out_is_not_asked_for_for_ever(story: Story) -> None:
    story.lands_after(10**9)
    story.goes_on(story.second + 3600, told=False)
    assert 2 <= story.asked().count("out") <= 5


def test_a_complaint_that_came_while_our_subscribe_was_under_way_is_restored(world: World) -> None:
    with a_story(world) as story:
        story.lands_after(60)
        story.decides_in_omneo("in")
        story.goes_on_until_we_ask()
        story.goes_on(10)
        story.shop.klaviyo.mark_as_spam(ACCOUNT, story.shop.profile().id)
        story.lands_after(1)
        story.goes_on(360)
        assert story.ends() == ("out", "out")
        story.decides_in_omneo("in")
        story.goes_on(story.second + 60)
        assert story.shop.consent() == "UNSUBSCRIBED", "a complaint is never lifted from here"
