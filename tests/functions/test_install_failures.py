"""Installs that fail half-way: what was there before goes on working, nothing is half-written, and the next attempt succeeds."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from google.cloud.tasks_v2 import CloudTasksClient, Queue
from pydantic import JsonValue

from shared.installation.links import InstallLinks
from shared.jobs.cloud_tasks import tasks_client
from shared.jobs.jobs import SendMetric
from shared.services import Services
from shared.settings import Settings
from tests.support.merchant import Merchant, app_of, consented, field, settle, title
from tests.support.world import ACCOUNT, EMAIL, EVERYTHING, TENANT, World

REFUSED = "Klaviyo did not complete the connection"
DOWN = "Klaviyo does not answer at the moment"
LOCATION = "projects/local/locations/local"
PASSING: list[dict[str, Any]] = [
    {"status": 429},
    {"status": 500},
    {"status": 503, "headers": {"Content-Type": "text/html"}, "body": "<h1>canary</h1>"},
    {"kind": "reset"},
    {"kind": "html403"},
    {"kind": "broken_json"},
    {"kind": "truncated"},
    {"kind": "empty"},
    {"status": 302, "headers": {"Location": "https://evil.example.net/"}},
    {"status": 200, "body": "null"},
    {"status": 200, "body": "[]"},
    {"status": 200, "body": {"data": []}},
    {"status": 200, "body": {"data": [{"id": ""}]}},
]
EXCHANGE: list[tuple[dict[str, Any], int, str]] = [
    *((fault, 503, DOWN) for fault in PASSING),
    ({"status": 400, "body": {"error": "invalid_grant"}}, 400, REFUSED),
    ({"status": 400, "body": {"error": "invalid_grant_type", "error_description": "canary"}}, 400, REFUSED),
    ({"status": 401, "body": {"error": "invalid_client"}}, 503, DOWN),
    ({"status": 200, "body": {"access_token": "canary-a"}}, 503, DOWN),
    ({"status": 200, "body": {"access_token": "", "refresh_token": "", "expires_in": 1}}, 503, DOWN),
    (
        {"status": 200, "body": {"access_token": "canary-a", "refresh_token": "canary-r", "expires_in": -1}},
        503,
        DOWN,
    ),
    ({"kind": "reset", "takes_effect": True}, 503, DOWN),
    ({"kind": "truncated", "takes_effect": True}, 503, DOWN),
]
ACCOUNTS = [*PASSING, {"status": 401}, {"status": 403}, {"status": 404}, {"status": 400}]


@pytest.fixture
def returning(merchant: Merchant, world: World) -> Merchant:
    """Return a merchant whose install is complete."""
    merchant.install()
    settle(world)
    world.clock.advance(60)
    return merchant


def event(number: int) -> dict[str, JsonValue]:
    return {
        "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
        "properties": {},
        "unique_id": f"event-{number}",
        "time": "2026-11-21T10:00:00Z",
    }


def assert_still_works(world: World) -> None:
    """Check that an event still reaches the account that was connected before."""
    number = len(world.events())
    job = SendMetric(tenant=TENANT, accepted_at=world.clock(), event=event(number))
    world.services.queue.put(job, world.read())
    world.work(1)
    assert len(world.events()) == number + 1


@pytest.mark.parametrize(("fault", "status", "heading"), EXCHANGE, ids=str)
def test_an_exchange_that_fails_leaves_the_installation_before_it_as_it_was(
    returning: Merchant, world: World, fault: dict[str, Any], status: int, heading: str
) -> None:
    before = world.read()
    begun = returning.begin()
    world.sandbox.klaviyo.fail(1, match="POST /oauth/token", **fault)
    page = returning.come_back(begun)
    assert (page.status_code, title(page)) == (status, heading)
    assert "Nothing was changed" in page.get_data(as_text=True)
    assert "canary" not in page.get_data(as_text=True)
    assert world.read() == before
    assert_still_works(world)
    assert title(returning.come_back(returning.begin())) == "Klaviyo is connected"


@pytest.mark.parametrize("fault", ACCOUNTS, ids=str)
def test_an_account_that_cannot_be_read_leaves_the_installation_before_it_as_it_was(
    returning: Merchant, world: World, fault: dict[str, Any]
) -> None:
    before = world.read()
    world.sandbox.klaviyo.fail(2, match="GET /api/accounts", **fault)
    page = returning.come_back(returning.begin())
    world.sandbox.klaviyo.faults.clear()
    assert (page.status_code, title(page)) == (503, DOWN)
    assert "Nothing was changed" in page.get_data(as_text=True)
    assert world.read() == before
    assert_still_works(world)
    world.clock.advance(60)
    assert title(returning.come_back(returning.begin())) == "Klaviyo is connected"


def test_a_first_install_that_fails_leaves_nothing(merchant: Merchant, world: World) -> None:
    before = world.read()
    for match in ("POST /oauth/token", "GET /api/accounts"):
        world.sandbox.klaviyo.fail(1, match=match, status=500)
        assert merchant.come_back(merchant.begin()).status_code == 503
    assert world.read() == before
    assert list(queues(world).list_queues(parent=LOCATION)) == []
    world.clock.advance(60)
    assert title(merchant.install()) == "Klaviyo is connected"


def queues(world: World) -> CloudTasksClient:
    settings = world.services.settings.queue
    assert settings is not None
    return tasks_client(settings)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_queue_that_cannot_be_made_leaves_the_installation_before_it_as_it_was(
    returning: Merchant, world: World, direction: str
) -> None:
    # A deleted queue's name stays blocked for days.
    queues(world).delete_queue(name=f"{LOCATION}/queues/{TENANT}-klaviyo-{direction}")
    before = world.read()
    page = returning.come_back(returning.begin())
    assert (page.status_code, title(page)) == (503, "We cannot do this at the moment")
    assert world.read() == before
    assert world.read().provisions.steps
    world.clock.advance(4 * 24 * 3600)
    assert title(returning.come_back(returning.begin())) == "Klaviyo is connected"
    assert_still_works(world)


def test_a_queue_that_cannot_be_made_leaves_a_first_install_undone(merchant: Merchant, world: World) -> None:
    name = f"{LOCATION}/queues/{TENANT}-klaviyo-outbound"
    queues(world).create_queue(parent=LOCATION, queue=Queue(name=name))
    queues(world).delete_queue(name=name)
    page = merchant.install()
    assert (page.status_code, title(page)) == (503, "We cannot do this at the moment")
    assert world.read().klaviyo is None
    assert world.read().klaviyo_account_id == ""


def test_an_install_given_up_at_any_page_leaves_the_installation_before_it_as_it_was(
    returning: Merchant, world: World
) -> None:
    before = world.read()
    world.sandbox.klaviyo.oauth.consent_account = "NewAcc"
    returning.get("/klaviyo/install")
    consented(returning.begin())
    asked = field(returning.come_back(returning.begin()), "confirmation")
    assert world.read() == before
    assert title(returning.confirm(asked, decision="cancel")) == "Klaviyo was not connected"
    assert world.read() == before
    assert_still_works(world)


def test_a_tenant_deleted_while_the_merchant_decides_is_not_made_again(
    merchant: Merchant, world: World
) -> None:
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    world.services.tenants.delete(TENANT)
    page = merchant.confirm(asked)
    assert (page.status_code, title(page)) == (400, "This step has expired")
    assert world.services.tenants.find(TENANT) is None


def without_a_store(world: World, folder: Path) -> Flask:
    """Return the pages with a store that cannot answer."""
    (folder / "a-file").touch()
    broken = {**world.environment, "STORE": f"sqlite:{folder}/a-file/documents.db"}
    return app_of(Services(Settings.from_env(broken, EVERYTHING), clock=world.clock))


def test_a_store_that_does_not_answer_is_a_page_that_says_so(
    merchant: Merchant, world: World, tmp_path: Path
) -> None:
    link = InstallLinks.of(world.services).make(TENANT)
    url = consented(merchant.begin())
    broken = Merchant(without_a_store(world, tmp_path))
    pages = [
        broken.begin(),
        broken.get(url),
        broken.confirm("canary-x"),
        broken.get("/klaviyo/install", link=link),
        broken.post("/klaviyo/install", link=link),
    ]
    for page in pages:
        assert (page.status_code, title(page)) == (503, "We cannot do this at the moment")
        assert page.headers["Cache-Control"] == "no-store"
    assert broken.get("/klaviyo/install").status_code == 200
    # Nothing was used up: the store was asked before anything else was.
    assert field(merchant.get(url), "confirmation")
    assert merchant.post("/klaviyo/install", link=link).status_code == 302
    assert world.sandbox.klaviyo.calls.all()[-1].account == ACCOUNT
