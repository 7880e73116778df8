"""The Klaviyo client as Klaviyo sees it: what stands on the wire, and what becomes of a token that is not accepted."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.local.sandbox import Sandbox
from shared.errors import NotFoundError, RefusedError, ServiceError, TokenRejectedError, WaitError
from shared.http.answers import Problem
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.klaviyo.client import KlaviyoClient, read_problem
from shared.metrics.rules.event import read_metric
from tests.support.world import ACCOUNT, EMAIL, Clock, World

REVISION = "2026-10-15"
BODY = {
    "attributes": {
        "metric": {"data": {"attributes": {"name": "Reward Issued \u2605"}}},
        "profile": {"data": {"attributes": {"email": EMAIL}}},
        "properties": {"amount": 20, "note": "\u00fc\u20ac"},
    }
}


@dataclass
class OneByOne:
    """Gives out the tokens in turn, and remembers which were rejected."""

    tokens: list[str]
    rejected: list[str] = field(default_factory=list)

    def current(self) -> str:
        return self.tokens[0]

    def instead_of(self, rejected: str) -> str:
        self.rejected.append(rejected)
        self.tokens.pop(0)
        return self.tokens[0]


def client(sandbox: Sandbox, *tokens: str) -> tuple[KlaviyoClient, OneByOne]:
    source = OneByOne(list(tokens))
    http = HttpClient("Klaviyo", sandbox.klaviyo.url, read_problem, Connections(), limits=Limits(read=1.0))
    return KlaviyoClient(http, source, REVISION), source


@pytest.fixture
def event(clock: Clock) -> dict[str, Any]:
    """Return an event as the targets function has queued it."""
    return read_metric(BODY, metric_name="", with_token=False, now=clock(), unique_id="job-1").attributes


@pytest.fixture
def token(sandbox: Sandbox) -> str:
    return sandbox.klaviyo.install(ACCOUNT).access_token


def test_create_event_is_the_documented_request(sandbox: Sandbox, token: str, event: dict[str, Any]) -> None:
    klaviyo, _ = client(sandbox, token)
    klaviyo.create_event(event)
    [call] = sandbox.klaviyo.calls.all()
    assert (call.method, call.path, call.query, call.status) == ("POST", "/api/events", "", 202)
    assert call.account == ACCOUNT  # known by the bearer token
    assert call.headers["revision"] == REVISION
    assert call.headers["content-type"] == call.headers["accept"] == "application/vnd.api+json"
    assert json.loads(call.body) == {"data": {"type": "event", "attributes": event}}


def test_klaviyos_own_model_accepts_the_body_on_the_wire(
    sandbox: Sandbox, token: str, event: dict[str, Any]
) -> None:
    from openapi_client.models.event_create_query_v2 import EventCreateQueryV2

    client(sandbox, token)[0].create_event(event)
    [call] = sandbox.klaviyo.calls.all()
    body = json.loads(call.body)
    EventCreateQueryV2.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    [recorded] = sandbox.klaviyo.events(ACCOUNT)
    assert recorded.metric == "Reward Issued \u2605"
    assert recorded.properties == {"amount": 20, "note": "\u00fc\u20ac"}


def test_repeating_an_event_leaves_one(sandbox: Sandbox, token: str, event: dict[str, Any]) -> None:
    klaviyo, _ = client(sandbox, token)
    sandbox.klaviyo.fail(kind="reset", takes_effect=True)
    with pytest.raises(WaitError):
        klaviyo.create_event(event)
    klaviyo.create_event(event)
    assert len(sandbox.klaviyo.events(ACCOUNT)) == 1


def test_a_rejected_token_is_replaced_once_and_the_same_body_sent_again(
    sandbox: Sandbox, token: str, event: dict[str, Any]
) -> None:
    klaviyo, source = client(sandbox, "canary-expired", token)
    klaviyo.create_event(event)
    first, second = sandbox.klaviyo.calls.all()
    assert (first.status, second.status) == (401, 202)
    assert first.body == second.body
    assert source.rejected == ["canary-expired"]
    assert len(sandbox.klaviyo.events(ACCOUNT)) == 1


def test_a_second_rejected_token_is_the_callers_to_judge(sandbox: Sandbox, event: dict[str, Any]) -> None:
    klaviyo, source = client(sandbox, "canary-one", "canary-two", "canary-three")
    with pytest.raises(TokenRejectedError) as failed:
        klaviyo.create_event(event)
    assert failed.value.status == 401
    assert len(sandbox.klaviyo.calls.all()) == 2
    assert source.rejected == ["canary-one"]
    assert "canary" not in str(failed.value)


def test_no_other_failure_is_tried_again_in_the_call(
    sandbox: Sandbox, token: str, event: dict[str, Any]
) -> None:
    klaviyo, source = client(sandbox, token)
    wanted: list[tuple[Callable[[], None], type[ServiceError]]] = [
        (lambda: sandbox.klaviyo.fail(status=400), RefusedError),
        (lambda: sandbox.klaviyo.fail(status=403), RefusedError),
        (lambda: sandbox.klaviyo.fail(status=404), NotFoundError),
        (lambda: sandbox.klaviyo.fail(status=429), WaitError),
        (lambda: sandbox.klaviyo.fail(status=503), WaitError),
        (lambda: sandbox.klaviyo.fail(kind="html403"), WaitError),
        (lambda: sandbox.klaviyo.fail(kind="reset"), WaitError),
    ]
    for count, (fault, kind) in enumerate(wanted, 1):
        fault()
        with pytest.raises(ServiceError) as failed:
            klaviyo.create_event(event)
        assert type(failed.value) is kind
        assert len(sandbox.klaviyo.calls.all()) == count
    assert source.rejected == []


def test_a_failure_of_the_second_try_is_told_as_it_is(
    sandbox: Sandbox, token: str, event: dict[str, Any]
) -> None:
    klaviyo, _ = client(sandbox, "canary-expired", token)
    sandbox.klaviyo.fail(status=401)
    sandbox.klaviyo.fail(status=429)
    with pytest.raises(WaitError) as failed:
        klaviyo.create_event(event)
    assert (failed.value.status, failed.value.retry_after) == (429, 1.0)


def test_a_refusal_names_the_field_and_keeps_the_values_to_itself(
    sandbox: Sandbox, token: str, event: dict[str, Any]
) -> None:
    event["profile"]["data"]["attributes"]["phone_number"] = "canary-0412"
    with pytest.raises(RefusedError) as refused:
        client(sandbox, token)[0].create_event(event)
    pointer = "/data/attributes/profile/data/attributes/phone_number"
    assert str(refused.value) == f"Klaviyo answered 400: invalid at {pointer}"
    assert "Invalid phone number format" in refused.value.detail


def test_a_missing_scope_is_a_refusal_that_says_so(sandbox: Sandbox, event: dict[str, Any]) -> None:
    token = sandbox.klaviyo.install(ACCOUNT, scopes="accounts:read").access_token
    with pytest.raises(RefusedError) as refused:
        client(sandbox, token)[0].create_event(event)
    assert (refused.value.status, refused.value.code) == (403, "permission_denied")
    assert refused.value.detail == "Missing scopes: events:write"


def test_klaviyos_own_limit_says_how_long_to_wait(
    sandbox: Sandbox, token: str, event: dict[str, Any]
) -> None:
    klaviyo, _ = client(sandbox, token)
    for _ in range(350):
        klaviyo.create_event(event)
    with pytest.raises(WaitError) as throttled:
        klaviyo.create_event(event)
    assert (throttled.value.status, throttled.value.code) == (429, "throttled")
    assert throttled.value.retry_after == 1.0


def test_the_client_of_a_tenant_refreshes_a_token_that_klaviyo_has_ended(
    world: World, event: dict[str, Any]
) -> None:
    tenant = world.tenant()
    assert tenant.klaviyo is not None
    world.sandbox.klaviyo.expire(tenant.klaviyo.access_token.get_secret_value())
    world.services.klaviyo(tenant).create_event(event)
    paths = [(call.path, call.status) for call in world.sandbox.klaviyo.calls.all()]
    assert paths == [("/api/events", 401), ("/oauth/token", 200), ("/api/events", 202)]
    assert len(world.events()) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"errors": [{"code": "invalid", "detail": "d", "source": {"pointer": "/data"}}]},
            Problem("invalid", "/data", "d"),
        ),
        ({"errors": [{"title": "t", "source": {"parameter": "filter"}}]}, Problem("", "filter", "")),
        ({"errors": [{"code": "a", "source": None}, {"code": "b"}]}, Problem("a", "", "")),
        ({"errors": [{"code": "a", "detail": ["d"], "id": "r"}]}, Problem("a", "", "['d']", request_id="r")),
    ],
)
def test_the_first_error_of_a_json_api_document_is_read(body: object, expected: Problem) -> None:
    assert read_problem(body) == expected
