"""Whose reward it is and what it is worth: an id is one reward for one person, and an amount is money of the definition's currency."""

import hashlib
import json
from typing import Any

import pytest

from shared.errors import InvalidPayloadError, ProfileNotFoundError, WaitError
from shared.rewards.claims import LIFE
from shared.rewards.making import Result
from tests.support.rewards import PERSON, PROFILE, Shop, a_body
from tests.support.world import EMAIL, TENANT, World, any_chance

chance = any_chance

LATER = LIFE.total_seconds() + 1


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world).open()


# One id, one person


def test_the_same_id_for_another_person_is_another_reward(shop: Shop) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
    john = shop.another_person()
    assert [shop.call(a_body(id="birthday-2027", **who)) for who in ({}, john, {}, john)] == [
        Result("created", 1),
        Result("created", 2),
        Result("exists", 1),
        Result("exists", 2),
    ]
    assert [reward["profile_id"] for reward in shop.rewards()] == [PROFILE, "other"]


def test_the_same_person_by_another_name_has_the_first_reward(shop: Shop) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
    names: list[dict[str, Any]] = [
        {},
        {"person_id": ""},
        {"email": ""},
        {"email": EMAIL.upper()},
        {"person_id": "canary-none"},
    ]
    results = [shop.call(a_body(id="birthday-2027", **name)).status for name in names]
    assert results == ["created", *["exists"] * 4]


def test_an_id_that_others_have_used_is_404_for_nobody(shop: Shop) -> None:
    shop.call(a_body(id="birthday-2027"))
    nobody = a_body(id="birthday-2027", person_id="canary-nobody", email="canary-nobody@example.org")
    with pytest.raises(ProfileNotFoundError):
        shop.call(nobody)


@pytest.mark.parametrize("id", ["order-7", ...])
@pytest.mark.parametrize("name", [{}, {"person_id": ""}, {"email": ""}], ids=["both", "email", "Klaviyo id"])
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"kind": "reset"}, {"status": 504}], ids=["500", "reset", "504"]
)
@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_retry_goes_to_the_profile_that_the_first_call_meant_though_a_search_finds_another_now(
    shop: Shop, id: object, name: dict[str, Any], fault: dict[str, Any], takes_effect: bool
) -> None:
    omneo = shop.world.sandbox.omneo
    omneo.reward_rules(TENANT, repeated_external_id="creates")
    omneo.fail(1, match="POST */rewards", takes_effect=takes_effect, **fault)
    body = a_body(id=id, **name)
    with pytest.raises(WaitError):
        shop.call(body)
    identity = {"handle": "klaviyo", "identifier": PERSON}
    omneo.profile(TENANT, id=PROFILE, email="canary-old@example.org", identities=[])
    omneo.profile(TENANT, id="merged-into", email=EMAIL, identities=[identity])
    shop.world.clock.advance(LATER)
    assert shop.call(body, services=shop.another_process()).status == (
        "exists" if takes_effect else "created"
    )
    assert [reward["profile_id"] for reward in shop.rewards()] == [PROFILE]


def test_a_call_for_which_nothing_was_made_means_whom_a_search_finds_next_time(shop: Shop) -> None:
    omneo = shop.world.sandbox.omneo
    body = a_body(id="order-7", data={"reward_definition_id": 99})
    with pytest.raises(InvalidPayloadError):
        shop.call(body)
    identity = {"handle": "klaviyo", "identifier": PERSON}
    omneo.profile(TENANT, id=PROFILE, email="canary-old@example.org", identities=[])
    omneo.profile(TENANT, id="new", email=EMAIL, identities=[identity])
    assert shop.call(a_body(id="order-7")).status == "created"
    assert shop.rewards()[0]["profile_id"] == "new"


@pytest.mark.parametrize("id", ["order-7", ...])
def test_what_an_earlier_revision_has_issued_is_found_though_it_did_not_remember_whom_it_was_for(
    shop: Shop, id: object
) -> None:
    omneo, documents = shop.world.sandbox.omneo, shop.world.services.documents
    omneo.reward_rules(TENANT, repeated_external_id="creates")
    omneo.fail(1, match="POST */rewards", status=500, takes_effect=True)
    with pytest.raises(WaitError):
        shop.call(a_body(id=id))
    for found in documents.find(f"tenants/{TENANT}/reward_claims"):
        documents.delete(f"tenants/{TENANT}/reward_claims", found.id)
    for found in documents.find(f"tenants/{TENANT}/reward_attempts"):
        documents.update(f"tenants/{TENANT}/reward_attempts", found.id, {"profile_id": ""})
    old = hashlib.sha256(f"{TENANT}\norder-7".encode()).hexdigest()[:32]
    documents.create(f"tenants/{TENANT}/reward_claims", old, {"state": "done", "reward_id": 1})
    assert shop.call(a_body(id=id)) == Result("exists", 1)


def test_two_tenants_with_one_id_and_one_person_are_two_rewards(shop: Shop) -> None:
    other = Shop(shop.world, tenant="acme-stg").open()
    for each in (shop, other, shop, other):
        each.call(a_body(id="order-7"))
    assert [len(each.rewards()) for each in (shop, other)] == [1, 1]


# What it is worth


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [
        (0.30000000000000004, "AUD", 0.3),
        (10.999, None, 11.0),
        ("10.994", "aud", 10.99),
        (0.01, "AUD", 0.01),
        (10.5, "JPY", 11.0),
        ("1.1255", "KWD", 1.126),
        (1e3, "AUD", 1000.0),
        ("1,234.50", "AUD", 1234.5),
        ("6.0", "JPY", 6.0),
    ],
)
@pytest.mark.parametrize("expires_at", [..., "2026-12-24"])
def test_an_amount_is_rounded_to_the_places_of_the_definitions_currency(
    shop: Shop, amount: object, currency: str | None, value: float, expires_at: object
) -> None:
    shop.world.sandbox.omneo.reward_definition(TENANT, id=7, period=1, period_type="days", currency=currency)
    shop.call(a_body(data={"reward_definition_id": 7, "amount": amount, "expires_at": expires_at}))
    (call,) = [call for call in shop.world.sandbox.omneo.calls.all() if call.path.endswith("/rewards")]
    sent = json.loads(call.body)
    assert sent["value_initial"] == sent["value_remaining"] == value
    assert shop.rewards()[0]["value_initial"] == value


@pytest.mark.parametrize(
    ("amount", "currency"), [(1e-320, None), (0.004, "AUD"), (0.5, "JPY"), ("0.0009", "KWD")]
)
def test_less_than_the_smallest_unit_is_no_amount(shop: Shop, amount: object, currency: str | None) -> None:
    shop.world.sandbox.omneo.reward_definition(TENANT, id=7, period=1, period_type="days", currency=currency)
    with pytest.raises(InvalidPayloadError, match=r"data\.amount must be a number above 0, at least"):
        shop.call(a_body(id="a", data={"reward_definition_id": 7, "amount": amount}))
    assert shop.rewards() == []


@pytest.mark.parametrize("id", [".", "..", "../profiles", "6/../6"])
def test_a_definition_whose_id_would_be_another_path_is_refused_and_not_asked_for(
    shop: Shop, id: str
) -> None:
    with pytest.raises(InvalidPayloadError, match=r"data\.reward_definition_id must name"):
        shop.call(a_body(id="a", data={"reward_definition_id": id}))
    asked = [call.path for call in shop.world.sandbox.omneo.calls.all() if call.method == "GET"]
    assert [path for path in asked if not path.startswith(f"/{TENANT}/api/v3/rewards/definitions/")] == []
