"""The sandbox's OAuth install as a browser and the app see it: the consent page, codes, and the way out."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.oauth import SCOPES
from tests.deploy.local.sandbox.times import NOON

CLIENT = ("canary-client-id", "canary-client-secret")
CALLBACK = "http://127.0.0.1:8080/klaviyo/callback"
VERIFIER = "canary-verifier-" + "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
Browse = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(
        clock=lambda: NOON,
        token_prefix="canary-token",
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
    ) as sandbox:
        sandbox.klaviyo.account("WBhXHN", organization_name="Acme <Shoes>")
        sandbox.klaviyo.account("OTHER1", organization_name="Other")
        yield sandbox


@pytest.fixture
def browse(sandbox: Sandbox) -> Browse:
    def browse(form: dict[str, str] | None = None, **changes: Any) -> requests.Response:
        asked = {
            "response_type": "code",
            "client_id": CLIENT[0],
            "redirect_uri": CALLBACK,
            "scope": "accounts:read webhooks:read",
            "state": "canary state",
            "code_challenge_method": "S256",
            "code_challenge": CHALLENGE,
            **changes,
        }
        url = f"{sandbox.klaviyo.url}/oauth/authorize"
        method = "GET" if form is None else "POST"
        return requests.request(method, url, params=asked, data=form, allow_redirects=False, timeout=60)

    return browse


def outcome(answer: requests.Response) -> dict[str, str]:
    """Return the parameters that a redirect carries to the callback."""
    assert answer.status_code == 302
    location = urlsplit(answer.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == CALLBACK
    return {name: values[0] for name, values in parse_qs(location.query).items()}


def consent(browse: Browse, account: str = "WBhXHN", **changes: Any) -> str:
    """Go through the page and return the code."""
    return outcome(browse({"account": account, "decision": "allow"}, **changes))["code"]


def post(sandbox: Sandbox, path: str, form: dict[str, Any], **changes: Any) -> requests.Response:
    named: dict[str, Any] = {"data": form, "auth": CLIENT, **changes}
    return requests.post(f"{sandbox.klaviyo.url}/oauth/{path}", timeout=60, **named)


def exchange(sandbox: Sandbox, issued: str, **changes: Any) -> requests.Response:
    form = {
        "grant_type": "authorization_code",
        "code": issued,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        **changes,
    }
    return post(sandbox, "token", {name: value for name, value in form.items() if value is not None})


def refresh(sandbox: Sandbox, token: str) -> requests.Response:
    return post(sandbox, "token", {"grant_type": "refresh_token", "refresh_token": token})


def account_of(sandbox: Sandbox, access_token: str) -> str | None:
    """Return the account that the token is for, None if it does not work."""
    headers = {"Authorization": f"Bearer {access_token}", "revision": "2026-10-15"}
    sandbox.advance(1)
    answer = requests.get(f"{sandbox.klaviyo.url}/api/accounts", headers=headers, timeout=60)
    return str(answer.json()["data"][0]["id"]) if answer.status_code == 200 else None


class Controls(HTMLParser):
    """Collects what a person can choose on a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str | None]] = []
        self.accounts: list[str | None] = []
        self.buttons: list[tuple[str | None, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "form":
            self.forms.append(named)
        elif tag == "option":
            self.accounts.append(named["value"])
        elif tag == "button":
            self.buttons.append((named["name"], named["value"]))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_asks_for_which_account_the_app_is_allowed(browse: Browse) -> None:
    answer = browse()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Controls(answer.text)
    assert page.forms == [{"method": "post"}]
    assert page.accounts == ["WBhXHN", "OTHER1"]
    assert page.buttons == [("decision", "allow"), ("decision", "deny")]
    assert "Allow Omneo to access Acme <Shoes> (WBhXHN)Other (OTHER1)?" in page.text
    assert "<Shoes>" not in answer.text
    assert "webhooks:read" in page.text


def test_a_consent_becomes_tokens_for_the_account_chosen(sandbox: Sandbox, browse: Browse) -> None:
    sent_back = outcome(browse({"account": "OTHER1", "decision": "allow"}))
    assert set(sent_back) == {"code", "state"}
    assert sent_back["state"] == "canary state"
    answer = exchange(sandbox, sent_back["code"])
    assert answer.status_code == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
    assert body["scope"] == "accounts:read webhooks:read"
    assert account_of(sandbox, body["access_token"]) == "OTHER1"
    assert refresh(sandbox, body["refresh_token"]).json()["refresh_token"] == body["refresh_token"]
    consented, exchanged = sandbox.klaviyo.calls.all()[:2]
    assert (consented.path, consented.account) == ("/oauth/authorize", "OTHER1")
    assert (exchanged.path, exchanged.account) == ("/oauth/token", "OTHER1")


def test_a_refusal_goes_back_without_a_code(browse: Browse) -> None:
    sent_back = outcome(browse({"account": "WBhXHN", "decision": "deny"}))
    assert set(sent_back) == {"error", "error_description", "state"}
    assert (sent_back["error"], sent_back["state"]) == ("access_denied", "canary state")


@pytest.mark.parametrize(
    ("decision", "account", "names"),
    [
        ("allow", "NEWEST", {"code", "state"}),
        ("allow", None, {"code", "state"}),
        ("deny", None, {"error", "error_description", "state"}),
    ],
)
def test_a_switch_decides_at_once_and_for_an_account(
    sandbox: Sandbox, browse: Browse, decision: Any, account: str | None, names: set[str]
) -> None:
    sandbox.klaviyo.oauth.auto_consent = decision
    sandbox.klaviyo.oauth.consent_account = account
    sent_back = outcome(browse())
    assert set(sent_back) == names
    assert sandbox.klaviyo.calls.all()[0].account == (account or "WBhXHN")


def test_a_callback_with_a_query_keeps_it(browse: Browse) -> None:
    sent_back = outcome(browse({"account": "WBhXHN", "decision": "allow"}, redirect_uri=f"{CALLBACK}?kept=1"))
    assert set(sent_back) == {"kept", "code", "state"}


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "canary-other"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example.org/"},
        {"redirect_uri": "javascript:alert(1)//127.0.0.1"},
        {"redirect_uri": f"{CALLBACK}#there"},
        {"redirect_uri": "http://[::1"},
        {"state": ["one", "two"]},
    ],
)
def test_what_cannot_be_trusted_is_told_on_a_page(browse: Browse, changes: dict[str, Any]) -> None:
    answer = browse({"account": "WBhXHN", "decision": "allow"}, **changes)
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert answer.headers["Content-Type"].startswith("text/html")


def test_the_apps_list_of_callbacks_is_exact(sandbox: Sandbox, browse: Browse) -> None:
    sandbox.klaviyo.oauth.redirect_uris = ["https://extension.example.org/klaviyo/callback"]
    assert browse().status_code == 400
    assert browse(redirect_uri="https://extension.example.org/klaviyo/callback").status_code == 200
    assert browse(redirect_uri="https://extension.example.org/klaviyo/callback/").status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "accounts:read coupons:read"}, "invalid_scope"),
        ({"state": None}, "invalid_request"),
        ({"state": ""}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge": CHALLENGE[:-1]}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
    ],
)
def test_a_request_that_is_wrong_goes_back_without_asking(
    browse: Browse, changes: dict[str, Any], error: str
) -> None:
    sent_back = outcome(browse(**changes))
    assert sent_back["error"] == error
    assert sent_back["error_description"]
    assert sent_back.get("state") == (None if not changes.get("state", "kept") else "canary state")


def test_the_scopes_of_the_app_can_be_set(sandbox: Sandbox, browse: Browse) -> None:
    assert browse(scope=SCOPES).status_code == 200
    sandbox.klaviyo.oauth.app_scopes = "accounts:read"
    assert outcome(browse(scope=SCOPES))["error"] == "invalid_scope"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"account": "WBhXHN"},
        {"account": "WBhXHN", "decision": "maybe"},
        {"account": "NOBODY", "decision": "allow"},
        {"decision": "deny"},
    ],
)
def test_a_form_that_chooses_nothing_is_400(browse: Browse, form: dict[str, str]) -> None:
    assert browse(form).status_code == 400


def test_without_an_account_there_is_nothing_to_choose(sandbox: Sandbox, browse: Browse) -> None:
    sandbox.klaviyo.reset()
    assert browse().status_code == 400
    sandbox.klaviyo.oauth.auto_consent = "allow"
    assert browse().status_code == 400


def test_a_code_is_used_once_and_its_tokens_stay(sandbox: Sandbox, browse: Browse) -> None:
    code = consent(browse)
    tokens = exchange(sandbox, code).json()
    again = exchange(sandbox, code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert refresh(sandbox, tokens["refresh_token"]).status_code == 200


def test_a_code_is_used_up_even_if_the_answer_was_lost(sandbox: Sandbox, browse: Browse) -> None:
    code = consent(browse)
    sandbox.klaviyo.fail(match="POST /oauth/token", kind="reset", takes_effect=True)
    with pytest.raises(requests.ConnectionError):
        exchange(sandbox, code)
    assert exchange(sandbox, code).json()["error"] == "invalid_grant"


def test_a_code_lives_five_minutes(sandbox: Sandbox, browse: Browse) -> None:
    early, late = consent(browse), consent(browse)
    sandbox.advance(299)
    assert exchange(sandbox, early).status_code == 200
    sandbox.advance(1)
    assert exchange(sandbox, late).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"code": None}, "invalid_request", 'Missing "code" in request.'),
        ({"code": "canary-unknown"}, "invalid_grant", 'Invalid "code" in request.'),
        ({"redirect_uri": f"{CALLBACK}/"}, "invalid_grant", 'Invalid "redirect_uri" in request.'),
        ({"redirect_uri": None}, "invalid_grant", 'Invalid "redirect_uri" in request.'),
        ({"code_verifier": None}, "invalid_request", 'Missing "code_verifier"'),
        ({"code_verifier": "v" * 42}, "invalid_request", 'Invalid "code_verifier"'),
        ({"code_verifier": "v" * 129}, "invalid_request", 'Invalid "code_verifier"'),
        ({"code_verifier": VERIFIER + "\n"}, "invalid_request", 'Invalid "code_verifier"'),
        ({"code_verifier": VERIFIER + "/"}, "invalid_request", 'Invalid "code_verifier"'),
        ({"code_verifier": VERIFIER + "v"}, "invalid_grant", "Code challenge failed."),
        ({"code_verifier": CHALLENGE}, "invalid_grant", "Code challenge failed."),
    ],
)
def test_an_exchange_that_does_not_fit_is_refused_and_may_be_corrected(
    sandbox: Sandbox, browse: Browse, changes: dict[str, Any], error: str, description: str
) -> None:
    code = consent(browse)
    answer = exchange(sandbox, code, **changes)
    assert answer.status_code == 400
    assert answer.json() == {"error": error, "error_description": description}
    assert exchange(sandbox, code).status_code == 200


def test_a_code_belongs_to_the_client_it_was_given_to(sandbox: Sandbox, browse: Browse) -> None:
    code = consent(browse)
    sandbox.klaviyo.oauth.client_id = "canary-other"
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    other = post(sandbox, "token", form, auth=("canary-other", CLIENT[1]))
    assert (other.status_code, other.json()["error"]) == (400, "invalid_grant")
    assert exchange(sandbox, code).json()["error"] == "invalid_client"


@pytest.mark.parametrize(("ends_older", "status"), [(False, 200), (True, 400)])
def test_an_install_again_gives_another_refresh_token_and_the_older_stays_unless_switched(
    sandbox: Sandbox, browse: Browse, ends_older: bool, status: int
) -> None:
    sandbox.klaviyo.oauth.reinstall_ends_older = ends_older
    first, other = exchange(sandbox, consent(browse)).json(), sandbox.klaviyo.install("OTHER1")
    second = exchange(sandbox, consent(browse)).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert refresh(sandbox, first["refresh_token"]).status_code == status
    assert refresh(sandbox, second["refresh_token"]).status_code == 200
    assert refresh(sandbox, other.refresh_token).status_code == 200


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("refresh_token", {"token_type_hint": "refresh_token"}), ("refresh_token", {}), ("access_token", {"token_type_hint": "access_token"})],
)  # fmt: skip
def test_a_revocation_disconnects_the_app_in_that_account_alone(
    sandbox: Sandbox, browse: Browse, kind: str, hint: dict[str, str]
) -> None:
    older = sandbox.klaviyo.install("WBhXHN")
    tokens, other = exchange(sandbox, consent(browse)).json(), sandbox.klaviyo.install("OTHER1")
    answer = post(sandbox, "revoke", {"token": tokens[kind], **hint})
    assert (answer.status_code, answer.content) == (200, b"")
    for access, fresh in (
        (tokens["access_token"], tokens["refresh_token"]),
        (older.access_token, older.refresh_token),
    ):
        assert account_of(sandbox, access) is None
        assert refresh(sandbox, fresh).json()["error"] == "invalid_grant"
    assert account_of(sandbox, other.access_token) == "OTHER1"


@pytest.mark.parametrize(
    ("form", "changes", "status", "error"),
    [
        ({"token": "t"}, {"auth": None}, 401, "invalid_client"),
        ({"token": "t"}, {"auth": (CLIENT[0], "wrong")}, 401, "invalid_client"),
        ({}, {}, 400, "invalid_request"),
        ({"token": ""}, {}, 400, "invalid_request"),
        ({}, {"json": {"token": "t"}}, 400, "invalid_request"),
        ({"token": "t", "token_type_hint": "id_token"}, {}, 400, "unsupported_token_type"),
    ],
)
def test_a_revocation_that_is_wrong_is_refused(
    sandbox: Sandbox, form: dict[str, str], changes: dict[str, Any], status: int, error: str
) -> None:
    answer = post(sandbox, "revoke", form, **changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_token_that_nobody_knows_is_revoked_without_complaint(sandbox: Sandbox) -> None:
    known = sandbox.klaviyo.install("WBhXHN")
    assert post(sandbox, "revoke", {"token": "canary-unknown"}).status_code == 200
    assert account_of(sandbox, known.access_token) == "WBhXHN"


@pytest.mark.parametrize(("method", "path"), [("GET", "revoke"), ("PUT", "authorize"), ("GET", "token")])
def test_a_wrong_method_is_405(sandbox: Sandbox, method: str, path: str) -> None:
    assert requests.request(method, f"{sandbox.klaviyo.url}/oauth/{path}", timeout=60).status_code == 405
