"""The sandbox's data source records as a client sees them: what is taken, what is refused, and how fast."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from openapi_client.models.data_source_record_bulk_create_job_create_query import (
    DataSourceRecordBulkCreateJobCreateQuery,
)
from openapi_client.models.data_source_record_create_job_create_query import (
    DataSourceRecordCreateJobCreateQuery,
)

from deploy.local.sandbox import Sandbox

ACCOUNT = "WBhXHN"
ITEM = "/data/attributes/data-source-record"
LIST = "/data/attributes/data-source-records/data"
SOURCE = "/data/relationships/data-source"
PATHS = {False: "/api/data-source-record-create-jobs", True: "/api/data-source-record-bulk-create-jobs"}
Call = Callable[..., requests.Response]


@pytest.fixture
def source(sandbox: Sandbox) -> str:
    """Return the id of a data source."""
    return sandbox.klaviyo.data_source(ACCOUNT, "Omneo Rewards").id


@pytest.fixture
def call(sandbox: Sandbox) -> Call:
    """Post a body five seconds after the last call, so that no limit is in the way."""
    token = sandbox.klaviyo.install(ACCOUNT).access_token

    def call(path: str, body: object, *, bearer: str = token, later: float = 5) -> requests.Response:
        sandbox.advance(later)
        headers = {
            "Authorization": f"Bearer {bearer}",
            "revision": "2026-10-15",
            "Content-Type": "application/vnd.api+json",
        }
        return requests.post(sandbox.klaviyo.url + path, data=json.dumps(body), headers=headers, timeout=60)

    return call


def an_item(record: Any) -> dict[str, Any]:
    return {"type": "data-source-record", "attributes": {"record": record}}


def related(source: Any) -> dict[str, Any]:
    return {"data-source": {"data": {"type": "data-source", "id": source}}}


def a_job(source: Any, record: Any, **data: Any) -> dict[str, Any]:
    whole = {
        "type": "data-source-record-create-job",
        "attributes": {"data-source-record": {"data": an_item(record)}},
        "relationships": related(source),
        **data,
    }
    return {"data": {name: value for name, value in whole.items() if value is not ...}}


def a_bulk_job(source: Any, *records: Any, **data: Any) -> dict[str, Any]:
    whole = {
        "type": "data-source-record-bulk-create-job",
        "attributes": {"data-source-records": {"data": [an_item(record) for record in records]}},
        "relationships": related(source),
        **data,
    }
    return {"data": {name: value for name, value in whole.items() if value is not ...}}


def test_what_the_official_models_accept_is_taken_kept_and_readable(
    sandbox: Sandbox, call: Call, source: str
) -> None:
    one = a_job(source, {"reward": 1, "deep": {"list": [None, 1.5]}})
    DataSourceRecordCreateJobCreateQuery.model_validate(one, extra="forbid", by_alias=True, by_name=False)
    many = a_bulk_job(source, {"reward": 2}, {"reward": 3})
    DataSourceRecordBulkCreateJobCreateQuery.model_validate(
        many, extra="forbid", by_alias=True, by_name=False
    )
    for path, body in ((PATHS[False], one), (PATHS[True], many)):
        answer = call(path, body)
        assert (answer.status_code, answer.content) == (204, b"")
    kept = sandbox.klaviyo.records(ACCOUNT)
    assert [(row.bulk, row.record["reward"], row.title) for row in kept] == [
        (False, 1, "Omneo Rewards"),
        (True, 2, "Omneo Rewards"),
        (True, 3, "Omneo Rewards"),
    ]
    shown = requests.get(f"{sandbox.klaviyo.url}/_sandbox/records?account={ACCOUNT}", timeout=60).json()
    assert [row["record"] for row in shown["records"]] == [row.record for row in kept]


@pytest.mark.parametrize(
    ("bulk", "body", "pointers"),
    [
        (False, [], ["/data"]),
        (False, a_job("S", {"a": 1}, type="data-source-record-bulk-create-job"), ["/data/type"]),
        (False, a_job("S", {"a": 1}, attributes=...), ["/data/attributes"]),
        (False, a_job("S", {"a": 1}, attributes={}), [ITEM]),
        (False, a_job("S", [1]), [f"{ITEM}/data/attributes/record"]),
        (False, a_job("S", None), [f"{ITEM}/data/attributes/record"]),
        (False, a_job("S", {"a": "x" * 524_288}), [f"{ITEM}/data/attributes/record"]),
        (False, a_job("S", {"a": 1}, relationships=...), [SOURCE]),
        (False, a_job("S", {"a": 1}, relationships={}), [SOURCE]),
        (False, a_job(None, {"a": 1}), [f"{SOURCE}/data/id"]),
        (True, a_bulk_job("S"), [LIST]),
        (True, a_bulk_job("S", *[{"a": 1}] * 501), [LIST]),
        (True, a_bulk_job("S", {"a": 1}, 7, {"a": 1}, [7]),
         [f"{LIST}/1/attributes/record", f"{LIST}/3/attributes/record"]),
        (True, a_bulk_job("S", *[{"a": "x" * 500_000}] * 9), [LIST]),
        (True, a_bulk_job("S", {"a": 1}, relationships=...), [SOURCE]),
        (True, a_bulk_job("S", {"a": 1}, attributes={"data_source_records": {"data": []}}),
         ["/data/attributes/data_source_records", "/data/attributes/data-source-records"]),
    ],
)  # fmt: skip
def test_a_body_that_klaviyo_would_refuse_is_400_and_keeps_nothing(
    sandbox: Sandbox, call: Call, bulk: bool, body: Any, pointers: list[str]
) -> None:
    sandbox.klaviyo.data_source(ACCOUNT, "Omneo Rewards")
    answer = call(PATHS[bulk], body)
    assert answer.status_code == 400
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == pointers
    assert sandbox.klaviyo.records(ACCOUNT) == []


def test_five_hundred_records_of_half_a_megabyte_in_all_are_one_job(
    sandbox: Sandbox, call: Call, source: str
) -> None:
    assert call(PATHS[True], a_bulk_job(source, *[{"a": "x" * 1000}] * 500)).status_code == 204
    assert call(PATHS[False], a_job(source, {"a": "x" * 524_000})).status_code == 204
    assert len(sandbox.klaviyo.records(ACCOUNT)) == 501


def test_one_unwanted_record_refuses_its_whole_job_and_is_named(
    sandbox: Sandbox, call: Call, source: str
) -> None:
    sandbox.klaviyo.unwanted_property = "bad"
    answer = call(PATHS[True], a_bulk_job(source, {"a": 1}, {"a": 2, "bad": True}, {"a": 3}))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["source"]["pointer"]) == (400, f"{LIST}/1/attributes/record")
    assert sandbox.klaviyo.records(ACCOUNT) == []
    assert call(PATHS[False], a_job(source, {"bad": True})).status_code == 400


@pytest.mark.parametrize("status", [404, 400])
@pytest.mark.parametrize("bulk", [False, True])
def test_records_for_a_data_source_that_was_deleted_are_refused(
    sandbox: Sandbox, call: Call, source: str, bulk: bool, status: int
) -> None:
    sandbox.klaviyo.unknown_data_source_status = status
    body = (a_bulk_job if bulk else a_job)(source, {"a": 1})
    assert call(PATHS[bulk], body).status_code == 204
    sandbox.klaviyo.delete_data_source(ACCOUNT, source)
    answer = call(PATHS[bulk], body)
    (error,) = answer.json()["errors"]
    pointer = "/data/" if status == 404 else f"{SOURCE}/data/id"
    assert (answer.status_code, error["source"]["pointer"]) == (status, pointer)
    assert len(sandbox.klaviyo.records(ACCOUNT)) == 1


@pytest.mark.parametrize("bulk", [False, True])
def test_records_need_their_own_scope(sandbox: Sandbox, call: Call, source: str, bulk: bool) -> None:
    body = (a_bulk_job if bulk else a_job)(source, {"a": 1})
    poor = sandbox.klaviyo.install(ACCOUNT, scopes="custom-objects:read events:write").access_token
    assert call(PATHS[bulk], body, bearer=poor).status_code == 403
    enough = sandbox.klaviyo.install(ACCOUNT, scopes="custom-objects:write").access_token
    assert call(PATHS[bulk], body, bearer=enough).status_code == 204


@pytest.mark.parametrize(("bulk", "burst", "steady"), [(False, 75, 750), (True, 3, 15)])
def test_limits_are_those_of_the_reference(
    sandbox: Sandbox, call: Call, source: str, bulk: bool, burst: int, steady: int
) -> None:
    sandbox.advance(60)
    body = (a_bulk_job if bulk else a_job)(source, {"a": 1})
    statuses = [call(PATHS[bulk], body, later=0).status_code for _ in range(burst + 1)]
    assert statuses == [204] * burst + [429]
    used, last = burst, requests.Response()
    while used < steady:
        last = call(PATHS[bulk], body, later=0 if used % burst else 1)
        assert last.status_code == 204
        used += 1
    assert last.headers["RateLimit-Limit"] == f"{burst}, {burst};w=1, {steady};w=60"
    assert call(PATHS[bulk], body, later=1).status_code == 429
    assert call(PATHS[bulk], body, later=60).status_code == 204


def test_accounts_do_not_see_each_others_records(sandbox: Sandbox, call: Call, source: str) -> None:
    other = sandbox.klaviyo.install("OTHER1").access_token
    assert call(PATHS[False], a_job(source, {"a": 1}), bearer=other).status_code == 404
    call(PATHS[False], a_job(source, {"a": 1}))
    assert len(sandbox.klaviyo.records(ACCOUNT)) == 1
    assert sandbox.klaviyo.records("OTHER1") == []


def test_what_is_arranged_over_http_is_arranged(sandbox: Sandbox, call: Call, source: str) -> None:
    control = f"{sandbox.klaviyo.url}/_sandbox"
    switches = {"unwanted_property": "bad", "unknown_data_source_status": 400}
    assert requests.post(f"{control}/switches", json=switches, timeout=60).status_code == 200
    assert call(PATHS[False], a_job(source, {"bad": 1})).status_code == 400
    order = {"account": ACCOUNT, "id": source}
    assert requests.post(f"{control}/delete-data-source", json=order, timeout=60).status_code == 200
    assert call(PATHS[False], a_job(source, {"a": 1})).status_code == 400
    assert requests.post(f"{control}/delete-data-source", json=order, timeout=60).status_code == 400
