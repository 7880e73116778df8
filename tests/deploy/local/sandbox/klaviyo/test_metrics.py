"""The sandbox's metrics and recorded events as an app reads them back."""

from typing import Any

import pytest
from openapi_client.models.get_event_response_collection_compound_document import (
    GetEventResponseCollectionCompoundDocument,
)
from openapi_client.models.get_metric_response_collection_compound_document import (
    GetMetricResponseCollectionCompoundDocument,
)

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
from tests.deploy.local.sandbox.klaviyo.calls import ACCOUNT, JANE, Caller, filtered, problems_of
from tests.deploy.local.sandbox.times import NOON

EVENTS, METRICS = "/api/events", "/api/metrics"


@pytest.fixture
def jane(sandbox: Sandbox) -> Profile:
    return sandbox.klaviyo.profile(ACCOUNT, email=JANE)


def create_event(call: Caller, metric: str = "Reward Issued", **properties: Any) -> None:
    attributes = {
        "properties": properties,
        "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": JANE}}},
    }
    assert call("POST", EVENTS, {"data": {"type": "event", "attributes": attributes}}).status_code == 202


def without_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """The official models do not know the null links that Klaviyo sends."""
    return {**body, "links": {name: link for name, link in body["links"].items() if link is not None}}


def metric_ids(call: Caller, integration: str) -> dict[str, str]:
    rows = call("GET", filtered(METRICS, f'equals(integration.name,"{integration}")')).json()["data"]
    return {row["attributes"]["name"]: row["id"] for row in rows}


def test_klaviyos_metrics_stand_there_from_the_start(call: Caller) -> None:
    body = call("GET", METRICS).json()
    GetMetricResponseCollectionCompoundDocument.model_validate(without_nulls(body))
    named = metric_ids(call, "Klaviyo")
    for name in (
        "Subscribed to Email Marketing",
        "Unsubscribed from List",
        "Bounced Email",
        "Marked Email as Spam",
        "Failed to Deliver SMS",
        "Subscribed to Text Messaging Marketing",
        "Updated Email Preferences",
    ):
        assert name in named
    assert len(set(named.values())) == len(named) < len(body["data"])
    assert problems_of(call("GET", filtered(METRICS, 'equals(name,"Bounced Email")'))) == ["filter"]
    assert problems_of(call("GET", f"{METRICS}?page[size]=10")) == ["page[size]"]


def test_an_apps_metric_is_another_one_than_klaviyos_of_the_same_name(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    create_event(call, "Subscribed to Email Marketing")
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    own = metric_ids(call, "Custom")["Subscribed to Email Marketing"]
    klaviyos = metric_ids(call, "Klaviyo")["Subscribed to Email Marketing"]
    rows = call("GET", EVENTS).json()["data"]
    assert [row["relationships"]["metric"]["data"]["id"] for row in rows] == [klaviyos, own]
    found = call("GET", filtered(EVENTS, f'equals(metric_id,"{klaviyos}")')).json()["data"]
    assert [row["id"] for row in found] == [rows[0]["id"]]
    refused = call("GET", filtered(EVENTS, f'equals(metric_id,"{own}")'))
    assert (refused.status_code, problems_of(refused)) == (400, ["filter"])


def test_an_event_read_back_is_the_one_that_was_recorded(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.bounce(ACCOUNT, jane.id, hard=True, at=NOON - 60)
    (event,) = sandbox.klaviyo.events(ACCOUNT)
    body = call("GET", f"{EVENTS}?include=metric,profile").json()
    GetEventResponseCollectionCompoundDocument.model_validate(without_nulls(body))
    (row,) = body["data"]
    assert (row["id"], row["attributes"]["timestamp"]) == (event.id, int(NOON) - 60)
    assert row["attributes"]["event_properties"] == {"Bounce Type": "Hard"}
    assert row["relationships"]["profile"]["data"]["id"] == jane.id
    assert row["links"]["self"] == f"{sandbox.klaviyo.url}/api/events/{event.id}/"
    metric, profile = body["included"]
    assert (metric["type"], metric["attributes"]["name"]) == ("metric", "Bounced Email")
    assert (profile["id"], profile["attributes"]["email"]) == (jane.id, JANE)
    assert "included" not in call("GET", EVENTS).json()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"greater-than(timestamp,{int(NOON) + 1})", [2]),
        (f"greater-or-equal(timestamp,{int(NOON) + 1})", [2, 1]),
        (f"less-than(timestamp,{int(NOON) + 1})", [0]),
        ("less-or-equal(datetime,2026-09-21T14:13:21Z)", [1, 0]),
        ("greater-than(datetime,2026-09-21T14:13:20Z),less-than(datetime,2026-09-21T14:13:22Z)", [1]),
        ("has(profile)", [2, 1, 0]),
        ('equals(profile_id,"01HXUNKNOWN")', []),
        ('equals(metric_id,"nobody")', []),
    ],
)
def test_events_are_found_by_a_filter_newest_first(
    sandbox: Sandbox, call: Caller, jane: Profile, text: str, found: list[int]
) -> None:
    for second in range(3):
        sandbox.klaviyo.drop_email(ACCOUNT, jane.id, at=NOON + second)
    rows = call("GET", filtered(EVENTS, text)).json()["data"]
    assert [row["attributes"]["timestamp"] - int(NOON) for row in rows] == found


def test_events_are_found_by_profile_and_sorted_as_asked(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    for second in range(3):
        sandbox.klaviyo.drop_email(ACCOUNT, jane.id, at=NOON + second)
    sandbox.klaviyo.drop_email(ACCOUNT, other.id, at=NOON)
    path = filtered(EVENTS, f'equals(profile_id,"{jane.id}")')

    def order(sort: str) -> list[int]:
        rows = call("GET", f"{path}&sort={sort}").json()["data"]
        return [row["attributes"]["timestamp"] - int(NOON) for row in rows]

    assert (order("datetime"), order("timestamp")) == ([0, 1, 2], [0, 1, 2])
    assert (order("-datetime"), order("-timestamp")) == ([2, 1, 0], [2, 1, 0])
    assert problems_of(call("GET", f"{EVENTS}?sort=name")) == ["sort"]
    assert problems_of(call("GET", f"{EVENTS}?include=shoes")) == ["include"]
    for text in (
        'greater-than(timestamp,"now")',
        "has(profile,1)",
        'equals(name,"x")',
        "equals(timestamp,1)",
    ):
        assert problems_of(call("GET", filtered(EVENTS, text))) == ["filter"]


def test_events_come_in_pages_of_at_most_1000(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    for second in range(1001):
        sandbox.klaviyo.drop_email(ACCOUNT, jane.id, at=NOON + second)
    assert len(call("GET", EVENTS).json()["data"]) == 200
    first = call("GET", f"{EVENTS}?page[size]=1000&sort=datetime&include=profile").json()
    rest = call("GET", first["links"]["next"].removeprefix(sandbox.klaviyo.url)).json()
    assert (len(first["data"]), len(first["included"])) == (1000, 1)
    assert [row["attributes"]["timestamp"] for row in rest["data"]] == [int(NOON) + 1000]
    assert (rest["links"]["next"], len(rest["included"])) == (None, 1)
    assert problems_of(call("GET", f"{EVENTS}?page[size]=1001")) == ["page[size]"]


def test_what_an_event_had_beside_its_properties_comes_back_among_them(call: Caller, jane: Profile) -> None:
    metric = {"data": {"type": "metric", "attributes": {"name": "Points Earned"}}}
    attributes = {
        "properties": {"points": 5},
        "unique_id": "order-7",
        "value": 9.5,
        "value_currency": "AUD",
        "metric": metric,
        "profile": {"data": {"type": "profile", "id": jane.id, "attributes": {}}},
    }
    sent = call("POST", "/api/events", {"data": {"type": "event", "attributes": attributes}})
    assert sent.status_code == 202
    (row,) = call("GET", filtered("/api/events", f'equals(profile_id,"{jane.id}")')).json()["data"]
    assert row["attributes"]["event_properties"] == {
        "points": 5,
        "$event_id": "order-7",
        "$value": 9.5,
        "$value_currency": "AUD",
    }
