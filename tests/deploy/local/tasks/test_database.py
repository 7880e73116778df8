"""The emulator's database: changes that share a commit, and changes that fail."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local.tasks.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "tasks.db")
    yield database
    database.close()


def block(name: str) -> Callable[[sqlite3.Connection], str]:
    def apply(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO tombstones VALUES (?, 0)", (name,))
        return name

    return apply


def block_and_fail(connection: sqlite3.Connection) -> None:
    block("failed")(connection)
    raise LookupError("no such thing")


def blocked(database: Database) -> list[str]:
    return [row["name"] for row in database.read("SELECT name FROM tombstones ORDER BY name")]


def test_a_change_that_fails_leaves_nothing_and_says_why(database: Database) -> None:
    with pytest.raises(LookupError, match="no such thing"):
        database.write(block_and_fail)

    assert blocked(database) == []
    assert database.write(block("next")) == "next"
    assert blocked(database) == ["next"]


def test_a_change_that_sqlite_refuses_is_undone_alone(database: Database) -> None:
    database.write(block("a"))

    with pytest.raises(sqlite3.IntegrityError):
        database.write(block("a"))

    assert database.write(block("b")) == "b"
    assert blocked(database) == ["a", "b"]


def test_changes_that_share_a_commit_fail_each_for_itself(database: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait(connection: sqlite3.Connection) -> str:
        entered.set()
        go_on.wait(60)
        return block("first")(connection)

    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(database.write, wait)
        entered.wait(60)
        # these arrive while the first one is being written, so they wait for the commit after it
        second, failing, third = (
            callers.submit(database.write, block("second")),
            callers.submit(database.write, block_and_fail),
            callers.submit(database.write, block("third")),
        )
        go_on.set()

    assert [change.result() for change in (first, second, third)] == ["first", "second", "third"]
    assert isinstance(failing.exception(), LookupError)
    assert blocked(database) == ["first", "second", "third"]
