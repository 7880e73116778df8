"""The SQLite file of a store: a connection for each thread, transactions that never overlap, and errors that say what to do about the file.

Nothing here knows what the file holds.
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from shared.errors import StoreUnavailableError

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


class SqliteFile:
    """The file at `path`, made with its folder when missing, with the tables of `schema`. A call waits up to `busy_seconds` for other writers.

    Raises:
        StoreUnavailableError: the file cannot be made, opened or read; the message says what to do about it.
    """

    def __init__(self, path: Path, schema: str, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._local = threading.local()
        self._opened: weakref.WeakSet[_OfThread] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        with _explained():
            _make_private_file(path)
            connection = self._connection()
            _use_wal(connection, busy_seconds)
            connection.execute(schema)

    def close(self) -> None:
        """Close the connections of all threads. Every later call raises StoreUnavailableError."""
        with self._lock:
            self._closed = True
            for opened in self._opened:
                opened.connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the calling thread's connection."""
        with _explained():
            yield self._connection()

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
            # In WAL mode, a process that dies loses nothing this way; only a machine that fails can lose the last writes.
            connection.execute("PRAGMA synchronous = NORMAL")
            # For each thread: the system already keeps the file's pages in memory, once for all threads.
            connection.execute("PRAGMA cache_size = -256")
            unusable.pop_all()
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction that no other writer overlaps. It is rolled back if an error leaves the block, else committed."""
        with _explained(), self._connection() as connection:
            # A plain BEGIN asks for the lock only at the first write, and fails at once if somebody has written since its first read.
            connection.execute("BEGIN IMMEDIATE")
            yield connection


class _OfThread:
    """A thread's connection, which is closed when the thread ends and not only when the garbage collector runs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        # It holds the connection, so that no open connection is collected when a whole store is dropped.
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
    # Database File", 2.2). So this opens only a new file, and closes it before another thread sees it.
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
