"""The installed gcloud and the shell tools for the tests that need them; what is missing is skipped by name, and fails in CI."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.staging import REPOSITORY
from tests.deploy.gcp.cloud import Cloud, Thing
from tests.deploy.gcp.recorder import gcloud_environment

_WARM = Path(__file__).with_name("warm_gcloud.py")
_HANDS_OVER = """#!{python} -ISs
import json, os, socket, sys
asked = {{"arguments": sys.argv[1:], "variables": dict(os.environ), "folder": os.getcwd()}}
with socket.socket(socket.AF_UNIX) as serving:
    serving.connect("{socket}")
    socket.send_fds(serving, [json.dumps(asked).encode()], [0, 1, 2])
    sys.exit(int(serving.recv(9) or b"1"))
"""

DOMAIN = "extension.example.com"
REGION = "europe-west1"
CLIENT_SECRET = "canary-klaviyo-client-secret"


def needed(program: str) -> str:
    """Return the program's path."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found:
        return found
    reason = f"{program} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# A script that sleeps moves the clock of the played cloud, and goes on at once.
_SLEEPS = """#!/bin/bash
IFS=: read -r host port <<<"${http_proxy#http://}"
exec 3<>"/dev/tcp/$host/$port"
printf 'POST http://clock.recorder.test/%s HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n' "$1" >&3
cat <&3 >/dev/null
"""


@contextmanager
def warm_gcloud(folder: Path) -> Iterator[Path]:
    """Give, as long as the block lasts, the folder of a `gcloud` that runs the installed one without its start."""
    root = Path(needed("gcloud")).resolve().parents[1]
    bundled = root / "platform/bundledpythonunix/bin/python3"
    python = str(bundled) if bundled.exists() else needed("python3")
    program, socket = folder / "gcloud", folder / "socket"
    program.write_text(_HANDS_OVER.format(python=sys.executable, socket=socket))
    (folder / "sleep").write_text(_SLEEPS)
    if shell := os.environ.get("BASH_32"):  # then all scripts run in it, whole
        (folder / "bash").symlink_to(shell)
    for made in (program, folder / "sleep"):
        made.chmod(0o755)
    variables = {
        "CLOUDSDK_ROOT_DIR": str(root),
        "CLOUDSDK_CONFIG": str(folder / "config"),
        "PATH": os.defpath,
    }
    serving = subprocess.Popen(
        [python, "-S", str(_WARM), str(socket)], env=variables, stdin=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while not socket.exists():
            assert serving.poll() is None, "gcloud's own Python could not import gcloud"
            assert time.monotonic() < until, "gcloud has not been imported within a minute"
            time.sleep(0.05)
        yield folder
    finally:
        serving.terminate()
        serving.wait(60)


@dataclass
class Ran:
    """A script that has ended: its status, what it said, and which calls of it would change something."""

    status: int
    said: str
    changes: list[str] = field(default_factory=list)


@dataclass
class Operator:
    """Runs our scripts as an operator does, against a played Google: nothing of this machine's environment reaches them."""

    cloud: Cloud
    proxy: str
    folder: Path
    programs: Path

    def runs(self, script: str, **variables: str) -> Ran:
        """Run a script of deploy/gcp with these variables beside the usual ones."""
        mark = len(self.cloud.calls)
        ended = subprocess.run(
            [str(REPOSITORY / "deploy/gcp" / script)],
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        sys.stdout.write(ended.stdout)  # for the reader of a failure
        assert self.cloud.unknown == []
        return Ran(ended.returncode, ended.stdout, self.cloud.changes_since(mark))

    def environment(self) -> dict[str, str]:
        """Return what a script is started with."""
        return gcloud_environment(self.proxy, self.folder / "gcloud") | {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PYTHON": sys.executable,
            # Of the played clock: fewer tries, each of which costs a gcloud.
            "RETRY_SECONDS": "30",
            "WATCH_MINUTES": "1",
            "PROJECT": self.cloud.project,
            "REGION": REGION,
            "DOMAIN": DOMAIN,
            "KLAVIYO_CLIENT_ID": "the-app",
            "KLAVIYO_CLIENT_SECRET": CLIENT_SECRET,
        }


def variables_of(service: Thing) -> Mapping[str, str]:
    """Return the variables of a service; of one that comes from a secret, `SECRET:VERSION`."""
    (container,) = service["spec"]["template"]["spec"]["containers"]
    found = {}
    for row in container["env"]:
        secret = row.get("valueFrom", {}).get("secretKeyRef")
        found[row["name"]] = f"{secret['name']}:{secret['key']}" if secret else row["value"]
    return found
