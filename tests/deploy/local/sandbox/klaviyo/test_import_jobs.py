"""The sandbox's imports of thousands of profiles, and finding a hundred among hundreds of thousands."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import requests
from openapi_client.models.get_import_error_response_collection import GetImportErrorResponseCollection
from openapi_client.models.get_profile_import_job_response_compound_document import (
    GetProfileImportJobResponseCompoundDocument,
)
from openapi_client.models.post_profile_import_job_response import PostProfileImportJobResponse
from openapi_client.models.profile_import_job_create_query import ProfileImportJobCreateQuery

from deploy.local.sandbox import Sandbox
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

JOBS = "/api/profile-bulk-import-jobs"
ROWS = "/data/attributes/profiles/data"
OTHER = "canary-other@example.org"


def a_row(**attributes: Any) -> dict[str, Any]:
    return {"type": "profile", "attributes": attributes}


def a_job(rows: Sequence[Any], *, lists: Sequence[str] = ()) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": "profile-bulk-import-job",
        "attributes": {"profiles": {"data": list(rows)}},
    }
    if lists:
        data["relationships"] = {"lists": {"data": [{"type": "list", "id": id} for id in lists]}}
    return {"data": data}


def job_of(call: Caller, answer: requests.Response) -> dict[str, Any]:
    shown = call("GET", f"{JOBS}/{answer.json()['data']['id']}")
    GetProfileImportJobResponseCompoundDocument.model_validate(shown.json())
    attributes: dict[str, Any] = shown.json()["data"]["attributes"]
    return attributes


def counts(attributes: Mapping[str, Any]) -> tuple[int, int, int]:
    return attributes["total_count"], attributes["completed_count"], attributes["failed_count"]


def errors_of(call: Caller, answer: requests.Response) -> list[dict[str, Any]]:
    shown = call("GET", f"{JOBS}/{answer.json()['data']['id']}/import-errors?page[size]=100")
    GetImportErrorResponseCollection.model_validate(shown.json())
    return [row["attributes"] for row in shown.json()["data"]]


def test_an_import_makes_and_updates_profiles_as_a_single_one_does(sandbox: Sandbox, call: Caller) -> None:
    jane = sandbox.klaviyo.profile(ACCOUNT, email=JANE, first_name="Jane", properties={"tier": "Gold"})
    changed = {
        **a_row(email=JANE.upper(), last_name="Doe", properties={"points": 1}),
        "meta": {"patch_properties": {"unset": "tier"}},
    }
    body = a_job([changed, a_row(email=OTHER), {**a_row(external_id="omneo-1"), "id": jane.id}])
    ProfileImportJobCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("POST", JOBS, body)
    PostProfileImportJobResponse.model_validate(answer.json())
    assert (answer.status_code, answer.json()["data"]["attributes"]["status"]) == (202, "queued")
    assert counts(answer.json()["data"]["attributes"]) == (3, 0, 0)
    attributes = job_of(call, answer)
    assert (attributes["status"], counts(attributes)) == ("complete", (3, 3, 0))
    assert errors_of(call, answer) == []
    assert jane.properties == {"points": 1}
    assert jane.attributes == {
        "email": JANE.upper(),
        "external_id": "omneo-1",
        "first_name": "Jane",
        "last_name": "Doe",
    }
    assert [profile.attributes["email"] for profile in sandbox.klaviyo.profiles(ACCOUNT)] == [
        JANE.upper(),
        OTHER,
    ]


def test_null_clears_nothing_in_an_import(sandbox: Sandbox, call: Caller) -> None:
    """Klaviyo's guide: "does not support setting fields to null to clear them"."""
    jane = sandbox.klaviyo.profile(
        ACCOUNT, email=JANE, first_name="Jane", location={"city": "Perth"}, properties={"tier": "Gold"}
    )
    nulls = a_row(
        email=JANE, first_name=None, location={"city": None, "zip": "6000"}, properties={"tier": None}
    )
    job_of(call, call("POST", JOBS, a_job([nulls])))
    assert jane.attributes == {
        "email": JANE,
        "first_name": "Jane",
        "location": {"city": "Perth", "zip": "6000"},
    }
    assert jane.properties == {"tier": "Gold"}


def test_a_job_is_queued_then_processed_and_has_its_effect_at_the_end(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.consent.job_seconds = 60
    answer = call("POST", JOBS, a_job([a_row(email=JANE)]))
    seen = []
    for _ in range(3):
        attributes = job_of(call, answer)
        seen.append((attributes["status"], attributes["started_at"] is None, attributes["completed_at"]))
        assert (len(sandbox.klaviyo.profiles(ACCOUNT)) == 1) == (attributes["status"] == "complete")
        sandbox.advance(25)
    assert [(status, unstarted) for status, unstarted, _ in seen] == [
        ("queued", True),
        ("processing", False),
        ("complete", False),
    ]
    assert seen[1][2] is None
    assert seen[2][2] == "2026-09-21T14:14:25+00:00"


def test_a_cancelled_job_has_no_effect(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.consent.job_seconds = 60
    answer = call("POST", JOBS, a_job([a_row(email=JANE)]))
    body = {"account": ACCOUNT, "job_id": answer.json()["data"]["id"]}
    control = f"{sandbox.klaviyo.url}/_sandbox/cancel-import"
    assert requests.post(control, json=body, timeout=60).status_code == 200
    sandbox.advance(120)
    assert job_of(call, answer)["status"] == "cancelled"
    assert counts(job_of(call, answer)) == (1, 0, 0)
    assert sandbox.klaviyo.profiles(ACCOUNT) == []
    assert requests.post(control, json=body, timeout=60).status_code == 400


def test_what_one_profile_gets_wrong_is_its_import_error_and_the_others_are_imported(
    sandbox: Sandbox, call: Caller
) -> None:
    jane = sandbox.klaviyo.profile(ACCOUNT, email=JANE, external_id="omneo-1")
    sandbox.klaviyo.profile(ACCOUNT, email=OTHER)
    rows = [
        a_row(email="canary-nonsense"),
        a_row(first_name="Nobody"),
        a_row(email=OTHER, external_id="omneo-1", first_name="Other"),
        a_row(email="canary-new@example.org", phone_number=JANES_PHONE),
    ]
    answer = call("POST", JOBS, a_job(rows))
    assert counts(job_of(call, answer)) == (4, 1, 3)
    errors = errors_of(call, answer)
    assert [(error["code"], error["title"], error["source"]["pointer"]) for error in errors] == [
        ("invalid", "Invalid input.", f"{ROWS}/0/attributes/email"),
        ("invalid", "Invalid input.", f"{ROWS}/1/attributes"),
        ("duplicate_profile", "Conflict.", f"{ROWS}/2/attributes"),
    ]
    assert errors[0]["detail"] == "Invalid email address"
    assert [error["original_payload"] for error in errors] == rows[:3]
    by_email = {row.attributes["email"]: row.attributes for row in sandbox.klaviyo.profiles(ACCOUNT)}
    assert by_email == {
        JANE: jane.attributes,
        OTHER: {"email": OTHER},
        "canary-new@example.org": {"email": "canary-new@example.org", "phone_number": JANES_PHONE},
    }


def test_import_errors_come_in_pages(call: Caller) -> None:
    answer = call("POST", JOBS, a_job([a_row(first_name=str(number)) for number in range(5)]))
    path = f"{JOBS}/{answer.json()['data']['id']}/import-errors"
    seen, following = [], f"{path}?page[size]=2"
    sizes = []
    while following:
        shown = call("GET", following).json()
        sizes.append(len(shown["data"]))
        seen += [row["attributes"]["original_payload"]["attributes"]["first_name"] for row in shown["data"]]
        link = shown["links"]["next"]
        following = link and link[link.index("/api") :]
    assert (sizes, seen) == ([2, 2, 1], ["0", "1", "2", "3", "4"])
    assert call("GET", f"{path}?page[size]=101").status_code == 400


def test_a_phone_number_that_is_no_number_or_unsupported_refuses_the_whole_import(
    sandbox: Sandbox, call: Caller
) -> None:
    rows = [
        a_row(email="canary-nonsense", phone_number="0400000001"),
        a_row(email=JANE, phone_number=JANES_PHONE),
        a_row(phone_number="canary-no-phone"),
    ]
    refused = call("POST", JOBS, a_job(rows))
    assert refused.status_code == 400
    assert problems_of(refused) == [f"{ROWS}/{index}/attributes/phone_number" for index in (0, 2)]
    switches = {"unsupported_phone_prefixes": ["+7", "+61"]}
    requests.post(f"{sandbox.klaviyo.url}/_sandbox/switches", json=switches, timeout=60)
    unsupported = call("POST", JOBS, a_job([a_row(email=JANE), *rows[1:2]]))
    assert (unsupported.status_code, problems_of(unsupported)) == (
        400,
        [f"{ROWS}/1/attributes/phone_number"],
    )
    assert "not supported for this account" in unsupported.json()["errors"][0]["detail"]
    assert sandbox.klaviyo.profiles(ACCOUNT) == []


def test_an_unsupported_country_is_refused_for_a_single_profile_and_a_subscribing_too(
    sandbox: Sandbox, call: Caller
) -> None:
    jane = sandbox.klaviyo.profile(ACCOUNT, email=JANE)
    sandbox.klaviyo.consent.unsupported_phone_prefixes = ["+61"]
    row = a_row(email=JANE, phone_number=JANES_PHONE)
    sms = {"subscriptions": {"sms": {"marketing": {"consent": "SUBSCRIBED"}}}}
    subscribing = {
        "type": "profile-subscription-bulk-create-job",
        "attributes": {"profiles": {"data": [a_row(phone_number=JANES_PHONE, **sms)]}},
    }
    answers = [
        call("POST", "/api/profile-import", {"data": row}),
        call("PATCH", f"/api/profiles/{jane.id}", {"data": {**row, "id": jane.id}}),
        call("POST", "/api/profile-subscription-bulk-create-jobs", {"data": subscribing}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 3
    single = "/data/attributes/phone_number"
    assert [problems_of(answer) for answer in answers] == [
        [single],
        [single],
        [f"{ROWS}/0/attributes/phone_number"],
    ]
    assert jane.attributes == {"email": JANE}


def test_joining_a_list_by_import_is_membership_without_consent(sandbox: Sandbox, call: Caller) -> None:
    made = [sandbox.klaviyo.marketing_list(ACCOUNT, name).id for name in ("Master", "Second")]
    jane = sandbox.klaviyo.profile(ACCOUNT, email=JANE)
    sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id)
    before = call.subscriptions(jane.id)
    answer = call("POST", JOBS, a_job([a_row(email=JANE), a_row(email="canary-nonsense")], lists=made))
    related = answer.json()["data"]["relationships"]["lists"]["data"]
    assert [row["id"] for row in related] == made == list(jane.memberships)
    assert call.subscriptions(jane.id) == before
    assert email_state(before) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])
    assert recorded(sandbox) == ["unsubscribed_from_email_marketing", *["subscribed_to_list"] * 2]
    unknown = call("POST", JOBS, a_job([a_row(email=OTHER)], lists=[made[0], "nEwSxx"]))
    assert (unknown.status_code, len(sandbox.klaviyo.profiles(ACCOUNT))) == (404, 1)


BROKEN: list[tuple[object, list[str]]] = [
    ({}, ["/data"]),
    (
        {"data": {"type": "profile", "attributes": {"profiles": {"data": [a_row(email=JANE)]}}}},
        ["/data/type"],
    ),
    (a_job([]), [ROWS]),
    (a_job([a_row(email=JANE)] * 10_001), [ROWS]),
    (a_job([a_row(email=JANE), "canary"]), [f"{ROWS}/1"]),
    (a_job([{"type": "person", "attributes": {"email": JANE}}]), [f"{ROWS}/0/type"]),
    (a_job([a_row(email=JANE, subscriptions={})]), [f"{ROWS}/0/attributes/subscriptions"]),
    (a_job([a_row(email=7)]), [f"{ROWS}/0/attributes/email"]),
    (a_job([a_row(email=JANE, properties={"long": "x" * 102_400})]), [f"{ROWS}/0"]),
    (
        {"data": {**a_job([a_row(email=JANE)])["data"], "relationships": {"list": {}}}},
        ["/data/relationships/list"],
    ),
    (
        {
            "data": {
                **a_job([a_row(email=JANE)])["data"],
                "relationships": {"lists": {"data": [{"id": "a"}]}},
            }
        },
        ["/data/relationships/lists/data/0"],
    ),
]


@pytest.mark.parametrize(("body", "pointers"), BROKEN)
def test_a_body_that_is_no_import_is_refused_and_imports_nothing(
    sandbox: Sandbox, call: Caller, body: object, pointers: list[str]
) -> None:
    answer = call("POST", JOBS, body)
    assert (answer.status_code, problems_of(answer)) == (400, pointers)
    assert sandbox.klaviyo.profiles(ACCOUNT) == []


def test_more_than_five_megabytes_are_refused(sandbox: Sandbox, call: Caller) -> None:
    rows = [a_row(email=f"canary-{number}@example.org", title="x" * 90_000) for number in range(60)]
    assert len(json.dumps(a_job(rows))) > 5 * 1024 * 1024
    assert call("POST", JOBS, a_job(rows)).status_code == 400
    assert call("POST", JOBS, a_job(rows[:58])).status_code == 202


def test_a_job_of_another_kind_is_not_found(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.profile(ACCOUNT, email=JANE)
    suppressing = {
        "data": {
            "type": "profile-suppression-bulk-create-job",
            "attributes": {"profiles": {"data": [a_row(email=JANE)]}},
        }
    }
    other = call("POST", "/api/profile-suppression-bulk-create-jobs", suppressing).json()["data"]["id"]
    for path in (f"{JOBS}/{other}", f"{JOBS}/{other}/import-errors", f"{JOBS}/01HX"):
        assert call("GET", path).status_code == 404


def test_ten_thousand_profiles_are_imported_in_a_moment(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.seed_profiles(
        ACCOUNT, 5000, lambda number: {"email": f"canary-{number}@example.org", "external_id": f"{number}"}
    )
    rows = [
        a_row(
            email=f"canary-{number}@example.org", external_id=f"{number}", properties={"omneo_tier": "Gold"}
        )
        for number in range(10_000)
    ]
    began = time.process_time()
    answer = call("POST", JOBS, a_job(rows))
    # Processor time of this process, which the load of the machine does not change.
    assert time.process_time() - began < 2
    assert counts(job_of(call, answer)) == (10_000, 10_000, 0)
    assert len(sandbox.klaviyo.profiles(ACCOUNT)) == 10_000


@pytest.mark.parametrize("field", ["id", "email", "external_id", "phone_number"])
def test_a_hundred_profiles_are_found_without_a_look_at_the_others(
    sandbox: Sandbox, call: Caller, field: str
) -> None:
    sandbox.klaviyo.seed_profiles(
        ACCOUNT,
        300,
        lambda number: {
            "id": f"01HX{number}",
            "email": f"canary-{number}@example.org",
            "external_id": f"omneo-{number}",
            "phone_number": f"+614000{number:05}",
        },
    )
    profiles = sandbox.klaviyo.profiles(ACCOUNT)
    wanted = profiles[::-3]
    assert len(wanted) == 100
    written = ",".join(f'"{row.id if field == "id" else row.attributes[field]}"' for row in wanted)
    path = filtered("/api/profiles", f'any({field},["nobody",{written}])') + "&page[size]=100"
    # A profile that is looked at without need has no attributes to look at.
    for row in profiles:
        if row not in wanted:
            row.attributes = None  # type: ignore[assignment]  # on purpose, see above
    shown = call("GET", f"{path}&additional-fields[profile]=subscriptions").json()
    assert [row["id"] for row in shown["data"]] == [row.id for row in reversed(wanted)]


def test_a_base_is_described_over_http(sandbox: Sandbox, call: Caller) -> None:
    body = {
        "account": ACCOUNT,
        "count": 3,
        "profile": {"email": "canary-{n}@example.org", "properties": {"tiers": ["{n}", 1]}},
    }
    answer = requests.post(f"{sandbox.klaviyo.url}/_sandbox/seed-profiles", json=body, timeout=60)
    assert answer.status_code == 200
    made = [(row.attributes["email"], row.properties) for row in sandbox.klaviyo.profiles(ACCOUNT)]
    assert made == [(f"canary-{n}@example.org", {"tiers": [str(n), 1]}) for n in range(3)]
