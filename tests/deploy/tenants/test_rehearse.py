"""`python -m deploy.tenants rehearse`: whom it refuses, when it asks, what it prints, and its exit status."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.tenants.commands import tenants
from shared.audit import Act, Audit
from shared.services import Services
from tests.deploy.rehearsal.stages import CUSTOMER, TWIN, Twin, a_twin
from tests.support.commands import run_command
from tests.support.world import TENANT, World

READS = ("--only", "empty-list-is-200", "--only", "token-exp-in-unix-seconds")
WRITES = ("--only", "taken-title-is-refused")
PROFILE = ("--profile", CUSTOMER)

Rehearse = Callable[..., Result]


@pytest.fixture
def twin(world: World) -> Twin:
    return a_twin(world)


@pytest.fixture
def rehearse(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> Rehearse:
    """Return the command, in this process and on the world's clock; `given` is typed on a terminal, None is no terminal."""
    clock = twin.world.clock
    monkeypatch.setattr("deploy.tenants.running.Services", partial(Services, clock=clock, sleep=clock.sleep))

    def run(*words: str, given: str | None = None) -> Result:
        monkeypatch.setattr("deploy.tenants.rehearse.is_terminal", lambda: given is not None)
        return CliRunner().invoke(tenants, ["rehearse", *words], env=twin.world.environment, input=given)

    return run


def test_what_only_reads_is_not_asked_about_and_told_line_by_line(twin: Twin, rehearse: Rehearse) -> None:
    done = rehearse(TWIN, *PROFILE, *READS)
    assert (done.exit_code, done.stdout) == (
        0,
        "holds               token-exp-in-unix-seconds\n"
        "holds               empty-list-is-200\n"
        "2 holds, 0 does not hold, 0 could not be tried.\n",
    )
    (entry,) = [row for row in Audit.of(twin.world.services).acts(TWIN) if row.act == Act.REHEARSED]
    assert entry.by == "operator"


def test_what_does_not_hold_is_exit_status_1(twin: Twin, rehearse: Rehearse) -> None:
    twin.otherwise("empty-list-is-200")
    done = rehearse(TWIN, *PROFILE, *READS)
    assert done.exit_code == 1
    assert "does not hold       empty-list-is-200: a list that finds nobody is no 200\n" in done.stdout


def test_what_could_not_be_tried_is_no_failure_and_says_what_to_do(twin: Twin, rehearse: Rehearse) -> None:
    done = rehearse(TWIN, *PROFILE, "--only", "targets-are-signed")
    assert done.exit_code == 0
    assert "could not be tried  targets-are-signed: Omneo calls a target when" in done.stdout
    assert "By hand: Point a reaction at an address" in done.stdout


def test_before_it_makes_anything_it_asks(twin: Twin, rehearse: Rehearse) -> None:
    refused = rehearse(TWIN, *PROFILE, *WRITES, given="n\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "Make test objects for 1 checks in the Klaviyo account and the Omneo of acme-stg" in refused.stderr
    assert [call for call in twin.world.sandbox.klaviyo.calls.all() if call.method == "POST"] == []
    assert rehearse(TWIN, *PROFILE, *WRITES, given="y\n").exit_code == 0
    assert twin.leftovers() == []


def test_where_nobody_can_be_asked_it_makes_nothing_without_yes(twin: Twin, rehearse: Rehearse) -> None:
    refused = rehearse(TWIN, *PROFILE, *WRITES)
    assert (refused.exit_code, "Give --yes to do it without being asked." in refused.stderr) == (2, True)
    assert rehearse(TWIN, *PROFILE, *WRITES, "--yes").exit_code == 0


def test_a_tenant_that_is_no_twin_is_refused_unless_production_is_meant(
    twin: Twin, rehearse: Rehearse
) -> None:
    twin.world.tenant(TENANT)
    twin.world.sandbox.omneo.profile(TENANT, id=CUSTOMER, email="canary-customer@example.org")
    refused = rehearse(TENANT, *PROFILE, *READS)
    assert (refused.exit_code, "is no staging twin" in refused.stderr) == (2, True)
    assert rehearse(TENANT, *PROFILE, *READS, "--production").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((TWIN, *PROFILE, "--only", "nothing-of-the-kind"), "1 of these names are not known"),
        ((TWIN, *READS), "Missing option '--profile'"),
        ((TWIN, *PROFILE, *READS, "--domain", "not a domain"), "name a domain"),
    ],
)
def test_a_word_that_cannot_be_is_exit_status_2(
    rehearse: Rehearse, words: tuple[str, ...], said: str
) -> None:
    done = rehearse(*words)
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_a_tenant_that_is_not_connected_cannot_be_rehearsed_on(twin: Twin, rehearse: Rehearse) -> None:
    twin.world.disconnect(TWIN)
    done = rehearse(TWIN, *PROFILE, *READS)
    assert (done.exit_code, "install the app first" in done.stderr) == (2, True)


def test_the_report_is_two_files_and_json_is_for_programs(
    twin: Twin, rehearse: Rehearse, tmp_path: Path
) -> None:
    done = rehearse(TWIN, *PROFILE, *READS, "--report", str(tmp_path / "answers"), "--json")
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "answers/rehearsal.json").read_text())
    assert (told["tenant"], told["revision"], told["left_behind"]) == (TWIN, "2026-10-15", [])
    assert [(row["name"], row["verdict"]) for row in told["results"]] == [
        ("token-exp-in-unix-seconds", "holds"),
        ("empty-list-is-200", "holds"),
    ]
    assert (
        "| [empty-list-is-200](#empty-list-is-200) | holds |  |"
        in (tmp_path / "answers/rehearsal.md").read_text()
    )


def test_it_runs_as_a_process(twin: Twin) -> None:
    twin.world.live()
    done = run_command("rehearse", TWIN, *PROFILE, *READS, environment=twin.world.environment)
    assert (done.status, done.acts) == (0, ("rehearsal begun",))
    assert "canary" not in done.out + done.err
