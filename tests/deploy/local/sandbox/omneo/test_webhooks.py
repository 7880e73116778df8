"""The sandbox's Omneo webhooks as the extension sees them, and what a token says of itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.omneo.reactions import InvalidRowError
from tests.deploy.local.sandbox.times import NOON

ADDRESS = "https://extension.example.org/acme/api/v1/webhooks/omneo"
Call = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-acme", token_expires_at=NOON + 60)
        yield sandbox


def a_webhook(**changes: Any) -> dict[str, Any]:
    return {
        "trigger": "profile.updated",
        "url": ADDRESS,
        "namespace": "klaviyo",
        "is_active": False,
        **changes,
    }


def test_a_webhook_is_made_read_changed_and_removed(sandbox: Sandbox, call: Call) -> None:
    made = call("POST", "/webhooks", a_webhook(condition={"==": [1, 1]}))
    assert made.status_code == 201
    webhook = made.json()["data"]
    assert webhook == {
        "id": 1,
        "trigger": "profile.updated",
        "url": ADDRESS,
        "namespace": "klaviyo",
        "is_active": False,
        "queue": "default",
        "retry_hourly": False,
        "retry_daily": False,
        "condition": {"==": [1, 1]},
        "created_at": "2026-09-21 14:13:20",
        "updated_at": "2026-09-21 14:13:20",
    }
    sandbox.advance(1)
    changed = call("PUT", "/webhooks/1", {"is_active": 1, "url": f"{ADDRESS}/new"}).json()["data"]
    assert (changed["is_active"], changed["url"], changed["trigger"]) == (
        True,
        f"{ADDRESS}/new",
        "profile.updated",
    )
    assert (changed["created_at"], changed["updated_at"]) == ("2026-09-21 14:13:20", "2026-09-21 14:13:21")
    assert call("GET", "/webhooks/1").json()["data"] == changed
    assert sandbox.omneo.webhooks("acme") == [changed]
    removed = call("DELETE", "/webhooks/1")
    assert (removed.status_code, removed.content) == (204, b"")
    assert sandbox.omneo.webhooks("acme") == []


@pytest.mark.parametrize(
    ("queue", "kept"), [("high", "high"), ("default", "default"), ("urgent", "low"), (7, "low")]
)
def test_a_queue_that_does_not_exist_becomes_low(call: Call, queue: Any, kept: str) -> None:
    assert call("POST", "/webhooks", a_webhook(queue=queue)).json()["data"]["queue"] == kept


def test_one_that_does_not_say_is_active(call: Call) -> None:
    body = a_webhook()
    del body["is_active"]
    assert call("POST", "/webhooks", body).json()["data"]["is_active"] is True


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"trigger": None}, "trigger"),
        ({"trigger": ""}, "trigger"),
        ({"url": None}, "url"),
        ({"url": "extension"}, "url"),
        ({"namespace": None}, "namespace"),
        ({"is_active": "yes"}, "is_active"),
        ({"retry_hourly": None}, "retry_hourly"),
        ({"retry_daily": 2}, "retry_daily"),
        ({"condition": 7}, "condition"),
        ({"trigger": "profile.created"}, "url"),
    ],
)
def test_what_cannot_be_kept_is_422_by_field(
    sandbox: Sandbox, call: Call, changes: dict[str, Any], field: str
) -> None:
    taken = sandbox.omneo.webhook("acme", **a_webhook(trigger="profile.created"))
    answer = call("POST", "/webhooks", a_webhook(**changes))
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
    assert sandbox.omneo.webhooks("acme") == [taken]


def test_trigger_and_url_are_unique_together_and_with_itself_a_webhook_does_not_clash(
    sandbox: Sandbox, call: Call
) -> None:
    call("POST", "/webhooks", a_webhook())
    assert call("POST", "/webhooks", a_webhook(url=f"{ADDRESS}/2")).status_code == 201
    assert call("PUT", "/webhooks/2", a_webhook(url=f"{ADDRESS}/2", is_active=True)).status_code == 200
    refused = call("PUT", "/webhooks/2", {"url": ADDRESS})
    assert refused.json()["errors"] == {"url": ["The url has already been taken."]}
    with pytest.raises(InvalidRowError):
        sandbox.omneo.webhook("acme", **a_webhook(namespace="other"))


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [1, 2, 3]),
        ({"filter[namespace]": "klaviyo"}, [1, 2]),
        ({"filter[namespace][eq]": "klaviyo"}, [1, 2]),
        ({"filter[namespace]": "klaviyo", "filter[trigger]": "profile.deleted"}, [2]),
        ({"filter[is_active]": "1"}, [2, 3]),
        ({"filter[is_active]": "0"}, [1]),
        ({"filter[namespace]": "nobody"}, []),
    ],
)
def test_a_list_is_filtered_and_paged(
    sandbox: Sandbox, call: Call, filters: dict[str, str], found: list[int]
) -> None:
    sandbox.omneo.webhook("acme", **a_webhook())
    sandbox.omneo.webhook("acme", **a_webhook(trigger="profile.deleted", is_active=True))
    sandbox.omneo.webhook("acme", **a_webhook(namespace="other", url=f"{ADDRESS}/2", is_active=True))
    body = call("GET", "/webhooks", **filters, **{"page[size]": 2}).json()
    assert [row["id"] for row in body["data"]] == found[:2]
    assert body["meta"]["total"] == len(found)
    assert (body["links"]["next"] is None) is (len(found) <= 2)


@pytest.mark.parametrize(
    "filters", [{"filter[url]": ADDRESS}, {"filter[is_active]": "true"}, {"filter[trigger][in]": "a"}]
)
def test_a_filter_that_would_be_ignored_is_501(call: Call, filters: dict[str, str]) -> None:
    assert call("GET", "/webhooks", **filters).status_code == 501


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/webhooks/9", 404),
        ("PUT", "/webhooks/9", 404),
        ("DELETE", "/webhooks/9", 404),
        ("PATCH", "/webhooks/9", 405),
        ("DELETE", "/webhooks", 405),
        ("POST", "/auth/verify", 405),
    ],
)
def test_what_is_not_there_is_refused(call: Call, method: str, path: str, status: int) -> None:
    assert call(method, path, {} if method in ("PUT", "POST") else None).status_code == status


def test_a_token_says_when_it_expires_and_is_401_from_then_on(sandbox: Sandbox, call: Call) -> None:
    verified = call("GET", "/auth/verify")
    assert verified.status_code == 200
    assert verified.json()["data"]["expires_at"] == "2026-09-21 14:14:20"
    assert "canary" not in verified.text
    sandbox.advance(59)
    assert call("GET", "/auth/verify").status_code == 200
    sandbox.advance(1)
    assert call("GET", "/auth/verify").status_code == 401
    assert call("GET", "/webhooks").status_code == 401


def test_a_token_lives_a_year_unless_said_and_can_be_ended(sandbox: Sandbox) -> None:
    tenant = sandbox.omneo.tenant("year")

    def verify() -> requests.Response:
        url = f"{sandbox.omneo.url_template.format(tenant='year')}/api/v3/auth/verify"
        return requests.get(url, headers={"Authorization": f"Bearer {tenant.token}"}, timeout=60)

    assert verify().json()["data"]["expires_at"] == "2027-09-21 14:13:20"
    sandbox.omneo.expire("year")
    assert verify().status_code == 401


def test_an_answer_can_be_lost_after_the_webhook_was_made(sandbox: Sandbox, call: Call) -> None:
    sandbox.omneo.fail(match="POST */webhooks", kind="reset", takes_effect=True)
    with pytest.raises(requests.ConnectionError):
        call("POST", "/webhooks", a_webhook())
    assert len(sandbox.omneo.webhooks("acme")) == 1
    assert call("POST", "/webhooks", a_webhook()).status_code == 422
