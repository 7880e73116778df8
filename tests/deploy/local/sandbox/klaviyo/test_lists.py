"""The sandbox's lists and their members as an app reads and changes them."""

from typing import Any

import pytest
from openapi_client.models.get_list_list_response_collection_compound_document import (
    GetListListResponseCollectionCompoundDocument,
)
from openapi_client.models.get_list_member_response_collection import GetListMemberResponseCollection
from openapi_client.models.get_list_retrieve_response_compound_document import (
    GetListRetrieveResponseCompoundDocument,
)

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.lists import MarketingList
from tests.deploy.local.sandbox.klaviyo.calls import (
    ACCOUNT,
    JANE,
    JANES_PHONE,
    Caller,
    email_state,
    filtered,
    problems_of,
    recorded,
)

LISTS = "/api/lists"


@pytest.fixture
def news(sandbox: Sandbox) -> MarketingList:
    return sandbox.klaviyo.marketing_list(ACCOUNT, "News", opt_in_process="double_opt_in")


def members(*ids: Any) -> dict[str, Any]:
    return {"data": [{"type": "profile", "id": id} for id in ids]}


def without_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """The official models do not know the null links that Klaviyo sends."""
    return {**body, "links": {name: link for name, link in body["links"].items() if link is not None}}


def test_a_list_says_its_name_and_opt_in(sandbox: Sandbox, call: Caller, news: MarketingList) -> None:
    one = call("GET", f"{LISTS}/{news.id}").json()
    GetListRetrieveResponseCompoundDocument.model_validate(one)
    assert (one["data"]["id"], one["data"]["attributes"]["name"]) == (news.id, "News")
    assert one["data"]["attributes"]["opt_in_process"] == "double_opt_in"
    assert one["data"]["links"]["self"] == f"{sandbox.klaviyo.url}/api/lists/{news.id}/"
    assert call("GET", f"{LISTS}/nolist").status_code == 404


def test_lists_come_in_pages_of_at_most_10(sandbox: Sandbox, call: Caller) -> None:
    made = [sandbox.klaviyo.marketing_list(ACCOUNT, f"List {number}").id for number in range(11)]
    first = call("GET", LISTS).json()
    GetListListResponseCollectionCompoundDocument.model_validate(without_nulls(first))
    assert [row["id"] for row in first["data"]] == made[:10]
    rest = call("GET", first["links"]["next"].removeprefix(sandbox.klaviyo.url)).json()
    assert [row["id"] for row in rest["data"]] == made[10:]
    assert problems_of(call("GET", f"{LISTS}?page[size]=11")) == ["page[size]"]


def test_lists_are_found_by_name_and_id(call: Caller, news: MarketingList) -> None:
    for text in ('equals(name,["News","Sales"])', f'equals(id,"{news.id}")', 'any(name,["News"])'):
        assert [row["id"] for row in call("GET", filtered(LISTS, text)).json()["data"]] == [news.id]
    assert call("GET", filtered(LISTS, 'equals(name,["Sales"])')).json()["data"] == []
    assert problems_of(call("GET", filtered(LISTS, 'equals(name,"News")'))) == ["filter"]


def test_members_are_added_and_removed_without_a_change_of_consent(
    sandbox: Sandbox, call: Caller, jane: Profile, news: MarketingList
) -> None:
    path, sales = (
        f"{LISTS}/{news.id}/relationships/profiles",
        sandbox.klaviyo.marketing_list(ACCOUNT, "Sales"),
    )
    sandbox.klaviyo.consent.list_events_without_consent = False
    call("POST", f"{LISTS}/{sales.id}/relationships/profiles", members(jane.id))
    sandbox.klaviyo.consent.list_events_without_consent = True
    for _ in range(2):
        added = call("POST", path, members(jane.id))
        assert (added.status_code, added.content) == (204, b"")
    assert list(jane.memberships) == [sales.id, news.id]
    assert email_state(call.subscriptions(jane.id)) == ("NEVER_SUBSCRIBED", [])
    assert recorded(sandbox) == ["subscribed_to_list"]
    for _ in range(2):
        removed = call("DELETE", path, members(jane.id))
        assert (removed.status_code, removed.content) == (204, b"")
    assert (list(jane.memberships), recorded(sandbox)) == ([sales.id], ["subscribed_to_list"])


def test_members_that_cannot_be_are_refused_whole(call: Caller, jane: Profile, news: MarketingList) -> None:
    path = f"{LISTS}/{news.id}/relationships/profiles"
    for body, pointer in (
        ({}, "/data"),
        ([], "/data"),
        (members(), "/data"),
        (members(*[jane.id] * 1001), "/data"),
        (members(jane.id, 7), "/data/1"),
        ({"data": [{"type": "person", "id": jane.id}]}, "/data/0"),
    ):
        for method in ("POST", "DELETE"):
            answer = call(method, path, body)
            assert (answer.status_code, problems_of(answer)) == (400, [pointer])
    assert problems_of(call("DELETE", path)) == ["/data"]
    assert call("POST", path, members(jane.id, "01HXUNKNOWN")).status_code == 404
    assert call("POST", f"{LISTS}/nolist/relationships/profiles", members(jane.id)).status_code == 404
    assert jane.memberships == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'equals(email,["{JANE}"])', ["jane"]),
        (f'equals(email,"{JANE}")', ["jane"]),
        (f'any(email,["{JANE}","canary-other@example.org"])', ["jane", "other"]),
        (f'equals(phone_number,["{JANES_PHONE}"])', ["jane"]),
        (f'equals(phone_number,"{JANES_PHONE}")', ["jane"]),
        ("greater-than(joined_group_at,2026-09-21T14:13:25Z)", ["other"]),
        ('equals(email,["canary-outside@example.org"])', []),
    ],
)
def test_members_are_found_by_a_filter(
    sandbox: Sandbox, call: Caller, jane: Profile, news: MarketingList, text: str, found: list[str]
) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    sandbox.klaviyo.profile(ACCOUNT, email="canary-outside@example.org")
    for later, profile in ((0, jane), (10, other)):
        path = f"{LISTS}/{news.id}/relationships/profiles"
        assert call("POST", path, members(profile.id), later=later).status_code == 204
    body = call("GET", filtered(f"{LISTS}/{news.id}/profiles", text)).json()
    assert [{jane.id: "jane", other.id: "other"}[row["id"]] for row in body["data"]] == found


def test_members_say_when_they_joined_and_cannot_be_found_by_id(
    call: Caller, jane: Profile, news: MarketingList
) -> None:
    assert call("POST", f"{LISTS}/{news.id}/relationships/profiles", members(jane.id)).status_code == 204
    body = call("GET", f"{LISTS}/{news.id}/profiles?additional-fields[profile]=subscriptions").json()
    GetListMemberResponseCollection.model_validate(without_nulls(body))
    (member,) = body["data"]
    assert member["attributes"]["joined_group_at"] == "2026-09-21T14:13:25+00:00"
    assert member["attributes"]["subscriptions"]["email"]["marketing"]["consent"] == "NEVER_SUBSCRIBED"
    refused = call("GET", filtered(f"{LISTS}/{news.id}/profiles", f'equals(id,"{jane.id}")'))
    assert (refused.status_code, problems_of(refused)) == (400, ["filter"])
    assert problems_of(call("GET", f"{LISTS}/{news.id}/profiles?page[size]=101")) == ["page[size]"]
    assert call("GET", f"{LISTS}/nolist/profiles").status_code == 404


def test_an_app_makes_a_list_with_the_accounts_opt_in_unless_it_says(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.account(ACCOUNT, default_opt_in="double_opt_in")
    for fields, opt_in in (({}, "double_opt_in"), ({"opt_in_process": "single_opt_in"}, "single_opt_in")):
        made = call("POST", LISTS, {"data": {"type": "list", "attributes": {"name": "New", **fields}}})
        assert made.status_code == 201
        row = made.json()["data"]
        assert (row["attributes"]["name"], row["attributes"]["opt_in_process"]) == ("New", opt_in)
        assert call("GET", f"{LISTS}/{row['id']}").json()["data"] == row


def test_a_list_needs_a_name_and_a_known_opt_in(call: Caller) -> None:
    nameless = call("POST", LISTS, {"data": {"type": "list", "attributes": {"opt_in_process": "maybe"}}})
    assert problems_of(nameless) == [
        "/data/attributes/name",
        "/data/attributes/opt_in_process",
    ]


def test_a_deleted_list_is_gone_and_its_members_stay(
    sandbox: Sandbox, call: Caller, news: MarketingList, jane: Profile
) -> None:
    assert call("POST", f"{LISTS}/{news.id}/relationships/profiles", members(jane.id)).status_code == 204
    assert call("DELETE", f"{LISTS}/{news.id}").status_code == 204
    assert call("DELETE", f"{LISTS}/{news.id}").status_code == 404
    assert call("GET", f"/api/profiles/{jane.id}/relationships/lists").json()["data"] == []
