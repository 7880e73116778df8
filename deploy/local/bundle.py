"""The whole bundle on one machine: every function in its own process, the queue emulator, and the gateway before them.

Functions start as they do in the cloud: by the real launcher, from a staged source root, with the variables that
functions.yaml lists for them and no others. The environment decides which services they talk to.
"""

import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.exchange import Watch
from deploy.local.gateway import Gateway
from deploy.local.parts import complete_environment, function_process, queue_process
from deploy.local.ports import (
    CLOUD_TASKS,
    KLAVIYO,
    OMNEO,
    QUEUE,
    QUEUE_RECORD,
    check_free,
    keep_ports,
    kept_ports,
    planned,
    queue_port,
    with_kept,
)
from deploy.local.processes import StartError, Supervisor, listening
from deploy.local.schedule import MINUTE, Scheduler
from deploy.local.upstream import Upstream
from deploy.staging import (
    REPOSITORY,
    Function,
    StagingError,
    load_functions,
    load_routes,
    load_schedules,
    stage,
)

LARGEST_LOG = 5_000_000  # bytes; a larger one is put aside at the next start, as NAME.log.before
READY_SECONDS = 90.0  # for all functions at once, on a machine that has other things to do

_POLL = 0.05


class Bundle:
    """Everything that runs for `make run` and `make serve`, except the sandbox. Use as a context manager, or `start`.

    `environment` is completed for one machine (see `complete_environment`); functions get their share of it. Ports are those of
    `ports.py` from `port` on; with 0 they are free ones. All kept data is below `data_dir`. `say` gets one line for
    each thing that an operator should know; `echo`, if given, gets the functions' log lines as (name, line). `minute`
    is the length of a minute of the schedule, in seconds. `watch`, if given, gets each call that the gateway leads to a
    function, and its answer.
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
        watch: Watch | None = None,
    ) -> None:
        self.logs = data_dir.resolve() / "logs"
        self._data_dir = data_dir.resolve()
        self._port = port
        self._given = dict(environment)
        self._repository = repository
        self._say = say
        self._echo = echo
        self._minute = minute
        self._watch = watch
        self._supervisor: Supervisor | None = None
        self._gateway: Gateway | None = None
        self._scheduler: Scheduler | None = None
        self.environment: dict[str, str] = {}
        self.url = ""
        self.tasks_http = ""
        self.workers: dict[str, str] = {}
        self._function_ports: dict[str, int] = {}

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

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
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

    def restart(self, names: Collection[str], timeout: float = 30.0) -> None:
        """Stage these functions anew and start them again, all at once; return when they answer.

        Raises:
            StartError: one does not answer within `timeout` seconds. It is started again and again, with pauses.
        """
        if self._supervisor is None:
            raise StartError("the bundle was not started")
        self._supervisor.restart({name: partial(self._stage_again, name) for name in names})
        deadline = time.monotonic() + timeout
        for name in names:
            answers = listening(self._function_ports[name])
            while not answers(""):
                if time.monotonic() > deadline:
                    raise StartError(f"{name} does not answer; see {self.logs / name}.log")
                time.sleep(_POLL)

    def also_serve(self, paths: Sequence[str], port: int, timeout: float) -> None:
        """Lead the calls at these paths that no route of the product takes to one more port; see `Gateway.also_serve`."""
        if self._gateway is None:
            raise StartError("the bundle was not started")
        self._gateway.also_serve(paths, Upstream(port, timeout))

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
        ports = self._ports(functions, local_queue=local_queue)
        tasks_grpc, tasks_http = ports[QUEUE], ports[QUEUE_RECORD]
        self.workers = {
            name: f"http://127.0.0.1:{ports[name]}"
            for name, function in functions.items()
            if not function.public
        }
        _put_large_logs_aside(self.logs)
        self._gateway = Gateway(
            load_routes(self._repository),
            {name: Upstream(ports[name], function.timeout) for name, function in functions.items()},
            port=self._port,
            host=self._given.get("HOST") or "127.0.0.1",
            watch=self._watch,
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
            database = self._data_dir / "tasks.db"
            queue = queue_process(database, tasks_grpc, tasks_http, self._repository, self.logs)
            self._supervisor.start(queue)
        for function in functions.values():
            staged = self._stage(function.name)
            port = ports[function.name]
            self._supervisor.start(function_process(function, port, self.environment, staged, self.logs))
        self._scheduler = Scheduler(
            load_schedules(self._repository), self.workers, self._say, minute=self._minute
        )
        self._scheduler.start()
        self._gateway.start()
        self._function_ports = {name: ports[name] for name in functions}

    def _stage(self, name: str) -> Path:
        root = stage(name, self._data_dir / "staged" / name, repository=self._repository)
        _copy_compiled(self._repository / "shared", root / "shared")
        return root

    def _stage_again(self, name: str) -> None:
        try:
            self._stage(name)
        except (StagingError, OSError) as error:
            # A file was being written; its next change is another chance.
            self._say(f"{name} could not be staged: {error}")

    def _ports(self, functions: Mapping[str, Function], *, local_queue: bool) -> dict[str, int]:
        """Return the port of each part, all of them free.

        Raises:
            StartError: one is taken.
        """
        ports = planned(self._port, functions)
        if local_queue:
            ports[QUEUE] = queue_port(self._given.get(CLOUD_TASKS), ports[QUEUE])
        kept_file = self._data_dir / "worker-ports.json"
        ports = with_kept(
            ports, {name: port for name, port in kept_ports(kept_file).items() if name in functions}
        )
        not_ours = {KLAVIYO, OMNEO} | (set() if local_queue else {QUEUE, QUEUE_RECORD})
        check_free({name: port for name, port in ports.items() if name not in not_ours})
        keep_ports(kept_file, {name: ports[name] for name in functions if not functions[name].public})
        return ports


def _copy_compiled(sources: Path, copies: Path) -> None:
    """Give the copies what Python has compiled of their sources, as Google's build compiles what it is sent: a start takes less time.

    Python itself looks whether it is of the same source.
    """
    for compiled in sources.rglob(f"__pycache__/*.{sys.implementation.cache_tag}.pyc"):
        copy = copies / compiled.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process writes it anew
            shutil.copyfile(compiled, copy)


def _put_large_logs_aside(folder: Path) -> None:
    for log in folder.glob("*.log"):
        if log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_name(f"{log.name}.before"))
