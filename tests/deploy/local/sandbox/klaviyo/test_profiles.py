"""The sandbox's profiles as an app reads, finds, writes and merges them."""

from typing import Any

import pytest
from openapi_client.models.get_list_response_collection import GetListResponseCollection
from openapi_client.models.get_profile_lists_relationships_response_collection import (
    GetProfileListsRelationshipsResponseCollection,
)
from openapi_client.models.get_profile_response_plural_conversations_collection_compound_document import (
    GetProfileResponsePluralConversationsCollectionCompoundDocument,
)
from openapi_client.models.get_profile_response_plural_conversations_compound_document import (
    GetProfileResponsePluralConversationsCompoundDocument,
)
from openapi_client.models.patch_profile_response import PatchProfileResponse
from openapi_client.models.post_profile_merge_response import PostProfileMergeResponse
from openapi_client.models.post_profile_response import PostProfileResponse
from openapi_client.models.profile_merge_query import ProfileMergeQuery
from openapi_client.models.profile_partial_update_query import ProfilePartialUpdateQuery
from openapi_client.models.profile_upsert_query import ProfileUpsertQuery

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
from tests.deploy.local.sandbox.klaviyo.calls import (
    ACCOUNT,
    JANE,
    JANES_PHONE,
    Caller,
    filtered,
    problems_of,
)

IMPORT = "/api/profile-import"
PROFILES = "/api/profiles"
ATTRIBUTES = "/data/attributes"


@pytest.fixture
def jane(sandbox: Sandbox) -> Profile:
    return sandbox.klaviyo.profile(ACCOUNT, email=JANE, phone_number=JANES_PHONE, external_id="omneo-1")


def a_profile(*, id: Any = ..., meta: Any = ..., type: str = "profile", **attributes: Any) -> dict[str, Any]:
    data = {"type": type, "id": id, "attributes": attributes, "meta": meta}
    return {"data": {name: value for name, value in data.items() if value is not ...}}


def test_a_profile_is_made_once_and_then_updated(sandbox: Sandbox, call: Caller) -> None:
    body = a_profile(
        email=JANE,
        external_id="omneo-1",
        first_name="Jane",
        location={"city": "Melbourne", "latitude": 1.5},
        properties={"tier": "Gold", "old": 1},
    )
    ProfileUpsertQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    made = call("POST", IMPORT, body)
    PostProfileResponse.model_validate(made.json())
    change = a_profile(
        email=JANE.upper(),
        first_name=None,
        location={"city": None, "zip": "3000"},
        properties={"tier": "Silver"},
        meta={"patch_properties": {"append": {"shops": "a"}, "unset": "old"}},
    )
    ProfileUpsertQuery.model_validate(change, extra="forbid", by_alias=True, by_name=False)
    changed = call("POST", IMPORT, change)
    assert (made.status_code, changed.status_code) == (201, 200)
    before, after = made.json()["data"], changed.json()["data"]
    assert before["links"]["self"] == f"{sandbox.klaviyo.url}/api/profiles/{before['id']}/"
    assert (before["id"], before["attributes"]["first_name"]) == (after["id"], "Jane")
    attributes = after["attributes"]
    assert (attributes["first_name"], attributes["properties"]) == (None, {"tier": "Silver", "shops": ["a"]})
    assert (attributes["location"]["city"], attributes["location"]["zip"]) == (None, "3000")
    assert attributes["created"] == before["attributes"]["created"] < attributes["updated"]
    assert call("GET", f"{PROFILES}/{after['id']}").json()["data"] == after


def test_a_profile_is_created_once_and_its_identifiers_name_it_then(call: Caller, jane: Profile) -> None:
    made = call("POST", PROFILES, a_profile(external_id="canary-41", phone_number="+61412345678"))
    assert (made.status_code, made.json()["data"]["attributes"]["external_id"]) == (201, "canary-41")
    for taken in ({"email": JANE.upper()}, {"external_id": "canary-42", "email": JANE}):
        refused = call("POST", PROFILES, a_profile(**taken))
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["meta"]) == (409, {"duplicate_profile_id": jane.id})
    for wrong in (a_profile(id="01HX", email="canary@example.org"), a_profile(first_name="Jane")):
        assert call("POST", PROFILES, wrong).status_code == 400


def test_subscriptions_are_shown_to_who_asks(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    asked = "additional-fields[profile]=subscriptions"
    plain = call("GET", f"{PROFILES}/{jane.id}").json()
    GetProfileResponsePluralConversationsCompoundDocument.model_validate(plain)
    assert "subscriptions" not in plain["data"]["attributes"]
    one = call("GET", f"{PROFILES}/{jane.id}?{asked}").json()
    GetProfileResponsePluralConversationsCompoundDocument.model_validate(one)
    all_of_them = call("GET", f"{PROFILES}?{asked}").json()
    GetProfileResponsePluralConversationsCollectionCompoundDocument.model_validate(
        {**all_of_them, "links": {"self": all_of_them["links"]["self"]}}
    )
    imported = call("POST", f"{IMPORT}?{asked}", a_profile(email=JANE)).json()
    updated = call("PATCH", f"{PROFILES}/{jane.id}?{asked}", a_profile(id=jane.id)).json()
    rows = [one["data"], all_of_them["data"][0], imported["data"], updated["data"]]
    shown = [row["attributes"]["subscriptions"]["email"]["marketing"]["consent"] for row in rows]
    assert shown == ["SUBSCRIBED"] * 4


def test_consent_cannot_be_written_and_does_not_move_updated(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    refused = call("POST", IMPORT, a_profile(email=JANE, subscriptions={}))
    assert (refused.status_code, problems_of(refused)) == (400, [f"{ATTRIBUTES}/subscriptions"])
    before = call("GET", f"{PROFILES}/{jane.id}").json()["data"]["attributes"]
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    after = call("GET", f"{PROFILES}/{jane.id}").json()["data"]["attributes"]
    assert (before["updated"], before["last_event_date"]) == (after["updated"], None)
    assert after["last_event_date"] > after["updated"]


def test_an_import_finds_by_id_and_gives_new_identifiers(call: Caller, jane: Profile) -> None:
    answer = call("POST", IMPORT, a_profile(id=jane.id, email="canary-new@example.org", phone_number=None))
    attributes = answer.json()["data"]["attributes"]
    assert (answer.status_code, attributes["email"]) == (200, "canary-new@example.org")
    assert attributes["phone_number"] is None
    assert call("POST", IMPORT, a_profile(email=JANE)).status_code == 201
    assert call("POST", IMPORT, a_profile(phone_number=JANES_PHONE)).status_code == 201


def test_an_identifier_of_another_profile_is_409_and_names_it(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    answers = [
        call("POST", IMPORT, a_profile(email="canary-other@example.org", phone_number=JANES_PHONE)),
        call("POST", IMPORT, a_profile(id=other.id, external_id="omneo-1", first_name="Other")),
        call("PATCH", f"{PROFILES}/{other.id}", a_profile(id=other.id, email=JANE, first_name="Other")),
    ]
    for answer in answers:
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["source"]) == (
            409,
            "duplicate_profile",
            {"pointer": ATTRIBUTES},
        )
        assert error["meta"] == {"duplicate_profile_id": jane.id}
    assert "first_name" not in other.attributes


def test_a_profile_is_updated_by_its_id(call: Caller, jane: Profile) -> None:
    body = a_profile(id=jane.id, first_name="Jane", properties={"tier": "Gold"})
    ProfilePartialUpdateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("PATCH", f"{PROFILES}/{jane.id}", body)
    PatchProfileResponse.model_validate(answer.json())
    assert (answer.status_code, answer.json()["data"]["attributes"]["first_name"]) == (200, "Jane")
    assert (jane.attributes["email"], jane.properties) == (JANE, {"tier": "Gold"})
    assert call("PATCH", f"{PROFILES}/01HXUNKNOWN", a_profile(id="01HXUNKNOWN")).status_code == 404


REFUSED: dict[str, tuple[Any, str]] = {
    "no document": ([], "/data"),
    "another type": (a_profile(type="person", email=JANE), "/data/type"),
    "no attributes": ({"data": {"type": "profile"}}, ATTRIBUTES),
    "nobody": (a_profile(first_name="Jane"), ATTRIBUTES),
    "an id that is no text": (a_profile(id=7), "/data/id"),
    "an unknown attribute": (a_profile(email=JANE, shoe_size=38), f"{ATTRIBUTES}/shoe_size"),
    "an anonymous id": (a_profile(email=JANE, anonymous_id="a"), f"{ATTRIBUTES}/anonymous_id"),
    "a wrong address": (a_profile(email="jane"), f"{ATTRIBUTES}/email"),
    "a wrong number": (a_profile(phone_number="0412"), f"{ATTRIBUTES}/phone_number"),
    "a name that is no text": (a_profile(email=JANE, first_name=7), f"{ATTRIBUTES}/first_name"),
    "an unknown part of a place": (a_profile(email=JANE, location={"planet": "x"}), f"{ATTRIBUTES}/location"),
    "properties that are no object": (a_profile(email=JANE, properties=[]), f"{ATTRIBUTES}/properties"),
    "too much": (a_profile(email=JANE, properties={"blob": "x" * 100 * 1024}), "/data"),
    "an unknown field": (
        {"data": {**a_profile(email=JANE)["data"], "relationships": {}}},
        "/data/relationships",
    ),
    "an unknown meta": (a_profile(email=JANE, meta={"patch": {}}), "/data/meta"),
    "an unknown patch": (
        a_profile(email=JANE, meta={"patch_properties": {"set": {}}}),
        "/data/meta/patch_properties",
    ),
    "a patch of another kind": (
        a_profile(email=JANE, meta={"patch_properties": {"unset": [1]}}),
        "/data/meta/patch_properties",
    ),
}


@pytest.mark.parametrize(("body", "pointer"), REFUSED.values(), ids=REFUSED)
def test_a_profile_that_klaviyo_would_refuse_is_not_written(
    sandbox: Sandbox, call: Caller, body: Any, pointer: str
) -> None:
    answer = call("POST", IMPORT, body)
    assert (answer.status_code, problems_of(answer)) == (400, [pointer])
    assert sandbox.klaviyo.profiles(ACCOUNT) == []


def test_a_refused_number_is_answered_in_klaviyos_words(call: Caller) -> None:
    (error,) = call("POST", IMPORT, a_profile(phone_number="0412")).json()["errors"]
    assert error["detail"] == "Invalid phone number format (Example of a valid format: +12345678901)"


def test_an_update_needs_the_id_of_its_path(call: Caller, jane: Profile) -> None:
    for body in (a_profile(), a_profile(id="01HX")):
        answer = call("PATCH", f"{PROFILES}/{jane.id}", body)
        assert (answer.status_code, problems_of(answer)) == (400, ["/data/id"])
    answer = call("PATCH", f"{PROFILES}/{jane.id}", a_profile(id=jane.id, _kx="k"))
    assert problems_of(answer) == [f"{ATTRIBUTES}/_kx"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'equals(email,"{JANE.upper()}")', ["jane"]),
        (f"equals(email,'{JANE}')", ["jane"]),
        (f'equals(phone_number,"{JANES_PHONE}")', ["jane"]),
        ('equals(external_id,"omneo-2")', ["john"]),
        ('any(external_id,["omneo-1","omneo-2","omneo-3"])', ["jane", "john"]),
        ('equals(external_id,["omneo-1"])', ["jane"]),
        ('any(id,["none"])', []),
        ('equals(email,"nobody@example.org")', []),
        (f'equals(email,"{JANE}"),equals(external_id,"omneo-2")', []),
        (f'equals(email,"{JANE}") , equals(external_id,"omneo-1")', ["jane"]),
        ("greater-than(created,2026-09-21T14:13:25Z)", ["john"]),
        ("less-than(created,2026-09-21T14:13:25Z)", ["jane"]),
        ("less-than(updated,2026-09-21T14:13:25Z)", []),
        ("greater-than(updated,2026-09-21T14:13:25+00:00)", ["jane", "john"]),
    ],
)
def test_profiles_are_found_by_a_filter(
    sandbox: Sandbox, call: Caller, jane: Profile, text: str, found: list[str]
) -> None:
    sandbox.advance(10)
    john = sandbox.klaviyo.profile(ACCOUNT, external_id="omneo-2")
    sandbox.klaviyo.profile(ACCOUNT, id=jane.id, first_name="Jane")
    answer = call("GET", filtered(PROFILES, text))
    assert answer.status_code == 200
    names = {jane.id: "jane", john.id: "john"}
    assert [names[row["id"]] for row in answer.json()["data"]] == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "email",
        'equals(external_id,"omneo-1");equals(external_id,"omneo-1")',
        f'equals(email,"{JANE}"',
        f'equals(email,"{JANE}")x',
        f'equals(email,"{JANE}"),',
        f"equals(email,{JANE})",
        'equals(shoe_size,"38")',
        'equals($id,"1")',
        'contains(email,"jane")',
        f'any(email,"{JANE}")',
        "any(email,[])",
        'greater-than(created,"2026-09-21T14:13:25Z")',
        "greater-than(created,yesterday)",
        "equals(created,2026-09-21T14:13:25Z)",
        "equals(email)",
    ],
)
def test_a_filter_that_cannot_be_is_refused(call: Caller, jane: Profile, text: str) -> None:
    answer = call("GET", filtered(PROFILES, text))
    assert (answer.status_code, problems_of(answer)) == (400, ["filter"])


def test_a_refused_field_is_answered_with_those_that_can_be_filtered(call: Caller) -> None:
    (error,) = call("GET", filtered(PROFILES, 'equals(shoe_size,"38")')).json()["errors"]
    assert "id, email, phone_number, external_id" in error["detail"]


def test_profiles_come_in_pages_of_at_most_100(sandbox: Sandbox, call: Caller) -> None:
    ids = [sandbox.klaviyo.profile(ACCOUNT, external_id=f"omneo-{number}").id for number in range(101)]
    assert len(call("GET", PROFILES).json()["data"]) == 20
    first = call("GET", f"{PROFILES}?page[size]=100").json()
    assert [row["id"] for row in first["data"]] == ids[:100]
    rest = call("GET", first["links"]["next"].removeprefix(sandbox.klaviyo.url)).json()
    assert ([row["id"] for row in rest["data"]], rest["links"]["next"]) == (ids[100:], None)
    for size in ("0", "101", "many"):
        assert problems_of(call("GET", f"{PROFILES}?page[size]={size}")) == ["page[size]"]


def test_the_lists_of_a_profile_are_read_whole_or_as_ids(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    news = sandbox.klaviyo.marketing_list(ACCOUNT, "News")
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id, list_id=news.id)
    whole = call("GET", f"{PROFILES}/{jane.id}/lists").json()
    GetListResponseCollection.model_validate({**whole, "links": {"self": whole["links"]["self"]}})
    assert [(row["id"], row["attributes"]["name"]) for row in whole["data"]] == [(news.id, "News")]
    ids = call("GET", f"{PROFILES}/{jane.id}/relationships/lists").json()
    GetProfileListsRelationshipsResponseCollection.model_validate(
        {**ids, "links": {"self": ids["links"]["self"]}}
    )
    assert ids["data"] == [{"type": "list", "id": news.id}]
    for path in ("lists", "relationships/lists"):
        assert call("GET", f"{PROFILES}/01HXUNKNOWN/{path}").status_code == 404
    assert call("GET", f"{PROFILES}/{jane.id}/relationships/nothing").status_code == 404


def a_merge(source: Any, destination: Any) -> dict[str, Any]:
    rows = [{"type": "profile", "id": id} for id in source] if isinstance(source, list) else source
    named = {"profiles": {"data": rows}}
    return {"data": {"type": "profile-merge", "id": destination, "relationships": named}}


def test_a_merge_takes_effect_later_and_then_the_source_is_gone(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org", title="Dr")
    sandbox.klaviyo.consent.job_seconds = 60
    body = a_merge([other.id], jane.id)
    ProfileMergeQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("POST", "/api/profile-merge", body)
    PostProfileMergeResponse.model_validate(answer.json())
    assert (answer.status_code, answer.json()["data"]["id"]) == (202, jane.id)
    assert call("GET", f"{PROFILES}/{other.id}").json()["data"]["id"] == other.id
    sandbox.advance(60)
    merged = call("GET", f"{PROFILES}/{other.id}").json()["data"]
    assert (merged["id"], merged["attributes"]["title"]) == (jane.id, "Dr")
    assert [profile.id for profile in sandbox.klaviyo.profiles(ACCOUNT)] == [jane.id]
    assert call("GET", filtered(PROFILES, f'equals(id,"{other.id}")')).json()["data"] == []


def test_an_event_of_a_merged_profile_is_not_recorded_again(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, external_id="omneo-2")
    attributes = {
        "properties": {},
        "unique_id": "reward-9",
        "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
        "profile": a_profile(id=other.id),
    }
    event = {"data": {"type": "event", "attributes": attributes}}
    assert call("POST", "/api/events", event).status_code == 202
    assert call("POST", "/api/profile-merge", a_merge([other.id], jane.id)).status_code == 202
    for id in (jane.id, other.id):
        again = {"data": {"type": "event", "attributes": {**attributes, "profile": a_profile(id=id)}}}
        assert call("POST", "/api/events", again).status_code == 202
    assert [row.metric for row in sandbox.klaviyo.events(ACCOUNT)] == ["Reward Issued", "Merged Profile"]


def test_a_merge_that_cannot_be_is_refused(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    rows = "/data/relationships/profiles/data"
    for body, pointer in (
        ([], "/data/type"),
        (a_merge([other.id], 7), "/data/id"),
        (a_merge([], jane.id), rows),
        (a_merge([other.id, other.id], jane.id), rows),
        (a_merge([{"type": "list", "id": other.id}], jane.id), rows),
        (a_merge([jane.id], jane.id), "/data"),
    ):
        answer = call("POST", "/api/profile-merge", body)
        assert (answer.status_code, problems_of(answer)) == (400, [pointer])
    assert call("POST", "/api/profile-merge", a_merge([other.id], "01HXUNKNOWN")).status_code == 404
    assert call("POST", "/api/profile-merge", a_merge(["01HXUNKNOWN"], jane.id)).status_code == 404
    assert len(sandbox.klaviyo.profiles(ACCOUNT)) == 2
