"""The data-source-record target: who is let in, what is accepted, and what every refusal says."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.klaviyo.resources import DATA_SOURCES
from shared.records.rules.record import RECORD_ID
from tests.support.loading import Load
from tests.support.recording import BULK, REWARDS, Shelf
from tests.support.world import ACCOUNT, EMAIL, SIGNING_SECRET, TENANT, WEBHOOK_SECRET, World

PATH = f"/{TENANT}/api/v1/targets/klaviyo/data-source-record"
JSON = {"Content-Type": "application/json"}
SECRET = {"x-omneo-secret": WEBHOOK_SECRET, **JSON}


@pytest.fixture
def shelf(world: World) -> Shelf:
    return Shelf(world).set_up()


@pytest.fixture
def targets(shelf: Shelf, load: Load) -> FlaskClient:
    """Return the function, with a tenant in the store whose data sources are made."""
    shelf.world.live()
    return load("targets", shelf.world.environment)


def a_body(data_source: object = "rewards", **fields: Any) -> bytes:
    return json.dumps(
        {"data_source": data_source, **(fields or {"record": {"n": 1, "email": EMAIL}})}
    ).encode()


def test_a_signed_record_is_queued_and_reaches_its_data_source_under_the_calls_id(
    targets: FlaskClient, shelf: Shelf
) -> None:
    body = a_body("Omneo REWARDS")
    signature = hmac.new(SIGNING_SECRET.encode(), body, hashlib.sha256).hexdigest()
    answer = targets.post(PATH, data=body, headers={"X-Omneo-Hmac-SHA256": signature, **JSON})
    assert answer.status_code == 202
    assert answer.get_json() == {"status": "queued", "id": answer.get_json()["id"]}
    shelf.world.work()
    (kept,) = shelf.world.sandbox.klaviyo.records(ACCOUNT)
    assert kept.title == REWARDS
    assert kept.record == {"n": 1, "email": EMAIL, RECORD_ID: answer.get_json()["id"]}


def test_500_records_of_nearly_a_megabyte_are_accepted_in_one_call(
    targets: FlaskClient, shelf: Shelf
) -> None:
    records = [{"n": n, "text": "\u00e9" * 950} for n in range(500)]
    body = json.dumps({"data_source": "dates", "records": records}, ensure_ascii=False).encode()
    assert 950_000 < len(body) < 1_000_000
    assert targets.post(PATH, data=body, headers=SECRET).status_code == 202
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == list(range(500))
    assert len(shelf.calls(BULK)) <= 5


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code", "says"),
    [
        (PATH + "s", a_body(), SECRET, 404, "not_found", "no such target"),
        (PATH.replace(TENANT, "nobody"), a_body(), SECRET, 401, "unauthorized", ""),
        (PATH, a_body(), JSON, 401, "unauthorized", "x-omneo-secret"),
        (PATH, a_body(), {**JSON, "x-omneo-secret": "canary-wrong"}, 401, "unauthorized", ""),
        (PATH, a_body(), {"x-omneo-secret": WEBHOOK_SECRET}, 415, "unsupported_media_type", ""),
        (PATH, b" " * 1_000_001, SECRET, 413, "payload_too_large", "1000 KB"),
        (PATH, a_body(record={"a": "x" * 524_288}), SECRET, 413, "payload_too_large", "record must be at most 512 KB"),
        (PATH, b"", SECRET, 400, "invalid_payload", "JSON"),
        (PATH, b"[]", SECRET, 400, "invalid_payload", "object"),
        (PATH, b"[" * 40 + b"]" * 40, SECRET, 400, "invalid_payload", "deep"),
        (PATH, b'{"record": {"a": 1}}', SECRET, 400, "invalid_payload", ", ".join(DATA_SOURCES)),
        (PATH, a_body("canary"), SECRET, 400, "invalid_payload", ", ".join(DATA_SOURCES)),
        (PATH, a_body(record="canary"), SECRET, 400, "invalid_payload", "record must be an object"),
        (PATH, a_body(record={}), SECRET, 400, "invalid_payload", "at least one property"),
        (PATH, a_body(records=[]), SECRET, 400, "invalid_payload", "1 to 500"),
        (PATH, a_body(records=[{"a": 1}] * 501), SECRET, 400, "invalid_payload", "1 to 500"),
        (PATH, a_body(records=[{"a": 1}, None]), SECRET, 400, "invalid_payload", "records[1]"),
        (PATH, a_body(record={"a": 1}, records=[{"a": 1}]), SECRET, 400, "invalid_payload", "not both"),
    ],
)  # fmt: skip
def test_refusals(
    targets: FlaskClient,
    shelf: Shelf,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
    code: str,
    says: str,
) -> None:
    answer = targets.post(path, data=body, headers=dict(headers))
    assert answer.status_code == status
    error = answer.get_json()["error"]
    assert error["code"] == code
    assert says in error["message"]
    assert "canary" not in answer.get_data(as_text=True)
    shelf.world.work()
    assert shelf.arrived() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused_with_the_one_that_works(targets: FlaskClient, method: str) -> None:
    answer = targets.open(PATH, method=method, headers=SECRET)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_tenant_without_an_account_is_409(world: World, load: Load) -> None:
    world.tenant(installed=False)
    answer = load("targets", world.environment).post(PATH, data=a_body(), headers=SECRET)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "not_installed")


@pytest.mark.usefixtures("impatient")
def test_a_queue_that_does_not_answer_is_503_and_nothing_was_accepted(
    targets: FlaskClient, shelf: Shelf
) -> None:
    shelf.world.tasks.stop()
    answer = targets.post(PATH, data=a_body(), headers=SECRET)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
