"""What is measured is what the code writes: the code runs, and every metric finds its lines among those it wrote."""

import hashlib
import hmac
import json
import re
from typing import Any

import pytest

from deploy.gcp import watching
from deploy.staging import REPOSITORY
from shared import logs
from shared.consent.inbox import Inbox
from shared.consent_events import SystemEvent
from shared.jobs.jobs import EveryTenant, SendMetric, SweepInbox, write_job
from shared.metrics.metrics import accept_metric
from tests.deploy.gcp.log_filters import extracted, matches
from tests.support.loading import Load
from tests.support.world import ACCOUNT, EMAIL, INSTALLATION_KEY, TENANT, WEBHOOK_SECRET, World, lines

WATCHING = watching.load()
METRICS = WATCHING.metrics


def accept(world: World) -> SendMetric:
    body = {
        "attributes": {
            "metric": {"data": {"attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"attributes": {"email": EMAIL}}},
        }
    }
    return accept_metric(
        world.read(),
        body,
        metric_name="",
        with_token=False,
        queue=world.services.queue,
        now=world.clock(),
        new_id=world.services.new_id,
        traceparent="",
    )


def send_events(world: World) -> None:
    """Let one event go out, one wait because of a 503, one die, and the account be disconnected."""
    accept(world)
    world.work()
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=503, headers={"Retry-After": "30"})
    accept(world)
    world.work()
    world.work(31)
    world.sandbox.klaviyo.fail(
        1, match="POST /api/events", status=400, body={"errors": [{"code": "invalid"}]}
    )
    accept(world)
    world.work()
    refused = {"error": "invalid_grant"}
    world.sandbox.klaviyo.fail(9, match="POST /oauth/token", status=400, body=refused)
    world.clock.advance(7200)
    accept(world)
    world.work()


def leave_an_inbox_behind(world: World) -> None:
    """Add a consent event of which nobody knows, and let the sweep find it."""
    event = SystemEvent(
        id="e1", topic="bounced_email", profile="P1", at=world.clock(), bounce="hard", method="other"
    )
    Inbox.of(world.services).add(TENANT, ACCOUNT, event)
    world.clock.advance(600)
    sweep = SweepInbox(tenant=TENANT, id="sweep", accepted_at=world.clock())
    world.services.queue.put(sweep, world.read())
    world.work()


def deliver_a_webhook(world: World, load: Load) -> None:
    """Deliver nothing, signed as Klaviyo signs."""
    body = json.dumps({"meta": {"klaviyo_account_id": ACCOUNT, "klaviyo_webhook_id": "W1"}, "data": []})
    signature = hmac.new(WEBHOOK_SECRET.encode(), f"{body}1".encode(), hashlib.sha256).hexdigest()
    answer = load("system_webhooks", world.environment).post(
        f"/{TENANT}/api/v1/webhooks/klaviyo/system",
        data=body,
        headers={
            "Content-Type": "application/json",
            "Klaviyo-Signature": signature,
            "Klaviyo-Timestamp": "1",
            "Klaviyo-Webhook-Id": "W1",
        },
    )
    assert answer.status_code == 202


def knock(load: Load, world: World) -> None:
    """Send a metric with the right secret and the wrong one, try a wrong installation key, and make an install link with the right."""
    targets = load("targets", world.environment)
    for secret in (WEBHOOK_SECRET, "canary-wrong"):
        targets.post(
            f"/{TENANT}/api/v1/targets/klaviyo/metric?metric=Seen",
            data=json.dumps({"profile": {"email": EMAIL}}),
            headers={"Content-Type": "application/json", "x-omneo-secret": secret},
        )
    admin = load("admin", world.environment)
    for key in ("canary-wrong", INSTALLATION_KEY):
        admin.post(f"/{TENANT}/api/v1/install-link", headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def written(world: World, load: Load, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what the functions write on a day on which everything happens once."""
    logs.configure("demo-project")
    world.tenant()
    deliver_a_webhook(world, load)
    knock(load, world)
    worker = load("inbound_worker", world.environment)
    assert worker.post("/tasks/inbound", data=write_job(EveryTenant(run="sweep-inbox"))).status_code == 200
    leave_an_inbox_behind(world)
    with logs.context(function="outbound_worker"):
        send_events(world)
    return lines(capsys.readouterr().out)


def test_every_metric_finds_lines_that_the_code_writes(written: list[dict[str, Any]]) -> None:
    silent = {
        name for name, metric in METRICS.items() if not any(matches(metric.filter, line) for line in written)
    }
    assert silent == set()


def test_every_label_and_value_is_in_the_lines_of_its_metric(written: list[dict[str, Any]]) -> None:
    for name, metric in METRICS.items():
        described = watching.log_metric(name, metric)
        found = [line for line in written if matches(metric.filter, line)]
        for label, extractor in described["labelExtractors"].items():
            assert any(extracted(extractor, line) for line in found), f"{name} has no {label}"
        if metric.value:
            assert [float(extracted(f"EXTRACT({metric.value})", line)) for line in found]


def test_a_reason_is_cut_to_what_many_jobs_share(written: list[dict[str, Any]]) -> None:
    extractor = watching.log_metric("jobs_held_up", METRICS["jobs_held_up"])["labelExtractors"]["reason"]
    reasons = {
        extracted(extractor, line) for line in written if matches(METRICS["jobs_held_up"].filter, line)
    }
    assert {"Klaviyo answered 503", "Klaviyo answered 400"} <= reasons


def test_outcomes_that_alerts_name_are_outcomes_that_jobs_have(written: list[dict[str, Any]]) -> None:
    outcomes = {line["outcome"] for line in written if "outcome" in line}
    named = set(re.findall(r'outcome="(\w+)"', " ".join(alert.where for alert in WATCHING.alerts.values())))
    assert named <= outcomes
    assert {"done", "waiting", "dead"} <= outcomes


@pytest.mark.parametrize(
    "chart", [*WATCHING.charts, *WATCHING.alerts.values()], ids=lambda chart: chart.title
)
def test_charts_and_alerts_ask_for_labels_that_their_metrics_have(chart: watching.Chart) -> None:
    if "/" in chart.metric:
        return  # Google's own
    metric = METRICS[chart.metric]
    assert set(chart.by) <= set(metric.labels)
    assert set(re.findall(r"metric\.label\.(\w+)", chart.where)) <= set(metric.labels)
    assert bool(metric.value) == chart.show.startswith("p")


def test_an_alert_is_either_too_much_or_nothing_at_all() -> None:
    for alert in WATCHING.alerts.values():
        assert (alert.above is None) != (alert.absent is None)
        assert alert.absent is None or alert.absent <= 23 * 60 + 30  # the longest that Monitoring takes


def test_every_alert_stands_in_the_runbook_with_three_things_to_do() -> None:
    text = (REPOSITORY / "deploy/RUNBOOK.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == set(WATCHING.alerts)
    for name, section in sections.items():
        assert len(re.findall(r"^\d\. ", section, flags=re.MULTILINE)) == 3, name
        assert WATCHING.alerts[name].title in section
