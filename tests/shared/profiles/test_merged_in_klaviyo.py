"""A merchant merges the Klaviyo profiles of two people who both live in Omneo: they become two again, each with what is their own."""

from typing import Any

import pytest

from deploy.local.sandbox.klaviyo.accounts import Profile
from shared.jobs.jobs import SyncProfile
from shared.profiles.sync import sync_profile
from shared.profiles.synced import SyncedProfiles
from shared.tenants.tenants import Tenant
from tests.support.syncing import OTHERS_EMAIL, OTHERS_PHONE, PHONE, Shop
from tests.support.world import ACCOUNT, TENANT, World


def of(shop: Shop, id: str) -> Profile:
    """Return the one Klaviyo profile that has this Omneo id."""
    (found,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes.get("external_id") == id]
    return found


def decided(shop: Shop, *, is_in: bool) -> dict[str, Any]:
    return {
        name: value
        for channel in ("email", "sms")
        for name, value in (
            (f"{channel}_promo", is_in),
            (f"{channel}_consent_updated_at", shop.now()),
        )
    }


def shown(shop: Shop, id: str) -> tuple[Any, ...]:
    """Return what Klaviyo has of a person: the identifiers, what only they have, and both consents."""
    found = of(shop, id)
    names = ("email", "phone_number", "first_name", "last_name")
    return (
        *(found.attributes.get(name) for name in names),
        found.properties.get("omneo_tier"),
        *consents(shop, id),
    )


def consents(shop: Shop, id: str) -> list[str]:
    return [of(shop, id).subscriptions.consents[channel].status for channel in ("email", "sms")]


def two_people(shop: Shop, *, is_jane_in: bool, has_joan_a_number: bool = True) -> tuple[str, str]:
    """Make two people in both services; the first decided first."""
    jane = shop.customer(
        first_name="Canary Jane",
        last_name="Canary",
        mobile_phone_e164=PHONE,
        tier={"name": "Gold"},
        comms=decided(shop, is_in=is_jane_in),
    )
    shop.settle()
    shop.world.clock.advance(900)
    joan = shop.customer(
        email=OTHERS_EMAIL,
        first_name="Canary Joan",
        mobile_phone_e164=OTHERS_PHONE if has_joan_a_number else None,
        comms=decided(shop, is_in=True),
    )
    shop.settle()
    shop.world.clock.advance(900)
    return jane, joan


def merge_in_klaviyo(shop: Shop, source: str, kept: str) -> None:
    shop.klaviyo.merge_profiles(ACCOUNT, of(shop, source).id, of(shop, kept).id)


def sync_in(tenant: str, id: str, world: World) -> None:
    """Have a tenant's profile synced at once."""
    now = world.clock()
    job = SyncProfile(tenant=tenant, id="1", accepted_at=now, profile_id=id, until=now)
    sync_profile(job, world.read(tenant), world.services)


def each_has_their_own(shop: Shop, *people: str) -> bool:
    """Tell whether each has one Klaviyo profile, which Omneo knows, and nothing waits or is on the desk."""
    return (
        len(shop.klaviyo.profiles(ACCOUNT)) == len(people)
        and all(shop.identities(id) == [of(shop, id).id] for id in people)
        and shop.world.dead_jobs() == []
    )


@pytest.mark.parametrize("first", ["jane", "joan"])
@pytest.mark.parametrize("is_jane_in", [True, False])
def test_two_people_whom_a_merchant_has_merged_are_two_again(
    shop: Shop, first: str, is_jane_in: bool
) -> None:
    jane, joan = two_people(shop, is_jane_in=is_jane_in)
    before = {id: shown(shop, id) for id in (jane, joan)}
    kept = of(shop, joan).id
    merge_in_klaviyo(shop, jane, joan)
    for id in (jane, joan) if first == "jane" else (joan, jane):
        shop.change(id, title="Canary")
        shop.settle(200)
    assert of(shop, joan).id == kept
    assert {id: shown(shop, id) for id in (jane, joan)} == before
    assert each_has_their_own(shop, jane, joan)
    assert [shop.comms(id)["email_promo"] for id in (jane, joan)] == [is_jane_in, True]
    shop.forget_calls()
    shop.change(joan, title="Canary again")
    shop.settle()
    assert (len(shop.klaviyo_calls()), len(shop.omneo_calls())) == (1, 1)


def test_who_is_synced_after_klaviyo_has_forgotten_the_merge_gets_a_profile_of_their_own(shop: Shop) -> None:
    jane, joan = two_people(shop, is_jane_in=False)
    before = {id: shown(shop, id) for id in (jane, joan)}
    merge_in_klaviyo(shop, jane, joan)
    shop.world.clock.advance(3600)
    for id in (jane, joan):
        shop.change(id, title="Canary")
        shop.settle(200)
    assert shown(shop, jane) == before[jane]
    # Which values the merge has brought along, nothing shows.
    assert (shown(shop, joan)[:3], shown(shop, joan)[5:]) == (before[joan][:3], before[joan][5:])
    assert each_has_their_own(shop, jane, joan)


def test_a_number_that_the_merge_has_brought_along_goes_back(shop: Shop) -> None:
    jane, joan = two_people(shop, is_jane_in=True, has_joan_a_number=False)
    before = {id: shown(shop, id) for id in (jane, joan)}
    merge_in_klaviyo(shop, jane, joan)
    assert of(shop, joan).attributes["phone_number"] == PHONE
    shop.change(jane, title="Canary")
    shop.settle(200)
    assert shown(shop, jane)[:6] == before[jane][:6]
    assert shown(shop, joan)[:6] == before[joan][:6]
    assert each_has_their_own(shop, jane, joan)


@pytest.mark.parametrize("is_jane_in", [True, False])
@pytest.mark.parametrize("where", ["omneo", "klaviyo"])
def test_a_later_decision_that_the_merge_has_brought_along_is_not_the_others(
    shop: Shop, is_jane_in: bool, where: str
) -> None:
    jane, joan = two_people(shop, is_jane_in=not is_jane_in)
    shop.change(joan, attributes={"comms": decided(shop, is_in=not is_jane_in)})
    shop.settle(200)
    shop.world.clock.advance(900)
    if where == "omneo":
        shop.change(jane, attributes={"comms": decided(shop, is_in=is_jane_in)})
    else:
        for channel in ("email", "sms"):
            decide = shop.klaviyo.subscribe if is_jane_in else shop.klaviyo.unsubscribe
            decide(ACCOUNT, of(shop, jane).id, channel=channel)
    shop.settle(200)
    shop.world.clock.advance(900)
    before = {id: shown(shop, id) for id in (jane, joan)}
    assert before[jane][5:] != before[joan][5:]
    merge_in_klaviyo(shop, jane, joan)
    shop.change(jane, title="Canary")
    shop.settle(200)
    assert {id: shown(shop, id) for id in (jane, joan)} == before
    assert each_has_their_own(shop, jane, joan)
    promos = [[shop.comms(id)[f"{name}_promo"] for name in ("email", "sms")] for id in (jane, joan)]
    assert promos == [[is_jane_in] * 2, [not is_jane_in] * 2]


@pytest.mark.parametrize("is_synced", [True, False])
def test_an_opt_out_from_before_the_merge_that_comes_late_is_hers(shop: Shop, is_synced: bool) -> None:
    jane, joan = two_people(shop, is_jane_in=True)
    shop.klaviyo.unsubscribe(ACCOUNT, of(shop, jane).id)
    merge_in_klaviyo(shop, jane, joan)
    if is_synced:
        shop.change(jane, title="Canary")
        for _ in range(6):
            shop.world.work(15)  # Klaviyo has not told of the opt-out yet
    shop.settle(200)
    assert shop.comms(jane)["email_promo"] is False
    assert consents(shop, jane)[0] == "UNSUBSCRIBED" if is_synced else True


@pytest.mark.parametrize("hours", [0, 1])
def test_a_staging_twin_whose_profile_was_merged_into_a_customers_of_production_gets_one_of_its_own(
    shop: Shop, hours: int
) -> None:
    world, twin = shop.world, shop.world.tenant(f"{TENANT}-stg").name
    for name in (TENANT, twin):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    joan = shop.customer(first_name="Canary Joan", comms=decided(shop, is_in=True))
    shop.settle()
    jane = shop.omneo.profile(
        twin,
        email=OTHERS_EMAIL,
        first_name="Canary Jane",
        last_name="Canary",
        attributes={"comms": decided(shop, is_in=True)},
    )["id"]
    sync_in(twin, jane, world)
    world.clock.advance(900)
    before, kept = {id: shown(shop, id)[:5] for id in (jane, joan)}, of(shop, joan).id
    merge_in_klaviyo(shop, jane, joan)
    world.clock.advance(hours * 3600)
    shop.omneo.change_profile(twin, jane, tells=False, title="Canary")
    sync_in(twin, jane, world)
    if hours:  # Klaviyo has forgotten the merge, and nothing shows which values it has brought along
        before[joan] = shown(shop, joan)[:5]
    shop.settle(200)
    assert {id: shown(shop, id)[:5] for id in (jane, joan)} == before
    assert of(shop, joan).id == kept
    assert world.dead_jobs() == []


def test_nothing_is_asked_of_a_production_tenant_that_has_left_the_account(shop: Shop) -> None:
    world, twin = shop.world, shop.world.tenant(f"{TENANT}-stg").name
    for name in (TENANT, twin):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    joan = shop.customer()
    shop.settle()
    jane = shop.omneo.profile(twin, email=OTHERS_EMAIL)["id"]
    sync_in(twin, jane, world)
    world.services.tenants.change(
        TENANT, lambda now: now.model_copy(update={"klaviyo": None, "klaviyo_account_id": ""})
    )
    before = SyncedProfiles.of(world.services).find(TENANT, joan)
    merge_in_klaviyo(shop, jane, joan)
    sync_in(twin, jane, world)
    assert of(shop, jane).id != of(shop, joan).id
    assert SyncedProfiles.of(world.services).find(TENANT, joan) == before


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_who_is_excluded_in_a_staging_twin_opts_out_no_customer_of_production(
    shop: Shop, channel: str
) -> None:
    world, twin = shop.world, shop.world.tenant(f"{TENANT}-stg").name
    for name in (TENANT, twin):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    joan = shop.customer(mobile_phone_e164=PHONE, comms=decided(shop, is_in=True))
    shop.settle()
    jane = shop.omneo.profile(twin, email=OTHERS_EMAIL, mobile_phone_e164=OTHERS_PHONE)["id"]
    sync_in(twin, jane, world)
    world.clock.advance(900)
    merge_in_klaviyo(shop, jane, joan)
    logic = {"==": [{"var": "first_name"}, "Canary"]}

    def excluding(tenant: Tenant) -> Tenant:
        settings = tenant.settings.model_copy(update={"profile_exclude_logic": logic})
        return tenant.model_copy(update={"settings": settings})

    world.services.tenants.change(twin, excluding)
    comms = {f"{channel}_promo": False, f"{channel}_consent_updated_at": shop.now()}
    shop.omneo.change_profile(twin, jane, tells=False, first_name="Canary", attributes={"comms": comms})
    sync_in(twin, jane, world)
    shop.settle(200)
    assert consents(shop, joan) == ["SUBSCRIBED", "SUBSCRIBED"]
