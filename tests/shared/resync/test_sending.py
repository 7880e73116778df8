"""The first phase of a run: every profile reaches Klaviyo, in bulk or alone, through the real queue and worker on a clock that stands still."""

import json

import pytest

from shared.resync.rules.run import State
from tests.support.resyncing import DAY, IMPORTS, PROFILES, Whole, opt_in, opt_out
from tests.support.syncing import IMPORT, SUBSCRIBE, UNSUBSCRIBE
from tests.support.world import ACCOUNT, EMAIL, Clock


def test_a_new_base_arrives_in_one_import_and_one_subscribe(shop: Whole) -> None:
    ids = shop.base(250, comms=opt_in(shop), tier_handle="gold")
    run = shop.run()
    assert (run.state, run.read, run.total) == (State.DONE, 250, 250)
    assert run.counts["profiles imported"] == 250
    assert run.counts["email: subscribe (fills_never_subscribed)"] == 250
    assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}
    assert shop.of(ids[7]).properties["omneo_tier_handle"] == "gold"
    assert len(shop.bodies(IMPORTS)) == 1
    (subscribe,) = shop.bodies(SUBSCRIBE)
    assert subscribe["attributes"]["historical_import"] is True
    assert shop.klaviyo_calls(IMPORT) == []
    # A hundred a call: by email, since Omneo has changed them after the extension came; then by external_id.
    assert len({call.query for call in shop.klaviyo_calls(PROFILES)}) == 6
    consent = shop.of(ids[0]).subscriptions.consents["email"]
    assert consent.at == Clock().timestamp() - DAY  # the decision's own time


def test_a_second_run_changes_nothing_and_costs_one_look_for_a_hundred(shop: Whole) -> None:
    shop.base(300, comms={**opt_in(shop), **opt_out(shop, "sms")}, mobile_phone_e164="+614120{n:05}")
    shop.run()
    shop.settle()
    before = [profile.subscriptions.to_json() for profile in shop.klaviyo.profiles(ACCOUNT)]
    shop.world.clock.advance(DAY)
    shop.forget_calls()
    again = shop.run()
    assert [profile.subscriptions.to_json() for profile in shop.klaviyo.profiles(ACCOUNT)] == before
    assert [name for name in again.counts if ":" in name] == []
    assert len(shop.klaviyo_calls(PROFILES)) == 3
    assert shop.bodies(SUBSCRIBE) == shop.bodies(UNSUBSCRIBE) == []


def test_a_profile_is_found_by_its_identity_its_external_id_or_its_email(shop: Whole) -> None:
    held = {
        "identity": shop.klaviyo.profile(ACCOUNT, email="canary-old-1@example.org").id,
        "external_id": shop.klaviyo.profile(ACCOUNT, external_id="omneo-2", email=f"b{EMAIL}").id,
        "email": shop.klaviyo.profile(ACCOUNT, email=f"c{EMAIL}").id,
    }
    mine = [{"handle": "klaviyo", "identifier": held["identity"], "is_active": True}]
    shop.customer(tells=False, id="omneo-1", email="canary-new-1@example.org", identities=mine)
    shop.customer(tells=False, id="omneo-2", email="canary-new-2@example.org")
    shop.customer(tells=False, id="omneo-3", email=f"C{EMAIL}")
    shop.hush()
    shop.world.clock.advance(3600)
    run = shop.run()
    shop.settle(200)
    alone = "synced one by one: their email or phone number changes"  # of whom Klaviyo has the id
    assert (run.counts["profiles imported"], run.counts[alone]) == (2, 1)
    found = {one.id: one.attributes["external_id"] for one in shop.klaviyo.profiles(ACCOUNT)}
    assert found == dict(zip(held.values(), ("omneo-1", "omneo-2", "omneo-3"), strict=True))
    assert shop.of("omneo-1").attributes["email"] == "canary-new-1@example.org"


def test_an_identity_of_another_account_makes_no_profile_under_its_id(shop: Whole) -> None:
    theirs = [{"handle": "klaviyo", "identifier": "01CANARYOFANOTHERACCOUNT0", "is_active": True}]
    id = shop.customer(tells=False, identities=theirs)
    shop.hush()
    shop.world.clock.advance(3600)
    shop.run()
    assert shop.profile().id != "01CANARYOFANOTHERACCOUNT0"
    assert shop.profile().attributes["external_id"] == id


def test_whoever_is_excluded_is_counted_by_reason_and_not_sent(shop: Whole) -> None:
    shop.base(3, email="canary-{n}@example.com")
    shop.base(2, email="staff-profile-canary-{n}@example.org")
    shop.base(1, email="canary-c@example.org", profile_type="connection")
    kept = shop.base(1, email="canary-d@example.org")
    counts = shop.run().counts
    assert counts["excluded: example_email"] == 3
    assert counts["excluded: staff_profile"] == 2
    assert counts["excluded: connection_profile"] == 1
    assert shop.profile().attributes["external_id"] == kept[0]


def test_a_phone_number_that_is_none_is_left_out_and_the_profile_sent(shop: Whole) -> None:
    (id,) = shop.base(1, mobile_phone="12", comms=opt_in(shop, "sms"))
    run = shop.run()
    assert run.counts["left out: phone_invalid phone_number"] == 1
    assert "phone_number" not in shop.of(id).attributes


def test_a_country_that_klaviyo_does_not_support_costs_the_number_and_not_the_import(shop: Whole) -> None:
    shop.klaviyo.consent.unsupported_phone_prefixes = ["+7"]
    good = shop.base(20, comms=opt_in(shop))
    bad = shop.base(
        2, email="canary-ru{n}@example.org", mobile_phone_e164="+7912345678{n}", comms=opt_in(shop, "sms")
    )
    run = shop.run()
    assert run.counts["profiles imported"] == 22
    assert run.counts["left out: phone_number refused by Klaviyo"] == 2
    assert run.counts["failed: Klaviyo refuses the consent for sms"] == 2
    assert all("phone_number" not in shop.of(id).attributes for id in bad)
    assert {shop.consent_of(id) for id in good} == {"SUBSCRIBED"}


def test_import_errors_are_followed_page_by_page_and_each_profile_is_synced_by_itself(shop: Whole) -> None:
    """Klaviyo has the phone number on a profile that nobody finds by anything else."""
    phones = [f"+614123{n:05}" for n in range(130)]
    for phone in phones:
        shop.klaviyo.profile(ACCOUNT, phone_number=phone, external_id=f"canary-other-{phone}")
    ids = []
    for phone in phones:
        email = f"canary-{phone}@example.org"
        held = shop.klaviyo.profile(ACCOUNT, email=email)
        mine = [{"handle": "klaviyo", "identifier": held.id, "is_active": True}]
        ids.append(shop.customer(tells=False, email=email, mobile_phone_e164=phone, identities=mine))
    shop.hush()
    shop.world.clock.advance(3600)
    run = shop.run()
    assert run.counts["synced one by one: duplicate_profile attributes"] == 130
    assert set(shop.told(run)) == set(ids)
    shop.settle()
    assert all(shop.of(id).attributes["email"].startswith("canary-") for id in ids)
    assert all("phone_number" not in shop.of(id).attributes for id in ids)


def test_a_field_that_omneo_has_emptied_is_cleared_by_a_sync_of_its_own(shop: Whole) -> None:
    """Klaviyo's bulk import ignores null; see its guide."""
    ids = shop.base(3, first_name="Jane", tier_handle="gold", address={"city": "Perth", "postcode": "6000"})
    shop.run()
    shop.change_quietly(ids[1], first_name="", tier_handle=None, address={"city": "", "postcode": "6001"})
    shop.world.clock.advance(3600)
    shop.forget_calls()
    run = shop.run()
    shop.settle()
    changed, other = shop.of(ids[1]), shop.of(ids[0])
    assert "first_name" not in changed.attributes
    assert "omneo_tier_handle" not in changed.properties
    assert changed.attributes["location"] == {"zip": "6001"}
    assert (other.attributes["first_name"], other.properties["omneo_tier_handle"]) == ("Jane", "gold")
    assert run.counts["synced one by one: something is to be cleared"] == 1
    (sent,) = shop.bodies(IMPORTS)
    assert "null" not in json.dumps(sent)
    assert "unset" not in json.dumps(sent)
    again = shop.run()
    assert "synced one by one: something is to be cleared" not in again.counts


def test_an_import_that_klaviyo_gives_up_is_sent_again(shop: Whole) -> None:
    shop.klaviyo.consent.job_seconds = 60.0
    ids = shop.base(120, comms=opt_out(shop))
    run = shop.begin()
    while not shop.now_of(run).imports:
        shop.world.work(1)
    (waiting,) = shop.now_of(run).imports
    assert shop.now_of(run).sent.is_over
    shop.klaviyo.cancel_import(ACCOUNT, waiting.job)
    run = shop.end(run)
    shop.world.work(60)
    assert run.counts["imports given up by Klaviyo"] == 1
    assert len(shop.bodies(IMPORTS)) == 2
    assert {shop.consent_of(id) for id in ids} == {"UNSUBSCRIBED"}


def test_a_base_of_many_imports_is_packed_full(shop: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resync.rules.packing.MOST_PROFILES", 250)
    shop.base(1130)
    assert shop.run().counts["profiles imported"] == 1130
    sizes = [len(body["attributes"]["profiles"]["data"]) for body in shop.bodies(IMPORTS)]
    assert sum(sizes) == 1130
    assert all(150 < size <= 250 for size in sizes[:-1])  # a page is never torn apart
