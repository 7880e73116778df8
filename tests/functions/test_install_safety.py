"""What the install shows and where it sends a browser: no address, markup or secret but those that belong there, whatever is sent."""

import io
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from shared.installation.links import InstallLinks
from shared.services import Services
from shared.settings import Settings
from tests.support.loading import CHUNKED, Load
from tests.support.merchant import (
    CALLBACK,
    HOST,
    Merchant,
    app_of,
    field,
    query_of,
    title,
)
from tests.support.world import ACCOUNT, EVERYTHING, EXTENSION_URL, INSTALLATION_KEY, TENANT, World

EVIL = "https://evil.example.net"
PARAMETERS = [
    "redirect_uri",
    "next",
    "link",
    "state",
    "tenant",
    "return_to",
    "url",
    "code",
    "error",
    "client_id",
    "scope",
]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [EVIL, "//evil.example.net", "\r\nLocation: https://evil.example.net"])
def test_no_parameter_sends_the_browser_elsewhere(
    merchant: Merchant, world: World, name: str, value: str
) -> None:
    page = merchant.get(f"/klaviyo/install?{name}={quote(value)}")
    assert "Location" not in page.headers
    assert 'href="https://evil' not in page.get_data(as_text=True)
    form = {"tenant": TENANT, "installation_key": INSTALLATION_KEY, name: value}
    begun = merchant.post(f"/klaviyo/install?{name}={quote(value)}", **form)
    if name not in ("link", "tenant"):
        assert at_klaviyo(begun, world)
        assert query_of(begun.headers["Location"])["redirect_uri"] == CALLBACK
    else:
        assert "Location" not in begun.headers
    assert "Location" not in merchant.get(f"/klaviyo/callback?{name}={quote(value)}").headers


def at_klaviyo(answer: TestResponse, world: World) -> bool:
    """Return whether the answer sends the browser to Klaviyo's authorize page."""
    return answer.status_code == 302 and answer.headers["Location"].startswith(
        f"{world.sandbox.klaviyo.url}/oauth/authorize?response_type=code&"
    )


def test_the_host_header_does_not_decide_where_klaviyo_answers(app: Flask, world: World) -> None:
    answer = app.test_client().post(
        "/klaviyo/install",
        base_url=EVIL,
        data={"tenant": TENANT, "installation_key": INSTALLATION_KEY},
        headers={"Origin": EXTENSION_URL, "X-Forwarded-Host": "evil.example.net"},
    )
    assert query_of(answer.headers["Location"])["redirect_uri"] == CALLBACK


MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"


def test_text_from_outside_is_never_markup(merchant: Merchant, world: World) -> None:
    world.sandbox.klaviyo.account(ACCOUNT, organization_name=MARKUP)
    asked = merchant.come_back(merchant.begin())
    pages = [
        asked,
        merchant.begin(MARKUP),
        merchant.get("/klaviyo/install", link=MARKUP),
        merchant.get("/klaviyo/install", tenant=MARKUP, problem=MARKUP),
        merchant.get("/klaviyo/callback", error=MARKUP, error_description=MARKUP, state=MARKUP),
        merchant.post("/klaviyo/confirm", confirmation=MARKUP, decision=MARKUP),
        merchant.confirm(field(asked, "confirmation")),
    ]
    assert title(pages[0]) == f"Connect Klaviyo account {MARKUP} to Omneo tenant {TENANT}?"
    for page in pages:
        html = page.get_data(as_text=True)
        assert page.mimetype == "text/html"
        assert not re.search(r"<img|<script>|onerror=alert\(1\)>\"|>49<", html)
        assert len(re.findall("<script", html)) == len(re.findall(r'<script nonce="[\w-]{22}">', html))


def test_a_reason_that_a_step_failed_for_is_data_and_no_markup(merchant: Merchant, world: World) -> None:
    body = {"errors": [{"code": MARKUP, "detail": MARKUP, "source": {"pointer": MARKUP}}]}
    merchant.install()
    world.sandbox.klaviyo.fail(1, match="POST /api/data-sources", status=400, body=body)
    world.work(1)
    progress = merchant.get("/klaviyo/progress")
    assert progress.mimetype == "application/json"
    assert progress.headers["X-Content-Type-Options"] == "nosniff"
    assert "<" not in progress.get_data(as_text=True)


# Headers.


def policy(page: TestResponse) -> dict[str, str]:
    """Return the content security policy by its directives."""
    rows = (row.strip().partition(" ") for row in page.headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in rows}


def test_every_page_is_guarded_and_each_has_a_nonce_of_its_own(merchant: Merchant, world: World) -> None:
    begun = merchant.begin()
    asked = merchant.come_back(begun)
    pages = [
        merchant.get("/klaviyo/install"),
        merchant.get("/klaviyo/install", link="x"),
        merchant.get("/klaviyo/install", link=InstallLinks.of(world.services).make(TENANT)),
        begun,
        asked,
        merchant.begin(key="canary-wrong"),
        merchant.confirm("x"),
        merchant.confirm(field(asked, "confirmation")),
        merchant.post("/klaviyo/confirm", origin=None),
    ]
    nonces = []
    for page in pages:
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Strict-Transport-Security"].startswith("max-age=")
        guard = policy(page)
        assert guard["default-src"] == guard["frame-ancestors"] == guard["base-uri"] == "'none'"
        assert guard["form-action"] == f"'self' {world.sandbox.klaviyo.url}"
        assert "unsafe" not in str(guard)
        if page.status_code != 302:
            nonce = re.fullmatch(r"'nonce-([\w-]{22})'", guard["script-src"])
            assert nonce
            assert guard["style-src"] == guard["script-src"]
            html = page.get_data(as_text=True)
            assert re.findall(r'<(?:style|script)(?: nonce="([\w-]*)")?>', html) == [nonce[1]] * html.count(
                nonce[1]
            )
            assert not re.search(r" (?:style|on\w+)=", html)
            nonces.append(nonce[1])
    assert len(set(nonces)) == len(nonces) == len(pages) - 1


def test_klaviyos_own_hosts_may_take_part_in_the_redirect(world: World) -> None:
    world.tenant(installed=False)
    environment = {**world.environment, "KLAVIYO_AUTHORIZE_URL": "https://www.klaviyo.com/oauth/authorize"}
    page = Merchant(app_of(Services(Settings.from_env(environment, EVERYTHING), clock=world.clock))).begin()
    assert policy(page)["form-action"] == "'self' https://www.klaviyo.com https://*.klaviyo.com"
    lookalike = {**world.environment, "KLAVIYO_AUTHORIZE_URL": "https://evilklaviyo.com/x"}
    page = Merchant(app_of(Services(Settings.from_env(lookalike, EVERYTHING), clock=world.clock))).begin()
    assert policy(page)["form-action"] == "'self' https://evilklaviyo.com"


@pytest.mark.parametrize("url", [EXTENSION_URL, "http://127.0.0.1:8080"])
def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_connections(world: World, url: str) -> None:
    world.tenant(installed=False)
    environment = {**world.environment, "EXTENSION_URL": url}
    app = app_of(Services(Settings.from_env(environment, EVERYTHING), clock=world.clock))
    answer = app.test_client().post(
        "/klaviyo/install",
        base_url=url,
        data={"tenant": TENANT, "installation_key": INSTALLATION_KEY},
        headers={"Origin": url},
    )
    (header,) = answer.headers.getlist("Set-Cookie")
    attributes = set(header.split("; ")[1:])
    assert {"HttpOnly", "SameSite=Lax", "Path=/klaviyo"} <= attributes
    assert ("Secure" in attributes) == url.startswith("https:")
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert ("Strict-Transport-Security" in answer.headers) == url.startswith("https:")


def test_a_cookie_word_is_new_for_each_attempt_and_never_one_that_was_brought_along(
    merchant: Merchant,
) -> None:
    merchant.client.set_cookie("klaviyo_install", "planted", domain=HOST, path="/klaviyo")
    seen = set()
    for _ in range(3):
        merchant.begin()
        seen.add(merchant.cookie)
    assert len(seen) == 3
    assert "planted" not in seen


# Secrets.


def test_no_secret_is_shown_logged_stored_or_sent_but_where_oauth_itself_carries_it(
    merchant: Merchant, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    """Codes, tokens, verifiers, cookies, keys and client secrets all hold the word that is looked for."""
    begun = merchant.begin()
    asked_of_klaviyo = query_of(begun.headers["Location"])
    assert "canary" not in str({k: v for k, v in asked_of_klaviyo.items() if k != "state"})
    asked = merchant.come_back(begun)
    assert shown(asked).count("canary") == 2  # the word in the form, and in the page's own address
    done = merchant.confirm(field(asked, "confirmation"))
    assert "canary" not in shown(done)
    world.sandbox.klaviyo.fail(1, match="POST /oauth/token", status=400, body={"error": "canary-x"})
    for page in (
        merchant.come_back(merchant.begin()),
        merchant.get("/klaviyo/progress"),
        merchant.confirm("x"),
    ):
        assert "canary" not in shown(page)
    assert "canary" not in "".join(capfd.readouterr())
    calls = world.sandbox.klaviyo.calls.all()
    assert not any("canary" in call.query for call in calls if call.path != "/oauth/authorize")
    stored = b"".join(path.read_bytes() for path in database(world))
    assert b"canary" not in stored


def shown(page: TestResponse) -> str:
    """Return the page with its headers, the cookie left out."""
    headers = [(name, value) for name, value in page.headers if name != "Set-Cookie"]
    return f"{headers}\n{page.get_data(as_text=True)}"


def database(world: World) -> Iterator[Path]:
    """Yield the files of the store."""
    path = Path(world.environment["STORE"].partition(":")[2])
    return path.parent.glob(f"{path.name}*")


def test_an_unforeseen_error_is_a_page_that_says_nothing_of_it(
    merchant: Merchant, world: World, app: Flask
) -> None:
    def fail() -> str:
        raise RuntimeError("canary-secret")

    broken = Merchant(app_of(replace(world.services, new_word=fail)))
    page = broken.begin()
    assert (page.status_code, title(page)) == (500, "Something went wrong on our side")
    assert "canary" not in shown(page)
    assert "RuntimeError" not in shown(page)


# Everything else.

text = st.text(st.characters(min_codepoint=0, max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=30)
names = st.sampled_from(
    [*PARAMETERS, "installation_key", "confirmation", "decision", "error_description", "link[]", ""]
)
fields = st.dictionaries(names, st.one_of(text, st.just(TENANT), st.just(INSTALLATION_KEY)), max_size=5)
raw = st.one_of(st.binary(max_size=100), st.just(b"a=" * 9000), st.just(b"%ff%00=%zz&=&&"))
header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Origin",
            "Cookie",
            "Content-Type",
            "Referer",
            "traceparent",
            "Content-Encoding",
            "X-Forwarded-Host",
            "Range",
        ]
    ),
    st.one_of(
        header_text,
        st.just(EXTENSION_URL),
        st.just("multipart/form-data; boundary=x"),
        st.just("multipart/form-data"),
        st.just("application/x-www-form-urlencoded; charset=utf-7"),
        header_text.map(lambda word: f"klaviyo_install={word}"),
    ),
    max_size=4,
)
segment = st.text(st.sampled_from(string.ascii_letters + "-_.~%/ \u00fc\x00"), max_size=12)
paths = st.one_of(
    st.sampled_from(["/klaviyo/install", "/klaviyo/callback", "/klaviyo/confirm", "/klaviyo/progress"]),
    segment.map(lambda word: f"/klaviyo/{word}"),
)


@pytest.fixture
def deployed(world: World, load: Load) -> FlaskClient:
    """Return the function as it is deployed, with a tenant."""
    world.tenant(installed=False)
    return load("install", world.environment)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=paths,
    method=st.sampled_from(["GET", "POST", "POST", "PUT", "HEAD"]),
    query=fields,
    body=st.one_of(fields, raw),
    extra=headers,
    ours=st.booleans(),
)
def test_no_flood_of_malformed_requests_fails_or_sends_anybody_elsewhere(
    deployed: FlaskClient,
    world: World,
    path: str,
    method: str,
    query: dict[str, str],
    body: dict[str, str] | bytes,
    extra: dict[str, str],
    ours: bool,
) -> None:
    answer = deployed.open(
        path,
        method=method,
        base_url=EXTENSION_URL,
        query_string=query,
        data=body,
        headers={**({"Origin": EXTENSION_URL} if ours else {}), **extra},
    )
    assert answer.status_code < 500
    if 300 <= answer.status_code < 400 and answer.status_code != 308:
        assert at_klaviyo(answer, world)
    assert urlsplit(answer.headers.get("Location", "")).hostname in (None, "127.0.0.1", HOST)


@pytest.mark.parametrize("framing", [{}, CHUNKED], ids=["length", "chunks"])
def test_a_form_too_large_is_refused_as_if_it_were_empty(
    deployed: FlaskClient, framing: dict[str, Any]
) -> None:
    form = {"tenant": TENANT, "installation_key": INSTALLATION_KEY, "padding": "x" * 20_000}
    body = urlencode(form).encode()
    answer = deployed.post(
        "/klaviyo/install",
        base_url=EXTENSION_URL,
        input_stream=io.BytesIO(body),
        content_type="application/x-www-form-urlencoded",
        headers={"Origin": EXTENSION_URL},
        environ_overrides={"CONTENT_LENGTH": str(len(body)), **framing},
    )
    assert answer.status_code == 401
