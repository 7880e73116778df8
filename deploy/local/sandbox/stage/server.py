"""One service on one loopback port: reads requests, sends answers, and spoils those that a fault is ordered for.

HTTP/1.1 with keep-alive. An answer is one write, because headers and body sent apart wait 40 ms for each other under
Nagle's algorithm. No request is logged: bodies and headers hold personal data and tokens.
"""

import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from deploy.local.sandbox.stage.faults import TRUE_ANSWER, Fault, Faults
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.record import SHOWN, Call, Calls

CONTROL = "/_sandbox"
LARGEST_BODY = 64 * 1024 * 1024
CHALLENGE = Answer(
    403,
    {"Content-Type": "text/html; charset=UTF-8", "Server": "cloudflare", "cf-mitigated": "challenge"},
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>",
)
_JSON = {"Content-Type": "application/json"}
_BROKEN = b'{"data": {"tok'


class Service(Protocol):
    """The service of a port."""

    calls: Calls
    faults: Faults

    def answer(self, request: Request, call: Call) -> Answer:
        """Answer like the real service."""

    def refusal(self, status: int) -> Answer:
        """Return the service's own error answer for `status`."""


class Listener(ThreadingHTTPServer):
    """Serves `service` on 127.0.0.1 until closed; port 0 takes a free one. `control` answers the calls below `/_sandbox`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        service: Service,
        control: Callable[[Request], Answer],
        *,
        port: int,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.service = service
        self.control = control
        self.clock = clock
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> Self:
        """Begin to serve in the background."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving and close every connection, also those left hanging on purpose."""
        self.stopping.set()
        # Wakes the accepting thread; polling for the end would make every stop as slow as its interval.
        socket.create_connection(("127.0.0.1", self.server_address[1]), timeout=5).close()
        self._thread.join()
        self.server_close()
        with self._connections_lock:
            for connection in self._connections:
                _shut(connection)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then serve it in its own thread."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Name the place of a mistake of the sandbox's own; its message could quote a body, so it is left out."""
        error = sys.exception()
        if error is None or isinstance(error, OSError):
            return
        place = traceback.extract_tb(error.__traceback__)[-1]
        print(f"sandbox: {type(error).__name__} at {place.filename}:{place.lineno}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a dripping answer leaves byte by byte
    server: Listener

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def do(self) -> None:
        """Answer one request."""
        request = self._read()
        if request is None:
            self._send(Answer(400))
            self.close_connection = True
        elif request.path.startswith(CONTROL):
            self._send(self.server.control(request))
        else:
            self._serve(request)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do  # noqa: N815 (http.server's names)

    def _serve(self, request: Request) -> None:
        service = self.server.service
        call = service.calls.begin(request, self.server.clock())
        fault = service.faults.take(f"{request.method} {request.path}")
        if fault is None:
            self._send(service.answer(request, call), call)
            return
        call.fault = fault.kind
        carried_out = fault.takes_effect or fault.kind in TRUE_ANSWER
        self._spoil(fault, service.answer(request, call) if carried_out else Answer(200), call)

    def _spoil(self, fault: Fault, true_answer: Answer, call: Call) -> None:
        match fault.kind:
            case "reset":
                self._reset()
            case "hang":
                self._wait(fault.seconds)
                self.close_connection = True
            case "slow":
                self._wait(fault.seconds)
                self._send(true_answer, call)
            case "drip":
                self._drip(true_answer, call, fault.seconds)
            case "truncated":
                self._truncate(true_answer, call)
            case "status" | "html403" | "empty" | "broken_json":
                self._send(self._instead(fault), call)

    def _instead(self, fault: Fault) -> Answer:
        ready = {
            "html403": CHALLENGE,
            "empty": Answer(200, _JSON),
            "broken_json": Answer(200, _JSON, _BROKEN),
        }
        return ready.get(fault.kind) or self._ordered(fault)

    def _ordered(self, fault: Fault) -> Answer:
        plain = self.server.service.refusal(fault.status)
        body = plain.body if fault.body is None else fault.body
        typed = {"Content-Type": plain.headers["Content-Type"]}
        headers = plain.headers if fault.headers is None else {**typed, **fault.headers}
        return Answer(fault.status, headers, body)

    def _read(self) -> Request | None:
        body = self._body()
        if body is None:
            return None
        url = urlsplit(self.path) if self.path.startswith("http") else None
        path, _, query = self.path.partition("?") if url is None else (url.path, "", url.query)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, path, query, headers, body)

    def _body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _chunks(self) -> bytes | None:
        whole = bytearray()
        try:
            while size := int(self.rfile.readline(64).split(b";")[0], 16):
                if len(whole) + size > LARGEST_BODY:
                    return None
                whole += self.rfile.read(size)
                self.rfile.readline(64)
        except ValueError:
            return None
        while self.rfile.readline(8192).strip():
            pass
        return bytes(whole)

    def _send(self, answer: Answer, call: Call | None = None) -> None:
        if call is not None:
            self._note(call, answer)
        body = b"" if self.command == "HEAD" else answer.body
        self.wfile.write(_head(answer, len(answer.body)) + body)

    def _note(self, call: Call, answer: Answer) -> None:
        # Before the write: a client with the answer must find the call complete.
        call.answer_headers = answer.headers
        call.answer_body = answer.body[:SHOWN]
        call.status = answer.status
        call.answered_at = self.server.clock()

    def _wait(self, seconds: float) -> None:
        self.server.stopping.wait(seconds)

    def _reset(self) -> None:
        # SO_LINGER with no time to linger makes close() send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _drip(self, answer: Answer, call: Call, seconds: float) -> None:
        whole = _head(answer, len(answer.body)) + answer.body
        for index in range(len(whole)):
            if self.server.stopping.wait(seconds / len(whole)):
                break
            if index == len(whole) - 1:
                self._note(call, answer)
            self.wfile.write(whole[index : index + 1])

    def _truncate(self, answer: Answer, call: Call) -> None:
        body = answer.body or b'{"data":{}}'
        self._note(call, answer)
        self.wfile.write(_head(answer, len(body)) + body[: len(body) // 2])
        self.close_connection = True


def _head(answer: Answer, length: int) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    named = {"Content-Length": str(length)} if answer.status != HTTPStatus.NO_CONTENT else {}
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in {**answer.headers, **named}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # gone already
