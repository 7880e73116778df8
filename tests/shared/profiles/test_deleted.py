"""What becomes of a Klaviyo profile when its Omneo profile is deleted, and that nothing makes it again."""

from typing import Any

import pytest

from shared.consent.ledger import ConsentLedger
from shared.jobs.jobs import DeleteProfile, SyncProfile
from shared.profiles.calls import accept_upsert
from shared.profiles.deleted import delete_profile
from shared.profiles.sync import sync_profile
from shared.tenants.settings import OnProfileDeleted
from tests.support.syncing import IMPORT, OTHERS_EMAIL, PHONE, UNSUBSCRIBE, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

SUPPRESS = "/api/profile-suppression-bulk-create-jobs"
ERASE = "/api/data-privacy-deletion-jobs"
OTHER = "other"
OPTED_IN = {"email_promo": True, "sms_promo": True}


def deleting(setting: str) -> dict[str, Any]:
    return {"on_profile_deleted": OnProfileDeleted(setting)}


def a_customer(shop: Shop, **fields: Any) -> str:
    """Return a customer who is in Klaviyo as well, everything counted from here on."""
    id = shop.customer(mobile_phone_e164=PHONE, comms=OPTED_IN, **fields)
    shop.settle()
    assert shop.consent() == "SUBSCRIBED"
    shop.forget_calls()
    return id


@pytest.mark.parametrize("whole", [True, False])
def test_by_default_nothing_is_sent_to_the_profile_any_more(world: World, whole: bool) -> None:
    with a_shop(world) as shop:
        id = a_customer(shop)
        shop.omneo.delete_profile(TENANT, id, whole=whole)
        shop.settle()
        profile = shop.profile()
        assert profile.subscriptions.is_suppressed("USER_SUPPRESSED")
        assert shop.consent("sms") == "UNSUBSCRIBED"
        records = ConsentLedger.of(world.services).records_of(world.read(), id, 2)
        assert {record.source for record in records} == {"omneo:profile.deleted"}


def test_no_address_travels_in_the_task_of_a_deletion(world: World) -> None:
    with a_shop(world) as shop:
        id = a_customer(shop)
        shop.omneo.delete_profile(TENANT, id)
        stored = b"".join(path.read_bytes() for path in world_files(world))
        assert b"canary-jane" not in stored


def world_files(world: World) -> list[Any]:
    from pathlib import Path

    folder = Path(world.environment["STORE"].removeprefix("sqlite:")).parent
    return [path for path in folder.iterdir() if path.name.startswith(("tasks.db", "documents.db"))]


@pytest.mark.parametrize("whole", [True, False])
def test_it_is_erased_where_the_tenant_says_so(world: World, whole: bool) -> None:
    with a_shop(world, **deleting("erase")) as shop:
        id, profile = a_customer(shop), shop.profile().id
        shop.omneo.delete_profile(TENANT, id, whole=whole)
        shop.settle()
        assert shop.klaviyo.profiles(ACCOUNT) == []
        (job,) = shop.bodies(ERASE)
        assert job["attributes"]["profile"]["data"] == {"type": "profile", "id": profile, "attributes": {}}


@pytest.mark.parametrize("setting", ["suppress", "erase"])
@pytest.mark.parametrize("known_by", ["email", "id"])
def test_a_person_whom_another_tenant_on_the_account_knows_is_left_alone(
    world: World, setting: str, known_by: str
) -> None:
    with a_shop(world, **deleting(setting)) as shop:
        other = also_known_to(OTHER, shop, known_by)
        shop.omneo.delete_profile(TENANT, other)
        shop.settle()
        assert shop.bodies(SUPPRESS) + shop.bodies(ERASE) + shop.bodies(UNSUBSCRIBE) == []
        assert world.dead_jobs() == []


@pytest.mark.parametrize("twin", [f"{TENANT}-stg", f"{OTHER}-stg"])
def test_a_copy_in_a_staging_twin_holds_no_deletion_back(world: World, twin: str) -> None:
    with a_shop(world, **deleting("erase")) as shop:
        shop.omneo.delete_profile(TENANT, also_known_to(twin, shop, "id"))
        shop.settle()
        assert len(shop.bodies(ERASE)) == 1


@pytest.mark.parametrize("is_joined", [True, False])
def test_a_deletion_in_staging_asks_a_production_of_whose_account_nothing_is_known(
    world: World, is_joined: bool
) -> None:
    world.tenant(TENANT, installed=is_joined)
    twin = world.tenant(f"{TENANT}-stg")
    world.services.tenants.change(
        twin.name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
    )
    id = world.sandbox.omneo.profile(TENANT, email=EMAIL)["id"]
    held = world.sandbox.klaviyo.profile(ACCOUNT, email=EMAIL, external_id=id)
    job = DeleteProfile(
        tenant=twin.name, id="1", accepted_at=world.clock(), profile_id=id, klaviyo_id=held.id
    )
    delete_profile(job, world.read(twin.name), world.services)
    assert not held.subscriptions.is_suppressed("USER_SUPPRESSED")


def test_one_that_another_tenant_has_given_its_own_id_is_found_all_the_same(world: World) -> None:
    with a_shop(world) as shop:
        id = a_customer(shop)
        others = "1b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a02"
        shop.klaviyo.profile(ACCOUNT, id=shop.profile().id, external_id=others)
        shop.omneo.delete_profile(TENANT, id, whole=False)
        shop.settle()
        assert shop.profile().subscriptions.is_suppressed("USER_SUPPRESSED")


def also_known_to(other: str, shop: Shop, known_by: str) -> str:
    """Return the id of a customer whom another tenant on the account knows too."""
    world, id = shop.world, a_customer(shop)
    world.tenant(other)
    for name in (TENANT, other):
        world.services.tenants.change(
            name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT})
        )
    theirs = {"id": id, "email": "canary-other@example.org"} if known_by == "id" else {"email": EMAIL}
    world.sandbox.omneo.profile(other, **theirs)
    return id


GONE = {
    "errors": [
        {
            "status": 404,
            "code": "not_found",
            "title": "Not found.",
            "detail": "The profile may have already been deleted.",
        }
    ]
}


def test_one_that_klaviyo_has_deleted_by_itself_is_done(world: World) -> None:
    with a_shop(world, **deleting("erase")) as shop:
        id = a_customer(shop)
        shop.klaviyo.fail(match="POST /api/data-privacy-deletion-jobs", status=404, body=GONE)
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert len(shop.bodies(ERASE)) == 1
        assert shop.world.dead_jobs() == []


def test_it_is_left_alone_where_the_tenant_says_so(world: World) -> None:
    with a_shop(world, **deleting("ignore")) as shop:
        id = a_customer(shop)
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert shop.consent() == "SUBSCRIBED"
        assert shop.klaviyo_calls() == []


@pytest.mark.parametrize("setting", ["suppress", "erase", "ignore"])
@pytest.mark.parametrize("sees_it_still", [True, False])
def test_a_late_update_does_not_make_it_again(world: World, setting: str, sees_it_still: bool) -> None:
    with a_shop(world, **deleting(setting)) as shop:
        id = a_customer(shop)
        whole = shop.omneo._tenants[TENANT].profiles[id]
        world.clock.advance(60)
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        if sees_it_still:  # one of Omneo's machines does not know of it yet
            shop.omneo._tenants[TENANT].profiles[id] = whole
        accept_upsert(
            world.read(), {"profile_id": id}, queue=world.services.queue, clock=world.clock, traceparent=""
        )
        shop.sync()
        shop.settle()
        assert shop.klaviyo_calls(IMPORT) == []
        assert world.dead_jobs() == []


def test_a_sync_that_runs_before_the_deletion_is_undone_by_it(world: World) -> None:
    with a_shop(world, **deleting("erase")) as shop:
        id = a_customer(shop)
        shop.change(id, first_name="Janet")
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert shop.klaviyo.profiles(ACCOUNT) == []


@pytest.mark.parametrize("setting", ["suppress", "erase"])
def test_a_subscribe_that_lands_after_the_deletion_writes_to_nobody(world: World, setting: str) -> None:
    with a_shop(world, **deleting(setting)) as shop:
        shop.klaviyo.consent.job_seconds = 100
        id = shop.customer(mobile_phone_e164=PHONE, comms=OPTED_IN)
        shop.sync()
        shop.klaviyo.consent.job_seconds = 1
        shop.omneo.delete_profile(TENANT, id)
        shop.settle(100)
        for one in shop.klaviyo.profiles(ACCOUNT):
            assert one.subscriptions.is_suppressed("USER_SUPPRESSED")
            assert one.subscriptions.consents["sms"].status == "UNSUBSCRIBED"
        assert world.dead_jobs() == []


def test_a_profile_that_was_restored_is_synced_again(world: World) -> None:
    with a_shop(world) as shop:
        id = a_customer(shop)
        whole = shop.omneo._tenants[TENANT].profiles[id]
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        shop.forget_calls()
        shop.omneo._tenants[TENANT].profiles[id] = whole
        shop.change(id, first_name="Janet")
        shop.sync()
        assert shop.profile().attributes["first_name"] == "Janet"
        shop.change(id, first_name="Joan")
        shop.settle()
        assert shop.profile().attributes["first_name"] == "Joan"


def test_a_klaviyo_profile_that_is_another_customers_by_now_is_not_touched(world: World) -> None:
    with a_shop(world, **deleting("erase")) as shop:
        id = a_customer(shop)
        kept = shop.omneo.profile(TENANT, email="canary-kept@example.org")["id"]
        shop.klaviyo.profile(ACCOUNT, id=shop.profile().id, external_id=kept)
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert shop.profile().attributes["external_id"] == kept


def test_a_merge_in_omneo_does_not_erase_the_profile_that_was_kept(world: World) -> None:
    with a_shop(world, **deleting("erase")) as shop:
        id = a_customer(shop)
        identity = {"handle": "klaviyo", "identifier": shop.profile().id}
        shop.omneo.profile(TENANT, email="canary-kept@example.org", identities=[identity])
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert shop.profile().attributes["email"] == "canary-kept@example.org"  # whose it is now


@pytest.mark.parametrize("setting", ["suppress", "erase"])
def test_both_klaviyo_profiles_go_of_who_is_deleted_before_a_sync_knows_of_a_merge(
    world: World, setting: str
) -> None:
    with a_shop(world, **deleting(setting)) as shop:
        jane = a_customer(shop)
        world.clock.advance(60)
        joan = shop.customer(email=OTHERS_EMAIL)
        shop.settle()
        people = shop.omneo._tenants[TENANT].profiles
        rows = [{**row, "merged_from": joan} for row in people[joan]["identities"]]
        people[jane]["identities"] += rows  # they are newer than hers
        for id in (joan, jane):
            shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        left = shop.klaviyo.profiles(ACCOUNT)
        assert all(one.subscriptions.is_suppressed("USER_SUPPRESSED") for one in left)
        assert len(left) == (2 if setting == "suppress" else 0)


def test_a_customer_who_was_never_in_klaviyo_costs_one_look(world: World) -> None:
    with a_shop(world) as shop:
        id = shop.customer(email="canary-jane@example.com")
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert [call.method for call in shop.klaviyo_calls()] == ["GET"]
        assert world.dead_jobs() == []


def test_the_echo_of_a_suppression_is_nobodys_opt_out(world: World) -> None:
    with a_shop(world) as shop:
        id = a_customer(shop)
        shop.omneo.delete_profile(TENANT, id)
        shop.sync()
        # Somebody registers again with the address before Klaviyo tells of the suppression.
        again = shop.omneo.profile(TENANT, email=EMAIL, attributes={"comms": OPTED_IN})["id"]
        shop.klaviyo.deliver(ACCOUNT)
        world.work(15)
        assert shop.comms(again)["email_promo"] is True


@pytest.mark.parametrize("path", [SUPPRESS, UNSUBSCRIBE])
@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_deletion_that_fails_for_a_moment_is_finished(world: World, path: str, takes_effect: bool) -> None:
    with a_shop(world) as shop:
        id = a_customer(shop)
        shop.klaviyo.fail(1, match=f"POST {path}", kind="reset", takes_effect=takes_effect)
        shop.omneo.delete_profile(TENANT, id)
        shop.settle()
        assert shop.profile().subscriptions.is_suppressed("USER_SUPPRESSED")
        assert shop.consent("sms") == "UNSUBSCRIBED"
        assert world.dead_jobs() == []


def test_a_sync_of_what_was_deleted_reads_and_does_no_more(world: World) -> None:
    with a_shop(world) as shop:
        job = SyncProfile(
            tenant=TENANT,
            accepted_at=world.clock(),
            profile_id="5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11",
            until=world.clock(),
        )
        sync_profile(job, world.read(), world.services)
        assert shop.klaviyo_calls() == []
        assert len(shop.omneo_calls()) == 1
