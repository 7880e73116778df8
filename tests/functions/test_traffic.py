"""Traffic from the outside: calls come in and jobs are done, and what CX Manager asks for tells it."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.admin.doctor import examine
from shared.admin.findings import Severity
from tests.support.loading import Load
from tests.support.merchant import pages_of
from tests.support.world import (
    EMAIL,
    EXTENSION_URL,
    INSTALLATION_KEY,
    TENANT,
    WEBHOOK_SECRET,
    World,
    lines,
)

BASE = f"/{TENANT}/api/v1"
METRIC = f"{BASE}/targets/klaviyo/metric?metric=Seen"
RECORDS = f"{BASE}/targets/klaviyo/data-source-record"
JSON = {"Content-Type": "application/json"}
SECRET = {"x-omneo-secret": WEBHOOK_SECRET, **JSON}
WRONG = {"x-omneo-secret": "canary-wrong", **JSON}
KEY = {"Authorization": f"Bearer {INSTALLATION_KEY}"}
EVENT = json.dumps({"profile": {"email": EMAIL}})


@pytest.fixture
def targets(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store; the real time is the world's."""
    world.live()
    world.tenant()
    return load("targets", world.environment)


@pytest.fixture
def admin(world: World, load: Load) -> FlaskClient:
    return load("admin", world.environment)


def told(admin: FlaskClient, since: str = "24h", **wanted: str) -> dict[str, Any]:
    """Return what is told of one target and metric, {} if nothing is."""
    answer = admin.get(f"{BASE}/traffic", query_string={"since": since}, headers=KEY)
    assert answer.status_code == 200
    assert "canary" not in answer.get_data(as_text=True)
    rows = [row for row in answer.get_json()["targets"] if wanted.items() <= row.items()]
    assert len(rows) <= 1
    return rows[0] if rows else {}


def test_a_lone_refused_call_is_seen_at_once_with_its_reason(
    targets: FlaskClient, admin: FlaskClient
) -> None:
    assert targets.post(METRIC, data=EVENT, headers=WRONG).status_code == 401
    refused = told(admin, target="metric")["refused"]
    assert refused["count"] == 1
    (reason,) = refused["reasons"]
    assert (reason["reason"], reason["count"]) == ("401, x-omneo-secret is wrong", 1)
    assert reason["last_at"] == refused["last_at"] is not None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({**JSON, "X-Omneo-Hmac-SHA256": "0" * 64}, "401, X-Omneo-Hmac-SHA256 is wrong"),
        (JSON, "401, no credential was sent"),
        ({**WRONG, "X-Omneo-Hmac-SHA256": "0" * 64}, "401, x-omneo-secret and X-Omneo-Hmac-SHA256 are wrong"),
    ],
)
def test_a_refusal_says_which_credential_is_wrong(
    targets: FlaskClient, admin: FlaskClient, headers: dict[str, str], reason: str
) -> None:
    answer = targets.post(METRIC, data=EVENT, headers=headers)
    assert answer.status_code == 401
    assert "wrong" not in answer.get_data(as_text=True)  # the caller hears what every caller hears
    assert [row["reason"] for row in told(admin, target="metric")["refused"]["reasons"]] == [reason]


def test_an_event_is_accepted_and_delivered_under_the_name_of_its_metric(
    targets: FlaskClient, admin: FlaskClient, world: World
) -> None:
    assert targets.post(METRIC, data=EVENT, headers=SECRET).status_code == 202
    world.work(60)
    row = told(admin, target="metric", metric="Seen")
    assert (row["accepted"]["count"], row["delivered"]["count"]) == (1, 1)
    assert (row["refused"]["count"], row["waiting"]["count"], row["dead"]["count"]) == (0, 0, 0)
    assert sum(hour["accepted"] for hour in row["times"]) == 1


def test_a_body_that_is_refused_counts_for_the_metric_that_it_names(
    targets: FlaskClient, admin: FlaskClient
) -> None:
    event = {"attributes": {"metric": {"data": {"attributes": {"name": "Broken"}}}, "profile": 7}}
    assert targets.post(METRIC, data=json.dumps(event), headers=SECRET).status_code == 400
    (reason,) = told(admin, target="metric", metric="Broken")["refused"]["reasons"]
    assert reason["reason"].startswith("400, attributes.profile")


def test_a_job_that_waits_and_dies_is_counted_as_such(
    targets: FlaskClient, admin: FlaskClient, world: World
) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=503)
    targets.post(METRIC, data=EVENT, headers=SECRET)
    world.work(1)
    assert told(admin, target="metric", metric="Seen")["waiting"]["count"] == 1
    world.sandbox.klaviyo.fail(
        1, match="POST /api/events", status=400, body={"errors": [{"code": "invalid"}]}
    )
    world.work(60)
    row = told(admin, target="metric", metric="Seen")
    assert (row["delivered"]["count"], row["dead"]["count"]) == (0, 1)
    assert row["dead"]["last_at"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (SECRET, EVENT, 200),
        (SECRET, json.dumps({"profile": {"email": ""}}), 400),
        (SECRET, "{", 400),
        (WRONG, EVENT, 401),
    ],
)
@pytest.mark.parametrize("asked", ["dryRun=1", "dryrun=true"])
def test_a_dry_run_is_no_traffic_refused_or_not(
    targets: FlaskClient, admin: FlaskClient, headers: dict[str, str], body: str, status: int, asked: str
) -> None:
    assert targets.post(f"{METRIC}&{asked}", data=body, headers=headers).status_code == status
    assert told(admin, target="metric") == {}
    assert targets.post(f"{METRIC}&dryRun=canary", data=EVENT, headers=SECRET).status_code == 400
    assert told(admin, target="metric")["refused"]["count"] == 1


def test_records_are_counted_one_by_one(targets: FlaskClient, admin: FlaskClient, world: World) -> None:
    body = {"data_source": "rewards", "records": [{"id": number} for number in range(3)]}
    assert targets.post(RECORDS, data=json.dumps(body), headers=SECRET).status_code == 202
    world.work(60)
    row = told(admin, target="data-source-record", metric="Omneo Rewards")
    assert row["accepted"]["count"] == 3


def test_a_tenant_that_is_not_there_leaves_no_trace(
    targets: FlaskClient, admin: FlaskClient, world: World
) -> None:
    path = METRIC.replace(TENANT, "nobody")
    assert targets.post(path, data=EVENT, headers=WRONG).status_code == 401
    assert world.services.documents.find("tenants/nobody/traffic") == []
    assert told(admin, target="metric") == {}


def test_a_hot_path_costs_one_write_in_ten_seconds(
    targets: FlaskClient, admin: FlaskClient, world: World
) -> None:
    for _ in range(20):
        assert targets.post(METRIC, data=EVENT, headers=SECRET).status_code == 202
    shares = world.services.documents.find(f"tenants/{TENANT}/traffic")
    assert len(shares) <= 2  # one, but in the minute in which the hour turns


@pytest.mark.parametrize(
    "query",
    [{"since": "yesterday"}, {"since": "5w"}, {"until": "24h"}, {"since": ""}, {"since": "2026-13-01"}],
)
def test_a_query_that_cannot_be_read_is_refused(
    admin: FlaskClient, world: World, query: dict[str, str]
) -> None:
    world.tenant()
    assert admin.get(f"{BASE}/traffic", query_string=query, headers=KEY).status_code == 400


@pytest.mark.parametrize(
    "since", ["1h", "35d", "9999d", "2026-11-20", "2026-11-20T08:00:00Z", "2026-11-20T08:00+10:00"]
)
def test_since_is_read_in_all_its_forms(targets: FlaskClient, admin: FlaskClient, since: str) -> None:
    targets.post(METRIC, data=EVENT, headers=WRONG)
    answer = admin.get(f"{BASE}/traffic", query_string={"since": since}, headers=KEY).get_json()
    assert answer["since"] <= answer["until"]
    assert answer["targets"]


def test_the_doctor_tells_what_is_refused(targets: FlaskClient, world: World) -> None:
    for _ in range(12):
        targets.post(METRIC, data=EVENT, headers=WRONG)
    world.services.clock.advance(11)  # type: ignore[attr-defined]  # the world's own
    report = examine(world.read(), world.services)
    (finding,) = [one for one in report["findings"] if one["check"] == "traffic"]
    assert finding["severity"] == Severity.WARNING  # the last eleven wait in the instance for its next call
    assert "401, x-omneo-secret is wrong" in finding["message"]
    assert "x-omneo-secret" in finding["repair"]


def test_who_has_no_installation_key_makes_no_traffic_and_no_trouble(
    admin: FlaskClient, world: World
) -> None:
    world.tenant()
    for _ in range(12):
        answer = admin.get(f"{BASE}/settings", headers={"Authorization": "Bearer canary-wrong"})
        assert answer.status_code == 401
    assert world.services.documents.count(f"tenants/{TENANT}/traffic") == 0
    found = [one for one in examine(world.read(), world.services)["findings"] if one["check"] == "traffic"]
    assert [one["severity"] for one in found if one["severity"] == Severity.CRITICAL] == []
    assert told(admin, target="admin") == {}


class TestTheLog:
    def test_a_refusal_names_target_metric_path_and_what_was_said(
        self, targets: FlaskClient, capsys: pytest.CaptureFixture[str]
    ) -> None:
        targets.post(METRIC, data='{"profile": {"email": 7}}', headers=SECRET)
        line = lines(capsys.readouterr().out)[-1]
        assert line["message"] == "call answered"
        assert (line["tenant"], line["target"], line["metric"]) == (TENANT, "metric", "Seen")
        assert (line["method"], line["path"]) == ("POST", "/{tenant}/api/v1/targets/klaviyo/{target}")
        assert line["said"] == "profile.email must be an email address."

    def test_an_outside_call_has_method_and_path_template(
        self, targets: FlaskClient, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        targets.post(METRIC, data=EVENT, headers=SECRET)
        world.work(60)
        outside = [line for line in lines(capsys.readouterr().out) if line["message"] == "outside call"]
        assert ("POST", "/api/events") in {(line["method"], line["path"]) for line in outside}
        assert {line["tenant"] for line in outside} == {TENANT}

    def test_a_refused_installation_key_is_a_warning(
        self, admin: FlaskClient, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        world.tenant()
        admin.get(f"{BASE}/settings", headers={"Authorization": "Bearer canary-wrong"})
        refused, answered = lines(capsys.readouterr().out)[-2:]
        assert (refused["severity"], refused["message"]) == ("WARNING", "installation key refused")
        assert (refused["tenant"], refused["reason"]) == (TENANT, "Authorization is wrong")
        assert answered["status"] == 401

    def test_a_refused_installation_key_at_an_install_is_a_warning_too(
        self, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        world.tenant(installed=False)
        form = {"tenant": TENANT, "installation_key": "canary-wrong"}
        pages_of(world).test_client().post("/klaviyo/install", data=form, headers={"Origin": EXTENSION_URL})
        found = [line for line in lines(capsys.readouterr().out) if line.get("tenant") == TENANT]
        assert [line["message"] for line in found] == ["installation key refused", "call answered"]
        answered = found[-1]
        assert (answered["method"], answered["path"]) == ("POST", "/klaviyo/install")
        assert answered["said"].endswith(".")
