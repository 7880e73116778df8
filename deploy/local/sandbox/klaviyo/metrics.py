"""Klaviyo's endpoints of metrics and of recorded events, one function each.

Klaviyo's pages "Get Metrics" and "Get Events": custom metrics are not supported in the filter `metric_id`; a row's id is
what a system webhook calls `external_id`.

Assumed (apps-own-metrics, order-of-events):
- Every topic that the account offers has its metric from the start, an app's own from its first event on.
- An app's own metrics belong to an integration "Custom" with the key `custom`.
- Events come newest first unless `sort` says otherwise, of one second the last recorded first; a `metric_id` that no
  metric has finds nothing.
- An id of an event is malformed unless it looks like one that the sandbox makes.
- `integration.category` is "Internal" for Klaviyo's own and "API" for the rest.
"""

import re
from collections.abc import Iterator
from typing import Any

from deploy.local.sandbox.klaviyo import errors, filters, profiles
from deploy.local.sandbox.klaviyo.accounts import Account
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.documents import InvalidParameterError, Resource, iso, one, page
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.event_resources import Event, event_resource
from deploy.local.sandbox.klaviyo.filters import COMPARISONS, Clause, Field
from deploy.local.sandbox.klaviyo.topics import integration, metric_name
from deploy.local.sandbox.stage.messages import Answer

TYPE = "metric"
METRICS_PAGE = 200
EVENTS_PAGE, LARGEST_EVENTS_PAGE = 200, 1000
CUSTOM = "custom"
# Klaviyo's own events have eleven letters and digits, those that an app sends a UUID.
_EVENT_ID = re.compile(r"[0-9A-Za-z]{11}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CUSTOM_REFUSAL = "Custom metrics are not supported in the filter 'metric_id'."
_METRIC_FIELDS: dict[str, Field] = {
    "integration.name": Field(lambda row: row["attributes"]["integration"]["name"], ("equals",)),
    "integration.category": Field(lambda row: row["attributes"]["integration"]["category"], ("equals",)),
}


def get_metrics(asked: Asked) -> Answer:
    """`GET /api/metrics`, in pages of 200."""
    rows = list(_metrics(asked.account, asked.url))
    if asked.is_otherwise("metrics-are-named-by-topics"):
        for row in rows:
            row["attributes"]["name"] = f"Klaviyo: {row['attributes']['name']}"
    if "filter" in asked.parameters:
        clauses = filters.parse(asked.parameters["filter"], _METRIC_FIELDS, TYPE)
        rows = filters.matching(rows, clauses, _METRIC_FIELDS)
    return page(rows, f"{asked.url}/api/metrics", asked.parameters, size=METRICS_PAGE, largest=METRICS_PAGE)


def get_events(asked: Asked) -> Answer:
    """`GET /api/events`, in pages."""
    account, parameters = asked.account, asked.parameters
    fields = _event_fields(account)
    rows = list(account.events)
    if "filter" in parameters:
        clauses = filters.parse(parameters["filter"], fields, "event")
        _refuse_custom_metrics(account, clauses)
        rows = filters.matching(rows, clauses, fields)
    order = parameters.get("sort", "-datetime")
    if order.removeprefix("-") not in ("datetime", "timestamp"):
        raise InvalidParameterError("Sort by datetime or timestamp.", "sort")
    rows.sort(key=lambda event: event.time)
    if order.startswith("-"):
        rows.reverse()
    wanted = _wanted(parameters.get("include"))
    return page(
        [_shown(asked, event) for event in rows],
        f"{asked.url}/api/events",
        parameters,
        size=EVENTS_PAGE,
        largest=LARGEST_EVENTS_PAGE,
        include=lambda resources: None if wanted is None else list(_included(asked, resources, wanted)),
    )


def get_event(asked: Asked) -> Answer:
    """`GET /api/events/{id}`."""
    if not _EVENT_ID.fullmatch(asked.id):
        return errors.invalid([Problem("This is not a valid event id.", "/data/id")])
    found = next((event for event in asked.account.events if event.id == asked.id), None)
    return errors.missing("event", asked.id) if found is None else one(_shown(asked, found))


def event_metric_id(account: Account, event: Event) -> str:
    """Return the id of the metric that an event is of."""
    return account.metric_id(event.metric, is_custom=not event.topic)


def _metrics(account: Account, url: str) -> Iterator[Resource]:
    for topic in account.topics:
        key = integration(topic)
        name = {"klaviyo": "Klaviyo", "api": "API"}.get(key, key.capitalize())
        category = "Internal" if key == "klaviyo" else "API"
        title = metric_name(topic)
        yield _metric(account, account.metric_id(title), title, (key, name, category), url)
    for title, id in account.custom_metric_ids.items():
        yield _metric(account, id, title, (CUSTOM, "Custom", "API"), url)


def _metric(account: Account, id: str, name: str, owner: tuple[str, str, str], url: str) -> Resource:
    made = iso(account.created_at)
    key, integration_name, category = owner
    path = f"{url}/api/metrics/{id}"
    belongs = {
        "object": "integration",
        "id": key,
        "key": key,
        "name": integration_name,
        "category": category,
    }
    links = {
        "self": f"{path}/relationships/flow-triggers/",
        "related": f"{path}/flow-triggers/",
    }
    return {
        "type": TYPE,
        "id": id,
        "attributes": {"name": name, "created": made, "updated": made, "integration": belongs},
        "relationships": {"flow-triggers": {"links": links}},
        "links": {"self": f"{path}/"},
    }


def _event_fields(account: Account) -> dict[str, Field]:
    def time(event: Any) -> float:
        return float(event.time)

    return {
        "metric_id": Field(lambda event: event_metric_id(account, event), ("equals",)),
        "profile_id": Field(lambda event: event.profile_id, ("equals",)),
        "profile": Field(time, ("has",), "none"),
        "metric": Field(time, ("has",), "none"),
        "datetime": Field(time, COMPARISONS, "time"),
        "timestamp": Field(time, COMPARISONS, "number"),
    }


def _refuse_custom_metrics(account: Account, clauses: list[Clause]) -> None:
    custom = set(account.custom_metric_ids.values())
    if any(clause.field == "metric_id" and custom & set(clause.values) for clause in clauses):
        raise InvalidParameterError(_CUSTOM_REFUSAL, "filter")


def _wanted(include: str | None) -> set[str] | None:
    if include is None:
        return None
    wanted = set(include.split(","))
    if unknown := wanted - {"metric", "profile"}:
        raise InvalidParameterError(f"Cannot include: {', '.join(sorted(unknown))}.", "include")
    return wanted


def _shown(asked: Asked, event: Event) -> Resource:
    resource = event_resource(event, event_metric_id(asked.account, event))
    if asked.is_otherwise("event-names-its-profile"):
        del resource["relationships"]["profile"]
    return {**resource, "links": {"self": f"{asked.url}/api/events/{event.id}/"}}


def _included(asked: Asked, resources: list[Resource], wanted: set[str]) -> Iterator[Resource]:
    metrics = {row["id"]: row for row in _metrics(asked.account, asked.url)}
    for id in _ids(resources, "metric") if "metric" in wanted else ():
        if id in metrics:
            yield metrics[id]
    for id in _ids(resources, "profile") if "profile" in wanted else ():
        profile = asked.account.profile(id)
        if profile is not None:
            yield profiles.to_resource(profile, asked.url)


def _ids(resources: list[Resource], kind: str) -> list[str]:
    return list(dict.fromkeys(row["relationships"][kind]["data"]["id"] for row in resources))
