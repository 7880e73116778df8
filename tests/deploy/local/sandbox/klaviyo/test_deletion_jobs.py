"""The sandbox's jobs that delete a profile for good."""

from typing import Any

import pytest
from openapi_client.models.data_privacy_create_deletion_job_query import DataPrivacyCreateDeletionJobQuery

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

JOBS = "/api/data-privacy-deletion-jobs"
PROFILE = "/data/attributes/profile/data"


@pytest.fixture
def jane(sandbox: Sandbox) -> Profile:
    return sandbox.klaviyo.profile(ACCOUNT, email=JANE, phone_number=JANES_PHONE, external_id="omneo-1")


def a_job(*, id: Any = ..., type: str = "profile", **attributes: Any) -> dict[str, Any]:
    named = {"type": type, "attributes": attributes} | ({} if id is ... else {"id": id})
    return {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": named}}}}


@pytest.mark.parametrize("identifier", ["id", "email", "phone_number"])
def test_a_profile_is_gone_with_its_identifiers_and_events_when_the_job_is_over(
    sandbox: Sandbox, call: Caller, jane: Profile, identifier: str
) -> None:
    other = sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    sandbox.klaviyo.consent.job_seconds = 60
    values = {"id": jane.id, "email": JANE.upper(), "phone_number": JANES_PHONE}
    body = a_job(**{identifier: values[identifier]})
    DataPrivacyCreateDeletionJobQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("POST", JOBS, body)
    assert (answer.status_code, answer.content) == (202, b"")
    assert call("GET", f"/api/profiles/{jane.id}").status_code == 200
    sandbox.advance(60)
    assert call("GET", f"/api/profiles/{jane.id}").status_code == 404
    for field, value in (("email", JANE), ("phone_number", JANES_PHONE), ("external_id", "omneo-1")):
        assert call("GET", filtered("/api/profiles", f'equals({field},"{value}")')).json()["data"] == []
    assert sandbox.klaviyo.profiles(ACCOUNT) == [other]
    assert sandbox.klaviyo.events(ACCOUNT) == []
    back = call("POST", "/api/profile-import", {"data": {"type": "profile", "attributes": {"email": JANE}}})
    assert (back.status_code, back.json()["data"]["id"] == jane.id) == (201, False)


def test_of_somebody_unknown_or_gone_klaviyo_says_that_nobody_is_there(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    def refusal(body: object) -> Any:
        answer = call("POST", JOBS, body)
        assert answer.status_code == 404
        return answer.json()["errors"][0]

    assert call("POST", JOBS, a_job(email=JANE)).status_code == 202
    for body in (
        a_job(id="01HX"),
        a_job(email="canary-nobody@example.org"),
        a_job(phone_number="+61400000009"),
    ):
        refusal(body)
    gone = refusal(a_job(id=jane.id))
    assert gone["detail"] == (
        f"No profile with id `{jane.id}` found. The profile may have already been deleted."
    )
    assert sandbox.klaviyo.profiles(ACCOUNT) == []


BROKEN: list[tuple[object, list[str]]] = [
    ({}, ["/data/attributes/profile"]),
    ({"data": {**a_job(email=JANE)["data"], "type": "profile"}}, ["/data/type"]),
    (a_job(), [PROFILE]),
    (a_job(email=""), [PROFILE]),
    (a_job(id="01HX", email=JANE), [PROFILE]),
    (a_job(email=JANE, phone_number=JANES_PHONE), [PROFILE]),
    (a_job(email=JANE, type="person"), [f"{PROFILE}/type"]),
    (a_job(email="canary-nonsense"), [f"{PROFILE}/attributes/email"]),
    (a_job(phone_number="0400000001"), [f"{PROFILE}/attributes/phone_number"]),
    (a_job(email=JANE, external_id="omneo-1"), [f"{PROFILE}/attributes/external_id"]),
    (a_job(id=7), [f"{PROFILE}/id"]),
]


@pytest.mark.parametrize(("body", "pointers"), BROKEN)
def test_anything_but_one_identifier_is_refused_and_deletes_nobody(
    sandbox: Sandbox, call: Caller, jane: Profile, body: object, pointers: list[str]
) -> None:
    answer = call("POST", JOBS, body)
    assert (answer.status_code, problems_of(answer)) == (400, pointers)
    assert sandbox.klaviyo.profiles(ACCOUNT) == [jane]
