"""The right person: whatever comes late, is shared, swapped or given up, no two people become one, and nobody is mailed who opted out."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.sandbox.klaviyo.accounts import Profile
from shared.errors import CannotSucceedError, WaitError
from shared.jobs.jobs import DeleteProfile, SyncProfile
from shared.profiles.deleted import OMNEO_LAGS
from shared.profiles.making_room import PATIENCE
from shared.profiles.sync import sync_profile
from shared.tenants.settings import OnProfileDeleted
from tests.support.stories import meanwhile
from tests.support.syncing import (
    IMPORT,
    OTHERS_EMAIL,
    OTHERS_PHONE,
    PHONE,
    PROFILES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Shop,
    a_shop,
)
from tests.support.world import ACCOUNT, EMAIL, TENANT, World


def of(shop: Shop, id: str) -> Profile:
    """Return the one Klaviyo profile that has this Omneo id."""
    (found,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes.get("external_id") == id]
    return found


def email_of(shop: Shop, id: str) -> str:
    return str(of(shop, id).attributes.get("email") or "")


def consent_of(shop: Shop, id: str, channel: str = "email") -> str:
    return of(shop, id).subscriptions.consents[channel].status


def opted(shop: Shop, **flags: bool) -> dict[str, Any]:
    """Return consents that were decided now, by channel."""
    return {
        name: value
        for channel, is_in in flags.items()
        for name, value in ((f"{channel}_promo", is_in), (f"{channel}_consent_updated_at", shop.now()))
    }


def have_deleted(shop: Shop, id: str, *, ago: float) -> None:
    """Let Omneo's word of a deletion arrive that was accepted so many seconds ago."""
    accepted_at = shop.world.clock() - timedelta(seconds=ago)
    job = DeleteProfile(
        tenant=TENANT, id="delete", accepted_at=accepted_at, profile_id=id, klaviyo_id=of(shop, id).id
    )
    shop.world.services.queue.put(job, shop.world.read())


@pytest.mark.parametrize(
    ("seconds", "kind", "is_in"),
    [
        (9, {"profile_type": "deleted"}, False),
        (9, {"email": OTHERS_EMAIL}, False),
        (9, {"profile_type": "connection"}, False),
        (9, {"last_name": "canary"}, True),
        (1, {"profile_type": "connection"}, True),
    ],
)
def test_an_opt_in_is_asked_for_if_omneo_shows_the_same_person_after_slow_calls(
    shop: Shop, seconds: float, kind: dict[str, str], is_in: bool
) -> None:
    jane = shop.customer(tells=False, comms=opted(shop, email=True))

    def changes() -> None:
        shop.world.clock.advance(seconds)
        shop.omneo.change_profile(TENANT, jane, tells=False, **kind)

    with meanwhile(shop.world, "POST /api/profiles", changes), suppress(WaitError):
        sync_in(TENANT, jane, shop.world)
    assert bool(shop.klaviyo_calls(SUBSCRIBE)) is is_in


# One person, and two profiles in Klaviyo since they were merged in Omneo


def merged(shop: Shop, source: str, kept: str) -> None:
    """Let Omneo merge a profile into another, which takes over its identities."""
    tenant = shop.omneo._tenants[TENANT]
    rows = tenant.profiles[source]["identities"]
    theirs = [{**row, "merged_from": source, "profile_id": kept} for row in rows]
    tenant.profiles[kept]["identities"] = [*tenant.profiles[kept]["identities"], *theirs]
    shop.omneo.delete_profile(TENANT, source)


def test_who_was_merged_in_omneo_is_merged_in_klaviyo_also_where_the_deletion_alone_is_told(
    shop: Shop,
) -> None:
    joan = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    jane = shop.customer(comms=opted(shop, email=True))
    shop.settle()
    gone = of(shop, joan).id
    merged(shop, joan, jane)
    shop.settle()
    assert [one.id for one in shop.klaviyo.profiles(ACCOUNT)] == [of(shop, jane).id]
    assert email_of(shop, jane) == EMAIL
    assert consent_of(shop, jane) == "SUBSCRIBED"
    shop.forget_calls()
    shop.change(jane, first_name="Janet")
    shop.settle()
    assert gone not in {
        call.path.rpartition("/")[2] for call in shop.klaviyo_calls()
    }  # it is known to be one
    assert shop.world.dead_jobs() == []


def test_a_staging_twin_merges_no_customer_of_production(shop: Shop) -> None:
    world, joan = shop.world, shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    shop.settle()
    kept, twin = of(shop, joan).id, world.tenant(f"{TENANT}-stg")
    for name in (TENANT, twin.name):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    jane = shop.omneo.profile(twin.name, email="canary-new@example.org")["id"]
    sync_in(twin.name, jane, world)
    shop.omneo.profile(twin.name, id=jane, email=OTHERS_EMAIL)
    world.clock.advance(3600)
    with pytest.raises(CannotSucceedError, match=f"the tenant {TENANT} on the same"):
        sync_in(twin.name, jane, world)
    assert (of(shop, joan).id, email_of(shop, joan)) == (kept, OTHERS_EMAIL)
    assert consent_of(shop, joan) == "SUBSCRIBED"


def test_a_staging_twin_takes_over_no_customer_of_production_by_email(shop: Shop) -> None:
    world, joan = shop.world, shop.customer(first_name="Canary Joan", comms=opted(shop, email=True))
    shop.settle()
    before, twin = of(shop, joan), world.tenant(f"{TENANT}-stg")
    for name in (TENANT, twin.name):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    comms = opted(shop, email=False)
    jane = shop.omneo.profile(twin.name, email=EMAIL, first_name="Canary Jane", attributes={"comms": comms})[
        "id"
    ]
    world.clock.advance(3600)
    with pytest.raises(CannotSucceedError, match=f"of the tenant {TENANT} on the same"):
        sync_in(twin.name, jane, world)
    assert shop.profile().id == before.id
    assert of(shop, joan).attributes["first_name"] == "Canary Joan"
    assert consent_of(shop, joan) == "SUBSCRIBED"


def test_a_staging_twin_takes_over_by_email_what_production_does_not_know(shop: Shop) -> None:
    world, twin = shop.world, shop.world.tenant(f"{TENANT}-stg")
    for name in (TENANT, twin.name):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    jane = shop.omneo.profile(twin.name, email=EMAIL)["id"]
    sync_in(twin.name, jane, world)
    assert of(shop, jane).id == form.id


def sync_in(tenant: str, id: str, world: World) -> None:
    """Have a tenant's profile synced at once."""
    now = world.clock()
    job = SyncProfile(tenant=tenant, id="1", accepted_at=now, profile_id=id, until=now)
    sync_profile(job, world.read(tenant), world.services)


def test_what_a_merged_person_has_given_on_goes_to_whoever_has_it_now(shop: Shop) -> None:
    joan = shop.customer(email=OTHERS_EMAIL)
    jane = shop.customer()
    shop.settle()
    merged(shop, joan, jane)
    june = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=False))
    shop.settle()
    assert email_of(shop, june) == OTHERS_EMAIL
    assert (email_of(shop, jane), shop.world.dead_jobs()) == (EMAIL, [])


# A deletion that is told late


@pytest.mark.parametrize("setting", ["suppress", "erase", "ignore"])
def test_a_deletion_that_comes_an_hour_late_leaves_who_was_restored_alone(world: World, setting: str) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted(setting)) as shop:
        id = shop.customer(comms=opted(shop, email=True))
        shop.settle()
        world.clock.advance(3600)
        have_deleted(shop, id, ago=0.0)
        shop.settle()
        assert (consent_of(shop, id), email_of(shop, id)) == ("SUBSCRIBED", EMAIL)
        assert not of(shop, id).subscriptions.is_suppressed("USER_SUPPRESSED")
        assert shop.comms(id)["email_promo"] is True
        shop.omneo.change_profile(TENANT, id, first_name="Janet")
        shop.settle()
        assert of(shop, id).attributes["first_name"] == "Janet"


@pytest.mark.parametrize("is_told", [True, False])
def test_who_is_restored_after_another_has_got_her_klaviyo_profile_gets_one_of_her_own(
    shop: Shop, is_told: bool
) -> None:
    jane, joan = shop.customer(), shop.customer(email=OTHERS_EMAIL, mobile_phone_e164=OTHERS_PHONE)
    shop.change(jane, mobile_phone_e164=PHONE)
    shop.settle()
    whole = shop.omneo._tenants[TENANT].profiles[jane]
    if is_told:
        shop.omneo.delete_profile(TENANT, jane)
        shop.settle()
    else:
        del shop.omneo._tenants[TENANT].profiles[jane]
    shop.change(joan, email=EMAIL, first_name="Canary Joan")
    shop.settle()
    assert email_of(shop, joan) == EMAIL
    shop.omneo._tenants[TENANT].profiles[jane] = whole
    shop.change(jane, first_name="Canary Jane")
    shop.settle()
    names = [of(shop, id).attributes["first_name"] for id in (jane, joan)]
    assert names == ["Canary Jane", "Canary Joan"]


def test_our_suppression_of_who_is_deleted_and_restored_opts_out_nobody_who_gets_her_email(
    shop: Shop,
) -> None:
    jane = shop.customer(comms=opted(shop, email=True))
    joan = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    shop.settle()
    shop.world.clock.advance(900)
    whole = shop.omneo._tenants[TENANT].profiles[jane]
    shop.omneo.delete_profile(TENANT, jane)
    shop.settle()
    assert of(shop, jane).subscriptions.is_suppressed("USER_SUPPRESSED")
    shop.omneo._tenants[TENANT].profiles[jane] = {**whole, "profile_type": "active"}
    shop.change(jane, email=OTHERS_EMAIL)
    shop.settle()
    assert (email_of(shop, jane), shop.comms(jane)["email_promo"]) == (EMAIL, False)
    shop.change(joan, email=EMAIL)
    shop.settle(200)
    assert email_of(shop, joan) == EMAIL
    assert (shop.comms(joan)["email_promo"], consent_of(shop, joan)) == (True, "SUBSCRIBED")


def test_a_deletion_that_omneo_does_not_show_yet_is_done_seconds_later(shop: Shop) -> None:
    id = shop.customer(comms=opted(shop, email=True))
    shop.settle()
    whole = shop.omneo._tenants[TENANT].profiles[id]
    shop.omneo.delete_profile(TENANT, id)
    shop.omneo._tenants[TENANT].profiles[id] = whole  # one of Omneo's machines is a second late
    shop.omneo.deliver(TENANT)
    shop.world.work()
    assert consent_of(shop, id) == "SUBSCRIBED"
    del shop.omneo._tenants[TENANT].profiles[id]
    shop.world.work(OMNEO_LAGS.total_seconds() + 3)
    assert of(shop, id).subscriptions.is_suppressed("USER_SUPPRESSED")


@pytest.mark.parametrize("setting", ["suppress", "erase"])
@pytest.mark.parametrize("kept_first", [True, False])
def test_who_takes_the_email_of_a_merged_profile_stays_as_she_decided(
    world: World, setting: str, kept_first: bool
) -> None:
    with a_shop(world, on_profile_deleted=OnProfileDeleted(setting)) as shop:
        source = shop.customer(comms=opted(shop, email=False))
        kept = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
        shop.settle()
        world.clock.advance(900)
        shop.omneo.delete_profile(TENANT, source, tells=not kept_first)
        shop.change(kept, email=EMAIL, comms=opted(shop, email=True))
        if kept_first:
            shop.sync()
            have_deleted(shop, source, ago=0.0) if source in ids(shop) else None
        shop.settle()
        (profile,) = shop.klaviyo.profiles(ACCOUNT)
        assert (profile.attributes["email"], profile.attributes["external_id"]) == (EMAIL, kept)
        assert not profile.subscriptions.is_suppressed("USER_SUPPRESSED")
        assert shop.consent() == "SUBSCRIBED"
        assert shop.comms(kept)["email_promo"] is True
        assert world.dead_jobs() == []


def ids(shop: Shop) -> set[str]:
    return {str(one.attributes.get("external_id")) for one in shop.klaviyo.profiles(ACCOUNT)}


# People who share


def test_a_child_with_the_phone_number_of_a_parent_is_another_person(shop: Shop) -> None:
    parent = shop.klaviyo.profile(ACCOUNT, email=OTHERS_EMAIL, phone_number=PHONE, first_name="Parent")
    for channel in ("email", "sms"):
        shop.klaviyo.subscribe(ACCOUNT, parent.id, channel=channel)
    comms = opted(shop, email=False, sms=False)
    child = shop.customer(first_name="Child", mobile_phone_e164=PHONE, comms=comms)
    shop.settle()
    assert len(shop.klaviyo.profiles(ACCOUNT)) == 2
    assert (email_of(shop, child), consent_of(shop, child)) == (EMAIL, "UNSUBSCRIBED")
    assert "phone_number" not in of(shop, child).attributes
    assert (parent.attributes["first_name"], parent.attributes.get("external_id")) == ("Parent", None)
    consents = parent.subscriptions.consents
    assert (consents["email"].status, consents["sms"].status) == ("SUBSCRIBED", "SUBSCRIBED")
    assert shop.comms(child)["email_promo"] is False
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith(f"Another Klaviyo profile ({parent.id}) has the profile's phone number")


def test_a_replay_brings_the_number_once_the_other_has_given_it_up(shop: Shop) -> None:
    parent = shop.klaviyo.profile(ACCOUNT, email=OTHERS_EMAIL, phone_number=PHONE)
    child = shop.customer(mobile_phone_e164=PHONE)
    shop.settle()
    shop.klaviyo.delete_profile(ACCOUNT, parent.id)
    (dead,) = shop.world.dead_jobs()
    from shared.jobs.jobs import read_job

    shop.world.services.queue.put(read_job(dead.body), shop.world.read())
    shop.settle()
    assert of(shop, child).attributes["phone_number"] == PHONE


# People who give up and take over


@pytest.mark.parametrize("outage", [60.0, 3600.0])
@pytest.mark.parametrize("becomes", [None, "canary-newer@example.org"])
def test_who_takes_over_an_email_does_not_take_over_the_person(
    shop: Shop, becomes: str | None, outage: float
) -> None:
    first = shop.customer(first_name="First", comms=opted(shop, email=True))
    shop.settle()
    shop.world.clock.advance(3600)
    shop.klaviyo.fail(1, match=f"POST {IMPORT}", status=503, headers={"Retry-After": str(outage)})
    shop.change(first, email=becomes)
    shop.sync()
    second = shop.customer(first_name="Second", comms=opted(shop, email=False))
    shop.settle(400)
    assert len(shop.klaviyo.profiles(ACCOUNT)) == 2
    assert (email_of(shop, first), email_of(shop, second)) == (becomes or "", EMAIL)
    assert of(shop, first).attributes["first_name"] == "First"
    assert of(shop, second).attributes["first_name"] == "Second"
    assert consent_of(shop, second) == "UNSUBSCRIBED"
    assert consent_of(shop, first) == "SUBSCRIBED"
    assert shop.comms(first)["email_promo"] is True
    assert shop.comms(second)["email_promo"] is False


def test_who_waits_longer_than_a_while_says_so_and_is_synced_when_the_other_is(shop: Shop) -> None:
    first = shop.customer()
    shop.settle()
    shop.omneo.change_profile(TENANT, first, tells=False, email=None)
    shop.omneo.fail(200, match=f"GET */profiles/{first}", status=503)
    second = shop.customer(first_name="Second")
    for _ in range(20):
        shop.world.work(PATIENCE.total_seconds() / 10)
    # Whether the first one lives, nobody can tell while Omneo does not answer: the sync waits for Omneo itself.
    assert ids(shop) == {first}
    shop.omneo.faults.clear()
    shop.settle(400)
    assert (email_of(shop, first), email_of(shop, second)) == ("", EMAIL)


def test_two_who_have_the_same_email_in_omneo_both_live_on_and_the_desk_says_so(shop: Shop) -> None:
    first = shop.customer(first_name="First")
    shop.settle()
    shop.forget_calls()
    second = shop.customer(first_name="Second", email=EMAIL.upper())
    shop.settle(200)
    assert (email_of(shop, first), email_of(shop, second)) == (EMAIL, "")
    (dead,) = shop.world.dead_jobs()
    assert "has the profile's email address" in dead.reason
    # Three attempts and a sync of the first: who keeps the address in Omneo is not waited for.
    assert len(shop.klaviyo_calls()) + len(shop.omneo_calls()) <= 30
    shop.change(first, email=OTHERS_EMAIL)
    shop.settle(200)
    assert (email_of(shop, first), email_of(shop, second)) == (OTHERS_EMAIL, EMAIL.upper())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("count", [2, 3])
def test_people_who_swap_their_emails_have_swapped_them_in_klaviyo(
    shop: Shop, count: int, order: tuple[int, ...]
) -> None:
    emails = [f"canary-{number}@example.org" for number in range(count)]
    people = [
        shop.customer(email=email, first_name=email[7:8], comms=opted(shop, email=number != 1))
        for number, email in enumerate(emails)
    ]
    shop.settle()
    before = {id: of(shop, id).id for id in people}
    shop.world.clock.advance(900)
    turned = [*emails[1:], emails[0]]
    for id, email in zip(people, turned, strict=True):
        shop.omneo.change_profile(TENANT, id, tells=False, email=email)
    for number in [number for number in order if number < count]:
        shop.change(people[number], last_name="canary")
    shop.settle(200)
    assert [email_of(shop, id) for id in people] == turned
    assert {id: of(shop, id).id for id in people} == before
    statuses = [consent_of(shop, id) for id in people]
    assert statuses == ["SUBSCRIBED", "UNSUBSCRIBED", "SUBSCRIBED"][:count]
    assert shop.world.dead_jobs() == []
    shop.forget_calls()
    shop.change(people[0], first_name="canary")
    shop.settle()
    assert (len(shop.klaviyo_calls()), len(shop.omneo_calls())) == (1, 1)


def test_who_opted_out_herself_before_her_address_became_anothers_opts_nobody_else_out(shop: Shop) -> None:
    jane = shop.customer(email=EMAIL, comms=opted(shop, email=True))
    joan = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    shop.settle()
    shop.klaviyo.unsubscribe(ACCOUNT, of(shop, joan).id)
    shop.settle()
    shop.change(joan, last_name="canary")
    shop.settle()
    shop.world.clock.advance(900)
    shop.change(joan, email="canary-new@example.org")
    shop.change(jane, email=OTHERS_EMAIL)
    shop.settle(200)
    assert (email_of(shop, jane), shop.comms(jane)["email_promo"]) == (OTHERS_EMAIL, True)


def test_nor_does_she_where_nothing_of_her_was_synced_between_the_two(shop: Shop) -> None:
    """Omneo still had the address with her when her opt-out was brought there."""
    jane = shop.customer(email=EMAIL, comms=opted(shop, email=True))
    joan = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    shop.settle()
    shop.klaviyo.unsubscribe(ACCOUNT, of(shop, joan).id)
    shop.settle()
    shop.change(joan, email="canary-new@example.org")
    shop.change(jane, email=OTHERS_EMAIL)
    shop.settle(200)
    assert (email_of(shop, jane), shop.comms(jane)["email_promo"]) == (OTHERS_EMAIL, True)
    assert (consent_of(shop, jane), consent_of(shop, joan)) == ("SUBSCRIBED", "UNSUBSCRIBED")


def test_a_profile_of_nobody_that_has_her_new_email_becomes_hers(shop: Shop) -> None:
    id = shop.customer(comms=opted(shop, email=True))
    shop.settle()
    form = shop.klaviyo.profile(ACCOUNT, email=OTHERS_EMAIL, properties={"from": "a form"})
    ours = of(shop, id)
    shop.klaviyo.consent.job_seconds = 45.0
    shop.change(id, email=OTHERS_EMAIL)
    shop.settle(200)
    assert [one.id for one in shop.klaviyo.profiles(ACCOUNT)] == [ours.id]
    assert (email_of(shop, id), ours.properties["from"]) == (OTHERS_EMAIL, "a form")
    assert form.id != ours.id
    assert shop.world.dead_jobs() == []


def test_an_unsubscribe_that_was_asked_twice_lands_on_no_next_owner_of_the_address(shop: Shop) -> None:
    jane = shop.customer(comms=opted(shop, email=True))
    joan = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    shop.settle()
    shop.world.clock.advance(900)
    shop.klaviyo.consent.job_seconds = 15.0
    shop.klaviyo.fail(1, match=f"POST {UNSUBSCRIBE}", status=503, takes_effect=True)
    shop.change(jane, attributes={"comms": opted(shop, email=False)})
    while len(shop.klaviyo_calls(UNSUBSCRIBE)) < 1:
        shop.world.work(1)
    shop.klaviyo.consent.job_seconds = 150.0
    while len(shop.klaviyo_calls(UNSUBSCRIBE)) < 2:
        shop.world.work(1)
    shop.world.work(15)
    shop.klaviyo.deliver(ACCOUNT)
    assert consent_of(shop, jane) == "UNSUBSCRIBED"
    shop.change(jane, email="canary-new@example.org")
    shop.change(joan, email=EMAIL)
    shop.settle(200)
    assert (email_of(shop, jane), email_of(shop, joan)) == ("canary-new@example.org", EMAIL)
    assert (consent_of(shop, jane), consent_of(shop, joan)) == ("UNSUBSCRIBED", "SUBSCRIBED")
    assert [shop.comms(id)["email_promo"] for id in (jane, joan)] == [False, True]


@pytest.mark.parametrize("first", ["excluded", "given"])
@pytest.mark.parametrize("name", ["email", "mobile_phone_e164"])
def test_who_is_excluded_gives_up_what_another_has_now(shop: Shop, name: str, first: str) -> None:
    theirs: dict[str, Any] = {"email": EMAIL, "mobile_phone_e164": PHONE}
    others: dict[str, Any] = {"email": OTHERS_EMAIL, "mobile_phone_e164": OTHERS_PHONE}
    giver = shop.customer(**theirs, first_name="Giver", comms=opted(shop, email=True))
    taker = shop.customer(**others, first_name="Taker", comms=opted(shop, email=False))
    shop.settle()
    shop.world.clock.advance(900)
    given = {name: "canary-new@example.org" if name == "email" else "+61412345670"}
    changes: tuple[dict[str, Any], ...] = ({"profile_type": "connection"}, given)
    for change in changes if first == "excluded" else reversed(changes):
        shop.change(giver, **change)
        shop.world.work(60)
    shop.change(taker, **{name: theirs[name]})
    shop.settle(200)
    held = {"email": "email", "mobile_phone_e164": "phone_number"}[name]
    assert of(shop, taker).attributes[held] == theirs[name]
    assert of(shop, giver).attributes["first_name"] == "Giver"
    assert of(shop, giver).attributes.get(held) != theirs[name]
    assert consent_of(shop, taker) == "UNSUBSCRIBED"
    assert shop.world.dead_jobs() == []


def test_who_is_excluded_keeps_what_she_shares_with_another(shop: Shop) -> None:
    first = shop.customer(first_name="First")
    shop.settle()
    shop.change(first, profile_type="connection")
    shop.settle()
    second = shop.customer(first_name="Second")
    shop.settle(400)
    assert (email_of(shop, first), email_of(shop, second)) == (EMAIL, "")


# Who opts out has opted out of the address that Klaviyo has


@pytest.mark.parametrize(
    "change",
    [
        {"email": None},
        {"email": "canary no address"},
        {"email": OTHERS_EMAIL},
        {"email": "canary-jane@example.com"},
        {"profile_type": "connection"},
    ],
    ids=["removed", "invalid", "of another", "excluded by email", "excluded"],
)
@pytest.mark.parametrize("together", [True, False])
def test_an_opt_out_reaches_the_address_that_klaviyo_mails(
    shop: Shop, change: dict[str, Any], together: bool
) -> None:
    shop.customer(email=OTHERS_EMAIL)
    id = shop.customer(comms=opted(shop, email=True))
    shop.settle()
    shop.world.clock.advance(900)
    if not together:
        shop.change(id, **change)
        shop.world.work(60)
        change = {}
    shop.change(id, **change, comms=opted(shop, email=False))
    shop.settle(200)
    assert (email_of(shop, id), consent_of(shop, id)) == (EMAIL, "UNSUBSCRIBED")


@pytest.mark.parametrize("phone", ["canary no number", OTHERS_PHONE])
def test_an_opt_out_reaches_the_number_that_klaviyo_texts(shop: Shop, phone: str) -> None:
    shop.customer(email=OTHERS_EMAIL, mobile_phone_e164=OTHERS_PHONE, comms=opted(shop, sms=True))
    id = shop.customer(mobile_phone_e164=PHONE, comms=opted(shop, sms=True))
    shop.settle()
    shop.world.clock.advance(900)
    shop.change(id, mobile_phone_e164=phone, comms=opted(shop, sms=False))
    shop.settle(200)
    assert of(shop, id).attributes["phone_number"] == PHONE
    assert consent_of(shop, id, "sms") == "UNSUBSCRIBED"
    (other,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes["external_id"] != id]
    assert other.subscriptions.consents["sms"].status == "SUBSCRIBED"


def test_an_opt_in_subscribes_no_address_that_omneo_does_not_have(shop: Shop) -> None:
    id = shop.customer(comms=opted(shop, email=False))
    shop.settle()
    shop.world.clock.advance(900)
    shop.change(id, email=None, comms=opted(shop, email=True))
    shop.settle()
    assert (email_of(shop, id), consent_of(shop, id)) == (EMAIL, "UNSUBSCRIBED")
    assert shop.klaviyo_calls(SUBSCRIBE) == []


# A refusal that names the profile itself


@pytest.mark.parametrize(
    ("change", "times"), [({"mobile_phone_e164": PHONE}, 1), ({}, 1), ({}, 2), ({"email": OTHERS_EMAIL}, 1)]
)
def test_a_409_that_names_the_profile_itself_leaves_nothing_out(
    shop: Shop, change: dict[str, Any], times: int
) -> None:
    id = shop.customer(comms=opted(shop, email=True))
    shop.settle()
    refuse_as_itself(shop, id, times=times)
    shop.change(id, first_name="Janet", **change)
    shop.settle()
    attributes = of(shop, id).attributes
    assert attributes["email"] == change.get("email", EMAIL)
    assert attributes.get("phone_number") == change.get("mobile_phone_e164")
    assert attributes["first_name"] == "Janet"
    assert shop.world.dead_jobs() == []


def test_a_409_that_names_the_profile_itself_for_ever_is_a_dead_job(shop: Shop) -> None:
    id = shop.customer()
    shop.settle()
    refuse_as_itself(shop, id, times=50)
    shop.forget_calls()
    shop.change(id, first_name="Janet")
    shop.settle()
    assert len(shop.profile_writes()) == 3
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith("Klaviyo answered 409")


def refuse_as_itself(shop: Shop, id: str, *, times: int) -> None:
    """Let Klaviyo answer imports of the profile by saying that the profile exists."""
    error = {"id": "1", "code": "duplicate_profile", "title": "Conflict.", "detail": "It exists."}
    named = {"duplicate_profile_id": of(shop, id).id}
    body = {"errors": [{**error, "source": {"pointer": "/data"}, "meta": named}]}
    shop.klaviyo.fail(times, match=f"POST {IMPORT}", status=409, body=body)


# What it costs


def test_a_changed_identifier_costs_at_most_three_look_ups(shop: Shop) -> None:
    id = shop.customer(mobile_phone_e164=PHONE)
    shop.settle()
    for change in (
        {"email": OTHERS_EMAIL},
        {"mobile_phone_e164": OTHERS_PHONE},
        {"email": EMAIL, "mobile_phone_e164": PHONE},
    ):
        shop.forget_calls()
        shop.change(id, **change)
        shop.settle()
        assert shop.look_ups() <= 3
        assert len(shop.profile_writes()) == 1


def test_who_signed_up_in_a_form_is_found_with_three_look_ups(shop: Shop) -> None:
    form = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    id = shop.customer(mobile_phone_e164=PHONE)
    shop.sync()
    assert of(shop, id).id == form.id
    assert (shop.look_ups(), len(shop.profile_writes()), shop.klaviyo_calls(PROFILES)[0].method) == (
        3,
        1,
        "GET",
    )


def test_who_opts_out_at_an_address_that_klaviyo_still_has_on_anothers_profile_is_opted_out(
    shop: Shop,
) -> None:
    """Whether her opt-out is told before the address is given up there, or after it."""
    emails = (EMAIL, OTHERS_EMAIL)
    jane, joan = (shop.customer(email=email, comms=opted(shop, email=True)) for email in emails)
    shop.settle()
    shop.world.clock.advance(900)
    for id, email in ((jane, OTHERS_EMAIL), (joan, EMAIL)):
        shop.omneo.change_profile(TENANT, id, tells=False, email=email)
    shop.klaviyo.unsubscribe(
        ACCOUNT, of(shop, joan).id
    )  # Jane, by a letter to the address that is hers by now
    shop.settle()
    shop.change(jane, last_name="canary")
    shop.change(joan, last_name="canary")
    shop.settle(200)
    assert (email_of(shop, jane), shop.comms(jane)["email_promo"]) == (OTHERS_EMAIL, False)
    assert consent_of(shop, jane) == "UNSUBSCRIBED"


@pytest.mark.parametrize(
    ("email", "ends"), [("canary-new@example.org", "UNSUBSCRIBED"), (EMAIL, "SUBSCRIBED")]
)
def test_an_opt_in_without_an_event_at_a_former_address_does_not_move_to_the_new_one(
    shop: Shop, email: str, ends: str
) -> None:
    """It may be that of another person, who has the address by then."""
    joan = shop.customer(email=EMAIL, comms=opted(shop, email=True))
    shop.settle()
    shop.klaviyo.suppress(ACCOUNT, of(shop, joan).id)
    shop.settle()
    assert shop.comms(joan)["email_promo"] is False
    shop.world.clock.advance(900)
    shop.omneo.change_profile(TENANT, joan, tells=False, email=email)
    shop.customer(email=EMAIL if email != EMAIL else OTHERS_EMAIL, comms=opted(shop, email=True), tells=False)
    shop.klaviyo.subscribe(ACCOUNT, of(shop, joan).id)  # which lifts the suppression, without an event
    shop.change(joan, last_name="canary")
    shop.settle(200)
    assert email_of(shop, joan) == email
    assert consent_of(shop, joan) == ends


@pytest.mark.parametrize("kind", [{}, {"profile_type": "connection"}])
def test_who_signs_up_at_an_address_that_is_hers_for_moments_opts_in_nobody_else(
    shop: Shop, kind: dict[str, str]
) -> None:
    """The other, who has the address again when the sign-up is told, was never synced with another."""
    emails = (EMAIL, OTHERS_EMAIL)
    jane, joan = (shop.customer(email=email, comms=opted(shop, email=False)) for email in emails)
    shop.settle()
    shop.world.clock.advance(900)
    theirs = of(shop, joan).id
    for id, email in ((jane, OTHERS_EMAIL), (joan, EMAIL)):
        shop.omneo.change_profile(TENANT, id, tells=False, email=email, **(kind if id == jane else {}))
    with suppress(WaitError):  # Klaviyo has the address with the other
        sync_in(TENANT, jane, shop.world)
    shop.klaviyo.subscribe(ACCOUNT, theirs)
    for id, email in ((jane, EMAIL), (joan, OTHERS_EMAIL)):
        shop.omneo.change_profile(TENANT, id, tells=False, email=email)
    shop.settle(200)
    assert shop.comms(joan)["email_promo"] is False
    assert consent_of(shop, joan) == "UNSUBSCRIBED"


@pytest.mark.parametrize(
    "kind", [{"profile_type": "connection"}, {"email": "staff-profile-canary@example.org"}]
)
def test_who_opts_out_at_an_address_that_an_excluded_profile_has_in_klaviyo_is_opted_out(
    shop: Shop, kind: dict[str, str]
) -> None:
    giver, taker = (
        shop.customer(email=email, comms=opted(shop, email=True)) for email in (EMAIL, OTHERS_EMAIL)
    )
    shop.settle()
    shop.world.clock.advance(900)
    shop.omneo.change_profile(TENANT, taker, tells=False, email=EMAIL)
    shop.omneo.change_profile(TENANT, giver, tells=False, **{"email": "canary-new@example.org", **kind})
    shop.klaviyo.unsubscribe(ACCOUNT, of(shop, giver).id)
    shop.settle()
    shop.change(giver, last_name="canary")
    shop.change(taker, last_name="canary")
    shop.settle(200)
    assert (shop.comms(taker)["email_promo"], consent_of(shop, taker)) == (False, "UNSUBSCRIBED")


@pytest.mark.parametrize("first", ["kept", "new"])
def test_who_opts_out_at_an_address_that_a_merged_profile_has_in_klaviyo_is_opted_out(
    shop: Shop, first: str
) -> None:
    joan = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True))
    jane = shop.customer(comms=opted(shop, email=True))
    shop.settle()
    shop.world.clock.advance(900)
    gone = of(shop, joan).id
    merged(shop, joan, jane)
    june = shop.customer(email=OTHERS_EMAIL, comms=opted(shop, email=True), tells=False)
    shop.klaviyo.unsubscribe(ACCOUNT, gone)
    shop.settle()
    for id in (jane, june) if first == "kept" else (june, jane):
        shop.change(id, last_name="canary")
    shop.settle(200)
    assert email_of(shop, june) == OTHERS_EMAIL
    assert (shop.comms(june)["email_promo"], consent_of(shop, june)) == (False, "UNSUBSCRIBED")
