"""Omneo's endpoints, one function each, and the table of their paths. Credentials are checked before them.

Omneo's pages "Working with profiles", "Search by id", "Omneo ID", "Target", "Trigger", "Add reward" and those on webhooks; its
SDK for `/auth/verify` and reward definitions.

Assumed (unknown-is-404-at-omneo, unknown-identity-mints-nothing, token-says-when-it-expires):
an unknown profile or identity is 404, also at `search-id` and when a token is minted; a new
profile with an email that another has is 422 on `email`; a filter unknown here is
501, because ignoring it would return the wrong rows; `/auth/verify` answers with the token's own fields, as they stand
under api-tokens, in the envelope of a single row.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.omneo import comms, identities, listing, webhooks
from deploy.local.sandbox.omneo.answers import error, invalid, missing, one, page, repeated
from deploy.local.sandbox.omneo.asked import Asked
from deploy.local.sandbox.omneo.profiles import new_profile, stamp
from deploy.local.sandbox.omneo.reactions import InvalidRowError, Rows
from deploy.local.sandbox.omneo.rewards import RewardRefusedError
from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.stage.messages import Answer

Endpoint = Callable[[Asked], Answer]


def list_profiles(asked: Asked) -> Answer:
    """`GET /profiles`, in the orders and by the filters of `listing.py`."""
    email = asked.request.parameters.get("filter[email]", "")
    if asked.is_otherwise("email-filter-ignores-case") and email != email.lower():
        return page([], asked.request, asked.url)
    if asked.is_otherwise("empty-list-is-200") and email and not asked.tenant.profiles.with_email(email):
        return missing("Profile")
    turned_round = asked.is_otherwise("profiles-by-time-made")
    return listing.list_profiles(asked.tenant.profiles, asked.request, asked.url, turned_round=turned_round)


def create_profile(asked: Asked) -> Answer:
    """`POST /profiles`: the fields as they come; an email that a profile has is refused."""
    email = asked.fields.get("email")
    if email and asked.tenant.with_email(email):
        return invalid({"email": ["The email has already been taken."]})
    profile = new_profile(asked.fields, asked.identifiers, asked.now)
    asked.tenant.profiles[profile["id"]] = profile
    return one(profile, 201)


def delete_profile(asked: Asked) -> Answer:
    """`DELETE /profiles/{id}`."""
    if asked.id not in asked.tenant.profiles:
        return missing("Profile")
    if not asked.is_otherwise("deleted-profile-is-gone"):
        del asked.tenant.profiles[asked.id]
    return Answer(204)


def read_profile(asked: Asked) -> Answer:
    """`GET /profiles/{id}`."""
    profile = asked.tenant.profiles.get(asked.id)
    if profile is None and asked.is_otherwise("missing-profile-is-named"):
        return error(404)
    if profile is not None and asked.is_otherwise("profile-shows-identities"):
        return one({name: value for name, value in profile.items() if name != "identities"})
    return _found(profile)


def search_id(asked: Asked) -> Answer:
    """`POST /profiles/search-id`: by identity handle and identifier."""
    if errors := _required(asked.fields, "type", "id"):
        return invalid(errors)
    return _found(asked.tenant.with_identity(asked.fields["type"], asked.fields["id"]))


def update_comms(asked: Asked) -> Answer:
    """`PUT /profiles/{id}/attributes/comms`: only the fields named change."""
    profile = asked.tenant.profiles.get(asked.id)
    if profile is None:
        return missing("Profile")
    if errors := comms.comms_errors(asked.fields):
        return invalid(errors)
    comms.change_comms(profile["attributes"]["comms"], asked.fields)
    profile["updated_at"] = stamp(asked.now)
    return one(profile["attributes"]["comms"])


def read_comms(asked: Asked) -> Answer:
    """`GET /profiles/{id}/attributes/comms`."""
    profile = asked.tenant.profiles.get(asked.id)
    return _found(None if profile is None else profile["attributes"]["comms"])


def create_interaction(asked: Asked) -> Answer:
    """`POST /interactions`: for the profile named by id, or by an identity."""
    fields = asked.fields
    if errors := comms.interaction_errors(fields):
        return error(422) if asked.is_otherwise("refusal-names-fields") else invalid(errors)
    profile = _interacting(asked.tenant, fields)
    if profile is None:
        return invalid({"profile_id": ["The selected profile_id is invalid."]})
    rows = asked.tenant.interactions
    if asked.is_otherwise("equal-interactions-are-two") and rows and rows[-1]["meta"] == fields.get("meta"):
        return one(rows[-1])
    rows.append(comms.new_interaction(len(rows) + 1, profile["id"], fields, asked.now))
    return one(rows[-1], 201)


def mint_id_token(asked: Asked) -> Answer:
    """`POST /auth/token` of the ID API: a token for a profile, for an identity, or for nobody."""
    id, handle = asked.fields.get("id"), asked.fields.get("id_handle")
    pid = "null"
    if id is not None:
        profile = asked.tenant.with_identity(handle or "profile_id", str(id))
        if handle and asked.is_otherwise("token-by-identity"):
            return invalid({"id_handle": ["The id handle is invalid."]})
        if profile is None and not asked.is_otherwise("unknown-identity-mints-nothing"):
            return missing("Profile")
        pid = "null" if profile is None else profile["id"]
    exp = int(asked.now) + asked.id_token_seconds
    exp = exp * 1000 if asked.is_otherwise("token-exp-in-unix-seconds") else exp
    claims = [{"alg": "HS256", "typ": "JWT"}, {"pid": pid, "exp": exp}]
    head, payload = (_base64url(json.dumps(claim).encode()) for claim in claims)
    # Nobody but Omneo can check the signature, so it is a plain made-up token that a search will find.
    return one({"token": f"{head}.{payload}.{asked.identifiers.token('id')}", "exp": exp})


def verify_token(asked: Asked) -> Answer:
    """`GET /auth/verify`: the token of this call."""
    tenant = asked.tenant
    token = {"id": f"{tenant.name}-token", "name": "Klaviyo extension", "scopes": ["*"]}
    if asked.is_otherwise("token-says-when-it-expires"):
        return one(token)
    return one({**token, "expires_at": stamp(tenant.token_expires_at)})


def list_webhooks(asked: Asked) -> Answer:
    """`GET /webhooks`, optionally with `filter[namespace]`, `filter[trigger]` and `filter[is_active]`."""
    filters = _filters(asked)
    if set(filters) - set(webhooks.FILTERS) or filters.get("is_active", "0") not in ("0", "1"):
        return error(501)
    if asked.is_otherwise("webhooks-by-namespace"):
        filters.pop("namespace", None)
    return page(webhooks.filtered(asked.tenant.webhooks.all(), filters), asked.request, asked.url)


def create_reward(asked: Asked) -> Answer:
    """`POST /rewards`."""
    tenant = asked.tenant
    try:
        return one(tenant.rewards.create(asked.fields, tenant.profiles, asked.now), 201)
    except RewardRefusedError as refused:
        if asked.is_otherwise("repeated-external-id"):
            return error(400)
        return invalid(refused.errors) if refused.errors else repeated()


def list_rewards(asked: Asked) -> Answer:
    """`GET /rewards`, optionally with `filter[profile_id]`."""
    filters = _filters(asked)
    profile_id = filters.pop("profile_id", None)
    if filters:
        return error(501)
    rows = asked.tenant.rewards.of_profile(profile_id)
    if asked.is_otherwise("reward-meta-comes-back"):
        rows = asked.tenant.rewards.without_meta(profile_id)
    return page(rows, asked.request, asked.url)


def read_reward(asked: Asked) -> Answer:
    """`GET /rewards/{id}`."""
    return _found(asked.tenant.rewards.get(asked.id), "Reward")


def delete_reward(asked: Asked) -> Answer:
    """`DELETE /rewards/{id}`."""
    return Answer(204) if asked.tenant.rewards.remove(asked.id) else missing("Reward")


def list_reward_definitions(asked: Asked) -> Answer:
    """`GET /rewards/definitions`."""
    rows = list(asked.tenant.rewards.definitions.values())
    if asked.is_otherwise("periods-of-definitions"):
        rows = [{**row, "period_type": "fortnights"} for row in rows]
    return page(rows, asked.request, asked.url)


def read_reward_definition(asked: Asked) -> Answer:
    """`GET /rewards/definitions/{id}`."""
    return _found(asked.tenant.rewards.definition(asked.id), "RewardDefinition")


def _crud(rows: Callable[[Tenant], Rows], thing: str) -> tuple[dict[str, Endpoint], dict[str, Endpoint]]:
    def kept(change: Callable[[], dict[str, Any]], status: int) -> Answer:
        try:
            return one(change(), status)
        except InvalidRowError as refused:
            return invalid(refused.errors)

    def index(asked: Asked) -> Answer:
        return page(rows(asked.tenant).all(), asked.request, asked.url)

    def create(asked: Asked) -> Answer:
        return kept(lambda: rows(asked.tenant).create(asked.fields), 201)

    def read(asked: Asked) -> Answer:
        return _found(rows(asked.tenant).get(asked.id), thing)

    def update(asked: Asked) -> Answer:
        row = rows(asked.tenant).get(asked.id)
        return (
            missing(thing) if row is None else kept(lambda: rows(asked.tenant).update(row, asked.fields), 200)
        )

    def delete(asked: Asked) -> Answer:
        row = rows(asked.tenant).get(asked.id)
        if row is None:
            return missing(thing)
        rows(asked.tenant).delete(row)
        return Answer(204)

    return {"GET": index, "POST": create}, {"GET": read, "PUT": update, "DELETE": delete}


def _interacting(tenant: Tenant, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    identifier = fields.get("identifier")
    if fields.get("profile_id"):
        return tenant.profiles.get(str(fields["profile_id"]))
    if isinstance(identifier, dict):
        return tenant.with_identity(str(identifier.get("handle")), str(identifier.get("id")))
    return tenant.profiles.get(str(identifier))


def _filters(asked: Asked) -> dict[str, str]:
    # `filter[email]=` and `filter[email][eq]=` are the same.
    given = {name: text for name, text in asked.request.parameters.items() if name.startswith("filter[")}
    return {name.removesuffix("[eq]")[len("filter[") : -1]: text for name, text in given.items()}


def _found(row: dict[str, Any] | None, thing: str = "Profile") -> Answer:
    return missing(thing) if row is None else one(row)


def _required(fields: Mapping[str, Any], *names: str) -> dict[str, list[str]]:
    return {
        name: [f"The {name} field is required."]
        for name in names
        if not isinstance(fields.get(name), str) or not fields[name]
    }


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_targets, _target = _crud(lambda tenant: tenant.targets, "Target")
_triggers, _trigger = _crud(lambda tenant: tenant.triggers, "Trigger")
_webhooks, _webhook = _crud(lambda tenant: tenant.webhooks, "Webhook")

# `{id}` and `{handle}` stand for one segment each. The first row that fits is taken.
ROUTES: dict[str, dict[str, Endpoint]] = {
    "api/v3/auth/verify": {"GET": verify_token},
    "api/v3/profiles": {"GET": list_profiles, "POST": create_profile},
    "api/v3/profiles/search-id": {"POST": search_id},
    "api/v3/profiles/{id}": {"GET": read_profile, "DELETE": delete_profile},
    "api/v3/profiles/{id}/attributes/comms": {"GET": read_comms, "PUT": update_comms},
    "api/v3/profiles/{id}/identities": {
        "GET": identities.list_identities,
        "POST": identities.create_identity,
    },
    "api/v3/profiles/{id}/identities/{handle}": {
        "GET": identities.read_identity,
        "PUT": identities.update_identity,
        "DELETE": identities.delete_identity,
    },
    "api/v3/interactions": {"POST": create_interaction},
    "api/v3/rewards": {"GET": list_rewards, "POST": create_reward},
    "api/v3/rewards/definitions": {"GET": list_reward_definitions},
    "api/v3/rewards/definitions/{id}": {"GET": read_reward_definition},
    "api/v3/rewards/{id}": {"GET": read_reward, "DELETE": delete_reward},
    "api/v3/targets": _targets,
    "api/v3/targets/{id}": _target,
    "api/v3/triggers": _triggers,
    "api/v3/triggers/{id}": _trigger,
    "api/v3/webhooks": _webhooks | {"GET": list_webhooks},
    "api/v3/webhooks/{id}": _webhook,
    "id/api/v1/auth/token": {"POST": mint_id_token},
}


def route(segments: list[str]) -> tuple[dict[str, Endpoint], dict[str, str]] | None:
    """Return the endpoints at a path by method, and the values of its placeholders; None if there are none."""
    for template, endpoints in ROUTES.items():
        wanted = template.split("/")
        if len(wanted) != len(segments):
            continue
        pairs = list(zip(wanted, segments, strict=True))
        if all(want in (have, "{id}", "{handle}") for want, have in pairs):
            return endpoints, {want[1:-1]: have for want, have in pairs if want in ("{id}", "{handle}")}
    return None
