"""`resync` and `reconcile`, as an operator gives them. The worker does its part whenever a command waits, and at no other time."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.tenants.commands import tenants
from deploy.tenants.resync import follow
from shared.audit import Audit
from shared.resync.rules.run import State
from shared.resync.runs import Resyncs
from shared.services import Services
from tests.support.commands import without_acts
from tests.support.resyncing import Whole, a_base, listed, opt_in, opt_out
from tests.support.syncing import IMPORT, SUBSCRIBE, UNSUBSCRIBE
from tests.support.world import ACCOUNT, TENANT, World

Command = Callable[..., Result]


@pytest.fixture
def shop(world: World) -> Iterator[Whole]:
    with a_base(world) as shop:
        shop.base(3, comms=opt_in(shop))
        shop.base(2, email="canary-o{n}@example.org", comms=opt_out(shop))
        shop.base(1, email="canary-u{n}@example.org", comms={"email_promo": True})
        yield shop


@pytest.fixture
def command(shop: Whole, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that gives a command; while it waits the worker does what is queued."""

    def sleep(seconds: float) -> None:
        shop.world.work(10)

    ours = partial(Services, clock=shop.world.clock, sleep=sleep)
    monkeypatch.setattr("deploy.tenants.running.Services", ours)

    def give(*words: str) -> Result:
        result = CliRunner().invoke(tenants, words, env=shop.world.environment)
        assert "canary" not in result.output
        return result

    return give


def text(result: Result) -> list[str]:
    """Return what was printed, but for the log of the worker, which shares the process here."""
    return [line for line in result.stdout.splitlines() if not line.startswith("{")]


def posted(shop: Whole) -> set[str]:
    """Return where in Klaviyo something was posted."""
    return {call.path for call in shop.klaviyo_calls() if call.method == "POST"}


def test_a_run_is_watched_to_its_end_and_told_of_so_that_a_person_can_read_it(command: Command) -> None:
    result = command("resync", TENANT)
    assert result.exit_code == 0
    lines = text(result)
    assert lines[0].startswith("resync: done  (run ")
    assert lines[1].startswith("6 of 6 profiles; ")
    assert "          6  profiles imported" in lines
    assert "          3  email: subscribe (fills_never_subscribed)" in lines
    assert "          2  email: unsubscribe (opt_out_of_never_subscribed)" in lines
    assert "          1  email: no consent date" in lines
    assert "What failed:" not in lines


def test_without_a_terminal_there_is_no_bar(command: Command) -> None:
    result = command("resync", TENANT, "--dry-run")
    assert without_acts(result.stderr)[0] == ""
    assert text(result)[0].startswith("resync (dry run, nothing was sent): done")


def test_without_a_terminal_a_long_run_says_a_line_every_half_a_minute(command: Command, shop: Whole) -> None:
    shop.klaviyo.fail(6, match="POST /api/profile-bulk-import-jobs", status=503)
    began = shop.world.clock()
    result = command("resync", TENANT)
    assert result.exit_code == 0
    said = [line for line in without_acts(result.stderr)[0].splitlines() if line]
    assert all(" of 6 profiles, " in line for line in said)
    lasted = (shop.world.clock() - began).total_seconds()
    assert 1 <= len(said) <= lasted // 30


def test_a_run_whose_account_is_disconnected_meanwhile_says_that_it_waits(
    shop: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    def waits(seconds: float) -> None:
        shop.world.clock.advance(31)
        if shop.world.read().is_connected:
            shop.world.disconnect()
        else:
            raise KeyboardInterrupt

    follow(shop.world.read(), shop.begin(), shop.world.services, waits)
    said = capsys.readouterr().err.splitlines()
    assert [
        line.endswith("waits: the Klaviyo account is disconnected, install the app again") for line in said
    ] == [True]


def test_a_run_is_told_of_as_json(command: Command) -> None:
    result = command("resync", TENANT, "--dry-run", "--json")
    told = json.loads(_json_text(result))
    assert (told["kind"], told["state"], told["dry_run"]) == ("resync", "done", True)
    assert (told["read"], told["total"]) == (6, 6)
    command("reconcile", TENANT)
    last = command("reconcile", TENANT, "--last", "--json")
    assert json.loads(_json_text(last))["kind"] == "reconcile"


def _json_text(result: Result) -> str:
    """Return the object printed over many lines, without the worker's log lines, which are an object each."""
    return result.stdout[result.stdout.index("{\n") :].partition("\n}")[0] + "\n}"


def test_failures_make_the_exit_status_1(command: Command, shop: Whole) -> None:
    shop.klaviyo.consent.unsupported_phone_prefixes = ["+7"]
    shop.base(1, email="canary-r{n}@example.org", mobile_phone_e164="+79123456789", comms=opt_in(shop, "sms"))
    result = command("resync", TENANT)
    assert result.exit_code == 1
    assert "          1  failed: Klaviyo refuses the consent for sms" in text(result)


def test_a_reconcile_writes_a_file_that_a_person_can_read(
    command: Command, shop: Whole, tmp_path: Path
) -> None:
    path = tmp_path / "drift.csv"
    result = command("reconcile", TENANT, "--file", str(path))
    assert result.exit_code == 0
    assert f"6 lines, one for each thing told of a profile: {path}" in result.stdout
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["profile"] for row in rows} == {row["id"] for row in shop.omneo.profiles(TENANT)}
    assert sorted(row["what"] for row in rows) == [
        "email: no consent date",
        *["email: subscribe (fills_never_subscribed)"] * 3,
        *["email: unsubscribe (opt_out_of_never_subscribed)"] * 2,
    ]
    assert shop.writes() == []
    again = command("reconcile", TENANT, "--last", "--file", str(path))
    assert text(again) == text(result)


def test_repair_mends_it(command: Command, shop: Whole) -> None:
    assert command("reconcile", TENANT, "--repair").exit_code == 0
    assert posted(shop) == {SUBSCRIBE, UNSUBSCRIBE}


def test_repair_also_syncs_whoever_omneo_changed_within_two_minutes_before_it(
    command: Command, shop: Whole
) -> None:
    ids = [row["id"] for row in shop.omneo.profiles(TENANT)]
    shop.change_quietly(ids[0], first_name="Janet")
    shop.world.clock.advance(60)
    shop.change_quietly(ids[1], first_name="Janet")
    shop.world.clock.advance(61)
    assert command("reconcile", TENANT, "--repair").exit_code == 0
    shop.sync()
    assert posted(shop) == {IMPORT, SUBSCRIBE, UNSUBSCRIBE}
    assert [body["attributes"]["external_id"] for body in shop.bodies(IMPORT)] == [ids[1]]


def test_a_run_that_has_failed_says_why_and_the_exit_status_is_1(command: Command, shop: Whole) -> None:
    listed(shop, shop.world)
    shop.klaviyo._account(ACCOUNT).lists.clear()
    result = command("resync", TENANT)
    assert result.exit_code == 1
    assert text(result)[0].startswith("resync: failed")
    assert "master_list_id" in text(result)[1]
    shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
    resumed = command("resync", TENANT, "--resume")
    assert (resumed.exit_code, text(resumed)[0]) == (0, text(result)[0].replace("failed", "done"))


def test_a_run_is_paused_resumed_and_cancelled(command: Command, shop: Whole) -> None:
    for order in ("--pause", "--resume", "--cancel"):
        result = command("resync", TENANT, order)
        assert (result.exit_code, result.stderr) == (1, "Error: No run is under way.\n")
    shop.begin()
    assert command("resync", TENANT, "--pause").stdout == "The run is paused.\n"
    assert command("resync", TENANT).stderr.startswith("Error: Another run is paused: ")
    resumed = command("resync", TENANT, "--resume")
    assert (resumed.exit_code, text(resumed)[1][:6]) == (0, "6 of 6")
    shop.begin()
    cancelled = command("resync", TENANT, "--cancel")
    assert (cancelled.exit_code, cancelled.stdout) == (0, "The run is cancelled.\n")


def test_the_audit_says_which_runs_an_operator_began_and_changed(command: Command, shop: Whole) -> None:
    for words in (
        ("resync", "--dry-run"),
        ("reconcile",),
        ("reconcile", "--last"),
        ("reconcile", "--repair"),
    ):
        assert command(words[0], TENANT, *words[1:]).exit_code == 0
        shop.world.clock.advance(1)
    begun = shop.begin().id
    for order in ("--pause", "--pause", "--resume", "--cancel"):
        command("resync", TENANT, order)
        shop.world.clock.advance(1)
    acts = Audit.of(shop.world.services).acts(TENANT)[::-1]
    assert {entry.by for entry in acts} == {"operator"}
    assert [(entry.act, entry.about.partition(" ")[0]) for entry in acts[:3]] == [
        ("run begun", "resync"),
        ("run begun", "reconcile"),
        ("run begun", "repair"),
    ]
    assert [(entry.act, entry.about) for entry in acts[3:]] == [
        ("run changed", f"{begun} paused"),
        ("run changed", f"{begun} running"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resync", TENANT, "--since", "yesterday"), "does not match the formats"),
        (("resync", TENANT, "--since", "2999-01-01"), "that time is still to come"),
        (("reconcile", TENANT, "--since", "2999-01-01T00:00:00+1100"), "that time is still to come"),
        (("reconcile", TENANT, "--last"), "There was none yet"),
        (("resync", "nobody"), "There is no such tenant"),
        (("resync", "No-body"), "There is no such tenant"),
        (("resync", TENANT, "--undated-opt-ins", "today"), "is not one of"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    command: Command, shop: Whole, words: tuple[str, ...], said: str
) -> None:
    result = command(*words)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert Resyncs.of(shop.world.services).under_way(TENANT) is None


def test_a_time_with_a_zone_is_taken_as_it_is_said(command: Command, shop: Whole) -> None:
    command("resync", TENANT, "--since", "2026-01-02T00:00:00+1100", "--dry-run")
    (run,) = Resyncs.of(shop.world.services)._all(TENANT)
    assert run.options.since is not None
    assert run.options.since.isoformat() == "2026-01-01T13:00:00+00:00"


def test_ctrl_c_ends_the_watching_and_not_the_run(shop: Whole) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    run = shop.begin()
    watched, to_the_end = follow(shop.world.read(), run, shop.world.services, interrupted)
    assert (watched.state, to_the_end) == (State.RUNNING, False)
    assert shop.end(run).state is State.DONE


def test_on_a_terminal_a_bar_shows_how_far_it_is_how_fast_and_what_failed(
    shop: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    run = shop.begin()
    follow(shop.world.read(), run, shop.world.services, lambda seconds: shop.world.work(10))
    shown = terminal.getvalue()
    assert "100%" in shown
    assert "a minute" in shown
    assert TENANT in shown
