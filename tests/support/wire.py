"""The wire between the parts of a test's world, without sockets. Each message is made, checked and read as usual, but
handed over in the sender's thread. With sockets and threads, most of a test's time would go into them. A part is known
by its address, HOST:PORT, and its port stays open: a client with sockets finds the same part there. Faults that need a
socket (an answer that hangs, drips or breaks off) use the socket.
"""

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Self, cast
from urllib.parse import unquote_to_bytes, urlsplit

import grpc
import requests
import urllib3
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import run_wsgi_app

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage import posting
from deploy.local.sandbox.stage.messages import Answer as ServiceAnswer
from deploy.local.sandbox.stage.messages import Request
from deploy.local.sandbox.stage.server import CONTROL, Listener
from deploy.local.tasks import TasksEmulator
from deploy.local.tasks import delivery as queue_delivery
from deploy.local.tasks.model import Answer, HttpRequest
from shared.http.connections import Connections, PunctualAdapter
from shared.jobs import cloud_tasks

_services: dict[str, Listener] = {}
_queues: dict[str, TasksEmulator] = {}
_apps: dict[str, Flask] = {}


class Direct(PunctualAdapter):
    """Gives a prepared request to the sandbox or the app at its address, and sends all others."""

    def send(self, request: requests.PreparedRequest, *args: Any, **named: Any) -> requests.Response:
        """See `HTTPAdapter.send`."""
        parts = urlsplit(str(request.url))
        if (app := _apps.get(parts.netloc)) is not None:
            return self._answer(request, *_said_by(app, _as_request(request)))
        listener = _services.get(parts.netloc)
        if listener is None or _is_for_sockets(listener, f"{request.method} {parts.path}"):
            return super().send(request, *args, **named)
        answer = _answered(listener, _as_request(request))
        return self._answer(request, answer.status, answer.headers, answer.body)

    def _answer(
        self, request: requests.PreparedRequest, status: int, headers: Any, body: bytes
    ) -> requests.Response:
        raw = urllib3.HTTPResponse(
            io.BytesIO(b"" if request.method == "HEAD" else body),
            headers=urllib3.HTTPHeaderDict(headers),
            status=status,
            preload_content=False,
            request_method=request.method,
        )
        return self.build_response(request, raw)


def _answered(listener: Listener, asked: Request) -> ServiceAnswer:
    call = listener.service.calls.begin(asked, listener.clock())
    try:
        answer = listener.service.answer(asked, call)
    except Exception as error:
        listener.handle_error(None, None)  # a mistake of the sandbox's own ends the connection
        raise requests.ConnectionError("the connection was closed without an answer") from error
    call.status, call.answered_at = answer.status, listener.clock()
    return answer


def _is_for_sockets(listener: Listener, line: str) -> bool:
    orders = listener.service.faults
    with orders._lock:
        return f" {CONTROL}" in line or any(order.matches(line) for order in orders._faults)


def _as_request(request: requests.PreparedRequest) -> Request:
    parts = urlsplit(str(request.url))
    headers = {name.lower(): _latin(value) for name, value in request.headers.items()}
    body = request.body or b""
    return Request(
        str(request.method),
        parts.path or "/",
        parts.query,
        {"host": parts.netloc, "accept-encoding": "identity", **headers},
        body.encode() if isinstance(body, str) else body,
    )


def _latin(value: str | bytes) -> str:
    """Return a header as it is read at the other end.

    Raises:
        UnicodeEncodeError: no header can hold it.
    """
    return value.decode("latin-1") if isinstance(value, bytes) else value.encode("latin-1").decode("latin-1")


@contextmanager
def reached_directly(sandbox: Sandbox, tasks: TasksEmulator) -> Iterator[None]:
    """Let a sandbox and a queue that run be reached directly, as long as the block lasts."""
    with ExitStack() as known:
        for listener in sandbox._listeners:
            known.enter_context(service_reached_directly(listener))
        known.enter_context(_known(_queues, tasks.grpc_address, tasks))
        yield


@contextmanager
def service_reached_directly(listener: Listener) -> Iterator[None]:
    """Let a service of a sandbox that runs be reached directly, as long as the block lasts."""
    with _known(_services, urlsplit(listener.url).netloc, listener):
        yield


@contextmanager
def app_reached_directly(address: str, app: Flask) -> Iterator[None]:
    """Let an app that is served at an address be reached directly, as long as the block lasts."""
    with _known(_apps, address, app):
        yield


@contextmanager
def _known(places: dict[str, Any], address: str, place: object) -> Iterator[None]:
    places[address] = place
    try:
        yield
    finally:
        del places[address]


def deliver(
    request: HttpRequest,
    headers: Iterable[tuple[str, str]],
    *,
    timeout: float,
    connections: queue_delivery.OpenConnections,
) -> Answer:
    """Give the queue's attempt to the app that has the address, and any other to the socket."""
    parts = urlsplit(request.url)
    app = _apps.get(parts.netloc)
    if app is None:
        return queue_delivery.deliver(request, headers, timeout=timeout, connections=connections)
    sent = {name: value.encode().decode("latin-1") for name, value in headers}
    asked = Request(request.method, parts.path, parts.query, {"host": parts.netloc, **sent}, request.body)
    status, answered, _ = _said_by(app, asked)
    return Answer(status, retry_after=queue_delivery._retry_after(cast(Any, _Said(status, answered))))


def _said_by(app: Flask, asked: Request) -> tuple[int, Headers, bytes]:
    environ = environ_of(
        asked.method, unquote_to_bytes(asked.path).decode("latin-1"), asked.query, asked.headers, asked.body
    )
    said, status, headers = run_wsgi_app(app, environ, buffered=True)
    return int(status.split()[0]), headers, b"".join(said)


class _Said:
    """An answer, as far as the queue reads it."""

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self._headers = headers

    def getheader(self, name: str, default: str = "") -> str:
        return str(self._headers.get(name, default))


def environ_of(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return a request as a WSGI app gets it."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


class _RefusedError(grpc.RpcError, grpc.Call):
    """The error of a call that the queue refuses; it is also the ended call itself."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return 0.0

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False

    def result(self) -> NoReturn:
        raise self


@dataclass(frozen=True)
class _Details:
    """The details that the queue gets before the call itself."""

    method: str
    invocation_metadata: tuple[()] = ()


class _Context:
    """The queue's side of a call."""

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise _RefusedError(code, details)


@dataclass(frozen=True)
class _Method:
    """A method of the queue as its client calls it: both messages are written and read, as on the wire."""

    emulator: TasksEmulator
    path: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]

    def with_call(self, message: Any, **_: Any) -> tuple[Any, None]:
        if self.emulator.methods is None:
            raise _RefusedError(grpc.StatusCode.UNAVAILABLE, "the emulator has ended")
        served: Any = self.emulator.methods.service(cast(Any, _Details(self.path)))
        answer = served.unary_unary(served.request_deserializer(self.write(message)), _Context())
        return self.read(served.response_serializer(answer)), None


class _Channel(grpc.Channel):
    """A channel that ends in an emulator of this process."""

    def __init__(self, emulator: TasksEmulator) -> None:
        self._emulator = emulator

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any
    ) -> Any:
        return _Method(self._emulator, method, request_serializer, response_deserializer)

    def _is_not_spoken(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("Cloud Tasks has no such methods")

    unary_stream = stream_unary = stream_stream = subscribe = unsubscribe = _is_not_spoken

    def close(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def _channel_to(address: str) -> grpc.Channel:
    emulator = _queues.get(address)
    return cloud_tasks.channel_to(address) if emulator is None else _Channel(emulator)


# For every part of every world; other addresses are reached as usual.
Connections.adapter = Direct
posting.adapter = Direct
cloud_tasks.emulator_channel = _channel_to
