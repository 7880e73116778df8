"""Klaviyo's token endpoint: the request it is sent, and which of its answers mean that the installation is over."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.faults import Kind
from shared.errors import GrantRefusedError, ServiceError, WaitError
from shared.http.answers import Problem
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.klaviyo.oauth import LONGEST_LIFE, KlaviyoApp, KlaviyoOAuth, TokenAnswer, read_problem
from tests.support.world import ACCOUNT

CLIENT_ID = "sandbox-client-id"
CLIENT_SECRET = "canary-client-secret"
REFRESH = "canary-refresh"
URL = "http://klaviyo.invalid"
TOKENS = {
    "access_token": "canary-access",
    "token_type": "bearer",
    "expires_in": 3600,
    "refresh_token": "canary-refresh-2",
    "scope": "events:write",
}


def oauth(url: str, client_id: str = CLIENT_ID, secret: str = CLIENT_SECRET) -> KlaviyoOAuth:
    http = HttpClient("Klaviyo", url, read_problem, Connections(), limits=Limits(read=0.3, total=0.6))
    return KlaviyoOAuth(http, KlaviyoApp(client_id, SecretStr(secret)))


def answered(status: int, body: object, **headers: str) -> TokenAnswer:
    """Return what a refresh makes of this answer."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    with responses.RequestsMock() as mock:
        mock.add(responses.POST, f"{URL}/oauth/token", status=status, body=raw, headers=headers)
        return oauth(URL).refresh(REFRESH)


def failure(status: int, body: object, **headers: str) -> ServiceError:
    with pytest.raises(ServiceError) as failed:
        answered(status, body, **headers)
    assert "canary" not in str(failed.value)
    return failed.value


def test_a_refresh_is_the_form_and_the_basic_credential_of_rfc_6749() -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.POST, f"{URL}/oauth/token", json=TOKENS)
        answer = oauth(URL, "id", "canary:with:colons").refresh("canary+/=&refresh \u00fc")
        request = mock.calls[0].request
    assert (request.method, request.url) == ("POST", f"{URL}/oauth/token")
    assert isinstance(request.body, bytes)
    form = parse_qs(request.body.decode(), strict_parsing=True)
    assert form == {"grant_type": ["refresh_token"], "refresh_token": ["canary+/=&refresh \u00fc"]}
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    scheme, _, pair = str(request.headers["Authorization"]).partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(pair).decode() == "id:canary:with:colons"
    assert "revision" not in request.headers
    assert answer.access_token.get_secret_value() == "canary-access"
    assert answer.refresh_token.get_secret_value() == "canary-refresh-2"
    assert (answer.expires_in, answer.scope) == (3600, "events:write")


@pytest.mark.parametrize("rotates", [False, True])
def test_the_sandbox_trades_a_refresh_token_for_new_tokens(sandbox: Sandbox, rotates: bool) -> None:
    sandbox.klaviyo.oauth.rotates = rotates
    first = sandbox.klaviyo.install(ACCOUNT)
    answer = oauth(sandbox.klaviyo.url).refresh(first.refresh_token)
    assert answer.access_token.get_secret_value() != first.access_token
    assert (answer.refresh_token.get_secret_value() != first.refresh_token) is rotates
    assert sandbox.klaviyo.calls.all()[0].account == ACCOUNT


@pytest.mark.parametrize(("docs_spelling", "code"), [(False, "invalid_grant"), (True, "invalid_grant_type")])
def test_a_dead_grant_is_known_by_both_spellings(sandbox: Sandbox, docs_spelling: bool, code: str) -> None:
    sandbox.klaviyo.oauth.docs_spelling = docs_spelling
    tokens = sandbox.klaviyo.install(ACCOUNT)
    sandbox.klaviyo.revoke(tokens.refresh_token)
    with pytest.raises(GrantRefusedError) as refused:
        oauth(sandbox.klaviyo.url).refresh(tokens.refresh_token)
    error = refused.value
    assert (error.service, error.status, error.code) == ("Klaviyo", 400, code)
    assert str(error) == f"Klaviyo's token endpoint answered 400: {code}"
    assert error.detail == "The refresh token is invalid."


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_dead_grant_is_known_by_its_word_whatever_the_status(status: int) -> None:
    assert type(failure(status, {"error": "invalid_grant"})) is GrantRefusedError


@pytest.mark.parametrize(("client_id", "secret"), [("other", CLIENT_SECRET), (CLIENT_ID, "canary-wrong")])
def test_our_own_credentials_being_wrong_costs_no_merchant_the_installation(
    sandbox: Sandbox, client_id: str, secret: str
) -> None:
    tokens = sandbox.klaviyo.install(ACCOUNT)
    with pytest.raises(WaitError, match="401: invalid_client"):
        oauth(sandbox.klaviyo.url, client_id, secret).refresh(tokens.refresh_token)


@pytest.mark.parametrize(
    "code",
    [
        "invalid_client",
        "unauthorized_client",
        "invalid_request",
        "invalid_scope",
        "unsupported_grant_type",
    ],
)
@pytest.mark.parametrize("status", [400, 401])
def test_any_other_refusal_waits(status: int, code: str) -> None:
    error = failure(status, {"error": code, "error_description": "canary"})
    assert type(error) is WaitError
    assert (error.code, error.detail) == (code, "canary")


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 409, 410, 429, 500, 502, 503])
@pytest.mark.parametrize(
    "body",
    ["<html>canary invalid_grant</html>", "", "[]", "null", '"invalid_grant"', '{"errors": [{"code": "invalid_grant"}]}',
     '{"error": ["invalid_grant"]}', '{"error": {"code": "invalid_grant"}}', '{"error": null}', "{"],
    ids=["html", "empty", "list", "null", "text", "json-api", "listed", "nested", "no-code", "broken"],
)  # fmt: skip
def test_an_answer_in_an_unknown_form_waits_and_never_ends_an_installation(status: int, body: str) -> None:
    error = failure(status, body)
    assert type(error) is WaitError
    assert error.service == "Klaviyo"


@pytest.mark.parametrize(
    "body", ["<html>", "", "{}", '{"error": {"code": 1}}', '{"errors": [{"code": "invalid_grant"}]}']
)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_is_not_the_token_endpoints_own_refusal_waits_and_disconnects_nobody(
    status: int, body: str
) -> None:
    error = failure(status, body)
    assert type(error) is WaitError
    assert error.status == status


def test_a_refusal_with_an_empty_code_says_so() -> None:
    assert str(failure(400, '{"error": ""}')) == "Klaviyo's token endpoint answered 400: no reason given"


def test_too_many_refreshes_wait_as_long_as_klaviyo_asks(sandbox: Sandbox) -> None:
    sandbox.klaviyo.oauth.refreshes_per_minute = 1
    tokens = sandbox.klaviyo.install(ACCOUNT)
    oauth(sandbox.klaviyo.url).refresh(tokens.refresh_token)
    with pytest.raises(WaitError) as throttled:
        oauth(sandbox.klaviyo.url).refresh(tokens.refresh_token)
    assert throttled.value.status == 429
    assert throttled.value.retry_after is not None
    assert 0 < throttled.value.retry_after <= 60


@pytest.mark.parametrize("kind", ["reset", "hang", "drip", "html403", "truncated", "empty", "broken_json"])
def test_no_fault_of_the_wire_ends_an_installation(sandbox: Sandbox, kind: Kind) -> None:
    tokens = sandbox.klaviyo.install(ACCOUNT)
    sandbox.klaviyo.fail(kind=kind, seconds=2)
    with pytest.raises(WaitError):
        oauth(sandbox.klaviyo.url).refresh(tokens.refresh_token)


WRONG: list[dict[str, Any]] = [
    {"access_token": None}, {"access_token": ""}, {"access_token": 7}, {"refresh_token": None}, {"refresh_token": ""},
    {"refresh_token": ["canary"]}, {"expires_in": None}, {"expires_in": 0}, {"expires_in": -1}, {"expires_in": "soon"},
    {"expires_in": 1.5}, {"expires_in": LONGEST_LIFE + 1}, {"expires_in": 10**30}, {"scope": 7},
]  # fmt: skip


@pytest.mark.parametrize(
    "change", WRONG, ids=[f"{name}-{index}" for index, row in enumerate(WRONG) for name in row]
)
def test_an_answer_that_cannot_be_used_waits_and_repeats_none_of_it(change: dict[str, Any]) -> None:
    error = failure(200, {**TOKENS, **change})
    assert str(error) == "Klaviyo's token endpoint answered without usable tokens"
    assert error.__suppress_context__  # the validation error would quote the tokens


@pytest.mark.parametrize("missing", ["access_token", "refresh_token", "expires_in"])
def test_an_answer_that_lacks_what_is_needed_waits(missing: str) -> None:
    error = failure(200, {name: value for name, value in TOKENS.items() if name != missing})
    assert type(error) is WaitError


def test_an_answer_may_say_more_or_less_than_is_needed() -> None:
    bare = {name: value for name, value in TOKENS.items() if name not in ("scope", "token_type")}
    assert answered(200, {**bare, "expires_in": "3600", "new": {"a": 1}}).expires_in == 3600
    assert answered(200, bare).scope == ""
    assert answered(200, {**TOKENS, "expires_in": LONGEST_LIFE}).expires_in == LONGEST_LIFE


def test_tokens_do_not_show_themselves() -> None:
    answer = TokenAnswer.model_validate(TOKENS)
    app = KlaviyoApp("id", SecretStr(CLIENT_SECRET))
    assert "canary" not in repr(answer) + str(answer) + repr(app) + str(app)


def test_an_rfc_6749_error_is_read() -> None:
    assert read_problem({"error": "invalid_grant"}) == Problem("invalid_grant")
    assert read_problem({"error": "x", "error_description": "why"}) == Problem("x", "", "why")
