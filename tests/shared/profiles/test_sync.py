"""The profile sync from an Omneo webhook to Klaviyo, through the real queue and worker on a clock that stands still."""

from typing import Any

import pytest

from shared.consent.ledger import ConsentLedger
from tests.support.syncing import IMPORT, PHONE, PROFILES, SUBSCRIBE, UNSUBSCRIBE, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World, lines


def opted_in(shop: Shop) -> dict[str, Any]:
    """Return the consents of somebody who has just opted in to both channels."""
    now = shop.now()
    return {
        "email_promo": True,
        "sms_promo": True,
        "email_consent_updated_at": now,
        "sms_consent_updated_at": now,
    }


def test_a_new_customer_arrives_with_two_calls_on_either_side_and_three_look_ups(shop: Shop) -> None:
    id = shop.customer(mobile_phone_e164=PHONE, comms=opted_in(shop), tier_handle="gold")
    shop.sync()
    profile = shop.profile()
    assert profile.attributes["email"] == EMAIL
    assert profile.attributes["external_id"] == id
    assert profile.attributes["phone_number"] == PHONE
    assert profile.attributes["first_name"] == "Jane"
    assert profile.properties["omneo_tier_handle"] == "gold"
    assert (shop.consent("email"), shop.consent("sms")) == ("SUBSCRIBED", "SUBSCRIBED")
    assert shop.identities(id) == [profile.id]
    assert [call.path for call in shop.klaviyo_calls()] == [*[PROFILES] * 4, SUBSCRIBE]
    assert (len(shop.profile_writes()), shop.look_ups()) == (1, 3)
    assert [call.method for call in shop.omneo_calls()] == ["GET", "POST"]
    (job,) = shop.bodies(SUBSCRIBE)
    assert job["attributes"]["custom_source"] == "omneo"
    assert job["attributes"]["historical_import"] is False
    assert "relationships" not in job


def test_an_unchanged_customer_costs_a_call_on_either_side(shop: Shop) -> None:
    id = shop.customer(comms=opted_in(shop))
    shop.settle()
    shop.forget_calls()
    shop.change(id, first_name="Janet")
    shop.settle()
    assert shop.profile().attributes["first_name"] == "Janet"
    assert [call.path for call in shop.klaviyo_calls()] == [IMPORT]
    assert shop.bodies(IMPORT)[0]["id"] == shop.profile().id
    assert [call.method for call in shop.omneo_calls()] == ["GET"]


def test_what_happens_close_together_becomes_one_sync_of_the_newest_state(shop: Shop) -> None:
    id = shop.customer()
    for number in range(20):
        shop.change(id, first_name=f"Jane {number}")
    shop.settle()
    assert len(shop.profile_writes()) == 1
    assert shop.profile().attributes["first_name"] == "Jane 19"


def test_syncs_that_waited_together_become_one(shop: Shop) -> None:
    from shared.direction import Direction

    tenant, queue = shop.world.read(), shop.world.services.queue
    queue.pause(tenant, Direction.OUTBOUND)
    id = shop.customer()
    for number in range(5):
        shop.world.work(30)
        shop.change(id, first_name=f"Jane {number}")
    queue.resume(tenant, Direction.OUTBOUND)
    shop.settle()
    assert len(shop.profile_writes()) == 1
    assert shop.profile().attributes["first_name"] == "Jane 4"


def test_a_change_while_the_profile_is_being_read_is_not_lost(shop: Shop) -> None:
    id = shop.customer()
    shop.world.work(12)
    shop.change(id, first_name="Janet")  # in the next window
    shop.settle()
    assert shop.profile().attributes["first_name"] == "Janet"


def test_an_opt_out_reaches_klaviyo_and_names_no_list(world: World) -> None:
    with a_shop(world, master_list_id="LIST1") as shop:
        shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
        id = shop.customer(comms=opted_in(shop))
        shop.settle()
        assert shop.consent() == "SUBSCRIBED"
        assert "LIST1" in shop.profile().memberships
        shop.forget_calls()
        shop.change(id, comms={"email_promo": False, "email_consent_updated_at": shop.now()})
        shop.sync()
        assert shop.consent() == "UNSUBSCRIBED"
        assert [call.path for call in shop.klaviyo_calls()] == [IMPORT, UNSUBSCRIBE]
        assert "relationships" not in shop.bodies(UNSUBSCRIBE)[0]


def test_the_echo_of_our_own_call_changes_nothing_in_omneo(shop: Shop) -> None:
    id = shop.customer(mobile_phone_e164=PHONE, comms=opted_in(shop))
    before = shop.comms(id)
    shop.settle()
    shop.change(id, comms={"sms_promo": False, "sms_consent_updated_at": shop.now()})
    shop.settle()
    assert shop.consent("sms") == "UNSUBSCRIBED"
    assert {**before, "sms_promo": False} == {
        **shop.comms(id),
        "sms_consent_updated_at": before["sms_consent_updated_at"],
    }
    assert shop.omneo.interactions(TENANT) == []


def test_a_change_of_mind_in_omneo_is_newer_than_the_landing_of_our_own_call_before_it(shop: Shop) -> None:
    id = shop.customer(mobile_phone_e164=PHONE, comms=opted_in(shop))
    shop.world.work(15)  # Klaviyo stamps both consents with this moment
    assert (shop.consent("email"), shop.consent("sms")) == ("SUBSCRIBED", "SUBSCRIBED")
    earlier = shop.now(-5)
    changed = {"email_consent_updated_at": earlier, "sms_consent_updated_at": earlier}
    shop.change(id, comms={"email_promo": False, "sms_promo": False, **changed})
    shop.world.work(15)
    assert (shop.consent("email"), shop.consent("sms")) == ("UNSUBSCRIBED", "UNSUBSCRIBED")
    shop.world.clock.advance(6)
    earlier = shop.now(-5)
    changed = {"email_consent_updated_at": earlier, "sms_consent_updated_at": earlier}
    shop.change(id, comms={"email_promo": True, "sms_promo": True, **changed})
    shop.settle()
    assert (shop.consent("email"), shop.consent("sms")) == ("SUBSCRIBED", "SUBSCRIBED")
    assert shop.comms(id)["email_promo"] is True
    assert shop.comms(id)["sms_promo"] is True


def test_an_opt_out_that_may_be_hers_or_the_landing_of_ours_is_hers_on_both_sides(shop: Shop) -> None:
    """She opts in again in Omneo while our unsubscribe is under way: who has made what Klaviyo then shows, nobody can know."""
    shop.klaviyo.consent.job_seconds = 60.0
    id = shop.customer(comms=opted_in(shop))
    shop.settle()
    shop.change(id, comms={"email_promo": False, "email_consent_updated_at": shop.now()})
    shop.world.work(15)
    shop.world.clock.advance(20)
    shop.change(id, comms={"email_promo": True, "email_consent_updated_at": shop.now()})
    shop.settle()
    assert shop.consent("email") == "UNSUBSCRIBED"
    assert shop.comms(id)["email_promo"] is False


def test_an_opt_out_that_klaviyo_holds_newer_is_left_alone_and_brought_to_omneo(shop: Shop) -> None:
    id = shop.customer(comms=opted_in(shop))
    shop.settle()
    shop.world.clock.advance(3600)
    shop.klaviyo.unsubscribe(ACCOUNT, shop.profile().id)
    left = shop.now()
    shop.klaviyo._account(ACCOUNT).outbox.clear()  # its webhook never came
    shop.forget_calls()
    shop.change(id, first_name="Janet")
    shop.settle()
    assert shop.consent() == "UNSUBSCRIBED"
    assert shop.comms(id)["email_promo"] is False
    assert shop.comms(id)["email_consent_updated_at"] == left
    assert [call.path for call in shop.klaviyo_calls()] == [IMPORT]
    records = ConsentLedger.of(shop.world.services).records_of(shop.world.read(), id, 10)
    assert [(record.source, record.after) for record in records if record.channel == "email"] == [
        ("klaviyo:profile", "unsubscribed"),
        ("omneo", "subscribed"),
    ]


def test_a_subscribe_is_asked_once_for_one_decision_while_double_opt_in_waits(shop: Shop) -> None:
    shop.klaviyo.account(ACCOUNT, default_opt_in="double_opt_in")
    id = shop.customer(comms=opted_in(shop))
    shop.settle()
    for number in range(3):
        shop.change(id, first_name=f"Jane {number}")
        shop.settle()
    assert len(shop.klaviyo_calls(SUBSCRIBE)) == 1
    assert shop.consent() == "NEVER_SUBSCRIBED"
    shop.world.clock.advance(60)
    shop.change(id, comms={"email_consent_updated_at": shop.now()})  # she asks again
    shop.settle()
    assert len(shop.klaviyo_calls(SUBSCRIBE)) == 2
    shop.klaviyo.confirm(ACCOUNT, shop.profile().id)
    shop.settle()
    assert shop.consent() == "SUBSCRIBED"
    assert shop.comms(id)["email_promo"] is True


def test_an_identity_that_cannot_be_written_for_hours_mails_nobody_twice(shop: Shop) -> None:
    shop.klaviyo.account(ACCOUNT, default_opt_in="double_opt_in")
    shop.omneo.fail(5, match="POST */identities", status=503)
    id = shop.customer(comms=opted_in(shop))
    for _ in range(8):
        shop.world.work(900)
    assert shop.identities(id) == [shop.profile().id]
    assert len(shop.klaviyo_calls(SUBSCRIBE)) == 1


@pytest.mark.parametrize(
    ("settings", "consents"),
    [
        ({}, ("SUBSCRIBED", "SUBSCRIBED")),
        ({"email_consent_unset": "leave"}, ("NEVER_SUBSCRIBED", "SUBSCRIBED")),
        ({"sms_consent_unset": "leave"}, ("SUBSCRIBED", "NEVER_SUBSCRIBED")),
    ],
)
def test_what_was_never_recorded_means_what_the_tenant_says(
    world: World, settings: dict[str, Any], consents: tuple[str, str]
) -> None:
    from shared.tenants.settings import Unset

    with a_shop(world, **{name: Unset(value) for name, value in settings.items()}) as shop:
        shop.customer(mobile_phone_e164=PHONE)
        shop.settle()
        assert (shop.consent("email"), shop.consent("sms")) == consents


def test_transactional_sms_goes_with_marketing_but_never_with_the_master_list(world: World) -> None:
    with a_shop(world, sms_transactional=True, master_list_id="LIST1") as shop:
        shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
        id = shop.customer(mobile_phone_e164=PHONE, comms=opted_in(shop))
        shop.settle()
        channels = ("email", "sms", "sms_transactional")
        assert [shop.consent(channel) for channel in channels] == ["SUBSCRIBED"] * 3
        listed, alone = shop.bodies(SUBSCRIBE)
        assert "relationships" not in alone
        named = alone["attributes"]["profiles"]["data"][0]["attributes"]["subscriptions"]
        assert named == {"sms": {"transactional": {"consent": "SUBSCRIBED"}}}
        assert listed["relationships"]["list"]["data"]["id"] == "LIST1"
        shop.change(id, comms={"sms_optout": True, "sms_consent_updated_at": shop.now()})
        shop.settle()
        assert [shop.consent(channel) for channel in channels] == ["SUBSCRIBED", *["UNSUBSCRIBED"] * 2]


def test_an_sms_opt_out_of_an_excluded_profile_ends_transactional_sms_too(world: World) -> None:
    with a_shop(world, sms_transactional=True) as shop:
        id = shop.customer(mobile_phone_e164=PHONE, comms=opted_in(shop))
        shop.settle()
        channels = ("sms", "sms_transactional")
        assert [shop.consent(channel) for channel in channels] == ["SUBSCRIBED"] * 2
        stamp = shop.now()
        shop.change(
            id, comms={"sms_optout": True, "sms_consent_updated_at": stamp}, profile_type="connection"
        )
        shop.settle()
        assert [shop.consent(channel) for channel in channels] == ["UNSUBSCRIBED"] * 2


def test_an_sms_subscribe_alone_does_not_touch_the_master_list(world: World) -> None:
    with a_shop(world, sms_transactional=True, master_list_id="LIST1") as shop:
        shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
        shop.customer(mobile_phone_e164=PHONE, comms={**opted_in(shop), "email_promo": False})
        shop.settle()
        assert shop.consent("sms") == "SUBSCRIBED"
        assert shop.profile().memberships == {}


@pytest.mark.parametrize(
    ("fields", "logic", "reason"),
    [
        ({"email": "canary-jane@example.com"}, None, "example_email"),
        ({"email": "staff-profile-canary@example.org"}, None, "staff_profile"),
        ({"profile_type": "connection"}, None, "connection_profile"),
        ({"tier_handle": "staff"}, {"===": [{"var": "tier_handle"}, "staff"]}, "exclude_logic"),
        ({"profile_type": "deleted"}, None, "gone"),
    ],
)
def test_an_excluded_profile_is_not_sent_and_the_log_says_why(
    world: World,
    capfd: pytest.CaptureFixture[str],
    fields: dict[str, Any],
    logic: dict[str, Any] | None,
    reason: str,
) -> None:
    from shared import logs

    logs.configure("")
    with a_shop(world, profile_exclude_logic=logic) as shop:
        shop.customer(comms=opted_in(shop), **fields)
        shop.settle()
        assert shop.klaviyo_calls() == []
        assert world.dead_jobs() == []
    logged = [line for line in lines(capfd.readouterr().out) if line["message"] == "profile not synced"]
    assert [line["reason"] for line in logged] == [reason]


def test_logic_that_cannot_be_evaluated_is_a_dead_job_that_says_so(world: World) -> None:
    logic = {">": [{"+": [{"var": "first_name"}, 1]}, 2]}
    with a_shop(world, profile_exclude_logic=logic) as shop:
        shop.customer()
        shop.settle()
        (dead,) = world.dead_jobs()
        assert dead.reason.startswith("profile_exclude_logic cannot be evaluated on this profile")
        assert shop.klaviyo_calls() == []


def test_what_was_emptied_in_omneo_is_emptied_in_klaviyo(shop: Shop) -> None:
    id = shop.customer(tier_handle="gold", last_name="Canary")
    shop.settle()
    shop.change(id, tier_handle=None, last_name="Unknown")
    shop.settle()
    assert "omneo_tier_handle" not in shop.profile().properties
    assert not shop.profile().attributes.get("last_name")


def test_a_profile_that_is_in_klaviyo_by_its_email_is_found_and_named(shop: Shop) -> None:
    known = shop.klaviyo.profile(ACCOUNT, email=EMAIL.upper(), properties={"from": "a form"})
    id = shop.customer()
    shop.settle()
    assert shop.identities(id) == [known.id]
    assert shop.profile().properties["from"] == "a form"
    assert shop.profile().attributes["external_id"] == id


def test_omneo_without_consents_says_nothing_about_them(shop: Shop) -> None:
    id = shop.customer(tells=False)
    shop.omneo._tenants[TENANT].profiles[id]["attributes"] = None
    shop.omneo.deliver(TENANT)
    shop.settle()
    assert shop.profile().attributes["email"] == EMAIL
    assert shop.consent() == "NEVER_SUBSCRIBED"
