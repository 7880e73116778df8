"""Records as they stand on the wire, and what becomes of a refusal that names several."""

import json
from typing import Any

import pytest
from openapi_client.models.data_source_record_bulk_create_job_create_query import (
    DataSourceRecordBulkCreateJobCreateQuery,
)
from openapi_client.models.data_source_record_create_job_create_query import (
    DataSourceRecordCreateJobCreateQuery,
)
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.errors import NotFoundError, RefusedError, WaitError
from shared.http.answers import Problem
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from tests.support.world import ACCOUNT

POINTER = "/data/attributes/data-source-records/data"
RECORD: dict[str, Any] = {"email": "canary-jane@example.org", "deep": {"list": [None, 1.5, "\u20ac"]}}


@pytest.fixture
def klaviyo(sandbox: Sandbox) -> KlaviyoClient:
    http = HttpClient("Klaviyo", sandbox.klaviyo.url, read_problem, Connections())
    token = FixedToken(SecretStr(sandbox.klaviyo.install(ACCOUNT).access_token))
    return KlaviyoClient(http, token, "2026-10-15")


@pytest.fixture
def source(sandbox: Sandbox) -> str:
    return sandbox.klaviyo.data_source(ACCOUNT, "Omneo Rewards").id


def test_klaviyos_own_model_accepts_a_record(sandbox: Sandbox, klaviyo: KlaviyoClient, source: str) -> None:
    klaviyo.create_data_source_record(source, RECORD)
    call = sandbox.klaviyo.calls.all()[-1]
    assert (call.method, call.path) == ("POST", "/api/data-source-record-create-jobs")
    body = json.loads(call.body)
    DataSourceRecordCreateJobCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    assert [row.record for row in sandbox.klaviyo.records(ACCOUNT)] == [RECORD]


def test_klaviyos_own_model_accepts_records_in_bulk(
    sandbox: Sandbox, klaviyo: KlaviyoClient, source: str
) -> None:
    klaviyo.bulk_create_data_source_records(source, [{**RECORD, "n": n} for n in range(500)])
    call = sandbox.klaviyo.calls.all()[-1]
    assert (call.method, call.path) == ("POST", "/api/data-source-record-bulk-create-jobs")
    body = json.loads(call.body)
    DataSourceRecordBulkCreateJobCreateQuery.model_validate(
        body, extra="forbid", by_alias=True, by_name=False
    )
    assert [row.record["n"] for row in sandbox.klaviyo.records(ACCOUNT)] == list(range(500))


def test_a_refusal_names_every_record_that_klaviyo_blames(
    sandbox: Sandbox, klaviyo: KlaviyoClient, source: str
) -> None:
    sandbox.klaviyo.unwanted_property = "bad"
    with pytest.raises(RefusedError) as refused:
        klaviyo.bulk_create_data_source_records(source, [{"n": 0}, {"bad": 1}, {"n": 2}, {"bad": 3}])
    assert refused.value.fields == (f"{POINTER}/1/attributes/record", f"{POINTER}/3/attributes/record")


def test_a_data_source_that_is_not_there_is_said_to_be(klaviyo: KlaviyoClient) -> None:
    with pytest.raises(NotFoundError) as refused:
        klaviyo.create_data_source_record("01JD0000000000000000000001", RECORD)
    assert refused.value.fields == ("/data/",)


def test_the_sixteenth_bulk_call_of_a_minute_waits(
    sandbox: Sandbox, klaviyo: KlaviyoClient, source: str
) -> None:
    for _ in range(5):
        for _ in range(3):
            klaviyo.bulk_create_data_source_records(source, [RECORD])
        sandbox.advance(1)
    with pytest.raises(WaitError) as throttled:
        klaviyo.bulk_create_data_source_records(source, [RECORD])
    assert throttled.value.status == 429
    assert throttled.value.retry_after == 55


@pytest.mark.parametrize(
    ("errors", "others"),
    [
        ([{"code": "a"}], ()),
        ([{"code": "a"}, {"source": {"pointer": "/p/1"}}, {"source": {}}, {"source": {"parameter": "q"}}], ("/p/1", "q")),
    ],
)  # fmt: skip
def test_the_places_of_further_errors_are_read(errors: list[Any], others: tuple[str, ...]) -> None:
    assert read_problem({"errors": errors}) == Problem("a", other_fields=others)
