"""A Klaviyo profile whose former owner does not live in Omneo any more becomes another's: nothing of the former owner stays in it."""

from contextlib import suppress
from typing import Any

import pytest

from deploy.local.sandbox.klaviyo.accounts import Profile
from shared.errors import CannotSucceedError, WaitError
from shared.explain.explain import explain
from shared.jobs.jobs import SyncProfile
from shared.profiles.sync import sync_profile
from shared.services import Services
from shared.tenants.settings import OnProfileDeleted
from tests.support.mortal import Fate, KilledError, mortal_services
from tests.support.syncing import OTHERS_EMAIL, OTHERS_PHONE, PHONE, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

EXTRAS: dict[str, Any] = {
    "last_name": "canary-Jones",
    "mobile_phone_e164": PHONE,
    "title": "canary-Dr",
    "address": {"city": "canary-Fitzroy", "postcode": "3065"},
    "custom_attributes": [{"namespace": "shop", "handle": "shoe", "value": "canary-42"}],
}


def opted(shop: Shop, *, email: bool) -> dict[str, Any]:
    """Return a consent to email that was decided now."""
    return {"email_promo": email, "email_consent_updated_at": shop.now()}


def gone(shop: Shop, **fields: Any) -> tuple[str, Profile]:
    """Return somebody who was synced and is deleted in Omneo, which is not told, and the Klaviyo profile that is left."""
    joan = shop.customer(**{**EXTRAS, **fields})
    shop.settle()
    (left,) = shop.klaviyo.profiles(ACCOUNT)
    shop.omneo.delete_profile(TENANT, joan, tells=False)
    shop.world.clock.advance(60)
    return joan, left


def sync(shop: Shop, id: str, services: Services) -> None:
    now = shop.world.clock()
    job = SyncProfile(tenant=TENANT, id="sync", accepted_at=now, profile_id=id, until=now)
    sync_profile(job, shop.world.read(), services)


def canaries(profile: Profile) -> list[str]:
    """Return the personal values in a Klaviyo profile, its email left aside."""
    values = {
        name: value for name, value in profile.attributes.items() if name != "email"
    } | profile.properties
    return sorted(word for word in str(values).replace("'", " ").split() if word.startswith("canary-"))


def test_who_gets_the_email_of_one_who_is_gone_gets_nothing_else_of_hers(shop: Shop) -> None:
    _, left = gone(shop)
    assert canaries(left)
    jane = shop.customer(last_name="Miller")
    shop.settle()
    taken = shop.profile()
    assert (taken.id, taken.attributes["external_id"]) == (left.id, jane)
    assert canaries(taken) == []
    assert not taken.attributes.get("phone_number")
    assert (taken.attributes["first_name"], taken.attributes["last_name"]) == ("Jane", "Miller")
    assert shop.world.dead_jobs() == []


def test_what_a_form_has_gathered_of_the_email_stays(shop: Shop) -> None:
    _, left = gone(shop)
    left.properties["favourite"] = "boots"
    shop.customer()
    shop.settle()
    assert shop.profile().properties["favourite"] == "boots"


def test_where_it_is_not_known_what_was_filled_all_goes_that_a_sync_fills_by_itself(shop: Shop) -> None:
    joan, left = gone(shop, custom_attributes=[])
    shop.world.services.documents.delete(*synced_of(shop, joan))
    shop.customer()
    shop.settle()
    assert (shop.profile().id, canaries(shop.profile())) == (left.id, [])


def synced_of(shop: Shop, joan: str) -> tuple[str, str]:
    collection = f"tenants/{TENANT}/synced_profiles"
    (row,) = [row for row in shop.world.services.documents.find(collection) if row.fields["klaviyo_id"]]
    return collection, row.id


def test_who_has_a_klaviyo_profile_and_gets_the_email_of_one_who_is_gone_gets_nothing_else(
    shop: Shop,
) -> None:
    jane = shop.customer(email=OTHERS_EMAIL)
    shop.settle()
    (hers,) = shop.klaviyo.profiles(ACCOUNT)
    joan = shop.customer(**EXTRAS)
    shop.settle()
    shop.omneo.delete_profile(TENANT, joan, tells=False)
    shop.world.clock.advance(600)
    shop.change(jane, email=EMAIL)
    shop.settle()
    kept = shop.profile()
    assert (kept.id, kept.attributes["email"]) == (hers.id, EMAIL)
    assert canaries(kept) == []
    assert not kept.attributes.get("phone_number")


def test_an_opt_in_of_the_former_owner_is_no_decision_of_the_next(world: World) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        consent = opted(shop, email=False)
        _, left = gone(shop)
        world.clock.advance(3600)
        shop.klaviyo.subscribe(ACCOUNT, left.id)  # after Jane has opted out
        assert left.subscriptions.consents["email"].status == "SUBSCRIBED"
        jane = shop.customer(comms=consent, tells=False)
        foreseen = {
            row["consent"]: row["outcome"]
            for row in explain(world.read(), jane, world.services, reveal=False)["consent"]
        }
        assert foreseen["email"] == "unsubscribe"
        shop.change(jane, first_name="Jane")
        shop.settle()
        assert (shop.profile().id, shop.consent()) == (left.id, "UNSUBSCRIBED")
        assert shop.comms(jane)["email_promo"] is False


def test_an_opt_in_that_the_former_owner_made_and_that_is_told_later_is_not_the_next_ones(
    world: World,
) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        consent = opted(shop, email=False)
        _, left = gone(shop, comms={"email_promo": False})
        shop.settle()
        world.clock.advance(3600)
        shop.klaviyo.subscribe(ACCOUNT, left.id)
        jane = shop.customer(comms=consent)
        shop.sync()
        shop.settle()
        assert (shop.profile().id, shop.consent()) == (left.id, "UNSUBSCRIBED")
        assert shop.comms(jane)["email_promo"] is False


@pytest.mark.parametrize(("number", "ends"), [(OTHERS_PHONE, "SUBSCRIBED"), (PHONE, "UNSUBSCRIBED")])
def test_an_opt_out_from_the_former_owners_phone_holds_for_the_next_only_with_the_same(
    world: World, number: str, ends: str
) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        _, left = gone(shop, comms={"sms_promo": False, "sms_consent_updated_at": shop.now()})
        assert left.subscriptions.consents["sms"].status == "UNSUBSCRIBED"
        jane = shop.customer(
            mobile_phone_e164=number,
            comms={"sms_promo": True, "sms_consent_updated_at": shop.now(-3600)},
            tells=False,
        )
        foreseen = {
            row["consent"]: row["outcome"]
            for row in explain(world.read(), jane, world.services, reveal=False)["consent"]
        }
        assert (foreseen["sms"] == "subscribe") is (ends == "SUBSCRIBED")
        shop.change(jane, first_name="Jane")
        shop.settle()
        world.clock.advance(600)
        shop.settle()
        assert shop.profile().id == left.id
        assert shop.profile().subscriptions.consents["sms"].status == ends
        assert shop.comms(jane)["sms_promo"] is (ends == "SUBSCRIBED")


def test_an_opt_out_from_the_former_owners_phone_does_not_come_along_by_a_merge(world: World) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        comms = {"sms_promo": True, "sms_consent_updated_at": shop.now()}
        jane = shop.customer(email=OTHERS_EMAIL, mobile_phone_e164=OTHERS_PHONE, comms=comms)
        shop.settle()
        world.clock.advance(600)
        out = {"sms_promo": False, "sms_consent_updated_at": shop.now()}
        joan = shop.customer(**EXTRAS, comms=out)
        shop.settle()
        shop.omneo.delete_profile(TENANT, joan, tells=False)
        world.clock.advance(600)
        shop.change(jane, email=EMAIL)
        shop.settle()
        assert shop.profile().subscriptions.consents["sms"].status == "SUBSCRIBED"
        assert shop.comms(jane)["sms_promo"] is True


def test_what_was_asked_for_the_former_owner_lands_before_another_takes_her_profile(world: World) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        joan = shop.customer(comms=opted(shop, email=False))
        shop.settle()
        (left,) = shop.klaviyo.profiles(ACCOUNT)
        world.clock.advance(600)
        shop.change(joan, comms=opted(shop, email=True))
        shop.klaviyo.consent.job_seconds = 150.0
        shop.sync()
        assert left.subscriptions.consents["email"].status == "UNSUBSCRIBED"
        shop.omneo.delete_profile(TENANT, joan, tells=False)
        jane = shop.customer(comms=opted(shop, email=False))
        shop.klaviyo.consent.job_seconds = 1.0
        shop.settle(80)
        assert (shop.profile().id, shop.profile().attributes["external_id"]) == (left.id, jane)
        assert shop.consent() == "UNSUBSCRIBED"
        assert shop.comms(jane)["email_promo"] is False


@pytest.mark.parametrize("kills", [True, False])
def test_wherever_the_sync_dies_nothing_of_the_former_owner_is_the_next_ones(
    world: World, kills: bool
) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        for at in range(100):
            consent = opted(shop, email=False)
            _, left = gone(shop, email=f"canary-{at}@example.org", mobile_phone_e164=OTHERS_PHONE)
            world.clock.advance(3600)
            shop.klaviyo.subscribe(ACCOUNT, left.id)
            jane = shop.customer(email=f"canary-{at}@example.org", comms=consent, tells=False)
            fate = Fate(at, kills=kills)
            with suppress(KilledError, WaitError):
                sync(shop, jane, mortal_services(world.services, fate))
            world.clock.advance(420)
            shop.change(jane, first_name="Jane")
            shop.settle()
            (taken,) = shop.klaviyo.profiles(ACCOUNT)
            assert canaries(taken) == [], at
            assert taken.subscriptions.consents["email"].status == "UNSUBSCRIBED", at
            if not fate.struck:
                assert at > 4
                return
            shop.omneo.delete_profile(TENANT, jane, tells=False)
            shop.klaviyo.delete_profile(ACCOUNT, taken.id)
        raise AssertionError("it goes on for ever")


def test_a_staging_twin_clears_nothing_of_a_customer_of_production(world: World) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted.IGNORE) as shop:
        joan = shop.customer(**EXTRAS, comms=opted(shop, email=True))
        shop.settle()
        twin = world.tenant(f"{TENANT}-stg")
        for name in (TENANT, twin.name):
            world.services.tenants.change(
                name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
            )
        jane = shop.omneo.profile(
            twin.name, email=EMAIL, first_name="Jane", attributes={"comms": {"email_promo": False}}
        )["id"]
        before = canaries(shop.profile())
        now = world.clock()
        job = SyncProfile(tenant=twin.name, id="sync", accepted_at=now, profile_id=jane, until=now)
        with pytest.raises(CannotSucceedError, match=f"of the tenant {TENANT} on the same"):
            sync_profile(job, world.read(twin.name), world.services)
        assert before
        assert canaries(shop.profile()) == before
        assert shop.omneo.comms(TENANT, joan)["email_promo"] is True
