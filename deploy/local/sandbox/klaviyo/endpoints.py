"""The table of Klaviyo's endpoints with their paths, scopes and limits, and the functions of those without a separate
module. Credentials, limits and headers are checked before them.

Klaviyo's API reference, one page for each endpoint.

Assumed (endpoints-are-strict, taken-title-is-refused, record-of-deleted-source-is-refused):
a trailing slash makes no difference, as the self links of resources have one; lists come oldest first; a query
parameter that the reference does not list for the endpoint is 400; sparse fieldsets (`fields[...]`) are 501, because
ignoring them would return too much; the eleventh webhook is 400; a data source's duplicate title is 409 `duplicate`,
or 400 by a switch; a record for a data source that is not there is 404, or 400 by a switch.
"""

from typing import Any

from deploy.local.sandbox.klaviyo import (
    data_sources,
    errors,
    events,
    list_endpoints,
    metrics,
    profile_endpoints,
    records,
    subscription_jobs,
    suppression_jobs,
)
from deploy.local.sandbox.klaviyo.asked import XL, XS, Asked, Endpoint, L, M, S
from deploy.local.sandbox.klaviyo.bulk_endpoints import BULK_ENDPOINTS
from deploy.local.sandbox.klaviyo.data_sources import DataSource
from deploy.local.sandbox.klaviyo.documents import everything, given, one, page
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.records import Record
from deploy.local.sandbox.klaviyo.webhooks import (
    MOST_WEBHOOKS,
    Webhook,
    creation_problems,
    topic_resource,
    topics,
    update_problems,
)
from deploy.local.sandbox.stage.messages import Answer
from deploy.local.sandbox.stage.windows import Window

BULK_RECORDS = (Window(1, 3), Window(60, 15))


def create_event(asked: Asked) -> Answer:
    """`POST /api/events`."""
    ahead = events.DAY_SECONDS if asked.is_otherwise("events-far-back-and-ahead") else events.YEAR_SECONDS
    if found := list(events.problems(asked.document, now=asked.now, ahead=ahead)):
        return errors.invalid(found)
    attributes = asked.document["data"]["attributes"]
    profile_id = attributes["profile"]["data"].get("id")
    if profile_id and asked.account.profile(profile_id) is None:
        return errors.missing("profile", profile_id)
    asked.account.create_event(
        attributes,
        revision="" if asked.is_otherwise("event-meta-beside-attributes") else asked.revision,
        repeats=asked.is_otherwise("one-event-a-unique-id"),
    )
    return Answer(202)


def get_accounts(asked: Asked) -> Answer:
    """`GET /api/accounts`: the account of the token."""
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
    return page(rows, f"{asked.url}/api/data-sources", asked.parameters, by_id=True)


def create_data_source(asked: Asked) -> Answer:
    """`POST /api/data-sources`."""
    if found := list(data_sources.problems(asked.document)):
        return errors.invalid(found)
    sources = asked.account.data_sources
    source = DataSource(asked.account.identifiers.ulid(), **given(asked.document))
    if source.clashes(sources.values()) and not asked.is_otherwise("taken-title-is-refused"):
        detail = "A data source with this title exists already."
        return errors.error(asked.duplicate_title_status, Problem(detail, "/data/attributes/title"))
    sources[source.id] = source
    return one(source.to_resource(asked.url), status=201)


def get_data_source(asked: Asked) -> Answer:
    """`GET /api/data-sources/{id}`."""
    source = asked.account.data_sources.get(asked.id)
    return errors.missing("data source", asked.id) if source is None else one(source.to_resource(asked.url))


def delete_data_source(asked: Asked) -> Answer:
    """`DELETE /api/data-sources/{id}`."""
    removed = asked.account.data_sources.pop(asked.id, None)
    return errors.missing("data source", asked.id) if removed is None else Answer(204)


def create_record(asked: Asked) -> Answer:
    """`POST /api/data-source-record-create-jobs`."""
    return _take_records(asked, bulk=False)


def create_records(asked: Asked) -> Answer:
    """`POST /api/data-source-record-bulk-create-jobs`."""
    return _take_records(asked, bulk=True)


def _take_records(asked: Asked, *, bulk: bool) -> Answer:
    account, body = asked.account, asked.document
    if found := list(records.problems(body, bulk=bulk, unwanted=asked.unwanted_property)):
        if asked.is_otherwise("refusal-names-the-record"):
            found = [Problem(found[0].detail, "/data")]
        return errors.invalid(found)
    source = account.data_sources.get(records.data_source_id(body))
    if source is None and asked.is_otherwise("record-of-deleted-source-is-refused"):
        return Answer(204)
    if source is None:
        return _no_source(asked, records.data_source_id(body))
    account.records += [
        Record(source.id, source.title, bulk, asked.now, record)
        for record in records.records(body, bulk=bulk)
    ]
    return Answer(204)


def _no_source(asked: Asked, id: str) -> Answer:
    missing, where = errors.missing("data source", id), f"{records.SOURCE_POINTER}/data/id"
    if asked.unknown_data_source_status == missing.status:
        return missing
    return errors.invalid([Problem(f"A data source with id `{id}` does not exist.", where)])


def get_webhook_topics(asked: Asked) -> Answer:
    """`GET /api/webhook-topics`, all at once."""
    rows = [topic_resource(topic, asked.url) for topic in asked.account.topics]
    return everything(rows, f"{asked.url}/api/webhook-topics")


def get_webhook_topic(asked: Asked) -> Answer:
    """`GET /api/webhook-topics/{id}`."""
    if asked.id not in asked.account.topics:
        return errors.missing("webhook topic", asked.id)
    return one(topic_resource(asked.id, asked.url))


def get_webhooks(asked: Asked) -> Answer:
    """`GET /api/webhooks`, all at once."""
    if wrong := _include_problems(asked):
        return errors.invalid(wrong)
    webhooks = list(asked.account.webhooks.values())
    rows = [webhook.to_resource(asked.url) for webhook in webhooks]
    if asked.is_otherwise("webhook-list-hides"):
        for row, webhook in zip(rows, webhooks, strict=True):
            row["attributes"]["secret_key"] = webhook.secret_key
    return everything(rows, f"{asked.url}/api/webhooks", included=_included(asked, webhooks))


def create_webhook(asked: Asked) -> Answer:
    """`POST /api/webhooks`."""
    account, body = asked.account, asked.document
    if found := list(creation_problems(body, account.topics)):
        return errors.invalid(found)
    if len(account.webhooks) >= MOST_WEBHOOKS:
        return errors.invalid([Problem(f"An account has at most {MOST_WEBHOOKS} webhooks.", "/data")])
    taken = {known.name for known in account.webhooks.values()}
    if asked.is_otherwise("webhook-names-are-free") and body["data"]["attributes"]["name"] in taken:
        return errors.error(409)
    webhook = Webhook(account.identifiers.ulid(), topics=topics(body), created_at=asked.now, **given(body))
    account.webhooks[webhook.id] = webhook
    account.parcels.start(webhook.id, account.outbox)
    return one(webhook.to_resource(asked.url), status=201)


def get_webhook(asked: Asked) -> Answer:
    """`GET /api/webhooks/{id}`."""
    if wrong := _include_problems(asked):
        return errors.invalid(wrong)
    webhook = asked.account.webhooks.get(asked.id)
    if webhook is None:
        return errors.missing("webhook", asked.id)
    return one(webhook.to_resource(asked.url), included=_included(asked, [webhook]))


def update_webhook(asked: Asked) -> Answer:
    """`PATCH /api/webhooks/{id}`."""
    webhook = asked.account.webhooks.get(asked.id)
    if webhook is None:
        return errors.missing("webhook", asked.id)
    if found := list(update_problems(asked.document, asked.account.topics, id=asked.id)):
        return errors.invalid(found)
    was_enabled = webhook.enabled
    webhook.update(asked.document, asked.now)
    if webhook.enabled and not was_enabled:
        asked.account.parcels.start(webhook.id, asked.account.outbox)
    return one(webhook.to_resource(asked.url))


def delete_webhook(asked: Asked) -> Answer:
    """`DELETE /api/webhooks/{id}`."""
    removed = asked.account.webhooks.pop(asked.id, None)
    return errors.missing("webhook", asked.id) if removed is None else Answer(204)


def _include_problems(asked: Asked) -> list[Problem]:
    wanted = asked.parameters.get("include", "webhook-topics")
    return [] if wanted == "webhook-topics" else [Problem("Include 'webhook-topics'.", parameter="include")]


def _included(asked: Asked, webhooks: list[Webhook]) -> list[dict[str, Any]] | None:
    if "include" not in asked.parameters:
        return None
    named = dict.fromkeys(topic for webhook in webhooks for topic in webhook.topics)
    return [topic_resource(topic, asked.url) for topic in named]


_PAGES = frozenset({"page[size]", "page[cursor]"})
_INCLUDE = frozenset({"include"})
_FILTERED = _PAGES | {"filter"}
_ADDITIONAL = frozenset({"additional-fields[profile]"})
_SOURCES_READ, _SOURCES_WRITE = frozenset({"custom-objects:read"}), frozenset({"custom-objects:write"})
_HOOKS_READ, _HOOKS_WRITE = frozenset({"webhooks:read"}), frozenset({"webhooks:write"})
_PROFILES_READ, _PROFILES_WRITE = frozenset({"profiles:read"}), frozenset({"profiles:write"})
_LISTS_READ, _LISTS_WRITE = frozenset({"lists:read"}), frozenset({"lists:write"})
_CONSENT_READ, _CONSENT_WRITE = frozenset({"subscriptions:read"}), frozenset({"subscriptions:write"})
_MEMBERS_READ, _MEMBERS_WRITE = _LISTS_READ | _PROFILES_READ, _LISTS_WRITE | _PROFILES_WRITE

# `{id}` stands for one segment.
ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    **BULK_ENDPOINTS,
    "api/accounts": {"GET": Endpoint(frozenset({"accounts:read"}), XS, get_accounts)},
    "api/events": {
        "GET": Endpoint(
            frozenset({"events:read"}),
            XL,
            metrics.get_events,
            _FILTERED | {"sort", "include"},
        ),
        "POST": Endpoint(frozenset({"events:write"}), XL, create_event),
    },
    "api/events/{id}": {"GET": Endpoint(frozenset({"events:read"}), XL, metrics.get_event)},
    "api/metrics": {
        "GET": Endpoint(
            frozenset({"metrics:read"}), M, metrics.get_metrics, frozenset({"filter", "page[cursor]"})
        ),
    },
    "api/profiles": {
        "GET": Endpoint(_PROFILES_READ, L, profile_endpoints.get_profiles, _FILTERED | _ADDITIONAL),
        "POST": Endpoint(_PROFILES_WRITE, L, profile_endpoints.create_profile, _ADDITIONAL),
    },
    "api/profiles/{id}": {
        "GET": Endpoint(_PROFILES_READ, L, profile_endpoints.get_profile, _ADDITIONAL),
        "PATCH": Endpoint(_PROFILES_WRITE, L, profile_endpoints.update_profile, _ADDITIONAL),
    },
    "api/profiles/{id}/lists": {
        "GET": Endpoint(_MEMBERS_READ, S, profile_endpoints.get_lists_of_profile),
    },
    "api/profiles/{id}/relationships/lists": {
        "GET": Endpoint(_MEMBERS_READ, S, profile_endpoints.get_list_ids_of_profile),
    },
    "api/profile-import": {
        "POST": Endpoint(_PROFILES_WRITE, L, profile_endpoints.import_profile, _ADDITIONAL),
    },
    "api/profile-merge": {
        "POST": Endpoint(_PROFILES_WRITE, M, profile_endpoints.merge_profiles),
    },
    "api/profile-subscription-bulk-create-jobs": {
        "POST": Endpoint(_MEMBERS_WRITE | _CONSENT_WRITE, L, subscription_jobs.create_subscription_job),
    },
    "api/profile-subscription-bulk-delete-jobs": {
        "POST": Endpoint(_MEMBERS_WRITE | _CONSENT_WRITE, L, subscription_jobs.create_unsubscription_job),
    },
    "api/profile-suppression-bulk-create-jobs": {
        "POST": Endpoint(_PROFILES_WRITE | _CONSENT_WRITE, L, suppression_jobs.suppress),
    },
    "api/profile-suppression-bulk-create-jobs/{id}": {
        "GET": Endpoint(_CONSENT_READ, L, suppression_jobs.get_suppression_job),
    },
    "api/profile-suppression-bulk-delete-jobs": {
        "POST": Endpoint(_CONSENT_WRITE, L, suppression_jobs.unsuppress),
    },
    "api/profile-suppression-bulk-delete-jobs/{id}": {
        "GET": Endpoint(_CONSENT_READ, L, suppression_jobs.get_unsuppression_job),
    },
    "api/lists": {
        "GET": Endpoint(_LISTS_READ, L, list_endpoints.get_lists, _FILTERED),
        "POST": Endpoint(_LISTS_WRITE, M, list_endpoints.create_list),
    },
    "api/lists/{id}": {
        "GET": Endpoint(_LISTS_READ, L, list_endpoints.get_list),
        "DELETE": Endpoint(_LISTS_WRITE, M, list_endpoints.delete_list),
    },
    "api/lists/{id}/profiles": {
        "GET": Endpoint(_MEMBERS_READ, L, list_endpoints.get_profiles_of_list, _FILTERED | _ADDITIONAL),
    },
    "api/lists/{id}/relationships/profiles": {
        "POST": Endpoint(_MEMBERS_WRITE, M, list_endpoints.add_profiles_to_list),
        "DELETE": Endpoint(_MEMBERS_WRITE, M, list_endpoints.remove_profiles_from_list),
    },
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
    """Return the row of `ENDPOINTS` for a path, and the value of `{id}`; None if there is no row."""
    for template in ENDPOINTS:
        parts = template.split("/")
        if len(parts) == len(segments):
            pairs = list(zip(parts, segments, strict=True))
            if all(part in ("{id}", segment) for part, segment in pairs):
                return template, next((segment for part, segment in pairs if part == "{id}"), "")
    return None
