"""The Cloud Tasks emulator as a process: its one line, its signals, and what survives when it is killed."""

import contextlib
import json
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError

from deploy.local.tasks import TasksEmulator
from tests.deploy.local.tasks.cloud_tasks import (
    LOCATION,
    PATIENCE,
    QUEUE,
    TASK,
    Worker,
    eventually,
    record,
    tasks_client,
)
from tests.support.commands import run_queue

ROOT = Path(__file__).parents[4]


def command(database: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "deploy.local.tasks", "--database", str(database), "--port", "0", *options]


@contextmanager
def an_emulator(database: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Yield the process and the addresses it printed."""
    with subprocess.Popen(
        command(database, *options), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def create(client: Any, worker: Worker, name: str) -> None:
    client.create_task(
        parent=QUEUE, task={"name": name, "http_request": {"url": worker.url("/" + name[-8:])}}
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_serves_and_ends_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    with an_emulator(tmp_path / "tasks.db") as (process, addresses):
        assert set(addresses) == {"grpc", "http"}
        with tasks_client(addresses["grpc"]) as client:
            assert client.create_queue(parent=LOCATION, queue={"name": QUEUE}).name == QUEUE
        assert record(addresses["http"], "/queues")["queues"][0]["depth"] == 0

        process.send_signal(number)

        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.wait(PATIENCE) == 0


def test_a_process_killed_while_it_dispatches_sends_again_after_the_restart(
    tmp_path: Path, worker: Worker
) -> None:
    names = [f"{TASK}/{number:08d}" for number in range(30)]
    worker.hold.clear()
    with (
        an_emulator(tmp_path / "tasks.db") as (process, addresses),
        tasks_client(addresses["grpc"]) as client,
    ):
        client.create_queue(
            parent=LOCATION, queue={"name": QUEUE, "rate_limits": {"max_concurrent_dispatches": 10}}
        )
        for name in names:
            create(client, worker, name)
        worker.wait_for(10)
        process.kill()
        process.wait(PATIENCE)
    interrupted = {request.target for request in worker.received}
    assert len(interrupted) == 10
    worker.hold.set()

    with an_emulator(tmp_path / "tasks.db") as (_, addresses), tasks_client(addresses["grpc"]) as client:
        worker.wait_for(40)
        eventually(lambda: not list(client.list_tasks(parent=QUEUE)))
        attempts = record(addresses["http"], "/attempts?limit=1000")["attempts"]

    again = worker.received[10:]
    assert sorted(request.target for request in again) == sorted("/" + name[-8:] for name in names)
    for request in again:
        was_interrupted = request.target in interrupted
        assert request.headers["x-cloudtasks-taskretrycount"] == str(int(was_interrupted))
        assert request.headers.get("x-cloudtasks-taskretryreason") == (
            "interrupted" if was_interrupted else None
        )
    assert [attempt["failure"] for attempt in attempts] == ["interrupted"] * 10 + [""] * 30


def test_a_killed_process_loses_no_task_it_has_acknowledged(tmp_path: Path, worker: Worker) -> None:
    acknowledged: list[str] = []
    with (
        an_emulator(tmp_path / "tasks.db") as (process, addresses),
        tasks_client(addresses["grpc"]) as client,
    ):
        client.create_queue(parent=LOCATION, queue={"name": QUEUE})
        client.pause_queue(name=QUEUE)

        def keep_creating(caller: int) -> None:
            for number in range(100_000):
                name = f"{TASK}/{caller}-{number:06d}"
                try:
                    create(client, worker, name)
                except GoogleAPICallError:
                    return
                acknowledged.append(name)

        callers = [threading.Thread(target=keep_creating, args=(caller,)) for caller in range(4)]
        for caller in callers:
            caller.start()
        eventually(lambda: len(acknowledged) >= 200)
        process.kill()
        for caller in callers:
            caller.join()

    with an_emulator(tmp_path / "tasks.db") as (_, addresses), tasks_client(addresses["grpc"]) as client:
        kept = {task.name for task in client.list_tasks(parent=QUEUE)}

    assert set(acknowledged) <= kept
    assert len(kept - set(acknowledged)) <= 4  # at most one call of each caller was on its way


def refused(database: Path, *options: str) -> str:
    ended = run_queue("--database", str(database), "--port", "0", *options)
    assert ended.status != 0
    assert ended.out == ""
    return ended.err


def test_a_second_process_on_the_same_database_is_refused(tmp_path: Path) -> None:
    with TasksEmulator(tmp_path / "tasks.db"):
        assert "another queue emulator is serving tasks.db" in refused(tmp_path / "tasks.db")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with TasksEmulator(tmp_path / "tasks.db") as emulator:
        for option, address in (("--port", emulator.grpc_address), ("--http-port", emulator.http_address)):
            port = address.rsplit(":", 1)[1]
            assert f"port {port} is taken" in refused(tmp_path / "other.db", option, port)


def test_only_loopback_addresses_can_be_asked_for(tmp_path: Path) -> None:
    assert "invalid choice" in refused(tmp_path / "tasks.db", "--host", "0.0.0.0")  # noqa: S104 - it is refused


def test_a_file_that_is_no_emulator_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and quite a few of them. " * 100)
    with contextlib.closing(sqlite3.connect(tmp_path / "newer.db")) as connection:
        connection.execute("PRAGMA user_version = 99")

    assert "not an SQLite database" in refused(tmp_path / "notes.txt")
    assert "format 99" in refused(tmp_path / "newer.db")
    assert (tmp_path / "notes.txt").read_text().startswith("These are notes")


def test_a_new_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    with TasksEmulator(tmp_path / "tasks.db"):
        files = list(tmp_path.iterdir())

        assert {"tasks.db", "tasks.db-wal"} <= {file.name for file in files}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
