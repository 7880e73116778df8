"""Klaviyo's endpoints of lists, one function each.

Klaviyo's pages "Get Lists", "Create List", "Get List", "Delete List", "Get Profiles for List", "Add Profiles to List" and "Remove Profiles from List".

Assumed (list-members):
an unknown profile in a call that adds or removes members is 404, and the call changes nothing; adding a member again or
removing a stranger changes nothing; members come in the order of joining. `sort`, `include` and `profile_count` are not
known here.
"""

from collections.abc import Iterator
from typing import Any

from deploy.local.sandbox.klaviyo import acts, errors, filters
from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.documents import Resource, given, is_identifier, iso, one, page
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.filters import COMPARISONS, Field
from deploy.local.sandbox.klaviyo.lists import TYPE, MarketingList, problems
from deploy.local.sandbox.klaviyo.profiles import TYPE as PROFILE
from deploy.local.sandbox.klaviyo.profiles import to_resource, wants_subscriptions
from deploy.local.sandbox.stage.messages import Answer

LARGEST_LIST_PAGE = 10
MOST_MEMBERS = 1000
_TEXT = ("any", "equals")
_LIST_FIELDS: dict[str, Field] = {
    "name": Field(lambda row: row.name, _TEXT, single=False),
    "id": Field(lambda row: row.id, _TEXT),
    "created": Field(lambda row: row.created_at, ("greater-than",), "time"),
    "updated": Field(lambda row: row.created_at, ("greater-than",), "time"),
}


def get_lists(asked: Asked) -> Answer:
    """`GET /api/lists`, in pages of 10."""
    rows = list(asked.account.lists.values())
    if "filter" in asked.parameters:
        clauses = filters.parse(asked.parameters["filter"], _LIST_FIELDS, TYPE)
        rows = filters.matching(rows, clauses, _LIST_FIELDS)
    resources = [row.to_resource(asked.url) for row in rows]
    url = f"{asked.url}/api/lists"
    return page(resources, url, asked.parameters, size=LARGEST_LIST_PAGE, largest=LARGEST_LIST_PAGE)


def create_list(asked: Asked) -> Answer:
    """`POST /api/lists`: with the account's own opt-in unless said."""
    if found := list(problems(asked.document)):
        return errors.invalid(found)
    account, fields = asked.account, given(asked.document)
    opt_in = fields.get("opt_in_process", account.details.default_opt_in)
    made = MarketingList(account.identifiers.short_id(), fields["name"], opt_in, asked.now)
    account.lists[made.id] = made
    return one(made.to_resource(asked.url), status=201)


def delete_list(asked: Asked) -> Answer:
    """`DELETE /api/lists/{id}`: its members stay as they are."""
    if asked.account.lists.pop(asked.id, None) is None:
        return errors.missing("list", asked.id)
    for profile in asked.account.profiles.values():
        profile.memberships.pop(asked.id, None)
    return Answer(204)


def get_list(asked: Asked) -> Answer:
    """`GET /api/lists/{id}`."""
    found = asked.account.lists.get(asked.id)
    return errors.missing("list", asked.id) if found is None else one(found.to_resource(asked.url))


def get_profiles_of_list(asked: Asked) -> Answer:
    """`GET /api/lists/{id}/profiles`, in pages."""
    with_subscriptions = wants_subscriptions(asked.parameters)
    if asked.id not in asked.account.lists:
        return errors.missing("list", asked.id)
    fields = _member_fields(asked.id)
    rows = [row for row in asked.account.profiles.values() if asked.id in row.memberships]
    rows.sort(key=lambda row: row.memberships[asked.id])
    if "filter" in asked.parameters:
        clauses = filters.parse(asked.parameters["filter"], fields, PROFILE)
        rows = filters.matching(rows, clauses, fields)
    resources = [_member(asked, row, with_subscriptions=with_subscriptions) for row in rows]
    return page(resources, f"{asked.url}/api/lists/{asked.id}/profiles", asked.parameters)


def add_profiles_to_list(asked: Asked) -> Answer:
    """`POST /api/lists/{id}/relationships/profiles`: membership without consent."""
    members = _named(asked)
    if isinstance(members, Answer):
        return members
    for profile in members:
        is_recorded = asked.consent.list_events_without_consent
        acts.join(asked.account, profile, asked.id, asked.now, is_recorded=is_recorded)
    return Answer(204)


def remove_profiles_from_list(asked: Asked) -> Answer:
    """`DELETE /api/lists/{id}/relationships/profiles`: consent stays as it is."""
    members = _named(asked)
    if isinstance(members, Answer):
        return members
    for profile in members:
        profile.memberships.pop(asked.id, None)
    return Answer(204)


def _named(asked: Asked) -> list[Profile] | Answer:
    if asked.id not in asked.account.lists:
        return errors.missing("list", asked.id)
    if found := list(_member_problems(asked.document)):
        return errors.invalid(found)
    known: list[Profile] = []
    for row in asked.document["data"]:
        profile = asked.account.profile(row["id"])
        if profile is None:
            return errors.missing("profile", row["id"])
        known.append(profile)
    return known


def _member_problems(document: Any) -> Iterator[Problem]:
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_MEMBERS:
        yield Problem(f"'data' is required and must name 1 to {MOST_MEMBERS} profiles.", "/data")
        return
    for index, row in enumerate(rows):
        if not is_identifier(row, PROFILE):
            yield Problem("Name a profile by 'type' and 'id'.", f"/data/{index}")


def _member_fields(list_id: str) -> dict[str, Field]:
    return {
        "email": Field(lambda row: row.attributes.get("email"), _TEXT),
        "phone_number": Field(lambda row: row.attributes.get("phone_number"), _TEXT),
        "joined_group_at": Field(lambda row: row.memberships[list_id], COMPARISONS, "time"),
    }


def _member(asked: Asked, profile: Profile, *, with_subscriptions: bool) -> Resource:
    resource = to_resource(profile, asked.url, with_subscriptions=with_subscriptions)
    resource["attributes"]["joined_group_at"] = iso(profile.memberships[asked.id])
    return resource
