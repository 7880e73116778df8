"""Google's Firestore emulator for the tests that need it, as pytest fixtures. How it is run stands in firestore_emulator.py."""

import os
import uuid
from collections.abc import Iterator

import pytest

from shared.storage.firestore import FirestoreDocuments, firestore_client
from tests.support.firestore_emulator import (
    EmulatorFailedError,
    FirestoreEmulator,
    MissingProgramError,
    running,
)

__all__ = ["FirestoreEmulator", "firestore_documents", "firestore_emulator", "firestore_project"]


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreEmulator]:
    """One emulator for the whole run, stopped at its end; skips, or fails in CI, where a program is missing."""
    try:
        with running(tmp_path_factory.mktemp("firestore") / "emulator.log") as emulator:
            yield emulator
    except MissingProgramError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    except EmulatorFailedError as error:
        pytest.fail(str(error), pytrace=False)


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
