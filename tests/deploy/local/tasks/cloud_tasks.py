"""What the tests of the Cloud Tasks emulator share: a worker that remembers, a clock to move, the real client."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from deploy.local.tasks import TasksEmulator

LOCATION = "projects/demo/locations/here"
QUEUE = f"{LOCATION}/queues/acme-klaviyo-outbound"
TASK = f"{QUEUE}/tasks"
NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, UTC)
PATIENCE = 60.0  # seconds that a busy machine may take; nobody waits for them whose condition is met


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now.timestamp()

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Received:
    """A request as it reached the worker. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Reply:
    """What the worker answers."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


class Worker:
    """An HTTP server that remembers what it was sent. It answers 204 unless told otherwise."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: list[Reply] = []
        self.hold = threading.Event()
        self.hold.set()
        self.busy = 0
        self.busiest = 0
        self.changed = threading.Condition()
        worker = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 65536

            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return lambda: worker._answer(self)
                raise AttributeError(name)

            def log_message(self, format: str, *_: object) -> None:
                """Stay silent."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """Stay silent when a caller has gone away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    def url(self, target: str = "/tasks/outbound") -> str:
        return f"http://127.0.0.1:{self.port}{target}"

    def targets(self) -> list[str]:
        return [request.target for request in self.received]

    def header(self, name: str) -> list[str | None]:
        return [request.headers.get(name.lower()) for request in self.received]

    def wait_for(self, count: int, *, seconds: float = PATIENCE) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, seconds), (
                "the worker was not called"
            )

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, call: BaseHTTPRequestHandler) -> None:
        body = call.rfile.read(int(call.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in call.headers.items()}
        with self.changed:
            self.received.append(Received(call.command, call.path, headers, body, time.time()))
            reply = self.replies.pop(0) if self.replies else Reply()
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
            self.changed.notify_all()
        self.hold.wait(2 * PATIENCE)
        with self.changed:
            self.busy -= 1
        if reply.raw is not None:
            call.wfile.write(reply.raw)
            return
        call.send_response(reply.status)
        for name, value in reply.headers.items():
            call.send_header(name, value)
        call.end_headers()


@contextmanager
def tasks_client(address: str) -> Iterator[Any]:
    """Yield the real client, made as the product makes it. It takes dicts for messages, which its types leave out."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))


def record(address: str, target: str) -> Any:
    with urllib.request.urlopen(f"http://{address}{target}", timeout=PATIENCE) as response:
        return json.load(response)


@dataclass
class World:
    """An emulator, its client, a worker and one queue."""

    emulator: TasksEmulator
    client: Any
    worker: Worker
    clock: MovableClock

    def queue(self, name: str = QUEUE, **settings: object) -> Any:
        return self.client.update_queue(queue={"name": name, **settings})

    def add(self, target: str = "/tasks/outbound", *, queue: str = QUEUE, **task: Any) -> Any:
        """Create a task for the worker; `http_request` in `task` adds to the request."""
        request = {"url": self.worker.url(target)} | task.pop("http_request", {})
        return self.client.create_task(parent=queue, task={"http_request": request, **task})

    def step(self, **advance: float) -> None:
        self.clock.advance(**advance)
        self.emulator.step()

    def left(self, queue: str = QUEUE) -> list[str]:
        return [task.name for task in self.client.list_tasks(parent=queue)]

    def attempts(self, query: str = "") -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = record(self.emulator.http_address, f"/attempts?{query}")["attempts"]
        return found


@cache
def _a_database() -> bytes:
    """Return an emulator's database with one queue, made once: a signing key takes longer than most tests."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / "tasks.db"
        with TasksEmulator(database) as emulator, tasks_client(emulator.grpc_address) as client:
            client.create_queue(parent=LOCATION, queue={"name": QUEUE})
        return database.read_bytes()


@contextmanager
def a_world(folder: Path, *, stepped: bool = True, **options: Any) -> Iterator[World]:
    """Yield a world with one queue. Stepped, its clock stands at NOON; else it is the machine's, unless one is given."""
    clock, worker, database = MovableClock(), Worker(), folder / "tasks.db"
    if not database.exists():
        database.write_bytes(_a_database())
    if stepped:
        options["clock"] = clock
    try:
        with (
            TasksEmulator(database, stepped=stepped, **options) as emulator,
            tasks_client(emulator.grpc_address) as client,
        ):
            yield World(emulator, client, worker, clock)
    finally:
        worker.close()


def eventually(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
