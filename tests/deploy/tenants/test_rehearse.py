"""`python -m deploy.tenants rehearse`: whom it refuses, when it asks, what it prints, and its exit status."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.rehearsal.answers import read_answers
from deploy.rehearsal.assumption import Answer, Trial, holds
from deploy.rehearsal.assumptions.table import ASSUMPTIONS, BY_NAME
from deploy.rehearsal.stage import Stage
from deploy.tenants.commands import tenants
from shared.audit import Act, Audit
from shared.services import Services
from tests.deploy.rehearsal.stages import CUSTOMER, KLAVIYO_ID, TWIN, Twin, a_twin
from tests.support.commands import run_command
from tests.support.mortal import KilledError
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
        ((TWIN, "--profile", "0191f7e2-0000-7000-8000-0000000000ff", *READS), "Omneo has no such profile"),
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


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_called(
    twin: Twin, rehearse: Rehearse, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("canary")
    for option in ("--report", "--record"):
        done = rehearse(TWIN, *PROFILE, *READS, option, str(tmp_path / "file" / "answers"))
        assert (done.exit_code, "nothing can be written into this folder" in done.stderr) == (2, True)
    assert twin.world.sandbox.omneo.calls.all() == []


def test_answers_and_a_report_have_a_folder_each(twin: Twin, rehearse: Rehearse, tmp_path: Path) -> None:
    folder = str(tmp_path / "one")
    done = rehearse(TWIN, *PROFILE, *READS, "--report", folder, "--record", folder)
    assert (done.exit_code, "another folder than that of --report" in done.stderr) == (2, True)
    assert rehearse(TWIN, *PROFILE, *READS, "--report", folder).exit_code == 0
    done = rehearse(TWIN, *PROFILE, *READS, "--record", folder)
    assert (done.exit_code, "JSON that is no recorded answer" in done.stderr) == (2, True)


def test_who_deletes_a_tenant_is_told_of_what_a_killed_rehearsal_has_left(
    twin: Twin, rehearse: Rehearse
) -> None:
    twin.world.sandbox.klaviyo.fail(100, match="DELETE /api/data-sources/*", status=503)
    rehearse(TWIN, *PROFILE, *WRITES, "--yes")
    told = "may have left 1 test objects, whose names begin with omneo-rehearsal"
    assert told in CliRunner().invoke(tenants, ["delete", TWIN], env=twin.world.environment).stderr
    twin.world.sandbox.klaviyo.fail(0)
    rehearse(TWIN, *PROFILE, *READS)
    assert told not in CliRunner().invoke(tenants, ["delete", TWIN], env=twin.world.environment).stderr


def test_it_runs_as_a_process(twin: Twin) -> None:
    twin.world.live()
    done = run_command("rehearse", TWIN, *PROFILE, *READS, environment=twin.world.environment)
    assert (done.status, done.acts) == (0, ("rehearsal begun",))
    assert "canary" not in done.out + done.err


class TestRecord:
    def test_every_form_of_an_answer_is_kept_once_and_without_a_true_value(
        self, twin: Twin, rehearse: Rehearse, tmp_path: Path
    ) -> None:
        folder = tmp_path / "answers"
        words = (TWIN, *PROFILE, *READS, *WRITES, "--yes", "--record", str(folder))
        assert rehearse(*words).exit_code == 0
        first = sorted(folder.rglob("*.json"))
        assert {path.parent.name for path in first} == {"klaviyo", "omneo"}
        assert len(read_answers(folder)) == len(first) > 5
        told = "".join(path.read_text() for path in first)
        for true in (CUSTOMER, KLAVIYO_ID, TWIN, "omneo-rehearsal", twin.world.sandbox.klaviyo.url):
            assert true not in told
        twin.world.clock.advance(60)
        assert rehearse(*words).exit_code == 0
        assert sorted(folder.rglob("*.json")) == first

    def test_what_a_rehearsal_that_breaks_off_has_heard_is_kept(
        self, twin: Twin, rehearse: Rehearse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def breaks(stage: Stage) -> Answer:
            stage.klaviyo.account()
            raise KilledError("now")

        row = next(row for row in ASSUMPTIONS if row.name == "empty-list-is-200")
        monkeypatch.setitem(BY_NAME, row.name, replace(row, tried=Trial(breaks, writes=False)))
        rows = tuple(BY_NAME[one.name] for one in ASSUMPTIONS)
        monkeypatch.setattr("deploy.rehearsal.assumptions.table.ASSUMPTIONS", rows)
        with pytest.raises(KilledError):
            rehearse(TWIN, *PROFILE, "--only", row.name, "--record", str(tmp_path), given=None)
        assert "GET /api/accounts" in {answer.operation for answer in read_answers(tmp_path)}


class TestRevision:
    NEXT = "2027-01-15"

    def test_where_nothing_differs_that_is_said(self, twin: Twin, rehearse: Rehearse) -> None:
        done = rehearse(TWIN, *PROFILE, *READS, "--revision", self.NEXT)
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-1] == (
            "Under revision 2027-01-15 every answer has the form that it has under the usual one."
        )

    def test_what_differs_is_told_operation_by_operation(
        self, twin: Twin, rehearse: Rehearse, tmp_path: Path
    ) -> None:
        klaviyo = twin.world.sandbox.klaviyo
        klaviyo.differ(self.NEXT, "POST /api/data-sources", fields={"visibility": "access", "links": ""})
        klaviyo.differ(self.NEXT, "GET /api/accounts", headers={"RateLimit-Limit": "X-Klaviyo-Limit"})
        words = (*WRITES, "--only", "answers-carry-limits", "--yes", "--report", str(tmp_path))
        done = rehearse(TWIN, *PROFILE, *words, "--revision", self.NEXT)
        assert done.exit_code == 1  # a header that the rehearsal looks for is missing
        told = done.stdout.splitlines()
        assert told[told.index("Under revision 2027-01-15:") + 1 : -1] == [
            "answers-carry-limits: holds became does not hold",
            "Klaviyo GET /api/accounts: 200, header ratelimit-limit: ratelimit-limit became nothing",
            "Klaviyo GET /api/accounts: 200, header x-klaviyo-limit: nothing became x-klaviyo-limit",
            "Klaviyo POST /api/data-sources: 201, body data.attributes.access: nothing became string",
            "Klaviyo POST /api/data-sources: 201, body data.attributes.visibility: string became nothing",
            "Klaviyo POST /api/data-sources: 201, body data.links: object became nothing",
            "Klaviyo POST /api/data-sources: 201, body links: object became nothing",
            "Klaviyo POST /api/data-sources: 409 duplicate, body errors[].links: object became nothing",
        ]
        page = (tmp_path / "revision.md").read_text()
        assert "- `Klaviyo POST /api/data-sources: 201, body data.links: object became nothing`" in page
        kept = json.loads((tmp_path / "revision.json").read_text())
        assert kept["other"]["verdicts"][0]["name"] == "answers-carry-limits"

    def test_a_refusal_that_is_new_is_told_with_its_code(self, twin: Twin, rehearse: Rehearse) -> None:
        twin.world.sandbox.klaviyo.differ(self.NEXT, "POST /api/data-sources", refused="unknown_field")
        done = rehearse(TWIN, *PROFILE, *WRITES, "--yes", "--json", "--revision", self.NEXT)
        assert done.exit_code == 0  # it could not be tried
        other = json.loads(done.stdout)["other_revision"]
        assert other["verdicts"] == [
            {"name": "taken-title-is-refused", "usual": "holds", "here": "could not be tried"}
        ]
        assert other["differences"] == [
            {
                "operation": "Klaviyo POST /api/data-sources",
                "place": "answers",
                "usual": "201, 409 duplicate",
                "here": "400 unknown_field",
            }
        ]
        assert twin.leftovers() == []

    def test_a_run_under_it_that_breaks_off_leaves_the_report_of_the_first_and_no_verdict_to_resume(
        self, twin: Twin, rehearse: Rehearse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        klaviyo = twin.world.sandbox.klaviyo
        klaviyo.differ(self.NEXT, "GET /api/accounts", headers={"RateLimit-Limit": "X-Klaviyo-Limit"})

        def breaks_under_the_next(stage: Stage) -> Answer:
            if stage.services.settings.klaviyo_revision == self.NEXT:
                raise KilledError("now")
            return holds()

        row = replace(BY_NAME["answers-carry-request-id"], tried=Trial(breaks_under_the_next, writes=False))
        rows = tuple(row if one.name == row.name else one for one in ASSUMPTIONS)
        monkeypatch.setattr("deploy.rehearsal.assumptions.table.ASSUMPTIONS", rows)
        only = ("--only", "answers-carry-limits", "--only", row.name)
        with pytest.raises(KilledError):
            rehearse(TWIN, *PROFILE, *only, "--report", str(tmp_path), "--revision", self.NEXT)
        kept = json.loads((tmp_path / "rehearsal.json").read_text())
        assert [one["verdict"] for one in kept["results"]] == ["holds", "holds"]
        resumed = rehearse(TWIN, *PROFILE, "--only", "answers-carry-limits", "--resume")
        assert "holds               answers-carry-limits\n" in resumed.stdout

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--revision", "soon"), "name another revision"), (("--revision", "2026-10-15"), "name another revision"),
            (("--revision", "20270115"), "name another revision"), (("--revision", "2027-01-15", "--resume"), "without --resume"),
        ],
    )  # fmt: skip
    def test_what_is_no_other_revision_is_refused(
        self, rehearse: Rehearse, words: tuple[str, ...], told: str
    ) -> None:
        done = rehearse(TWIN, *PROFILE, *READS, *words)
        assert (done.exit_code, told in done.stderr) == (2, True)
