"""Klaviyo's endpoints, one function each, and the table of their paths, scopes and limits. Credentials, limits and
headers are checked before they are reached.

Klaviyo's API reference, one page for each endpoint.

Assumed: a trailing slash makes no difference, as the self links of resources have one; lists come oldest first; a query
parameter that the reference does not list for the endpoint is 400; sparse fieldsets (`fields[...]`) are 501, because
ignoring them would return too much; the eleventh webhook is 400; a data source's duplicate title is 409 `duplicate`,
or 400 by a switch; a record for a data source that is not there is 404, or 400 by a switch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox import (
    klaviyo_data_sources,
    klaviyo_errors,
    klaviyo_events,
    klaviyo_records,
    klaviyo_webhooks,
)
from deploy.local.sandbox.klaviyo_accounts import Account
from deploy.local.sandbox.klaviyo_data_sources import DataSource
from deploy.local.sandbox.klaviyo_documents import everything, given, one, page
from deploy.local.sandbox.klaviyo_errors import Problem
from deploy.local.sandbox.klaviyo_records import Record
from deploy.local.sandbox.klaviyo_webhooks import MOST_WEBHOOKS, Webhook
from deploy.local.sandbox.messages import Answer
from deploy.local.sandbox.windows import Window

XS = (Window(1, 1), Window(60, 15))
S = (Window(1, 3), Window(60, 60))
L = (Window(1, 75), Window(60, 750))
XL = (Window(1, 350), Window(60, 3500))
BULK_RECORDS = (Window(1, 3), Window(60, 15))


@dataclass(frozen=True)
class Asked:
    """A call that may be carried out, under the service's lock. `document` is the body's JSON, None if there is none.

    `id` is what the path's placeholder held, `url` the service's address, `now` Unix seconds.
    """

    account: Account
    document: Any
    parameters: Mapping[str, str]
    id: str
    revision: str
    url: str
    now: float
    duplicate_title_status: int
    unknown_data_source_status: int = 404
    unwanted_property: str = ""


@dataclass(frozen=True)
class Endpoint:
    """One row of Klaviyo's reference: the scopes it needs, its limits, what carries it out, and its parameters."""

    scopes: frozenset[str]
    windows: Sequence[Window]
    carry_out: Callable[[Asked], Answer]
    parameters: frozenset[str] = frozenset()


def create_event(asked: Asked) -> Answer:
    """`POST /api/events`."""
    if found := list(klaviyo_events.problems(asked.document, now=asked.now)):
        return klaviyo_errors.invalid(found)
    asked.account.create_event(asked.document["data"]["attributes"], revision=asked.revision)
    return Answer(202)


def get_accounts(asked: Asked) -> Answer:
    """`GET /api/accounts`: the one that the token is for."""
    details, id = asked.account.details, asked.account.id
    address = dict.fromkeys(("address1", "address2", "city", "region", "country", "zip"), "")
    contact = {
        "default_sender_name": details.organization_name,
        "default_sender_email": "store@example.org",
        "website_url": "https://store.example.org",
        "organization_name": details.organization_name,
        "street_address": {**address, "region": None, "country": details.country},
    }
    attributes = {
        "test_account": True,
        "contact_information": contact,
        "industry": "Retail",
        "timezone": details.timezone,
        "preferred_currency": details.currency,
        "public_api_key": id,
        "locale": details.locale,
    }
    links = {"self": f"{asked.url}/api/accounts/{id}/"}
    resource = {"type": "account", "id": id, "attributes": attributes, "links": links}
    return everything([resource], f"{asked.url}/api/accounts")


def get_data_sources(asked: Asked) -> Answer:
    """`GET /api/data-sources`, in pages."""
    rows = [source.to_resource(asked.url) for source in asked.account.data_sources.values()]
    return page(rows, f"{asked.url}/api/data-sources", asked.parameters)


def create_data_source(asked: Asked) -> Answer:
    """`POST /api/data-sources`."""
    if found := list(klaviyo_data_sources.problems(asked.document)):
        return klaviyo_errors.invalid(found)
    sources = asked.account.data_sources
    source = DataSource(asked.account.identifiers.ulid(), **given(asked.document))
    if source.clashes(sources.values()):
        detail = "A data source with this title exists already."
        return klaviyo_errors.error(asked.duplicate_title_status, Problem(detail, "/data/attributes/title"))
    sources[source.id] = source
    return one(source.to_resource(asked.url), status=201)


def get_data_source(asked: Asked) -> Answer:
    """`GET /api/data-sources/{id}`."""
    source = asked.account.data_sources.get(asked.id)
    return klaviyo_errors.error(404) if source is None else one(source.to_resource(asked.url))


def delete_data_source(asked: Asked) -> Answer:
    """`DELETE /api/data-sources/{id}`."""
    removed = asked.account.data_sources.pop(asked.id, None)
    return klaviyo_errors.error(404) if removed is None else Answer(204)


def create_record(asked: Asked) -> Answer:
    """`POST /api/data-source-record-create-jobs`."""
    return _take_records(asked, bulk=False)


def create_records(asked: Asked) -> Answer:
    """`POST /api/data-source-record-bulk-create-jobs`."""
    return _take_records(asked, bulk=True)


def _take_records(asked: Asked, *, bulk: bool) -> Answer:
    account, body = asked.account, asked.document
    if found := list(klaviyo_records.problems(body, bulk=bulk, unwanted=asked.unwanted_property)):
        return klaviyo_errors.invalid(found)
    source = account.data_sources.get(klaviyo_records.data_source_id(body))
    if source is None:
        where = f"{klaviyo_records.SOURCE_POINTER}/data/id"
        return klaviyo_errors.error(
            asked.unknown_data_source_status, Problem("There is no such data source.", where)
        )
    account.records += [
        Record(source.id, source.title, bulk, asked.now, record)
        for record in klaviyo_records.records(body, bulk=bulk)
    ]
    return Answer(204)


def get_webhook_topics(asked: Asked) -> Answer:
    """`GET /api/webhook-topics`, all at once."""
    rows = [klaviyo_webhooks.topic_resource(topic, asked.url) for topic in asked.account.topics]
    return everything(rows, f"{asked.url}/api/webhook-topics")


def get_webhook_topic(asked: Asked) -> Answer:
    """`GET /api/webhook-topics/{id}`."""
    if asked.id not in asked.account.topics:
        return klaviyo_errors.error(404)
    return one(klaviyo_webhooks.topic_resource(asked.id, asked.url))


def get_webhooks(asked: Asked) -> Answer:
    """`GET /api/webhooks`, all at once."""
    if wrong := _include_problems(asked):
        return klaviyo_errors.invalid(wrong)
    webhooks = list(asked.account.webhooks.values())
    rows = [webhook.to_resource(asked.url) for webhook in webhooks]
    return everything(rows, f"{asked.url}/api/webhooks", included=_included(asked, webhooks))


def create_webhook(asked: Asked) -> Answer:
    """`POST /api/webhooks`."""
    account, body = asked.account, asked.document
    if found := list(klaviyo_webhooks.creation_problems(body, account.topics)):
        return klaviyo_errors.invalid(found)
    if len(account.webhooks) >= MOST_WEBHOOKS:
        return klaviyo_errors.invalid([Problem(f"An account has at most {MOST_WEBHOOKS} webhooks.", "/data")])
    topics = klaviyo_webhooks.topics(body)
    webhook = Webhook(account.identifiers.ulid(), topics=topics, created_at=asked.now, **given(body))
    account.webhooks[webhook.id] = webhook
    account.parcels.start(webhook.id, account.outbox)
    return one(webhook.to_resource(asked.url), status=201)


def get_webhook(asked: Asked) -> Answer:
    """`GET /api/webhooks/{id}`."""
    if wrong := _include_problems(asked):
        return klaviyo_errors.invalid(wrong)
    webhook = asked.account.webhooks.get(asked.id)
    if webhook is None:
        return klaviyo_errors.error(404)
    return one(webhook.to_resource(asked.url), included=_included(asked, [webhook]))


def update_webhook(asked: Asked) -> Answer:
    """`PATCH /api/webhooks/{id}`."""
    webhook = asked.account.webhooks.get(asked.id)
    if webhook is None:
        return klaviyo_errors.error(404)
    if found := list(klaviyo_webhooks.update_problems(asked.document, asked.account.topics, id=asked.id)):
        return klaviyo_errors.invalid(found)
    was_enabled = webhook.enabled
    webhook.update(asked.document, asked.now)
    if webhook.enabled and not was_enabled:
        asked.account.parcels.start(webhook.id, asked.account.outbox)
    return one(webhook.to_resource(asked.url))


def delete_webhook(asked: Asked) -> Answer:
    """`DELETE /api/webhooks/{id}`."""
    removed = asked.account.webhooks.pop(asked.id, None)
    return klaviyo_errors.error(404) if removed is None else Answer(204)


def _include_problems(asked: Asked) -> list[Problem]:
    wanted = asked.parameters.get("include", "webhook-topics")
    return [] if wanted == "webhook-topics" else [Problem("Include 'webhook-topics'.", parameter="include")]


def _included(asked: Asked, webhooks: list[Webhook]) -> list[dict[str, Any]] | None:
    if "include" not in asked.parameters:
        return None
    named = dict.fromkeys(topic for webhook in webhooks for topic in webhook.topics)
    return [klaviyo_webhooks.topic_resource(topic, asked.url) for topic in named]


_PAGES = frozenset({"page[size]", "page[cursor]"})
_INCLUDE = frozenset({"include"})
_SOURCES_READ, _SOURCES_WRITE = frozenset({"custom-objects:read"}), frozenset({"custom-objects:write"})
_HOOKS_READ, _HOOKS_WRITE = frozenset({"webhooks:read"}), frozenset({"webhooks:write"})

# `{id}` stands for one segment.
ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "api/accounts": {"GET": Endpoint(frozenset({"accounts:read"}), XS, get_accounts)},
    "api/events": {"POST": Endpoint(frozenset({"events:write"}), XL, create_event)},
    "api/data-sources": {
        "GET": Endpoint(_SOURCES_READ, S, get_data_sources, _PAGES),
        "POST": Endpoint(_SOURCES_WRITE, S, create_data_source),
    },
    "api/data-sources/{id}": {
        "GET": Endpoint(_SOURCES_READ, S, get_data_source),
        "DELETE": Endpoint(_SOURCES_WRITE, S, delete_data_source),
    },
    "api/data-source-record-create-jobs": {"POST": Endpoint(_SOURCES_WRITE, L, create_record)},
    "api/data-source-record-bulk-create-jobs": {
        "POST": Endpoint(_SOURCES_WRITE, BULK_RECORDS, create_records)
    },
    "api/webhook-topics": {"GET": Endpoint(_HOOKS_READ, XS, get_webhook_topics)},
    "api/webhook-topics/{id}": {"GET": Endpoint(_HOOKS_READ, XS, get_webhook_topic)},
    "api/webhooks": {
        "GET": Endpoint(_HOOKS_READ, XS, get_webhooks, _INCLUDE),
        "POST": Endpoint(_HOOKS_WRITE, XS, create_webhook),
    },
    "api/webhooks/{id}": {
        "GET": Endpoint(_HOOKS_READ, XS, get_webhook, _INCLUDE),
        "PATCH": Endpoint(_HOOKS_WRITE, XS, update_webhook),
        "DELETE": Endpoint(_HOOKS_WRITE, XS, delete_webhook),
    },
}


def route(segments: list[str]) -> tuple[str, str] | None:
    """Return the row of `ENDPOINTS` for a path, and what stands for `{id}`; None if there is nothing."""
    *parents, last = segments
    for template, id in (("/".join(segments), ""), ("/".join([*parents, "{id}"]), last)):
        if template in ENDPOINTS:
            return template, id
    return None
