"""The document store of one machine: one SQLite file, shared by several processes with several threads each.

`shared/storage/documents.py` says what every method means and what may be stored. Nothing here knows what a document means.
"""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import cast

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.storage.document_text import TAG, from_text, matches, time_text, to_text, trace_of, with_fields
from shared.storage.documents import (
    Document,
    Scalar,
    Value,
    Version,
    Write,
    check_fields,
    check_path,
    check_writes,
)
from shared.storage.sqlite_file import SqliteFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    fields TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (collection, id)
) WITHOUT ROWID
"""
PURGED_EVERY = timedelta(hours=1)
_PURGED_AT_ONCE = 500


class SqliteDocuments:
    """`shared.storage.documents.Documents` in the SQLite file at `path`; the file and its folder are made when missing.

    A call waits up to `busy_seconds` for other writers. With a `clock`, a process that has been open for an hour removes expired documents
    when it next makes a document, and again every hour: Firestore's TTL policies do the same.

    Raises:
        StoreUnavailableError: the file cannot be made, opened or read; the message says what to do about it.
    """

    def __init__(
        self, path: str | Path, *, busy_seconds: float = 5.0, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._clock = clock
        self._purged_at = clock() if clock else None
        self._purging = threading.Lock()
        self._file = SqliteFile(Path(path), _SCHEMA, busy_seconds=busy_seconds)

    def close(self) -> None:
        """Close the connections of all threads. Every later call raises StoreUnavailableError."""
        self._file.close()

    def get(self, collection: str, id: str) -> Document | None:
        """See `Documents.get`."""
        check_path(collection, id)
        with self._file.reading() as connection:
            row = _row(connection, collection, id)
        return None if row is None else _document(id, *row)

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """See `Documents.create`."""
        check_path(collection, id)
        check_fields(fields)
        self._purge_when_due()
        text = to_text(fields)
        with self._file.writing() as connection:
            written = connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (collection, id, text, _new_version()),
            )
            if not written.rowcount:
                raise DocumentExistsError("The document exists already.")

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        """See `Documents.update`."""
        check_path(collection, id)
        check_fields(fields)
        if not fields:
            raise ValueError("an update names at least one field")
        with self._file.writing() as connection:
            row = _row(connection, collection, id)
            if version is not None and (row is None or row[1] != cast(int, version)):
                raise DocumentChangedError("The document has changed since it was read.")
            if row is None:
                raise DocumentMissingError("There is no such document.")
            text = with_fields(row[0], fields)
            if text != row[0]:
                connection.execute(
                    "UPDATE documents SET fields = ?, version = ? WHERE collection = ? AND id = ?",
                    (text, _new_version(), collection, id),
                )

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """See `Documents.delete`."""
        check_path(collection, id)
        with self._file.writing() as connection:
            deleted = connection.execute(
                "DELETE FROM documents WHERE collection = ? AND id = ? AND version = coalesce(?, version)",
                (collection, id, version),
            )
            if version is not None and not deleted.rowcount:
                raise DocumentChangedError("The document has changed or gone since it was read.")

    def write_all(self, writes: Sequence[Write]) -> None:
        """See `Documents.write_all`."""
        check_writes(writes)
        kept = [
            (write.collection, write.id, to_text(write.fields), _new_version())
            for write in writes
            if write.fields is not None
        ]
        with self._file.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", kept)
            connection.executemany(
                "DELETE FROM documents WHERE collection = ? AND id = ?",
                [(write.collection, write.id) for write in writes if write.fields is None],
            )

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """See `Documents.find`. Reads the collection from `after` on until it has found `limit` documents."""
        check_path(collection, after if after is not None else "any")
        if limit < 0:
            raise ValueError("limit must not be negative")
        wanted = dict(where or {})
        check_fields(wanted)
        matching = (
            "SELECT id, fields, version FROM documents"
            " WHERE collection = ? AND id > ? AND instr(fields, ?) ORDER BY id"
        )
        values = (collection, after or "", trace_of(wanted))
        with self._file.reading() as connection, closing(connection.execute(matching, values)) as rows:
            documents = (_document(*row) for row in rows)
            return list(islice((found for found in documents if matches(found.fields, wanted)), limit))

    def count(self, collection: str, *, where: Mapping[str, Scalar] | None = None) -> int:
        """See `Documents.count`. With `where`, it reads the collection."""
        check_path(collection, "any")
        if where:
            return self._count_matching(collection, dict(where))
        query = "SELECT COUNT(*) FROM documents WHERE collection = ?"
        with self._file.reading() as connection, closing(connection.execute(query, (collection,))) as rows:
            return int(rows.fetchone()[0])

    def purge(self, now: datetime) -> int:
        """Remove the documents whose `expire_at` is not after `now`, and return how many."""
        expired = "SELECT collection, id, version FROM documents WHERE instr(fields, ?) AND json_extract(fields, ?) <= ?"
        values = ('"expire_at":{', f'$.expire_at."{TAG}"', time_text(now))
        with self._file.reading() as connection, closing(connection.execute(expired, values)) as rows:
            found = rows.fetchall()
        # A few at a time, so that other writers get their turn; by version, so that a document with a new `expire_at` stays.
        for start in range(0, len(found), _PURGED_AT_ONCE):
            with self._file.writing() as connection:
                connection.executemany(
                    "DELETE FROM documents WHERE collection = ? AND id = ? AND version = ?",
                    found[start : start + _PURGED_AT_ONCE],
                )
        return len(found)

    def _purge_when_due(self) -> None:
        if self._clock is None or self._purged_at is None:
            return
        now = self._clock()
        with self._purging:
            if now - self._purged_at < PURGED_EVERY:
                return
            self._purged_at = now
        with suppress(StoreUnavailableError):  # no call fails because of it, and the next hour tries again
            self.purge(now)

    def _count_matching(self, collection: str, wanted: dict[str, Scalar]) -> int:
        check_fields(dict(wanted))
        matching = "SELECT fields FROM documents WHERE collection = ? AND instr(fields, ?)"
        values = (collection, trace_of(wanted))
        with self._file.reading() as connection, closing(connection.execute(matching, values)) as rows:
            return sum(matches(from_text(fields), wanted) for (fields,) in rows)


def _row(connection: sqlite3.Connection, collection: str, id: str) -> tuple[str, int] | None:
    """Return the fields, as stored, and the version."""
    rows = connection.execute(
        "SELECT fields, version FROM documents WHERE collection = ? AND id = ?", (collection, id)
    )
    row: tuple[str, int] | None = rows.fetchone()
    return row


def _document(id: str, text: str, version: int) -> Document:
    return Document(id=id, fields=from_text(text), version=Version(version))


def _new_version() -> int:
    # Random: a version that counts from 1 would be the same in a document that was deleted and made again.
    return secrets.randbits(63)
