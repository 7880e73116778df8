"""Google's Firestore emulator for the tests that need it, as pytest fixtures.

It is the jar of gcloud's emulator component, started with plain java: the wrapper of gcloud leaves java behind when
it is killed. Nothing here knows what a document means.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from shared.gcp.firestore import FirestoreDocuments, firestore_client

_JAR = Path("platform", "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
_MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_READY_SECONDS = 30.0


@dataclass(frozen=True)
class FirestoreEmulator:
    """A running emulator. `host` is what FIRESTORE_EMULATOR_HOST takes: `127.0.0.1:PORT`."""

    host: str


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreEmulator]:
    """One emulator for the whole run, stopped at its end; skips, or fails in CI, where a program is missing."""
    java = shutil.which("java") or _missing("java")
    command = [java, *_java_options(_emulator_jar()), "start", "--host=127.0.0.1", f"--port={_free_port()}"]
    host = f"127.0.0.1:{command[-1].removeprefix('--port=')}"
    log = tmp_path_factory.mktemp("firestore") / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_dies_with_us(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops the emulator after the last clean-up
        )
    try:
        _await_ready(process, host, log)
        yield FirestoreEmulator(host)
    finally:
        _stop(process)


@pytest.fixture
def firestore_project() -> str:
    """A project that no other test uses; the emulator makes it on first use."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def firestore_documents(
    firestore_emulator: FirestoreEmulator, firestore_project: str, monkeypatch: pytest.MonkeyPatch
) -> FirestoreDocuments:
    """The document store on the emulator, empty."""
    with monkeypatch.context() as environment:
        environment.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator.host)
        return FirestoreDocuments(firestore_client(firestore_project), timeout=20.0)


def _missing(program: str) -> NoReturn:
    message = f"the Firestore emulator needs {program}, which is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


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
    # Covers a pytest that is killed outright. Linux only; elsewhere the clean-up of the fixture has to do.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(process: "subprocess.Popen[bytes]", host: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(host, timeout=2.0)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            if connection.getresponse().status == http.HTTPStatus.OK:
                connection.close()
                return
        connection.close()
        time.sleep(0.05)
    last_words = log.read_text(errors="replace")[-2000:]
    pytest.fail(f"the Firestore emulator did not become ready; it wrote:\n{last_words}", pytrace=False)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
