"""Two people have one email in Omneo, and Klaviyo knows it of nobody: whoever is first gets that profile, and the other gets one of their own."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.errors import TurnTakenError, WaitError
from shared.jobs.jobs import SyncProfile
from shared.profiles.sync import sync_profile
from shared.profiles.taking_over import LASTING
from shared.services import Services
from shared.tenants.settings import Unset
from tests.support.mortal import Fate, KilledError, Meanwhile, mortal_services
from tests.support.syncing import IMPORT, OTHERS_EMAIL, OTHERS_PHONE, PROFILES, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World


@pytest.fixture
def quiet_shop(world: World) -> Iterator[Shop]:
    """Return a shop that asks for no consent which was never recorded: what Klaviyo is at is not merged anyway."""
    with a_shop(world, email_consent_unset=Unset.LEAVE, sms_consent_unset=Unset.LEAVE) as shop:
        yield shop


def two_with_one_email(shop: Shop) -> tuple[str, str]:
    """Make two people with one email in Omneo, who are not synced yet."""
    jane = shop.customer(tells=False)
    return jane, shop.customer(tells=False, mobile_phone_e164=OTHERS_PHONE)


def sync(shop: Shop, id: str, services: Services | None = None) -> None:
    now = shop.world.clock()
    job = SyncProfile(tenant=TENANT, id="sync", accepted_at=now, profile_id=id, until=now)
    sync_profile(job, shop.world.read(), services or shop.world.services)


def have_it_tried(shop: Shop, id: str) -> None:
    """Sync, as far as others let it."""
    with contextlib.suppress(WaitError):
        sync(shop, id)


def owners(shop: Shop) -> dict[str, str]:
    """Return the Omneo ids in Klaviyo, by Klaviyo id."""
    return {one.id: one.attributes.get("external_id", "") for one in shop.klaviyo.profiles(ACCOUNT)}


def each_has_their_own(shop: Shop, *people: str) -> bool:
    """Tell whether each is one Klaviyo profile, which Omneo knows to be theirs, and there is no other."""
    theirs = {klaviyo_id: id for id in people for klaviyo_id in shop.identities(id)}
    return owners(shop) == theirs and len(theirs) == len(people)


def test_who_comes_while_another_takes_the_profile_over_waits_and_gets_their_own(shop: Shop) -> None:
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    jane, joan = two_with_one_email(shop)

    def joan_comes() -> None:
        with pytest.raises(TurnTakenError):
            sync(shop, joan)
        assert owners(shop) == {form.id: ""}

    fate = Meanwhile(f"before POST {IMPORT}?additional-fields%5Bprofile%5D=subscriptions", joan_comes)
    sync(shop, jane, mortal_services(shop.world.services, fate))
    assert fate.struck
    have_it_tried(shop, joan)
    assert shop.identities(jane) == [form.id]
    assert each_has_their_own(shop, jane, joan)


def test_who_has_looked_before_another_took_the_profile_over_looks_again(shop: Shop) -> None:
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    jane, joan = two_with_one_email(shop)
    # Joan has seen that the profile is nobody's, and asks Omneo, which still says so.
    fate = Meanwhile(f"after POST /{TENANT}/api/v3/profiles/search-id", lambda: sync(shop, jane))
    with contextlib.suppress(WaitError):
        sync(shop, joan, mortal_services(shop.world.services, fate))
    assert fate.struck
    assert shop.identities(jane) == [form.id]
    assert each_has_their_own(shop, jane, joan)


def test_who_would_merge_a_profile_that_another_has_just_taken_over_leaves_it_alone(
    quiet_shop: Shop,
) -> None:
    shop = quiet_shop
    joan = shop.customer(email=OTHERS_EMAIL)
    shop.settle()
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    shop.omneo.change_profile(TENANT, joan, tells=False, email=EMAIL)
    jane = shop.customer(tells=False)
    shop.world.clock.advance(60)
    fate = Meanwhile(f"after POST /{TENANT}/api/v3/profiles/search-id", lambda: sync(shop, jane))
    with contextlib.suppress(WaitError):
        sync(shop, joan, mortal_services(shop.world.services, fate))
    assert fate.struck
    shop.world.clock.advance(600)
    assert shop.identities(jane) == [form.id]
    assert each_has_their_own(shop, jane, joan)


def test_a_profile_that_a_killed_sync_was_taking_over_is_free_after_five_minutes(shop: Shop) -> None:
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    jane = shop.customer(tells=False)
    assert shop.world.services.leases.acquire(f"take over {form.id}", lasting=LASTING)
    shop.world.clock.advance(290)
    with pytest.raises(TurnTakenError):
        sync(shop, jane)
    shop.world.clock.advance(11)
    sync(shop, jane)
    assert owners(shop) == {form.id: jane}


def test_an_opt_out_does_not_wait_for_a_killed_sync_that_was_taking_another_profile_over(shop: Shop) -> None:
    joan = shop.customer(email=OTHERS_EMAIL, comms={"email_promo": True})
    shop.settle()
    (hers,) = shop.klaviyo.profiles(ACCOUNT)
    assert shop.consent() == "SUBSCRIBED"
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    assert shop.world.services.leases.acquire(f"take over {form.id}", lasting=LASTING)
    shop.change(joan, email=EMAIL, comms={"email_promo": False, "email_consent_updated_at": shop.now()})
    for _ in range(4):
        shop.world.work(15)
    assert owners(shop) == {hers.id: joan, form.id: ""}
    assert hers.subscriptions.consents["email"].status == "UNSUBSCRIBED"
    shop.world.clock.advance(LASTING.total_seconds())
    shop.settle()
    assert owners(shop) == {hers.id: joan}
    assert shop.consent() == "UNSUBSCRIBED"


@pytest.mark.parametrize("kills", [True, False])
def test_wherever_one_of_them_dies_each_ends_with_their_own(shop: Shop, kills: bool) -> None:
    for at in range(100):
        shop.klaviyo.profile(ACCOUNT, email=EMAIL)
        jane, joan = two_with_one_email(shop)
        fate = Fate(at, kills=kills)
        with contextlib.suppress(KilledError, WaitError):
            sync(shop, jane, mortal_services(shop.world.services, fate))
        have_it_tried(shop, joan)
        shop.world.clock.advance(timedelta(minutes=7).total_seconds())  # what the dead one held has run out
        for id in (joan, jane):
            have_it_tried(shop, id)
        assert each_has_their_own(shop, jane, joan), at
        if not fate.struck:
            assert at > 4
            return
        for id in (jane, joan):
            shop.omneo.delete_profile(TENANT, id, tells=False)
        for klaviyo_id in owners(shop):
            shop.klaviyo.delete_profile(ACCOUNT, klaviyo_id)
    raise AssertionError("it goes on for ever")


def test_the_first_sync_of_whom_klaviyo_knows_by_email_reads_that_profile_once(shop: Shop) -> None:
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    jane = shop.customer(tells=False)
    sync(shop, jane)
    assert [call.path for call in shop.klaviyo_calls()].count(f"{PROFILES}/{form.id}") == 0
    assert len([call for call in shop.klaviyo_calls() if call.method == "GET"]) <= 2
    assert len(shop.profile_writes()) == 1
