"""How it comes about in the sandbox that an operation answers so: each call of our clients, and what makes it be refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from deploy.rehearsal.answers import RecordedAnswer
from deploy.rehearsal.clients import RehearsedKlaviyo, RehearsedOmneo
from shared.errors import ServiceError
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.oauth import KlaviyoOAuth
from shared.omneo.client import OmneoClient
from tests.answers.calls import CALLS, Call, a_profile, a_reward, an_event, an_interaction
from tests.answers.shop import HOOK, REVISION, SECRET, TOPIC, Shop
from tests.support.world import ACCOUNT, OMNEO_TOKEN, TENANT

Happens: TypeAlias = Callable[[Shop], object]
OTHER = "canary-other@example.org"
NOBODY = "01NOBODY"
NO_ONE = "00000000-0000-4000-8000-000000000000"
# A type that Klaviyo's schema refuses.
ODD: dict[str, Any] = {"location": {"zip": 3000}}


def makes(call: Call) -> Happens:
    """Return what happens when a call is made whose things are all there."""
    return lambda shop: call.make(client_of(call, shop), shop.things)


def client_of(call: Call, shop: Shop, token: str = "") -> Any:
    """Return the client of a call, with another token if one is named."""
    if call.client is KlaviyoOAuth:
        return shop.oauth(token)
    return (
        shop.omneo(token or OMNEO_TOKEN)
        if call.client is OmneoClient
        else shop.with_token(token or shop.token)
    )


def _anything(shop: Shop) -> object:
    shop.sandbox.klaviyo.profile(ACCOUNT, id="01OTHER", email=OTHER)
    return None


def _twice(shop: Shop) -> object:
    shop.omneo().create_reward(a_reward(shop.things))
    return shop.omneo().create_reward(a_reward(shop.things))


def _removed(shop: Shop) -> object:
    made = shop.omneo().create_reward(a_reward(shop.things))
    RehearsedOmneo.like(shop.omneo()).delete_reward(made.id)
    return None


def _conflict(shop: Shop) -> object:
    shop.sandbox.omneo.reward_rules(TENANT, repeated_external_id="409")
    return _twice(shop)


def _taken(shop: Shop) -> object:
    shop.omneo().create_identity(shop.things.omneo_profile, handle="klaviyo", identifier=shop.things.identity)
    return None


def _lacks(shop: Shop, what: str, happens: Happens) -> object:
    shop.sandbox.klaviyo.plan_lacks = [what]
    return happens(shop)


def _refused_record(shop: Shop, *, bulk: bool) -> object:
    shop.sandbox.klaviyo.unwanted_property = "reward_id"
    calls = {call.name: call for call in CALLS}
    return makes(calls["bulk_create_data_source_records" if bulk else "create_data_source_record"])(shop)


def _merged(shop: Shop) -> object:
    _anything(shop)
    shop.klaviyo.merge_profiles("01OTHER", shop.things.profile)
    return None


def _too_often(shop: Shop) -> object:
    for _ in range(3):
        shop.klaviyo.account()
    return None


def _title(shop: Shop, status: int) -> object:
    shop.sandbox.klaviyo.duplicate_title_status = status
    return shop.klaviyo.create_data_source("Omneo Rewards", "Rewards.")


def _dead(shop: Shop, *, docs_spelling: bool) -> object:
    shop.sandbox.klaviyo.oauth.docs_spelling = docs_spelling
    return shop.oauth().refresh("canary-dead")


def _unfit_verifier(shop: Shop) -> object:
    return shop.oauth().exchange(shop.things.code, redirect_uri=HOOK, verifier="canary")


_IMPORT = "/api/profile-bulk-import-jobs"
_RECORD, _RECORDS = "/api/data-source-record-create-jobs", "/api/data-source-record-bulk-create-jobs"
_CONSENT = "/api/profile-subscription-bulk"

# By service, operation, status and codes: what is no success of our clients' own calls.
SITUATIONS: dict[tuple[str, str, int, str], Happens] = {
    ("Klaviyo", "POST /api/profile-import", 201, ""): lambda shop: shop.klaviyo.import_profile(
        {"type": "profile", "attributes": {"email": "canary-new@example.org"}}
    ),
    ("Klaviyo", "GET /api/accounts", 401, "not_authenticated"): lambda shop: shop.klaviyo._http.call(
        "GET", "/api/accounts", headers={"revision": REVISION}
    ),
    ("Klaviyo", "GET /api/accounts", 429, "throttled"): _too_often,
    ("Klaviyo", "POST /api/events", 400, "invalid"): lambda shop: shop.klaviyo.create_event(
        an_event(shop.things) | {"profile": {"data": {"type": "profile", "attributes": {"email": OTHER, **ODD}}}}
    ),
    ("Klaviyo", "POST /api/events", 404, "not_found"): lambda shop: shop.klaviyo.create_event(an_event(replace(shop.things, profile=NOBODY))),
    ("Klaviyo", "POST /api/event-bulk-create-jobs", 400, "invalid"): lambda shop: shop.klaviyo.bulk_create_events([an_event(shop.things)] * 2),
    ("Klaviyo", "POST /api/event-bulk-create-jobs", 404, "not_found"): lambda shop: shop.klaviyo.bulk_create_events(
        [an_event(replace(shop.things, profile=NOBODY))]
    ),
    ("Klaviyo", "GET /api/events", 400, "invalid"): lambda shop: shop.klaviyo._get(Endpoint.READ_EVENTS, "/api/events", {"filter": "equals(email,\"x\")"}),
    ("Klaviyo", "GET /api/events/{id}", 400, "invalid"): lambda shop: shop.klaviyo._get(Endpoint.READ_EVENTS, "/api/events/not-an-event"),
    ("Klaviyo", "GET /api/events/{id}", 404, "not_found"): lambda shop: shop.klaviyo._get(Endpoint.READ_EVENTS, "/api/events/aaaaaaaaaaa"),
    ("Klaviyo", "POST /api/profile-import", 400, "invalid"): lambda shop: shop.klaviyo.import_profile(a_profile(shop.things, **ODD)),
    ("Klaviyo", "POST /api/profile-import", 404, "not_found"): lambda shop: shop.klaviyo.import_profile(
        a_profile(replace(shop.things, profile=NOBODY))
    ),
    ("Klaviyo", "POST /api/profile-import", 409, "duplicate_profile"): lambda shop: (
        _anything(shop), shop.klaviyo.import_profile(a_profile(shop.things, email=OTHER)),
    ),
    ("Klaviyo", "PATCH /api/profiles/{id}", 409, "duplicate_profile"): lambda shop: (
        _anything(shop),
        shop.klaviyo._send(Endpoint.PROFILE_IMPORT, "PATCH", f"/api/profiles/{shop.things.profile}", body={"data": a_profile(shop.things, email=OTHER)}),
    ),
    ("Klaviyo", "POST /api/profiles", 400, "invalid"): lambda shop: shop.klaviyo.create_profile(
        {"type": "profile", "attributes": {"email": OTHER, **ODD}}
    ),
    ("Klaviyo", "POST /api/profiles", 409, "duplicate_profile"): lambda shop: shop.klaviyo.create_profile(
        {"type": "profile", "attributes": {"email": shop.things.email}}
    ),
    ("Klaviyo", "POST /api/profile-merge", 202, ""): _merged,
    ("Klaviyo", "POST /api/profile-merge", 404, "not_found"): lambda shop: shop.klaviyo.merge_profiles(NOBODY, shop.things.profile),
    ("Klaviyo", "GET /api/profiles/{id}", 404, "not_found"): lambda shop: shop.klaviyo.profile(NOBODY),
    ("Klaviyo", "GET /api/lists/{id}", 404, "not_found"): lambda shop: shop.klaviyo.check_list("NoList"),
    ("Klaviyo", "GET /api/lists/{id}/profiles", 404, "not_found"): lambda shop: shop.klaviyo.is_on_list("NoList", shop.things.email),
    ("Klaviyo", "PATCH /api/webhooks/{id}", 404, "not_found"): lambda shop: shop.klaviyo.update_webhook(NOBODY, "n", HOOK, SECRET, [TOPIC]),
    ("Klaviyo", "DELETE /api/webhooks/{id}", 404, "not_found"): lambda shop: shop.klaviyo.delete_webhook(NOBODY),
    ("Klaviyo", "POST /api/webhooks", 400, "invalid"): lambda shop: shop.klaviyo.create_webhook("n", HOOK, SECRET, ["event:klaviyo.none"]),
    ("Klaviyo", "GET /api/webhooks", 403, "permission_denied"): lambda shop: _lacks(shop, "webhooks", lambda shop: shop.klaviyo.webhooks()),
    ("Klaviyo", "POST /api/data-sources", 403, "forbidden"): lambda shop: _lacks(
        shop, "data sources", lambda shop: shop.klaviyo.create_data_source("Omneo Dates", "Birthdays.")
    ),
    ("Klaviyo", "POST /api/data-sources", 400, "invalid"): lambda shop: _title(shop, 400),
    ("Klaviyo", "POST /api/data-sources", 409, "duplicate"): lambda shop: _title(shop, 409),
    ("Klaviyo", f"POST {_RECORD}", 404, "not_found"): lambda shop: shop.klaviyo.create_data_source_record(NOBODY, {"reward_id": 1}),
    ("Klaviyo", f"POST {_RECORDS}", 404, "not_found"): lambda shop: shop.klaviyo.bulk_create_data_source_records(NOBODY, [{"reward_id": 1}]),
    ("Klaviyo", f"POST {_RECORD}", 400, "invalid"): lambda shop: _refused_record(shop, bulk=False),
    ("Klaviyo", f"POST {_RECORDS}", 400, "invalid"): lambda shop: _refused_record(shop, bulk=True),
    ("Klaviyo", f"POST {_IMPORT}", 400, "invalid"): lambda shop: shop.klaviyo.import_profiles([a_profile(shop.things, **ODD)]),
    ("Klaviyo", f"GET {_IMPORT}/{{id}}", 404, "not_found"): lambda shop: shop.klaviyo.import_job(NOBODY),
    ("Klaviyo", f"GET {_IMPORT}/{{id}}/import-errors", 404, "not_found"): lambda shop: shop.klaviyo.import_errors(NOBODY),
    ("Klaviyo", f"POST {_CONSENT}-create-jobs", 400, "invalid"): lambda shop: shop.klaviyo._post(Endpoint.SUBSCRIBE, f"{_CONSENT}-create-jobs", {"data": {}}),
    ("Klaviyo", f"POST {_CONSENT}-delete-jobs", 400, "invalid"): lambda shop: shop.klaviyo._post(Endpoint.UNSUBSCRIBE, f"{_CONSENT}-delete-jobs", {"data": {}}),
    ("Klaviyo", "POST /api/profile-suppression-bulk-create-jobs", 400, "invalid"): lambda shop: shop.klaviyo.suppress("canary"),
    ("Klaviyo", "POST /api/data-privacy-deletion-jobs", 404, "not_found"): lambda shop: shop.klaviyo.request_deletion(NOBODY),
    ("Klaviyo", "POST /oauth/token", 400, "invalid_grant"): lambda shop: _dead(shop, docs_spelling=False),
    ("Klaviyo", "POST /oauth/token", 400, "invalid_grant_type"): lambda shop: _dead(shop, docs_spelling=True),
    ("Klaviyo", "POST /oauth/token", 400, "invalid_request"): _unfit_verifier,
    ("Klaviyo", "POST /oauth/token", 401, "invalid_client"): lambda shop: shop.oauth("canary-wrong").refresh("canary"),
    ("Klaviyo", "POST /oauth/revoke", 401, "invalid_client"): lambda shop: shop.oauth("canary-wrong").revoke("canary"),
    ("Klaviyo", "POST /api/lists", 201, ""): lambda shop: RehearsedKlaviyo.like(shop.klaviyo).create_list("Canary"),
    ("Klaviyo", "GET /api/lists", 200, ""): lambda shop: RehearsedKlaviyo.like(shop.klaviyo).lists_named("Newsletter"),
    ("Klaviyo", "DELETE /api/lists/{id}", 204, ""): lambda shop: RehearsedKlaviyo.like(shop.klaviyo).delete_list(shop.things.list),
    ("Klaviyo", "DELETE /api/data-sources/{id}", 204, ""): lambda shop: RehearsedKlaviyo.like(shop.klaviyo).delete_data_source(
        shop.things.source
    ),
    ("Omneo", "POST /api/v3/profiles", 201, ""): lambda shop: RehearsedOmneo.like(shop.omneo()).create_profile(
        {"first_name": "Canary", "last_name": "Canary", "email": OTHER}
    ),
    ("Omneo", "DELETE /api/v3/profiles/{id}", 204, ""): lambda shop: RehearsedOmneo.like(shop.omneo()).delete_profile(
        shop.things.omneo_profile
    ),
    ("Omneo", "DELETE /api/v3/rewards/{id}", 204, ""): _removed,
    ("Omneo", "GET /api/v3/profiles/{id}", 404, ""): lambda shop: shop.omneo().profile(NO_ONE),
    ("Omneo", "POST /api/v3/profiles/search-id", 404, ""): lambda shop: shop.omneo().find_profile_by_identity(identifier="x", handle="klaviyo"),
    ("Omneo", "POST /api/v3/profiles/{id}/identities", 404, ""): lambda shop: shop.omneo().create_identity(NO_ONE, handle="h", identifier="i"),
    ("Omneo", "POST /api/v3/profiles/{id}/identities", 422, ""): _taken,
    ("Omneo", "PUT /api/v3/profiles/{id}/identities/{id}", 404, ""): lambda shop: shop.omneo().update_identity(
        shop.things.omneo_profile, handle="none", identifier="i"
    ),
    ("Omneo", "PUT /api/v3/profiles/{id}/attributes/comms", 404, ""): lambda shop: shop.omneo().update_comms(NO_ONE, {"email_promo": True}),
    ("Omneo", "PUT /api/v3/profiles/{id}/attributes/comms", 422, ""): lambda shop: shop.omneo().update_comms(
        shop.things.omneo_profile, {"email_promo": "perhaps"}
    ),
    ("Omneo", "POST /api/v3/interactions", 422, ""): lambda shop: shop.omneo().create_interaction(
        an_interaction(replace(shop.things, omneo_profile=NO_ONE)), "klaviyo"
    ),
    ("Omneo", "POST /api/v3/rewards", 422, ""): _twice,
    ("Omneo", "POST /api/v3/rewards", 409, ""): _conflict,
    ("Omneo", "GET /api/v3/rewards/definitions/{id}", 404, ""): lambda shop: shop.omneo().reward_definition(999),
    ("Omneo", "POST /api/v3/webhooks", 422, ""): lambda shop: shop.omneo().create_webhook("profile.created", HOOK, "klaviyo"),
    ("Omneo", "PUT /api/v3/webhooks/{id}", 404, ""): lambda shop: shop.omneo().update_webhook_url(999, HOOK),
    ("Omneo", "DELETE /api/v3/webhooks/{id}", 404, ""): lambda shop: shop.omneo().delete_webhook(999),
    ("Omneo", "POST /id/api/v1/auth/token", 404, ""): lambda shop: shop.omneo().mint_id_token(profile_id=NO_ONE),
}  # fmt: skip


def _without_scopes(call: Call, shop: Shop) -> object:
    token = shop.sandbox.klaviyo.install(ACCOUNT, scopes="").access_token
    return call.make(shop.with_token(token), shop.things)


def _refuses(call: Call, shop: Shop, status: int) -> object:
    service = shop.sandbox.klaviyo if call.service == "Klaviyo" else shop.sandbox.omneo
    service.fail(1, status=status)
    return call.make(client_of(call, shop), shop.things)


# What may befall every operation of a service, by status and codes.
ANY: dict[tuple[str, int, str], Callable[[Call, Shop], object]] = {
    ("Klaviyo", 401, "authentication_failed"): lambda call, shop: call.make(shop.with_token("canary-wrong"), shop.things),
    ("Klaviyo", 403, "permission_denied"): _without_scopes,
    ("Klaviyo", 410, "gone"): lambda call, shop: _refuses(call, shop, 410),
    ("Klaviyo", 429, "throttled"): lambda call, shop: _refuses(call, shop, 429),
    ("Klaviyo", 503, "error"): lambda call, shop: _refuses(call, shop, 503),
    ("Omneo", 401, ""): lambda call, shop: call.make(shop.omneo("canary-wrong"), shop.things),
    ("Omneo", 403, ""): lambda call, shop: _refuses(call, shop, 403),
    ("Omneo", 429, ""): lambda call, shop: _refuses(call, shop, 429),
    ("Omneo", 503, ""): lambda call, shop: _refuses(call, shop, 503),
}  # fmt: skip


def calls_of(answer: RecordedAnswer) -> list[Call]:
    """Return the calls of our clients that may get an answer."""
    is_any = answer.method == "*"
    return [
        call
        for call in CALLS
        if call.service == answer.service
        and (call.operation == answer.operation or (is_any and call.client is not KlaviyoOAuth))
    ]


def ways_to(answer: RecordedAnswer) -> list[Happens]:
    """Return all that can be done in the sandbox that ends in an answer of this status and these codes, as far as is known here."""
    codes = ",".join(answer.codes)
    if (own := SITUATIONS.get((answer.service, answer.operation, answer.status, codes))) is not None:
        return [own]
    if answer.status < 300:
        return [makes(call) for call in calls_of(answer)]
    befalls = ANY.get((answer.service, answer.status, codes))
    return [] if befalls is None else [partial(befalls, call) for call in calls_of(answer)]


def happen(happens: Happens, shop: Shop) -> None:
    """Let it happen, whatever our client makes of the answer."""
    try:
        happens(shop)
    except ServiceError:
        return
