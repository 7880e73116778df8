"""The whole bundle on one machine: every function in its own process, the queue emulator, and the gateway before them.

Functions start as they do in the cloud: by the real launcher, from a staged source root, with the variables that
functions.yaml lists for them and no others. Which services they talk to is decided by whoever gives the environment.
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.gateway import Gateway
from deploy.local.processes import Process, StartError, Supervisor, free_ports, listening
from deploy.local.schedule import MINUTE, Scheduler
from deploy.local.upstream import Upstream
from deploy.staging import REPOSITORY, Function, load_functions, load_routes, load_schedules, stage

DEFAULT_TASKS_EMULATOR = "127.0.0.1:8123"

_QUEUE = "tasks"
# Never set in the cloud, so functions.yaml does not list them.
_LOCAL_ONLY = ("CLOUD_TASKS_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")


class Bundle:
    """Everything that runs for `make run` and `make serve`, but the sandbox. Use as a context manager, or `start`.

    `environment` is completed for one machine (see `complete_environment`); functions get their share of it. `port` 0
    takes a free one. Everything kept is below `data_dir`. `say` is told what an operator should know, in one line;
    `echo`, when given, gets the functions' log lines as (name, line). `minute` is how many seconds one of the schedule lasts.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int,
        environment: Mapping[str, str],
        *,
        repository: Path = REPOSITORY,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        echo: Callable[[str, str], None] | None = None,
        minute: float = MINUTE,
    ) -> None:
        self.logs = data_dir.resolve() / "logs"
        self._data_dir = data_dir.resolve()
        self._port = port
        self._given = dict(environment)
        self._repository = repository
        self._say = say
        self._echo = echo
        self._minute = minute
        self._supervisor: Supervisor | None = None
        self._gateway: Gateway | None = None
        self._scheduler: Scheduler | None = None
        self.environment: dict[str, str] = {}
        self.url = ""
        self.tasks_http = ""
        self.workers: dict[str, str] = {}

    def start(self) -> None:
        """Start everything at once and return without waiting. After this `url` and `environment` are known.

        Raises:
            StartError: a port is taken or a program is missing.
            StagingError: a function cannot be staged.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return when every function and the queue answer.

        Raises:
            StartError: one of them stopped or was not ready in time; everything has been stopped again.
        """
        if self._supervisor is None:
            raise StartError("the bundle was not started")
        try:
            self._supervisor.wait_ready(timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the gateway, which hangs up on its callers, then everything behind it. Safe to call again."""
        if self._scheduler is not None:
            self._scheduler.stop()
        if self._gateway is not None:
            self._gateway.stop()
        if self._supervisor is not None:
            self._supervisor.stop()

    def pid(self, name: str) -> int:
        """Return the process id of a function, or of the queue (`tasks`), in its present life."""
        if self._supervisor is None:
            raise StartError("the bundle was not started")
        return self._supervisor.pid(name)

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        functions = load_functions(self._repository)
        local_queue = self._given.get("QUEUE") != "cloud-tasks"
        grpc_spare, tasks_http = free_ports(2)
        ports = self._function_ports(functions)
        tasks_grpc = self._tasks_port(grpc_spare)
        self.workers = {
            name: f"http://127.0.0.1:{ports[name]}"
            for name, function in functions.items()
            if not function.public
        }
        self._gateway = Gateway(
            load_routes(self._repository),
            {name: Upstream(ports[name], function.timeout) for name, function in functions.items()},
            port=self._port,
            host=self._given.get("HOST") or "127.0.0.1",
        )
        self.url = self._gateway.url
        self.environment = complete_environment(
            {"EXTENSION_URL": self.url, **self._given},
            self._data_dir,
            self.workers,
            tasks_port=tasks_grpc if local_queue else None,
        )
        self._supervisor = Supervisor(say=self._say, echo=self._echo)
        if local_queue:
            self.tasks_http = f"http://127.0.0.1:{tasks_http}"
            self._supervisor.start(self._queue(tasks_grpc, tasks_http))
        for function in functions.values():
            self._supervisor.start(self._launch(function, ports[function.name]))
        self._scheduler = Scheduler(
            load_schedules(self._repository), self.workers, self._say, minute=self._minute
        )
        self._scheduler.start()
        self._gateway.start()

    def _launch(self, function: Function, port: int) -> Process:
        root = stage(function.name, self._data_dir / "staged" / function.name, repository=self._repository)
        launcher = ("--target", function.entry_point, "--source", "main.py", "--host", "127.0.0.1")
        wanted = (*function.variables, *_LOCAL_ONLY)
        return Process(
            name=function.name,
            argv=(_launcher(), *launcher, "--port", str(port)),
            env={
                **{name: self.environment[name] for name in wanted if name in self.environment},
                "THREADS": str(function.concurrency),
                "PORT": str(port),
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONUNBUFFERED": "1",
            },
            cwd=root,
            log=self.logs / f"{function.name}.log",
            ready=listening(port),
        )

    def _queue(self, grpc: int, http: int) -> Process:
        database = str(self._data_dir / "tasks.db")
        options = ("--database", database, "--port", str(grpc), "--http-port", str(http))
        return Process(
            name=_QUEUE,
            argv=(sys.executable, "-m", "deploy.local.tasks", *options),
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"},
            cwd=self._repository,
            log=self.logs / f"{_QUEUE}.log",
            ready=_addresses_printed,
        )

    def _function_ports(self, functions: Mapping[str, Function]) -> dict[str, int]:
        """Return a port for each function, a worker's the same as the last time: tasks that wait carry its address.

        Raises:
            StartError: somebody else listens on a worker's port, and would be sent its tasks.
        """
        kept = self._data_dir / "worker-ports.json"
        before: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
        ports = dict(zip(functions, free_ports(len(functions)), strict=True))
        workers = {name: before.get(name, port) for name, port in ports.items() if not functions[name].public}
        for name, port in workers.items():
            if not _is_free(port):
                raise StartError(
                    f"port {port}, where {name} listened before, is taken; waiting tasks need it"
                )
        self._data_dir.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(workers))
        return ports | workers

    def _tasks_port(self, spare: int) -> int:
        """Return the port named by CLOUD_TASKS_EMULATOR_HOST; without it the default one, or `spare` if it is taken."""
        named = self._given.get("CLOUD_TASKS_EMULATOR_HOST")
        port = int((named or DEFAULT_TASKS_EMULATOR).rpartition(":")[2])
        if port == 0:
            return spare
        if _is_free(port):
            return port
        if named:
            raise StartError(f"CLOUD_TASKS_EMULATOR_HOST names port {port}, which is taken")
        self._say(f"port {port} is taken, so the queue listens on {spare}")
        return spare


def complete_environment(
    given: Mapping[str, str], data_dir: Path, workers: Mapping[str, str], *, tasks_port: int | None
) -> dict[str, str]:
    """Return `given` with what one machine knows better, and defaults for what only the cloud needs.

    Workers are reached on their own ports, a local queue on its own, and a SQLite store at an absolute path, because
    each function has its own working directory. Without a local queue (`tasks_port` None) given worker URLs stay.
    """
    own = {f"{name.upper()}_URL": url for name, url in workers.items()}
    completed = {
        "TASKS_SERVICE_ACCOUNT": "tasks@local.invalid",
        "GOOGLE_CLOUD_PROJECT": "local",
        "GOOGLE_CLOUD_REGION": "local",
        "STORE": f"sqlite:{data_dir / 'documents.db'}",
        **own,
        **{name: value for name, value in given.items() if value},
    }
    if tasks_port is not None:
        local = {"QUEUE": "local", "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{tasks_port}"}
        completed.update({**own, **local})
    kind, _, path = completed["STORE"].partition(":")
    if kind == "sqlite":
        completed["STORE"] = f"sqlite:{Path(path).absolute()}"
    return completed


def _launcher() -> str:
    """Return the functions-framework program of this Python, which Google's runtime starts functions with."""
    beside = Path(sys.executable).with_name("functions-framework")
    found = str(beside) if beside.exists() else shutil.which("functions-framework")
    if found is None:
        raise StartError("functions-framework is not installed; run make setup")
    return found


def _addresses_printed(output: str) -> bool:
    """Return whether the queue emulator has said, in a line of JSON, where it listens."""
    first = next((line for line in output.splitlines() if line.startswith("{")), "null")
    try:
        return "grpc" in (json.loads(first) or {})
    except ValueError:
        return False  # the line is still being written


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
