"""The doctor: each thing that can be wrong is found, said plainly, and mended where that is safe; the rest is still looked at."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from deploy.local.sandbox.stage.faults import Kind
from shared.admin.doctor import examine, repair
from shared.admin.reports import StatusReports
from shared.admin.revision import revision as retirement
from shared.admin.settings import change_settings
from shared.admin.status import LEASE, PATIENCE_SECONDS, status
from shared.direction import Direction
from shared.errors import WaitError
from shared.installation.connecting import connect, prepare_queues
from shared.installation.provision import start_provision
from shared.installation.uninstall import DATA_SOURCES_STAY, uninstall
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SendMetric, SyncProfile
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.klaviyo.resources import DATA_SOURCES, OMNEO_TRIGGERS, SCOPES, webhook_name
from shared.metrics.backlog import Backlog
from shared.profiles.backlog import SyncBacklog
from shared.services import Services
from shared.settings import Settings
from shared.storage.encryption import new_key
from shared.tenants.secret_uses import KLAVIYO_DELIVERY
from shared.tenants.tenants import Tenant
from tests.support.merchant import settle
from tests.support.world import ACCOUNT, EVERYTHING, EXTENSION_URL, OMNEO_TOKEN, TENANT, World

HEALTHY = [
    "klaviyo",
    "scopes",
    "data sources",
    "webhook",
    "omneo token",
    "omneo webhooks",
    "set-up",
    "settings",
    "traffic",
    "dead jobs",
    "event backlog",
    "profile syncs",
    "keys",
    "inbound queue",
    "outbound queue",
]


def install(world: World, account: str = ACCOUNT, *, scopes: str = " ".join(SCOPES)) -> None:
    """Connect an account as the install does, with an account id, and let the set-up begin."""
    tokens = world.sandbox.klaviyo.install(account, scopes=scopes)
    answer = TokenAnswer.model_validate(tokens.to_json())
    now = world.clock()
    joined = Account(id=account, timezone="Australia/Melbourne")
    tenant = connect(TENANT, answer, tenants=world.services.tenants, now=now, account=joined)
    prepare_queues(tenant, world.services.queue)
    start_provision(tenant, world.services)


def enable_omneo_webhooks(world: World) -> None:
    """Do what a person does in CX Manager."""
    for hook in world.sandbox.omneo.webhooks(TENANT):
        put_omneo_webhook(world, hook["id"], is_active=True)


def put_omneo_webhook(world: World, id: int, **fields: Any) -> None:
    url = f"{world.sandbox.omneo.url}/{TENANT}/api/v3/webhooks/{id}"
    answer = requests.put(url, json=fields, headers={"Authorization": f"Bearer {OMNEO_TOKEN}"}, timeout=60)
    assert answer.status_code == 200


@pytest.fixture
def well(world: World) -> World:
    """Return a world in which the tenant's install is complete and nothing is wrong."""
    world.tenant(installed=False)
    install(world)
    settle(world, 4)
    enable_omneo_webhooks(world)
    return world


def look(world: World) -> dict[str, Any]:
    """Return a new report, after checking that nothing secret or personal is in it."""
    world.clock.advance(61)
    report = status(world.read(), world.services)
    text = json.dumps(report)
    assert "canary" not in text
    assert world.read().installation_keys[0].hash not in text
    return report


def of(report: dict[str, Any], check: str) -> list[dict[str, Any]]:
    """Return what a check found."""
    return [finding for finding in report["findings"] if finding["check"] == check]


def wrong(report: dict[str, Any]) -> dict[str, str]:
    """Return every check that is not well, with how bad it is."""
    return {row["check"]: row["severity"] for row in report["findings"] if row["severity"] != "ok"}


def klaviyo_account(world: World) -> Any:
    return world.sandbox.klaviyo._account(ACCOUNT)


# What goes wrong.


def disconnected(world: World) -> None:
    def edit(tenant: Tenant) -> Tenant:
        assert tenant.klaviyo is not None
        gone = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
        return tenant.model_copy(update={"klaviyo": gone})

    world.services.tenants.change(TENANT, edit)
    world.services.queue.pause(world.read(), Direction.OUTBOUND)


def never_installed(world: World) -> None:
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))


def removed_in_klaviyo(world: World) -> None:
    world.sandbox.klaviyo.uninstall(ACCOUNT)


def another_account(world: World) -> None:
    tokens = TokenAnswer.model_validate(world.sandbox.klaviyo.install("OtherA").to_json())
    connect(
        TENANT, tokens, tenants=world.services.tenants, now=world.clock(), account=Account(id=ACCOUNT)
    )  # as if it were still the account before


def klaviyo_down(world: World) -> None:
    world.sandbox.klaviyo.fail(100, status=503)


def lacks_a_scope(world: World) -> None:
    install(world, scopes=" ".join(set(SCOPES) - {"lists:write"}))


def lacks_accounts_read(world: World) -> None:
    install(world, scopes=" ".join(set(SCOPES) - {"accounts:read"}))


def data_source_deleted(world: World) -> None:
    sources = klaviyo_account(world).data_sources
    sources.pop(next(iter(sources)))


def webhook_deleted(world: World) -> None:
    klaviyo_account(world).webhooks.clear()


def webhook_disabled(world: World) -> None:
    world.sandbox.klaviyo.disable_webhook(ACCOUNT, world.read().provisions.webhook_id)


def webhook_of_fewer_topics(world: World) -> None:
    (hook,) = klaviyo_account(world).webhooks.values()
    hook.topics = hook.topics[1:]


def webhook_renamed(world: World) -> None:
    (hook,) = klaviyo_account(world).webhooks.values()
    hook.name = "Renamed"


def webhook_twice(world: World) -> None:
    world.sandbox.klaviyo.webhook(
        ACCOUNT,
        webhook_name(TENANT),
        endpoint_url=EXTENSION_URL,
        secret_key="canary-another-one",
        topics=["event:klaviyo.bounced_email"],
    )


def omneo_token_rejected(world: World) -> None:
    world.sandbox.omneo.expire(TENANT)


def omneo_token_expiring(world: World) -> None:
    expiry = (world.clock() + timedelta(days=13)).timestamp()
    world.sandbox.omneo._tenants[TENANT].token_expires_at = expiry


def omneo_down(world: World) -> None:
    world.sandbox.omneo.fail(100, status=503)


def omneo_webhook_deleted(world: World) -> None:
    rows = world.sandbox.omneo._tenants[TENANT].webhooks
    rows.delete(rows.all()[0])


def omneo_webhook_elsewhere(world: World) -> None:
    put_omneo_webhook(world, world.sandbox.omneo.webhooks(TENANT)[0]["id"], url="https://old.example.org/x")


def omneo_webhook_disabled(world: World) -> None:
    put_omneo_webhook(world, world.sandbox.omneo.webhooks(TENANT)[0]["id"], is_active=False)


def queues_missing(world: World) -> None:
    # Under names that never were: Cloud Tasks blocks a deleted queue's name for days.
    def edit(tenant: Tenant) -> Tenant:
        settings = tenant.settings.model_copy(update={"task_queue_name": "never-made"})
        return tenant.model_copy(update={"settings": settings})

    world.services.tenants.change(TENANT, edit)


def queue_paused(world: World) -> None:
    world.services.queue.pause(world.read(), Direction.OUTBOUND)


def queue_stands_still(world: World) -> None:
    job = SendMetric(tenant=TENANT, accepted_at=world.clock(), event={"email": "canary"})
    world.services.queue.put(job, world.read(), delay=3000)
    world.clock.advance(15 * 60)


def set_up_refused(world: World) -> None:
    data_source_deleted(world)
    world.sandbox.klaviyo.fail(10, match="POST /api/data-sources", status=403)
    repair(world.read(), world.services)
    settle(world, 4)
    world.sandbox.klaviyo.faults.clear()


def events_waiting(world: World) -> None:
    event = {"profile": {"data": {"attributes": {"email": "canary-jane@example.org"}}}}
    job = SendMetric.model_validate({"tenant": TENANT, "accepted_at": world.clock(), "event": event})
    Backlog.of(world.services).add(TENANT, job, at=world.clock() - timedelta(minutes=20))


def job_given_up(world: World) -> None:
    dead = DeadJob(
        id="job-1",
        tenant=TENANT,
        kind="send-metric",
        reason="refused",
        detail="canary",
        body=b"canary",
        attempts=1,
        died_at=world.clock(),
    )
    DeadJobStore.of(world.services).add(dead, keep=timedelta(days=30))


def syncs_wait(world: World) -> None:
    then = world.clock() - timedelta(hours=2)
    job = SyncProfile(tenant=TENANT, id="s1", accepted_at=then, profile_id="jane", until=then)
    SyncBacklog.of(world.services).add(TENANT, job)


def newer_key(world: World) -> None:
    world.environment["ENCRYPTION_KEYS"] = f"k2:{new_key()},{world.environment['ENCRYPTION_KEYS']}"
    world.services = Services(
        Settings.from_env(world.environment, EVERYTHING), clock=world.clock, sleep=world.clock.sleep
    )


def no_address_limits(world: World) -> None:
    world.environment["ADDRESS_LIMITS"] = "none"
    world.services = Services(
        Settings.from_env(world.environment, EVERYTHING), clock=world.clock, sleep=world.clock.sleep
    )


def older_webhook_secret(world: World) -> None:
    change_settings(TENANT, {"webhook_secret": "canary-new-webhook-secret"}, world.services)
    settle(world, 4)


REINSTALL, NOTHING = "Install the app again", ""
# What happens, the check that finds it, how bad it is, what it says, what mends it, and whether the repair does.
STORIES: list[tuple[Callable[[World], None], str, str, str, str, bool]] = [
    (disconnected, "klaviyo", "critical", "no longer accepts", REINSTALL, False),
    (never_installed, "klaviyo", "critical", "has never been installed", "Make an install link", False),
    (removed_in_klaviyo, "klaviyo", "critical", "no longer accepts", REINSTALL, False),
    (another_account, "klaviyo", "critical", "another Klaviyo account", REINSTALL, False),
    (klaviyo_down, "klaviyo", "critical", "Klaviyo answered 503", "by themselves", False),
    (lacks_a_scope, "scopes", "critical", "lists:write", REINSTALL, False),
    (lacks_accounts_read, "scopes", "critical", "accounts:read", REINSTALL, False),
    (lacks_accounts_read, "klaviyo", "critical", "Klaviyo answered 403", REINSTALL, False),
    (data_source_deleted, "data sources", "warning", "Missing: Omneo", "repair", True),
    (klaviyo_down, "data sources", "warning", "cannot be read", NOTHING, False),
    (webhook_deleted, "webhook", "critical", "is missing", "repair", True),
    (webhook_disabled, "webhook", "critical", "disabled", "repair", True),
    (webhook_of_fewer_topics, "webhook", "warning", "wrong name or wrong topics", "repair", True),
    (webhook_renamed, "webhook", "warning", "wrong name or wrong topics", "repair", True),
    (webhook_twice, "webhook", "warning", "wrong name or wrong topics", "repair", True),
    (klaviyo_down, "webhook", "warning", "cannot be read", NOTHING, False),
    (omneo_token_rejected, "omneo token", "critical", "rejects our token", "set acme omneo_token", False),
    (omneo_token_expiring, "omneo token", "warning", "expires on 2026-12-04", "set acme omneo_token", False),
    (omneo_down, "omneo token", "critical", "Omneo answered 503", "by themselves", False),
    (omneo_webhook_deleted, "omneo webhooks", "warning", "Missing: profile.created", "repair", True),
    (omneo_webhook_elsewhere, "omneo webhooks", "warning", "Missing: profile.created", "repair", True),
    (
        omneo_webhook_disabled,
        "omneo webhooks",
        "warning",
        "not enabled: profile.created",
        "CX Manager",
        False,
    ),
    (queues_missing, "inbound queue", "critical", "does not exist", "repair", True),
    (queue_paused, "outbound queue", "critical", "is paused", "repair", True),
    (queue_stands_still, "outbound queue", "warning", "1 jobs wait, the oldest since 2026", "log", False),
    (set_up_refused, "set-up", "critical", "Data source Omneo", "repair", True),
    (job_given_up, "dead jobs", "warning", "1 jobs were given up", "reasons", False),
    (
        events_waiting,
        "event backlog",
        "warning",
        "1 events wait for a bulk job, since 2026",
        "pack-events",
        False,
    ),
    (syncs_wait, "profile syncs", "warning", "1 wait for Klaviyo", "service-throttling", False),
    (newer_key, "keys", "warning", "5 secrets are sealed by an older key", "reencrypt", False),
    (older_webhook_secret, "webhook secret", "warning", "An older webhook secret", "end each", False),
    (no_address_limits, "address limits", "warning", "not limited by address", "SECURITY_POLICIES", False),
]


def named(story: Any) -> str:
    return f"{story[0].__name__}-{story[1]}".replace(" ", "_")


class TestWhatIsFound:
    def test_without_any_time_zone_one_is_asked_for_and_a_set_one_comes_first(self, well: World) -> None:
        assert "Australia/Melbourne, as the Klaviyo account's" in of(look(well), "settings")[0]["message"]

        def without_zone(tenant: Tenant) -> Tenant:
            assert tenant.klaviyo is not None
            return tenant.model_copy(
                update={"klaviyo": tenant.klaviyo.model_copy(update={"account_timezone": ""})}
            )

        well.services.tenants.change(TENANT, without_zone)
        assert wrong(look(well)) == {"settings": "warning"}
        change_settings(TENANT, {"timezone": "Europe/Vienna"}, well.services)
        assert "Europe/Vienna" in of(look(well), "settings")[0]["message"]

    def test_the_age_of_the_last_delivery_is_told(self, well: World) -> None:
        assert "No delivery has come yet" in of(look(well), "webhook")[0]["message"]
        well.services.secret_uses.note(TENANT, KLAVIYO_DELIVERY)
        assert f"came at {well.clock():%Y-%m-%d %H:%M:%S} UTC" in of(look(well), "webhook")[0]["message"]

    def test_a_tenant_without_fault_is_well_in_every_respect(self, well: World) -> None:
        report = look(well)
        assert wrong(report) == {}
        assert report["state"] == "ok"
        assert [finding["check"] for finding in report["findings"]] == HEALTHY
        assert report["klaviyo"] == {
            "connected": True,
            "account_id": ACCOUNT,
            "account_name": "",
            "connected_at": "2026-11-21T10:00:00+00:00",
        }
        assert {step["state"] for step in report["steps"]} == {"done"}
        assert len(report["steps"]) == len(DATA_SOURCES) + 1 + len(OMNEO_TRIGGERS)
        assert report["queues"]["outbound"] == {
            "name": "acme-klaviyo-outbound",
            "exists": True,
            "paused": False,
            "depth": 0,
            "oldest": None,
        }
        assert (report["dead_jobs"], report["left_behind"]) == (0, [])

    @pytest.mark.parametrize("story", STORIES, ids=map(named, STORIES))
    def test_what_is_wrong_is_found_and_said_plainly(self, well: World, story: Any) -> None:
        happen, check, severity, message, mend, safe = story
        happen(well)
        report = look(well)
        (finding,) = of(report, check)
        assert (finding["severity"], finding["safe"]) == (severity, safe)
        assert message in finding["message"]
        assert mend in finding["repair"]
        assert bool(mend) == bool(finding["repair"])
        worst = "critical" if "critical" in wrong(report).values() else "warning"
        assert report["state"] == worst

    def test_what_waits_for_the_install_is_no_fault_of_klaviyos_limits(self, well: World) -> None:
        for happen in (disconnected, syncs_wait, events_waiting):
            happen(well)
        found = [one for name in ("profile syncs", "event backlog") for one in of(look(well), name)]
        assert [(one["severity"], one["repair"]) for one in found] == [("ok", "")] * 2

    @pytest.mark.parametrize(
        ("happen", "found"),
        [
            (disconnected, {"klaviyo": "critical", "outbound queue": "warning"}),
            (data_source_deleted, {"data sources": "warning"}),
            (webhook_deleted, {"webhook": "critical"}),
            (webhook_disabled, {"webhook": "critical"}),
            (omneo_token_rejected, {"omneo token": "critical"}),
            (omneo_webhook_disabled, {"omneo webhooks": "warning"}),
            (queues_missing, {"inbound queue": "critical", "outbound queue": "critical"}),
            (queue_paused, {"outbound queue": "critical"}),
            (queue_stands_still, {"outbound queue": "warning"}),
            (newer_key, {"keys": "warning"}),
            (
                klaviyo_down,
                {"klaviyo": "critical", "data sources": "warning", "webhook": "warning"},
            ),
            (
                lacks_accounts_read,
                {"klaviyo": "critical", "scopes": "critical"},
            ),
        ],
    )
    def test_one_fault_is_one_finding_and_everything_else_is_still_looked_at(
        self, well: World, happen: Callable[[World], None], found: dict[str, str]
    ) -> None:
        happen(well)
        well.work(5)
        report = look(well)
        assert wrong(report) == found
        assert {"dead jobs", "keys", "omneo token"} <= {row["check"] for row in report["findings"]}

    @pytest.mark.parametrize("kind", ["reset", "html403", "truncated", "empty", "broken_json"])
    def test_however_both_services_fail_the_report_is_made(self, well: World, kind: Kind) -> None:
        well.sandbox.klaviyo.fail(1000, kind=kind)
        well.sandbox.omneo.fail(1000, kind=kind, match="* *webhooks*")
        well.sandbox.omneo.fail(1000, kind=kind if kind not in ("empty", "broken_json") else "reset")
        report = look(well)
        assert wrong(report) == {
            "klaviyo": "critical",
            "data sources": "warning",
            "webhook": "warning",
            "omneo token": "critical",
        }
        assert {"set-up", "dead jobs", "keys", "inbound queue"} <= {
            row["check"] for row in report["findings"]
        }

    def test_a_queue_that_cannot_be_asked_is_critical_and_stops_nothing(self, well: World) -> None:
        odd = {**well.environment, "GOOGLE_CLOUD_REGION": "no/where"}
        well.services = Services(Settings.from_env(odd, EVERYTHING), clock=well.clock, sleep=well.clock.sleep)
        report = look(well)
        assert wrong(report) == {"inbound queue": "critical", "outbound queue": "critical"}
        assert report["queues"] == {"inbound": None, "outbound": None}

    def test_a_disconnection_that_the_look_itself_finds_is_in_the_report(self, well: World) -> None:
        removed_in_klaviyo(well)
        report = look(well)
        assert report["klaviyo"]["connected"] is False
        assert well.read().is_connected is False
        again = look(well)
        assert wrong(again) == {"klaviyo": "critical"}

    def test_a_paused_queue_of_a_disconnected_tenant_is_not_called_well(self, well: World) -> None:
        disconnected(well)
        report = look(well)
        assert report["queues"]["outbound"]["paused"] is True
        (finding,) = of(report, "outbound queue")
        assert (finding["severity"], finding["safe"]) == ("warning", False)
        assert "paused while the account is disconnected" in finding["message"]

    @pytest.mark.parametrize("body", ["OK", "", "<p>fine</p>", '{"valid": true}', "{", '{"data": {"tok'])
    def test_any_success_of_omneo_means_that_it_accepts_our_token(self, well: World, body: str) -> None:
        well.sandbox.omneo.fail(1, match="GET */auth/verify", status=200, body=body)
        (finding,) = of(look(well), "omneo token")
        assert (finding["severity"], finding["message"]) == ("ok", "Omneo accepts our token.")

    def test_a_rejection_of_our_omneo_token_by_an_edge_is_no_rejection(self, well: World) -> None:
        well.sandbox.omneo.fail(1, match="GET */auth/verify", status=401, body="<html>canary</html>")
        (finding,) = of(look(well), "omneo token")
        assert "Omneo answered 401 from its edge" in finding["message"]
        assert "by themselves" in finding["repair"]

    def test_what_a_plan_lacks_is_told_in_klaviyos_words_and_not_by_an_install(self, well: World) -> None:
        detail = "You must have Advanced KDP enabled to access this endpoint. canary@example.org"
        body = {"errors": [{"code": "permission_denied", "detail": detail}]}
        well.sandbox.klaviyo.fail(9, match="GET /api/webhook*", status=403, body=body)
        well.sandbox.klaviyo.fail(9, match="GET /api/accounts", status=403, body=body)
        report = look(well)
        for check in ("klaviyo", "webhook"):
            (finding,) = of(report, check)
            assert "You must have Advanced KDP enabled to access this endpoint." in finding["message"]
            assert "change its plan" in finding["repair"]

    @pytest.mark.parametrize(
        ("announced", "severity", "told"),
        [
            ("2027-10-15", "warning", "on 2027-10-15"), ("2026-12-01", "critical", "on 2026-12-01"),
            ("2026-01-01", "critical", "on 2026-01-01"), ("2027-10-15T00:00:00Z", "warning", "on 2027-10-15"),
            ("Fri, 15 Oct 2027 00:00:00 GMT", "warning", "on 2027-10-15"), ("canary", "warning", "on a day that"),
        ],
    )  # fmt: skip
    def test_the_day_on_which_klaviyo_retires_our_revision_is_told(
        self, well: World, announced: str, severity: str, told: str
    ) -> None:
        assert of(look(well), "revision") == []
        well.sandbox.klaviyo.retirement_date = announced
        (finding,) = of(look(well), "revision")
        assert finding["severity"] == severity
        assert f"Klaviyo retires revision 2026-10-15 of its API {told}" in finding["message"]
        assert finding["repair"].startswith("Deploy a newer release of the extension.")

    @pytest.mark.parametrize(
        ("revision", "today", "severity", "day"),
        [
            ("2026-10-15", "2028-04-14", None, ""), ("2026-10-15", "2028-04-15", "warning", "2028-10-15"),
            ("2026-10-15", "2028-09-15", "warning", "2028-10-15"), ("2026-10-15", "2028-09-16", "critical", "2028-10-15"),
            ("2026-10-15", "2030-01-01", "critical", "2028-10-15"), ("2024-02-29.pre", "2025-08-29", "warning", "2026-02-28"),
            ("2024-08-31", "2026-02-27", None, ""), ("2024-08-31", "2026-02-28", "warning", "2026-08-31"),
        ],
    )  # fmt: skip
    def test_half_a_year_before_a_revisions_life_ends_that_is_told_also_where_no_answer_announces_it(
        self, well: World, revision: str, today: str, severity: str | None, day: str
    ) -> None:
        well.clock.now = datetime.fromisoformat(f"{today}T12:00:00+00:00")
        settings = Settings.from_env(well.environment | {"KLAVIYO_REVISION": revision}, EVERYTHING)
        asking = Services(settings, clock=well.clock)
        found = [(row.severity, row.message) for row in retirement("", asking)]
        if severity is None:
            assert found == []
            return
        told = f"Klaviyo may retire revision {revision} of its API from {day} on: a revision lives for 24 months."
        assert found == [(severity, told)]

    def test_a_day_that_is_announced_counts_and_not_a_revisions_usual_life(self, well: World) -> None:
        well.clock.now = datetime(2028, 9, 20, tzinfo=UTC)
        (finding,) = retirement("2029-10-15", well.services)
        assert finding.severity == "warning"
        assert "on 2029-10-15" in finding.message

    def test_the_doctor_looks_at_the_revisions_life(self, well: World) -> None:
        well.clock.now = datetime(2028, 5, 1, tzinfo=UTC)
        (finding,) = of(look(well), "revision")
        assert "from 2028-10-15 on" in finding["message"]

    def test_an_omneo_that_does_not_say_when_its_token_expires_is_fine(self, well: World) -> None:
        well.sandbox.omneo.fail(1, match="GET */auth/verify", status=200, body={"data": {"expires_at": None}})
        (finding,) = of(look(well), "omneo token")
        assert (finding["severity"], finding["message"]) == ("ok", "Omneo accepts our token.")

    def test_what_the_last_uninstall_left_is_told_until_the_next_install(self, well: World) -> None:
        left = {"klaviyo": None, "left_behind": (DATA_SOURCES_STAY,)}
        well.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update=left))
        assert look(well)["left_behind"] == [DATA_SOURCES_STAY]
        (finding,) = of(look(well), "klaviyo")
        assert "has been uninstalled" in finding["message"]
        well.install()
        assert look(well)["left_behind"] == []


class TestHowOften:
    def calls(self, world: World) -> list[str]:
        return [f"{call.method} {call.path} {call.status}" for call in world.sandbox.klaviyo.calls.all()]

    def test_what_was_said_before_the_install_is_said_no_more(self, world: World) -> None:
        world.tenant(installed=False)
        assert status(world.read(), world.services)["klaviyo"]["connected"] is False
        world.clock.advance(5)
        world.install()
        assert status(world.read(), world.services)["klaviyo"]["connected"] is True

    def test_what_a_look_has_found_that_an_install_overtook_is_said_no_more(self, world: World) -> None:
        before = world.tenant(installed=False)
        world.install()
        StatusReports.of(world.services).keep(TENANT, examine(before, world.services))
        assert status(world.read(), world.services)["klaviyo"]["connected"] is True

    def test_what_a_look_has_found_that_an_uninstall_overtook_is_said_no_more(self, well: World) -> None:
        before = well.read()
        uninstall(before, well.services)
        StatusReports.of(well.services).keep(TENANT, examine(before, well.services))
        assert status(well.read(), well.services)["klaviyo"]["connected"] is False

    def test_whoever_waits_for_anothers_look_hears_nothing_of_before_the_install(self, world: World) -> None:
        world.tenant(installed=False)
        status(world.read(), world.services)
        world.install()
        world.services.leases.acquire(f"status {TENANT}", lasting=LEASE)
        with pytest.raises(WaitError, match="another call is examining"):
            status(world.read(), world.services)

    def test_ten_looks_in_a_minute_are_one(self, well: World) -> None:
        well.clock.advance(60)
        well.sandbox.klaviyo.calls.clear()
        reports = []
        for _ in range(10):
            reports.append(status(well.read(), well.services))
            well.clock.advance(5.9)
        assert all(report == reports[0] for report in reports)
        assert sorted(self.calls(well)) == [
            "GET /api/accounts 200",
            "GET /api/data-sources 200",
            "GET /api/webhook-topics 200",
            "GET /api/webhooks 200",
        ]
        well.clock.advance(1.1)
        assert status(well.read(), well.services)["checked_at"] > reports[0]["checked_at"]

    def test_looking_all_the_time_never_meets_klaviyos_limits(self, well: World) -> None:
        well.clock.advance(60)
        well.sandbox.klaviyo.calls.clear()
        for _ in range(100):
            assert status(well.read(), well.services)["state"] == "ok"
            well.clock.advance(3)
        assert {call.status for call in well.sandbox.klaviyo.calls.all()} == {200}
        assert len(self.calls(well)) == 5 * 4

    def test_two_at_once_look_once_and_get_the_same(self, well: World) -> None:
        well.clock.advance(60)
        well.sandbox.klaviyo.calls.clear()
        well.sandbox.klaviyo.fail(1, match="GET /api/accounts", kind="slow", seconds=0.3)
        services = replace(well.services, sleep=lambda _: time.sleep(0.02))
        tenant, start = well.read(), threading.Barrier(4)

        def one(_: int) -> dict[str, Any]:
            start.wait(timeout=60)
            return status(tenant, services)

        with ThreadPoolExecutor(4) as pool:
            reports = list(pool.map(one, range(4)))
        assert all(report == reports[0] for report in reports)
        assert len(self.calls(well)) == 4

    def test_while_another_looks_the_report_before_is_given(self, well: World) -> None:
        before = look(well)
        well.clock.advance(300)
        assert well.services.leases.acquire(f"status {TENANT}", lasting=LEASE) is not None
        assert status(well.read(), well.services) == before

    def test_while_another_makes_the_first_one_it_is_waited_for_but_not_for_ever(self, well: World) -> None:
        well.services.leases.acquire(f"status {TENANT}", lasting=LEASE)
        well.clock.slept.clear()
        with pytest.raises(WaitError, match="another call is examining"):
            status(well.read(), well.services)
        assert sum(well.clock.slept) == PATIENCE_SECONDS

    def test_a_looker_that_died_is_not_waited_for_longer_than_its_lease(self, well: World) -> None:
        before = look(well)
        well.services.leases.acquire(f"status {TENANT}", lasting=LEASE)
        well.clock.advance(LEASE.total_seconds())
        assert status(well.read(), well.services)["checked_at"] > before["checked_at"]

    def test_a_look_that_fails_leaves_nobody_waiting(self, well: World) -> None:
        well.clock.advance(61)
        nobody = well.read().model_copy(update={"klaviyo": None, "omneo_token": None})
        with pytest.raises(AttributeError):
            status(nobody, well.services)
        well.clock.slept.clear()
        assert status(well.read(), well.services)["state"] == "ok"
        assert well.clock.slept == []


class TestRepair:
    @pytest.mark.parametrize(
        "happen", [story[0] for story in STORIES if story[-1]], ids=lambda happen: happen.__name__
    )
    def test_what_is_said_to_be_safe_is_mended_and_the_next_report_says_so(
        self, well: World, happen: Callable[[World], None]
    ) -> None:
        happen(well)
        assert any(finding["safe"] for finding in look(well)["findings"])
        assert repair(well.read(), well.services)
        settle(well, 4)
        report = status(well.read(), well.services)
        assert [finding for finding in report["findings"] if finding["safe"]] == []
        assert set(wrong(report)) <= {"omneo webhooks"}, "only what a person has to enable is left"
        assert well.dead_jobs() == []

    def test_everything_at_once_is_mended(self, well: World) -> None:
        for happen in (data_source_deleted, webhook_deleted, queue_paused):
            happen(well)
        assert len(wrong(look(well))) == 3
        repair(well.read(), well.services)
        settle(well, 4)
        assert wrong(status(well.read(), well.services)) == {}

    def test_where_nothing_is_wrong_it_makes_nothing_a_second_time(self, well: World) -> None:
        for _ in range(2):
            well.clock.advance(60)
            assert repair(well.read(), well.services)
            settle(well, 4)
        assert len(well.sandbox.klaviyo.data_sources(ACCOUNT)) == len(DATA_SOURCES)
        assert len(well.sandbox.klaviyo.webhooks(ACCOUNT)) == 1
        hooks = well.sandbox.omneo.webhooks(TENANT)
        assert len(hooks) == len(OMNEO_TRIGGERS)
        assert all(hook["is_active"] for hook in hooks)

    @pytest.mark.parametrize("happen", [disconnected, never_installed])
    def test_without_a_connected_account_nothing_is_done(
        self, well: World, happen: Callable[[World], None]
    ) -> None:
        happen(well)
        before = well.read()
        assert repair(before, well.services) == []
        assert well.read() == before

    def test_the_jobs_of_a_disconnected_account_go_on_waiting(self, well: World) -> None:
        disconnected(well)
        repair(well.read(), well.services)
        assert look(well)["queues"]["outbound"]["paused"] is True


def test_looking_changes_nothing(well: World) -> None:
    for happen in (data_source_deleted, webhook_disabled, omneo_webhook_deleted, queue_paused):
        happen(well)
    well.sandbox.klaviyo.calls.clear()
    well.sandbox.omneo.calls.clear()
    before = well.read()
    well.clock.advance(61)
    examine(before, well.services)
    assert well.read() == before
    assert {call.method for call in well.sandbox.klaviyo.calls.all()} == {"GET"}
    assert {call.method for call in well.sandbox.omneo.calls.all()} == {"GET"}
