"""The one SQLite file: its schema, its lock, and commits that are on disk before their callers get an answer. Callers
that write at the same moment share one commit, and so one write to the disk. This module does not know the meaning of
the rows: see `queue_table.py` and `task_table.py`.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_FORMAT = 1
_SCHEMA = """
CREATE TABLE queues (
    name TEXT PRIMARY KEY, rate_limits TEXT NOT NULL, retry_config TEXT NOT NULL, sampling_ratio REAL,
    state TEXT NOT NULL, purge_time INTEGER
) WITHOUT ROWID;
CREATE TABLE deleted_queues (name TEXT PRIMARY KEY, blocked_until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tasks (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, is_named INTEGER NOT NULL,
    create_time INTEGER NOT NULL, schedule_time INTEGER NOT NULL, running INTEGER NOT NULL DEFAULT 0,
    dispatch_deadline INTEGER, retry_config TEXT,
    dispatch_count INTEGER NOT NULL DEFAULT 0, response_count INTEGER NOT NULL DEFAULT 0,
    execution_count INTEGER NOT NULL DEFAULT 0, first_dispatch_time INTEGER,
    previous_status INTEGER, previous_failure TEXT NOT NULL DEFAULT '', last_attempt INTEGER,
    url TEXT NOT NULL, method TEXT NOT NULL, service_account_email TEXT NOT NULL, audience TEXT NOT NULL,
    headers TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX tasks_by_schedule ON tasks (queue, running, schedule_time, sequence, create_time);
CREATE INDEX tasks_by_age ON tasks (create_time);
CREATE TABLE tombstones (name TEXT PRIMARY KEY, blocked_until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task TEXT NOT NULL, queue TEXT NOT NULL, number INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL, create_time INTEGER NOT NULL, schedule_time INTEGER NOT NULL,
    dispatch_time INTEGER NOT NULL, response_time INTEGER, status INTEGER, failure TEXT NOT NULL DEFAULT '',
    given_up INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX attempts_by_task ON attempts (task);
CREATE INDEX attempts_by_queue ON attempts (queue);
CREATE TABLE signing_keys (private_pem BLOB NOT NULL);
"""


class DatabaseInUseError(Exception):
    """Another emulator serves this file; two of them would dispatch every task twice."""


class DatabaseFormatError(Exception):
    """The file was written by another version of the emulator, or is something else."""


class _Change(Generic[T]):
    """A change waiting for its commit."""

    def __init__(self, apply: Callable[[sqlite3.Connection], T]) -> None:
        self._apply = apply
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.done = False

    def run(self, connection: sqlite3.Connection) -> None:
        connection.execute("SAVEPOINT change")
        try:
            self._result.append(self._apply(connection))
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asked for this change
            self._error = error
            connection.execute("ROLLBACK TO change")
        connection.execute("RELEASE change")

    def fail(self, error: BaseException) -> None:
        self._error = error

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]


class Database:
    """An open emulator database. Safe for threads; one process at a time."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open `path`, and make it when it is not there, readable for its owner only: it holds tasks' bodies.

        Without `durable`, a commit may end before its data is on disk: the data survives a crash of the process, but
        not of the machine.

        Raises:
            DatabaseInUseError: another process has it open.
            DatabaseFormatError: it is not an emulator database of this version.
        """
        self._lock_file = _locked(path.with_name(path.name + ".lock"))
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._writer = _connect(path)
            self._reader = _connect(path)
            _prepare(self._writer, durable=durable)
        except BaseException:
            os.close(self._lock_file)
            raise
        self._waiting: list[_Change[object]] = []
        self._waiting_lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._read_lock = threading.Lock()

    def write(self, apply: Callable[[sqlite3.Connection], T]) -> T:
        """Apply a change in a transaction and return its result once it is on disk.

        An exception of `apply` undoes only this change, and is raised here.
        """
        change = _Change(apply)
        with self._waiting_lock:
            self._waiting.append(change)  # type: ignore[arg-type]  # results are handed back by identity, never read here
        with self._commit_lock:
            if not change.done:
                self._commit_waiting()
        return change.outcome()

    def _commit_waiting(self) -> None:
        with self._waiting_lock:
            changes, self._waiting = self._waiting, []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for change in changes:
                change.run(self._writer)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            for change in changes:
                change.fail(error)
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        finally:
            for change in changes:
                change.done = True

    def read(self, query: str, *arguments: object) -> list[sqlite3.Row]:
        """Return the rows of a query over the committed data."""
        with self._read_lock:
            return self._reader.execute(query, arguments).fetchall()

    def close(self) -> None:
        """Close the file. No other method may be running."""
        self._reader.close()
        self._writer.close()
        os.close(self._lock_file)


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise DatabaseInUseError(f"another queue emulator is serving {path.stem}; stop it first") from error
    return handle


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _prepare(connection: sqlite3.Connection, *, durable: bool) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise DatabaseFormatError("the database file is not an SQLite database") from error
    if found == 0:
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_FORMAT};COMMIT;")
    elif found != _FORMAT:
        raise DatabaseFormatError(
            f"the database has format {found}, this emulator writes {_FORMAT}; remove the file"
        )
