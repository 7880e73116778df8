"""Whoever is subscribed to email stands on the tenant's one list, and nobody is put there against a "no"."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from shared import logs
from shared.admin.settings import change_settings
from shared.jobs.jobs import KeepMasterList
from shared.tenants.tenants import Tenant
from tests.support.consenting import MASTER_LIST, Inflow, Person, Retailer, retailer
from tests.support.desk import Desk
from tests.support.mortal import Fate, KilledError
from tests.support.world import ACCOUNT, TENANT, World, outcomes

ASK = f"/api/lists/{MASTER_LIST}/profiles"
SUBSCRIBE = "/api/profile-subscription-bulk-create-jobs"


@pytest.fixture
def shop(world: World) -> Iterator[Retailer]:
    """Return a tenant with a master list."""
    with retailer(world, master_list_id=MASTER_LIST) as shop:
        shop.klaviyo.marketing_list(ACCOUNT, "Everybody", id=MASTER_LIST)
        yield shop


def keep(shop: Retailer, person: Person) -> None:
    """Look after the list for this person, by the queue."""
    job = KeepMasterList(tenant=TENANT, accepted_at=shop.world.clock(), profile=person.klaviyo)
    shop.world.services.queue.put(job, shop.world.read())
    shop.world.work()


def paths(shop: Retailer) -> list[str]:
    return [call.path for call in shop.klaviyo.calls.all()]


def is_member(shop: Retailer, person: Person) -> bool:
    [profile] = [row for row in shop.klaviyo.profiles(ACCOUNT) if row.id == person.klaviyo]
    return MASTER_LIST in profile.memberships


def test_an_opt_in_costs_klaviyo_one_look_more_a_question_and_a_call(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    profile = f"/api/profiles/{jane.klaviyo}"
    assert paths(shop) == [profile, profile, ASK, SUBSCRIBE]
    assert is_member(shop, jane)


def test_the_subscribe_call_carries_our_mark_and_the_list(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    [call] = [call for call in shop.klaviyo.calls.all() if call.path == SUBSCRIBE]
    data = json.loads(call.body)["data"]
    assert data["attributes"]["custom_source"] == "omneo"
    assert data["attributes"]["historical_import"] is False
    assert data["relationships"] == {"list": {"data": {"type": "list", "id": MASTER_LIST}}}


def test_a_member_is_left_alone(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, list_id=MASTER_LIST)
    shop.deliver()
    shop.settle()
    assert SUBSCRIBE not in paths(shop)


def test_who_has_unsubscribed_since_is_left_alone(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.world.work()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.world.work(13)
    shop.world.work(1)
    assert ASK not in paths(shop)
    assert not is_member(shop, jane)


REFUSALS: dict[str, Any] = {
    "a complaint": lambda shop, jane: shop.klaviyo.mark_as_spam(ACCOUNT, jane.klaviyo),
    "a suppression by hand": lambda shop, jane: shop.klaviyo.suppress(ACCOUNT, jane.klaviyo),
    "leaving this very list": lambda shop, jane: shop.klaviyo.unsubscribe(
        ACCOUNT, jane.klaviyo, list_id=MASTER_LIST
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_that_a_subscribe_call_would_lift_stands(shop: Retailer, refusal: str) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, list_id=MASTER_LIST)
    if refusal != "leaving this very list":
        [profile] = [row for row in shop.klaviyo.profiles(ACCOUNT) if row.id == jane.klaviyo]
        profile.memberships.clear()
    REFUSALS[refusal](shop, jane)
    before = [row.to_json() for row in (profile.subscriptions for profile in shop.klaviyo.profiles(ACCOUNT))]
    keep(shop, jane)
    assert SUBSCRIBE not in paths(shop)
    after = [row.to_json() for row in (profile.subscriptions for profile in shop.klaviyo.profiles(ACCOUNT))]
    assert after == before


def test_a_bounce_is_nobodys_refusal(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.bounce(ACCOUNT, jane.klaviyo, hard=True)
    keep(shop, jane)
    assert is_member(shop, jane)


def test_who_ends_up_unsubscribed_is_not_looked_at(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - 5)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert paths(shop) == [f"/api/profiles/{jane.klaviyo}"]


def test_sms_has_nothing_to_do_with_it(shop: Retailer) -> None:
    jane = shop.person(comms={"email_promo": True})
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, channel="sms")
    shop.deliver()
    shop.settle()
    assert paths(shop) == []


def test_a_profile_that_is_gone_is_left_alone_and_the_log_says_so(
    shop: Retailer, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("p")
    jane = shop.person()
    shop.klaviyo.delete_profile(ACCOUNT, jane.klaviyo)
    keep(shop, jane)
    messages = [line["message"] for line in outcomes(capsys.readouterr().out)]
    assert messages == ["master list left alone, the profile is not subscribed or has left", "job done"]


def name_the_list(shop: Retailer, id: str) -> None:
    """Set the tenant's master list, whether Klaviyo has it or not."""

    def edit(tenant: Tenant) -> Tenant:
        settings = tenant.settings.model_copy(update={"master_list_id": id})
        return tenant.model_copy(update={"settings": settings})

    shop.world.services.tenants.change(TENANT, edit)
    shop.world.services.tenant_cache.fresh(TENANT)


def test_while_klaviyo_does_not_know_the_list_the_desk_holds_all_and_they_go_on_once_it_is_set(
    shop: Retailer,
) -> None:
    list_id = shop.world.read().settings.master_list_id or ""
    name_the_list(shop, "GONE")
    people = [shop.person(), shop.person()]
    for one in people:
        shop.klaviyo.subscribe(ACCOUNT, one.klaviyo)
    shop.deliver()
    for _ in range(3):
        shop.world.work(20)
    (held,) = Desk(shop.world).page()["held"]
    assert (held["cause"], held["count"], held["goes_on_by_itself"]) == ("master-list", 2, True)
    assert "master_list_id" in held["what_to_do"]
    assert [shop.comms(one)["email_promo"] for one in people] == [True, True]
    change_settings(TENANT, {"master_list_id": list_id}, shop.world.services)
    shop.world.services.tenant_cache.fresh(TENANT)
    for _ in range(3):
        shop.world.work(20)
    assert [is_member(shop, one) for one in people] == [True, True]
    assert shop.world.dead_jobs() == []


def test_while_klaviyo_throttles_it_waits_and_is_done_once(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.fail(next=2, match="GET /api/lists/*", status=429, headers={"Retry-After": "5"})
    keep(shop, jane)
    assert not is_member(shop, jane)
    for _ in range(3):
        shop.world.work(20)
    assert is_member(shop, jane)
    assert paths(shop).count(SUBSCRIBE) == 1


def test_an_answer_that_was_lost_subscribes_again_without_harm(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.fail(next=1, match="POST *", kind="reset", takes_effect=True)
    keep(shop, jane)
    shop.world.work(30)
    assert is_member(shop, jane)
    assert paths(shop).count(SUBSCRIBE) == 1  # it is a member by then


def test_a_death_at_any_moment_puts_her_on_the_list_all_the_same(shop: Retailer) -> None:
    moment, died = 0, True
    while died:
        jane, fate = shop.person(), Fate(moment, kills=True)
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
        job = KeepMasterList(tenant=TENANT, accepted_at=shop.world.clock(), profile=jane.klaviyo)
        with suppress(KilledError):
            Inflow.of(shop.world, fate).run(job)
        died = fate.struck
        shop.world.clock.advance(30)
        Inflow.of(shop.world).run(job)
        assert is_member(shop, jane), f"died at moment {moment}"
        moment += 1
    assert moment > 6
    shop.deliver()
    shop.settle()
    assert shop.klaviyo.deliver(ACCOUNT) == []  # what came back has started nothing new
