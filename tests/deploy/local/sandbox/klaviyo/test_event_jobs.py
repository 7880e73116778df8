"""The sandbox's jobs of many events: what is taken, what refuses all of it, and how fast."""

from collections.abc import Mapping
from typing import Any

import pytest
from openapi_client.models.events_bulk_create_job import EventsBulkCreateJob

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
from tests.deploy.local.sandbox.klaviyo.calls import ACCOUNT, JANE, Caller, problems_of

JOBS = "/api/event-bulk-create-jobs"
ROWS = "/data/attributes/events-bulk-create/data"
METRIC = {"data": {"type": "metric", "attributes": {"name": "Points Expire"}}}


def an_event(number: int = 1, **changes: Any) -> dict[str, Any]:
    attributes = {"properties": {"n": number}, "metric": METRIC, "unique_id": f"u-{number}", **changes}
    return {"type": "event", "attributes": attributes}


def a_row(*events: Any, email: str = JANE, **changes: Any) -> dict[str, Any]:
    profile = {"data": {"type": "profile", "attributes": {"email": email}}}
    inner = {"data": list(events)}
    return {"type": "event-bulk-create", "attributes": {"profile": profile, "events": inner, **changes}}


def a_job(*rows: Any) -> dict[str, Any]:
    attributes = {"events-bulk-create": {"data": list(rows)}}
    return {"data": {"type": "event-bulk-create-job", "attributes": attributes}}


def numbers(sandbox: Sandbox) -> list[int]:
    return [event.properties["n"] for event in sandbox.klaviyo.events(ACCOUNT)]


def test_what_the_official_model_accepts_is_recorded(sandbox: Sandbox, call: Caller) -> None:
    body = a_job(a_row(an_event(1), an_event(2)), a_row(an_event(3), email="canary-ann@example.org"))
    EventsBulkCreateJob.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("POST", JOBS, body)
    assert (answer.status_code, answer.content) == (202, b"")
    assert numbers(sandbox) == [1, 2, 3]
    assert len(sandbox.klaviyo.profiles(ACCOUNT)) == 2


def test_a_profile_is_written_as_by_the_single_call(sandbox: Sandbox, call: Caller) -> None:
    meta = {"patch_properties": {"unset": "former"}}
    sandbox.klaviyo.profile(ACCOUNT, email=JANE, properties={"former": 1})
    row = a_row(an_event())
    row["attributes"]["profile"]["data"] |= {"meta": meta}
    row["attributes"]["profile"]["data"]["attributes"] |= {"first_name": "canary-Jane"}
    assert call("POST", JOBS, a_job(row)).status_code == 202
    (jane,) = sandbox.klaviyo.profiles(ACCOUNT)
    assert (jane.attributes["first_name"], jane.properties) == ("canary-Jane", {})


BAD_EVENTS: list[tuple[Mapping[str, Any], str]] = [
    ({"metric": {}}, "metric"),
    ({"unique_id": ""}, "unique_id"),
    ({"properties": {"long": "x" * 102_401}}, "properties/long"),
    ({"time": "yesterday"}, "time"),
]


@pytest.mark.parametrize(("changes", "place"), BAD_EVENTS, ids=[place for _, place in BAD_EVENTS])
def test_one_bad_event_refuses_all_and_is_named(
    sandbox: Sandbox, call: Caller, changes: Mapping[str, Any], place: str
) -> None:
    answer = call("POST", JOBS, a_job(a_row(an_event(1)), a_row(an_event(2), an_event(3, **changes))))
    assert answer.status_code == 400
    assert problems_of(answer) == [f"{ROWS}/1/attributes/events/data/1/attributes/{place}"]
    assert numbers(sandbox) == []


def test_a_bad_profile_is_named_where_it_stands(call: Caller) -> None:
    answer = call("POST", JOBS, a_job(a_row(an_event(1)), a_row(an_event(2), email="jane at example")))
    assert problems_of(answer) == [f"{ROWS}/1/attributes/profile/data/attributes/email"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ([], ["/data"]),
        ({"data": {"type": "event", "attributes": {}}}, ["/data/type", "/data/attributes/events-bulk-create"]),
        (a_job(), [ROWS]),
        (a_job(*[a_row(an_event(n), an_event(-n)) for n in range(501)]), [ROWS]),
        (a_job(7), [f"{ROWS}/0/attributes/events"]),
        (a_job(a_row()), [f"{ROWS}/0/attributes/events"]),
        (a_job({**a_row(an_event()), "type": "event"}), [f"{ROWS}/0/type"]),
        (a_job(a_row(7)), [f"{ROWS}/0/attributes/events/data/0"]),
        (a_job(a_row(an_event(), backfill="yes")), [f"{ROWS}/0/attributes/backfill"]),
    ],
)  # fmt: skip
def test_what_is_no_job_is_refused(call: Caller, body: Any, pointers: list[str]) -> None:
    answer = call("POST", JOBS, body)
    assert answer.status_code == 400
    assert problems_of(answer)[: len(pointers)] == pointers


def test_an_event_that_stands_twice_refuses_all(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.profile(ACCOUNT, email=JANE, external_id="o-1")
    other = a_row(an_event(2, unique_id="u-1"))
    other["attributes"]["profile"]["data"]["attributes"] = {"external_id": "o-1"}
    for repeated in (a_row(an_event(2, unique_id="u-1")), other):
        answer = call("POST", JOBS, a_job(a_row(an_event(1)), repeated))
        assert answer.status_code == 400
        assert problems_of(answer) == [f"{ROWS}/1/attributes/events/data/0/attributes/unique_id"]
    assert numbers(sandbox) == []


def test_an_event_that_was_recorded_before_refuses_all(sandbox: Sandbox, call: Caller) -> None:
    row = a_row(an_event(1))
    single = {
        "type": "event",
        "attributes": {
            **row["attributes"]["events"]["data"][0]["attributes"],
            "profile": row["attributes"]["profile"],
        },
    }
    assert call("POST", "/api/events", {"data": single}).status_code == 202
    answer = call("POST", JOBS, a_job(a_row(an_event(2)), row))
    assert problems_of(answer) == [f"{ROWS}/1/attributes/events/data/0/attributes/unique_id"]
    assert call("POST", JOBS, a_job(a_row(an_event(2)))).status_code == 202
    assert (
        call("POST", "/api/events", {"data": single}).status_code == 202
    )  # the single call drops it without a word
    assert numbers(sandbox) == [1, 2]


def test_the_same_unique_id_of_another_profile_or_metric_is_another_event(
    sandbox: Sandbox, call: Caller
) -> None:
    other_metric = {"data": {"type": "metric", "attributes": {"name": "Points Earned"}}}
    rows = (
        a_row(an_event(1, unique_id="u"), an_event(2, unique_id="u", metric=other_metric)),
        a_row(an_event(3, unique_id="u"), email="canary-ann@example.org"),
    )
    assert call("POST", JOBS, a_job(*rows)).status_code == 202
    assert numbers(sandbox) == [1, 2, 3]


def test_an_id_that_no_profile_has_refuses_all(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    known, unknown = a_row(an_event(1)), a_row(an_event(2))
    known["attributes"]["profile"]["data"] |= {"id": jane.id}
    unknown["attributes"]["profile"]["data"] |= {"id": "01HNOBODY"}
    assert call("POST", JOBS, a_job(known, unknown)).status_code == 404
    assert call("POST", JOBS, a_job(known)).status_code == 202
    assert numbers(sandbox) == [1]


def test_ten_jobs_a_second_and_150_a_minute_are_taken(sandbox: Sandbox, call: Caller) -> None:
    sandbox.advance(60 - sandbox.clock() % 60)
    statuses = [
        call("POST", JOBS, a_job(a_row(an_event(n))), later=0 if n % 12 else 1).status_code
        for n in range(240)
    ]
    assert [statuses[:12].count(status) for status in (202, 429)] == [10, 2]
    assert statuses.count(202) == 150


def test_a_request_has_at_most_five_megabytes(sandbox: Sandbox, call: Caller) -> None:
    rows = [a_row(an_event(n, properties={"n": n, "text": "x" * 100_000})) for n in range(53)]
    assert call("POST", JOBS, a_job(*rows)).status_code == 400
    assert call("POST", JOBS, a_job(*rows[:50])).status_code == 202
    assert len(numbers(sandbox)) == 50
