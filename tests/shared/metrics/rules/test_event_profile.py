"""Whose event it is, in every shape, and what becomes of what stands beside: put right, or left out by name."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import InvalidPayloadError
from shared.metrics.rules.event import Metric, read_metric
from shared.metrics.rules.event_profile import with_phone, without_blamed
from tests.support.events import SHAPES, Shape, event, objections, profile
from tests.support.world import EMAIL

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KLAVIYO_ID = "01HXCANARY0000000000000000"
OMNEO_ID = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"

Json = dict[str, Any]


def read(body: object, metric_name: str = "") -> Metric:
    return read_metric(body, metric_name=metric_name, with_token=False, now=NOW, unique_id="fixed-id")


def person_of(found: Metric) -> Json:
    """Return the profile of the event, without its type."""
    return {name: value for name, value in found.attributes["profile"]["data"].items() if name != "type"}


# Whose event it is


@pytest.mark.parametrize("spelling", [OMNEO_ID, OMNEO_ID.upper(), f" {OMNEO_ID}\n", f"\ufeff{OMNEO_ID}"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_uuid_is_omneos_id_in_every_shape_and_an_email_beside_it_the_key(
    shape: Shape, spelling: str
) -> None:
    found = read(*shape({"id": spelling, "email": EMAIL}))
    assert found.omneo_profile_id == OMNEO_ID
    assert "id" not in person_of(found)
    assert person_of(found)["attributes"]["email"] == EMAIL
    alone = read(*shape({"id": spelling}))
    assert alone.omneo_profile_id == OMNEO_ID
    assert "id" not in person_of(alone)
    assert person_of(alone)["attributes"] == {"external_id": OMNEO_ID}


def test_an_external_id_that_is_a_uuid_is_omneos_too() -> None:
    found = read(event(profile=profile({"external_id": OMNEO_ID})))
    assert (found.omneo_profile_id, person_of(found)) == (
        OMNEO_ID,
        {"attributes": {"external_id": OMNEO_ID}},
    )


NO_EMAIL = [
    "jane@localhost", f"mailto:{EMAIL}", f"Jane <{EMAIL}>", "canary", 7, ["x"], True, "jane@127.0.0.1", f"{EMAIL}, x@example.org",
]  # fmt: skip


@pytest.mark.parametrize("email", NO_EMAIL)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_email_that_klaviyo_would_refuse_is_400_in_every_shape(shape: Shape, email: object) -> None:
    with pytest.raises(InvalidPayloadError, match="must be an email address"):
        read(*shape({"email": email}))


@pytest.mark.parametrize("email", NO_EMAIL)
def test_such_an_email_beside_a_klaviyo_id_is_left_out(email: object) -> None:
    found = read(event(profile=profile({"email": email}, id=KLAVIYO_ID)))
    assert person_of(found) == {"id": KLAVIYO_ID, "attributes": {}}
    assert found.left_out == ("attributes.profile.data.attributes.email",)


@pytest.mark.parametrize("id", ["not an id", "a/b", ["x"], True, {"x": 1}, "x" * 65])
def test_what_cannot_be_a_klaviyo_id_is_left_out_beside_an_email_and_400_alone(id: object) -> None:
    found = read(event(profile=profile(id=id)))
    assert person_of(found) == {"attributes": {"email": EMAIL}}
    assert found.left_out == ("attributes.profile.data.id",)
    with pytest.raises(InvalidPayloadError, match=r"profile\.data\.id must be text"):
        read(event(profile=profile({}, id=id)))


NOTHING = [
    None, "", "   ", "\u200b", "null", "None", "undefined", "{{ reward.id }}", "reward-{{ reward.id }}",
]  # fmt: skip


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_template_leaves_for_nothing_names_nobody(shape: Shape, nothing: object) -> None:
    assert person_of(read(*shape({"id": nothing, "email": EMAIL}))) == {"attributes": {"email": EMAIL}}
    with pytest.raises(InvalidPayloadError):
        read(*shape({"id": nothing, "email": nothing}))


@pytest.mark.parametrize("nothing", NOTHING)
def test_nothing_is_no_unique_id_no_time_and_no_value(nothing: object) -> None:
    names = ("unique_id", "time", "value", "value_currency", "backfill")
    assert read(event(**dict.fromkeys(names, nothing))) == read(event())
    tracked = {"event": "N", "customer_properties": {"$email": EMAIL}, "properties": {"$event_id": nothing}}
    assert read(tracked).attributes["unique_id"] == "fixed-id"
    named = {"profile": {"email": EMAIL}, "unique_id": nothing}
    assert read(named, "N").attributes["unique_id"] == "fixed-id"


@pytest.mark.parametrize(
    "id",
    ["reward-", "reward_", "order:", "-issued", "reward--issued", "reward-null", "reward-None", " reward- ", "birthday-2027-"],
)  # fmt: skip
def test_a_unique_id_that_is_only_its_recipes_fixed_part_is_400_and_says_so(id: str) -> None:
    with pytest.raises(InvalidPayloadError, match="unique_id lacks a part") as refused:
        read(event(unique_id=id))
    assert id not in str(refused.value)
    with pytest.raises(InvalidPayloadError, match="event_id lacks a part"):
        read(
            {"event": "N", "customer_properties": {"$email": EMAIL}, "properties": {"$event_id": id}},
        )


# What stands beside


def deep(levels: int) -> Json:
    value: Json = {"end": 1}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


BESIDE: list[tuple[str, object, object]] = [
    ("phone_number", "none given", None),
    ("phone_number", ["canary"], None),
    ("phone_number", " 0412 345 678 ", "0412 345 678"),
    ("phone_number", 61412345678, "61412345678"),
    ("first_name", 7, "7"),
    ("first_name", 7.0, "7"),
    ("first_name", ["canary"], None),
    ("first_name", True, None),
    ("first_name", "{{ profile.first_name }}", None),
    ("last_name", " canary ", "canary"),
    ("locale", "canary land", None),
    ("image", "canary.png", None),
    ("external_id", {"canary": 1}, None),
    ("external_id", 7.0, "7"),
    ("location", "canary street", None),
    ("location", {"zip": 3000.0, "latitude": "-37.8", "planet": "canary"}, {"zip": "3000", "latitude": -37.8}),
    ("properties", "canary", None),
    ("properties", {"fine": 1, "deep": deep(11)}, {"fine": 1}),
    ("subscriptions", {"canary": 1}, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "sent"), BESIDE)
def test_what_stands_beside_is_put_right_or_left_out_and_named(
    name: str, given: object, sent: object
) -> None:
    found = read(event(profile=profile({"email": EMAIL, name: given})))
    assert person_of(found)["attributes"] == {"email": EMAIL} | ({} if sent is None else {name: sent})
    assert sent is not None or found.left_out
    assert all(path.startswith(f"attributes.profile.data.attributes.{name}") for path in found.left_out)
    assert "canary" not in "".join(found.left_out)
    assert objections(found.attributes) == []


def test_what_klaviyos_event_has_no_attribute_for_becomes_a_property() -> None:
    beside = {"email": EMAIL, "loyalty": {"a": [1]}}
    found = read(event(future=1, profile=profile(beside, links={})))
    assert found.attributes["properties"] == {"amount": 20, "future": 1}
    assert person_of(found)["attributes"] == {"email": EMAIL, "properties": {"loyalty": {"a": [1]}}}
    assert objections(found.attributes) == []


@pytest.mark.parametrize(
    ("given", "is_left_out"),
    [(deep(10), False), (deep(11), True), (deep(12), True), ([0] * 4000, False), ([0] * 4001, True), ({"x": [[0] * 4001]}, True)],
    ids=["10", "11", "12", "4000", "4001", "inner"],
)  # fmt: skip
def test_a_property_that_klaviyo_would_refuse_is_left_out_and_the_event_is_sent(
    given: object, is_left_out: bool
) -> None:
    found = read(event(properties={"fine": 1, "odd": given}))
    assert found.attributes["properties"] == ({"fine": 1} if is_left_out else {"fine": 1, "odd": given})
    assert found.left_out == (("attributes.properties.odd",) if is_left_out else ())


@pytest.mark.parametrize(("given", "sent"), [("aud", "AUD"), (" AUD ", "AUD"), ("dollars", None), (36, None)])
def test_a_currency_is_three_letters_or_left_out(given: object, sent: str | None) -> None:
    found = read(event(value=1, value_currency=given))
    assert found.attributes.get("value_currency") == sent
    assert found.left_out == (() if sent else ("attributes.value_currency",))


# When it is sent


@pytest.mark.parametrize(
    ("phone", "region", "sent"),
    [("0412 345 678", "AU", "+61412345678"), ("0412 345 678", "", None), ("+61 412 345 678", "", "+61412345678"), ("12345", "AU", None)],
)  # fmt: skip
def test_a_phone_is_sent_in_e_164_or_not_at_all(phone: str, region: str, sent: str | None) -> None:
    before = read(event(profile=profile({"email": EMAIL, "phone_number": phone}))).attributes
    after, is_left_out = with_phone(before, region)
    assert after["profile"]["data"]["attributes"].get("phone_number") == sent
    assert is_left_out is (sent is None)
    assert before["profile"]["data"]["attributes"]["phone_number"] == phone


ID = "/data/attributes/profile/data/id"
ATTRIBUTES = "/data/attributes/profile/data/attributes"


def test_what_klaviyo_refuses_is_left_out_while_a_key_is_left() -> None:
    both = read(event(profile=profile({"email": EMAIL, "phone_number": "0412 345 678"}, id=KLAVIYO_ID)))
    without = [without_blamed(both.attributes, [place]) for place in (ID, f"{ATTRIBUTES}/phone_number")]
    assert [person["profile"]["data"] for person in without if person] == [
        {"type": "profile", "attributes": {"email": EMAIL, "phone_number": "0412 345 678"}},
        {"type": "profile", "id": KLAVIYO_ID, "attributes": {"email": EMAIL}},
    ]
    properties = without_blamed(both.attributes, ["/data/attributes/properties/amount"])
    assert properties is not None
    assert properties["properties"] == {}


@pytest.mark.parametrize(
    "place", [f"{ATTRIBUTES}/email", "/data/attributes/unique_id", "/data/attributes/metric", "/data", ""]
)
def test_a_refusal_of_what_the_event_needs_stands(place: str) -> None:
    assert without_blamed(read(event()).attributes, [place]) is None
    assert without_blamed(read(event(profile=profile({}, id=KLAVIYO_ID))).attributes, [ID]) is None
