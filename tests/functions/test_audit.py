"""The audit from the outside: every act with an installation key is kept, says which key did it, and holds no value."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.audit import Audit, Entry, by_key
from shared.tenants.keys import hash_of, id_of
from tests.support.loading import Load
from tests.support.merchant import Merchant, pages_of
from tests.support.world import INSTALLATION_KEY, TENANT, World

BASE = f"/{TENANT}/api/v1"
KEY = {"Authorization": f"Bearer {INSTALLATION_KEY}"}
BY = by_key(id_of(hash_of(INSTALLATION_KEY)))


@pytest.fixture
def admin(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store; the real time is the world's."""
    world.live()
    world.tenant()
    return load("admin", world.environment)


def acts(world: World) -> list[Entry]:
    """Return the tenant's acts, the first first."""
    return Audit.of(world.services).acts(TENANT)[::-1]


def test_settings_are_named_and_their_values_are_not(admin: FlaskClient, world: World) -> None:
    changes = {"timezone": "Australia/Perth", "webhook_secret": "canary-new-webhook-secret"}
    assert admin.put(f"{BASE}/settings", json=changes, headers=KEY).status_code == 200
    assert [(entry.act, entry.by, entry.about) for entry in acts(world)] == [
        ("settings changed", BY, "timezone"),
        ("secret added", BY, "webhook_secret"),
    ]


def test_what_was_read_and_is_sent_back_is_no_act(admin: FlaskClient, world: World) -> None:
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))
    read = admin.get(f"{BASE}/settings", headers=KEY).get_json()
    nothing: tuple[Any, ...] = (read, {}, {"end_webhook_secrets": []}, {"master_list_id": None})
    for changes in nothing:
        assert admin.put(f"{BASE}/settings", json=changes, headers=KEY).status_code == 200
    assert acts(world) == []
    changed = {**read, "timezone": "Australia/Perth"}
    assert admin.put(f"{BASE}/settings", json=changed, headers=KEY).status_code == 200
    assert [(entry.act, entry.about) for entry in acts(world)] == [("settings changed", "timezone")]


def test_secrets_that_ended_are_named_by_their_ids(admin: FlaskClient, world: World) -> None:
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))
    old = world.read().webhook_secrets[0].id
    for changes in ({"webhook_secret": "canary-new-webhook-secret"}, {"end_webhook_secrets": [old]}):
        assert admin.put(f"{BASE}/settings", json=changes, headers=KEY).status_code == 200
    assert [(entry.act, entry.about) for entry in acts(world)] == [
        ("secret added", "webhook_secret"),
        ("secret ended", f"webhook_secret {old}"),
    ]


def test_a_change_that_is_refused_is_no_act(admin: FlaskClient, world: World) -> None:
    assert admin.put(f"{BASE}/settings", json={"timezone": "Mars"}, headers=KEY).status_code == 400
    assert admin.post(f"{BASE}/install-link").status_code == 401
    assert acts(world) == []


@pytest.mark.parametrize(
    ("method", "path", "act"),
    [
        ("POST", "/install-link", "install link made"),
        ("POST", "/heal", "heal begun"),
        ("POST", "/reconcile", "run begun"),
        ("DELETE", "/install", "uninstalled"),
    ],
)
def test_each_call_that_changes_something_is_an_act(
    admin: FlaskClient, world: World, method: str, path: str, act: str
) -> None:
    assert admin.open(f"{BASE}{path}", method=method, headers=KEY).status_code in {200, 202}
    assert [(entry.act, entry.by) for entry in acts(world)] == [(act, BY)]


def test_looking_is_no_act(admin: FlaskClient, world: World) -> None:
    for path in ("/settings", "/settings/schema", "/traffic"):
        assert admin.get(f"{BASE}{path}", headers=KEY).status_code == 200
    assert acts(world) == []


def test_a_second_key_is_told_from_the_first(admin: FlaskClient, world: World) -> None:
    assert f"installation key {hash_of(INSTALLATION_KEY)[:8]}" == BY
    assert INSTALLATION_KEY not in BY


def test_an_install_is_an_act(world: World) -> None:
    world.tenant(installed=False)
    Merchant(pages_of(world)).install()
    assert [entry.act for entry in acts(world)] == ["installed"]
    assert acts(world)[0].about.startswith("Klaviyo account ")


def test_it_is_known_when_a_key_was_last_used(admin: FlaskClient, world: World) -> None:
    id = id_of(hash_of(INSTALLATION_KEY))
    wrong = {"Authorization": "Bearer oik_canary-wrong"}
    assert admin.get(f"{BASE}/settings", headers=wrong).status_code == 401
    assert world.services.secret_uses.last(TENANT) == {}
    assert admin.get(f"{BASE}/settings", headers=KEY).status_code == 200
    assert {*world.services.secret_uses.last(TENANT)} == {id}


def test_a_key_that_begins_an_install_is_used(world: World) -> None:
    world.tenant(installed=False)
    merchant = Merchant(pages_of(world))
    merchant.begin(key="canary-wrong")
    assert world.services.secret_uses.last(TENANT) == {}
    assert merchant.begin().status_code == 302
    assert world.services.secret_uses.last(TENANT) == {id_of(hash_of(INSTALLATION_KEY)): world.clock()}
