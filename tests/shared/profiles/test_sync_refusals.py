"""What Klaviyo and Omneo refuse of a profile, and what arrives all the same."""

from typing import Any

import pytest

from tests.support.syncing import IMPORT, OTHERS_EMAIL, PHONE, PROFILES, SUBSCRIBE, UNSUBSCRIBE, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

OPTED_IN = {"email_promo": True, "sms_promo": True}


def refuse(shop: Shop, field: str, *, times: int = 1, path: str = PROFILES, detail: str = "No.") -> None:
    """Let Klaviyo refuse a field of the next calls."""
    error = {"id": "1", "code": "invalid", "title": "Invalid input.", "detail": detail}
    body = {"errors": [{**error, "source": {"pointer": field}}]}
    shop.klaviyo.fail(times, match=f"POST {path}", status=400, body=body)


def test_a_number_of_a_country_klaviyo_does_not_serve_is_left_out_and_the_profile_arrives(shop: Shop) -> None:
    refuse(shop, "/data/attributes/phone_number")
    shop.customer(mobile_phone_e164=PHONE, comms=OPTED_IN)
    shop.settle()
    assert "phone_number" not in shop.profile().attributes
    assert shop.consent("email") == "SUBSCRIBED"
    assert shop.consent("sms") == "NEVER_SUBSCRIBED"
    assert len(shop.profile_writes()) == 2
    assert shop.world.dead_jobs() == []


def test_an_email_that_klaviyo_does_not_take_leaves_the_profile_to_its_phone(shop: Shop) -> None:
    refuse(shop, "/data/attributes/email")
    shop.customer(mobile_phone_e164=PHONE, comms=OPTED_IN)
    shop.settle()
    assert "email" not in shop.profile().attributes
    assert (shop.consent("email"), shop.consent("sms")) == ("NEVER_SUBSCRIBED", "SUBSCRIBED")


def test_an_email_that_klaviyo_does_not_take_is_a_dead_job_where_there_is_no_phone(shop: Shop) -> None:
    refuse(shop, "/data/attributes/email", detail="canary-jane is no address")
    shop.customer(comms=OPTED_IN)
    shop.settle()
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith("Klaviyo does not take the profile's email address")
    assert "canary" in dead.detail
    assert shop.klaviyo.profiles(ACCOUNT) == []
    assert len(shop.profile_writes()) == 1


def test_another_value_that_klaviyo_does_not_take_is_left_out_once(shop: Shop) -> None:
    refuse(shop, "/data/attributes/location/latitude")
    shop.customer(address={"city": "Melbourne", "latitude": 1.5})
    shop.settle()
    assert "location" not in shop.profile().attributes
    assert shop.profile().attributes["first_name"] == "Jane"


@pytest.mark.parametrize("field", ["/data", "/data/attributes/properties/tier", "/data/attributes/image", ""])
def test_what_cannot_be_left_out_is_a_dead_job_after_one_call(shop: Shop, field: str) -> None:
    refuse(shop, field, times=5)
    shop.customer()
    shop.settle()
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith("Klaviyo answered 400")
    assert len(shop.profile_writes()) == 1


@pytest.mark.parametrize("field", ["/data/attributes/phone_number", "/data/attributes/email"])
def test_a_klaviyo_that_refuses_the_same_for_ever_is_asked_a_few_times(shop: Shop, field: str) -> None:
    refuse(shop, field, times=50)
    shop.customer(mobile_phone_e164=PHONE)
    shop.settle()
    assert len(shop.profile_writes()) == 2
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith("Klaviyo answered 400")


def test_a_new_profile_that_klaviyo_calls_a_duplicate_of_one_with_its_email_is_written_to_that(
    shop: Shop,
) -> None:
    """It has just come into being: the look did not see it."""
    theirs = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    shop.klaviyo.fail(2, match="GET /api/profiles", status=200, body={"data": []})
    id = shop.customer()
    shop.settle()
    assert [body.get("id") for body in shop.profile_writes()] == [None, theirs.id]
    assert shop.identities(id) == [theirs.id]


def test_a_number_of_another_profile_stays_there_and_the_email_decides(shop: Shop) -> None:
    theirs = shop.klaviyo.profile(ACCOUNT, phone_number=PHONE)
    known = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    id = shop.customer(mobile_phone_e164=PHONE)
    shop.settle()
    assert shop.identities(id) == [known.id]
    assert theirs.attributes == {"phone_number": PHONE}
    assert known.attributes["external_id"] == id
    assert "phone_number" not in known.attributes


@pytest.mark.parametrize("known", ["nowhere", "nobody", "a loop"])
def test_a_duplicate_that_leads_nowhere_ends_as_a_dead_job(shop: Shop, known: str) -> None:
    duplicate(shop, known, times=50, path=PROFILES)
    shop.customer(mobile_phone_e164=PHONE)
    shop.settle()
    assert len(shop.profile_writes()) <= 5
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith("Klaviyo answered 409")


def duplicate(shop: Shop, id: str, *, times: int = 1, path: str = IMPORT) -> None:
    """Let Klaviyo say that a profile has an identifier of the next ones already."""
    error = {"id": "1", "code": "duplicate_profile", "title": "Conflict.", "detail": "It exists."}
    body = {
        "errors": [{**error, "source": {"pointer": "/data/attributes"}, "meta": {"duplicate_profile_id": id}}]
    }
    shop.klaviyo.fail(times, match=f"POST {path}", status=409, body=body)


def test_a_stored_id_that_klaviyo_does_not_know_falls_through_and_is_replaced(shop: Shop) -> None:
    known = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    id = shop.customer(identities=[{"handle": "klaviyo", "identifier": "01HXOTHERACCOUNT"}])
    shop.sync()
    assert shop.identities(id) == [known.id]
    assert [body.get("id") for body in shop.profile_writes()] == [known.id]
    assert [call.method for call in shop.omneo_calls()] == ["GET", "POST", "PUT"]


def test_a_profile_that_was_merged_in_klaviyo_is_followed(shop: Shop) -> None:
    id = shop.customer()
    shop.settle()
    gone = shop.profile()
    kept = shop.klaviyo.profile(ACCOUNT, email=OTHERS_EMAIL)
    shop.klaviyo.merge_profiles(ACCOUNT, gone.id, kept.id)
    shop.change(id, first_name="Janet")
    shop.settle()
    assert kept.attributes["first_name"] == "Janet"
    assert shop.identities(id) == [kept.id]


def test_a_profile_whose_id_another_omneo_profile_holds_is_not_written_to(shop: Shop) -> None:
    known = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    holder = {"email": OTHERS_EMAIL, "identities": [{"handle": "klaviyo", "identifier": known.id}]}
    shop.omneo.profile(TENANT, **holder)
    id = shop.customer()
    shop.sync()
    (ours,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes.get("external_id") == id]
    assert shop.identities(id) == [ours.id]
    assert "first_name" not in known.attributes


def test_an_sms_consent_that_klaviyo_does_not_take_holds_up_no_email(shop: Shop) -> None:
    refuse(shop, "/data/attributes/profiles/data/0/attributes/phone_number", path=SUBSCRIBE)
    shop.klaviyo.fail(0)
    id = shop.customer(mobile_phone_e164=PHONE, comms=OPTED_IN)
    shop.settle()
    assert shop.consent("email") == "SUBSCRIBED"
    assert shop.identities(id) == [shop.profile().id]


def test_a_master_list_that_is_not_in_klaviyo_is_a_dead_job_that_names_the_setting(world: World) -> None:
    with a_shop(world, master_list_id="NOLIST") as shop:
        id = shop.customer(comms=OPTED_IN)
        shop.settle()
        (dead,) = world.dead_jobs()
        assert "master_list_id" in dead.reason
        assert shop.identities(id) == [shop.profile().id]  # what can be done was


@pytest.mark.parametrize("path", [PROFILES, SUBSCRIBE])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "30"}},
        {"status": 503},
        {"kind": "reset"},
        {"kind": "reset", "takes_effect": True},
        {"kind": "truncated", "takes_effect": True},
        {"kind": "html403"},
    ],
)
def test_whatever_fails_for_a_moment_is_done_a_moment_later(
    shop: Shop, path: str, fault: dict[str, Any]
) -> None:
    shop.klaviyo.fail(2, match=f"POST {path}", **fault)
    id = shop.customer(comms=OPTED_IN)
    shop.settle()
    assert shop.consent() == "SUBSCRIBED"
    assert shop.identities(id) == [shop.profile().id]
    assert shop.world.dead_jobs() == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": []},
        {"data": {"id": "01HX"}},
        {"data": {"id": "01HX", "attributes": {}}},
        {"data": {"id": "01HX", "attributes": {"subscriptions": None}}},
        {"data": {"id": "01HX", "attributes": {"subscriptions": []}}},
        [1],
        "canary",
    ],
)
def test_an_answer_of_klaviyos_that_hides_the_consents_is_waited_out(shop: Shop, body: Any) -> None:
    shop.klaviyo.fail(1, match=f"POST {IMPORT}", status=200, body=body, takes_effect=True)
    shop.customer(comms={"email_promo": True}, tells=False)
    unsubscribed = shop.klaviyo.profile(ACCOUNT, email=EMAIL)
    shop.klaviyo.unsubscribe(ACCOUNT, unsubscribed.id)
    shop.omneo.deliver(TENANT)
    shop.settle()
    assert shop.consent() == "UNSUBSCRIBED"
    assert shop.klaviyo_calls(SUBSCRIBE) == []
    assert shop.klaviyo_calls(UNSUBSCRIBE) == []


@pytest.mark.parametrize("body", [[], "canary", {"data": []}, {"data": "canary"}, {"data": {"id": "other"}}])
def test_an_answer_of_omneos_that_is_no_profile_syncs_nothing(shop: Shop, body: Any) -> None:
    shop.omneo.fail(50, match="GET *", status=200, body=body)
    shop.customer(comms=OPTED_IN)
    shop.sync()
    shop.world.work(600)
    assert shop.klaviyo_calls() == []


@pytest.mark.parametrize(
    "subscriptions",
    [
        {"email": None, "sms": None},
        {"email": {"marketing": None}},
        {
            "email": {
                "marketing": {"consent": "UNSUBSCRIBED", "consent_timestamp": "canary", "suppression": 7}
            }
        },
        {"email": {"marketing": {"consent": ["canary"], "suppression": [None, 1, {}]}}},
        {"email": {"marketing": {"consent": "PENDING"}}},
    ],
)
def test_consents_in_a_shape_unknown_to_us_are_no_bug(shop: Shop, subscriptions: Any) -> None:
    answer = {"data": {"id": "01HXCANARY", "attributes": {"subscriptions": subscriptions}}}
    shop.klaviyo.fail(1, match=f"POST {PROFILES}", status=200, body=answer)
    shop.customer(comms={"email_promo": True, "email_consent_updated_at": shop.now(-60)})
    shop.sync()
    assert shop.world.dead_jobs() == []
    assert shop.klaviyo_calls(UNSUBSCRIBE) == []
