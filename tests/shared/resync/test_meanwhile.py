"""What people, shops and Klaviyo do while a run is under way."""

from typing import Any

import pytest

from shared.jobs.jobs import DeleteProfile, SyncProfile
from shared.profiles.backlog import SyncBacklog
from shared.resync.rules.run import Kind, State
from tests.support.resyncing import DAY, IMPORTS, PROFILES, Whole, on_each_page, opt_in, opt_out
from tests.support.syncing import SUBSCRIBE
from tests.support.world import ACCOUNT, TENANT, World


def test_who_is_changed_in_omneo_during_a_run_ends_up_as_changed(shop: Whole) -> None:
    shop.klaviyo.consent.job_seconds = 60.0
    ids = shop.base(
        20, first_name="Jane", comms=opt_in(shop, "email", "sms"), mobile_phone_e164="+614120{n:05}"
    )
    run = shop.begin()
    shop.world.work(1)  # the import is on its way
    comms = {
        "email_promo": False, "sms_promo": False,
        "email_consent_updated_at": shop.now(), "sms_consent_updated_at": shop.now(),
    }  # fmt: skip
    shop.change_quietly(ids[3], first_name="Janet", comms=comms)
    shop.end(run)
    shop.world.work(90)
    shop.settle()
    assert shop.of(ids[3]).attributes["first_name"] == "Janet"
    assert (shop.consent_of(ids[3]), shop.consent_of(ids[3], "sms")) == ("UNSUBSCRIBED", "UNSUBSCRIBED")
    assert shop.consent_of(ids[4]) == "SUBSCRIBED"


def test_a_value_that_a_sync_clears_while_an_import_carries_it_is_cleared_again(shop: Whole) -> None:
    ids = shop.base(5, first_name="Jane", tier_handle="gold", mobile_phone_e164="+614120{n:05}")
    shop.run()
    shop.settle()
    shop.world.clock.advance(DAY)
    shop.klaviyo.consent.job_seconds = 60.0
    run = shop.begin()
    shop.world.work(1)  # the import is on its way
    emptied: dict[str, Any] = {
        "first_name": "",
        "tier_handle": None,
        "mobile_phone_e164": None,
        "mobile_phone": None,
    }
    shop.omneo.change_profile(TENANT, ids[3], **emptied)
    shop.omneo.deliver(TENANT)
    shop.world.work(20)
    cleared, kept = shop.of(ids[3]), shop.of(ids[2])
    assert not {"first_name", "phone_number"} & {name for name, value in cleared.attributes.items() if value}
    assert shop.now_of(run).imports
    shop.end(run)
    shop.world.work(90)
    shop.settle()
    assert not {"first_name", "phone_number"} & {name for name, value in cleared.attributes.items() if value}
    assert "omneo_tier_handle" not in cleared.properties
    assert (kept.attributes["first_name"], kept.properties["omneo_tier_handle"]) == ("Jane", "gold")


def test_who_is_deleted_while_in_an_import_is_suppressed_after_it(shop: Whole) -> None:
    shop.klaviyo.consent.job_seconds = 60.0
    ids = shop.base(3)
    run = shop.begin()
    shop.world.work(1)
    services, tenant = shop.world.services, shop.world.read()
    del shop.omneo._tenants[TENANT].profiles[ids[1]]
    gone = DeleteProfile(tenant=TENANT, accepted_at=shop.world.clock(), profile_id=ids[1])
    services.queue.put(gone, tenant)
    shop.end(run)
    shop.settle()
    shop.world.work(90)
    assert shop.of(ids[1]).subscriptions.is_suppressed("USER_SUPPRESSED")
    assert not shop.of(ids[0]).subscriptions.is_suppressed("USER_SUPPRESSED")


@pytest.mark.parametrize("order", [{}, {"only_consent": True}], ids=["profiles", "consent alone"])
def test_nobody_is_missed_when_deletions_move_the_pages(
    shop: Whole, world: World, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any]
) -> None:
    """One is deleted after each page that Omneo shows, on a page before it."""
    ids = shop.base(600, comms=opt_out(shop))
    for n in range(600):
        held = shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
        shop.klaviyo.subscribe(ACCOUNT, held.id, at=shop.world.clock.timestamp() - 9 * DAY)
    shop.klaviyo._account(ACCOUNT).outbox.clear()
    profiles = shop.omneo._tenants[TENANT].profiles
    on_each_page(world, lambda turn: profiles.pop(ids[turn]) if turn < 12 else None, monkeypatch)
    run = shop.run(**order)
    shop.world.work(60)
    shop.settle()
    assert run.state is State.DONE
    assert 580 < len(profiles) < 600
    status = {
        one.attributes["email"]: one.subscriptions.consents["email"].status
        for one in shop.klaviyo.profiles(ACCOUNT)
    }
    assert {status[row["email"]] for row in profiles.values()} == {"UNSUBSCRIBED"}


def test_a_run_that_has_compared_fewer_than_there_are_says_so(
    shop: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.base(250, comms=opt_out(shop))
    monkeypatch.setattr("shared.resync.rules.place.Place.unread", lambda self, ids: max(0, len(ids) - 12))
    run = shop.run(Kind.RECONCILE)
    assert run.state is State.FAILED
    assert run.reason.startswith("Omneo has 250 profiles and 2")
    assert shop.run(Kind.REPAIR, dry_run=True).id != run.id


def test_live_syncs_go_on_beside_a_run_and_neither_undoes_the_other(shop: Whole) -> None:
    shop.klaviyo.consent.job_seconds = 20.0
    ids = shop.base(150, first_name="Jane", comms=opt_in(shop))
    run = shop.begin()
    for n in range(8):
        shop.world.work(10)
        shop.change(
            ids[n], first_name=f"Janet {n}",
            comms={"email_promo": False, "email_consent_updated_at": shop.now()},
        )  # fmt: skip
    assert shop.end(run).state is State.DONE
    shop.world.work(60)
    shop.settle()
    assert [shop.of(ids[n]).attributes["first_name"] for n in range(8)] == [f"Janet {n}" for n in range(8)]
    assert {shop.consent_of(id) for id in ids[:8]} == {"UNSUBSCRIBED"}
    assert {shop.consent_of(id) for id in ids[8:]} == {"SUBSCRIBED"}


def test_klaviyo_throttling_in_the_middle_only_makes_it_later(shop: Whole) -> None:
    ids = shop.base(350, comms=opt_in(shop))
    for match in (f"POST {IMPORTS}", f"GET {IMPORTS}/*", f"GET {PROFILES}*", f"POST {SUBSCRIBE}"):
        shop.klaviyo.faults.fail(2, match=match, status=429, headers={"Retry-After": "7"})
    run = shop.run()
    assert run.counts["email: subscribe (fills_never_subscribed)"] == 350
    assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}


def test_a_run_sends_nothing_while_syncs_of_who_has_changed_wait(shop: Whole) -> None:
    ids, services, now = shop.base(5), shop.world.services, shop.world.clock()
    backlog = SyncBacklog.of(services)
    backlog.add(TENANT, SyncProfile(tenant=TENANT, accepted_at=now, until=now, profile_id=ids[0]))
    run = shop.begin()
    shop.world.work(60)
    assert shop.bodies(IMPORTS) == []
    assert shop.now_of(run).state is State.RUNNING
    backlog.take_out(TENANT, backlog.first(TENANT, 1)[0])
    assert shop.end(run).state is State.DONE
    assert sum(len(body["attributes"]["profiles"]["data"]) for body in shop.bodies(IMPORTS)) == 5
