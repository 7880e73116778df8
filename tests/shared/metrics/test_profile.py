"""An event that names only an Omneo profile lands on the Klaviyo profile that its sync uses, whichever comes first."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.metrics.metrics import accept_metric
from tests.support.syncing import Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

NOBODY = "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11"


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with a_shop(world) as shop:
        yield shop


def happens_to(shop: Shop, id: str, *, with_token: bool = False) -> None:
    """Let Omneo tell of an event that names the profile by its Omneo id alone."""
    services = shop.world.services
    accept_metric(
        shop.world.read(),
        {"profile": {"id": id}, "reward": {"value": 20}},
        metric_name="Reward Issued",
        with_token=with_token,
        queue=services.queue,
        now=services.clock(),
        new_id=services.new_id,
        traceparent="",
    )
    shop.world.work()


def subjects(shop: Shop) -> set[str]:
    """Return the ids of the Klaviyo profiles that the events are about."""
    return {event.profile_id for event in shop.world.events() if event.metric == "Reward Issued"}


def known_by_email(shop: Shop) -> Any:
    return shop.klaviyo.profile(ACCOUNT, email=EMAIL.upper(), properties={"from": "a form"})


@pytest.mark.parametrize("in_klaviyo", [True, False])
@pytest.mark.parametrize("synced_first", [True, False])
@pytest.mark.parametrize("email", [EMAIL, None])
def test_before_or_after_the_first_sync_it_is_about_the_one_profile(
    shop: Shop, in_klaviyo: bool, synced_first: bool, email: str | None
) -> None:
    if in_klaviyo:
        known_by_email(shop)
    id = shop.customer(tells=False, email=email)
    for happens in (synced_first, not synced_first):
        if happens:
            shop.omneo.change_profile(TENANT, id, first_name="Jane")
            shop.settle()
        else:
            happens_to(shop, id)
    shop.settle()
    ours = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes.get("external_id") == id]
    assert [one.id for one in ours] == [*subjects(shop)]
    assert len(shop.klaviyo.profiles(ACCOUNT)) == (2 if in_klaviyo and email is None else 1)
    assert shop.identities(id) == [ours[0].id]
    assert ours[0].attributes.get("email", "").casefold() == (email or "")


def test_a_stored_identity_costs_no_look_up_in_klaviyo(shop: Shop) -> None:
    id = shop.customer()
    shop.settle()
    shop.forget_calls()
    happens_to(shop, id)
    assert [call.path for call in shop.klaviyo_calls()] == ["/api/events"]
    assert [call.method for call in shop.omneo_calls()] == ["GET"]
    assert subjects(shop) == {shop.profile().id}


@pytest.mark.parametrize("known_by", ["external_id", "email", None])
def test_an_identity_that_klaviyo_knows_no_more_is_replaced_and_the_event_lands(
    shop: Shop, known_by: str | None
) -> None:
    id = shop.customer()
    shop.settle()
    account = shop.klaviyo._account(ACCOUNT)
    account.forget(shop.profile())
    known = {"external_id": {"external_id": id}, "email": {"email": EMAIL}, None: {}}[known_by]
    made = shop.klaviyo.profile(ACCOUNT, **known) if known else None
    happens_to(shop, id)
    shop.settle()
    (ours,) = shop.klaviyo.profiles(ACCOUNT)
    assert made is None or made.id == ours.id
    assert subjects(shop) == {ours.id}
    assert shop.identities(id) == [ours.id]
    assert (ours.attributes["external_id"], ours.attributes["email"]) == (id, EMAIL)
    assert shop.world.dead_jobs() == []


def test_it_is_not_about_another_who_still_has_the_email_in_klaviyo(shop: Shop) -> None:
    first = shop.customer()
    shop.settle()
    shop.omneo.change_profile(TENANT, first, tells=False, email=None)
    second = shop.customer(tells=False)
    happens_to(shop, second)
    shop.omneo.change_profile(TENANT, second, last_name="canary")
    shop.settle(200)
    (ours,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes["external_id"] == second]
    assert subjects(shop) == {ours.id}
    assert (ours.attributes["email"], len(shop.klaviyo.profiles(ACCOUNT))) == (EMAIL, 2)


def test_a_profile_that_omneo_shows_a_moment_later_is_waited_for(shop: Shop) -> None:
    id = shop.customer()
    whole = shop.omneo._tenants[TENANT].profiles.pop(id)
    happens_to(shop, id)
    assert shop.world.events() == []
    shop.omneo._tenants[TENANT].profiles[id] = whole
    shop.settle()
    assert subjects(shop) == {shop.profile().id}


def test_a_profile_that_there_is_not_is_a_dead_job_and_makes_none_in_klaviyo(shop: Shop) -> None:
    happens_to(shop, NOBODY)
    shop.settle()
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith("The event names an Omneo profile that does not exist")
    assert shop.klaviyo.profiles(ACCOUNT) == []


def test_an_id_token_is_minted_for_it_all_the_same(shop: Shop) -> None:
    id = shop.customer(tells=False)
    known_by_email(shop)
    happens_to(shop, id, with_token=True)
    (event,) = shop.world.events()
    assert event.properties["IDToken"]
