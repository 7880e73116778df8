"""The world around the extension, as fixtures: one clock, the sandbox Omneo and Klaviyo, the queue emulator, a store.

The services that a handler gets here are the real ones, on a store in a temporary folder; only time, chance and sleep belong
to the test. Every personal or secret value holds the word that canary.py looks for.
"""

import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from random import Random
from shutil import copyfile
from typing import Any

import pytest
from flask import Flask, Response, request
from google.cloud.tasks_v2 import Task
from pydantic import SecretStr
from werkzeug.serving import BaseWSGIServer, make_server

from deploy.local.sandbox import Sandbox
from deploy.local.tasks import TasksEmulator
from shared.direction import Direction
from shared.installation.connecting import connect, prepare_queues
from shared.jobs import cloud_tasks
from shared.jobs.cloud_tasks import CloudTasksQueue
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import write_job
from shared.klaviyo.oauth import TokenAnswer
from shared.services import Services
from shared.settings import TASKS, Needs, Settings
from shared.storage.encryption import new_key
from shared.storage.sqlite import SqliteDocuments
from shared.tenants.keys import hash_of
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import InstallationKey, Outage, StoredSecret, Tenant
from shared.web.endpoints import worker
from shared.worker.delivery import deliver as work_on
from tests.support.wire import app_reached_directly, deliver, reached_directly

TENANT = "acme"
ACCOUNT = "AcmeAc"
EMAIL = "canary-jane@example.org"
OMNEO_TOKEN = "canary-omneo-token"
SIGNING_SECRET = "canary-signing-secret"
WEBHOOK_SECRET = "canary-webhook-secret"
INSTALLATION_KEY = "oik_canary-installation-key"  # of the form of real ones, which is no tenant's name
EXTENSION_URL = "https://extension.example.org"
WORKER_ANSWERS = frozenset({200, 503})  # to the queue: it is done with, or is to come again
EVERYTHING = Needs.STORE | TASKS | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL


@dataclass
class Clock:
    """A clock that stands still until a test moves it. Call it for the time; `sleep` moves it and remembers how far."""

    now: datetime = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.now

    def timestamp(self) -> float:
        """Return Unix seconds."""
        return self.now.timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Let time pass, and note that somebody waited."""
        self.slept.append(seconds)
        self.advance(seconds)


@dataclass
class World:
    """Everything outside the extension, and its services."""

    clock: Clock
    sandbox: Sandbox
    tasks: TasksEmulator
    environment: dict[str, str]
    services: Services
    answers: list[int] = field(default_factory=list)  # of the workers, to the queue

    def tenant(self, name: str = TENANT, *, installed: bool = True, **changes: Any) -> Tenant:
        """Store a tenant that both sandboxes know, with queues and a Klaviyo account if `installed`."""
        self.sandbox.omneo.tenant(name, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
        self.services.tenants.create(a_tenant(name, self.clock(), **changes))
        return self.install(name) if installed else self.read(name)

    def install(self, name: str = TENANT) -> Tenant:
        """Connect the tenant to a Klaviyo account, as the install does."""
        tokens = self.sandbox.klaviyo.install(ACCOUNT)
        answer = TokenAnswer.model_validate(tokens.to_json())
        tenant = connect(name, answer, tenants=self.services.tenants, now=self.clock())
        prepare_queues(tenant, self.services.queue)
        return tenant

    def disconnect(self, name: str = TENANT) -> None:
        """Let Klaviyo have refused the tenant's refresh token for good."""

        def edit(tenant: Tenant) -> Tenant:
            assert tenant.klaviyo is not None
            lost = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
            outages = (*tenant.outages, Outage(began=self.clock()))
            return tenant.model_copy(update={"klaviyo": lost, "outages": outages})

        self.services.tenants.change(name, edit)

    def live(self) -> None:
        """Set the clock to the real time: a function that is loaded alone uses it."""
        self.clock.now = datetime.now(UTC).replace(microsecond=0)

    def read(self, name: str = TENANT) -> Tenant:
        """Return the tenant as it is stored now."""
        tenant = self.services.tenants.find(name)
        assert tenant is not None
        return tenant

    def work(self, seconds: float = 0.0) -> None:
        """Let time pass and the queue deliver all that is due to the worker."""
        self.clock.advance(seconds)
        self.tasks.step()

    def events(self) -> list[Any]:
        """Return the events that Klaviyo has recorded."""
        return self.sandbox.klaviyo.events(ACCOUNT)

    def queued(self, direction: Direction, name: str = TENANT) -> list[bytes]:
        """Return the bodies of the tasks that wait on one of the tenant's queues, the first to come first."""
        queue = self.services.queue
        assert isinstance(queue, CloudTasksQueue)
        asked = {"parent": queue._of(self.read(name), direction), "response_view": Task.View.FULL}
        tasks = sorted(queue._client.list_tasks(request=asked), key=lambda task: str(task.create_time))
        return [task.http_request.body for task in tasks]

    def waiting(self) -> int:
        """Return how many tasks wait, on all queues; asked of the queue's database, for it is asked after every step of a story."""
        dispatcher = self.tasks._dispatcher
        assert dispatcher is not None
        (row,) = dispatcher._tasks._database.read("SELECT COUNT(*) AS waiting FROM tasks")
        return int(row["waiting"])

    def dead_jobs(self, name: str = TENANT) -> list[Any]:
        """Return the tenant's dead jobs."""
        return DeadJobStore.of(self.services).page(name)

    def bury(self, job: Any, *, id: str = "", **changes: Any) -> DeadJob:
        """Put a job on the desk as the worker does, once Klaviyo has refused it."""
        fields: dict[str, Any] = {
            "id": id or job.id,
            "tenant": TENANT,
            "kind": job.kind,
            "reason": "Klaviyo refused it.",
            "body": write_job(job),
            "attempts": 1,
            "died_at": self.clock(),
            **changes,
        }
        dead = DeadJob(**fields)
        DeadJobStore.of(self.services).add(dead, keep=timedelta(days=30))
        return dead


def a_tenant(name: str, now: datetime, **changes: Any) -> Tenant:
    """Return a tenant that has not installed yet."""
    fields: dict[str, Any] = {
        "name": name,
        "created_at": now,
        "installation_keys": (InstallationKey(hash=hash_of(INSTALLATION_KEY), created_at=now),),
        "omneo_token": SecretStr(OMNEO_TOKEN),
        "omneo_signing_secrets": (StoredSecret(value=SecretStr(SIGNING_SECRET), created_at=now),),
        "webhook_secrets": (StoredSecret(value=SecretStr(WEBHOOK_SECRET), created_at=now),),
        "settings": TenantSettings(task_queue_name=name),
    }
    return Tenant(**{**fields, **changes})


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    """Run a sandbox Omneo and Klaviyo on the test's clock."""
    running = Sandbox(clock=clock.timestamp, token_prefix="canary", client_secret="canary-client-secret")
    with running:
        yield running


@pytest.fixture(scope="session")
def empty_queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database of a queue that has its signing key and nothing else: to make a key takes longer than most tests."""
    made = tmp_path_factory.mktemp("queue") / "tasks.db"
    with TasksEmulator(made, stepped=True):
        pass
    return made


@pytest.fixture
def tasks(clock: Clock, tmp_path: Path, empty_queue: Path) -> Iterator[TasksEmulator]:
    """Run a queue that dispatches only when told to, on the test's clock."""
    with a_queue(clock, tmp_path, empty_queue) as emulator:
        yield emulator


def a_queue(clock: Clock, folder: Path, empty: Path) -> TasksEmulator:
    """Return a new queue in a folder, from a copy of an empty one."""
    return TasksEmulator(
        copyfile(empty, folder / "tasks.db"),
        clock=clock.timestamp,
        stepped=True,
        deliver=deliver,
        durable=False,
    )


@pytest.fixture
def chance() -> Callable[[], float]:
    """Return the random numbers of the services: always the least possible, so that a wait ends at the exact second in
    a test. Tests without such a second use `any_chance` instead, by `chance = any_chance` in their module.
    """
    return lambda: 0.0


@pytest.fixture
def any_chance(request: pytest.FixtureRequest) -> Callable[[], float]:
    """Return a generator that is seeded by the test's name."""
    return Random(request.node.nodeid).random


@pytest.fixture
def world(
    clock: Clock, sandbox: Sandbox, tasks: TasksEmulator, tmp_path: Path, chance: Callable[[], float]
) -> Iterator[World]:
    """Put it all together, with a worker that runs on the test's clock."""
    with put_together(clock, sandbox, tasks, tmp_path, chance) as world:
        yield world


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a queue that does not answer only once, instead of for five seconds of real time; a test of Omneo's webhooks waits that long."""
    monkeypatch.setattr(cloud_tasks, "_RETRY", cloud_tasks._RETRY.with_timeout(0.0))


@pytest.fixture
def make_world(empty_queue: Path) -> Callable[[Path], AbstractContextManager[World]]:
    """Return a function that makes a world in a folder, for a test that needs one for each of its examples."""

    @contextmanager
    def make(folder: Path) -> Iterator[World]:
        clock = Clock()
        with (
            Sandbox(
                clock=clock.timestamp, token_prefix="canary", client_secret="canary-client-secret"
            ) as sandbox,
            a_queue(clock, folder, empty_queue) as tasks,
            put_together(clock, sandbox, tasks, folder) as world,
        ):
            yield world

    return make


@pytest.fixture
def store_services(clock: Clock, tmp_path: Path) -> Iterator[Services]:
    """Return services on the test's clock that have a store, and nobody outside to call."""
    environment = {"STORE": f"sqlite:{tmp_path / 'documents.db'}", "ENCRYPTION_KEYS": f"k1:{new_key()}"}
    services = Services(Settings.from_env(environment, Needs.STORE), clock=clock)
    yield services
    assert isinstance(services.documents, SqliteDocuments)
    services.documents.close()


@contextmanager
def put_together(
    clock: Clock,
    sandbox: Sandbox,
    tasks: TasksEmulator,
    tmp_path: Path,
    chance: Callable[[], float] = lambda: 0.0,
) -> Iterator[World]:
    """Give the services to a worker that runs on the test's clock."""
    app = Flask("worker", static_folder=None)
    with reached_directly(sandbox, tasks), serving(app) as url:
        environment = environment_for(sandbox, tasks, tmp_path, url)
        services = Services(
            Settings.from_env(environment, EVERYTHING), clock=clock, random=chance, sleep=clock.sleep
        )

        serve(app, {f"/tasks/{direction}": a_worker(direction, services) for direction in Direction})
        answers: list[int] = []

        @app.after_request
        def note(response: Response) -> Response:
            answers.append(response.status_code)
            return response

        world = World(clock, sandbox, tasks, environment, services, answers)
        yield world
        # A bug that the next delivery heals is still a bug: without this a test that looks at the end would not see it.
        assert set(answers) <= WORKER_ANSWERS, answers


def serve(app: Flask, views: Mapping[str, Callable[[], Response]]) -> None:
    """Let an app answer calls whose path ends like this.

    Flask compiles each of its routes, which takes as long as the rest of a small world.
    """

    @app.before_request
    def answer() -> Response | None:
        return next((view() for end, view in views.items() if request.path.endswith(end)), None)


def a_worker(direction: Direction, services: Services) -> Callable[[], Response]:
    """Return the worker of one direction as a view."""

    @worker(direction)
    def work(delivered: Any) -> Any:
        return work_on(delivered, services)

    return lambda: work(request)


def environment_for(sandbox: Sandbox, tasks: TasksEmulator, folder: Path, worker_url: str) -> dict[str, str]:
    """Return an environment in which every function can start."""
    return {
        "KLAVIYO_API_URL": sandbox.klaviyo.url,
        "OMNEO_API_URL": sandbox.omneo.url_template,
        "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
        "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
        "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "STORE": f"sqlite:{folder / 'documents.db'}",
        "QUEUE": "local",
        "CLOUD_TASKS_EMULATOR_HOST": tasks.grpc_address,
        "INBOUND_WORKER_URL": worker_url,
        "OUTBOUND_WORKER_URL": worker_url,
        "KLAVIYO_AUTHORIZE_URL": f"{sandbox.klaviyo.url}/oauth/authorize",
        "EXTENSION_URL": EXTENSION_URL,
    }


def told_to_the_queue(record: str) -> set[int | None]:
    """Return the workers' answers to the local queue whose record is at this address; None means no answer."""
    with urllib.request.urlopen(f"{record}/attempts?limit=1000", timeout=60) as answer:
        return {attempt["status"] for attempt in json.load(answer)["attempts"]}


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app on a free loopback port, in threads; yield its address."""
    server = _server_of(app)
    stopping = threading.Event()
    thread = threading.Thread(target=_accept, args=(server, stopping))
    thread.start()
    try:
        with app_reached_directly(f"127.0.0.1:{server.server_port}", app):
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stopping.set()
        # Wakes the thread; to poll for the end would make every stop as slow as its interval.
        socket.create_connection(("127.0.0.1", server.server_port), timeout=60).close()
        thread.join()
        server.server_close()


def _server_of(app: Flask) -> BaseWSGIServer:
    # It reads its own version from its package's files at each start, which takes longer than the start.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "version", _version)
        return make_server("127.0.0.1", 0, app, threaded=True)


_version = cache(metadata.version)


def _accept(server: BaseWSGIServer, stopping: threading.Event) -> None:
    while not stopping.is_set():
        server.handle_request()


def lines(text: str) -> list[dict[str, Any]]:
    """Return log lines as objects."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def outcomes(text: str) -> list[dict[str, Any]]:
    """Return log lines as objects, without those of single outside calls."""
    return [line for line in lines(text) if line["message"] != "outside call"]
