"""The install under attack: replayed, foreign, forged and forced requests, injected text, and whatever else a browser may send.

An attacker wants one of three things: a merchant's Klaviyo account joined to their own tenant, their account joined to a
merchant's tenant, or a secret. Each test is an attempt.
"""

import re
from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from shared.installation.links import InstallLinks
from shared.installation.pending import LIFE, WATCHED
from shared.tenants.keys import new_installation_key
from tests.support.merchant import (
    HOST,
    Merchant,
    a_word,
    app_of,
    consented,
    field,
    query_of,
    title,
)
from tests.support.world import EXTENSION_URL, INSTALLATION_KEY, TENANT, World

STATE_GONE = "This step has expired"
OTHER_BROWSER = "This was begun in another browser"
FOREIGN_FORM = "This did not come from our page"
EVIL = "https://evil.example.net"


@pytest.fixture
def stranger(app: Flask) -> Merchant:
    """Return somebody else's browser."""
    return Merchant(app)


def refused(page: TestResponse, status: int, heading: str, world: World) -> None:
    """Check that the page says this, and that nothing was connected."""
    assert (page.status_code, title(page)) == (status, heading)
    assert "Location" not in page.headers
    assert world.read().klaviyo is None
    assert world.read().klaviyo_account_id == ""


# The callback.


def test_a_state_works_once(merchant: Merchant, world: World) -> None:
    url = consented(merchant.begin())
    assert field(merchant.get(url), "confirmation")
    refused(merchant.get(url), 400, STATE_GONE, world)


@pytest.mark.parametrize("state", ["", "x", "canary-" + "A" * 43, "../../x", "\u00fc", "\x00", "a" * 10_000])
def test_a_state_that_we_did_not_issue_is_refused(merchant: Merchant, world: World, state: str) -> None:
    code = query_of(consented(merchant.begin()))["code"]
    refused(merchant.get("/klaviyo/callback", code=code, state=state), 400, STATE_GONE, world)


def test_a_missing_state_is_refused(merchant: Merchant, world: World) -> None:
    code = query_of(consented(merchant.begin()))["code"]
    refused(merchant.get("/klaviyo/callback", code=code), 400, STATE_GONE, world)
    refused(merchant.get("/klaviyo/callback"), 400, STATE_GONE, world)


def test_a_state_lives_fifteen_minutes(merchant: Merchant, world: World) -> None:
    urls = []
    for wait in (LIFE.total_seconds() - 1, 1):
        begun = merchant.begin()
        world.clock.advance(wait)
        urls.append(consented(begun))
        world.clock.advance(0 if wait > 1 else LIFE.total_seconds() - 1)
        page = merchant.get(urls[-1])
        if wait > 1:
            assert field(page, "confirmation")
        else:
            refused(page, 400, STATE_GONE, world)


def test_the_word_of_one_step_does_not_open_the_other(merchant: Merchant, world: World) -> None:
    state = query_of(merchant.begin().headers["Location"])["state"]
    refused(merchant.confirm(state), 400, STATE_GONE, world)
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    refused(merchant.get("/klaviyo/callback", state=asked, code="canary-code"), 400, STATE_GONE, world)


def test_a_link_to_a_strangers_callback_joins_nothing(
    merchant: Merchant, stranger: Merchant, world: World
) -> None:
    """Login CSRF: the attacker begins, consents with their own account, and lets the merchant open the callback."""
    trap = consented(stranger.begin())
    refused(merchant.get(trap), 400, OTHER_BROWSER, world)
    # What another browser opens uses nothing up: it may be a scanner.
    assert field(stranger.get(trap), "confirmation")


def test_a_browser_that_began_an_install_of_its_own_is_not_fooled_either(
    merchant: Merchant, stranger: Merchant, world: World
) -> None:
    merchant.begin()
    refused(merchant.get(consented(stranger.begin())), 400, OTHER_BROWSER, world)


@pytest.mark.parametrize("cookie", ["", "x", "canary-word", "\u00fc"])
def test_a_cookie_that_does_not_belong_to_the_state_is_refused(
    stranger: Merchant, app: Flask, world: World, cookie: str
) -> None:
    url = consented(Merchant(app).begin())
    stranger.client.set_cookie("klaviyo_install", cookie, domain=HOST, path="/klaviyo")
    refused(stranger.get(url), 400, OTHER_BROWSER, world)


def test_a_missing_code_is_refused_and_the_state_is_spent(merchant: Merchant, world: World) -> None:
    fields = query_of(consented(merchant.begin()))
    refused(
        merchant.get("/klaviyo/callback", state=fields["state"]),
        400,
        "Klaviyo's answer was incomplete",
        world,
    )
    refused(merchant.get("/klaviyo/callback", **fields), 400, STATE_GONE, world)


def test_a_code_works_once(app: Flask, world: World) -> None:
    """Even for an attempt that has the same verifier, so that nothing but the code's use can refuse it."""
    verifier = a_word()
    words = iter([a_word(), verifier, a_word(), a_word(), a_word(), verifier, a_word()])
    merchant = Merchant(app_of(replace(world.services, new_word=lambda: next(words))))
    fields = query_of(consented(merchant.begin()))
    asked = merchant.get("/klaviyo/callback", **fields)
    assert field(asked, "confirmation")
    state = query_of(merchant.begin().headers["Location"])["state"]
    page = merchant.get("/klaviyo/callback", code=fields["code"], state=state)
    refused(page, 400, "Klaviyo did not complete the connection", world)


def test_a_stolen_code_is_worthless_without_the_verifier_of_its_attempt(
    merchant: Merchant, stranger: Merchant, world: World
) -> None:
    stolen = query_of(consented(merchant.begin()))["code"]
    state = query_of(stranger.begin().headers["Location"])["state"]
    page = stranger.get("/klaviyo/callback", code=stolen, state=state)
    refused(page, 400, "Klaviyo did not complete the connection", world)


def test_a_code_that_is_five_minutes_old_is_refused(merchant: Merchant, world: World) -> None:
    url = consented(merchant.begin())
    world.clock.advance(300)
    refused(merchant.get(url), 400, "Klaviyo did not complete the connection", world)


def test_a_merchant_who_denies_is_told_that_nothing_changed(merchant: Merchant, world: World) -> None:
    world.sandbox.klaviyo.oauth.auto_consent = "deny"
    page = merchant.come_back(merchant.begin())
    refused(page, 400, "Klaviyo was not connected", world)
    assert "Nothing was changed" in page.get_data(as_text=True)


@pytest.mark.parametrize("error", ["server_error", "invalid_scope", "<script>", "canary-error", "\x00"])
def test_any_other_error_of_klaviyos_is_a_plain_page(merchant: Merchant, world: World, error: str) -> None:
    state = query_of(merchant.begin().headers["Location"])["state"]
    page = merchant.get("/klaviyo/callback", error=error, error_description="<b>canary</b>", state=state)
    refused(page, 400, "Klaviyo refused the connection", world)
    text = page.get_data(as_text=True)
    assert "canary" not in text
    assert (f"Klaviyo says {error}: " in text) == (error in ("server_error", "invalid_scope"))
    again = merchant.get("/klaviyo/callback", code="canary-code", state=state)
    refused(again, 400, STATE_GONE, world)


# Forms from elsewhere.


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        EVIL,
        EXTENSION_URL.replace("https", "http"),
        f"{EXTENSION_URL}.evil.example.net",
        f"{EXTENSION_URL}:8443",
        f"{EXTENSION_URL}/",
        EXTENSION_URL.upper(),
        "https://evil.extension.example.org",
    ],
)
def test_a_form_that_another_page_sends_is_refused(
    merchant: Merchant, world: World, origin: str | None
) -> None:
    link = InstallLinks.of(world.services).make(TENANT)
    forms = ({"tenant": TENANT, "installation_key": INSTALLATION_KEY}, {"link": link})
    for form in forms:
        refused(merchant.post("/klaviyo/install", origin=origin, **form), 401, FOREIGN_FORM, world)
    assert merchant.cookie == ""
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    refused(merchant.confirm(asked, origin=origin), 401, FOREIGN_FORM, world)
    # Neither the link nor the question is used up by the attempt.
    assert title(merchant.confirm(asked)) == "Klaviyo is connected"
    assert merchant.post("/klaviyo/install", link=link).status_code == 302


def test_a_question_is_answered_once(merchant: Merchant, world: World) -> None:
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    assert title(merchant.confirm(asked)) == "Klaviyo is connected"
    before = world.read()
    again = merchant.confirm(asked)
    assert (again.status_code, title(again)) == (400, STATE_GONE)
    assert world.read() == before


def test_a_question_is_answered_only_in_the_browser_that_was_asked(
    merchant: Merchant, stranger: Merchant, world: World
) -> None:
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    refused(stranger.confirm(asked), 400, OTHER_BROWSER, world)
    refused(stranger.get("/klaviyo/confirm", confirmation=asked), 400, OTHER_BROWSER, world)
    assert title(merchant.confirm(asked)) == "Klaviyo is connected"


def test_a_question_lives_fifteen_minutes(merchant: Merchant, world: World) -> None:
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    world.clock.advance(LIFE.total_seconds())
    refused(merchant.confirm(asked), 400, STATE_GONE, world)


@pytest.mark.parametrize("decision", ["cancel", "", "Connect", "connect ", "\x00"])
def test_anything_but_a_clear_yes_connects_nothing(merchant: Merchant, world: World, decision: str) -> None:
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    refused(merchant.confirm(asked, decision=decision), 200, "Klaviyo was not connected", world)
    refused(merchant.confirm(asked), 400, STATE_GONE, world)


@pytest.mark.parametrize("confirmation", ["", "x", "../x", "\u00fc", "\x00"])
def test_a_question_that_was_never_asked_is_refused(
    merchant: Merchant, world: World, confirmation: str
) -> None:
    merchant.begin()
    refused(merchant.confirm(confirmation), 400, STATE_GONE, world)


def test_progress_is_shown_to_the_browser_that_installed_and_for_an_hour(
    merchant: Merchant, stranger: Merchant, world: World
) -> None:
    stranger.begin()
    merchant.install()
    assert merchant.get("/klaviyo/progress").status_code == 200
    assert stranger.get("/klaviyo/progress").status_code == 400
    world.clock.advance(WATCHED.total_seconds())
    assert merchant.get("/klaviyo/progress").status_code == 400


# Who may begin.


def test_a_wrong_key_and_an_unknown_tenant_look_the_same(merchant: Merchant) -> None:
    known, unknown = merchant.begin(TENANT, "canary-wrong"), merchant.begin("acne", "canary-wrong")
    assert known.status_code == unknown.status_code == 401
    nonce = re.compile(r"nonce[=-]\W?[\w-]{22}")
    texts = [
        nonce.sub("", page.get_data(as_text=True)).replace(f'value="{name}"', "")
        for page, name in ((known, TENANT), (unknown, "acne"))
    ]
    assert texts[0] == texts[1]
    headers = [nonce.sub("", str(sorted(page.headers))) for page in (known, unknown)]
    assert headers[0] == headers[1]


@pytest.mark.parametrize(
    "name",
    ["a/../b", "../acme", "a.evil.com", "a%2f", "a%00", "acme@evil.com", "evil.com#", "acme?", "b\u00fccher",
     "\u0430cme", "a" * 41, "-acme", "acme-", "", " ", "acme\n\nacme", "acme\x00", "{tenant}", "acme:80", "[::1]"],
)  # fmt: skip
def test_a_name_that_would_escape_omneos_address_is_no_tenant(
    merchant: Merchant, world: World, name: str
) -> None:
    page = merchant.begin(name)
    assert (page.status_code, merchant.cookie) == (401, "")
    assert world.sandbox.omneo.calls.all() == []


@pytest.mark.parametrize(
    "key", ["", "canary-wrong", INSTALLATION_KEY[:-1], INSTALLATION_KEY.upper(), "\u00fc", "\x00"]
)
def test_a_wrong_key_begins_nothing_and_is_not_shown_again(merchant: Merchant, key: str) -> None:
    page = merchant.begin(TENANT, key)
    assert (page.status_code, merchant.cookie) == (401, "")
    assert 'role="alert"' in page.get_data(as_text=True)
    assert "canary" not in page.get_data(as_text=True)


def test_a_key_typed_into_the_wrong_field_is_not_shown_again(merchant: Merchant) -> None:
    key = new_installation_key()
    assert key not in merchant.begin(key, TENANT).get_data(as_text=True)


def test_the_key_of_one_tenant_does_not_open_another(merchant: Merchant, world: World) -> None:
    world.tenant("other", installed=False, installation_keys=())
    assert merchant.begin("other").status_code == 401
