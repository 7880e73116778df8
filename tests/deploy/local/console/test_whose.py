"""Whose the pages are: a tenant of the store is shown once its installation key is known, and else the demo is."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import responses
from flask.testing import FlaskClient
from pydantic import SecretStr

from deploy.local.console.masking import HIDDEN, Mask
from deploy.local.console.whose import Tenants
from deploy.local.hints import Place
from shared.services import Services
from shared.settings import Needs, Settings
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import StoredSecret, Tenant
from tests.deploy.local.console.conftest import OWN, environment

NOW = datetime(2027, 1, 1, tzinfo=UTC)
KEY, SECRET = "canary-installation-key", "canary-webhook-secret"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(
        url="http://127.0.0.1:8300", klaviyo="", omneo="", queue="", tenant="demo", account="DemoAc", email="", omneo_profile="",
        klaviyo_profile="", installation_key="canary-key-of-demo", webhook_secret="", env_file=tmp_path, repository=tmp_path,
        python=tmp_path, port=8300, reader="jq",
    )  # fmt: skip


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Return what an operator's command works with, beside the console."""
    return Services(Settings.from_env(environment(tmp_path), Needs.STORE))


def acme(services: Services) -> None:
    """Make a second tenant, as `create` does."""
    signing, webhook = (
        StoredSecret(value=SecretStr(value), created_at=NOW) for value in ("canary-signing", SECRET)
    )
    services.tenants.create(
        Tenant(
            name="acme", created_at=NOW, installation_keys=(), omneo_token=SecretStr("canary-token"), omneo_signing_secrets=(signing,),
            webhook_secrets=(webhook,), settings=TenantSettings(task_queue_name="acme"), klaviyo_account_id="AcmeAc",
        )
    )  # fmt: skip


def test_a_tenant_that_is_made_while_the_console_runs_is_one_of_all(
    place: Place, services: Services, tmp_path: Path
) -> None:
    tenants = Tenants(place, environment(tmp_path), Mask())
    assert tenants.names() == []
    acme(services)
    assert tenants.names() == ["acme"]


def test_a_tenant_is_shown_once_its_key_is_known_with_its_own_secret_masked(
    place: Place, services: Services, tmp_path: Path
) -> None:
    mask = Mask()
    tenants = Tenants(place, environment(tmp_path), mask)
    acme(services)
    assert not tenants.is_open("acme")
    assert tenants.place("acme") == place
    tenants.open("acme", KEY)
    shown = tenants.place("acme")
    assert (shown.tenant, shown.account, shown.installation_key, shown.webhook_secret) == (
        "acme", "AcmeAc", KEY, SECRET,
    )  # fmt: skip
    assert mask.text(f"{KEY} {SECRET}") == f"{HIDDEN} {HIDDEN}"


def test_a_tenant_that_is_deleted_is_shown_no_more(place: Place, services: Services, tmp_path: Path) -> None:
    tenants = Tenants(place, environment(tmp_path), Mask())
    acme(services)
    tenants.open("acme", KEY)
    services.tenants.delete("acme")
    assert tenants.place("acme") == place


def test_a_cookie_opens_no_tenant(client: FlaskClient, services: Services) -> None:
    acme(services)
    client.set_cookie("tenant", "acme", domain="127.0.0.1")
    page = client.get("/console/faults/", headers=OWN).text
    assert 'title="The tenant that is shown">demo<' in page


@pytest.mark.parametrize("key", ["", " ", "canary\x00", "cänary"])
def test_what_can_be_no_key_is_asked_for_again(client: FlaskClient, services: Services, key: str) -> None:
    acme(services)
    with responses.RequestsMock() as bundle:  # which is not there, so the page of the demo cannot be shown
        answer = client.post("/console/tenants/choose", data={"name": "acme", "key": key}, headers=OWN)
        asked = [str(call.request.url) for call in bundle.calls]
    assert asked
    assert not any("/acme/" in url for url in asked)
    assert "tenant=" not in answer.headers.get("Set-Cookie", "")


def test_a_tenant_that_is_not_there_is_not_chosen(client: FlaskClient) -> None:
    answer = client.post("/console/tenants/choose", data={"name": "canary", "key": KEY}, headers=OWN)
    assert answer.status_code == 404
