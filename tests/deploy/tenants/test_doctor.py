"""`python -m deploy.tenants doctor`, run as a process beside a running Omneo, Klaviyo and queue: what it prints, and its exit status."""

import json
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.tenants.commands import tenants
from shared.admin.reports import StatusReports
from shared.direction import Direction
from shared.installation.provision import start_provision
from shared.installation.uninstall import DATA_SOURCES_STAY
from shared.services import Services
from shared.settings import Settings
from shared.tenants.tenants import Tenant
from tests.support.commands import run_command
from tests.support.merchant import settle
from tests.support.world import ACCOUNT, EVERYTHING, TENANT, World

REPOSITORY = Path(__file__).parents[3]
LINE = re.compile(r"(ok {6}|warning |CRITICAL)  [a-z -]+: \S.*\.|          \S.*")
REPAIRED = "The queues were made and let run.\nA job that makes what is missing was started.\n"


@dataclass
class Result:
    """What a command came to."""

    status: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "canary" not in self.out + self.err, "a secret was shown"
        assert "Traceback" not in self.err, "the operator got a traceback"

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def doctor(world: World, *args: str, **changes: str) -> Result:
    """Run the command a minute later: Klaviyo limits how often its webhooks may be looked at."""
    world.clock.advance(60)
    given = {"PATH": os.environ["PATH"], **world.environment, **changes}
    done = run_command("doctor", *args, environment=given)
    return Result(done.status, done.out, done.err)


@pytest.fixture
def shop(world: World) -> World:
    """Return a world in which a tenant is installed; its Omneo webhooks wait for a person to enable them."""
    world.tenant()
    start_provision(world.read(), world.services)
    settle(world, 4)
    return world


def disconnected(tenant: Tenant) -> Tenant:
    assert tenant.klaviyo is not None
    gone = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
    return tenant.model_copy(update={"klaviyo": gone})


def test_every_check_is_a_line_and_what_mends_it_stands_below(shop: World) -> None:
    result = doctor(shop, TENANT)
    assert (result.status, result.err) == (0, "")
    assert all(LINE.fullmatch(line) for line in result.lines)
    assert f"ok        klaviyo: Connected to Klaviyo account {ACCOUNT}; its token works." in result.lines
    assert "ok        scopes: Every permission is granted." in result.lines
    assert "ok        outbound queue: 0 jobs wait." in result.lines
    at = result.lines.index(
        "warning   omneo webhooks: Made, but not enabled: profile.created, profile.updated, profile.deleted."
    )
    assert result.lines[at + 1] == "          Enable them in CX Manager when profiles should be synced."
    assert "\x1b" not in result.out, "no colours where nobody sees them"


def test_the_report_is_told_as_json(shop: World) -> None:
    shop.services.queue.pause(shop.read(), Direction.OUTBOUND)
    result = doctor(shop, TENANT, "--json")
    assert (result.status, result.err) == (1, "")
    told = json.loads(result.out)
    assert (told["state"], told["repaired"]) == ("critical", [])
    assert any(finding["check"] == "outbound queue" for finding in told["findings"])


def test_a_warning_is_exit_status_0_and_something_critical_is_1(shop: World) -> None:
    shop.services.queue.pause(shop.read(), Direction.OUTBOUND)
    result = doctor(shop, TENANT)
    assert (result.status, result.err) == (1, "")
    at = result.lines.index("CRITICAL  outbound queue: The queue is paused.")
    assert result.lines[at + 1] == "          Run the repair: it makes what is missing."


def test_repair_mends_looks_again_and_exits_by_what_it_finds_then(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so that the worker does its part while the command waits."""

    def sleep(_seconds: float) -> None:
        shop.work(10)

    monkeypatch.setattr("deploy.tenants.running.Services", partial(Services, clock=shop.clock, sleep=sleep))
    shop.services.queue.pause(shop.read(), Direction.OUTBOUND)
    shop.sandbox.klaviyo._account(ACCOUNT).webhooks.clear()
    shop.clock.advance(60)
    mended = CliRunner().invoke(tenants, ["doctor", TENANT, "--repair"], env=shop.environment)
    before, after = mended.stdout.split(REPAIRED)
    assert "CRITICAL  outbound queue: The queue is paused." in before
    assert "CRITICAL" not in after
    assert "ok        outbound queue: 0 jobs wait." in after
    assert mended.exit_code == 0
    shop.services.queue.pause(shop.read(), Direction.OUTBOUND)
    shop.sandbox.klaviyo.fail(100, match="GET /api/accounts", status=403, body={"errors": [{"code": "x"}]})
    shop.clock.advance(60)
    still = CliRunner().invoke(tenants, ["doctor", TENANT, "--repair"], env=shop.environment)
    assert "CRITICAL" in still.stdout.split(REPAIRED)[1]
    assert still.exit_code == 1


def test_where_a_person_has_to_act_repair_says_so_and_is_exit_status_1(shop: World) -> None:
    shop.services.tenants.change(TENANT, disconnected)
    before = shop.read()
    result = doctor(shop, TENANT, "--repair")
    assert (result.status, result.err) == (1, "")
    assert result.lines[-1] == "Nothing can be repaired from here: install the app again."
    assert shop.read() == before


def test_the_paused_queue_of_a_disconnected_tenant_is_not_well(shop: World) -> None:
    shop.services.tenants.change(TENANT, disconnected)
    shop.services.queue.pause(shop.read(), Direction.OUTBOUND)
    result = doctor(shop, TENANT)
    paused = "warning   outbound queue: The queue is paused while the account is disconnected; 0 jobs wait."
    assert paused in result.lines


def test_a_tenant_that_was_never_installed_is_not_told_to_install_again(world: World) -> None:
    world.tenant(installed=False)
    result = doctor(world, TENANT)
    assert result.status == 1
    at = result.lines.index(
        "CRITICAL  klaviyo: The app has never been installed: no Klaviyo account is connected, and calls are refused."
    )
    assert result.lines[at + 1].startswith("          Make an install link")
    assert "again" not in result.out


def test_it_looks_afresh_and_its_report_is_what_status_shows(shop: World) -> None:
    settings = Settings.from_env(shop.environment, EVERYTHING)
    reports = StatusReports.of(Services(settings))
    for expected in ("ok", "critical"):
        doctor(shop, TENANT)
        report = reports.last(TENANT)
        assert report is not None
        (queue,) = [row for row in report["findings"] if row["check"] == "outbound queue"]
        assert queue["severity"] == expected
        shop.services.queue.pause(shop.read(), Direction.OUTBOUND)


def test_services_that_are_down_are_findings_and_no_failure_of_the_command(shop: World) -> None:
    shop.sandbox.klaviyo.fail(100, status=503)
    shop.sandbox.omneo.fail(100, kind="reset")
    result = doctor(shop, TENANT)
    assert (result.status, result.err) == (1, "")
    assert all(LINE.fullmatch(line) for line in result.lines)
    assert any(line.startswith("CRITICAL  klaviyo: Klaviyo cannot be called: ") for line in result.lines)
    assert any(line.startswith("CRITICAL  omneo token: Omneo cannot be called: ") for line in result.lines)


def test_what_the_last_uninstall_left_is_told(shop: World) -> None:
    def edit(tenant: Tenant) -> Tenant:
        return tenant.model_copy(update={"klaviyo": None, "left_behind": (DATA_SOURCES_STAY,)})

    shop.services.tenants.change(TENANT, edit)
    result = doctor(shop, TENANT)
    assert result.status == 1
    assert result.lines[-1] == f"          Left behind: {DATA_SOURCES_STAY}"
    assert any("The app has been uninstalled" in line for line in result.lines)


@pytest.mark.parametrize("name", ["nobody", "a/b"])
def test_a_tenant_that_does_not_exist_is_said_to(shop: World, name: str) -> None:
    assert doctor(shop, name) == Result(1, "", "Error: There is no such tenant. `list` shows all tenants.\n")


def test_everything_that_the_environment_lacks_is_named(shop: World) -> None:
    result = doctor(
        shop,
        TENANT,
        STORE="canary",
        EXTENSION_URL="",
        KLAVIYO_CLIENT_SECRET="",
        CLOUD_TASKS_EMULATOR_HOST="x",
    )
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error: The environment needs attention:\n")
    for name in ("STORE", "EXTENSION_URL", "KLAVIYO_CLIENT_SECRET", "CLOUD_TASKS_EMULATOR_HOST"):
        assert f"  {name} " in result.err


def test_looking_needs_less_of_the_environment_than_mending(shop: World) -> None:
    assert doctor(shop, TENANT, OUTBOUND_WORKER_URL="").status == 0
    result = doctor(shop, TENANT, "--repair", OUTBOUND_WORKER_URL="")
    assert result.status == 1
    assert "OUTBOUND_WORKER_URL is not set" in result.err
    assert "ok        scopes: Every permission is granted." in result.lines


def test_an_argument_too_many_is_a_usage_error_and_not_repeated(shop: World) -> None:
    result = doctor(shop, TENANT, "canary-secret")
    assert (result.status, result.out) == (2, "")


def test_it_explains_itself(world: World) -> None:
    result = doctor(world, "--help")
    assert result.status == 0
    assert "--repair" in result.out


def test_readdress_gives_every_connected_tenant_the_new_address_and_says_how_far_it_is(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_seconds: float) -> None:
        shop.work(10)

    monkeypatch.setattr("deploy.tenants.running.Services", partial(Services, clock=shop.clock, sleep=sleep))
    shop.clock.advance(60)
    result = CliRunner().invoke(tenants, ["readdress"], env=shop.environment)
    assert (result.exit_code, result.stdout) == (0, f"1 of 1  {TENANT}: done\n")
    shop.sandbox.klaviyo.fail(100, match="GET /api/webhooks", status=403, body={"errors": [{"code": "x"}]})
    shop.clock.advance(60)
    refused = CliRunner().invoke(tenants, ["readdress"], env=shop.environment)
    assert refused.exit_code == 1
    assert f"1 of 1  {TENANT}: " in refused.stdout
    shop.services.tenants.change(TENANT, disconnected)
    nobody = CliRunner().invoke(tenants, ["readdress"], env=shop.environment)
    assert (nobody.exit_code, nobody.stdout) == (0, "")
