"""Every call of our clients: which operation it is, what it is given, and what it makes of an answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.consent_events import Consent
from shared.klaviyo.bulk import Subscriber
from shared.klaviyo.client import KlaviyoClient
from shared.klaviyo.consent_jobs import Person
from shared.klaviyo.oauth import KlaviyoOAuth
from shared.klaviyo.profiles import KlaviyoProfile
from shared.omneo.client import Interaction, OmneoClient
from tests.answers.shop import HOOK, SECRET, TOPIC, VERIFIER, Things

THEN = datetime(2026, 11, 20, tzinfo=UTC)
CLIENTS: Mapping[type, str] = {KlaviyoClient: "Klaviyo", KlaviyoOAuth: "Klaviyo", OmneoClient: "Omneo"}
Body = Any


def nothing(body: Body) -> None:
    """Return what a call makes of its answer of which it needs nothing."""


@dataclass(frozen=True)
class Call:
    """One method of a client. `make` calls it, `reads` says what it returns for the body of a success.

    `missing` are the statuses of a refusal that says only that something is not there, and so is an answer: `absent`. `waits` are those
    that no true answer of this operation has.
    """

    client: type
    name: str
    operation: str
    make: Callable[[Any, Things], object]
    reads: Callable[[Body], object] = nothing
    missing: frozenset[int] = frozenset()
    absent: object = None
    waits: frozenset[int] = frozenset()

    @property
    def service(self) -> str:
        """The service that is called."""
        return CLIENTS[self.client]

    def __str__(self) -> str:
        return f"{self.service} {self.operation} ({self.name})"


def an_event(things: Things) -> dict[str, Any]:
    """Return the attributes of an event of the profile."""
    metric = {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}}
    profile = {"data": {"type": "profile", "id": things.profile, "attributes": {"email": things.email}}}
    return {
        "metric": metric,
        "profile": profile,
        "properties": {"reward_id": 1},
        "unique_id": "reward-1",
        "time": "2026-11-21T09:00:00+00:00",
        "value": 10.0,
    }


def a_profile(things: Things, **fields: Any) -> dict[str, Any]:
    """Return a profile resource."""
    attributes = {
        "email": things.email,
        "first_name": "Canary",
        "properties": {"omneo_tier": "Gold"},
        **fields,
    }
    return {"type": "profile", "id": things.profile, "attributes": attributes}


def a_reward(things: Things, **fields: Any) -> dict[str, Any]:
    """Return a reward as Omneo is asked to make it."""
    return {
        "profile_id": things.omneo_profile,
        "reward_definition_id": things.definition,
        "value_initial": 10.0,
        "value_remaining": 10.0,
        "timezone": "Australia/Melbourne",
        "issued_at": "2026-11-21 21:00:00",
        "expires_at": "2026-12-31 23:59:59",
        "external_id": "reward-1",
        "meta": {"klaviyo_reward_id": "reward-1"},
        **fields,
    }


def an_interaction(things: Things) -> Interaction:
    """Return an interaction of the Omneo profile."""
    return Interaction(
        things.omneo_profile, "Unsubscribed", "From email", "email", -1, THEN, {"event": "e-1"}
    )


def a_person(things: Things) -> Person:
    """Return the person of the profile."""
    return Person(things.profile, things.email)


def subscribers(things: Things) -> list[Subscriber]:
    """Return the person of the profile with a consent of yesterday."""
    return [Subscriber(things.email, "", {Consent.EMAIL: THEN}, things.profile)]


def rows(body: Body) -> list[Any]:
    """Return the rows of a list."""
    return list(body["data"])


def first(read: Callable[[Any], object]) -> Callable[[Body], object]:
    """Return a reader of the first row of a list, None of none."""
    return lambda body: read(body["data"][0]) if body["data"] else None


def data(read: Callable[[Any], object]) -> Callable[[Body], object]:
    """Return a reader of a single thing."""
    return lambda body: read(body["data"])


def whole(row: Any) -> KlaviyoProfile:
    """Return a profile as its row shows it."""
    shown = row["attributes"]
    return KlaviyoProfile(
        row["id"],
        shown["email"] or "",
        shown["external_id"] or "",
        shown.get("subscriptions") or {},
        shown["phone_number"] or "",
    )


def _id(row: Any) -> object:
    return row["id"]


def _account(row: Any) -> object:
    shown = row["attributes"]
    contact = shown["contact_information"]
    return row["id"], contact["organization_name"], shown["timezone"], contact["street_address"]["country"]


def _webhook(row: Any) -> object:
    topics = {topic["id"] for topic in row["relationships"]["webhook-topics"]["data"]}
    return row["id"], row["attributes"]["name"], row["attributes"]["enabled"], topics


def _metric(row: Any) -> object:
    shown = row["attributes"]
    return row["id"], shown["name"], shown["integration"]["name"]


def _job(row: Any) -> object:
    shown = row["attributes"]
    counts = shown["total_count"], shown["completed_count"], shown["failed_count"]
    return (row["id"], shown["status"], *counts)


def _refused_row(row: Any) -> object:
    shown = row["attributes"]
    payload = shown["original_payload"]["attributes"]
    return payload.get("external_id", ""), shown["code"], shown["source"].get("pointer", "")


def _tokens(body: Body) -> object:
    return body["access_token"], body["refresh_token"], body["expires_in"], body["scope"]


def _said_tokens(answer: Any) -> object:
    tokens = answer.access_token.get_secret_value(), answer.refresh_token.get_secret_value()
    return (*tokens, answer.expires_in, answer.scope)


def _said_id_token(answer: Any) -> object:
    return answer.token.get_secret_value(), answer.exp


def _said(row: Any, *names: str) -> object:
    """Return some fields of what a client returns, None of nothing."""
    return None if row is None else tuple(getattr(row, name) for name in names)


_PROFILE = ("id", "email", "attributes", "profile_type")
_DEFINITION = ("id", "handle", "period", "period_type", "absolute_expiry", "currency")
_WEBHOOK = ("id", "trigger", "url", "is_active")
_GONE = frozenset({404})


def _shown(*names: str) -> Callable[[Any], object]:
    return lambda row: tuple(row.get(name) for name in names)


def _klaviyo(name: str, operation: str, make: Callable[[KlaviyoClient, Things], object], **more: Any) -> Call:
    return Call(KlaviyoClient, name, operation, make, **more)


def _omneo(name: str, operation: str, make: Callable[[OmneoClient, Things], object], **more: Any) -> Call:
    return Call(OmneoClient, name, operation, make, **more)


_IMPORTS, _JOBS = "/api/profile-bulk-import-jobs", "/api/profile-subscription-bulk"
_CONSENT = [Consent.EMAIL]
_SINGLE = "POST /api/data-source-record-create-jobs"
_MANY = "POST /api/data-source-record-bulk-create-jobs"

KLAVIYO = (
    _klaviyo("create_event", "POST /api/events", lambda k, t: k.create_event(an_event(t))),
    _klaviyo(
        "account", "GET /api/accounts", lambda k, t: _said(k.account(), "id", "name", "timezone", "country"), reads=first(_account)
    ),
    _klaviyo("webhook_topics", "GET /api/webhook-topics", lambda k, t: k.webhook_topics(), reads=lambda body: set(map(_id, rows(body)))),
    _klaviyo(
        "webhooks", "GET /api/webhooks", lambda k, t: [_said(row, "id", "name", "enabled", "topics") for row in k.webhooks()],
        reads=lambda body: list(map(_webhook, rows(body))),
    ),
    _klaviyo("create_webhook", "POST /api/webhooks", lambda k, t: k.create_webhook("Omneo acme", HOOK, SECRET, [TOPIC]), reads=data(_id)),
    _klaviyo("update_webhook", "PATCH /api/webhooks/{id}", lambda k, t: k.update_webhook(t.webhook, "Omneo acme", HOOK, SECRET, [TOPIC])),
    _klaviyo("delete_webhook", "DELETE /api/webhooks/{id}", lambda k, t: k.delete_webhook(t.webhook)),
    _klaviyo("import_profile", "POST /api/profile-import", lambda k, t: k.import_profile(a_profile(t)), reads=data(whole)),
    _klaviyo(
        "create_profile", "POST /api/profiles",
        lambda k, t: k.create_profile({"type": "profile", "attributes": {"email": "canary-new@example.org", "first_name": "Canary"}}),
        reads=data(whole),
    ),
    _klaviyo("merge_profiles", "POST /api/profile-merge", lambda k, t: k.merge_profiles("01OTHER", t.profile)),
    _klaviyo("profile", "GET /api/profiles/{id}", lambda k, t: k.profile(t.profile), reads=data(whole), missing=_GONE),
    _klaviyo("find_profile", "GET /api/profiles", lambda k, t: k.find_profile("email", t.email), reads=first(whole)),
    _klaviyo(
        "find_profile_by_external_id", "GET /api/profiles", lambda k, t: k.find_profile_by_external_id("omneo-1"), reads=first(whole)
    ),
    _klaviyo("profiles_by", "GET /api/profiles", lambda k, t: k.profiles_by("email", [t.email]), reads=lambda body: list(map(whole, rows(body)))),
    _klaviyo("check_list", "GET /api/lists/{id}", lambda k, t: k.check_list(t.list)),
    _klaviyo("is_on_list", "GET /api/lists/{id}/profiles", lambda k, t: k.is_on_list(t.list, t.email), reads=lambda body: bool(rows(body))),
    _klaviyo("subscribe", f"POST {_JOBS}-create-jobs", lambda k, t: k.subscribe(a_person(t), _CONSENT, list_id=t.list)),
    _klaviyo("subscribe_to_email", f"POST {_JOBS}-create-jobs", lambda k, t: k.subscribe_to_email(KlaviyoProfile(t.profile, t.email), t.list)),
    _klaviyo("subscribe_many", f"POST {_JOBS}-create-jobs", lambda k, t: k.subscribe_many(subscribers(t))),
    _klaviyo("unsubscribe", f"POST {_JOBS}-delete-jobs", lambda k, t: k.unsubscribe(a_person(t), _CONSENT)),
    _klaviyo("unsubscribe_many", f"POST {_JOBS}-delete-jobs", lambda k, t: k.unsubscribe_many(subscribers(t))),
    _klaviyo("suppress", "POST /api/profile-suppression-bulk-create-jobs", lambda k, t: k.suppress(t.email)),
    _klaviyo("request_deletion", "POST /api/data-privacy-deletion-jobs", lambda k, t: k.request_deletion(t.profile), missing=_GONE),
    _klaviyo(
        "metrics", "GET /api/metrics", lambda k, t: [_said(row, "id", "name", "integration") for row in k.metrics()],
        reads=lambda body: list(map(_metric, rows(body))),
    ),
    _klaviyo("events", "GET /api/events", lambda k, t: list(k.events(t.metric, since=THEN).events), reads=rows),
    _klaviyo(
        "data_sources", "GET /api/data-sources", lambda k, t: k.data_sources(),
        reads=lambda body: {row["attributes"]["title"]: row["id"] for row in rows(body)},
    ),
    _klaviyo("create_data_source", "POST /api/data-sources", lambda k, t: k.create_data_source("Omneo Dates", "Birthdays."), reads=data(_id)),
    _klaviyo("create_data_source_record", _SINGLE, lambda k, t: k.create_data_source_record(t.source, {"reward_id": 1})),
    _klaviyo("bulk_create_data_source_records", _MANY, lambda k, t: k.bulk_create_data_source_records(t.source, [{"reward_id": 1}])),
    _klaviyo("bulk_create_events", "POST /api/event-bulk-create-jobs", lambda k, t: k.bulk_create_events([an_event(t)])),
    _klaviyo("import_profiles", f"POST {_IMPORTS}", lambda k, t: k.import_profiles([a_profile(t)]), reads=data(_id)),
    _klaviyo(
        "import_job", f"GET {_IMPORTS}/{{id}}", lambda k, t: _said(k.import_job(t.job), "id", "status", "total", "completed", "failed"),
        reads=data(_job),
    ),
    _klaviyo(
        "import_errors", f"GET {_IMPORTS}/{{id}}/import-errors",
        lambda k, t: [_said(row, "external_id", "code", "field") for row in k.import_errors(t.job)[0]],
        reads=lambda body: list(map(_refused_row, rows(body))),
    ),
)  # fmt: skip

OAUTH = (
    Call(
        KlaviyoOAuth, "exchange", "POST /oauth/token",
        lambda o, t: _said_tokens(o.exchange(t.code, redirect_uri=HOOK, verifier=VERIFIER)), _tokens,
    ),
    Call(KlaviyoOAuth, "refresh", "POST /oauth/token", lambda o, t: _said_tokens(o.refresh(t.refresh_token)), _tokens),
    Call(KlaviyoOAuth, "revoke", "POST /oauth/revoke", lambda o, t: o.revoke(t.refresh_token)),
)  # fmt: skip

_PEOPLE = "/api/v3/profiles"
OMNEO = (
    _omneo(
        "mint_id_token", "POST /id/api/v1/auth/token", lambda o, t: _said_id_token(o.mint_id_token(profile_id=t.omneo_profile)),
        reads=data(_shown("token", "exp")),
    ),
    _omneo(
        "mint_id_token_by_identity", "POST /id/api/v1/auth/token",
        lambda o, t: _said_id_token(o.mint_id_token_by_identity(identifier=t.identity, handle="klaviyo")), reads=data(_shown("token", "exp")),
    ),
    _omneo("profile", f"GET {_PEOPLE}/{{id}}", lambda o, t: _said(o.profile(t.omneo_profile), *_PROFILE), reads=data(_shown(*_PROFILE)), missing=_GONE),
    _omneo("profile_fields", f"GET {_PEOPLE}/{{id}}", lambda o, t: o.profile_fields(t.omneo_profile), reads=data(lambda row: row), missing=_GONE),
    _omneo(
        "profiles_page", f"GET {_PEOPLE}", lambda o, t: _said(o.profiles_page(1, since=THEN), "rows", "pages", "total"),
        reads=lambda body: (tuple(rows(body)), body["meta"]["last_page"], body["meta"]["total"]), waits=_GONE,
    ),
    _omneo(
        "find_profile_by_email", f"GET {_PEOPLE}", lambda o, t: _said(o.find_profile_by_email(t.omneo_email), *_PROFILE),
        reads=first(_shown(*_PROFILE)), waits=_GONE,
    ),
    _omneo(
        "find_profile_by_identity", f"POST {_PEOPLE}/search-id",
        lambda o, t: _said(o.find_profile_by_identity(identifier=t.identity, handle="klaviyo"), *_PROFILE),
        reads=data(_shown(*_PROFILE)), missing=frozenset({404, 422}),
    ),
    _omneo(
        "create_identity", f"POST {_PEOPLE}/{{id}}/identities",
        lambda o, t: o.create_identity(t.omneo_profile, handle="loyalty", identifier="card-1"),
    ),
    _omneo(
        "update_identity", f"PUT {_PEOPLE}/{{id}}/identities/{{id}}",
        lambda o, t: o.update_identity(t.omneo_profile, handle="klaviyo", identifier="01NEW"),
    ),
    _omneo("update_comms", f"PUT {_PEOPLE}/{{id}}/attributes/comms", lambda o, t: o.update_comms(t.omneo_profile, {"email_promo": False})),
    _omneo("create_interaction", "POST /api/v3/interactions", lambda o, t: o.create_interaction(an_interaction(t), "klaviyo")),
    _omneo(
        "rewards_of_profile", "GET /api/v3/rewards", lambda o, t: [_said(row, "id", "meta") for row in o.rewards_of_profile(t.omneo_profile)],
        reads=lambda body: list(map(_shown("id", "meta"), rows(body))), waits=_GONE,
    ),
    _omneo("create_reward", "POST /api/v3/rewards", lambda o, t: _said(o.create_reward(a_reward(t)), "id", "meta"), reads=data(_shown("id", "meta"))),
    _omneo(
        "reward_definition", "GET /api/v3/rewards/definitions/{id}", lambda o, t: _said(o.reward_definition(t.definition), *_DEFINITION),
        reads=data(_shown(*_DEFINITION)), missing=_GONE,
    ),
    _omneo(
        "reward_definition_by_handle", "GET /api/v3/rewards/definitions",
        lambda o, t: _said(o.reward_definition_by_handle(t.definition_handle), *_DEFINITION), reads=first(_shown(*_DEFINITION)), waits=_GONE,
    ),
    _omneo(
        "webhooks", "GET /api/v3/webhooks", lambda o, t: [_said(row, *_WEBHOOK) for row in o.webhooks("klaviyo")],
        reads=lambda body: list(map(_shown(*_WEBHOOK), rows(body))), waits=_GONE,
    ),
    _omneo("create_webhook", "POST /api/v3/webhooks", lambda o, t: o.create_webhook("profile.updated", HOOK, "klaviyo")),
    _omneo("update_webhook_url", "PUT /api/v3/webhooks/{id}", lambda o, t: o.update_webhook_url(t.omneo_webhook, f"{HOOK}/new")),
    _omneo("delete_webhook", "DELETE /api/v3/webhooks/{id}", lambda o, t: o.delete_webhook(t.omneo_webhook)),
    _omneo(
        "verify_token", "GET /api/v3/auth/verify", lambda o, t: o.verify_token(),
        reads=data(lambda row: row["expires_at"] and datetime.fromisoformat(row["expires_at"]).replace(tzinfo=UTC)),
    ),
)  # fmt: skip

CALLS = (*KLAVIYO, *OAUTH, *OMNEO)
