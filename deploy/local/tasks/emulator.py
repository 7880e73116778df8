"""The emulator put together: database, dispatcher, gRPC server and record, started and stopped as one."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from deploy.local.tasks.database import Database
from deploy.local.tasks.delivery import deliver
from deploy.local.tasks.dispatcher import Deliver, Dispatcher
from deploy.local.tasks.exchanges import Exchanges
from deploy.local.tasks.identity import Identity
from deploy.local.tasks.mischief import Mischief
from deploy.local.tasks.model import SECOND
from deploy.local.tasks.queue_table import QueueTable
from deploy.local.tasks.record import Record, RecordServer
from deploy.local.tasks.server import CloudTasks, handler
from deploy.local.tasks.task_table import TaskTable

LOOPBACK = ("127.0.0.1", "::1")
_OPTIONS = [
    ("grpc.so_reuseport", 0),  # else a second server would share the port and take half of the calls
    (
        "grpc.max_receive_message_length",
        16 * 1024 * 1024,
    ),  # so that a task too large is refused by its own rule
]


class PortInUseError(Exception):
    """Somebody else listens on the port asked for."""


class TasksEmulator:
    """A local Cloud Tasks. Use it as a context manager, or `start` and `stop` it, once.

    `clock` gives seconds since 1970. With `stepped`, only `step` dispatches, so that a test can move its clock without
    real waits. The deadline of an attempt is wall time in any case. `mischief` doubles, reorders and slows down.
    Without `durable`, nothing waits for the disk: a crash of the machine may lose data.
    """

    def __init__(
        self,
        database: Path,
        *,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int = 0,
        stepped: bool = False,
        deliver: Deliver = deliver,
        durable: bool = True,
    ) -> None:
        """Remember the parameters of the start. Port 0 means any free one.

        Raises:
            ValueError: `host` is not this machine's loopback address.
        """
        if host not in LOOPBACK:
            raise ValueError(
                "the emulator binds to 127.0.0.1 or ::1 only: it lets anybody who can reach it send requests"
            )
        self._path = database
        self._clock = clock
        self._host = host
        self._ports = port, http_port
        self._stepped = stepped
        self._deliver = deliver
        self._durable = durable
        self.mischief = Mischief()
        self.methods: grpc.GenericRpcHandler | None = None  # as a gRPC server takes them, while it serves
        self._running = contextlib.ExitStack()
        self._dispatcher: Dispatcher | None = None
        self._addresses = "", ""

    def start(self) -> None:
        """Open the database and serve. Tasks that a killed process was dispatching are dispatched again.

        Raises:
            DatabaseInUseError: another emulator serves this file.
            DatabaseFormatError: the file is something else.
            PortInUseError: a port asked for is taken.
        """
        with contextlib.ExitStack() as starting:
            database = Database(self._path, durable=self._durable)
            starting.callback(database.close)
            queues, tasks = QueueTable(database), TaskTable(database)
            tasks.recover()
            identity, exchanges = Identity(database), Exchanges()
            dispatcher = Dispatcher(
                queues,
                tasks,
                identity,
                clock=self._now,
                deliver=self._deliver,
                mischief=self.mischief,
                exchanges=exchanges,
            )
            starting.callback(dispatcher.stop)
            methods = handler(CloudTasks(queues, tasks, dispatcher, clock=self._now))
            grpc_port = self._serve_grpc(starting, methods)
            record = Record(
                database, identity.certificates, exchanges, clock=self._now, mischief=self.mischief
            )
            http_port = self._serve_http(starting, record)
            if not self._stepped:
                dispatcher.start()
            self.methods, self._dispatcher = methods, dispatcher
            self._addresses = self._address(grpc_port), self._address(http_port)
            self._running = starting.pop_all()

    def stop(self) -> None:
        """Stop serving and close the database; attempts that are running are cut off and made again at the next start."""
        self.methods = None
        self._running.close()

    def step(self) -> None:
        """Dispatch everything that is due at this moment of the clock, and return once it is settled.

        Only for an emulator made with `stepped`. It does not end while a queue whose back-off is zero keeps failing.
        """
        if self._dispatcher is None or not self._stepped:
            raise RuntimeError("step is for an emulator that was made with stepped=True and started")
        self._dispatcher.step()

    @property
    def grpc_address(self) -> str:
        """The address for `CloudTasksGrpcTransport`, as HOST:PORT."""
        return self._addresses[0]

    @property
    def http_address(self) -> str:
        """The address of the record, as HOST:PORT."""
        return self._addresses[1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _now(self) -> int:
        return round(self._clock() * SECOND)

    def _address(self, port: int) -> str:
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    def _serve_grpc(self, starting: contextlib.ExitStack, methods: grpc.GenericRpcHandler) -> int:
        pool = starting.enter_context(ThreadPoolExecutor(16, thread_name_prefix="method"))
        server = grpc.server(pool, handlers=[methods], options=_OPTIONS)
        starting.callback(lambda: server.stop(None).wait())
        try:
            port = server.add_insecure_port(self._address(self._ports[0]))
        except RuntimeError as error:
            raise PortInUseError(f"port {self._ports[0]} is taken; name another") from error
        server.start()
        return port

    def _serve_http(self, starting: contextlib.ExitStack, record: Record) -> int:
        try:
            server = RecordServer(record, self._host, self._ports[1])
        except OSError as error:
            raise PortInUseError(f"port {self._ports[1]} is taken; name another") from error
        starting.callback(server.stop)
        server.start()
        return server.port
