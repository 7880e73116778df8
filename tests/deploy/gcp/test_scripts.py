"""The scripts are sound shell, in one form, and every gcloud command in them is one that gcloud knows."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from deploy.staging import REPOSITORY
from tests.deploy.gcp.gcloud import needed

FOLDER = REPOSITORY / "deploy/gcp"
SCRIPTS = sorted(FOLDER.rglob("*.sh"))
# What a variable may stand for, where gcloud looks at the value. Everything else is a word.
SAMPLES = {
    "memory": "512Mi",
    "cpu": "1",
    "concurrency": "16",
    "timeout": "60",
    "minimum": "1",
    "maximum": "100",
    "retries": "3",
    "secrets": "A=b:1",
    "fingerprint": "abc",
    "tasks": "a@b.iam.gserviceaccount.com",
    "email": "a@b.iam.gserviceaccount.com",
    "uri": "https://example.com/",
    "port": "443",
    "target": "--target-https-proxy=x",
    "name": "x",
    "period": "1",
    "share": "10",
    "rest": "90",
    "regions": "europe,usa-virginia,asia-pacific",
    "status": "404",
    "limit": "120",
    "newest": "x-1",
    "previous": "x-1",
    "more[@]": "--no-traffic --tag=candidate --no-invoker-iam-check --ingress=internal --set-secrets=A=b:1",
    "tags[@]": "--set-tags=candidate=x-1,previous=x-2",
    "missing[@]": "run.googleapis.com",
    "2": "50",
    "3": "20",
    "4": "unlimited",
    "5": "1s",
    "6": "600s",
    "7": "10",
}


def test_shellcheck_finds_nothing() -> None:
    command = [needed("shellcheck"), "-x", "--source-path", str(REPOSITORY), *map(str, SCRIPTS)]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert checked.stdout == ""


def test_shfmt_would_change_nothing() -> None:
    checked = subprocess.run(
        [needed("shfmt"), "-d", "-i", "2", "-ci", str(FOLDER)], capture_output=True, text=True, check=False
    )
    assert checked.stdout == ""


def test_every_command_is_one_that_gcloud_knows(tmp_path: Path, programs: Path) -> None:
    commands = [command for script in SCRIPTS for command in commands_of(script)]
    assert len(commands) > 70
    results = linted(commands, tmp_path, programs)
    assert [row["error_message"] for row in results if not row["success"]] == []
    assert len(results) == len(commands)


def test_a_command_that_gcloud_does_not_know_is_found(tmp_path: Path, programs: Path) -> None:
    wrong = "gcloud run deploy x --region=x --source=x --functoin=x"
    (result,) = linted([wrong], tmp_path, programs)
    assert not result["success"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_command_escapes(script: Path) -> None:
    assert len(commands_of(script)) == len(re.findall(r"(?<![\w/])gcloud(?= [a-z])", code_of(script)))


def commands_of(script: Path) -> list[str]:
    """Return the gcloud commands in a script, each whole, with its variables filled in."""
    found = re.findall(r"(?<![\w/])gcloud [a-z][^\n]*", code_of(script).replace("\\\n", " "))
    # `bind` is given two: one that reads, one that writes.
    return [_filled(command) for line in found for command in re.split(r" -- +(?=gcloud)", line)]


def code_of(script: Path) -> str:
    """Return the script without its comments and without what it says to people."""
    code = re.sub(r"^\s*#.*$", "", script.read_text(), flags=re.MULTILINE)
    return re.sub(r'(\b(?:fail|say|warn) |problems\+=\()"[^"\n]*"', r"\1", code)


def _filled(command: str) -> str:
    command = re.sub(
        r"\s*;\s*(?:\}|then)\s*$", "", command
    )  # the end of a function in one line, or of a condition
    command = re.sub(r"\s2?[<>].*$", "", command)
    if command.count(")") > command.count("("):
        command = command.rstrip().removesuffix(")")  # the end of $(...)
    command = re.sub(r"\$\{\w+:\+([^}]*)\}", r"\1", command)
    command = re.sub(r"\"?\$\{(\w+\[@\])\}\"?", lambda found: SAMPLES[found[1]], command)
    command = re.sub(
        r"\$\{(\w+)[^}]*\}|\$(\w+)", lambda found: SAMPLES.get(found[1] or found[2], "word"), command
    )
    words = shlex.split(command)
    if "set-iam-policy" in words:
        words.append("policy.json")  # `bind` adds it
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """Return the word for gcloud's linter, which takes quotes around a value but not around a whole flag."""
    flag, is_flag, value = word.partition("=")
    return f"{flag}={shlex.quote(value)}" if is_flag and flag.startswith("--") else shlex.quote(word)


def linted(commands: list[str], folder: Path, programs: Path) -> list[dict[str, object]]:
    """Return what gcloud says of each, in one run of it, without account or network."""
    file = folder / "commands.md"
    file.write_text("".join(f"```\n{command}\n```\n" for command in commands))
    checked = subprocess.run(
        [programs / "gcloud", "meta", "lint-gcloud-commands", f"--commands-text-file={file}"],
        env={"CLOUDSDK_CONFIG": str(folder / "gcloud"), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    results = json.loads(checked.stdout)
    assert isinstance(results, list)
    return results
