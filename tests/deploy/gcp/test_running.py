"""How the scripts run a command: what they repeat and for how long, what counts as done, and how they end.

A stand-in plays gcloud here: it ends as it is told, try by try. Each test is tried in the installed bash, and in bash 3.2 where
BASH_32 names one.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.staging import REPOSITORY
from tests.deploy.gcp.gcloud import needed

PATIENCE = 120  # seconds for what takes a second where nothing else runs
_SHELLS = ["bash", *filter(None, [os.environ.get("BASH_32")])]
_GCLOUD = """#!/bin/bash
echo "$*" >>"$TMPDIR/called"
tries=$(wc -l <"$TMPDIR/called")
answer=$TMPDIR/answer-$((tries))
[ -e "$answer" ] || exit 0
. "$answer"
"""
_SLEEP = '#!/bin/bash\necho "$1" >>"$TMPDIR/slept"\n'
_SCRIPT = """#!/usr/bin/env bash
set -euo pipefail
ROOT={root}
. "$ROOT/deploy/gcp/running.sh"
step try
{body}
"""


@dataclass
class Ended:
    status: int
    said: str
    called: int
    slept: int


@dataclass
class Shell:
    """Runs the lines of a script after running.sh, as an operator's shell does."""

    bash: str
    folder: Path

    def runs(self, body: str, *answers: str, **variables: str) -> Ended:
        """`answers` say what gcloud does at its first, second, ... call; after them it succeeds."""
        with self.begins(body, *answers, **variables) as running:
            said, _ = running.communicate(timeout=PATIENCE)
        return Ended(running.returncode, said, len(self.lines("called")), sum(map(int, self.lines("slept"))))

    @contextmanager
    def begins(self, body: str, *answers: str, **variables: str) -> "Iterator[subprocess.Popen[str]]":
        """Start the same, in a process group of its own, as a terminal does."""
        for number, answer in enumerate(answers, 1):
            (self.folder / f"answer-{number}").write_text(answer)
        script = self.folder / "script.sh"
        script.write_text(_SCRIPT.format(root=REPOSITORY, body=body))
        running = subprocess.Popen(
            [self.bash, str(script)],
            env={
                "PATH": f"{self.folder}:/usr/bin:/bin",
                "TMPDIR": str(self.folder),
                "PROJECT": "demo-project",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        with running:
            try:
                yield running
            finally:
                if running.poll() is None:
                    os.killpg(running.pid, signal.SIGKILL)

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(params=_SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    bash = needed(request.param)
    for name, text in (("gcloud", _GCLOUD), ("sleep", _SLEEP)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    yield Shell(bash, tmp_path)
    assert not list(
        tmp_path.glob("tmp.*")
    )  # whatever happened, the folder through which secrets pass is gone


def refuses(text: str, status: int = 1) -> str:
    return f"echo 'ERROR: (gcloud.x) {text}' >&2; exit {status}"


CREATE = "change 'thing: making it' gcloud things create x"


@pytest.mark.parametrize(
    "body", ["false", "fail 'no'", "gone() { false; }; gone", "gone() { (exit 7); }; gone", "echo $UNSET"]
)
def test_what_fails_ends_the_script_with_a_status_of_its_own(shell: Shell, body: str) -> None:
    ended = shell.runs(f"{body}\necho 'not reached'")
    assert ended.status != 0
    assert "not reached" not in ended.said


def test_what_succeeds_ends_with_zero(shell: Shell) -> None:
    assert shell.runs(CREATE).status == 0


@pytest.mark.parametrize(
    "refusal",
    [
        "INVALID_ARGUMENT: no such field",
        "PERMISSION_DENIED: you may not",
        "Quota '\"'\"'BACKEND_SERVICES'\"'\"' exceeded.  Limit: 5.0 globally.",
        "NOT_FOUND: no such project",
        "Invalid value for field '\"'\"'resource.ports'\"'\"'",
        "Required '\"'\"'compute.addresses.create'\"'\"' permission for project",
        "FAILED_PRECONDITION: Constraint constraints/run.allowedIngress violated",
        "FAILED_PRECONDITION: Billing account for project is not found",
    ],
)
def test_a_refusal_that_stays_is_not_repeated(shell: Shell, refusal: str) -> None:
    ended = shell.runs(CREATE, refuses(refusal))
    assert (ended.status, ended.called) == (1, 1)


def test_arguments_that_gcloud_does_not_know_are_not_repeated(shell: Shell) -> None:
    assert shell.runs(CREATE, refuses("whatever", status=2)).called == 1


@pytest.mark.parametrize(
    ("refusal", "cause", "least"),
    [
        ("NOT_FOUND: Cannot find metric that matches type x", "Monitoring to know a metric", 600),
        ("INVALID_ARGUMENT: Service account x does not exist.", "IAM to know an account", 300),
        ("NOT_FOUND: The database (default) does not exist for project x", "the database to be made", 300),
        (
            "INVALID_ARGUMENT: Database ID x is not available in project p. Please retry in 9 seconds.",
            "Firestore to free the name",
            300,
        ),
        ("UNAVAILABLE: try again", "Google to answer", 60),
    ],
)
def test_what_passes_is_waited_for_by_name_and_as_long_as_google_documents(
    shell: Shell, refusal: str, cause: str, least: int
) -> None:
    ended = shell.runs(CREATE, *[refuses(refusal)] * 60)
    assert ended.status == 1
    assert f"waiting for {cause}" in ended.said
    assert least <= ended.slept <= least + 360
    assert ended.called > 1


def test_one_of_our_own_accounts_that_may_not_is_waited_for_only_after_this_run_gave_it_a_right(
    shell: Shell,
) -> None:
    refusal = refuses("PERMISSION_DENIED: deployment@demo-project.iam.gserviceaccount.com may not build")
    assert shell.runs(CREATE, refusal).called == 1
    (shell.folder / "called").unlink()
    assert shell.runs(f': >"$WORK/access-given"\n{CREATE}', refusal).status == 0


def test_what_is_there_when_its_making_is_repeated_is_done(shell: Shell) -> None:
    ended = shell.runs(CREATE, refuses("UNAVAILABLE: no answer"), refuses("ALREADY_EXISTS: x already exists"))
    assert (ended.status, ended.called) == (0, 2)


def test_what_is_gone_when_its_removal_is_repeated_is_done(shell: Shell) -> None:
    remove = "change 'thing goes' gcloud things delete x"
    assert shell.runs(remove, refuses("UNAVAILABLE: no answer"), refuses("NOT_FOUND: x")).status == 0


def test_half_a_list_of_a_try_that_failed_is_not_kept(shell: Shell) -> None:
    half = "echo one; " + refuses("UNAVAILABLE: broke off")
    ended = shell.runs('observe found gcloud things list\ncat "$WORK/found"', half, "echo one; echo two")
    assert [line for line in ended.said.splitlines() if line in {"one", "two"}] == ["one", "two"]
    assert ended.status == 0


_SECRETS = '. "$ROOT/deploy/gcp/steps/secrets.sh"\nDRY_RUN=\n'


def test_of_two_first_runs_the_older_value_holds_for_both(shell: Shell) -> None:
    ended = shell.runs(_SECRETS + 'agree_on_first keys\ncat "$WORK/version-keys"', "echo 3; echo 4")
    assert ended.said.splitlines()[-1] == "3"
    assert "versions destroy 4 --secret=keys" in shell.lines("called")[-1]
    assert ended.called == 2


@pytest.mark.parametrize("given", ["canary-value", "canary-value\n", "canary-value\r\n"])
def test_a_line_break_at_the_end_makes_no_other_value(shell: Shell, given: str) -> None:
    body = _SECRETS + "first_value SECRET\nrenew secret SECRET"
    ended = shell.runs(body, "echo canary-value", SECRET=given)
    assert "the environment gives the same value" in ended.said
    assert ended.called == 1
    assert "canary-value\n" not in ended.said


_FRONT = """
. "$ROOT/deploy/gcp/steps/removal.sh"
: >"$WORK/found"
printf 'extension\\t%s\\nextension-redirect\\t%s\\n' "$MAPS" "$MAPS" >"$WORK/maps-found"
printf 'extension\\textension\\t203.0.113.7\\nextension-redirect\\textension-redirect\\t203.0.113.7\\n' >"$WORK/rules"
printf 'extension\\tmap\\textension\\n' >"$WORK/https-proxies"
printf 'extension-redirect\\textension-redirect\\n' >"$WORK/http-proxies"
printf 'extension\\t203.0.113.7\\t%s\\n' "$SAYS" >"$WORK/addresses"
printf 'extension\\t%s\\n' "$SAYS" >"$WORK/tls"
list_front
cut -f1 "$WORK/found"
"""
_KINDS = {"url-map", "forwarding-rule", "https-proxy", "http-proxy", "address", "ssl-policy"}


@pytest.mark.parametrize(
    ("maps", "says", "ours"),
    [
        ("0123456789abcdef0123", "omneo-klaviyo-extension", _KINDS),
        ("0123456789abcdef0123", "", _KINDS),  # an earlier version said nothing
        ("theirs", "", set()),
        ("theirs", "omneo-klaviyo-extension", {"address", "ssl-policy"}),  # a run that broke off
    ],
)
def test_what_stands_in_front_is_ours_by_what_it_says_or_leads_to(
    shell: Shell, maps: str, says: str, ours: set[str]
) -> None:
    ended = shell.runs(_FRONT, MAPS=maps, SAYS=says)
    assert ended.status == 0
    assert set(ended.said.splitlines()) == ours


def test_a_part_that_fails_without_a_word_is_named(shell: Shell) -> None:
    ended = shell.runs("quiet() { step quiet; false; }\nside_by_side quiet")
    assert "failed     in" in ended.said
    assert "quiet: the lines above say why" in ended.said


def test_the_last_lines_name_the_step_that_failed_and_what_helps(shell: Shell) -> None:
    body = f"part() {{ step part; {CREATE}; }}\nother() {{ step other; say fine; }}\nside_by_side part other"
    ended = shell.runs(body, refuses("PERMISSION_DENIED: you may not"))
    assert ended.status == 1
    first, last = ended.said.splitlines()[-2:]
    assert first.startswith("failed     in part")
    assert "thing: making it: PERMISSION_DENIED: you may not; give whoever deploys the role" in first
    assert "run the same command again" in last


def test_what_may_fail_does_not_decide_how_the_rest_ends(shell: Shell) -> None:
    body = f"watching() {{ step watching; {CREATE}; }}\nrest() {{ :; }}\nMAY_FAIL=watching\nside_by_side watching rest"
    ended = shell.runs(body, refuses("INVALID_ARGUMENT: no"))
    assert ended.status == 0
    assert "warning    watching is not complete" in ended.said


def test_the_dns_record_is_said_at_the_end_whatever_failed(shell: Shell) -> None:
    ended = shell.runs('echo "set this DNS record" >"$WORK/dns"\nfalse')
    assert ended.status == 1
    assert ended.said.splitlines()[-1] == "set this DNS record"


_BIND = """NUMBER=1 REGION=r
echo '{"roles/x": []}' >"$WORK/wanted"
planner() { tr a-z A-Z <"$3"; }
bind 'the thing' wanted policy gcloud things get-iam-policy x -- gcloud things set-iam-policy x
"""


def test_a_policy_that_somebody_changes_meanwhile_is_read_merged_and_written_again(shell: Shell) -> None:
    changed = refuses("ABORTED: There were concurrent policy changes.")
    write = 'cat "${!#}" >"$TMPDIR/written"'
    ended = shell.runs(_BIND, "echo one", changed, "echo two", write)
    assert ended.status == 0
    assert shell.lines("written") == ["TWO"]
    assert ended.called == 4


def test_a_policy_that_is_changed_for_ever_ends_the_run(shell: Shell) -> None:
    changed = refuses("ABORTED: There were concurrent policy changes.")
    ended = shell.runs(_BIND, *["echo one", changed] * 12)
    assert ended.status == 1
    assert "somebody else changes it again and again" in ended.said


def test_a_signal_leaves_no_folder_behind(shell: Shell) -> None:
    ended = shell.runs('kill -TERM $$\nsleep 1\necho "not reached"')
    assert ended.status != 0
    assert "not reached" not in ended.said


_SIDE_BY_SIDE = """
part() {
  say "$1 begins"
  change "$1: making it" gcloud things create "$1"
  change "$1: changing it" gcloud things update "$1"
}
one() { part one; }
two() { part two; }
side_by_side one two
"""
_SLOW = 'while [ ! -e "$TMPDIR/go-on" ]; do /bin/sleep 0.02; done'


@pytest.mark.parametrize(
    ("number", "to_all", "status"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, True, 129),
    ],
)
def test_a_signal_ends_all_parts_also_if_it_comes_to_the_script_alone(
    shell: Shell, number: int, to_all: bool, status: int
) -> None:
    with shell.begins(_SIDE_BY_SIDE, _SLOW, _SLOW) as running:
        until_called(shell, 2)
        (os.killpg if to_all else os.kill)(running.pid, number)
        said, _ = running.communicate(timeout=PATIENCE)  # to the end: nobody is left who could write
        assert running.returncode == status
    (shell.folder / "go-on").touch()
    assert f"the run ended with status {status}" in said
    assert "changing it" not in said
    assert len(shell.lines("called")) == 2


def test_when_nobody_reads_on_each_part_ends_at_its_next_word(shell: Shell) -> None:
    with shell.begins(_SIDE_BY_SIDE, _SLOW, _SLOW) as running:
        assert running.stdout is not None
        until_called(shell, 2)
        running.stdout.close()
        (shell.folder / "go-on").touch()
        assert running.wait(PATIENCE) != 0
    assert len(shell.lines("called")) == 2


def until_called(shell: Shell, times: int) -> None:
    until = time.monotonic() + PATIENCE
    while len(shell.lines("called")) < times:
        assert time.monotonic() < until
        time.sleep(0.02)


_ROLL_OUT = """REGION=r
. "$ROOT/deploy/gcp/steps/traffic.sh"
printf 'worker\\n' >"$WORK/workers"
printf 'upgrade\\tworker\\nupgrade\\tslow\\npromote\\tfast\\ncreate\\tnew\\n' >"$WORK/revisions"
{
  printf 'worker\\tworker-2\\tworker-1\\tworker-1\\tworker-0\\t10\\t1\\n'
  printf 'slow\\tslow-2\\t-\\tslow-1\\tslow-0\\t20\\t3\\n'
  printf 'fast\\tfast-2\\tfast-1\\tfast-1\\t-\\t10\\t1\\n'
  printf 'new\\tnew-1\\tnew-1\\t-\\t-\\t10\\t1\\n'
} >"$WORK/waiting"
ask_google() {
  echo "$*" >>"$TMPDIR/asked"
  ANSWER
}
roll_out 1
roll_out 0
"""


def roll_out(shell: Shell, answer: str, *answers: str) -> tuple[Ended, list[str]]:
    """Return how the upgrade ended, and which shares were set, in order."""
    ended = shell.runs(_ROLL_OUT.replace("ANSWER", answer), *answers)
    set_to = [line.partition("--to-revisions=")[2].split()[0] for line in shell.lines("called")]
    return ended, set_to


def test_each_takes_its_share_for_its_minutes_and_then_all_workers_first(shell: Shell) -> None:
    ended, set_to = roll_out(shell, ":")
    assert ended.status == 0
    assert set_to[:2] == ["worker-2=10,worker-1=90", "worker-2=100"]
    assert sorted(set_to[2:4]) == ["fast-2=10,fast-1=90", "slow-2=20,slow-1=80"]
    assert set_to[4:] == ["fast-2=100", "slow-2=100"]
    assert ended.slept == 4 * 60
    assert len(shell.lines("asked")) == 4


def test_what_is_promoted_is_known_as_the_one_before_from_then_on(shell: Shell) -> None:
    roll_out(shell, ":")
    promoted = [line for line in shell.lines("called") if "slow-2=100" in line]
    assert promoted[0].split()[-2] == "--set-tags=candidate=slow-2,previous=slow-1"
    shared = [line for line in shell.lines("called") if "slow-2=20" in line]
    assert "tags" not in shared[0]


def test_what_answers_worse_goes_back_with_all_that_share_calls(shell: Shell) -> None:
    ended, set_to = roll_out(
        shell, 'grep -q "^slow" "$WORK/rolling" && printf "slow\\t5 of 9 calls failed\\n" || :'
    )
    assert ended.status == 1
    assert set_to[1] == "worker-2=100"
    assert sorted(set_to[4:]) == ["fast-1=100", "slow-1=100"]
    assert "slow: 5 of 9 calls failed" in ended.said
    assert "calls go where they went before" in ended.said


def test_a_share_that_cannot_be_given_is_given_to_nobody(shell: Shell) -> None:
    ended, set_to = roll_out(shell, ":", refuses("INVALID_ARGUMENT: no"))
    assert ended.status == 1
    assert set_to == ["worker-2=10,worker-1=90", "worker-1=100"]


def test_what_nobody_can_watch_goes_back(shell: Shell) -> None:
    ended, set_to = roll_out(shell, "echo 'PERMISSION_DENIED: no' >&2; return 1")
    assert ended.status == 1
    assert set_to == ["worker-2=10,worker-1=90", "worker-1=100"]
    assert "cannot be seen" in ended.said


def test_a_look_that_fails_once_is_looked_again(shell: Shell) -> None:
    once = '[[ -e $WORK/once ]] || { : >"$WORK/once"; echo "UNAVAILABLE: no answer" >&2; return 1; }'
    ended, set_to = roll_out(shell, once)
    assert (ended.status, set_to[1]) == (0, "worker-2=100")


@pytest.mark.parametrize(
    ("row", "to"),
    [
        ("a\\ta-3\\ta-3\\ta-2\\ta-1\\t10\\t1", ["a-1=100"]),
        ("a\\ta-3\\t-\\ta-2\\ta-1\\t10\\t1", ["a-2=100"]),
        ("a\\ta-3\\ta-1\\ta-1\\ta-1\\t10\\t1", []),
        ("a\\ta-3\\ta-3\\t-\\t-\\t10\\t1", []),
    ],
)
def test_a_rollback_gives_calls_to_the_revision_before_or_to_the_older_of_two_that_share(
    shell: Shell, row: str, to: list[str]
) -> None:
    body = f"""REGION=r
. "$ROOT/deploy/gcp/steps/traffic.sh"
at_once 2 give_back < <(printf '{row}\\n')"""
    assert shell.runs(body).status == 0
    set_to = [line.partition("--to-revisions=")[2].split()[0] for line in shell.lines("called")]
    assert set_to == to


_RECORD = """REGION=r DOMAIN=k.example.com CERTIFICATE=extension-1
. "$ROOT/deploy/gcp/steps/names.sh"
: >"$WORK/apis-on"
ask_google() { ANSWER; }
record A
"""


def test_a_record_is_made_where_nobody_else_has_one(shell: Shell) -> None:
    answer = "printf 'make\\tk.example.com.\\tA\\t203.0.113.7\\tshop\\n' >\"$WORK/record\""
    ended = shell.runs(_RECORD.replace("ANSWER", answer), "printf 'extension\\t203.0.113.7\\n'")
    assert ended.status == 0
    made = "dns record-sets create k.example.com. --type=A --zone=shop --ttl=300 --rrdatas=203.0.113.7"
    assert shell.lines("called")[1].startswith(made)
    assert "set this DNS record" not in ended.said


@pytest.mark.parametrize(
    "answer",
    [
        "printf 'theirs\\tk.example.com.\\tA\\t203.0.113.7\\tshop\\n' >\"$WORK/record\"",
        "echo 'PERMISSION_DENIED: dns.managedZones.list' >&2; return 1",
    ],
)
def test_a_record_that_is_not_made_is_said_where_it_is_known_and_last(shell: Shell, answer: str) -> None:
    ended = shell.runs(_RECORD.replace("ANSWER", answer), "printf 'extension\\t203.0.113.7\\n'")
    assert ended.status == 0
    assert ended.said.count("set this DNS record: k.example.com. A 203.0.113.7") == 2
    assert "set this DNS record" in ended.said.splitlines()[-1]
    assert ended.called == 1


def test_a_record_that_cannot_be_made_is_said_too(shell: Shell) -> None:
    answer = "printf 'make\\tk.example.com.\\tA\\t203.0.113.7\\tshop\\n' >\"$WORK/record\""
    refused = refuses("PERMISSION_DENIED: dns.changes.create")
    ended = shell.runs(_RECORD.replace("ANSWER", answer), "printf 'extension\\t203.0.113.7\\n'", refused)
    assert ended.status == 0
    assert "set this DNS record: k.example.com. A 203.0.113.7" in ended.said.splitlines()[-1]


_CERTIFICATE = """REGION=r DOMAIN=k.example.com
. "$ROOT/deploy/gcp/steps/names.sh"
echo extension-1 >"$WORK/certificate"
printf 'extension-1\\tSTATE\\n' >"$WORK/managed"
for known in authorizations entries; do echo extension-1 >"$WORK/$known"; done
echo extension >"$WORK/certificate-maps"
certificate
"""


def certificate_calls(shell: Shell, state: str) -> list[str]:
    assert shell.runs(_CERTIFICATE.replace("STATE", state)).status == 0
    return [line.partition(" extension-1")[0] for line in shell.lines("called")]


def test_a_certificate_that_google_has_given_up_is_asked_for_anew(shell: Shell) -> None:
    assert certificate_calls(shell, "FAILED") == [
        "certificate-manager maps entries delete",
        "certificate-manager certificates delete",
        "certificate-manager certificates create",
        "certificate-manager maps entries create",
    ]


@pytest.mark.parametrize("state", ["ACTIVE", "PROVISIONING", "UNRENEWED"])
def test_a_certificate_that_serves_or_may_come_is_left_alone(shell: Shell, state: str) -> None:
    assert certificate_calls(shell, state) == []
