"""The bulk imports of waiting syncs that are not over yet, and the people in each.

An import is noted before its call. From then on, the note stands for the syncs of its people: a process may die at any
moment. The notes hold ids and names of values, but never a personal value.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from shared.errors import DocumentChangedError, DocumentMissingError
from shared.profiles.synced import SyncedProfile
from shared.storage.documents import Document, Documents, Value, delete_all, each_document

if TYPE_CHECKING:
    from shared.services import Services

# Longer than the queue keeps a job, which is 31 days: while the account is disconnected, nothing is followed.
KEPT = timedelta(days=40)
# Of a note: the store accepts 1 MiB.
MOST_BYTES = 700_000
# The ids and a mark, at their longest.
_ROW_BYTES = 160
_MARK = 8


@dataclass(frozen=True)
class Sent:
    """A person in an import.

    `mark` shows whether the person was synced after the import's read. `filled` names the values that the import fills.
    `leaves_undated` is the field of the sync in the import.
    """

    profile_id: str
    klaviyo_id: str
    mark: str
    filled: frozenset[str]
    leaves_undated: bool = False


@dataclass(frozen=True)
class SyncImport:
    """An import into one Klaviyo account, of people who were read at `read_at` or later.

    `job` is Klaviyo's id of it, "" until Klaviyo has given one. `progress` is its progress at `moved_at`. `is_let_go`
    means that its people no longer wait for it.
    """

    id: str
    account: str
    rows: tuple[Sent, ...]
    read_at: datetime
    begun_at: datetime
    moved_at: datetime
    job: str = ""
    progress: str = ""
    is_let_go: bool = False


def mark_of(synced: SyncedProfile) -> str:
    """Return a mark that changes with each sync of the profile."""
    return hashlib.sha256(f"{synced.read_at} {synced.written_at}".encode()).hexdigest()[:_MARK]


class NoteSize:
    """The size of an import's note, with the people added so far."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._count = 0

    def takes(self, row: Sent) -> bool:
        """Add a person if there is room, and return whether there was. An empty note has room for everybody."""
        names, count = self._names | row.filled, self._count + 1
        size = sum(len(name.encode()) + 1 for name in names) + count * (_ROW_BYTES + len(names) // 4)
        if self._count and size > MOST_BYTES:
            return False
        self._names, self._count = names, count
        return True


class SyncImports:
    """Keeps the imports that are under way."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def begin(self, tenant: str, one: SyncImport) -> None:
        """Note an import before its call."""
        fields = {**_encoded(one), "expire_at": self._clock() + KEPT}
        self._documents.create(_collection(tenant), one.id, fields)

    def all(self, tenant: str) -> list[SyncImport]:
        """Return all that are under way."""
        found = map(_decoded, each_document(self._documents, _collection(tenant)))
        return sorted(found, key=lambda one: one.begun_at)

    def is_any_waited_for(self, tenant: str) -> bool:
        """Return whether an import is under way for which its people wait."""
        return bool(self._documents.find(_collection(tenant), where={"is_let_go": False}, limit=1))

    def note_job(self, tenant: str, id: str, job: str) -> None:
        """Note Klaviyo's id of an import."""
        self._change(tenant, id, {"job": job})

    def note_progress(self, tenant: str, id: str, progress: str) -> None:
        """Note the present progress of an import."""
        self._change(tenant, id, {"progress": progress, "moved_at": self._clock()})

    def let_go(self, tenant: str, id: str) -> None:
        """Note that nobody waits for an import any longer."""
        self._change(tenant, id, {"is_let_go": True})

    def settle(self, tenant: str, id: str, profile_ids: Collection[str]) -> None:
        """Take people out of an import, and forget it once nobody is left in it."""
        self._take_out(tenant, id, {profile_id.casefold() for profile_id in profile_ids})

    def end(self, tenant: str, id: str) -> None:
        """Forget an import."""
        self._documents.delete(_collection(tenant), id)

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget that a person is in imports, and return in how many."""
        meant = {profile_id.casefold()}
        return sum(self._take_out(tenant, one.id, meant) for one in self.all(tenant))

    def forget(self, tenant: str) -> None:
        """Forget every import."""
        delete_all(self._documents, _collection(tenant))

    def _change(self, tenant: str, id: str, fields: Mapping[str, Value]) -> None:
        with suppress(
            DocumentMissingError
        ):  # everybody in it was erased meanwhile, or the app was uninstalled
            self._documents.update(_collection(tenant), id, fields)

    def _take_out(self, tenant: str, id: str, profile_ids: Collection[str]) -> bool:
        while (found := self._documents.get(_collection(tenant), id)) is not None:
            one = _decoded(found)
            left = tuple(row for row in one.rows if row.profile_id.casefold() not in profile_ids)
            if len(left) == len(one.rows):
                return False
            with suppress(DocumentChangedError):
                if left:
                    rows = _encoded_rows(left)
                    self._documents.update(_collection(tenant), id, rows, version=found.version)
                else:
                    self._documents.delete(_collection(tenant), id, version=found.version)
                return True
        return False


def _encoded(one: SyncImport) -> dict[str, Value]:
    return {
        "account": one.account,
        "job": one.job,
        "read_at": one.read_at,
        "begun_at": one.begun_at,
        "moved_at": one.moved_at,
        "progress": one.progress,
        "is_let_go": one.is_let_go,
        **_encoded_rows(one.rows),
    }


def _encoded_rows(rows: Iterable[Sent]) -> dict[str, Value]:
    """Return the names of all values, and the people as one text.

    Each person is a line with the places of its names. Nothing searches for a single person.
    """
    rows = list(rows)
    names = sorted({name for row in rows for name in row.filled})
    places = {name: 1 << place for place, name in enumerate(names)}
    lines = [
        f"{row.profile_id} {row.klaviyo_id} {row.mark} {sum(map(places.__getitem__, row.filled)):x} {row.leaves_undated:d}"
        for row in rows
    ]
    return {"names": [*names], "rows": "\n".join(lines)}


def _decoded(document: Document) -> SyncImport:
    fields: dict[str, Any] = document.fields
    names = fields["names"]
    return SyncImport(
        id=document.id,
        account=fields["account"],
        rows=tuple(_row(line, names) for line in fields["rows"].split("\n") if line),
        read_at=fields["read_at"],
        begun_at=fields["begun_at"],
        moved_at=fields["moved_at"],
        job=fields["job"],
        progress=fields["progress"],
        is_let_go=fields["is_let_go"],
    )


def _row(line: str, names: list[str]) -> Sent:
    profile_id, klaviyo_id, mark, mask, leaves_undated = line.split(" ")
    places = int(mask, 16)
    filled = frozenset(name for place, name in enumerate(names) if places >> place & 1)
    return Sent(profile_id, klaviyo_id, mark, filled, leaves_undated == "1")


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/sync_imports"
