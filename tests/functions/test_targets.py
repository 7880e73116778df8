"""The targets function: who is let in, what is accepted, and what every refusal says."""

import hashlib
import hmac
import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.tenants.tenants import StoredSecret, Tenant
from tests.functions.refusals import error_of, with_a_broken_store
from tests.support.loading import Load
from tests.support.world import EMAIL, SIGNING_SECRET, TENANT, WEBHOOK_SECRET, World, lines

PATH = f"/{TENANT}/api/v1/targets/klaviyo/metric"
EVENT: dict[str, Any] = {
    "type": "event",
    "attributes": {
        "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
        "properties": {"reward_amount": 20},
    },
}
JSON = {"Content-Type": "application/json"}
SECRET = {"x-omneo-secret": WEBHOOK_SECRET, **JSON}


@pytest.fixture
def targets(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store."""
    world.tenant()
    return load("targets", world.environment)


def signed(body: bytes, secret: str = SIGNING_SECRET) -> dict[str, str]:
    """Return the headers of a body that Omneo signed."""
    return {"X-Omneo-Hmac-SHA256": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(), **JSON}


def an_event(**changes: Any) -> bytes:
    """Return a body whose attributes are changed; None removes one."""
    attributes = {**EVENT["attributes"], **changes}
    return json.dumps({"attributes": {k: v for k, v in attributes.items() if v is not None}}).encode()


def test_a_signed_event_is_queued_and_reaches_klaviyo_once(targets: FlaskClient, world: World) -> None:
    body = json.dumps(EVENT).encode()
    answer = targets.post(PATH, data=body, headers=signed(body))
    assert answer.status_code == 202
    assert answer.get_json()["status"] == "queued"
    world.work(60)
    world.work(60)
    (event,) = world.events()
    assert event.metric == "Reward Issued"
    assert event.unique_id == answer.get_json()["id"]
    assert event.properties == {"reward_amount": 20}


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (EVENT, ""),
        ({"data": EVENT}, ""),
        ({"attributes": EVENT["attributes"]}, ""),
        (
            {
                "token": "canary-public-key",
                "event": "Reward Issued",
                "customer_properties": {"$email": EMAIL},
                "properties": {"reward_amount": 20},
            },
            "",
        ),
        ({"profile": {"email": EMAIL}, "reward_amount": 20}, "?metric=Reward%20Issued"),
    ],
)
def test_every_body_shape_becomes_the_same_event(
    targets: FlaskClient, world: World, body: dict[str, Any], query: str
) -> None:
    assert targets.post(PATH + query, json=body, headers=SECRET).status_code == 202
    world.work()
    (event,) = world.events()
    (profile,) = world.sandbox.klaviyo.profiles("AcmeAc")
    assert (event.metric, event.properties) == ("Reward Issued", {"reward_amount": 20})
    assert profile.attributes["email"] == EMAIL


def test_the_shared_secret_is_as_good_as_a_signature(targets: FlaskClient) -> None:
    assert targets.post(PATH, json=EVENT, headers=SECRET).status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code", "says"),
    [
        # Paths that are none of ours
        ("/", b"", {}, 404, "not_found", ""),
        ("/acme", b"", {}, 404, "not_found", ""),
        ("/tasks/outbound", b"{}", {}, 404, "not_found", ""),
        ("/Acme/api/v1/targets/klaviyo/metric", b"{}", SECRET, 404, "not_found", ""),
        ("/-acme/api/v1/targets/klaviyo/metric", b"{}", SECRET, 404, "not_found", ""),
        ("/acme./api/v1/targets/klaviyo/metric", b"{}", SECRET, 404, "not_found", ""),
        (f"/{'a' * 41}/api/v1/targets/klaviyo/metric", b"{}", SECRET, 404, "not_found", ""),
        (PATH + "/", b"{}", SECRET, 404, "not_found", ""),
        (PATH + "s", b"{}", SECRET, 404, "not_found", ""),
        # Who is calling
        (PATH, b"{}", JSON, 401, "unauthorized", "X-Omneo-Hmac-SHA256"),
        (PATH, b"{}", {**JSON, "x-omneo-secret": ""}, 401, "unauthorized", "x-omneo-secret"),
        (PATH, b"{}", {**JSON, "x-omneo-secret": "canary-wrong"}, 401, "unauthorized", ""),
        (PATH, b"{}", {**JSON, "x-omneo-secret": "\u00fc"}, 401, "unauthorized", ""),
        (PATH, b"{}", signed(b"{ }"), 401, "unauthorized", ""),
        (PATH, b"{}", signed(b"{}", "canary-wrong"), 401, "unauthorized", ""),
        (PATH, b"{}", {**JSON, "X-Omneo-Hmac-SHA256": ""}, 401, "unauthorized", ""),
        (PATH.replace(TENANT, "nobody"), b"{}", SECRET, 401, "unauthorized", ""),
        # What was sent
        (PATH, b"{}", {"x-omneo-secret": WEBHOOK_SECRET}, 415, "unsupported_media_type", "application/json"),
        (PATH, b"{}", {**SECRET, "Content-Type": "text/plain"}, 415, "unsupported_media_type", ""),
        (PATH, b" " * 1_000_001, SECRET, 413, "payload_too_large", "KB"),
        (PATH, b"", SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b'{"reward_amount": }', SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b"\xff\xfe", SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b'{"a": NaN}', SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b'{"a": 1e999}', SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b'{"a": ' + b"9" * 5000 + b"}", SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b"[" * 50_000, SECRET, 400, "invalid_payload", "levels deep"),
        (PATH, b"[" * 40 + b"]" * 40, SECRET, 400, "invalid_payload", "deep"),
        (PATH, b"[]", SECRET, 400, "invalid_payload", "object"),
        (PATH, b"{}", SECRET, 400, "invalid_payload", "attributes"),
        (PATH, b'{"data": []}', SECRET, 400, "invalid_payload", "data"),
        (PATH, an_event(metric=None), SECRET, 400, "invalid_payload", "attributes.metric"),
        (PATH, an_event(profile=None), SECRET, 400, "invalid_payload", "attributes.profile"),
        (
            PATH,
            an_event(profile={"data": {"attributes": {"phone_number": "+61400000000"}}}),
            SECRET,
            400,
            "invalid_payload",
            "attributes.profile.data.id",
        ),
        (PATH, an_event(properties={str(i): i for i in range(401)}), SECRET, 400, "invalid_payload", "400"),
        (PATH, an_event(properties={"a": "x" * 102_401}), SECRET, 400, "invalid_payload", "100 KB"),
        (PATH, an_event(time="1970-01-01T00:00:00Z"), SECRET, 400, "invalid_payload", "attributes.time"),
        (PATH, an_event(value="canary-not-a-number"), SECRET, 400, "invalid_payload", "attributes.value"),
        (
            PATH + "?withToken",
            json.dumps(EVENT).encode(),
            SECRET,
            400,
            "invalid_payload",
            "withToken",
        ),
        (
            PATH + "?withToken=false&withToken=true",
            json.dumps(EVENT).encode(),
            SECRET,
            400,
            "invalid_payload",
            "more than once",
        ),
        (
            PATH + "?withToken=true&withtoken=false",
            json.dumps(EVENT).encode(),
            SECRET,
            400,
            "invalid_payload",
            "more than once",
        ),
        (
            PATH + "?withToken=perhaps",
            json.dumps(EVENT).encode(),
            SECRET,
            400,
            "invalid_payload",
            "withToken",
        ),
    ],
)
def test_refusals(
    targets: FlaskClient,
    world: World,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
    code: str,
    says: str,
) -> None:
    answer = targets.post(path, data=body, headers=dict(headers))
    assert answer.status_code == status
    error = error_of(answer)
    assert error["code"] == code
    assert says in error["message"]
    assert "canary" not in answer.get_data(as_text=True)
    world.work()
    assert world.events() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_with_the_one_that_works(targets: FlaskClient, method: str) -> None:
    answer = targets.open(PATH, method=method, headers=SECRET)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_tenant_without_an_account_is_409(world: World, load: Load) -> None:
    world.tenant(installed=False)
    answer = load("targets", world.environment).post(PATH, json=EVENT, headers=SECRET)
    assert (answer.status_code, error_of(answer)["code"]) == (409, "not_installed")


def test_unknown_tenant_and_wrong_secret_cannot_be_told_apart(targets: FlaskClient) -> None:
    wrong = {"x-omneo-secret": "canary-wrong", **JSON}
    known, unknown = (
        targets.post(path, json=EVENT, headers=wrong) for path in (PATH, PATH.replace("acme", "acne"))
    )
    assert known.get_data() == unknown.get_data()
    assert dict(known.headers) == dict(unknown.headers)


def test_a_rotated_secret_works_at_once_and_the_old_one_until_it_is_ended(
    targets: FlaskClient, world: World
) -> None:
    assert (
        targets.post(PATH, json=EVENT, headers=SECRET).status_code == 202
    )  # the tenant is cached from here on
    new = StoredSecret(value=SecretStr("canary-new-webhook-secret"), created_at=world.clock())
    world.services.tenants.change(
        TENANT, lambda t: t.model_copy(update={"webhook_secrets": (new, *t.webhook_secrets)})
    )
    fresh = {**SECRET, "x-omneo-secret": "canary-new-webhook-secret"}
    assert targets.post(PATH, json=EVENT, headers=fresh).status_code == 202
    assert targets.post(PATH, json=EVENT, headers=SECRET).status_code == 202


def test_a_missing_queue_is_503_and_nothing_is_lost_silently(targets: FlaskClient, world: World) -> None:
    def moved(tenant: Tenant) -> Tenant:
        return tenant.model_copy(
            update={"settings": tenant.settings.model_copy(update={"namespace": "other"})}
        )

    world.services.tenants.change(TENANT, moved)
    answer = targets.post(PATH, json=EVENT, headers=SECRET)
    assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.usefixtures("impatient")
def test_a_queue_that_does_not_answer_is_503(targets: FlaskClient, world: World) -> None:
    world.tasks.stop()
    answer = targets.post(PATH, json=EVENT, headers=SECRET)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_a_store_that_does_not_answer_is_503_and_never_401(world: World, load: Load, tmp_path: Path) -> None:
    broken = with_a_broken_store(world.environment, tmp_path)
    targets = load("targets", broken)
    for headers in (SECRET, JSON):
        answer = targets.post(PATH, json=EVENT, headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")


def test_a_secret_that_no_key_opens_is_503(world: World, load: Load) -> None:
    world.tenant()
    other = "k2:" + "A" * 43 + "="
    answer = load("targets", {**world.environment, "ENCRYPTION_KEYS": other}).post(
        PATH, json=EVENT, headers=SECRET
    )
    assert answer.status_code == 503


def test_a_call_just_too_large_for_a_task_is_413(targets: FlaskClient) -> None:
    properties = {str(i): "x" * 100_000 for i in range(9)} | {"rest": "x" * 95_000}
    body = an_event(properties=properties)
    assert len(body) < 1_000_000
    assert targets.post(PATH, data=body, headers=SECRET).status_code == 413


def test_a_disconnected_tenant_still_accepts_events_for_later(targets: FlaskClient, world: World) -> None:
    def disconnected(tenant: Tenant) -> Tenant:
        assert tenant.klaviyo is not None
        gone = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
        return tenant.model_copy(update={"klaviyo": gone})

    world.services.tenants.change(TENANT, disconnected)
    assert targets.post(PATH, json=EVENT, headers=SECRET).status_code == 202


def test_the_trace_of_the_call_travels_to_the_worker(
    targets: FlaskClient, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    targets.post(PATH, json=EVENT, headers={**SECRET, "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    world.work()
    logged = lines(capfd.readouterr().out)
    traces = {line["message"]: line.get("logging.googleapis.com/trace", "") for line in logged}
    assert traces["call answered"].endswith(trace)
    assert traces["job done"].endswith(trace)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
keys = st.sampled_from(
    ["data", "attributes", "profile", "metric", "properties", "email", "id", "time", "value", "event"]
)
likely = st.recursive(json_values, lambda inner: st.dictionaries(keys, inner, max_size=5), max_leaves=12)
bodies = st.one_of(st.binary(max_size=200), likely.map(lambda value: json.dumps(value).encode()))
segment = st.text(st.sampled_from(string.ascii_letters + string.digits + "-_.~%/ ü\x00"), max_size=30)
paths = st.one_of(
    st.just(PATH),
    # The test client would take what stands behind two strokes for a host.
    segment.map(lambda text: f"/{text.lstrip('/')}"),
    segment.map(lambda text: f"/{text.lstrip('/')}/api/v1/targets/klaviyo/metric"),
    segment.map(lambda text: f"/acme/api/v1/targets/klaviyo/{text}"),
)
header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
headers = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "x-omneo-secret", "X-Omneo-Hmac-SHA256", "traceparent", "Content-Encoding", "Accept"]
    ),
    header_text,
    max_size=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=paths,
    body=bodies,
    extra=headers,
    known=st.booleans(),
    query=st.sampled_from(["", "?metric=Seen", "?withToken=1"]),
)
def test_no_flood_of_malformed_calls_makes_the_function_fail(
    targets: FlaskClient, path: str, body: bytes, extra: dict[str, str], known: bool, query: str
) -> None:
    base = {"Content-Type": "application/json", "x-omneo-secret": WEBHOOK_SECRET} if known else {}
    answer = targets.post(path + query, data=body, headers={**base, **extra})
    assert answer.status_code < 500
