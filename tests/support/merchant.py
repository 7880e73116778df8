"""A merchant who installs the app: their browser on our pages (Flask's test client) and on Klaviyo's (the sandbox).

The pages run on the world's clock, and every random word that an install hands out holds a canary.
"""

import re
import secrets
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qs, urlsplit

import requests
from flask import Flask, Response, request
from werkzeug.test import TestResponse

from shared.installation.pages.policy import pages
from shared.installation.steps import ROUTES
from shared.services import Services
from tests.support.world import ACCOUNT, EXTENSION_URL, INSTALLATION_KEY, TENANT, World

HOST = str(urlsplit(EXTENSION_URL).hostname)
CALLBACK = f"{EXTENSION_URL}/klaviyo/callback"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def a_word() -> str:
    """Return a random word that is fit for a PKCE verifier."""
    return f"canary-{secrets.token_urlsafe(32)}"


def pages_of(world: World) -> Flask:
    """Return the install function on the world's services; in Klaviyo the merchant allows everything."""
    world.sandbox.klaviyo.oauth.redirect_uris = [CALLBACK]
    world.sandbox.klaviyo.oauth.auto_consent = "allow"
    world.sandbox.klaviyo.oauth.consent_account = ACCOUNT
    return app_of(replace(world.services, new_word=a_word))


def app_of(services: Services) -> Flask:
    """Return an app that serves the install's pages."""
    app, show = Flask("install"), pages("install", services, ROUTES)

    @app.route("/<path:_path>", methods=METHODS)
    def answer(_path: str) -> Response:
        return show(request)

    return app


class Merchant:
    """One browser, with its own cookies."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()

    @property
    def cookie(self) -> str:
        """The value of the newest of our cookies, "" if the browser has none."""
        return next(reversed(self.cookies), "")

    @property
    def cookies(self) -> list[str]:
        """The values of our cookies, the newest last; each attempt has its own."""
        kept = self.client._cookies or {}
        ours = [cookie for cookie in kept.values() if cookie.key.startswith("klaviyo_install")]
        return [cookie.value for cookie in ours]

    def get(self, url: str, **query: str) -> TestResponse:
        """Open an address of ours."""
        return self.client.get(url, base_url=EXTENSION_URL, query_string=query or None)

    def post(self, path: str, *, origin: str | None = EXTENSION_URL, **form: str) -> TestResponse:
        """Send a form, as a page of this origin would."""
        headers = {} if origin is None else {"Origin": origin}
        return self.client.post(path, base_url=EXTENSION_URL, data=form, headers=headers)

    def begin(self, tenant: str = TENANT, key: str = INSTALLATION_KEY) -> TestResponse:
        """Send the form of the start page."""
        return self.post("/klaviyo/install", tenant=tenant, installation_key=key)

    def come_back(self, begun: TestResponse) -> TestResponse:
        """Go to Klaviyo, consent, and return."""
        return self.client.get(consented(begun))

    def install(self, tenant: str = TENANT, key: str = INSTALLATION_KEY) -> TestResponse:
        """Go all the way, and say yes if asked."""
        answer = self.come_back(self.begin(tenant, key))
        asked = field(answer, "confirmation")
        return self.confirm(asked) if asked else answer

    def confirm(self, confirmation: str, **changes: str | None) -> TestResponse:
        """Press Connect on the page that asks."""
        form: dict[str, str | None] = {"confirmation": confirmation, "decision": "connect", **changes}
        return self.post("/klaviyo/confirm", **form)  # type: ignore[arg-type]  # `origin` may be None, fields are text


def consented(begun: TestResponse) -> str:
    """Return where Klaviyo sends the browser, that `begun` has sent there, after the merchant's consent."""
    assert begun.status_code == 302
    answer = requests.get(begun.headers["Location"], allow_redirects=False, timeout=60)
    assert answer.status_code == 302
    return answer.headers["Location"]


def field(page: TestResponse, name: str) -> str:
    """Return the value of a hidden field, "" if the page has none of that name."""
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', page.get_data(as_text=True))
    return unescape(found[1]) if found else ""


def title(page: TestResponse) -> str:
    """Return the page's one heading."""
    (heading,) = re.findall(r"<h1>(.*?)</h1>", page.get_data(as_text=True))
    return unescape(heading)


def query_of(url: str) -> dict[str, str]:
    """Return the query of an address, in which no parameter comes twice."""
    fields = parse_qs(urlsplit(url).query, strict_parsing=True, keep_blank_values=True)
    assert all(len(values) == 1 for values in fields.values())
    return {name: values[0] for name, values in fields.items()}


def settle(world: World, rounds: int = 12) -> None:
    """Let the queue work through everything an install has left to do, a second at a time."""
    for _ in range(rounds):
        world.work(1)
