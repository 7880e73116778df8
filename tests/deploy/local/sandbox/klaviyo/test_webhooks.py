"""The sandbox's webhooks and webhook topics as a client sees them: masked, limited in number, replaced whole."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from openapi_client.models.get_webhook_response_collection_compound_document import (
    GetWebhookResponseCollectionCompoundDocument,
)
from openapi_client.models.get_webhook_topic_response_collection import GetWebhookTopicResponseCollection
from openapi_client.models.post_webhook_response import PostWebhookResponse
from openapi_client.models.webhook_create_query import WebhookCreateQuery
from openapi_client.models.webhook_partial_update_query import WebhookPartialUpdateQuery

from deploy.local.sandbox import Sandbox

SECRET = "canary-secret-16"
ADDRESS = "https://extension.example.org/canary-acme/system?key=1"
BOUNCED = "event:klaviyo.bounced_email"
SPAM = "event:klaviyo.marked_email_as_spam"
TOPICS = "/data/relationships/webhook-topics"
Call = Callable[..., requests.Response]


@pytest.fixture
def call(sandbox: Sandbox) -> Call:
    """Call five seconds after the last call, so that no limit is in the way."""
    token = sandbox.klaviyo.install("WBhXHN").access_token

    def call(method: str, path: str, body: object = None, *, bearer: str = token) -> requests.Response:
        sandbox.advance(5)
        headers = {"Authorization": f"Bearer {bearer}", "revision": "2026-10-15"}
        if body is not None:
            headers["Content-Type"] = "application/vnd.api+json"
        data = None if body is None else json.dumps(body)
        return requests.request(
            method, f"{sandbox.klaviyo.url}/api{path}", data=data, headers=headers, timeout=60
        )

    return call


def named(*topics: Any) -> dict[str, Any]:
    return {"webhook-topics": {"data": [{"type": "webhook-topic", "id": topic} for topic in topics]}}


def a_webhook(*topics: Any, relationships: Any = None, **changes: Any) -> dict[str, Any]:
    attributes = {"name": "Omneo acme", "endpoint_url": ADDRESS, "secret_key": SECRET, **changes}
    return {
        "data": {
            "type": "webhook",
            "attributes": {name: value for name, value in attributes.items() if value is not ...},
            "relationships": relationships or named(*topics or [BOUNCED]),
        }
    }


def an_update(id: str, *topics: Any, relationships: Any = None, **attributes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "webhook", "id": id, "attributes": attributes}
    if topics or relationships is not None:
        data["relationships"] = relationships or named(*topics)
    return {"data": data}


def make(call: Call, **changes: Any) -> str:
    return str(call("POST", "/webhooks", a_webhook(**changes)).json()["data"]["id"])


def test_the_topics_are_klaviyos_and_those_of_two_integrations(call: Call) -> None:
    body = call("GET", "/webhook-topics").json()
    GetWebhookTopicResponseCollection.model_validate(body)
    ids = [topic["id"] for topic in body["data"]]
    assert sum(id.startswith("event:klaviyo.") for id in ids) == 45
    assert ids[45:] == ["event:api.viewed_product", "event:stripe.failed_payment"]
    assert (body["links"]["next"], body["links"]["prev"]) == (None, None)


def test_the_topics_of_an_account_can_be_set(sandbox: Sandbox, call: Call) -> None:
    sandbox.klaviyo.account("WBhXHN", topics=[BOUNCED])
    assert [topic["id"] for topic in call("GET", "/webhook-topics").json()["data"]] == [BOUNCED]
    assert call("GET", f"/webhook-topics/{BOUNCED}").json()["data"]["id"] == BOUNCED
    assert call("GET", f"/webhook-topics/{BOUNCED.replace(':', '%3A')}").status_code == 200
    assert call("GET", f"/webhook-topics/{SPAM}").status_code == 404
    assert call("POST", "/webhooks", a_webhook(SPAM)).status_code == 400


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (a_webhook(BOUNCED, SPAM), "https://extension.example.org/*****"),
        (a_webhook(description="d"), "https://extension.example.org/*****"),
        (a_webhook(description=None), "https://extension.example.org/*****"),
        (a_webhook(endpoint_url="https://a.example.org:8443"), "https://a.example.org:8443/*****"),
        (a_webhook(endpoint_url="http://127.0.0.1:8080/canary"), "http://127.0.0.1:8080/*****"),
        (a_webhook(endpoint_url="http://localhost/canary"), "http://localhost/*****"),
    ],
)
def test_what_the_official_model_accepts_is_made_and_its_address_and_secret_are_hidden(
    sandbox: Sandbox, call: Call, body: dict[str, Any], shown: str
) -> None:
    WebhookCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    made = call("POST", "/webhooks", body)
    assert made.status_code == 201
    PostWebhookResponse.model_validate(made.json())
    webhook, given = made.json()["data"], body["data"]
    assert webhook["attributes"] == {
        "name": "Omneo acme",
        "endpoint_url": shown,
        "enabled": True,
        "description": given["attributes"].get("description"),
        "created_at": "2026-09-21T14:13:25+00:00",
    }
    assert webhook["relationships"] == given["relationships"]
    read, listed = call("GET", f"/webhooks/{webhook['id']}"), call("GET", "/webhooks")
    assert (read.json()["data"], listed.json()["data"]) == (webhook, [webhook])
    assert "canary" not in made.text + read.text + listed.text
    (known,) = sandbox.klaviyo.webhooks("WBhXHN")
    assert (known.id, known.secret_key) == (webhook["id"], SECRET)
    assert known.endpoint_url == given["attributes"]["endpoint_url"]
    assert SECRET not in repr(known)


REFUSED: list[tuple[str, Any, str]] = [
    ("a list", [], "/data"),
    ("another type", {"data": {**a_webhook()["data"], "type": "hook"}}, "/data/type"),
    ("no attributes", {"data": {"type": "webhook", "relationships": named(BOUNCED)}}, "/data/attributes"),
    ("no name", a_webhook(name=...), "/data/attributes/name"),
    ("an empty name", a_webhook(name=""), "/data/attributes/name"),
    ("no address", a_webhook(endpoint_url=...), "/data/attributes/endpoint_url"),
    ("http", a_webhook(endpoint_url="http://a.example.org/"), "/data/attributes/endpoint_url"),
    ("no host", a_webhook(endpoint_url="https:///path"), "/data/attributes/endpoint_url"),
    ("half a host", a_webhook(endpoint_url="https://[::1"), "/data/attributes/endpoint_url"),
    ("a number as address", a_webhook(endpoint_url=7), "/data/attributes/endpoint_url"),
    ("no secret", a_webhook(secret_key=...), "/data/attributes/secret_key"),
    ("a null secret", a_webhook(secret_key=None), "/data/attributes/secret_key"),
    ("15 characters", a_webhook(secret_key=SECRET[:15]), "/data/attributes/secret_key"),
    ("a number as description", a_webhook(description=7), "/data/attributes/description"),
    ("enabled", a_webhook(enabled=True), "/data/attributes/enabled"),
    ("an unknown attribute", a_webhook(url=ADDRESS), "/data/attributes/url"),
    ("no topics", {"data": {key: value for key, value in a_webhook()["data"].items() if key != "relationships"}}, TOPICS),
    ("an empty list of topics", a_webhook(relationships={"webhook-topics": {"data": []}}), TOPICS),
    ("topics without data", a_webhook(relationships={"webhook-topics": {}}), TOPICS),
    ("a topic of another type", a_webhook(relationships={"webhook-topics": {"data": [{"type": "topic", "id": BOUNCED}]}}), f"{TOPICS}/data/0/type"),
    ("an unknown topic", a_webhook(BOUNCED, "event:klaviyo.email_delivered"), f"{TOPICS}/data/1/id"),
    ("a number as topic", a_webhook(7), f"{TOPICS}/data/0/id"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "pointer"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_body_that_klaviyo_would_refuse_is_400_and_makes_nothing(
    sandbox: Sandbox, call: Call, body: Any, pointer: str
) -> None:
    answer = call("POST", "/webhooks", body)
    assert answer.status_code == 400
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert sandbox.klaviyo.webhooks("WBhXHN") == []


def test_an_account_has_at_most_ten_webhooks_whosever_they_are(sandbox: Sandbox, call: Call) -> None:
    for number in range(9):
        sandbox.klaviyo.webhook("WBhXHN", f"{number}", endpoint_url=ADDRESS, secret_key=SECRET, topics=[SPAM])
    tenth = make(call)
    refused = call("POST", "/webhooks", a_webhook())
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "invalid")
    assert call("DELETE", f"/webhooks/{tenth}").status_code == 204
    assert call("POST", "/webhooks", a_webhook()).status_code == 201


def test_names_are_not_unique(sandbox: Sandbox, call: Call) -> None:
    assert make(call) != make(call)
    assert [webhook.name for webhook in sandbox.klaviyo.webhooks("WBhXHN")] == ["Omneo acme"] * 2


def test_topics_are_included_when_asked_for(call: Call) -> None:
    id = make(call, relationships=named(BOUNCED, SPAM, BOUNCED))
    whole = call("GET", "/webhooks?include=webhook-topics").json()
    GetWebhookResponseCollectionCompoundDocument.model_validate(whole)
    for body in (whole, call("GET", f"/webhooks/{id}?include=webhook-topics").json()):
        assert [(row["type"], row["id"]) for row in body["included"]] == [
            ("webhook-topic", BOUNCED),
            ("webhook-topic", SPAM),
        ]
    assert "included" not in call("GET", "/webhooks").json()


@pytest.mark.parametrize("query", ["include=topics", "page[size]=10", "filter=equals(name,%22a%22)"])
@pytest.mark.parametrize("one", [False, True])
def test_a_list_that_takes_no_paging_or_filter_refuses_them(call: Call, one: bool, query: str) -> None:
    path = f"/webhooks/{make(call)}" if one else "/webhooks"
    assert call("GET", f"{path}?{query}").status_code == 400


@pytest.mark.parametrize(
    ("attributes", "changed"),
    [
        ({}, {}),
        ({"name": "New"}, {"name": "New"}),
        ({"description": "New"}, {"description": "New"}),
        ({"description": None}, {}),
        ({"name": None, "endpoint_url": None, "secret_key": None, "enabled": None}, {}),
        (
            {"endpoint_url": "https://b.example.org/canary"},
            {"endpoint_url": "https://b.example.org/canary"},
        ),
        ({"secret_key": "canary-new-secret"}, {"secret_key": "canary-new-secret"}),
        ({"enabled": False}, {"enabled": False}),
    ],
)
def test_an_update_changes_what_it_names_and_ignores_nulls(
    sandbox: Sandbox, call: Call, attributes: dict[str, Any], changed: dict[str, Any]
) -> None:
    id = make(call, description="Old")
    (before,) = sandbox.klaviyo.webhooks("WBhXHN")
    body = an_update(id, **attributes)
    WebhookPartialUpdateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("PATCH", f"/webhooks/{id}", body)
    assert answer.status_code == 200
    assert "canary" not in answer.text
    (after,) = sandbox.klaviyo.webhooks("WBhXHN")
    assert vars(after) == {**vars(before), **changed, "updated_at": before.created_at + 5}


def test_topics_are_replaced_whole_and_kept_if_not_named(sandbox: Sandbox, call: Call) -> None:
    id = make(call, relationships=named(BOUNCED, SPAM))
    answer = call("PATCH", f"/webhooks/{id}", an_update(id, "event:klaviyo.sent_sms"))
    assert answer.json()["data"]["relationships"] == named("event:klaviyo.sent_sms")
    call("PATCH", f"/webhooks/{id}", an_update(id, name="New"))
    assert sandbox.klaviyo.webhooks("WBhXHN")[0].topics == ["event:klaviyo.sent_sms"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"id": "other"}, "/data/id"),
        ({"secret_key": "short"}, "/data/attributes/secret_key"),
        ({"endpoint_url": "http://a.example.org/"}, "/data/attributes/endpoint_url"),
        ({"enabled": "true"}, "/data/attributes/enabled"),
        ({"name": ""}, "/data/attributes/name"),
        ({"colour": "red"}, "/data/attributes/colour"),
        ({"relationships": {"webhook-topics": {"data": []}}}, TOPICS),
        ({"relationships": named("event:klaviyo.nothing")}, f"{TOPICS}/data/0/id"),
    ],
)
def test_an_update_that_klaviyo_would_refuse_is_400_and_changes_nothing(
    sandbox: Sandbox, call: Call, changes: dict[str, Any], pointer: str
) -> None:
    id = make(call)
    before = sandbox.klaviyo.webhooks("WBhXHN")
    answer = call("PATCH", f"/webhooks/{id}", an_update(**{"id": id, "description": "New", **changes}))
    assert answer.status_code == 400
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert sandbox.klaviyo.webhooks("WBhXHN") == before


def test_a_webhook_that_was_disabled_is_enabled_again_by_an_update(sandbox: Sandbox, call: Call) -> None:
    id = make(call)
    sandbox.klaviyo.disable_webhook("WBhXHN", id)
    assert call("GET", f"/webhooks/{id}").json()["data"]["attributes"]["enabled"] is False
    call("PATCH", f"/webhooks/{id}", an_update(id, name="Renamed"))
    assert sandbox.klaviyo.webhooks("WBhXHN")[0].enabled is False
    call("PATCH", f"/webhooks/{id}", an_update(id, enabled=True))
    assert sandbox.klaviyo.webhooks("WBhXHN")[0].enabled is True


@pytest.mark.parametrize(("method", "status"), [("GET", 404), ("PATCH", 404), ("DELETE", 404), ("PUT", 405)])
def test_a_webhook_of_another_account_is_not_there(
    sandbox: Sandbox, call: Call, method: str, status: int
) -> None:
    id, other = make(call), sandbox.klaviyo.install("OTHER1").access_token
    body = an_update(id, name="Taken") if method == "PATCH" else None
    assert call(method, f"/webhooks/{id}", body, bearer=other).status_code == status
    assert call("GET", "/webhooks", bearer=other).json()["data"] == []
    assert [webhook.name for webhook in sandbox.klaviyo.webhooks("WBhXHN")] == ["Omneo acme"]


def test_an_answer_can_be_lost_after_the_webhook_was_made(sandbox: Sandbox, call: Call) -> None:
    sandbox.klaviyo.fail(match="POST /api/webhooks", kind="reset", takes_effect=True)
    with pytest.raises(requests.ConnectionError):
        call("POST", "/webhooks", a_webhook())
    assert [webhook.name for webhook in sandbox.klaviyo.webhooks("WBhXHN")] == ["Omneo acme"]


def test_what_the_app_made_outlives_it(sandbox: Sandbox, call: Call) -> None:
    make(call)
    sandbox.klaviyo.uninstall("WBhXHN")
    assert call("GET", "/webhooks").status_code == 401
    assert len(sandbox.klaviyo.webhooks("WBhXHN")) == 1
