"""Google's Firestore emulator as a process: found, started, awaited and stopped. Nothing here knows of pytest.

It is the jar of gcloud's emulator component, started with plain java: the wrapper of gcloud leaves java behind when
it is killed.
"""

import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from deploy.local.free_ports import free_port

_JAR = Path("platform", "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
_MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_READY_SECONDS = 120.0


class MissingProgramError(Exception):
    """The emulator needs a program that is not installed; the message names it."""


class EmulatorFailedError(Exception):
    """The emulator did not become ready; the message ends with its output."""


@dataclass(frozen=True)
class FirestoreEmulator:
    """A running emulator. `host` is a value for FIRESTORE_EMULATOR_HOST: `127.0.0.1:PORT`."""

    host: str


@contextmanager
def running(log: Path, *options: str) -> Iterator[FirestoreEmulator]:
    """Run an emulator as long as the `with` block lasts, an empty one unless an option names an export; its output goes to `log`.

    Raises:
        MissingProgramError: java, gcloud or gcloud's component is not installed.
        EmulatorFailedError: it did not start.
    """
    java = shutil.which("java") or _missing("java")
    command = [java, *_java_options(_emulator_jar()), "start", "--host=127.0.0.1", f"--port={free_port()}"]
    host = f"127.0.0.1:{command[-1].removeprefix('--port=')}"
    command += options
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_dies_with_us(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us; we stop the emulator after the last clean-up
        )
    try:
        _await_ready(process, host, log)
        yield FirestoreEmulator(host)
    finally:
        _stop(process)


def _missing(program: str) -> NoReturn:
    raise MissingProgramError(f"the Firestore emulator needs {program}, which is not installed")


def _emulator_jar() -> Path:
    gcloud = shutil.which("gcloud") or _missing("gcloud")
    for root in _possible_roots(gcloud):
        if (root / _JAR).is_file():
            return root / _JAR
    _missing("gcloud's component cloud-firestore-emulator")


def _possible_roots(gcloud: str) -> Iterator[Path]:
    yield Path(gcloud).resolve().parent.parent
    yield Path("/usr/lib/google-cloud-sdk")
    # gcloud itself knows, but takes a second or two to say so.
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    yield Path(told.stdout.strip())


def _java_options(jar: Path) -> list[str]:
    # One compiler tier and one collector thread: half the start-up time and memory, for a process that lives a minute.
    return [
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx192m",
        "-Duser.language=en",
        "-cp",
        str(jar),
        _MAIN_CLASS,
    ]


def _dies_with_us() -> list[str]:
    # Covers being killed outright. Linux only; elsewhere the clean-up has to do.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _await_ready(process: "subprocess.Popen[bytes]", host: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(host, timeout=10.0)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            if connection.getresponse().status == http.HTTPStatus.OK:
                connection.close()
                return
        connection.close()
        time.sleep(0.05)
    last_words = log.read_text(errors="replace")[-2000:]
    raise EmulatorFailedError(f"the Firestore emulator did not become ready; it wrote:\n{last_words}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=10.0)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
