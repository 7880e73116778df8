"""The install as a merchant lives through it: start, Klaviyo, the question, the set-up; again; and by a link."""

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import requests
from flask import Flask
from google.cloud.tasks_v2 import Queue
from pydantic import JsonValue, SecretStr

from shared.installation.links import InstallLinks
from shared.jobs.cloud_tasks import tasks_client
from shared.jobs.jobs import SendMetric
from shared.services import Services
from shared.settings import Settings
from shared.storage.encryption import new_key
from shared.tenants.tenants import KlaviyoConnection
from tests.support.loading import Load
from tests.support.merchant import (
    CALLBACK,
    HOST,
    Merchant,
    app_of,
    consented,
    field,
    query_of,
    settle,
    title,
)
from tests.support.world import (
    ACCOUNT,
    EMAIL,
    EVERYTHING,
    EXTENSION_URL,
    INSTALLATION_KEY,
    TENANT,
    WEBHOOK_SECRET,
    World,
)

SOURCES = [
    "Omneo Addresses",
    "Omneo Benefits",
    "Omneo Connections",
    "Omneo Dates",
    "Omneo Lists",
    "Omneo Rewards",
]
# Of the consent events that the extension acts on, those which the sandbox's account offers.
TOPICS = [
    f"event:klaviyo.{name}"
    for name in (
        "bounced_email",
        "dropped_email",
        "failed_to_deliver_sms",
        "failed_to_deliver_text_message",
        "manually_suppressed_from_email_marketing",
        "manually_unsuppressed_from_email_marketing",
        "marked_email_as_spam",
        "subscribed_to_email_marketing",
        "subscribed_to_list",
        "subscribed_to_sms_marketing",
        "subscribed_to_text_messaging_marketing",
        "unsubscribed_from_email_marketing",
        "unsubscribed_from_list",
        "unsubscribed_from_sms_marketing",
        "unsubscribed_from_text_messaging_marketing",
        "updated_email_preferences",
    )
]

EVENT: dict[str, JsonValue] = {
    "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
    "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
    "properties": {},
    "unique_id": "canary-1",
    "time": "2026-11-21T10:00:00Z",
}


def connection(world: World) -> KlaviyoConnection:
    found = world.read().klaviyo
    assert found is not None
    return found


def test_an_install_from_the_first_page_to_the_last_step(merchant: Merchant, world: World) -> None:
    start = merchant.get("/klaviyo/install")
    assert (start.status_code, title(start)) == (200, "Connect Klaviyo to Omneo")
    begun = merchant.begin()
    assert begun.headers["Location"].startswith(f"{world.sandbox.klaviyo.url}/oauth/authorize?")
    asked = merchant.come_back(begun)
    assert title(asked) == f"Connect Klaviyo account Sandbox Store to Omneo tenant {TENANT}?"
    assert world.read().klaviyo is None
    done = merchant.confirm(field(asked, "confirmation"))
    assert (done.status_code, title(done)) == (200, "Klaviyo is connected")
    assert f"https://{TENANT}.manager.getomneo.com" in done.get_data(as_text=True)
    assert states(merchant) == ["waiting"] * 10
    settle(world)
    assert states(merchant) == ["done"] * 10
    assert_installed_once(world)


def states(merchant: Merchant, tab: str = "") -> list[str]:
    """Return the states of all steps, as the page's script reads them."""
    answer = merchant.get("/klaviyo/progress", **({"of": tab} if tab else {}))
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return [step["state"] for step in answer.get_json()["steps"]]


def assert_installed_once(world: World) -> None:
    klaviyo = world.sandbox.klaviyo
    sources = klaviyo.data_sources(ACCOUNT)
    assert sorted(source.title for source in sources) == SOURCES
    assert {source.visibility for source in sources} == {"private"}
    (webhook,) = klaviyo.webhooks(ACCOUNT)
    assert (webhook.name, webhook.enabled) == (f"Omneo {TENANT}", True)
    assert webhook.endpoint_url == f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/klaviyo/system"
    assert webhook.secret_key == WEBHOOK_SECRET
    assert sorted(webhook.topics) == TOPICS
    rows = world.sandbox.omneo.webhooks(TENANT)
    assert sorted(row["trigger"] for row in rows) == ["profile.created", "profile.deleted", "profile.updated"]
    for row in rows:
        assert (row["is_active"], row["namespace"]) == (False, "klaviyo")
        assert row["url"] == f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/omneo"
    made = world.read().provisions
    assert made.webhook_id == webhook.id
    assert made.data_sources == {source.title: source.id for source in sources}
    assert queues(world) == {f"{TENANT}-klaviyo-inbound": "RUNNING", f"{TENANT}-klaviyo-outbound": "RUNNING"}
    assert world.dead_jobs() == []


def queues(world: World) -> dict[str, str]:
    """Return the state of every queue by its id."""
    settings = world.services.settings.queue
    assert settings is not None
    found = tasks_client(settings).list_queues(parent="projects/local/locations/local")
    return {queue.name.rpartition("/")[2]: Queue.State(queue.state).name for queue in found}


def test_what_klaviyo_says_of_the_account_is_kept(merchant: Merchant, world: World) -> None:
    world.sandbox.klaviyo.account(
        ACCOUNT, organization_name="Acme", timezone="Europe/Paris", country="France"
    )
    merchant.install()
    stored = connection(world)
    assert (stored.account_id, stored.account_name) == (ACCOUNT, "Acme")
    assert (stored.account_timezone, stored.account_country) == ("Europe/Paris", "France")
    assert world.read().klaviyo_account_id == ACCOUNT


def test_time_spent_on_the_question_is_taken_off_the_life_of_the_token(
    merchant: Merchant, world: World
) -> None:
    world.sandbox.klaviyo.oauth.access_token_seconds = 1000
    asked = merchant.come_back(merchant.begin())
    world.clock.advance(600)
    merchant.confirm(field(asked, "confirmation"))
    assert (connection(world).expires_at - world.clock()).total_seconds() == 400


def test_jobs_that_waited_for_a_reinstall_go_on(merchant: Merchant, world: World) -> None:
    merchant.install()
    settle(world)
    (webhook,) = world.sandbox.klaviyo.webhooks(ACCOUNT)
    world.sandbox.klaviyo.uninstall(ACCOUNT)
    world.services.queue.put(SendMetric(tenant=TENANT, accepted_at=world.clock(), event=EVENT), world.read())
    settle(world, 3)
    assert not world.read().is_connected
    assert queues(world)[f"{TENANT}-klaviyo-outbound"] == "PAUSED"
    again = merchant.come_back(merchant.begin())
    assert title(again) == "Klaviyo is connected"
    settle(world)
    assert [event.unique_id for event in world.events()] == ["canary-1"]
    assert_installed_once(world)
    assert world.read().outages[-1].ended is not None
    assert world.read().provisions.webhook_id == webhook.id


def test_the_same_account_again_asks_nothing_and_makes_nothing_new(merchant: Merchant, world: World) -> None:
    merchant.install()
    settle(world)
    first = connection(world)
    world.clock.advance(60)
    again = merchant.come_back(merchant.begin())
    assert title(again) == "Klaviyo is connected"
    assert connection(world).access_token != first.access_token
    settle(world)
    assert states(merchant) == ["done"] * 10
    assert_installed_once(world)


def test_another_account_is_asked_about_and_names_the_one_before(merchant: Merchant, world: World) -> None:
    merchant.install()
    settle(world)
    before = connection(world)
    world.sandbox.klaviyo.oauth.consent_account = "NewAcc"
    world.sandbox.klaviyo.account("NewAcc", organization_name="Acme Europe")
    asked = merchant.come_back(merchant.begin())
    assert title(asked) == f"Connect Klaviyo account Acme Europe to Omneo tenant {TENANT}?"
    assert f"another Klaviyo account ({ACCOUNT})" in asked.get_data(as_text=True)
    assert connection(world) == before
    merchant.confirm(field(asked, "confirmation"))
    settle(world)
    klaviyo = world.sandbox.klaviyo
    assert sorted(source.title for source in klaviyo.data_sources("NewAcc")) == SOURCES
    (webhook,) = klaviyo.webhooks("NewAcc")
    assert world.read().provisions.webhook_id == webhook.id
    assert len(klaviyo.data_sources(ACCOUNT)) == 6
    assert states(merchant) == ["done"] * 10
    # The account before is left: nothing of ours is in it, and its tokens are worth nothing.
    assert klaviyo.webhooks(ACCOUNT) == []
    assert not honours(world, before.access_token)
    assert honours(world, connection(world).access_token)
    assert (world.read().former_accounts, world.read().left_behind) == ((), ())


def test_an_account_of_another_tenant_is_said_and_asked_about(merchant: Merchant, world: World) -> None:
    world.tenant("acme-stg", installed=False)
    merchant.install("acme-stg")
    world.clock.advance(1)
    asked = merchant.come_back(merchant.begin())
    assert "already connected to Omneo tenant acme-stg." in asked.get_data(as_text=True)
    merchant.confirm(field(asked, "confirmation"))
    settle(world, 30)
    assert len(world.sandbox.klaviyo.data_sources(ACCOUNT)) == 6
    names = sorted(webhook.name for webhook in world.sandbox.klaviyo.webhooks(ACCOUNT))
    assert names == ["Omneo acme", "Omneo acme-stg"]


def test_each_attempt_has_its_own_state_and_challenge_and_klaviyo_checks_the_verifier(
    app: Flask, world: World
) -> None:
    words = (f"canary-word-{number:032d}" for number in range(100))
    merchant = Merchant(app_of(replace(world.services, new_word=lambda: next(words))))
    asked = [query_of(merchant.begin().headers["Location"]) for _ in range(3)]
    for first, second in pairwise(asked):
        assert first["state"] != second["state"]
        assert first["code_challenge"] != second["code_challenge"]
    verifier = "canary-word-" + "1".rjust(32, "0")  # the second word of the first attempt
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert asked[0]["code_challenge"] == digest
    assert {one["code_challenge_method"] for one in asked} == {"S256"}
    assert {one["redirect_uri"] for one in asked} == {CALLBACK}
    assert {one["response_type"] for one in asked} == {"code"}
    assert {one["client_id"] for one in asked} == {world.sandbox.klaviyo.oauth.client_id}
    assert title(merchant.install()) == "Klaviyo is connected"


def test_only_scopes_that_are_used_are_asked_for(merchant: Merchant) -> None:
    scopes = query_of(merchant.begin().headers["Location"])["scope"].split()
    assert len(set(scopes)) == len(scopes) == 15
    assert {"accounts:read", "webhooks:write", "custom-objects:write"} <= set(scopes)
    assert not any(scope.startswith(("flows", "campaigns", "templates")) for scope in scopes)


def test_a_key_with_spaces_around_it_and_a_name_in_capitals_are_understood(merchant: Merchant) -> None:
    assert merchant.begin(" ACME ", f" {INSTALLATION_KEY}\n").status_code == 302


def test_the_function_as_it_is_deployed_serves_the_pages(world: World, load: Load) -> None:
    world.tenant(installed=False)
    world.sandbox.klaviyo.oauth.redirect_uris = [CALLBACK]
    world.sandbox.klaviyo.oauth.auto_consent = "allow"
    world.sandbox.klaviyo.oauth.consent_account = ACCOUNT
    merchant = Merchant(load("install", world.environment).application)
    assert title(merchant.get("/klaviyo/install")) == "Connect Klaviyo to Omneo"
    assert title(merchant.install()) == "Klaviyo is connected"
    assert len(states(merchant)) == 10


@pytest.mark.parametrize("path", ["/", "/klaviyo", "/klaviyo/", "/klaviyo/else", "/acme/klaviyo/install"])
def test_other_paths_are_not_found(world: World, load: Load, path: str) -> None:
    answer = load("install", world.environment).get(path, base_url=EXTENSION_URL)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/klaviyo/install", "GET, POST"),
        ("/klaviyo/callback", "GET"),
        ("/klaviyo/confirm", "GET, POST"),
        ("/klaviyo/done", "GET"),
        ("/klaviyo/progress", "GET"),
    ],
)
def test_other_methods_are_refused_with_those_that_work(merchant: Merchant, path: str, allowed: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "HEAD"} - set(allowed.split(", ")):
        answer = merchant.client.open(path, method=method, base_url=EXTENSION_URL)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_a_callback_that_comes_after_a_rotation_of_keys_still_connects(
    merchant: Merchant, world: World
) -> None:
    begun = merchant.begin()
    keys = f"k2:{new_key()},{world.environment['ENCRYPTION_KEYS']}"
    environment = {**world.environment, "ENCRYPTION_KEYS": keys}
    rotated = Merchant(app_of(Services(Settings.from_env(environment, EVERYTHING), clock=world.clock)))
    rotated.client.set_cookie("klaviyo_install", merchant.cookie, domain=HOST, path="/klaviyo")
    assert field(rotated.come_back(begun), "confirmation")


def test_an_account_that_another_tenant_uses_keeps_its_grant_when_it_is_left(
    merchant: Merchant, world: World
) -> None:
    world.tenant("acme-stg", installed=False)
    merchant.install("acme-stg")
    world.clock.advance(1)
    merchant.install()
    settle(world, 30)
    world.sandbox.klaviyo.oauth.consent_account = "NewAcc"
    world.sandbox.klaviyo.account("NewAcc")
    merchant.install()
    settle(world, 30)
    (webhook,) = world.sandbox.klaviyo.webhooks(ACCOUNT)
    assert webhook.name == "Omneo acme-stg"
    twin = world.read("acme-stg").klaviyo
    assert twin is not None
    assert honours(world, twin.access_token)
    assert world.read().left_behind == ()


def test_of_an_account_that_cannot_be_left_it_is_said_what_stays(merchant: Merchant, world: World) -> None:
    merchant.install()
    settle(world)
    world.sandbox.klaviyo.uninstall(ACCOUNT)
    world.sandbox.klaviyo.oauth.consent_account = "NewAcc"
    world.sandbox.klaviyo.account("NewAcc")
    merchant.install()
    settle(world)
    assert world.read().former_accounts == ()
    assert world.read().left_behind == (
        f"Klaviyo account {ACCOUNT} was disconnected before: it keeps our webhook, which the extension no longer answers.",
    )


def test_an_account_is_left_however_often_klaviyo_fails_meanwhile(merchant: Merchant, world: World) -> None:
    merchant.install()
    settle(world)
    before = connection(world)
    world.sandbox.klaviyo.oauth.consent_account = "NewAcc"
    world.sandbox.klaviyo.account("NewAcc")
    merchant.install()
    world.sandbox.klaviyo.fail(2, match="DELETE /api/webhooks/*", status=503)
    world.sandbox.klaviyo.fail(2, match="POST /oauth/revoke", status=503)
    settle(world, 60)
    assert world.sandbox.klaviyo.webhooks(ACCOUNT) == []
    assert not honours(world, before.access_token)
    assert (world.read().former_accounts, world.read().left_behind) == ((), ())


def test_cancel_gives_the_grant_back(merchant: Merchant, world: World) -> None:
    asked = merchant.come_back(merchant.begin())
    granted = world.sandbox.klaviyo.calls.all()
    assert any(call.path == "/oauth/token" for call in granted)
    page = merchant.confirm(field(asked, "confirmation"), decision="cancel")
    assert title(page) == "Klaviyo was not connected"
    assert [call.status for call in world.sandbox.klaviyo.calls.all() if call.path == "/oauth/revoke"] == [
        200
    ]
    assert (world.read().klaviyo, world.read().left_behind) == (None, ())


def test_cancel_takes_no_grant_from_a_tenant_that_has_it(merchant: Merchant, world: World) -> None:
    world.tenant("acme-stg", installed=False)
    merchant.install("acme-stg")
    world.clock.advance(1)
    asked = merchant.come_back(merchant.begin())
    merchant.confirm(field(asked, "confirmation"), decision="cancel")
    assert not [call for call in world.sandbox.klaviyo.calls.all() if call.path == "/oauth/revoke"]


def test_a_grant_that_cannot_be_given_back_is_said(merchant: Merchant, world: World) -> None:
    asked = merchant.come_back(merchant.begin())
    world.sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=503)
    merchant.confirm(field(asked, "confirmation"), decision="cancel")
    (left,) = world.read().left_behind
    assert left.startswith(f"Klaviyo account {ACCOUNT} still shows the app as installed, because ")


def honours(world: World, access_token: SecretStr) -> bool:
    """Return whether Klaviyo still accepts a token."""
    headers = {"Authorization": f"Bearer {access_token.get_secret_value()}", "revision": "2026-10-15"}
    answer = requests.get(f"{world.sandbox.klaviyo.url}/api/accounts", headers=headers, timeout=60)
    return answer.status_code != 401


# Browsers: two tabs, Back and Forward, pages that are fetched ahead, and addresses with a slash too many.


def test_two_tabs_of_one_browser_finish_each_its_own(merchant: Merchant, world: World) -> None:
    world.tenant("acme-stg", installed=False)
    first, second = merchant.begin(), merchant.begin("acme-stg")
    asked = merchant.come_back(first)
    assert title(asked).endswith(f"Omneo tenant {TENANT}?")
    done = merchant.confirm(field(asked, "confirmation"))
    world.clock.advance(1)
    other = merchant.confirm(field(merchant.come_back(second), "confirmation"))
    assert [title(done), title(other)] == ["Klaviyo is connected"] * 2
    settle(world, 30)
    tabs = [re.findall(r"/klaviyo/done\?of=(\w+)", page.get_data(as_text=True))[0] for page in (done, other)]
    assert tabs[0] != tabs[1]
    for tab, name in zip(tabs, (TENANT, "acme-stg"), strict=True):
        assert f"<strong>{name}</strong>" in merchant.get("/klaviyo/done", of=tab).get_data(as_text=True)
        assert states(merchant, tab) == ["done"] * 10


def test_back_and_forward_show_the_question_and_the_end_again(merchant: Merchant, world: World) -> None:
    asked = merchant.come_back(merchant.begin())
    confirmation = field(asked, "confirmation")
    (here,) = re.findall(r'const here = "([^"]+)"', asked.get_data(as_text=True))
    again = merchant.get(here)
    assert (title(again), field(again, "confirmation")) == (title(asked), confirmation)
    done = merchant.confirm(confirmation)
    (here,) = re.findall(r'const here = "([^"]+)"', done.get_data(as_text=True))
    assert title(merchant.get(here)) == "Klaviyo is connected"
    gone = merchant.get("/klaviyo/confirm", confirmation=confirmation)
    assert (gone.status_code, gone.mimetype, title(gone)) == (400, "text/html", "This step has expired")
    assert merchant.get("/klaviyo/confirm").mimetype == "text/html"


@pytest.mark.parametrize(
    "header", [("Sec-Purpose", "prefetch;prerender"), ("Purpose", "prefetch"), ("X-Moz", "prefetch")]
)
def test_a_callback_that_is_fetched_ahead_uses_nothing_up(
    merchant: Merchant, header: tuple[str, str]
) -> None:
    url = consented(merchant.begin())
    ahead = merchant.client.get(url, headers=[header])
    assert (ahead.status_code, title(ahead)) == (503, "One moment")
    assert field(merchant.get(url), "confirmation")


def test_an_address_with_a_slash_at_its_end_is_the_same_page(merchant: Merchant, world: World) -> None:
    link = InstallLinks.of(world.services).make(TENANT)
    assert title(merchant.get("/klaviyo/install/")) == "Connect Klaviyo to Omneo"
    assert field(merchant.get("/klaviyo/install/", link=link), "link") == link


def test_a_page_says_whose_app_it_is_and_where_to_ask(merchant: Merchant, world: World) -> None:
    text = merchant.get("/klaviyo/install").get_data(as_text=True)
    assert "an app of Omneo" in text
    assert 'href="https://docs.omneo.io/extensions/klaviyo/installation"' in text
    assert "Privacy" not in text
    given = {
        "APP_PUBLISHER": "Acme <Apps>",
        "HELP_URL": "https://help.example.org/klaviyo",
        "PRIVACY_URL": "https://example.org/privacy",
    }
    environment = {**world.environment, **given}
    other = Merchant(app_of(Services(Settings.from_env(environment, EVERYTHING), clock=world.clock)))
    text = other.get("/klaviyo/confirm").get_data(as_text=True)
    assert "an app of Acme &lt;Apps&gt;" in text
    assert all(f'href="{given[name]}"' in text for name in ("HELP_URL", "PRIVACY_URL"))
