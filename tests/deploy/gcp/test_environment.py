"""`make env`: what an operator's shell is given for a deployed extension, as the script prints it with a gcloud that is played here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
GCLOUD = """#!/usr/bin/env bash
case "$*" in
  "run services list --format=json") cat "$PLAYED/services.json" ;;
  "secrets versions access latest --secret="*) echo "canary-of $5" ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def played(tmp_path: Path) -> Path:
    """Return a folder with a gcloud, and what it has to say."""
    program = tmp_path / "gcloud"
    program.write_text(GCLOUD)
    program.chmod(0o755)
    return tmp_path


def env(played: Path, services: list[object]) -> "subprocess.CompletedProcess[str]":
    (played / "services.json").write_text(json.dumps(services))
    given = {
        "PATH": f"{played}:{os.environ['PATH']}",
        "PLAYED": str(played),
        "PROJECT": "shop-1",
        "PYTHON": sys.executable,
    }
    return subprocess.run(
        ["deploy/gcp/env.sh"],
        cwd=REPOSITORY,
        env=given,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


def admin(**variables: str) -> dict[str, object]:
    container = {"env": [{"name": name, "value": value} for name, value in variables.items()]}
    return {"metadata": {"name": "admin"}, "spec": {"template": {"spec": {"containers": [container]}}}}


def test_what_it_prints_sets_the_variables_of_what_is_deployed(played: Path) -> None:
    url = "https://shop.example.org/it's"
    done = env(played, [admin(EXTENSION_URL=url, GOOGLE_CLOUD_REGION="europe-west1", THREADS="16")])
    assert (done.returncode, done.stderr) == (0, "")
    assert "THREADS" not in done.stdout
    assert "canary" not in done.stdout
    shown = subprocess.run(
        [
            "bash",
            "-c",
            f'{done.stdout}\nprintf "%s|" "$EXTENSION_URL" "$GOOGLE_CLOUD_REGION" "$ENCRYPTION_KEYS"',
        ],
        env={"PATH": f"{played}:{os.environ['PATH']}", "PLAYED": str(played)},
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout == f"{url}|europe-west1|canary-of --secret=encryption-keys|"


def test_where_nothing_is_deployed_it_says_so(played: Path) -> None:
    done = env(played, [])
    assert done.returncode != 0
    assert done.stdout == ""
    assert "There is no service admin in shop-1: run make deploy first." in done.stderr
