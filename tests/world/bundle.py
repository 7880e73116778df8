"""The bundle: its functions as they are deployed, in processes that share a store and a queue and can die.

A process has its own clock, caches and connections. A death ends everything that runs in the process.
"""

import importlib
import importlib.util
import io
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Request as FlaskRequest

import shared
from shared.errors import QueueUnavailableError, StoreUnavailableError
from shared.services import Services
from shared.settings import TASKS, Needs, Settings
from shared.storage.documents import Document, Documents
from shared.storage.encryption import KeyRing, new_key
from shared.tenants.cache import TenantCache
from shared.tenants.tenants import Tenant, TenantStore
from tests.support.through import Through
from tests.world.faults import DiedError
from tests.world.wire import KLAVIYO, OMNEO, WireConnections, WireResponse, exchange

if TYPE_CHECKING:
    from deploy.local.sandbox.stage.messages import Request
    from tests.world.world import SimulatedWorld

T = TypeVar("T")
FUNCTIONS = (
    "system_webhooks",
    "omneo_webhooks",
    "targets",
    "rewards_webhook",
    "admin",
    "inbound_worker",
    "outbound_worker",
)
_ROOT = Path(__file__).resolve().parents[2]
_EVERYTHING = Needs.STORE | TASKS | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL
_STORE_SECONDS = 0.004

_present: ContextVar["Process"] = ContextVar("process")


@cache
def settings() -> Settings:
    """Return the settings of every process."""
    environment = {
        "KLAVIYO_API_URL": KLAVIYO,
        "OMNEO_API_URL": f"{OMNEO}/{{tenant}}",
        "KLAVIYO_CLIENT_ID": "client",
        "KLAVIYO_CLIENT_SECRET": "canary-client-secret",
        "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "STORE": "sqlite:unused",
        "QUEUE": "local",
        "INBOUND_WORKER_URL": "http://worker.invalid",
        "OUTBOUND_WORKER_URL": "http://worker.invalid",
        "EXTENSION_URL": "https://extension.example.org",
    }
    return Settings.from_env(environment, _EVERYTHING)


class _Present:
    """The services of the process that the present strand runs in: a function names its services once, when it is loaded."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_present.get().services, name)


class InlineExecutor(Executor):
    """Runs each function at once: a strand has no further threads."""

    def __init__(self, max_workers: int | None = None, **_: Any) -> None:
        return

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Do it."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor hands over whatever was raised
            future.set_exception(error)
        return future


@cache
def keys() -> KeyRing:
    """Return the keys that secrets are sealed with."""
    store = settings().store
    assert store is not None
    return KeyRing(store.keys)


@cache
def functions() -> Mapping[str, ModuleType]:
    """Return the functions' modules, as the launcher would load them, with the services of whichever process calls them."""
    for found in pkgutil.walk_packages(shared.__path__, "shared."):
        importlib.import_module(found.name)  # none is imported in the midst of a history
    made = Services.__dict__["from_environment"]
    Services.from_environment = lambda *_, **__: _Present()  # type: ignore[method-assign, assignment]  # put back below
    try:
        return {name: _loaded(name) for name in FUNCTIONS}
    finally:
        Services.from_environment = made  # type: ignore[method-assign]  # what it was


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"simulated_{name}", _ROOT / "functions" / name / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def run_inline() -> Iterator[None]:
    """Let every module of the product that has threads have an executor that has none, until the block ends."""
    threaded = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("shared.") and hasattr(module, "ThreadPoolExecutor")
    ]
    _give(threaded, InlineExecutor)
    try:
        yield
    finally:
        _give(threaded, ThreadPoolExecutor)


def _give(modules: Iterable[ModuleType], executor: type[Executor]) -> None:
    for module in modules:
        module.ThreadPoolExecutor = executor  # type: ignore[attr-defined]  # has been looked for


class _Tenants(TenantStore):
    """Reads a tenant as it was read before where it has not changed: most of a history's time would go into its secrets."""

    def __init__(self, documents: Documents, keys: KeyRing, read: dict[object, Tenant]) -> None:
        super().__init__(documents, keys)
        self._read = read

    def _decode(self, document: Document) -> Tenant:
        if document.version not in self._read:
            self._read[document.version] = super()._decode(document)
        return self._read[document.version]


class Process:
    """One instance of every function. `skew` is how many seconds its clock is ahead."""

    def __init__(self, world: "SimulatedWorld", skew: float) -> None:
        self.world = world
        self.is_alive = True
        self._skew = timedelta(seconds=skew)
        self.services = Services(
            settings(),
            clock=self._clock,
            random=world.random,
            sleep=self.wait,
            new_id=world.new_id,
            new_word=world.new_id,
        )
        parts = self.services.__dict__
        parts["documents"] = _Store(world.documents, self)
        parts["keys"] = keys()
        parts["tenants"] = _Tenants(parts["documents"], keys(), world.tenants_read)
        parts["queue"] = world.queue.of(self)
        parts["_connections"] = WireConnections(self)
        parts["tenant_cache"] = TenantCache(self.services.tenants.find, world.timeline)

    def call(
        self, function: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Return status and body of a function's answer. Raises: DiedError: the process died during the call."""
        _present.set(self)
        response = getattr(functions()[function], function)(_request(method, path, headers, body))
        self.check()
        return response.status_code, response.get_data()

    def outside(self, service: str, asked: "Request") -> WireResponse:
        """Make an outside call."""
        self.check()
        return exchange(self, service, asked)

    def wait(self, seconds: float) -> None:
        """Let time pass for the code that runs here."""
        self.world.timeline.pause(seconds)
        self.check()

    def die(self) -> None:
        """Die."""
        self.is_alive = False
        self.world.replace(self)
        raise DiedError

    def check(self) -> None:
        """Go no further in a process that has died."""
        if not self.is_alive:
            raise DiedError

    def _clock(self) -> datetime:
        return datetime.fromtimestamp(self.world.timeline.now, UTC) + self._skew


class _Store(Through):
    """The store as one process reaches it."""

    def __init__(self, documents: Documents, process: Process) -> None:
        super().__init__(documents)
        self._process = process

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        process, world = self._process, self._process.world
        process.check()
        fault = world.faults.take("store", world.timeline.seconds, f"store {operation}")
        if fault == "dies before":
            process.die()
        process.wait(_STORE_SECONDS)
        if fault == "unavailable before":
            raise StoreUnavailableError("The store does not answer.")
        result = call()
        if fault == "dies after":
            process.die()
        if fault == "unavailable after":
            raise StoreUnavailableError("The store does not answer.")
        return result


def queue_call(process: Process, call: Callable[[], T], about: str) -> T:
    """Make a call of the queue, with the faults that are due."""
    world = process.world
    process.check()
    fault = world.faults.take("queue", world.timeline.seconds, about)
    if fault == "dies before":
        process.die()
    process.wait(_STORE_SECONDS)
    if fault == "unavailable before":
        raise QueueUnavailableError("The queue does not answer.")
    result = call()
    if fault == "dies after":
        process.die()
    if fault == "unavailable after":
        raise QueueUnavailableError("The queue does not answer.")
    return result


def _request(method: str, path: str, headers: Mapping[str, str], body: bytes) -> FlaskRequest:
    plain, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": plain,
        "QUERY_STRING": query,
        "SERVER_NAME": "extension.example.org",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return FlaskRequest(environ)
