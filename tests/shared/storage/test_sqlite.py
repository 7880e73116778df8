"""What SQLite adds to the contract of the document store: one file, many processes and threads, and its failures."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import DocumentChangedError, StoreUnavailableError
from shared.storage.sqlite import SqliteDocuments
from tests.shared.storage.looking import outcomes, read
from tests.support.world import Clock


def test_the_file_and_its_folder_are_made_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "documents.sqlite"
    store = SqliteDocuments(path)
    store.create("a", "b", {})
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    store.close()


def test_another_store_on_the_same_file_sees_every_write_at_once(tmp_path: Path) -> None:
    one, other = (SqliteDocuments(str(tmp_path / "documents.sqlite")) for _ in range(2))
    one.create("a", "b", {"x": 1})
    seen = read(other, "a", "b")
    one.update("a", "b", {"x": 2})
    with pytest.raises(DocumentChangedError):
        other.delete("a", "b", version=seen.version)
    one.close()
    assert read(other, "a", "b").fields == {"x": 2}
    other.close()


@pytest.mark.parametrize("round", range(5))
def test_many_may_make_the_file_at_once(tmp_path: Path, round: int) -> None:
    path = tmp_path / "new" / f"{round}.sqlite"
    assert outcomes(8, lambda number: SqliteDocuments(path).create("a", str(number), {})) == ["won"] * 8


def test_processes_that_start_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data" / "documents.sqlite"
    processes = [writer(path, str(number)) for number in range(4)]
    won = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    store = SqliteDocuments(path)
    assert sum(won) == 100
    assert len(store.find("claims", limit=200)) == 100
    assert len(store.find("own", limit=500)) == 400
    assert read(store, "counters", "c").fields == {"n": 100}
    store.close()


def test_a_process_that_is_killed_loses_no_finished_write(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    process = writer(path, "0", forever=True)
    assert process.stdout is not None
    reported = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    store = SqliteDocuments(path)
    assert len(store.find("own", limit=reported)) == reported
    store.create("own", "after", {})
    store.close()


def test_threads_that_have_ended_leave_no_connection_open(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    store = SqliteDocuments(path)
    for number in range(20):
        thread = threading.Thread(target=store.delete, args=("a", str(number)))
        thread.start()
        thread.join()
    handles = [handle for handle in Path("/proc/self/fd").iterdir() if points_to(handle, path)]
    assert len(handles) < 5
    store.close()


def test_a_closed_store_says_so_to_every_thread(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "documents.sqlite")
    store.close()
    assert outcomes(2, lambda _: store.delete("a", "b")) == ["StoreUnavailableError"] * 2


def test_a_path_that_cannot_be_made_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file" / "documents.sqlite", tmp_path):
        with pytest.raises(StoreUnavailableError, match="folder exists, is writable") as refused:
            SqliteDocuments(path)
        assert str(tmp_path) not in str(refused.value)
        assert refused.value.__cause__ is not None


def test_a_file_of_another_kind_names_the_fix_and_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    path.write_text("something else" * 1000)
    with pytest.raises(StoreUnavailableError, match="not a SQLite database"):
        SqliteDocuments(path)
    assert path.read_text() == "something else" * 1000


def test_a_damaged_file_names_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    store = SqliteDocuments(path)
    for number in range(50):
        store.create("a", str(number), {"x": "y" * 1000})
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    damaged = SqliteDocuments(path)
    with pytest.raises(StoreUnavailableError, match="damaged"):
        damaged.find("a")
    damaged.close()


def test_a_lock_that_is_never_given_back_ends_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    store = SqliteDocuments(path, busy_seconds=0.1)
    store.create("a", "b", {"x": 1})
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            store.update("a", "b", {"x": 2})
        assert read(store, "a", "b").fields == {"x": 1}
    store.update("a", "b", {"x": 2})
    other.close()
    store.close()


def points_to(handle: Path, target: Path) -> bool:
    try:
        return handle.resolve() == target.resolve()
    except OSError:
        return False


WRITER = """
import sys
from shared.errors import DocumentChangedError, DocumentExistsError
from shared.storage.sqlite import SqliteDocuments

path, name, forever = sys.argv[1], sys.argv[2], sys.argv[3] == "forever"
store = SqliteDocuments(path)
won = 0
for number in range(10**9 if forever else 100):
    store.create("own", f"{name}-{number}", {"x": "y" * 100})
    if forever and number == 50:
        print(number, flush=True)
    if forever:
        continue
    try:
        store.create("claims", str(number), {"by": name})
        won += 1
    except DocumentExistsError:
        pass
    if number % 4:
        continue
    try:
        store.create("counters", "c", {"n": 0})
    except DocumentExistsError:
        pass
    while True:
        counter = store.get("counters", "c")
        try:
            store.update("counters", "c", {"n": counter.fields["n"] + 1}, version=counter.version)
            break
        except DocumentChangedError:
            pass
print(won)
"""


def writer(path: Path, name: str, *, forever: bool = False) -> "subprocess.Popen[str]":
    """Start a process that writes documents of its own, claims shared ones and counts up a shared counter."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, "forever" if forever else "once"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def test_expired_documents_are_removed_by_whoever_writes_after_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    store = SqliteDocuments(tmp_path / "documents.sqlite", clock=clock)
    for id, minutes in (("soon", 30), ("now", 60), ("later", 61)):
        store.create("leases", id, {"expire_at": clock() + timedelta(minutes=minutes), "holder": "$x"})
    store.create("tenants", "acme", {"expire_at": "never", "inner": {"expire_at": clock()}})
    store.create("tenants", "beta", {"made": clock()})
    clock.advance(3599)
    store.create("tenants", "gamma", {})
    assert store.count("leases") == 3
    clock.advance(1)
    store.create("tenants", "delta", {})
    assert [found.id for found in store.find("leases")] == ["later"]
    assert store.count("tenants") == 4
    store.close()


def test_an_expired_document_that_gets_a_longer_life_meanwhile_stays(tmp_path: Path) -> None:
    clock = Clock()
    store = SqliteDocuments(tmp_path / "documents.sqlite")
    for number in range(1200):
        store.create("rows", f"{number:04}", {"expire_at": clock()})
    store.update("rows", "0007", {"expire_at": clock() + timedelta(seconds=1)})
    assert store.purge(clock()) == 1199
    assert [found.id for found in store.find("rows")] == ["0007"]
    store.close()
