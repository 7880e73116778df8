"""`traffic NAME` and `audit NAME`, run as processes: what an operator reads of a tenant's calls, and of who did what."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from shared.audit import Act, Audit
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import Traffic
from tests.support.world import TENANT, World

REPOSITORY = Path(__file__).parents[3]


def run(world: World, *args: str, given: str = "") -> tuple[int, list[str], str]:
    """Run a command; return its exit status, its lines and what it wrote of errors."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.tenants", *args],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **world.environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def shop(world: World) -> World:
    """Return a tenant whose calls of the last hours were accepted and refused; the real time is the world's."""
    world.live()
    world.tenant()
    for instance in ("one", "two"):
        counts = Traffic(lambda: world.services.documents, world.clock, lambda name=instance: name)  # type: ignore[misc]
        counts.count(TENANT, Row("metric", What.ACCEPTED, "Seen"), 1200)
        world.clock.advance(10)
        counts.count(TENANT, Row("metric", What.REFUSED, reason="401, x-omneo-secret is wrong"), 106)
    world.clock.advance(-20)
    return world


def test_a_small_table_and_the_refusals_below_it(shop: World) -> None:
    status, rows, _ = run(shop, "traffic", TENANT)
    assert status == 0
    assert [row.split("\t")[:7] for row in rows[:2]] == [
        ["metric", "", "0", "212", "0", "0", "0"],
        ["metric", "Seen", "2,400", "0", "0", "0", "0"],
    ]
    assert rows[2].startswith("refused\t212\tmetric\t401, x-omneo-secret is wrong\tlast 20")


def test_json_is_what_the_call_answers(shop: World) -> None:
    status, rows, _ = run(shop, "traffic", TENANT, "--since", "7d", "--json")
    told = json.loads("\n".join(rows))
    assert (status, told["tenant"]) == (0, TENANT)
    assert {target["metric"]: target["accepted"]["count"] for target in told["targets"]} == {
        "": 0,
        "Seen": 2400,
    }


def test_a_since_that_cannot_be_read_is_explained(shop: World) -> None:
    status, rows, error = run(shop, "traffic", TENANT, "--since", "lately")
    assert (status, rows) == (1, [])
    assert error == "Error: since must be like 24h, 7d, 2026-11-20 or 2026-11-20T08:00:00Z.\n"


def test_a_tenant_that_is_not_there_is_said_to(world: World) -> None:
    assert run(world, "traffic", "nobody")[0] == 1


def test_who_did_what_is_shown_newest_first(world: World) -> None:
    audit = Audit.of(world.services)
    audit.note(TENANT, Act.LINK_MADE, by="installation key 0a1b2c3d")
    world.clock.now += timedelta(seconds=1)
    audit.note(TENANT, Act.SETTINGS_CHANGED, by="operator", about="timezone")
    status, rows, _ = run(world, "audit", TENANT)
    assert status == 0
    assert [row.split("\t")[1:] for row in rows] == [
        ["settings changed", "operator", "timezone"],
        ["install link made", "installation key 0a1b2c3d", ""],
    ]
    told = json.loads("\n".join(run(world, "audit", TENANT, "--json")[1]))
    assert told[0] == {
        "at": world.clock.now.isoformat(),
        "act": "settings changed",
        "by": "operator",
        "about": "timezone",
    }


def test_what_commands_do_stands_in_the_audit(world: World) -> None:
    given = json.dumps({"omneo_token": "canary-token", "omneo_signing_secret": "canary-signing"})
    assert run(world, "create", "beta", given=given)[0] == 0
    assert run(world, "set", "beta", "timezone", given="Europe/Vienna")[0] == 0
    rows = run(world, "audit", "beta")[1]
    assert [row.split("\t")[1:] for row in rows] == [
        ["settings changed", "operator", "timezone"],
        ["tenant created", "operator", ""],
    ]
