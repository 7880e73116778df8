"""From the body of a metric call to Klaviyo's event: shapes, refusals, what templates render, and the official model."""

import copy
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from deploy.local.sandbox import Sandbox
from shared.errors import InvalidPayloadError, RefusedError
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.client import KlaviyoClient, read_problem
from shared.metrics.rules.event import Metric, email_of, klaviyo_profile_id, read_metric, with_id_token
from tests.support.events import attributes, event, metric, objections, profile
from tests.support.world import ACCOUNT, EMAIL, Clock

SAMPLES = Path(__file__).parents[4] / "tests" / "samples" / "metrics"
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KLAVIYO_ID = "01HXCANARY0000000000000000"
OMNEO_ID = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
CANARY = "canary"

Json = dict[str, Any]


def read(body: object, *, metric_name: str = "", with_token: bool = False, now: datetime = NOW) -> Metric:
    return read_metric(body, metric_name=metric_name, with_token=with_token, now=now, unique_id="fixed-id")


# The documented shapes


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda folder: str(folder.name))
def test_every_documented_body_becomes_the_event_beside_it(sample: Path) -> None:
    body = json.loads((sample / "body.json").read_text())
    expected = json.loads((sample / "expected.json").read_text())
    found = read(body, metric_name=expected["url_metric"])
    assert found.attributes == expected["event"]
    assert found.omneo_profile_id == expected["omneo_profile_id"]
    assert (sample / "source.txt").read_text().startswith(("documented (https://", "assumed: "))


def test_the_four_shapes_give_the_same_event() -> None:
    given = attributes(unique_id="reward-7", time="2026-07-23T10:00:00+00:00")
    shapes: list[tuple[Json, str]] = [
        ({"data": {"type": "event", "attributes": given}}, ""),
        ({"attributes": given}, ""),
        (
            {
                "token": "canary-key",
                "event": "Reward Issued",
                "customer_properties": {"$email": EMAIL},
                "properties": {"amount": 20, "$event_id": "reward-7"},
                "time": 1784800800,
            },
            "",
        ),
        ({"profile": {"email": EMAIL}, "amount": 20, "unique_id": "reward-7", "time": "2026-07-23 10:00:00"},
         "Reward Issued"),
    ]  # fmt: skip
    found = [read(body, metric_name=name) for body, name in shapes]
    assert found[0].attributes["time"] == "2026-07-23T10:00:00+00:00"
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"attributes": attributes(metric=None)}},
        {"attributes": attributes(metric=None)},
        {"attributes": attributes(metric=[])},
        {"attributes": attributes(metric=metric(""))},
        {"event": "", "customer_properties": {"$email": EMAIL}},
        {"customer_properties": {"$email": EMAIL}},
        {"profile": {"email": EMAIL}},
    ],
    ids=["resource", "bare", "php-empty", "empty-name", "track-empty", "track-none", "context"],
)
def test_the_urls_metric_name_serves_where_the_body_gives_none(body: Json) -> None:
    found = read(body, metric_name="From the URL").attributes
    assert found["metric"]["data"] == {"type": "metric", "attributes": {"name": "From the URL"}}


def test_the_bodys_metric_name_comes_before_the_urls() -> None:
    assert read(event(), metric_name="Other").attributes["metric"] == metric("Reward Issued")
    track = {"event": "Tracked", "customer_properties": {"$email": EMAIL}}
    assert read(track, metric_name="Other").attributes["metric"] == metric("Tracked")


@pytest.mark.parametrize("extra", ["data", "attributes", "event"])
def test_a_context_may_use_the_words_of_the_other_shapes(extra: str) -> None:
    body = {"profile": {"email": EMAIL}, extra: {"any": "thing"}}
    assert read(body, metric_name="Named").attributes["properties"] == {extra: {"any": "thing"}}


def test_a_uuid_in_a_context_is_omneos_id_and_anything_else_klaviyos() -> None:
    omneo = read({"profile": {"id": OMNEO_ID.upper(), "email": EMAIL}}, metric_name="N")
    assert omneo.omneo_profile_id == OMNEO_ID
    assert (klaviyo_profile_id(omneo.attributes), email_of(omneo.attributes)) == ("", EMAIL)
    klaviyo = read({"profile": {"id": KLAVIYO_ID, "email": EMAIL}}, metric_name="N")
    assert klaviyo.omneo_profile_id == ""
    assert (klaviyo_profile_id(klaviyo.attributes), email_of(klaviyo.attributes)) == (KLAVIYO_ID, EMAIL)


@pytest.mark.parametrize("almost", [OMNEO_ID[:-1], OMNEO_ID.replace("-", "")])
def test_what_only_resembles_a_uuid_is_no_omneo_id(almost: str) -> None:
    found = read({"profile": {"id": almost}}, metric_name="N")
    assert (found.omneo_profile_id, klaviyo_profile_id(found.attributes)) == ("", almost)


@pytest.mark.parametrize("time", ["next Friday", "", None, [], 12, "1989-12-31", {"from": 9}, True])
def test_a_contexts_time_that_is_none_of_ours_is_one_more_property(time: object) -> None:
    found = read({"profile": {"email": EMAIL}, "time": time}, metric_name="N").attributes
    assert found["time"] == NOW.isoformat()
    assert found["properties"] == ({"time": time} if time else {})


def test_the_profile_extras_of_a_context_travel_as_a_property() -> None:
    body = {"profile": {"email": EMAIL, "first_name": "Jane", "tier": {"name": "Gold"}}}
    found = read(body, metric_name="N").attributes
    assert found["properties"] == {"profile": {"first_name": "Jane", "tier": {"name": "Gold"}}}
    assert found["profile"]["data"]["attributes"] == {"email": EMAIL}


def test_in_the_track_shape_a_dollar_name_beats_a_plain_one_in_any_order() -> None:
    given = {"$email": EMAIL, "email": "canary-other@example.org"}
    for customer in (given, dict(reversed(given.items()))):
        assert email_of(read({"event": "N", "customer_properties": customer}).attributes) == EMAIL


@pytest.mark.parametrize("blank", ["", " ", "null", None])
def test_in_the_track_shape_a_dollar_name_that_says_nothing_beats_no_plain_one(blank: object) -> None:
    given = {"$email": blank, "email": EMAIL, "$first_name": "Jane"}
    for customer in (given, dict(reversed(given.items()))):
        event = read({"event": "Tracked", "customer_properties": customer})
        profile = event.attributes["profile"]["data"]["attributes"]
        assert (profile["email"], profile["first_name"]) == (EMAIL, "Jane")


def test_the_track_token_goes_no_further() -> None:
    body = {"token": "canary-public-key", "event": "N", "customer_properties": {"email": EMAIL}, "extra": 1}
    found = read(body).attributes
    assert "canary-public-key" not in json.dumps(found)
    assert found["properties"] == {"extra": 1}


# What travels on, and what is left alone


def test_values_inside_properties_are_not_touched() -> None:
    odd: Json = {
        "empty": "",
        "null": None,
        "php": [],
        "yes": "1",
        "no": "",
        "n": "20",
        "deep": {"a": [{"b": ""}]},
        "big": 2**80,
    }
    assert read(event(properties=odd)).attributes["properties"] == odd


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda folder: str(folder.name))
def test_the_callers_body_is_never_changed(sample: Path) -> None:
    body = json.loads((sample / "body.json").read_text())
    before = copy.deepcopy(body)
    read(body, metric_name="N")
    assert body == before


def test_unique_id_and_time_are_kept_when_given() -> None:
    found = read(event(unique_id="mine", time="2026-07-23T10:00:00.250+10:00")).attributes
    assert (found["unique_id"], found["time"]) == ("mine", "2026-07-23T00:00:00.250000+00:00")


@pytest.mark.parametrize("missing", [{}, {"unique_id": "", "time": ""}, {"unique_id": None, "time": None}])
def test_unique_id_and_time_are_fixed_when_missing_or_empty(missing: Json) -> None:
    found = read(event(**missing)).attributes
    assert (found["unique_id"], found["time"]) == ("fixed-id", "2026-11-21T10:00:00+00:00")


def test_the_time_we_fix_is_whole_seconds_so_that_a_replay_says_the_same() -> None:
    found = read(event(), now=NOW.replace(microsecond=999_999)).attributes
    assert found["time"] == "2026-11-21T10:00:00+00:00"


def test_meta_moves_to_where_this_revision_has_it_and_never_over_one_already_there() -> None:
    meta = {"patch_properties": {"unset": "x"}}
    moved = read(event(profile=profile({"email": EMAIL, "meta": meta}))).attributes["profile"]["data"]
    assert (moved["meta"], moved["attributes"]) == (meta, {"email": EMAIL})
    there = read(event(profile=profile({"email": EMAIL}, meta=meta))).attributes["profile"]["data"]
    assert there["meta"] == meta
    both = read(event(profile=profile({"email": EMAIL, "meta": {"older": 1}}, meta=meta))).attributes
    assert both["profile"]["data"]["meta"] == meta


def test_a_token_is_added_to_the_properties_of_a_copy() -> None:
    found = read(event(), with_token=True).attributes
    sent = with_id_token(found, "Y2FuYXJ5", 1790000000)
    assert sent["properties"] == {"amount": 20, "IDToken": "Y2FuYXJ5", "IDTokenExpiry": 1790000000}
    assert found["properties"] == {"amount": 20}


# What templates render


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize("name", ["email", "phone_number", "external_id", "anonymous_id", "_kx"])
def test_an_empty_identifier_is_none(name: str, empty: object) -> None:
    found = read(event(profile=profile({"email": EMAIL} | {name: empty}, id=KLAVIYO_ID))).attributes
    assert name not in found["profile"]["data"]["attributes"]


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_profile_id_is_none(empty: object) -> None:
    assert "id" not in read(event(profile=profile(id=empty))).attributes["profile"]["data"]


@pytest.mark.parametrize("empty", [[], None])
def test_phps_empty_list_is_an_empty_object(empty: object) -> None:
    found = read(event(properties=empty, profile=profile([], id=KLAVIYO_ID))).attributes
    assert found["properties"] == {}
    assert found["profile"]["data"]["attributes"] == {}
    assert (
        read({"event": "N", "customer_properties": {"$email": EMAIL}, "properties": empty}).attributes[
            "properties"
        ]
        == {}
    )


@pytest.mark.parametrize("name", ["location", "properties", "meta"])
def test_phps_empty_list_among_the_profiles_objects_is_left_out(name: str) -> None:
    found = read(event(profile=profile({"email": EMAIL, name: []}))).attributes
    assert found["profile"]["data"] == {"type": "profile", "attributes": {"email": EMAIL}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0), (20, 20), (-1, -1), (9.99, 9.99), ("20", 20), (" 20.50 ", 20.5), ("+3", 3), ("-0.5", -0.5), (".5", 0.5),
        ("5.", 5.0), ("1,234.50", 1234.5), (10**39, 10**39), ("1" * 30, int("1" * 30)), (1e308, 1e308), (5e-324, 0.0), (9.994, 9.99), (-(2**63), -(2**63)),
    ],
)  # fmt: skip
def test_a_value_may_be_a_number_or_a_number_in_text(given: object, expected: float) -> None:
    found = read(event(value=given)).attributes["value"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_value_or_currency_is_left_out(empty: object) -> None:
    found = read(event(value=empty, value_currency=empty)).attributes
    assert not {"value", "value_currency"} & found.keys()
    assert read(event(value=empty, value_currency="AUD")).attributes["value_currency"] == "AUD"
    assert "value_currency" not in read(event(value=1, value_currency=empty)).attributes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, True),
        (False, False),
        ("1", True),
        ("0", False),
        (1, True),
        (0, False),
        ("true", True),
        (" False ", False),
    ],
)
def test_backfill_is_read_as_twig_prints_it(given: object, expected: bool) -> None:
    assert read(event(backfill=given)).attributes["backfill"] is expected


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_backfill_is_left_out(empty: object) -> None:
    assert "backfill" not in read(event(backfill=empty)).attributes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (71, "71"),
        (71.0, "71"),
        ("71.0", "71"),
        (1.5, "1.5"),
        (0, "0"),
        (-1, "-1"),
        ("71", "71"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_unique_id_may_be_a_number(given: object, expected: str) -> None:
    assert read(event(unique_id=given)).attributes["unique_id"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-07-23T10:00:00Z", "2026-07-23T10:00:00+00:00"),
        ("2026-07-23T10:00:00+10:00", "2026-07-23T00:00:00+00:00"),
        ("2026-07-23T10:00:00.5-02:00", "2026-07-23T12:00:00.500000+00:00"),
        ("2026-07-23 10:00:00", "2026-07-23T10:00:00+00:00"),
        (" 2026-07-23 10:00:00 ", "2026-07-23T10:00:00+00:00"),
        ("2026-07-23", "2026-07-23T00:00:00+00:00"),
        (1784800800, "2026-07-23T10:00:00+00:00"),
        (1784800800.5, "2026-07-23T10:00:00.500000+00:00"),
        ("1784800800", "2026-07-23T10:00:00+00:00"),
        ("1784800800.25", "2026-07-23T10:00:00.250000+00:00"),
        ("1990-01-01T00:00:01Z", "1990-01-01T00:00:01+00:00"),
        ((NOW + timedelta(days=365)).isoformat(), "2027-11-21T10:00:00+00:00"),
    ],
)
def test_a_time_may_be_rfc_3339_omneos_form_or_unix_seconds(given: object, expected: str) -> None:
    assert read(event(time=given)).attributes["time"] == expected


# Refusals. Every value that could be repeated holds the canary.

_LONG = "canary" + "x" * 102_400
NEEDS_PROFILE = "Say whose event it is: attributes.profile.data.id"
REFUSALS: list[tuple[str, object, str, str]] = [
    ("no-object", ["canary"], "", "Send a JSON object."),
    ("text", "canary", "", "Send a JSON object."),
    ("nothing", {}, "", "Send Klaviyo's event as"),
    ("no-shape", {"canary": "canary"}, "", "?metric=NAME"),
    ("context-without-name", {"profile": {"email": EMAIL}}, "", "?metric=NAME"),
    ("context-of-nobody", {"profile": {"email": "", "id": ""}}, "canary", "profile.email or profile.id"),
    ("context-profile-text", {"profile": "canary"}, "canary", "profile.email or profile.id"),
    ("context-email-empty", {"profile": {"email": "", "first_name": "canary"}}, "N", "profile.email or profile.id. The email is empty, and there is no id."),
    ("context-only-mobile", {"profile": {"mobile_phone": "+61canary"}}, "N", "The email is missing, and there is no id. A mobile number alone"),
    ("context-only-phone", {"profile": {"phone": "+61canary"}}, "N", "The email is missing, and there is no id. A mobile number alone"),
    ("context-empty-and-mobile", {"profile": {"email": "", "mobile_phone": "+61canary"}}, "N", "The email is empty, and there is no id. A mobile number alone"),
    ("context-php-empty", {"profile": []}, "N", "The email is missing, and there is no id."),
    ("context-at-the-root", {"email": EMAIL}, "N", "below profile"),
    ("root-email-empty", {"email": "", "first_name": "canary"}, "N", "is not read. The email is empty, and there is no id."),
    ("root-only-mobile", {"mobile_phone": "+61canary"}, "N", "is not read. The email is missing, and there is no id. A mobile number alone"),
    ("context-unnamed-metric", {"profile": {"email": ""}}, "", "Name the metric in the URL, as ?metric=NAME"),
    ("email-empty", event(profile=profile({"email": " "})), "", "The email is empty, and there is no id."),
    ("email-empty-and-phone", event(profile=profile({"email": None, "phone_number": "+61canary"})), "", "The email is empty, and there is no id. A mobile number alone"),
    ("data-list", {"data": ["canary"]}, "", "data must be an object"),
    ("data-type", {"data": {"type": "canary", "attributes": attributes()}}, "", 'data.type must be "event"'),
    ("type", {"type": "canary", "attributes": attributes()}, "", 'type must be "event"'),
    ("no-attributes", {"data": {"type": "event"}}, "", "data.attributes must be an object"),
    ("attributes-text", {"attributes": "canary"}, "", "attributes must be an object"),
    ("no-metric", event(metric=None), "", "attributes.metric.data.attributes.name is needed"),
    ("metric-text", event(metric="canary"), "", "attributes.metric must be an object"),
    ("metric-data", event(metric={"data": ["canary"]}), "", "attributes.metric.data must be an object"),
    ("metric-type", event(metric={"data": {"type": "canary", "attributes": {"name": "N"}}}), "", 'type must be "metric"'),
    ("metric-attributes", event(metric={"data": {"attributes": ["canary"]}}), "", "metric.data.attributes must be an object"),
    ("name-number", event(metric=metric(12)), "", "as text"),
    ("name-object", event(metric=metric({"canary": 1})), "", "as text"),
    ("name-blank", event(metric=metric(" \t")), "", "name is needed"),
    ("name-128", event(metric=metric("canary".ljust(128, "x"))), "", "shorter than 128"),
    ("url-name-128", {"profile": {"email": EMAIL}}, "canary".ljust(128, "x"), "?metric must be shorter than 128"),
    ("no-profile", {"attributes": {k: v for k, v in attributes().items() if k != "profile"}}, "", "attributes.profile must be"),
    ("profile-text", event(profile="canary"), "", "attributes.profile must be an object"),
    ("profile-data", event(profile={"data": "canary"}), "", "attributes.profile.data must be an object"),
    ("profile-type", event(profile=profile(type="canary")), "", 'data.type must be "profile"'),
    ("profile-attributes", event(profile=profile(["canary"])), "", "profile.data.attributes must be an object"),
    ("nobody", event(profile=profile({})), "", NEEDS_PROFILE),
    ("only-phone", event(profile=profile({"phone_number": "+61canary"})), "", NEEDS_PROFILE),
    ("only-external-id", event(profile=profile({"external_id": "canary"})), "", NEEDS_PROFILE),
    ("id-object", event(profile=profile({}, id={"canary": 1})), "", "attributes.profile.data.id must be text"),
    ("context-id", {"profile": {"id": ["canary"]}}, "N", "profile.id must be text"),
    ("email-number", event(profile=profile({"email": 12})), "", "email must be an email address"),
    ("email-false", event(profile=profile({"email": False})), "", "email must be an email address"),
    ("email-no-at", event(profile=profile({"email": "canary"})), "", "email must be an email address"),
    ("email-space", event(profile=profile({"email": "canary jane@example.org"})), "", "email must be an email address"),
    ("email-lines", event(profile=profile({"email": f"canary\n{EMAIL}"})), "", "email must be an email address"),
    ("email-two-at", event(profile=profile({"email": "canary@canary@x.org"})), "", "email must be an email address"),
    ("context-email", {"profile": {"email": ["canary"]}}, "N", "profile.email must be an email address"),
    ("context-unique-id", {"profile": {"email": EMAIL}, "unique_id": "reward-"}, "N", "unique_id lacks a part"),
    ("context-400", {"profile": {"email": EMAIL}, **{f"canary{n}": n for n in range(401)}}, "N", "The body may hold at most 400"),
    ("context-long", {"profile": {"email": EMAIL}, "x": _LONG}, "N", "The body holds a string of more than 100 KB"),
    ("track-email", {"event": "N", "customer_properties": {"$email": "canary"}}, "", "customer_properties.$email must be an email address"),
    ("track-unique-id", {"event": "N", "customer_properties": {"$email": EMAIL}, "properties": {"$event_id": True}}, "", "properties.$event_id must be text"),
    ("track-time", {"event": "N", "customer_properties": {"$email": EMAIL}, "time": "canary"}, "", "time must be RFC 3339"),
    ("track-value", {"event": "N", "customer_properties": {"$email": EMAIL}, "properties": {"$value": "canary"}}, "", "properties.$value must be a number"),
    ("track-400", {"event": "N", "customer_properties": {"$email": EMAIL}, "properties": {f"canary{n}": n for n in range(401)}}, "", "properties may hold at most 400"),
    ("track-nobody", {"event": "N"}, "", "Say whose event it is: customer_properties.$email. The email is missing"),
    ("track-plain-id", {"event": "N", "customer_properties": {"id": "canary"}}, "", "Say whose event it is: customer_properties.$email"),
    ("track-no-name", {"customer_properties": {"$email": EMAIL}}, "", "event is needed: the metric's name"),
    ("track-customer", {"event": "N", "customer_properties": "canary"}, "", "customer_properties must be an object"),
    ("track-properties", {"event": "N", "properties": ["canary"]}, "", "properties must be an object"),
    ("properties-text", event(properties="canary"), "", "attributes.properties must be an object"),
    ("properties-list", event(properties=["canary"]), "", "attributes.properties must be an object"),
    ("properties-401", event(properties={f"canary{n}": n for n in range(401)}), "", "at most 400"),
    ("unique-id-256", event(unique_id="canary".ljust(256, "x")), "", "at most 255"),
    ("unique-id-true", event(unique_id=True), "", "attributes.unique_id must be text"),
    ("unique-id-object", event(unique_id={"canary": 1}), "", "attributes.unique_id must be text"),
    ("unique-id-huge", event(unique_id=10**4000), "", "attributes.unique_id must be text"),
    ("time-word", event(time="canary"), "", "attributes.time must be RFC 3339"),
    ("time-list", event(time=["canary"]), "", "attributes.time must be RFC 3339"),
    ("time-true", event(time=True), "", "attributes.time must be RFC 3339"),
    ("time-13th-month", event(time="2026-13-01T00:00:00Z"), "", "attributes.time must be RFC 3339"),
    ("time-milliseconds", event(time=1784800800000), "", "attributes.time must be RFC 3339"),
    ("time-huge", event(time=10**400), "", "attributes.time must be RFC 3339"),
    ("time-huge-text", event(time="9" * 30), "", "attributes.time must be RFC 3339"),
    ("time-infinite", event(time=math.inf), "", "attributes.time must be RFC 3339"),
    ("time-year-1", event(time="0001-01-01T00:00:00+14:00"), "", "attributes.time must be RFC 3339"),
    ("time-year-9999", event(time="9999-12-31T23:59:59-14:00"), "", "attributes.time must be RFC 3339"),
    ("time-1990", event(time="1990-01-01T00:00:00Z"), "", "after 1990 and at most a year ahead"),
    ("time-zero", event(time=0), "", "after 1990 and at most a year ahead"),
    ("time-negative", event(time="-5"), "", "after 1990 and at most a year ahead"),
    ("time-ahead", event(time="2027-11-22T10:00:01Z"), "", "after 1990 and at most a year ahead"),
    ("value-word", event(value="canary"), "", "attributes.value must be a number"),
    ("value-true", event(value=True), "", "attributes.value must be a number"),
    ("value-list", event(value=[1]), "", "attributes.value must be a number"),
    ("value-comma", event(value="12,34"), "", "attributes.value must be a number"),
    ("value-exponent", event(value="1e5"), "", "attributes.value must be a number"),
    ("value-nan", event(value=math.nan), "", "attributes.value must be a number"),
    ("value-infinite", event(value=-math.inf), "", "attributes.value must be a number"),
    ("value-nan-text", event(value="NaN"), "", "attributes.value must be a number"),
    ("value-huge", event(value=10**400), "", "attributes.value must be a number"),
    ("value-huge-text", event(value="1" * 41), "", "attributes.value must be a number"),
    ("value-half", event(value="\u00bd"), "", "attributes.value must be a number"),
    ("time-compact", event(time="20260723T100000Z"), "", "attributes.time must be RFC 3339"),
    ("time-week", event(time="2026-W30-4"), "", "attributes.time must be RFC 3339"),
    ("backfill-word", event(backfill="canary"), "", "attributes.backfill must be true or false"),
    ("backfill-list", event(backfill=["canary"]), "", "attributes.backfill must be true or false"),
    ("backfill-number", event(backfill=10**4000), "", "attributes.backfill must be true or false"),
    ("long-property", event(properties={"x": _LONG}), "", "a string of more than 100 KB"),
    ("long-deep", event(properties={"x": [{"y": [_LONG]}]}), "", "a string of more than 100 KB"),
    ("long-name", event(properties={_LONG: 1}), "", "a string of more than 100 KB"),
    ("long-bytes", event(properties={"x": "\u20ac" * 34_134}), "", "a string of more than 100 KB"),
    ("long-surrogates", event(properties={"x": "\ud800" * 34_134}), "", "a string of more than 100 KB"),
    ("long-email", event(profile=profile({"email": f"{_LONG}@x.org"})), "", "a string of more than 100 KB"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "url_metric", "message"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_refusal_names_the_field_and_the_fix_and_repeats_no_value(
    body: object, url_metric: str, message: str
) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        read(body, metric_name=url_metric)
    said = str(refused.value)
    assert message in said
    assert CANARY not in said
    assert len(said) < 250


def test_the_limits_themselves_are_allowed() -> None:
    exact = "\u20ac" * 34_133 + "x"  # 102,400 bytes
    assert read(event(properties={"x": exact, exact: 1})).attributes["properties"]["x"] == exact
    assert read(event(metric=metric("n" * 127)))
    assert read(event(properties={str(n): n for n in range(400)}))


def test_a_token_takes_two_of_the_four_hundred_properties() -> None:
    assert read(event(properties={str(n): n for n in range(398)}), with_token=True)
    with pytest.raises(InvalidPayloadError, match="at most 398 properties here"):
        read(event(properties={str(n): n for n in range(399)}), with_token=True)


# Any JSON at all

_WORDS = st.sampled_from(
    [
        "data", "type", "attributes", "event", "profile", "metric", "name", "id", "email", "properties", "time", "unique_id",
        "value", "value_currency", "backfill", "customer_properties", "$email", "$id", "$value", "$city", "meta", "location",
        "token", "external_id", "phone_number",
    ]
)  # fmt: skip
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_TEXTS = _TEXT | st.sampled_from(
    ["", "event", "profile", "metric", EMAIL, KLAVIYO_ID, OMNEO_ID, "20", "2026-07-23 10:00:00"]
)
_SCALARS: SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, -(10**4000), 1784800800])
    | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
)  # fmt: skip
JSON: SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | _TEXT, inner, max_size=4),
    max_leaves=12,
)


def _nearly(**fields: SearchStrategy[Any]) -> SearchStrategy[Json]:
    """An object whose fields are now and then something else, or missing."""

    @st.composite
    def draw_fields(draw: st.DrawFn) -> Json:
        found: Json = {}
        for name, good in fields.items():
            match draw(st.integers(0, 24)):
                case 1:
                    found[name] = draw(JSON)
                case 2:
                    continue
                case _:
                    found[name] = draw(good)
        return found

    return draw_fields()


_EMAILS = st.sampled_from([EMAIL, "canary+tag@example.org"])
_IDS = st.sampled_from([KLAVIYO_ID, OMNEO_ID, ""])
_TIMES = st.sampled_from(
    ["2026-07-23 10:00:00", "2026-07-23T10:00:00.5Z", 1784800800, "1784800800.25", "", None]
)
_VALUES = st.sampled_from(["", "20", 9.99, "1.50", 0, None]) | st.floats(
    allow_nan=False, allow_infinity=False
)
_UNIQUE_IDS = st.sampled_from(["", None, 7]) | _TEXT
_PROFILE = _nearly(
    type=st.just("profile"),
    id=_IDS,
    attributes=_nearly(email=_EMAILS, first_name=_TEXT, location=st.just([]), external_id=_TEXT),
)
_ATTRIBUTES = _nearly(
    metric=st.builds(metric, _TEXTS),
    profile=_nearly(data=_PROFILE),
    properties=st.dictionaries(_TEXT, JSON, max_size=3) | st.just([]),
    value=_VALUES,
    value_currency=st.sampled_from(["", "AUD"]),
    time=_TIMES,
    unique_id=_UNIQUE_IDS,
    backfill=st.sampled_from(["", "1", "0", True, False]),
)
_CUSTOMER: dict[str, SearchStrategy[Any]] = {"$email": _EMAILS, "$city": _TEXT, "points": JSON}
_TRACKED: dict[str, SearchStrategy[Any]] = {"$value": _VALUES, "$event_id": _UNIQUE_IDS, "other": JSON}
BODIES: SearchStrategy[Any] = st.integers(0, 4).flatmap(
    lambda shape: (
        _nearly(data=_nearly(type=st.just("event"), attributes=_ATTRIBUTES)),
        _nearly(type=st.just("event"), attributes=_ATTRIBUTES),
        _nearly(
            event=_TEXTS,
            customer_properties=_nearly(**_CUSTOMER),
            properties=_nearly(**_TRACKED),
            time=_TIMES,
        ),
        _nearly(
            profile=_nearly(id=_IDS, email=_EMAILS, name=_TEXT), reward=JSON, time=JSON, unique_id=_UNIQUE_IDS
        ),
        JSON,
    )[shape]
)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def test_the_referee_sees_what_is_wrong() -> None:
    assert objections(attributes()) == []
    assert objections(attributes(value="9.5", unique_id=7, properties=[], time="soon", backfill="1"))
    assert objections({**attributes(), "metric": {}}) == ["metric.data missing"]


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda folder: str(folder.name))
def test_klaviyos_own_model_accepts_every_expected_event(sample: Path) -> None:
    assert objections(json.loads((sample / "expected.json").read_text())["event"]) == []


@settings(max_examples=400, deadline=None, suppress_health_check=SLOW)
@given(body=BODIES, url_metric=st.sampled_from(["", "From the URL"]), with_token=st.booleans())
@example(
    body={"event": "N", "customer_properties": {"$email": EMAIL}, "time": 10**400},
    url_metric="",
    with_token=False,
)
@example(body={"attributes": attributes(value=10**400)}, url_metric="", with_token=False)
@example(body={"attributes": attributes(value="", value_currency="")}, url_metric="", with_token=False)
def test_any_json_is_refused_or_becomes_an_event_that_klaviyos_model_accepts_and_that_reads_back_the_same(
    body: object, url_metric: str, with_token: bool
) -> None:
    before = copy.deepcopy(body)
    try:
        found = read(body, metric_name=url_metric, with_token=with_token)
    except InvalidPayloadError:
        return
    finally:
        assert body == before
    assert objections(found.attributes) == []
    assert len(found.attributes["properties"]) <= (398 if with_token else 400)
    if klaviyo_profile_id(found.attributes) or email_of(found.attributes):
        later = NOW + timedelta(hours=23)  # the event is what it was, whenever it is read again
        again = read({"attributes": found.attributes}, with_token=with_token, now=later)
        assert again.attributes == found.attributes
    else:
        assert found.omneo_profile_id == found.attributes["profile"]["data"]["attributes"]["external_id"]


class _OneToken:
    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        return self._token

    def instead_of(self, rejected: str) -> str:
        raise AssertionError("the sandbox knows the token")


def objection(klaviyo: KlaviyoClient, event: Json) -> str:
    """Return what the sandbox has against the event, "" if it took it."""
    try:
        klaviyo.create_event(event)
    except RefusedError as refused:
        return refused.detail
    return ""


def test_the_sandbox_accepts_what_any_json_became(sandbox: Sandbox, clock: Clock) -> None:
    tokens = sandbox.klaviyo.install(ACCOUNT)
    sandbox.klaviyo.profile(ACCOUNT, id=KLAVIYO_ID)
    http = HttpClient("Klaviyo", sandbox.klaviyo.url, read_problem, Connections())
    klaviyo = KlaviyoClient(http, _OneToken(tokens.access_token), "2026-10-15")
    sent = 0

    @settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
    @given(body=BODIES)
    def accepted(body: object) -> None:
        nonlocal sent
        try:
            event = read(body, metric_name="From the URL", now=clock()).attributes
        except InvalidPayloadError:
            return
        said = objection(klaviyo, event)
        # The worker knows the country of a phone number, and asks again without an id that nobody has.
        assert not said or "phone number" in said or said.startswith("A profile with id"), said
        sent += 1
        sandbox.advance(1)

    accepted()
    assert sent > 10
