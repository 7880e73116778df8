"""What an install asks of Klaviyo: each request as it stands on the wire, and what becomes of answers that make no sense."""

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.record import Call
from shared.errors import GrantRefusedError, NotFoundError, RefusedError, TokenRejectedError, WaitError
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.klaviyo import oauth as klaviyo_oauth
from shared.klaviyo.client import Account, FixedToken, KlaviyoClient, read_problem
from shared.klaviyo.oauth import KlaviyoApp, KlaviyoOAuth
from shared.klaviyo.resources import DATA_SOURCES, SCOPES, SYSTEM_TOPICS
from tests.support.world import ACCOUNT, Clock

URL = "http://klaviyo.invalid"
TOKEN = "canary-access"
SECRET = SecretStr("canary-secret-of-16-characters")
ENDPOINT = "https://extension.example.org/acme/api/v1/webhooks/klaviyo/system"
TOPICS = ["event:klaviyo.subscribed_to_list", "event:klaviyo.bounced_email"]
VERIFIER = "canary-verifier-" + "v" * 40
REDIRECT = "https://extension.example.org/klaviyo/callback"

Make = Callable[[KlaviyoClient], Any]


def client(url: str, token: str = TOKEN) -> KlaviyoClient:
    http = HttpClient("Klaviyo", url, read_problem, Connections(), limits=Limits(read=0.5, total=1.0))
    return KlaviyoClient(http, FixedToken(SecretStr(token)), "2026-10-15")


@pytest.fixture
def klaviyo(sandbox: Sandbox) -> KlaviyoClient:
    return client(sandbox.klaviyo.url, sandbox.klaviyo.install(ACCOUNT).access_token)


def sent(sandbox: Sandbox) -> Call:
    """Return the last call, after checking what every call has."""
    call = sandbox.klaviyo.calls.all()[-1]
    assert call.headers["revision"] == "2026-10-15"
    assert call.headers["accept"] == "application/vnd.api+json"
    assert ("content-type" in call.headers) == bool(call.body)
    return call


def test_klaviyos_own_model_accepts_a_new_data_source(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    from openapi_client.models.data_source_create_query import DataSourceCreateQuery

    for title, description in list(DATA_SOURCES.items())[:3]:
        id = klaviyo.create_data_source(title, description)
        call = sent(sandbox)
        assert (call.method, call.path, call.status) == ("POST", "/api/data-sources", 201)
        body = json.loads(call.body)
        DataSourceCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
        assert sandbox.klaviyo.data_sources(ACCOUNT)[-1].id == id
    assert all(1 <= len(title) <= 255 for title in DATA_SOURCES)


def test_klaviyos_own_model_accepts_a_new_webhook(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    from openapi_client.models.webhook_create_query import WebhookCreateQuery

    id = klaviyo.create_webhook("Omneo acme", ENDPOINT, SECRET, TOPICS)
    call = sent(sandbox)
    assert (call.method, call.path, call.status) == ("POST", "/api/webhooks", 201)
    body = json.loads(call.body)
    WebhookCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    (webhook,) = sandbox.klaviyo.webhooks(ACCOUNT)
    assert (webhook.id, webhook.endpoint_url, sorted(webhook.topics)) == (id, ENDPOINT, sorted(TOPICS))
    assert webhook.secret_key == SECRET.get_secret_value()


def test_klaviyos_own_model_accepts_a_changed_webhook(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    from openapi_client.models.webhook_partial_update_query import WebhookPartialUpdateQuery

    id = klaviyo.create_webhook("Omneo acme", ENDPOINT, SECRET, TOPICS)
    sandbox.klaviyo.disable_webhook(ACCOUNT, id)
    newer = SecretStr("canary-newer-secret-of-16")
    klaviyo.update_webhook(id, "Omneo other", f"{ENDPOINT}/x", newer, TOPICS[:1])
    call = sent(sandbox)
    assert (call.method, call.path, call.status) == ("PATCH", f"/api/webhooks/{id}", 200)
    WebhookPartialUpdateQuery.model_validate(
        json.loads(call.body), extra="forbid", by_alias=True, by_name=False
    )
    (webhook,) = sandbox.klaviyo.webhooks(ACCOUNT)
    assert (webhook.name, webhook.enabled, webhook.topics) == ("Omneo other", True, TOPICS[:1])
    assert webhook.secret_key == newer.get_secret_value()


def test_a_webhook_is_listed_with_its_topics_and_without_its_secret(
    sandbox: Sandbox, klaviyo: KlaviyoClient
) -> None:
    id = klaviyo.create_webhook("Omneo acme", ENDPOINT, SECRET, TOPICS)
    sandbox.klaviyo.disable_webhook(ACCOUNT, id)
    (listed,) = klaviyo.webhooks()
    assert (listed.id, listed.name, listed.enabled, listed.topics) == (
        id,
        "Omneo acme",
        False,
        frozenset(TOPICS),
    )


def test_a_webhook_that_is_gone_is_said_to_be(klaviyo: KlaviyoClient, clock: Clock) -> None:
    klaviyo.delete_webhook(klaviyo.create_webhook("Omneo acme", ENDPOINT, SECRET, TOPICS))
    clock.advance(1)
    with pytest.raises(NotFoundError):
        klaviyo.delete_webhook("01ABC")
    with pytest.raises(NotFoundError):
        klaviyo.update_webhook("01ABC", "x", ENDPOINT, SECRET, TOPICS)


def test_an_id_cannot_name_another_address(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    for id in ("../events", "a/b", "a?b=c", "a#b"):
        with pytest.raises((RefusedError, WaitError)):
            klaviyo.delete_webhook(id)
    paths = [call.path for call in sandbox.klaviyo.calls.all()]
    assert all(path.startswith("/api/webhooks/") and path.count("/") == 3 for path in paths)


def test_the_topics_that_are_wanted_are_among_those_offered(klaviyo: KlaviyoClient) -> None:
    assert klaviyo.webhook_topics() >= SYSTEM_TOPICS


def test_the_account_is_read_whole(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    sandbox.klaviyo.account(ACCOUNT, organization_name="Acme", timezone="Europe/Paris", country="France")
    assert klaviyo.account() == Account(id=ACCOUNT, name="Acme", timezone="Europe/Paris", country="France")
    assert (sent(sandbox).method, sent(sandbox).path, sent(sandbox).query) == ("GET", "/api/accounts", "")


def test_data_sources_are_read_page_by_page(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    made = {
        (source := sandbox.klaviyo.data_source(ACCOUNT, f"Title {n} \u2605")).title: source.id
        for n in range(201)
    }
    assert klaviyo.data_sources() == made
    pages = [dict(parse_qsl(call.query)) for call in sandbox.klaviyo.calls.all()]
    assert [page["page[size]"] for page in pages] == ["100"] * 3
    assert "page[cursor]" not in pages[0]


def test_a_fixed_token_that_is_not_accepted_is_the_callers_to_judge(sandbox: Sandbox) -> None:
    with pytest.raises(TokenRejectedError):
        client(sandbox.klaviyo.url).account()


CALLS: list[Make] = [
    lambda klaviyo: klaviyo.account(),
    lambda klaviyo: klaviyo.data_sources(),
    lambda klaviyo: klaviyo.create_data_source("title", ""),
    lambda klaviyo: klaviyo.webhook_topics(),
    lambda klaviyo: klaviyo.webhooks(),
    lambda klaviyo: klaviyo.create_webhook("name", ENDPOINT, SECRET, TOPICS),
]
NONSENSE: list[object] = [
    None,
    [],
    "canary",
    5,
    {},
    {"data": None},
    {"data": "canary"},
    {"data": 5},
    {"data": ["canary"]},
    {"data": [None]},
    {"data": [[]]},
    {"data": [{}]},
    {"data": {"data": {}}},
    {"data": [{"id": ["canary"], "attributes": "canary"}]},
    {"data": [{"id": 7, "attributes": {"contact_information": "canary", "title": []}}]},
    {"data": [{"id": "canary", "attributes": {"title": {}, "contact_information": {"street_address": 1}}}]},
]


@pytest.mark.parametrize("make", CALLS, ids=["account", "sources", "source", "topics", "webhooks", "webhook"])
@pytest.mark.parametrize("body", NONSENSE, ids=str)
def test_an_answer_that_makes_no_sense_waits_and_repeats_none_of_it(make: Make, body: object) -> None:
    """Or is read, where what is needed happens to be there; no other error may come out."""
    with responses.RequestsMock() as mock:
        for method in (responses.GET, responses.POST):
            for path in ("accounts", "data-sources", "webhook-topics", "webhooks"):
                mock.add(method, f"{URL}/api/{path}", json=body)
        mock.assert_all_requests_are_fired = False
        said = "read"
        try:
            make(client(URL))
        except WaitError as error:
            said = str(error)
    assert said in ("read", "Klaviyo answered with what cannot be read", "Klaviyo answered without a body")


@pytest.mark.parametrize(
    "link",
    [
        5,
        ["x"],
        "http://[",
        "https://a.klaviyo.com/api/data-sources?page%5Bcursor%5D=same",
        "https://a.klaviyo.com/",
    ],
    ids=str,
)
def test_a_next_page_that_cannot_be_followed_or_leads_in_a_circle_ends(link: object) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/data-sources", json={"data": [], "links": {"next": link}})
        with pytest.raises(WaitError):
            client(URL).data_sources()
        assert len(mock.calls) <= 2


# OAuth.


def oauth(url: str) -> KlaviyoOAuth:
    http = HttpClient("Klaviyo", url, klaviyo_oauth.read_problem, Connections(), limits=Limits(read=0.5))
    return KlaviyoOAuth(http, KlaviyoApp("sandbox-client-id", SecretStr("canary-client-secret")))


def test_the_authorize_address_asks_for_exactly_what_is_documented() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # with its challenge, from RFC 7636, appendix B
    url = oauth(URL).authorize_url(
        "https://www.klaviyo.com/oauth/authorize", redirect_uri=REDIRECT, state="s&t=u", verifier=verifier
    )
    assert url.startswith("https://www.klaviyo.com/oauth/authorize?")
    assert parse_qs(urlsplit(url).query, strict_parsing=True) == {
        "response_type": ["code"],
        "client_id": ["sandbox-client-id"],
        "redirect_uri": [REDIRECT],
        "scope": [" ".join(SCOPES)],
        "state": ["s&t=u"],
        "code_challenge_method": ["S256"],
        "code_challenge": ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"],
    }
    assert verifier not in url


def a_code(sandbox: Sandbox, verifier: str = VERIFIER) -> str:
    """Return a code that the merchant's consent has made."""
    sandbox.klaviyo.oauth.redirect_uris = [REDIRECT]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "scope": " ".join(SCOPES),
        "client_id": "sandbox-client-id",
        "redirect_uri": REDIRECT,
        "code_challenge": challenge,
    }
    return sandbox.klaviyo.oauth.issue_code(ACCOUNT, asked)


def test_a_code_becomes_tokens_that_work_once(sandbox: Sandbox) -> None:
    code = a_code(sandbox)
    trader = oauth(sandbox.klaviyo.url)
    answer = trader.exchange(code, redirect_uri=REDIRECT, verifier=VERIFIER)
    token = answer.access_token.get_secret_value()
    assert client(sandbox.klaviyo.url, token).account().id == ACCOUNT
    assert set(answer.scope.split()) == set(SCOPES)
    with pytest.raises(GrantRefusedError) as caught:
        trader.exchange(code, redirect_uri=REDIRECT, verifier=VERIFIER)
    assert "canary" not in str(caught.value)


def test_a_code_is_bound_to_its_verifier_and_its_redirect_address(sandbox: Sandbox) -> None:
    trader = oauth(sandbox.klaviyo.url)
    with pytest.raises(GrantRefusedError):
        trader.exchange(a_code(sandbox), redirect_uri=REDIRECT, verifier="x" * 43)
    with pytest.raises(GrantRefusedError):
        trader.exchange(a_code(sandbox), redirect_uri=f"{REDIRECT}x", verifier=VERIFIER)
    with pytest.raises(WaitError):  # malformed is our own mistake, and no merchant's
        trader.exchange(a_code(sandbox), redirect_uri=REDIRECT, verifier="short")


def test_the_exchange_is_the_form_of_rfc_6749(sandbox: Sandbox) -> None:
    code = a_code(sandbox)
    oauth(sandbox.klaviyo.url).exchange(code, redirect_uri=REDIRECT, verifier=VERIFIER)
    (call,) = sandbox.klaviyo.calls.all()
    assert (call.path, call.query) == ("/oauth/token", "")
    assert dict(parse_qsl(call.body.decode())) == {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    assert "revision" not in call.headers


def test_a_revoked_installation_is_over_and_revoking_it_again_is_fine(sandbox: Sandbox) -> None:
    tokens = sandbox.klaviyo.install(ACCOUNT)
    for _ in range(2):
        oauth(sandbox.klaviyo.url).revoke(tokens.refresh_token)
    with pytest.raises(TokenRejectedError):
        client(sandbox.klaviyo.url, tokens.access_token).account()


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (400, "invalid_grant", None),
        (401, "invalid_client", WaitError),
        (400, "invalid_client", WaitError),
        (400, "invalid_request", RefusedError),
        (403, "", RefusedError),
        (503, "", WaitError),
    ],
)
def test_a_revocation_that_failed_is_told_apart_from_one_that_was_not_needed(
    sandbox: Sandbox, status: int, error: str, told: type[Exception] | None
) -> None:
    tokens = sandbox.klaviyo.install(ACCOUNT)
    sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=status, body={"error": error})
    with pytest.raises(told) if told else nullcontext():
        oauth(sandbox.klaviyo.url).revoke(tokens.refresh_token)
