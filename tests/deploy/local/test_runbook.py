"""The runbook's symptoms lead somewhere: each command that stands there is run, as it stands there, against what `make run` starts."""

import os
import re
import shlex
import time
from pathlib import Path

from deploy.local.demo_tenant import EMAIL, TENANT
from tests.deploy.local.test_run_and_serve import environment, free_ports_in_a_row, running
from tests.support.commands import run_command

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "deploy/RUNBOOK.md").read_text()
_COMMAND = re.compile(r"`python -m (deploy\.tenants [^`]+)`")


def symptoms() -> dict[str, list[str]]:
    """Return the commands of each symptom, in the order in which they stand there."""
    (section,) = re.findall(r"^## Symptoms\n(.*?)^## ", RUNBOOK, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^### (.*)$", section, flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(_COMMAND.findall, parts[2::2]), strict=True))


def test_the_runbook_begins_with_symptoms_and_each_has_commands() -> None:
    assert RUNBOOK.index("## Symptoms") < RUNBOOK.index("## calls-failing")
    assert list(symptoms()) == [
        "No emails",
        "The wrong person got it",
        "Consent differs",
        "A reward twice",
        "The install fails",
    ]
    assert all(symptoms().values())


def test_missing_emails_lead_to_the_calls_that_were_refused_and_the_jobs_that_died() -> None:
    for command in ("traffic TENANT --since 7d", "dead list TENANT"):
        assert f"deploy.tenants {command}" in symptoms()["No emails"]


def test_every_command_of_a_symptom_works_against_a_running_bundle(tmp_path: Path) -> None:
    given = environment(tmp_path, PORT=str(free_ports_in_a_row(13)))
    with running("run", given) as terminal:
        terminal.wait_for("Ctrl-C stops everything.")
        (env,) = tmp_path.glob("demo-*/env")
        shell = {"PATH": os.environ["PATH"], **variables(env)}
        wait_for_the_set_up(shell)
        for command in dict.fromkeys(command for found in symptoms().values() for command in found):
            said = EMAIL if command.endswith("explain TENANT") else ""
            _, *words = shlex.split(command.replace("TENANT", TENANT))
            done = run_command(*words, environment=shell, given=said)
            assert done.status == 0, f"{command}\n{done.out}\n{done.err}"
            assert done.out or "No job was given up." in done.err, command
        assert terminal.stop() == 0


def wait_for_the_set_up(shell: dict[str, str]) -> None:
    """Wait until the demo tenant is set up, which goes on behind the first event."""
    deadline = time.monotonic() + 60
    while run_command("doctor", TENANT, environment=shell).status and time.monotonic() < deadline:
        time.sleep(0.5)


def variables(path: Path) -> dict[str, str]:
    """Return what a file of NAME=value lines sets, as a shell reads it."""
    pairs = (word.partition("=") for line in path.read_text().splitlines() for word in shlex.split(line))
    return {name: value for name, _, value in pairs}
