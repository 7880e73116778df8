"""What is shown of a profile and what is masked, in what would be sent, in the exclude logic and in consent."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.explain.rules import masking
from shared.json_logic.exclude_logic import trace
from shared.profiles.rules.mapping import CHOICES, CORE, DEFAULTS, klaviyo_profile

Json = Any

# Every text of the profile but those which the rule shows.
PROFILE: dict[str, Json] = {
    "id": "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11",
    "email": "canary-jane@example.org",
    "mobile_phone_e164": "+61412345678",
    "first_name": "canary-Jane",
    "last_name": "canary-Doe",
    "title": "canary-Dr",
    "joined_at": "2024-02-03 04:05:06",
    "birth_year": 1990,
    "birth_month": 7,
    "birth_day": 21,
    "reward_balance": 20.5,
    "point_balance": "120",
    "tier_handle": "gold",
    "tier": {"handle": "gold", "name": "Gold"},
    "preferred_location": {"name": "Melbourne Central"},
    "preferred_location_id": 12,
    "address": {"address_line_1": "canary-street 1", "city": "canary-town", "latitude": -37.8},
    "custom_attributes": [
        {"namespace": "vip", "handle": "note", "value": "canary-note", "type": "string"},
        {"namespace": "vip", "handle": "size", "value": "42", "type": "integer"},
        {"namespace": "vip", "handle": "tags", "value": '["canary-a"]', "type": "json"},
        {"namespace": "vip", "handle": "pair", "value": '{"canary-key": 1}', "type": "json"},
        {"namespace": "vip", "handle": "member", "value": "true", "type": "boolean"},
    ],
    "attributes": {"comms": {"email_benefits": True, "sms_account": False}},
}


def shown(profile: dict[str, Json] = PROFILE, mappings: Mapping[str, str] = MappingProxyType({})) -> Json:
    mapped = klaviyo_profile(profile, mappings=mappings, region="AU")
    return masking.masked_resource(mapped.resource("01KLAVIYO"), mappings)


def test_of_a_profile_are_shown_names_flags_balances_tier_store_and_ids_alone() -> None:
    assert shown() == {
        "type": "profile",
        "id": "01KLAVIYO",
        "attributes": {
            "external_id": PROFILE["id"],
            "email": "<text>",
            "phone_number": "<text>",
            "first_name": "<text>",
            "last_name": "<text>",
            "location": {"address1": "<text>", "city": "<text>", "latitude": "<number>"},
            "properties": {
                "omneo_title": "<text>",
                "omneo_joined_at": "<text>",
                "omneo_birth_date": "<text>",
                "omneo_birth_day": "<number>",
                "omneo_birth_month": "<number>",
                "omneo_reward_balance": 20.5,
                "omneo_point_balance": "120",
                "omneo_tier_handle": "gold",
                "omneo_tier": "Gold",
                "omneo_preferred_store": "Melbourne Central",
                "omneo_preferred_store_id": 12,
                "omneo_email_benefits": True,
                "omneo_sms_account": False,
                "vip:note": "<text>",
                "vip:size": "<number>",
                "vip:tags": "<list>",
                "vip:pair": "<object>",
                "vip:member": True,
            },
        },
    }


def test_what_is_cleared_or_removed_is_shown() -> None:
    mapped = klaviyo_profile(
        {**PROFILE, "first_name": "", "title": None},
        mappings={},
        region="AU",
        filled_before={"first_name", "properties.omneo_title"},
    )
    resource = masking.masked_resource(mapped.resource(), {})
    assert resource["attributes"]["first_name"] is None
    assert resource["meta"] == {"patch_properties": {"unset": ["omneo_title"]}}


def test_what_a_mapping_puts_under_a_name_that_is_shown_is_masked() -> None:
    mappings = {
        "last_name": "$omneo_tier",
        "email": "omneo_tier_handle",
        "tier.handle": "Level",
        "title": "tier.name",
    }
    properties = shown(mappings=mappings)["attributes"]["properties"]
    names = ("omneo_tier", "omneo_tier_handle", "Level", "tier.name")
    assert [properties[name] for name in names] == ["<text>", "<text>", "gold", "<text>"]


@pytest.mark.parametrize("value", ["canary", "12 canary", "1e9", "0x1", "+61412345678", [1], {"a": 1}])
def test_a_balance_that_is_no_number_is_masked(value: Json) -> None:
    assert masking.masked_at("point_balance", value) == masking.kind_of(value)


UNSHOWN = sorted(
    {path for path in (*CORE, *DEFAULTS, *CHOICES) if path not in masking.HANDLES | masking.BALANCES}
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(lambda text: f"canary{text}")
VALUES = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=4
)


@given(
    st.dictionaries(st.sampled_from(UNSHOWN), VALUES, max_size=8), st.dictionaries(TEXTS, VALUES, max_size=3)
)
def test_no_text_of_a_profile_gets_out(fields: dict[str, Json], extra: dict[str, Json]) -> None:
    profile: dict[str, Json] = {
        "id": "1",
        "email": "canary-jane@example.org",
        **extra,
        "attributes": {"comms": {}},
    }
    for path, value in fields.items():
        first, _, rest = path.partition(".")
        if rest:
            profile[first] = {**(profile.get(first) or {}), rest: value}
        else:
            profile[first] = value
        profile["attributes"]["comms"][path] = value
    profile["custom_attributes"] = [
        {"namespace": "a", "handle": str(n), "value": value} for n, value in enumerate(extra.values())
    ]
    targets = [*DEFAULTS.values(), "$omneo_tier", "Other"]
    mappings = dict(zip(sorted({*extra, *fields}), targets, strict=False))
    assert "canary" not in json.dumps(shown(profile, mappings), ensure_ascii=False)


def var(path: str) -> Json:
    return {"var": path}


@pytest.mark.parametrize(
    ("logic", "expected"),
    [
        ({"==": [var("tier.handle"), "gold"]}, {"==": [var("tier.handle"), "gold"]}),
        ({"==": [var("profile.tier_handle"), "gold"]}, {"==": [var("profile.tier_handle"), "gold"]}),
        ({">": [var("reward_balance"), 10]}, {">": [var("reward_balance"), 10]}),
        ({"==": [var("last_name"), "Doe"]}, {"==": [var("last_name"), "<text>"]}),
        ({"==": [var("birth_day"), 21]}, {"==": [var("birth_day"), "<number>"]}),
        ({"in": ["Doe", var("flattened_tags")]}, {"in": ["<text>", var("flattened_tags")]}),
        ({"in": [var("email"), ["a", "b"]]}, {"in": [var("email"), ["<text>", "<text>"]]}),
        ({"==": [var("last_name"), {"cat": ["D", "oe"]}]}, {"==": [var("last_name"), {"cat": ["<text>", "<text>"]}]}),
        (
            {"in": [var("last_name"), {"cat": [var("tier.handle"), "Doe"]}]},
            {"in": [var("last_name"), {"cat": [var("tier.handle"), "<text>"]}]},
        ),
        (
            {"==": [var("last_name"), {"if": [{"==": [var("tier.handle"), "gold"]}, "Doe", "x"]}]},
            {"==": [var("last_name"), {"if": [{"==": [var("tier.handle"), "<text>"]}, "<text>", "<text>"]}]},
        ),
        (
            {"and": [{"==": [var("tier.handle"), "gold"]}, {"==": [var("last_name"), "Doe"]}, "Doe"]},
            {"and": [{"==": [var("tier.handle"), "gold"]}, {"==": [var("last_name"), "<text>"]}, "<text>"]},
        ),
        ({"==": [{"var": ["last_name", "Doe"]}, True]}, {"==": [{"var": ["last_name", "<text>"]}, True]}),
        ({"==": [{"var": {"cat": ["last", "_name"]}}, "Doe"]}, {"==": [{"var": {"cat": ["<text>", "<text>"]}}, "<text>"]}),
        ({"some": [var("tags"), {"==": [var(""), "Doe"]}]}, {"some": [var("tags"), {"==": [var(""), "<text>"]}]}),
        (
            {"some": [var("custom_attributes"), {"==": [var("tier"), "Doe"]}]},
            {"some": [var("custom_attributes"), {"==": [var("tier"), "<text>"]}]},
        ),
        ({"missing": ["email", "last_name"]}, {"missing": ["email", "last_name"]}),
        ({"missing_some": [1, ["email", "phone"]]}, {"missing_some": [1, ["email", "phone"]]}),
        ({"!": var("email")}, {"!": var("email")}),
    ],
    ids=range(18),
)  # fmt: skip
def test_of_the_logic_is_masked_what_a_masked_value_is_compared_with(logic: Json, expected: Json) -> None:
    assert masking.masked_logic(logic) == expected


def test_of_a_trace_are_shown_the_answers_and_the_values_that_may_be_seen() -> None:
    logic = {"or": [{"==": [var("tier.handle"), "staff"]}, {"==": [var("last_name"), "canary-Doe"]}]}
    steps = [masking.masked_step(step) for step in trace(logic, PROFILE)]
    assert [(step.path, step.value) for step in steps] == [
        ("or", True),
        ("or[0].==", False),
        ("or[0].==[0].var", "gold"),
        ("or[1].==", True),
        ("or[1].==[0].var", "<text>"),
    ]
    assert "canary" not in repr(steps)


OPERATIONS = st.recursive(
    st.sampled_from(["last_name", "first_name", "email", "address.city", "custom_attributes", ""]).map(var)
    | TEXTS,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["==", "in", "!=", "cat", "and", "or", "if", "merge"]), inner, inner).map(
            lambda made: {made[0]: [made[1], made[2]]}
        ),
        inner.map(lambda made: {"!": [made]}),
        inner.map(lambda made: {"var": ["nothing", made]}),
    ),
    max_leaves=6,
).filter(lambda made: isinstance(made, dict))


@given(OPERATIONS)
def test_no_text_of_a_profile_gets_out_of_any_trace(logic: Json) -> None:
    whole = {"and": [var("last_name"), logic]}
    for step in trace(whole, PROFILE):
        shown = masking.masked_step(step)
        assert all(text not in json.dumps(shown.value) for text in ("canary", "Jane", "Doe"))
    # What is compared with a masked value is masked where it stands, however deep.
    assert "canary" not in json.dumps(masking.masked_logic({"==": [var("last_name"), logic]}))


@pytest.mark.parametrize(
    ("shows", "value"),
    [
        (masking.flag, True), (masking.flag, False), (masking.flag, None), (masking.flag, "1"), (masking.flag, 0),
        (masking.date, "2026-11-21 10:00:00"), (masking.date, "2026-11-21T10:00:00+00:00"), (masking.date, None),
        (masking.word, "NEVER_SUBSCRIBED"), (masking.word, None),
    ],
)  # fmt: skip
def test_of_a_consent_are_shown_flags_dates_and_words(shows: Any, value: Json) -> None:
    assert shows(value) == value


@pytest.mark.parametrize("shows", [masking.flag, masking.date, masking.word])
@pytest.mark.parametrize("value", ["canary", "canary-jane@example.org", ["canary"], {"canary": 1}, 7])
def test_of_a_consent_nothing_else_is_shown(shows: Any, value: Json) -> None:
    assert shows(value) == masking.kind_of(value)
