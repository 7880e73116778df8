"""Klaviyo's endpoints of profiles, one function each. Shapes and refusals are in `profiles.py`.

Klaviyo's pages "Get Profiles", "Create Profile", "Create or Update Profile", "Update Profile", "Merge Profiles", "Get Lists for
Profile".

Assumed (identifier-of-another-is-409, unknown-id-is-404, profile-queries):
an identifier that belongs to another profile is 409 `duplicate_profile` in an import and an update as it is in
"Create Profile", and with the switch `duplicate_names_itself` names the profile that was to be written, as Klaviyo has been seen to;
an import with an id that no profile has is 404; a merge of an unknown profile is 404,
one with itself 400. `include` and `sort` are not known here and are refused as unknown parameters; no filter
knows `_kx` and the fields of suppressions.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from deploy.local.sandbox.klaviyo import errors, filters, importing, merging
from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.documents import Resource, everything, is_identifier, one, page
from deploy.local.sandbox.klaviyo.errors import MEDIA_TYPE, Problem
from deploy.local.sandbox.klaviyo.filters import BEFORE_AND_AFTER, Clause, Field
from deploy.local.sandbox.klaviyo.importing import DuplicateProfileError
from deploy.local.sandbox.klaviyo.profiles import (
    TYPE,
    create_problems,
    import_problems,
    to_resource,
    update_problems,
    wants_subscriptions,
)
from deploy.local.sandbox.stage.messages import Answer, json_answer

_TEXT = ("any", "equals")
_FIELDS: dict[str, Field] = {
    "id": Field(lambda profile: profile.id, _TEXT),
    "email": Field(lambda profile: profile.attributes.get("email"), _TEXT),
    "phone_number": Field(lambda profile: profile.attributes.get("phone_number"), _TEXT),
    "external_id": Field(lambda profile: profile.attributes.get("external_id"), _TEXT),
    "created": Field(lambda profile: profile.created_at, BEFORE_AND_AFTER, "time"),
    "updated": Field(lambda profile: profile.updated_at, BEFORE_AND_AFTER, "time"),
}


def get_profile(asked: Asked) -> Answer:
    """`GET /api/profiles/{id}`."""
    with_subscriptions = wants_subscriptions(asked.parameters)
    profile = asked.account.profile(asked.id)
    if profile is None:
        return errors.missing("profile", asked.id)
    return one(_shown(asked, profile, with_subscriptions=with_subscriptions))


def get_profiles(asked: Asked) -> Answer:
    """`GET /api/profiles`, in pages."""
    with_subscriptions = wants_subscriptions(asked.parameters)
    if "filter" in asked.parameters:
        clauses = filters.parse(asked.parameters["filter"], _FIELDS, TYPE)
        rows = filters.matching(_candidates(asked, clauses), clauses, _FIELDS)
    else:
        rows = list(asked.account.profiles.values())
    show = partial(_shown, asked, with_subscriptions=with_subscriptions)
    return page(rows, f"{asked.url}/api/profiles", asked.parameters, show=show)


def import_profile(asked: Asked) -> Answer:
    """`POST /api/profile-import`: 201 for a new profile, 200 for one that was there."""
    with_subscriptions = wants_subscriptions(asked.parameters)
    if found := list(import_problems(asked.document)):
        return errors.invalid(found)
    data = asked.document["data"]
    if asked.is_otherwise("null-clears"):
        data = importing.without_null(data)
    known = asked.account.find(data.get("id"), data["attributes"])
    if known is None and data.get("id") and not asked.is_otherwise("unknown-id-is-404"):
        return errors.missing("profile", data["id"])
    status = 201 if known is None else 200
    return _written(asked, known, data, status=status, with_subscriptions=with_subscriptions)


def create_profile(asked: Asked) -> Answer:
    """`POST /api/profiles`: 201, and 409 where any profile has one of the identifiers."""
    with_subscriptions = wants_subscriptions(asked.parameters)
    if found := list(create_problems(asked.document)):
        return errors.invalid(found)
    data, known = asked.document["data"], None
    if asked.is_otherwise("create-refuses-known-identifiers"):
        known = asked.account.find(None, data["attributes"])
    return _written(asked, known, data, status=201, with_subscriptions=with_subscriptions)


def update_profile(asked: Asked) -> Answer:
    """`PATCH /api/profiles/{id}`."""
    with_subscriptions = wants_subscriptions(asked.parameters)
    profile = asked.account.profile(asked.id)
    if profile is None:
        return errors.missing("profile", asked.id)
    if found := list(update_problems(asked.document, id=asked.id)):
        return errors.invalid(found)
    return _written(asked, profile, asked.document["data"], with_subscriptions=with_subscriptions)


def get_lists_of_profile(asked: Asked) -> Answer:
    """`GET /api/profiles/{id}/lists`, all at once."""
    profile = asked.account.profile(asked.id)
    if profile is None:
        return errors.missing("profile", asked.id)
    rows = [asked.account.lists[id].to_resource(asked.url) for id in profile.memberships]
    return everything(rows, f"{asked.url}/api/profiles/{asked.id}/lists")


def get_list_ids_of_profile(asked: Asked) -> Answer:
    """`GET /api/profiles/{id}/relationships/lists`, all at once."""
    profile = asked.account.profile(asked.id)
    if profile is None:
        return errors.missing("profile", asked.id)
    rows = [{"type": "list", "id": id} for id in profile.memberships]
    return everything(rows, f"{asked.url}/api/profiles/{asked.id}/relationships/lists")


def merge_profiles(asked: Asked) -> Answer:
    """`POST /api/profile-merge`: 202, and carried out after `job_seconds`."""
    destination, source, problem = _merged_ids(asked.document)
    if problem is not None:
        return errors.invalid([problem])
    account, switches = asked.account, asked.consent
    for id in (destination, source):
        if account.profile(id) is None:
            return errors.missing("profile", id)
    if account.profile(destination) is account.profile(source):
        return errors.invalid([Problem("A profile cannot be merged with itself.", "/data")])

    def carry_out(at: float) -> None:
        kept, merged = account.profile(destination), account.profile(source)
        if kept is not None and merged is not None and kept is not merged:
            merging.merge(account, merged, kept, switches, at)

    account.schedule.add(carry_out, after=switches.job_seconds)
    links = {"self": f"{asked.url}/api/profiles/{destination}/"}
    resource = {"type": TYPE, "id": destination, "links": links}
    return json_answer(202, {"data": resource, "links": links}, media_type=MEDIA_TYPE)


def _candidates(asked: Asked, clauses: Iterable[Clause]) -> Iterable[Profile]:
    # Every field of text has an index, so that a filter by one never goes through all profiles.
    named = next((clause for clause in clauses if clause.operator in _TEXT), None)
    if named is None:
        return asked.account.profiles.values()
    return asked.account.having(named.field, named.values)


def _merged_ids(document: Any) -> tuple[str, str, Problem | None]:
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or data.get("type") != "profile-merge":
        return "", "", Problem("'type' must be 'profile-merge'.", "/data/type")
    if not isinstance(data.get("id"), str):
        return "", "", Problem("'id' is required and must be a string.", "/data/id")
    related = data.get("relationships")
    profiles = related.get("profiles") if isinstance(related, dict) else None
    rows = profiles.get("data") if isinstance(profiles, dict) else None
    if isinstance(rows, list) and len(rows) == 1 and is_identifier(rows[0], TYPE):
        return data["id"], rows[0]["id"], None
    return "", "", Problem("Name exactly one source profile.", "/data/relationships/profiles/data")


def _written(
    asked: Asked,
    profile: Profile | None,
    data: Mapping[str, Any],
    *,
    status: int = 200,
    with_subscriptions: bool,
) -> Answer:
    prefixes = asked.consent.unsupported_phone_prefixes
    if found := list(importing.unsupported_phones([data], prefixes, "/data")):
        return errors.invalid(found)
    overwrites = asked.is_otherwise("identifier-of-another-is-409")
    try:
        written = importing.write(asked.account, profile, data, overwrites=overwrites)
    except DuplicateProfileError as error:
        named = profile.id if profile is not None and asked.consent.duplicate_names_itself else error.id
        return errors.duplicate_profile(named)
    return one(_shown(asked, written, with_subscriptions=with_subscriptions), status=status)


def _shown(asked: Asked, profile: Profile, *, with_subscriptions: bool) -> Resource:
    return to_resource(profile, asked.url, with_subscriptions=with_subscriptions)
