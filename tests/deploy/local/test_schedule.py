"""What runs by the clock on one machine, with minutes that last as long as the test likes."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.bundle import Bundle
from deploy.local.schedule import Scheduler, send
from deploy.staging import Schedule
from tests.deploy.local.receiving import Receiver, receiving
from tests.deploy.repositories import a_repository, write

MINUTE = 0.02


@pytest.fixture
def worker() -> Iterator[Receiver]:
    with receiving() as worker:
        worker.status = 200
        yield worker


def base_url(worker: Receiver) -> str:
    return worker.url.removesuffix("/hook")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def runs(worker: Receiver) -> list[str]:
    """Return what the worker was asked to run, in order."""
    return [json.loads(request.body)["run"] for request in list(worker.received)]


def a_scheduler(worker: Receiver, said: list[str], **every: int) -> Scheduler:
    """Return a scheduler of jobs that are due every so many minutes."""
    rows = {name: Schedule(every=minutes, function="inbound_worker") for name, minutes in every.items()}
    return Scheduler(rows, {"inbound_worker": base_url(worker)}, said.append, minute=MINUTE)


def test_a_job_is_sent_as_cloud_scheduler_sends_it(worker: Receiver) -> None:
    assert send("heal", base_url(worker)) == ""
    (request,) = worker.received
    assert (request.method, request.path) == ("POST", "/tasks/inbound")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"kind": "every-tenant", "run": "heal"}


@pytest.mark.parametrize("status", [202, 302, 404, 500, 503])
def test_only_200_means_that_it_was_taken(worker: Receiver, status: int) -> None:
    worker.status = status
    assert send("heal", base_url(worker)) == f"the worker answered {status}"


def test_a_worker_that_is_not_there_or_says_nothing_is_told_by_the_errors_name(worker: Receiver) -> None:
    worker.status = -1
    assert send("heal", base_url(worker)) == "RemoteDisconnected"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert send("heal", f"http://127.0.0.1:{port}") == "ConnectionRefusedError"


def test_an_answer_that_is_no_http_is_told_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"canary\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        assert send("heal", f"http://127.0.0.1:{server.getsockname()[1]}") == "BadStatusLine"
        thread.join()


def test_each_job_comes_as_often_as_it_is_due_and_first_after_a_whole_interval(worker: Receiver) -> None:
    said: list[str] = []
    scheduler = a_scheduler(worker, said, **{"sweep-inbox": 5, "heal": 20})
    started = time.monotonic()
    scheduler.start()
    until(lambda: bool(worker.received))
    assert time.monotonic() - started >= 5 * MINUTE
    assert runs(worker)[0] == "sweep-inbox"
    until(lambda: runs(worker).count("heal") >= 2)
    scheduler.stop()
    assert runs(worker).count("sweep-inbox") > runs(worker).count("heal")
    assert said == []


def test_one_that_fails_is_told_and_the_next_is_sent_all_the_same(worker: Receiver) -> None:
    said: list[str] = []
    worker.statuses = [503, -1]
    scheduler = a_scheduler(worker, said, heal=1)
    scheduler.start()
    until(lambda: len(worker.received) >= 4)
    scheduler.stop()
    assert said == ["scheduled heal: the worker answered 503", "scheduled heal: RemoteDisconnected"]


def test_one_that_is_slow_delays_no_other(worker: Receiver) -> None:
    held, said = threading.Event(), list[str]()
    worker.meanwhile = lambda: held.wait(60) if runs(worker)[-1] == "slow" else None
    scheduler = a_scheduler(worker, said, slow=1, quick=2)
    scheduler.start()
    until(lambda: runs(worker).count("quick") >= 3)
    assert runs(worker).count("slow") == 1
    held.set()
    scheduler.stop()


def test_nothing_is_sent_after_it_was_stopped_which_takes_no_time(worker: Receiver) -> None:
    scheduler = a_scheduler(worker, [], heal=1440, sweep=1)
    scheduler.start()
    until(lambda: bool(worker.received))
    started = time.monotonic()
    scheduler.stop()
    scheduler.stop()
    assert time.monotonic() - started < 29  # the next of a day is half a minute away
    sent = len(worker.received)
    time.sleep(5 * MINUTE)
    assert len(worker.received) == sent


def test_one_that_never_started_can_be_stopped(worker: Receiver) -> None:
    a_scheduler(worker, [], heal=1).stop()


_PRINTS = """
import functions_framework

@functions_framework.http
def backstage_worker(request):
    print(request.method, request.path, request.get_data(as_text=True), flush=True)
    return {}
"""


def test_the_bundle_sends_what_is_due_to_its_own_worker(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "repository")
    write(repository / "functions/backstage_worker/main.py", _PRINTS)
    echoed: list[tuple[str, str]] = []
    with Bundle(
        tmp_path / "data",
        0,
        {"CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:0"},
        repository=repository,
        say=lambda _: None,  # the first may be due before the worker is up
        echo=lambda name, line: echoed.append((name, line)),
        minute=MINUTE,
    ):
        sent = ("backstage_worker", 'POST /tasks/inbound {"kind": "every-tenant", "run": "greet"}')
        until(lambda: sent in echoed)
