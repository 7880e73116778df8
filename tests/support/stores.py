"""The document store in both its forms, as one pytest fixture: each test of a store runs on both. `stored_bytes` is the
view of a thief who has only the database.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from shared.storage.documents import Documents
from shared.storage.firestore import FirestoreDocuments
from shared.storage.sqlite import SqliteDocuments
from tests.support.memory_documents import MemoryDocuments
from tests.support.through import Through

T = TypeVar("T")

_COLLECTIONS = (
    "tenants", "dead_jobs", "dead_causes", "replays", "leases", "inbox", "outbox", "outbox_rests", "event_backlog", "event_tries", "consent", "consent_asked", "consent_ledger", "reward_claims",
    "synced_profiles", "waiting_profiles", "burials", "resyncs", "rows", "resync_slot", "unheard_calls", "former_identities", "former_numbers", "former_tenants", "erasures", "audit", "receipts", "traffic", "traffic_days", "rests", "waiting_syncs", "waiting_sync_places", "sync_imports", "rehearsals", "stamps_ahead",
)  # fmt: skip


@pytest.fixture(params=["sqlite", "firestore"])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Documents]:
    """Return an empty store; a test that asks for it runs once with each kind. `memory` is there for those that ask for it by name."""
    if request.param == "memory":
        yield MemoryDocuments()
        return
    if request.param == "firestore":
        firestore: FirestoreDocuments = request.getfixturevalue("firestore_documents")
        yield firestore
        return
    sqlite = SqliteDocuments(tmp_path / "data" / "documents.db")
    yield sqlite
    sqlite.close()


@pytest.fixture
def stored_bytes(documents: Documents, tmp_path: Path) -> Callable[[], bytes]:
    """Return a function that returns everything in the store as it lies there, no method of the store being asked."""
    if isinstance(documents, FirestoreDocuments):
        client = documents._client
        return lambda: "".join(
            f"{snapshot.reference.path} {snapshot.to_dict()!r}\n"
            for name in _COLLECTIONS
            for snapshot in client.collection_group(name).stream()
        ).encode()
    return lambda: b"".join(path.read_bytes() for path in sorted((tmp_path / "data").iterdir()))


class Overtaken(Through):
    """`documents`, in which somebody else is faster: `meanwhile` happens once, right before the first of the writes that are named."""

    def __init__(
        self,
        documents: Documents,
        meanwhile: Callable[[], object],
        before: tuple[str, ...] = ("update", "delete"),
    ) -> None:
        super().__init__(documents)
        self._meanwhile = [meanwhile]
        self._before = before

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if operation in self._before and self._meanwhile:
            self._meanwhile.pop()()
        return call()
