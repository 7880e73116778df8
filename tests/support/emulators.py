"""Google's Firestore emulator for the tests that need it, as pytest fixtures. How it is run stands in firestore_emulator.py."""

import fcntl
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.storage.firestore import FirestoreDocuments, firestore_client
from tests.support.firestore_emulator import (
    EmulatorFailedError,
    FirestoreEmulator,
    MissingProgramError,
    running,
)

__all__ = ["FirestoreEmulator", "firestore_documents", "firestore_emulator", "firestore_project", "shared"]


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreEmulator]:
    """One emulator for the whole run, stopped at its end; skips, or fails in CI, where a program is missing."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each process of the run has a folder of its own in it
    try:
        with shared(folder / "firestore") as emulator:
            yield emulator
    except MissingProgramError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    except EmulatorFailedError as error:
        pytest.fail(str(error), pytrace=False)


@contextmanager
def shared(folder: Path) -> Iterator[FirestoreEmulator]:
    """Use the emulator that another process runs for this folder, or run it. The process that runs it stops it when no
    other process uses it. The emulator needs several seconds of a core to reach its full speed.

    Raises:
        MissingProgramError: see `running`.
        EmulatorFailedError: see `running`.
    """
    folder.mkdir(exist_ok=True)
    address = folder / "address"
    with (folder / "users").open("w") as users, (folder / "starting").open("w") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(starting, fcntl.LOCK_EX)
        if address.exists() and _is_there(address.read_text()):
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield FirestoreEmulator(address.read_text())
            return
        with running(folder / "emulator.log") as emulator:
            address.write_text(emulator.host)
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield emulator
            fcntl.flock(
                users, fcntl.LOCK_EX
            )  # waits for the others; they let go when they end, however they end
            address.unlink(missing_ok=True)


def _is_there(host: str) -> bool:
    """Return whether the process that ran it, and wrote its address, is still alive."""
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name, int(port)), timeout=60).close()
    except OSError:
        return False
    return True


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
        return FirestoreDocuments(firestore_client(firestore_project), timeout=60.0)
