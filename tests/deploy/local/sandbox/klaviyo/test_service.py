"""The sandbox's Klaviyo seen as a client sees it: what it refuses, records, merges and limits."""

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from openapi_client.models.event_create_query_v2 import EventCreateQueryV2

from deploy.local.sandbox import Sandbox

JANE = "canary-jane@example.org"
Attributes = dict[str, Any]


@pytest.fixture
def headers(sandbox: Sandbox) -> dict[str, str]:
    token = sandbox.klaviyo.install("WBhXHN").access_token
    return {
        "Authorization": f"Bearer {token}",
        "revision": "2026-10-15",
        "Content-Type": "application/vnd.api+json",
    }


@pytest.fixture
def send(sandbox: Sandbox, headers: dict[str, str]) -> Iterator[Callable[..., requests.Response]]:
    with requests.Session() as session:
        session.trust_env = False

        def send(body: object, **changes: str | None) -> requests.Response:
            named = {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
            kept = {name: value for name, value in named.items() if value is not None}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            return session.post(f"{sandbox.klaviyo.url}/api/events", data=data, headers=kept)

        yield send


def an_event(**changes: Any) -> dict[str, Any]:
    attributes = {
        "properties": {"amount": 20},
        "metric": a_metric("Reward Issued"),
        "profile": a_profile(email=JANE),
        "unique_id": "reward-9",
        **changes,
    }
    return {
        "data": {
            "type": "event",
            "attributes": {name: value for name, value in attributes.items() if value is not ...},
        }
    }


def a_metric(name: Any) -> dict[str, Any]:
    return {"data": {"type": "metric", "attributes": {"name": name}}}


def a_profile(*, id: Any = ..., meta: Any = ..., **attributes: Any) -> dict[str, Any]:
    data = {"type": "profile", "id": id, "attributes": attributes, "meta": meta}
    return {"data": {name: value for name, value in data.items() if value is not ...}}


def nested(levels: int) -> Any:
    return {"in": nested(levels - 1)} if levels else 1


ACCEPTED = {
    "plain": an_event(),
    "no unique_id": an_event(unique_id=...),
    "nothing but a profile id": an_event(profile=a_profile(id="01HX")),
    "a profile with everything": an_event(
        profile=a_profile(
            id="01HX",
            email=JANE,
            phone_number="+61400000000",
            external_id="e",
            anonymous_id="a",
            _kx="k",
            first_name="Jane",
            last_name=None,
            organization="o",
            locale="en-AU",
            title="t",
            image="i",
            location={"city": "Melbourne", "latitude": 1.5},
            properties={"tier": "Gold"},
        )
    ),
    "only a phone": an_event(profile=a_profile(phone_number="+12345678901")),
    "only an external id": an_event(profile=a_profile(external_id="omneo-1")),
    "no properties inside": an_event(properties={}),
    "as many properties as allowed": an_event(properties={str(number): 1 for number in range(400)}),
    "the longest string": an_event(properties={"blob": "x" * 100 * 1024}),
    "the longest array": an_event(properties={"list": [0] * 4000}),
    "the deepest nesting": an_event(properties={"deep": nested(10)}),
    "the longest metric name": an_event(metric=a_metric("m" * 127)),
    "the longest unique_id": an_event(unique_id="u" * 255),
    "a value with a currency": an_event(value=9.99, value_currency="AUD"),
    "a value of zero": an_event(value=0),
    "backfill": an_event(backfill=True),
    "a time in UTC": an_event(time="2026-07-23T00:00:00Z"),
    "a time with a fraction and an offset": an_event(time="2026-07-23T00:00:00.123456789+10:00"),
    "almost a year ahead": an_event(time="2027-09-01T00:00:00+00:00"),
    "nulls": an_event(time=None, value=None, value_currency=None, unique_id=None, backfill=None),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_official_models_accept_is_accepted_with_an_empty_202(
    send: Callable[..., requests.Response], sandbox: Sandbox, body: dict[str, Any]
) -> None:
    EventCreateQueryV2.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    if id := body["data"]["attributes"]["profile"]["data"].get("id"):
        sandbox.klaviyo.profile("WBhXHN", id=id)
    answer = send(body)
    assert (answer.status_code, answer.content) == (202, b"")
    (event,) = sandbox.klaviyo.events("WBhXHN")
    assert event.properties == body["data"]["attributes"]["properties"]


ATTRIBUTES = "/data/attributes"
PROFILE = f"{ATTRIBUTES}/profile/data"
REFUSED: list[tuple[str, Any, str]] = [
    ("a list", [], "/data"),
    ("no data", {}, "/data"),
    ("data that is no object", {"data": []}, "/data"),
    ("another type", {"data": {**an_event()["data"], "type": "metric"}}, "/data/type"),
    ("no attributes", {"data": {"type": "event"}}, ATTRIBUTES),
    ("no properties", an_event(properties=...), f"{ATTRIBUTES}/properties"),
    ("properties in a list", an_event(properties=[1]), f"{ATTRIBUTES}/properties"),
    ("401 properties", an_event(properties=dict.fromkeys(map(str, range(401)))), f"{ATTRIBUTES}/properties"),
    ("a string too long", an_event(properties={"a": "é" * 51_201}), f"{ATTRIBUTES}/properties/a"),
    ("a long string inside", an_event(properties={"a": [{"b": "x" * 102_401}]}), f"{ATTRIBUTES}/properties/a"),
    ("an array too long", an_event(properties={"a": [0] * 4001}), f"{ATTRIBUTES}/properties/a"),
    ("nesting too deep", an_event(properties={"a": nested(11)}), f"{ATTRIBUTES}/properties/a"),
    ("no metric", an_event(metric=...), f"{ATTRIBUTES}/metric"),
    ("a metric without data", an_event(metric={}), f"{ATTRIBUTES}/metric"),
    (
        "a metric of another type",
        an_event(metric={"data": {"type": "event", "attributes": {"name": "a"}}}),
        f"{ATTRIBUTES}/metric/data/type",
    ),
    (
        "a metric without a name",
        an_event(metric={"data": {"type": "metric", "attributes": {}}}),
        f"{ATTRIBUTES}/metric/data/attributes/name",
    ),
    ("an empty metric name", an_event(metric=a_metric("")), f"{ATTRIBUTES}/metric/data/attributes/name"),
    ("a number as metric name", an_event(metric=a_metric(1)), f"{ATTRIBUTES}/metric/data/attributes/name"),
    ("128 characters", an_event(metric=a_metric("m" * 128)), f"{ATTRIBUTES}/metric/data/attributes/name"),
    ("no profile", an_event(profile=...), f"{ATTRIBUTES}/profile"),
    ("a profile of another type", an_event(profile={"data": {"type": "p", "id": "1", "attributes": {}}}), f"{PROFILE}/type"),
    ("a profile without attributes", an_event(profile={"data": {"type": "profile", "id": "1"}}), f"{PROFILE}/attributes"),
    ("a number as profile id", an_event(profile=a_profile(id=7, email=JANE)), f"{PROFILE}/id"),
    ("no identifier", an_event(profile=a_profile(first_name="Jane")), PROFILE),
    ("identifiers that say nothing", an_event(profile=a_profile(email="", external_id=None)), PROFILE),
    ("no email", an_event(profile=a_profile(email="jane")), f"{PROFILE}/attributes/email"),
    ("an email without a dot", an_event(profile=a_profile(email="a@b")), f"{PROFILE}/attributes/email"),
    ("a national phone", an_event(profile=a_profile(phone_number="0412 345 678")), f"{PROFILE}/attributes/phone_number"),
    ("a name that is no string", an_event(profile=a_profile(email=JANE, first_name=1)), f"{PROFILE}/attributes/first_name"),
    ("a location that is no object", an_event(profile=a_profile(email=JANE, location="x")), f"{PROFILE}/attributes/location"),
    ("a time without a zone", an_event(time="2026-07-23T00:00:00"), f"{ATTRIBUTES}/time"),
    ("a time that is no time", an_event(time="2026-13-41T00:00:00Z"), f"{ATTRIBUTES}/time"),
    ("a time in seconds", an_event(time=1_790_000_000), f"{ATTRIBUTES}/time"),
    ("a time before 1990", an_event(time="1989-12-31T23:59:59Z"), f"{ATTRIBUTES}/time"),
    ("two years ahead", an_event(time="2028-09-21T00:00:00Z"), f"{ATTRIBUTES}/time"),
    ("a value in a string", an_event(value="9.5"), f"{ATTRIBUTES}/value"),
    ("a boolean value", an_event(value=True), f"{ATTRIBUTES}/value"),
    ("a currency's name", an_event(value_currency="dollars"), f"{ATTRIBUTES}/value_currency"),
    ("an empty unique_id", an_event(unique_id=""), f"{ATTRIBUTES}/unique_id"),
    ("256 characters", an_event(unique_id="u" * 256), f"{ATTRIBUTES}/unique_id"),
    ("a number as unique_id", an_event(unique_id=9), f"{ATTRIBUTES}/unique_id"),
    ("backfill in a string", an_event(backfill="true"), f"{ATTRIBUTES}/backfill"),
    ("no JSON", b"{", "/"),
    ("NaN", b'{"data": NaN}', "/"),
    ("more than 5 MB", b'{"data": "' + b"x" * 5 * 1024 * 1024 + b'"}', "/data"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "pointer"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_body_that_klaviyo_would_refuse_is_400_and_points_at_the_fault(
    send: Callable[..., requests.Response], sandbox: Sandbox, body: Any, pointer: str
) -> None:
    answer = send(body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/vnd.api+json"
    (error,) = answer.json()["errors"]
    assert (error["status"], error["code"], error["source"]["pointer"]) == (400, "invalid", pointer)
    assert error["id"]
    assert error["detail"]
    assert sandbox.klaviyo.events("WBhXHN") == []


def test_every_fault_of_a_body_is_named(send: Callable[..., requests.Response]) -> None:
    errors = send(an_event(value="9", metric=...)).json()["errors"]
    assert {error["source"]["pointer"] for error in errors} == {
        f"{ATTRIBUTES}/value",
        f"{ATTRIBUTES}/metric",
    }


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"Authorization": None}, 401, "not_authenticated"),
        ({"Authorization": "Bearer canary-token-unknown"}, 401, "authentication_failed"),
        ({"Authorization": "Klaviyo-API-Key pk_canary"}, 401, "authentication_failed"),
        ({"revision": None}, 400, "invalid"),
        ({"revision": "latest"}, 400, "invalid"),
        ({"revision": "2026-13-15"}, 400, "invalid"),
        ({"Content_Type": "application/json"}, 415, "unsupported_media_type"),
        ({"Content_Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content_Encoding": "gzip"}, 400, "invalid"),
    ],
)
def test_headers_that_klaviyo_would_refuse(
    send: Callable[..., requests.Response], changes: dict[str, Any], status: int, code: str
) -> None:
    answer = send(an_event(), **changes)
    assert answer.status_code == status
    assert [error["code"] for error in answer.json()["errors"]] == [code]


def test_a_missing_scope_is_403_in_json(send: Callable[..., requests.Response], sandbox: Sandbox) -> None:
    token = sandbox.klaviyo.install("WBhXHN", scopes="accounts:read events:read").access_token
    answer = send(an_event(), Authorization=f"Bearer {token}")
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "permission_denied"


def test_an_unknown_path_is_404_and_a_wrong_method_405(sandbox: Sandbox, headers: dict[str, str]) -> None:
    url = sandbox.klaviyo.url
    assert (
        requests.get(f"{url}/api/nothing", headers=headers, timeout=60).json()["errors"][0]["code"]
        == "not_found"
    )
    refused = requests.delete(f"{url}/api/events", headers=headers, timeout=60)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST")


def test_a_compressed_body_is_read_and_a_parameter_of_the_content_type_is_ignored(
    send: Callable[..., requests.Response],
) -> None:
    body = gzip.compress(json.dumps(an_event()).encode())
    kind = "application/vnd.api+json; charset=utf-8"
    assert send(body, Content_Encoding="gzip", Content_Type=kind).status_code == 202


def test_a_repeated_unique_id_is_accepted_and_recorded_once_per_profile_and_metric(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    bodies = [
        an_event(properties={"first": True}),
        an_event(properties={"first": False}),
        an_event(metric=a_metric("Reward Expired")),
        an_event(profile=a_profile(email="canary-joe@example.org")),
    ]
    assert [send(body).status_code for body in bodies] == [202] * 4
    recorded = sandbox.klaviyo.events("WBhXHN")
    assert [event.metric for event in recorded] == ["Reward Issued", "Reward Expired", "Reward Issued"]
    assert recorded[0].properties == {"first": True}
    assert len({event.profile_id for event in recorded}) == 2


def test_without_a_unique_id_one_event_a_second_is_kept(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    for _ in range(2):
        assert send(an_event(unique_id=...)).status_code == 202
    sandbox.advance(1)
    assert send(an_event(unique_id=...)).status_code == 202
    assert [event.unique_id for event in sandbox.klaviyo.events("WBhXHN")] == ["1790000000", "1790000001"]


def test_times_are_cut_to_the_second(send: Callable[..., requests.Response], sandbox: Sandbox) -> None:
    send(an_event(time="2026-07-23T00:00:00.999Z"))
    assert sandbox.klaviyo.events("WBhXHN")[0].time == 1_784_764_800


def test_an_event_finds_its_profile_by_any_identifier_and_writes_its_attributes(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    known = sandbox.klaviyo.profile(
        "WBhXHN", email=JANE, first_name="Jane", title="Dr", properties={"tier": "Gold"}
    )
    send(an_event(unique_id="1", profile=a_profile(email=JANE.upper(), external_id="omneo-1", title=None)))
    send(an_event(unique_id="2", profile=a_profile(external_id="omneo-1", properties={"shoe": 38})))
    send(an_event(unique_id="3", profile=a_profile(id=known.id, first_name="Janet")))
    assert {event.profile_id for event in sandbox.klaviyo.events("WBhXHN")} == {known.id}
    (profile,) = sandbox.klaviyo.profiles("WBhXHN")
    assert profile.properties == {"tier": "Gold", "shoe": 38}
    assert profile.attributes == {"email": JANE.upper(), "external_id": "omneo-1", "first_name": "Janet"}


def test_an_identifier_that_was_replaced_no_longer_finds_the_profile(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    jane = sandbox.klaviyo.profile("WBhXHN", email=JANE)
    send(an_event(unique_id="1", profile=a_profile(id=jane.id, email="canary-janet@example.org")))
    send(an_event(unique_id="2", profile=a_profile(email=JANE)))
    first, second = sandbox.klaviyo.events("WBhXHN")
    assert first.profile_id == jane.id
    assert second.profile_id != jane.id


def test_an_identifier_of_another_profile_stays_there(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    jane = sandbox.klaviyo.profile("WBhXHN", email=JANE)
    joe = sandbox.klaviyo.profile("WBhXHN", external_id="joe")
    send(an_event(profile=a_profile(id=joe.id, email=JANE)))
    assert sandbox.klaviyo.events("WBhXHN")[0].profile_id == joe.id
    assert "email" not in joe.attributes
    assert jane.attributes["email"] == JANE


@pytest.mark.parametrize(
    ("revision", "beside", "inside"),
    [("2026-10-15", {"unset": "old"}, {"unset": "new"}), ("2026-07-15", {"unset": "new"}, {"unset": "old"})],
)
def test_a_profiles_meta_stands_where_the_revision_puts_it(
    send: Callable[..., requests.Response], sandbox: Sandbox, revision: str, beside: Any, inside: Any
) -> None:
    sandbox.klaviyo.profile("WBhXHN", email=JANE, properties={"old": 1, "list": ["a", "b"]})
    profile = a_profile(
        email=JANE,
        properties={"new": 1},
        meta={"patch_properties": beside},
    )
    profile["data"]["attributes"]["meta"] = {"patch_properties": inside}
    send(an_event(profile=profile), revision=revision)
    assert sandbox.klaviyo.profiles("WBhXHN")[0].properties == {"new": 1, "list": ["a", "b"]}


def test_properties_are_appended_to_and_taken_from(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    sandbox.klaviyo.profile("WBhXHN", email=JANE, properties={"list": ["a", "b"], "one": 1})
    patch = {"append": {"list": "c", "one": [2]}, "unappend": {"list": ["a"]}}
    send(an_event(profile=a_profile(email=JANE, meta={"patch_properties": patch})))
    assert sandbox.klaviyo.profiles("WBhXHN")[0].properties == {"list": ["b", "c"], "one": [1, 2]}


def test_accounts_do_not_see_each_other(send: Callable[..., requests.Response], sandbox: Sandbox) -> None:
    token = sandbox.klaviyo.install("OTHER1").access_token
    send(an_event())
    send(an_event(), Authorization=f"Bearer {token}")
    (one,), (other,) = sandbox.klaviyo.events("WBhXHN"), sandbox.klaviyo.events("OTHER1")
    assert one.profile_id != other.profile_id
    assert [call.account for call in sandbox.klaviyo.calls.all()] == ["WBhXHN", "OTHER1"]


def test_the_351st_call_of_a_second_is_throttled_and_a_call_without_credentials_does_not_count(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    assert send(an_event(), Authorization=None).status_code == 401
    answers = [send({}) for _ in range(350)]
    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].headers["RateLimit-Limit"] == "350, 350;w=1, 3500;w=60"
    assert answers[0].headers["RateLimit-Remaining"] == "349"
    assert answers[0].headers["RateLimit-Reset"] == "0"
    limited = send(an_event())
    assert limited.status_code == 429
    assert limited.headers["Retry-After"] == "1"
    assert not [name for name in limited.headers if name.lower().startswith("ratelimit")]
    (error,) = limited.json()["errors"]
    assert (error["code"], error["detail"]) == (
        "throttled",
        "Request was throttled. Expected available in 1 second.",
    )
    sandbox.advance(1)
    assert send(an_event()).status_code == 202


def test_an_event_with_an_id_that_no_profile_has_is_refused_also_beside_an_email(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    answer = send(an_event(profile=a_profile(id="01HXUNKNOWN", email=JANE)))
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["detail"] == "A profile with id `01HXUNKNOWN` does not exist."
    assert sandbox.klaviyo.profiles("WBhXHN") == []
    assert sandbox.klaviyo.events("WBhXHN") == []


def test_parallel_calls_record_each_unique_id_once(
    send: Callable[..., requests.Response], sandbox: Sandbox
) -> None:
    bodies = [an_event(unique_id=str(number % 5)) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(send, bodies)} == {202}
    assert sorted(event.unique_id for event in sandbox.klaviyo.events("WBhXHN")) == list("01234")
    assert len(sandbox.klaviyo.profiles("WBhXHN")) == 1


def test_the_same_seed_makes_the_same_ids() -> None:
    def ids(seed: int) -> list[str]:
        klaviyo = Sandbox(seed=seed).klaviyo
        tokens = klaviyo.install("WBhXHN")
        return [tokens.access_token, tokens.refresh_token, klaviyo.profile("WBhXHN", email=JANE).id]

    assert ids(7) == ids(7)
    assert ids(7) != ids(8)
