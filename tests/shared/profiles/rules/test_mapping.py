"""From an Omneo profile to Klaviyo's: the documented shapes, what clears, what is left out, and the official model."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.klaviyo.rules.attributes import LONGEST_NAME
from shared.profiles.rules.draft import with_cleared
from shared.profiles.rules.mapping import MappedProfile, Note, NoteReason, klaviyo_profile, names_filled
from shared.profiles.rules.omneo_paths import MISSING, at_path
from tests.support.world import EMAIL

SAMPLES = Path(__file__).parents[4] / "tests" / "samples" / "profiles"
ID = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
KLAVIYO_ID = "01HXCANARY0000000000000000"
PHONE = "+61412345678"

Json = dict[str, Any]


def mapped(
    mappings: dict[str, str] | None = None, *, region: str = "AU", before: Any = (), **profile: Any
) -> MappedProfile:
    return klaviyo_profile(
        {"id": ID, **profile}, mappings=mappings or {}, region=region, filled_before=before
    )


def properties(found: MappedProfile) -> Json:
    return dict(found.attributes.get("properties", {}))


def custom(**values: object) -> list[Json]:
    return [
        {"namespace": "shop", "handle": handle, "type": "string", "value": value}
        for handle, value in values.items()
    ]


def objections(found: MappedProfile) -> list[str]:
    """Return what Klaviyo's own model has against the profile."""
    from openapi_client.models.profile_upsert_query import ProfileUpsertQuery
    from pydantic import ValidationError

    body = {"data": json.loads(json.dumps(found.resource(KLAVIYO_ID), allow_nan=False))}
    try:
        ProfileUpsertQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        return [f"{row['loc']} {row['type']}" for row in error.errors(include_input=False)]
    return []


def test_the_fields_that_a_sync_fills_are_those_of_its_mappings_and_its_own() -> None:
    found = names_filled({"a": "organization", "b": "shoe size", "c": "$organization", "d": "email"})
    assert {"organization", "properties.shoe size", "first_name", "phone_number"} <= found
    assert not found & {"properties.organization", "properties.email", "properties."}


def test_a_property_that_is_cleared_is_one_that_the_profile_does_not_give_a_value() -> None:
    resource = {
        "attributes": {"properties": {"kept": 1}, "title": "Dr"},
        "meta": {"patch_properties": {"unset": ["gone"]}},
    }
    cleared = with_cleared(resource, ["properties.kept", "properties.empty", "title", "image"])
    assert cleared == {
        "attributes": {"properties": {"kept": 1}, "title": "Dr", "image": None},
        "meta": {"patch_properties": {"unset": ["empty", "gone"]}},
    }
    assert resource["meta"] == {"patch_properties": {"unset": ["gone"]}}


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda folder: str(folder.name))
def test_every_sample_becomes_the_klaviyo_profile_beside_it(sample: Path) -> None:
    given = json.loads((sample / "omneo.json").read_text())
    expected = json.loads((sample / "expected.json").read_text())
    found = klaviyo_profile(
        given["profile"],
        mappings=given["mappings"],
        region=given["region"],
        filled_before=given["filled_before"],
    )
    assert found.resource(KLAVIYO_ID) == expected["resource"]
    assert [[note.reason, note.name] for note in found.notes] == expected["notes"]
    assert sorted(found.filled) == expected["filled"]
    assert objections(found) == []
    assert (sample / "source.txt").read_text().startswith(("documented (https://", "assumed: "))


def test_the_referee_sees_what_is_wrong() -> None:
    assert objections(mapped(email=EMAIL)) == []
    assert objections(MappedProfile({"email": 7}))
    assert objections(MappedProfile({"location": {"street": "x"}}))
    assert objections(MappedProfile({"subscriptions": {}}))


class TestEmpty:
    """null and "" clear only what an earlier sync had filled."""

    @pytest.mark.parametrize("empty", [None, "", "  ", "Unknown"])
    def test_a_name_that_omneo_never_had_is_left_alone(self, empty: object) -> None:
        assert mapped(first_name=empty).attributes == {"external_id": ID}

    @pytest.mark.parametrize("empty", [None, "", "Unknown"])
    def test_a_name_emptied_since_the_last_sync_is_cleared(self, empty: object) -> None:
        first = mapped(first_name="Jane")
        second = mapped(first_name=empty, before=first.filled)
        assert second.attributes == {"external_id": ID, "first_name": None}
        assert mapped(first_name=empty, before=second.filled).attributes == {"external_id": ID}

    def test_what_the_profile_does_not_mention_is_left_alone_and_not_forgotten(self) -> None:
        first = mapped(first_name="Jane", reward_balance=5)
        second = mapped(before=first.filled)
        assert second.attributes == {"external_id": ID}
        assert second.unset == ()
        assert second.filled == first.filled

    def test_a_property_emptied_is_removed_and_zero_is_a_value(self) -> None:
        first = mapped(tier_handle="gold", reward_balance=5)
        second = mapped(tier_handle=None, reward_balance=0, before=first.filled)
        assert second.unset == ("omneo_tier_handle",)
        assert properties(second) == {"omneo_reward_balance": 0}

    def test_a_custom_attribute_removed_from_the_list_is_removed(self) -> None:
        first = mapped(custom_attributes=custom(nick="JJ", size="41"))
        assert properties(first) == {"shop:nick": "JJ", "shop:size": "41"}
        assert mapped(custom_attributes=custom(size="41"), before=first.filled).unset == ("shop:nick",)
        assert mapped(before=first.filled).unset == ()

    def test_an_address_taken_away_is_cleared_whole(self) -> None:
        first = mapped(address={"city": "Fitzroy", "postcode": "3065"})
        second = mapped(address=None, before=first.filled)
        assert second.attributes["location"] == {"city": None, "zip": None}

    def test_an_email_is_never_cleared_but_a_phone_number_is(self) -> None:
        first = mapped(email=EMAIL, mobile_phone=PHONE)
        second = mapped(email=None, mobile_phone=None, before=first.filled)
        assert second.attributes == {"external_id": ID, "phone_number": None}

    def test_a_phone_number_that_cannot_be_read_does_not_clear_the_one_before(self) -> None:
        first = mapped(mobile_phone=PHONE)
        second = mapped(mobile_phone="12", before=first.filled)
        assert second.attributes == {"external_id": ID}
        assert second.notes == (Note(NoteReason.PHONE_INVALID, "phone_number"),)


class TestMappings:
    @pytest.mark.parametrize(
        ("currency", "sent"), [("AUD", 1234.3), (None, 1234.3), ("JPY", 1234.0), ("KWD", 1234.3)]
    )
    def test_money_has_the_places_of_its_currency_under_whichever_name(
        self, currency: str | None, sent: float
    ) -> None:
        found = mapped(
            {"reward_balance": "Rewards"},
            currency=currency,
            reward_balance=1234.3000000000002,
            combined_balance_dollars=1234.3000000000002,
            point_balance=1234.5678,
        )
        assert properties(found) == {
            "Rewards": sent,
            "omneo_combined_balance_dollars": sent,
            "omneo_point_balance": 1234.5678,
        }

    @pytest.mark.parametrize(
        ("currency", "given", "sent"),
        [
            ("AUD", "0.30000000000000004", "0.30"),
            ("AUD", "10.999", "11.00"),
            ("AUD", "30", "30"),
            ("AUD", "30.0", "30.0"),
            ("JPY", "12.5", "13"),
            ("KWD", "1.12349", "1.123"),
            ("AUD", "5.5E-17", "0.00"),
            ("AUD", "-0.0", "0.00"),
            ("AUD", 1e-320, 0.0),
            ("AUD", -10.999, -11.0),
            ("AUD", "NaN", "NaN"),
            ("AUD", True, True),
        ],
    )
    def test_money_in_text_stays_text_in_the_places_of_its_currency(
        self, currency: str, given: object, sent: object
    ) -> None:
        found = properties(mapped(currency=currency, reward_balance=given))["omneo_reward_balance"]
        assert (found, str(found)) == (sent, str(sent))

    def test_a_mapped_path_is_renamed_and_the_core_stays(self) -> None:
        found = mapped(
            {"reward_balance": "Rewards", "first_name": "Nickname"}, first_name="Jane", reward_balance=5
        )
        assert properties(found) == {"Rewards": 5, "Nickname": "Jane"}
        assert found.attributes["first_name"] == "Jane"

    def test_a_mapping_comes_before_the_core_but_an_empty_one_does_not(self) -> None:
        names = {"custom_attributes.shop:nick": "first_name"}
        assert (
            mapped(names, first_name="Jane", custom_attributes=custom(nick="JJ")).attributes["first_name"]
            == "JJ"
        )
        assert (
            mapped(names, first_name="Jane", custom_attributes=custom(nick="")).attributes["first_name"]
            == "Jane"
        )

    @pytest.mark.parametrize("name", ["external_id", "$external_id", "$id", "_kx", "anonymous_id"])
    def test_a_mapping_never_says_how_a_profile_is_found(self, name: str) -> None:
        found = mapped({"email": name}, email=EMAIL)
        assert found.attributes == {"external_id": ID, "email": EMAIL}
        assert found.notes == (Note(NoteReason.NAME_RESERVED, name),)

    @pytest.mark.parametrize(
        ("name", "where"),
        [("organization", "organization"), ("$organization", "organization"), ("title", "title")],
    )
    def test_an_attribute_may_be_named_as_klaviyo_once_did(self, name: str, where: str) -> None:
        assert mapped({"company": name}, company="Canary Shoes").attributes[where] == "Canary Shoes"

    def test_a_name_may_have_as_many_letters_as_klaviyo_takes(self) -> None:
        longest = "n" * LONGEST_NAME
        assert properties(mapped({"company": longest}, company="Canary")) == {longest: "Canary"}
        found = mapped({"company": f"{longest}n"}, company="Canary")
        assert properties(found) == {}
        assert found.notes == (Note(NoteReason.NAME_UNFIT, longest),)

    def test_what_klaviyo_has_no_attribute_for_is_a_property(self) -> None:
        found = mapped(
            {"company": "Firm", "occupation": "properties.title"}, company="Canary", occupation="Cobbler"
        )
        assert properties(found) == {"Firm": "Canary", "title": "Cobbler"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("email", "canary"), ("phone_number", "12"), ("locale", "english"), ("image", "canary.png"), ("ip", "300.1.1.1"),
         ("timezone", "half past ten"), ("latitude", 91), ("longitude", "far"), ("longitude", "nan"), ("organization", {}.keys),
         ("organization", ["a"]), ("organization", True), ("latitude", True)],
    )  # fmt: skip
    def test_a_value_that_the_attribute_would_refuse_is_left_out_and_noted(
        self, name: str, value: object
    ) -> None:
        found = mapped({"x": name}, x=value)
        assert found.attributes == {"external_id": ID}
        assert [note.reason for note in found.notes] == [NoteReason.VALUE_UNFIT]

    @pytest.mark.parametrize(
        ("name", "value", "sent"),
        [("locale", "en-AU", "en-AU"), ("phone_number", "0412 345 678", PHONE), ("organization", 7, "7"), ("zip", 3065, "3065")],
    )  # fmt: skip
    def test_a_value_is_fitted_to_the_attribute(self, name: str, value: object, sent: str) -> None:
        found = mapped({"x": name}, x=value)
        assert sent in (found.attributes.get(name), found.attributes.get("location", {}).get(name))

    @pytest.mark.parametrize(
        ("path", "value"),
        [("tier.name", "Gold"), ("attributes.appearance.eyes", "green"), ("aggregations.spend_12m", 9.5),
         ("addresses.1.city", "Carlton"), ("identities.shopify", "78"), ("custom_attributes.a:b.c", 1)],
    )  # fmt: skip
    def test_a_path_leads_anywhere_in_the_profile(self, path: str, value: object) -> None:
        profile = {
            "tier": {"name": "Gold"},
            "attributes": {"appearance": {"eyes": "green"}},
            "aggregations": {"spend_12m": 9.5},
            "addresses": [{}, {"city": "Carlton"}],
            "identities": [{"handle": "shopify", "identifier": "78"}],
            "custom_attributes": [{"namespace": "a", "handle": "b.c", "type": "integer", "value": "1"}],
        }
        assert at_path(profile, path) == value
        assert at_path(profile, f"{path}.further") in (MISSING, None)

    @pytest.mark.parametrize("place", ["1", "10000", "9" * 5000, "-1", "²"])
    def test_a_place_that_a_list_does_not_have_leads_nowhere(self, place: str) -> None:
        assert at_path({"tags": ["vip"]}, f"tags.{place}") is MISSING


class TestDefaults:
    def test_every_email_sms_and_push_choice_that_is_made_is_a_property(self) -> None:
        comms = {
            "email_benefits": True,
            "sms_account": False,
            "push_promo": None,
            "phone_promo": True,
            "email_promo": True,
        }
        found = mapped(attributes={"comms": comms})
        assert properties(found) == {"omneo_email_benefits": True, "omneo_sms_account": False}

    @pytest.mark.parametrize(
        ("parts", "whole"),
        [((1992, 2, 29), "1992-02-29"), (("1990", "4", "9"), "1990-04-09"), ((1991, 2, 29), None), ((None, 4, 9), None), ((0, 0, 0), None)],
    )  # fmt: skip
    def test_a_birthday_is_a_date_only_when_it_is_whole(
        self, parts: tuple[Any, ...], whole: str | None
    ) -> None:
        year, month, day = parts
        found = mapped(birth_year=year, birth_month=month, birth_day=day)
        assert properties(found).get("omneo_birth_date") == whole

    def test_a_date_given_whole_serves_as_well(self) -> None:
        assert properties(mapped(birth_date="1992-02-29 00:00:00"))["omneo_birth_date"] == "1992-02-29"


class TestSize:
    def test_the_largest_properties_go_until_the_rest_fits(self) -> None:
        found = mapped(
            email=EMAIL,
            first_name="Jane",
            custom_attributes=custom(a="z", b="y" * 50_000, c="x" * 60_000, d="é" * 40_000),
        )
        assert properties(found) == {"shop:a": "z", "shop:b": "y" * 50_000}
        assert found.notes == (
            Note(NoteReason.TOO_LARGE, "properties.shop:d"),
            Note(NoteReason.TOO_LARGE, "properties.shop:c"),
        )
        assert found.attributes["email"] == EMAIL

    def test_ten_thousand_properties_are_no_harm(self) -> None:
        found = mapped(custom_attributes=custom(**{f"n{number}": "x" * 10 for number in range(10_000)}))
        assert len(json.dumps(found.resource(KLAVIYO_ID))) <= 100 * 1024
        assert len(properties(found)) > 1000


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just("\ud800\0")
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("email", "first_name", "mobile_phone", "mobile_phone_e164", "mobile_phone_country", "address", "tier", "joined_at", "birth_day",
          "birth_month", "birth_year", "birth_date", "attributes", "custom_attributes", "identities", "preferred_location", "x")  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries(
        {"namespace": st.text(max_size=4), "handle": ANY, "type": st.sampled_from(["json", "integer", "float", 7]), "value": ANY}
    ),
    max_size=3,
)  # fmt: skip


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    profile=st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=8),
    rows=ROWS,
    mappings=st.dictionaries(
        st.sampled_from(
            ["x", "x.0", "tier.name", "identities.a", "custom_attributes.a:b", "email", "..", ""]
        ),
        st.sampled_from(["email", "locale", "latitude", "$id", "Some", "$", "timezone", "\ud800", "n" * 201])
        | st.text(max_size=5),
        max_size=4,
    ),
    before=st.sets(
        st.sampled_from(["email", "first_name", "location.city", "properties.Some", "properties.a:b"])
    ),
)
def test_no_profile_fails_and_klaviyos_model_takes_what_comes_out(
    profile: Json, rows: list[Json], mappings: dict[str, str], before: set[str]
) -> None:
    profile = {**profile, "custom_attributes": rows}
    found = klaviyo_profile({"id": ID, **profile}, mappings=mappings, region="AU", filled_before=before)
    assert objections(found) == []
    assert found.attributes["external_id"] == ID
    assert len(json.dumps(found.resource(KLAVIYO_ID)).encode()) <= 100 * 1024
    again = klaviyo_profile({"id": ID, **profile}, mappings=mappings, region="AU", filled_before=found.filled)
    assert again.unset == ()
