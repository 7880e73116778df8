"""The document store of one machine: one SQLite file, shared by several processes with several threads each.

The meaning of every method, and what may be stored, stands in `shared/storage/documents.py`. Nothing here knows what a
document means.
"""

import json
import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.storage.documents import (
    MAX_DOCUMENT_BYTES,
    Document,
    Scalar,
    Value,
    Version,
    Write,
    check_fields,
    check_path,
    check_writes,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    fields TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (collection, id)
) WITHOUT ROWID
"""
_TAG = "$datetime"
PURGED_EVERY = timedelta(hours=1)
_PURGED_AT_ONCE = 500
_making_a_file = threading.Lock()

_UNUSABLE = (
    "The store's file cannot be used: check that its folder exists, is writable by this user and is no file."
)
_ADVICE = {
    sqlite3.SQLITE_NOTADB: "The store's file is not a SQLite database: name another one, or move this one away.",
    sqlite3.SQLITE_CORRUPT: "The store's file is damaged: restore a copy, or move it away to begin with an empty one.",
    sqlite3.SQLITE_FULL: "The disk that holds the store's file is full.",
    sqlite3.SQLITE_BUSY: "Another process has kept the store's file locked for too long.",
    sqlite3.SQLITE_CANTOPEN: _UNUSABLE,
    sqlite3.SQLITE_READONLY: _UNUSABLE,
    sqlite3.SQLITE_PERM: _UNUSABLE,
    sqlite3.SQLITE_IOERR: _UNUSABLE,
}


class SqliteDocuments:
    """`shared.storage.documents.Documents` in the SQLite file at `path`; the file and its folder are made when missing.

    A call waits up to `busy_seconds` for other writers. With a `clock`, documents whose `expire_at` has passed are removed within an hour or
    so, as Firestore's TTL policies do: by whichever process writes, one that has been open for an hour.

    Raises:
        StoreUnavailableError: the file cannot be made, opened or read; the message says what to do about it.
    """

    def __init__(
        self, path: str | Path, *, busy_seconds: float = 5.0, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._path = Path(path)
        self._clock = clock
        self._purged_at = clock() if clock else None
        self._busy_seconds = busy_seconds
        self._local = threading.local()
        self._opened: weakref.WeakSet[_OfThread] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        with _explained():
            _make_private_file(self._path)
            connection = self._connection()
            _use_wal(connection, busy_seconds)
            connection.execute(_SCHEMA)

    def close(self) -> None:
        """Close the connections of all threads. Every later call raises StoreUnavailableError."""
        with self._lock:
            self._closed = True
            for opened in self._opened:
                opened.connection.close()

    def get(self, collection: str, id: str) -> Document | None:
        """See `Documents.get`."""
        check_path(collection, id)
        with _explained():
            row = _row(self._connection(), collection, id)
        return None if row is None else _document(id, *row)

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """See `Documents.create`."""
        check_path(collection, id)
        check_fields(fields)
        self._purge_when_due()
        text = _text(_encode(dict(fields)))
        with self._writing() as connection:
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
        with self._writing() as connection:
            row = _row(connection, collection, id)
            if version is not None and (row is None or row[1] != cast(int, version)):
                raise DocumentChangedError("The document has changed since it was read.")
            if row is None:
                raise DocumentMissingError("There is no such document.")
            text = _text(json.loads(row[0]) | _encode(dict(fields)))
            if text != row[0]:
                connection.execute(
                    "UPDATE documents SET fields = ?, version = ? WHERE collection = ? AND id = ?",
                    (text, _new_version(), collection, id),
                )

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """See `Documents.delete`."""
        check_path(collection, id)
        with self._writing() as connection:
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
            (write.collection, write.id, _text(_encode(dict(write.fields))), _new_version())
            for write in writes
            if write.fields is not None
        ]
        with self._writing() as connection:
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
        values = (collection, after or "", _trace(wanted))
        with _explained(), closing(self._connection().execute(matching, values)) as rows:
            documents = (_document(*row) for row in rows)
            return list(islice((found for found in documents if _matches(found.fields, wanted)), limit))

    def count(self, collection: str, *, where: Mapping[str, Scalar] | None = None) -> int:
        """See `Documents.count`. With `where`, it reads the collection."""
        check_path(collection, "any")
        if where:
            return self._count_matching(collection, dict(where))
        query = "SELECT COUNT(*) FROM documents WHERE collection = ?"
        with _explained(), closing(self._connection().execute(query, (collection,))) as rows:
            return int(rows.fetchone()[0])

    def purge(self, now: datetime) -> int:
        """Remove the documents whose `expire_at` is not after `now`, and return how many."""
        expired = "SELECT collection, id, version FROM documents WHERE instr(fields, ?) AND json_extract(fields, ?) <= ?"
        values = ('"expire_at":{', f'$.expire_at."{_TAG}"', _moment(now))
        with _explained(), closing(self._connection().execute(expired, values)) as rows:
            found = rows.fetchall()
        # A few at a time, so that other writers get their turn; by version, so that one that was given a longer life stays.
        for start in range(0, len(found), _PURGED_AT_ONCE):
            with self._writing() as connection:
                connection.executemany(
                    "DELETE FROM documents WHERE collection = ? AND id = ? AND version = ?",
                    found[start : start + _PURGED_AT_ONCE],
                )
        return len(found)

    def _purge_when_due(self) -> None:
        if self._clock is None or self._purged_at is None:
            return
        now = self._clock()
        with self._lock:
            if now - self._purged_at < PURGED_EVERY:
                return
            self._purged_at = now
        with suppress(StoreUnavailableError):  # no call fails for it; the next hour has another try
            self.purge(now)

    def _count_matching(self, collection: str, wanted: dict[str, Scalar]) -> int:
        check_fields(dict(wanted))
        matching = "SELECT fields FROM documents WHERE collection = ? AND instr(fields, ?)"
        values = (collection, _trace(wanted))
        with _explained(), closing(self._connection().execute(matching, values)) as rows:
            return sum(_matches(_document("", fields, 0).fields, wanted) for (fields,) in rows)

    def _connection(self) -> sqlite3.Connection:
        """Return the calling thread's own connection."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError("The store has been closed.")
            if not hasattr(self._local, "opened"):
                self._local.opened = _OfThread(self._connect())
                self._opened.add(self._local.opened)
            connection: sqlite3.Connection = self._local.opened.connection
            return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,  # `close` is called from any thread
        )
        with ExitStack() as unusable:
            unusable.callback(connection.close)
            # In WAL mode this loses nothing when a process dies, only when the machine does.
            connection.execute("PRAGMA synchronous = NORMAL")
            # Of each thread; the system keeps the file's pages in memory once for all of them.
            connection.execute("PRAGMA cache_size = -256")
            unusable.pop_all()
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction that no other writer overlaps; commit it, or roll it back."""
        with _explained(), self._connection() as connection:
            # A plain BEGIN reads first and asks for the lock later, which fails at once if somebody wrote between.
            connection.execute("BEGIN IMMEDIATE")
            yield connection


class _OfThread:
    """A thread's connection, closed as the thread ends; left alone, it would wait for the garbage collector."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        # Holds the connection, so that of a store which is dropped as a whole no connection is collected while it is open.
        weakref.finalize(self, connection.close)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary result code, see "Result and Error Codes" on sqlite.org.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise StoreUnavailableError(
            _ADVICE.get(code, "The store's file cannot be read or written.")
        ) from error
    except OSError as error:
        raise StoreUnavailableError(_UNUSABLE) from error


def _make_private_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Closing any handle on a database drops all locks that this process holds on it ("How To Corrupt An SQLite
    # Database File", 2.2): so only a file that is not there is opened here, and closed before another thread sees it.
    with _making_a_file, suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Let readers and one writer work at once. The mode stays with the file."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite's own busy timeout does not wait here when several processes make the file at the same time.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _row(connection: sqlite3.Connection, collection: str, id: str) -> tuple[str, int] | None:
    """Return the fields, as stored, and the version."""
    rows = connection.execute(
        "SELECT fields, version FROM documents WHERE collection = ? AND id = ?", (collection, id)
    )
    row: tuple[str, int] | None = rows.fetchone()
    return row


def _document(id: str, text: str, version: int) -> Document:
    return Document(id=id, fields=_decode(json.loads(text)), version=Version(version))


def _new_version() -> int:
    # Counted from 1, a document deleted and made again would pass for the one that was read.
    return secrets.randbits(63)


def _text(encoded: object) -> str:
    text = json.dumps(encoded, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise ValueError("the document is larger than 1 MiB")
    return text


def _encode(value: Value) -> Any:
    """Return `value` for JSON: a datetime as a map with one tagged key, and `$` doubled where a real key begins with it."""
    match value:
        case datetime():
            return {_TAG: _moment(value)}
        case dict():
            return {_encode_name(name): _encode(inner) for name, inner in value.items()}
        case list():
            return [_encode(inner) for inner in value]
        case _:
            return value


def _moment(value: datetime) -> str:
    """Return a time as it is stored: text that sorts as times do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _decode(encoded: Any) -> Any:
    match encoded:
        case {"$datetime": str(text)}:
            return datetime.fromisoformat(text)
        case dict():
            return {_decode_name(name): _decode(inner) for name, inner in encoded.items()}
        case list():
            return [_decode(inner) for inner in encoded]
        case _:
            return encoded


def _encode_name(name: str) -> str:
    return f"${name}" if name.startswith("$") else name


def _decode_name(name: str) -> str:
    return name.removeprefix("$")


def _matches(fields: Mapping[str, Value], wanted: Mapping[str, Scalar]) -> bool:
    return all(name in fields and _equal(fields[name], value) for name, value in wanted.items())


def _equal(stored: Value, wanted: Scalar) -> bool:
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return stored is wanted
    return stored == wanted


def _trace(wanted: Mapping[str, Scalar]) -> str:
    """Return what the stored text of every match contains, so that SQLite itself passes over most other documents.

    Numbers leave no such trace, since 1 equals 1.0.
    """
    traces = [
        _text({_encode_name(name): _encode(value)})[1:-1]
        for name, value in wanted.items()
        if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    return max(traces, key=len, default="")
