"""The bundle on one machine starts functions as the cloud does, and keeps them up."""

import compileall
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path

import pytest
import requests

from deploy.local.bundle import LARGEST_LOG, READY_SECONDS, Bundle
from deploy.local.free_ports import free_port
from deploy.local.parts import complete_environment
from deploy.local.processes import StartError
from deploy.staging import StagingError
from tests.deploy.repositories import a_repository, write

ANY_TASKS_PORT = {"CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:0"}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Iterator[Bundle]:
    root = tmp_path_factory.mktemp("bundle")
    environment = {
        **ANY_TASKS_PORT,
        "STORE": "sqlite:data.db",
        "ENCRYPTION_KEYS": "one:key",
        "KLAVIYO_CLIENT_SECRET": "not for hello",
        "PYTHONPATH": "/nowhere",
        "HOME": "/nowhere",
    }
    repository = a_repository(root / "repository")
    compileall.compile_dir(repository / "shared", quiet=1)
    with Bundle(root / "data", 0, environment, repository=repository, say=said.append) as bundle:
        yield bundle


def environment_at(url: str) -> dict[str, str]:
    environment: dict[str, str] = requests.get(url, timeout=60).json()["environment"]
    return environment


def test_a_public_path_reaches_its_function_as_it_was_written(bundle: Bundle) -> None:
    answer = requests.post(f"{bundle.url}/acme/hello/a%2Fb?c=%20d", json={}, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["greeting"] == "hello"
    assert answer.json()["path"] == "/acme/hello/a%2Fb?c=%20d"


def test_a_worker_is_reached_on_its_own_port_and_not_through_the_gateway(bundle: Bundle) -> None:
    assert bundle.workers.keys() == {"backstage_worker"}
    direct = requests.post(bundle.workers["backstage_worker"] + "/tasks/backstage", timeout=60)
    assert direct.json()["path"] == "/tasks/backstage"
    assert requests.post(bundle.url + "/tasks/backstage", timeout=60).status_code == 404


def test_a_function_gets_the_variables_of_its_row_and_no_others(bundle: Bundle) -> None:
    given = environment_at(bundle.url + "/acme/hello/")
    # The launcher and Python themselves set the second line.
    assert given.keys() - {"FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE", "SERVER_SOFTWARE", "LC_CTYPE"} == {
        "STORE", "BACKSTAGE_WORKER_URL", "ENCRYPTION_KEYS", "CLOUD_TASKS_EMULATOR_HOST",
        "PATH", "PORT", "THREADS", "PYTHONUNBUFFERED",
    }  # fmt: skip
    assert given["THREADS"] == "4"
    assert given["BACKSTAGE_WORKER_URL"] == bundle.workers["backstage_worker"]
    assert given["CLOUD_TASKS_EMULATOR_HOST"] == bundle.environment["CLOUD_TASKS_EMULATOR_HOST"]
    worker = environment_at(bundle.workers["backstage_worker"] + "/")
    assert "ENCRYPTION_KEYS" not in worker


def test_every_function_finds_the_same_database(bundle: Bundle) -> None:
    hello = environment_at(bundle.url + "/acme/hello/")
    worker = environment_at(bundle.workers["backstage_worker"] + "/")
    assert hello["STORE"] == worker["STORE"] == bundle.environment["STORE"]
    assert Path(hello["STORE"].removeprefix("sqlite:")).is_absolute()


def test_a_function_starts_with_what_is_compiled_of_its_source_already(bundle: Bundle) -> None:
    folder = bundle.logs.parents[1]
    compiled = Path(cache_from_source("shared/greeting.py"))
    there = (folder / "repository" / compiled).read_bytes()
    assert (folder / "data/staged/hello" / compiled).read_bytes() == there
    # A copy that was compiled anew would name another file.
    assert str(folder / "repository/shared/greeting.py").encode() in there


def test_a_killed_function_comes_back_on_its_port(bundle: Bundle, said: list[str]) -> None:
    before = bundle.pid("hello")
    os.kill(before, signal.SIGKILL)
    until(lambda: bundle.pid("hello") != before)
    until(lambda: requests.get(bundle.url + "/acme/hello/", timeout=60).status_code == 200)
    assert said == [f"hello stopped (SIGKILL), starting it again; see {bundle.logs}/hello.log"]


def test_a_function_is_started_again_with_its_source_as_it_is_now(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "repository")
    said: list[str] = []
    with Bundle(tmp_path / "data", 0, ANY_TASKS_PORT, repository=repository, say=said.append) as bundle:
        other = bundle.pid("backstage_worker")
        write(repository / "shared/greeting.py", 'GREETING = "good evening"\n')
        bundle.restart(["hello"], timeout=READY_SECONDS)
        assert requests.get(bundle.url + "/acme/hello/", timeout=60).json()["greeting"] == "good evening"
        assert bundle.pid("backstage_worker") == other
    assert said == []


def test_a_function_whose_new_source_is_broken_is_reported_and_mended_by_the_next_change(
    tmp_path: Path,
) -> None:
    repository = a_repository(tmp_path / "repository")
    with Bundle(
        tmp_path / "data", 0, ANY_TASKS_PORT, repository=repository, say=lambda _line: None
    ) as bundle:
        write(repository / "shared/greeting.py", "GREETING = \n")
        with pytest.raises(StartError, match=r"hello does not answer; see .*/hello\.log"):
            bundle.restart(["hello"], timeout=1.0)
        write(repository / "shared/greeting.py", 'GREETING = "good evening"\n')
        bundle.restart(["hello"], timeout=READY_SECONDS)
        assert requests.get(bundle.url + "/acme/hello/", timeout=60).json()["greeting"] == "good evening"


def test_a_large_log_is_put_aside_at_the_next_start(tmp_path: Path) -> None:
    write(tmp_path / "data/logs/hello.log", "x" * (LARGEST_LOG + 1))
    with Bundle(tmp_path / "data", 0, ANY_TASKS_PORT, repository=a_repository(tmp_path / "r")) as bundle:
        assert (bundle.logs / "hello.log").stat().st_size < 1000
    assert (bundle.logs / "hello.log.before").stat().st_size > LARGEST_LOG


def test_stopping_leaves_no_port_open_and_keeps_the_logs(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "repository")
    (tmp_path / "data/logs").mkdir(parents=True)
    (tmp_path / "data/logs/hello.log").write_text("yesterday\n")
    write(
        repository / "functions/hello/main.py",
        (repository / "functions/hello/main.py").read_text() + "print('today')\n",
    )
    echoed: list[tuple[str, str]] = []
    with Bundle(
        tmp_path / "data",
        0,
        ANY_TASKS_PORT,
        repository=repository,
        echo=lambda name, line: echoed.append((name, line)),
    ) as bundle:
        ports = [int(url.rpartition(":")[2]) for url in (bundle.url, *bundle.workers.values())]
        assert bundle.tasks_http.startswith("http://127.0.0.1:")
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=60)
    assert re.fullmatch(r"yesterday\n\S+Z today\n", (bundle.logs / "hello.log").read_text())
    assert ("hello", "today") in echoed


def test_a_function_that_cannot_be_imported_stops_the_start_and_says_why(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "repository")
    write(repository / "functions/hello/main.py", "import shared.no_such_module\n")
    bundle = Bundle(tmp_path / "data", 0, ANY_TASKS_PORT, repository=repository)
    bundle.start()
    with pytest.raises(StartError, match=r"hello stopped while it was starting (.|\n)*no_such_module"):
        bundle.wait_ready()
    with pytest.raises(requests.ConnectionError):
        requests.get(bundle.url, timeout=60)


def test_a_function_without_code_stops_the_start(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "repository")
    (repository / "functions/backstage_worker/main.py").unlink()
    with pytest.raises(StagingError, match="backstage_worker"):
        Bundle(tmp_path / "data", 0, ANY_TASKS_PORT, repository=repository).start()


def test_with_cloud_tasks_no_emulator_is_started(tmp_path: Path) -> None:
    environment = {"QUEUE": "cloud-tasks", "BACKSTAGE_WORKER_URL": "https://worker.test"}
    repository = a_repository(tmp_path / "repository")
    with Bundle(tmp_path / "data", 0, environment, repository=repository) as bundle:
        given = environment_at(bundle.url + "/acme/hello/")
    assert bundle.tasks_http == ""
    assert not (bundle.logs / "tasks.log").exists()
    assert "CLOUD_TASKS_EMULATOR_HOST" not in given
    assert given["BACKSTAGE_WORKER_URL"] == "https://worker.test"


def test_a_queue_port_that_was_named_and_is_taken_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {"CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{port}"}
        bundle = Bundle(tmp_path / "data", 0, environment, repository=a_repository(tmp_path / "repository"))
        with pytest.raises(StartError, match=f"Port {port}, for CLOUD_TASKS_EMULATOR_HOST, is taken"):
            bundle.start()


def test_a_taken_public_port_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bundle = Bundle(
            tmp_path / "data", port, ANY_TASKS_PORT, repository=a_repository(tmp_path / "repository")
        )
        with pytest.raises(StartError, match=f"Port {port}, for the gateway, is taken"):
            bundle.start()
    assert not bundle.logs.exists()


# What an environment is completed with.


def test_an_empty_environment_is_enough_for_one_machine(tmp_path: Path) -> None:
    workers = {"outbound_worker": "http://127.0.0.1:1"}
    assert complete_environment({}, tmp_path, workers, tasks_port=8123) == {
        "QUEUE": "local",
        "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:8123",
        "OUTBOUND_WORKER_URL": "http://127.0.0.1:1",
        "TASKS_SERVICE_ACCOUNT": "tasks@local.invalid",
        "GOOGLE_CLOUD_PROJECT": "local",
        "GOOGLE_CLOUD_REGION": "local",
        "STORE": f"sqlite:{tmp_path}/documents.db",
    }


def test_what_is_given_is_kept_but_a_local_queue_calls_local_workers(tmp_path: Path) -> None:
    given = {
        "STORE": "firestore",
        "GOOGLE_CLOUD_PROJECT": "acme",
        "OUTBOUND_WORKER_URL": "https://elsewhere.test",
        "KLAVIYO_API_URL": "http://127.0.0.1:9",
        "OMNEO_API_URL": "",
    }
    completed = complete_environment(
        given, tmp_path, {"outbound_worker": f"http://127.0.0.1:{free_port()}"}, tasks_port=1
    )
    assert completed["STORE"] == "firestore"
    assert completed["GOOGLE_CLOUD_PROJECT"] == "acme"
    assert completed["KLAVIYO_API_URL"] == "http://127.0.0.1:9"
    assert completed["OUTBOUND_WORKER_URL"].startswith("http://127.0.0.1:")
    assert "OMNEO_API_URL" not in completed


def test_a_relative_database_path_counts_from_where_the_bundle_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    completed = complete_environment({"STORE": "sqlite:x/y.db"}, tmp_path, {}, tasks_port=None)
    assert completed["STORE"] == f"sqlite:{tmp_path}/x/y.db"
