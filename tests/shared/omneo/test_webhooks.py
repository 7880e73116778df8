"""Omneo's webhooks as the client handles them: made disabled, pointed elsewhere without touching anything else, listed to the end."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.errors import NotFoundError, RefusedError, TokenRejectedError, WaitError
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.omneo.client import OmneoClient, base_url, read_problem
from tests.support.world import OMNEO_TOKEN, TENANT

URL = "http://omneo.invalid"
HOOK = "https://extension.example.org/acme/api/v1/webhooks/omneo"


def client(url: str, token: str = OMNEO_TOKEN) -> OmneoClient:
    http = HttpClient("Omneo", url, read_problem, Connections(), limits=Limits(read=0.5, total=1.0))
    return OmneoClient(http, SecretStr(token))


@pytest.fixture
def omneo(sandbox: Sandbox) -> OmneoClient:
    sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN)
    return client(base_url(sandbox.omneo.url_template, TENANT))


def test_a_new_webhook_is_disabled_and_repeated_by_omneo(sandbox: Sandbox, omneo: OmneoClient) -> None:
    omneo.create_webhook("profile.updated", HOOK, "klaviyo")
    (row,) = sandbox.omneo.webhooks(TENANT)
    assert {name: row[name] for name in ("trigger", "url", "namespace", "is_active", "queue")} == {
        "trigger": "profile.updated",
        "url": HOOK,
        "namespace": "klaviyo",
        "is_active": False,
        "queue": "default",
    }
    assert row["retry_hourly"] is row["retry_daily"] is True
    (call,) = sandbox.omneo.calls.all()
    assert (call.method, call.path) == ("POST", f"/{TENANT}/api/v3/webhooks")
    assert call.headers["content-type"] == call.headers["accept"] == "application/json"


def test_a_second_webhook_for_trigger_and_url_is_refused(sandbox: Sandbox, omneo: OmneoClient) -> None:
    omneo.create_webhook("profile.updated", HOOK, "klaviyo")
    with pytest.raises(RefusedError, match="422: invalid at url"):
        omneo.create_webhook("profile.updated", HOOK, "klaviyo")
    assert len(sandbox.omneo.webhooks(TENANT)) == 1


def test_another_address_changes_the_address_alone(sandbox: Sandbox, omneo: OmneoClient) -> None:
    before = sandbox.omneo.webhook(
        TENANT, trigger="profile.updated", url=HOOK, namespace="klaviyo", is_active=True, queue="high"
    )
    omneo.update_webhook_url(before["id"], f"{HOOK}/new")
    (after,) = sandbox.omneo.webhooks(TENANT)
    assert after == {**before, "url": f"{HOOK}/new", "updated_at": after["updated_at"]}
    call = sandbox.omneo.calls.all()[-1]
    assert (call.method, call.path) == ("PUT", f"/{TENANT}/api/v3/webhooks/{before['id']}")
    assert json.loads(call.body) == {"url": f"{HOOK}/new"}


def test_a_deleted_webhook_is_gone_and_so_it_is_said(sandbox: Sandbox, omneo: OmneoClient) -> None:
    omneo.create_webhook("profile.updated", HOOK, "klaviyo")
    (listed,) = omneo.webhooks("klaviyo")
    omneo.delete_webhook(listed.id)
    assert sandbox.omneo.webhooks(TENANT) == []
    for again in (omneo.delete_webhook, lambda id: omneo.update_webhook_url(id, HOOK)):
        with pytest.raises(NotFoundError):
            again(listed.id)


def test_the_webhooks_of_a_namespace_are_listed_to_the_end(sandbox: Sandbox, omneo: OmneoClient) -> None:
    for number in range(205):
        sandbox.omneo.webhook(
            TENANT, trigger=f"custom.{number}", url=HOOK, namespace="klaviyo", is_active=number % 2 == 0
        )
    sandbox.omneo.webhook(TENANT, trigger="order.created", url=HOOK, namespace="erp")
    listed = omneo.webhooks("klaviyo")
    assert [hook.trigger for hook in listed] == [f"custom.{number}" for number in range(205)]
    assert [hook.is_active for hook in listed[:2]] == [True, False]
    assert {hook.url for hook in listed} == {HOOK}
    assert len(sandbox.omneo.calls.all()) == 3


def test_the_filter_is_kept_when_the_link_to_the_next_page_does_not_repeat_it() -> None:
    row = {"id": 1, "trigger": "profile.updated", "url": HOOK}
    with responses.RequestsMock() as mock:
        first = {"data": [row], "links": {"next": f"{URL}/api/v3/webhooks?page=2"}}
        mock.add(responses.GET, f"{URL}/api/v3/webhooks", json=first)
        mock.add(responses.GET, f"{URL}/api/v3/webhooks", json={"data": [], "links": {"next": None}})
        assert len(client(URL).webhooks("klaviyo")) == 1
        asked = [dict(parse_qsl(str(call.request.url).partition("?")[2])) for call in mock.calls]
    assert asked[1] == {**asked[0], "page": "2"}
    assert asked[0]["filter[namespace]"] == "klaviyo"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "canary",
        {},
        {"data": "canary"},
        {"data": None},
        {"data": {}},
        {"data": [None]},
        {"data": [{"id": "canary", "trigger": "t", "url": "u"}]},
        {"data": [{"id": 1}]},
        {"data": [{"id": 1, "trigger": 5, "url": None}]},
        {"data": [], "links": "canary"},
        {"data": [], "links": {"next": 5}},
        {"data": [], "links": {"next": "http://["}},
        {"data": [], "links": {"next": f"{URL}/api/v3/webhooks?page=2"}},
    ],
    ids=str,
)
def test_a_list_that_cannot_be_read_or_has_no_end_waits_and_repeats_nothing(body: Any) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/webhooks", json=body)
        with pytest.raises(WaitError) as caught:
            client(URL).webhooks("klaviyo")
        assert len(mock.calls) <= 2
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("body", [{"data": []}, {"data": [], "links": None}, {"data": [], "links": {}}])
def test_an_empty_list_in_every_form_it_may_come_is_empty(body: Any) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/webhooks", json=body)
        assert client(URL).webhooks("klaviyo") == []


def test_a_token_that_is_not_accepted_is_told_apart(sandbox: Sandbox, omneo: OmneoClient) -> None:
    sandbox.omneo.expire(TENANT)
    with pytest.raises(TokenRejectedError):
        omneo.webhooks("klaviyo")
