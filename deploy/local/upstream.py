"""The way from the gateway to one function: connections kept open, a request sent, an answer read. No routing here."""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import h11

HEAD_LIMIT = 64 * 1024

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Upstream:
    """The address of a function, and the seconds without a byte from it after which the caller gets 504.

    A connection that was idle for `fresh` seconds is not used again: the launcher closes it after 2 (gunicorn's
    `keepalive`).
    """

    port: int
    timeout: float
    fresh: float = 1.0


class Body(Protocol):
    """The body of a call, which may still be on its way. `is_whole` says that all of it has been given out."""

    is_whole: bool

    def pieces(self, answering: socket.socket) -> Iterator[bytes]:
        """Yield it from its beginning, as it arrives; less of it if something comes from `answering` first."""


class UnansweredError(Exception):
    """A function did not answer; `silent` if no byte came back."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__()
        self.silent = silent


class Pool:
    """The open connections to one function that are idle at the moment."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._idle: deque[tuple[socket.socket, float]] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> socket.socket | None:
        """Return an idle connection that is surely open, or None."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < self._upstream.fresh and _is_quiet(connection):
                connection.settimeout(self._upstream.timeout)
                return connection
            connection.close()

    def connect(self) -> socket.socket:
        """Return a new connection.

        Raises:
            OSError: the function does not listen.
        """
        connection = socket.create_connection(("127.0.0.1", self._upstream.port), timeout=5)
        connection.settimeout(self._upstream.timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def give(self, connection: socket.socket) -> None:
        """Keep a connection that is done with its call."""
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._idle.append((connection, time.monotonic()))
            while self._idle and time.monotonic() - self._idle[0][1] >= self._upstream.fresh:
                self._idle.popleft()[0].close()

    def close(self) -> None:
        """Close the idle connections, and each other one when it comes back."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop()[0].close()


def ask(
    connection: socket.socket, upstream: h11.Connection, request: h11.Request, body: Body
) -> h11.Response:
    """Send the request, its body while it arrives, and return the head of the answer, which may come before the body's end.

    Raises:
        UnansweredError: the connection ended first, or the answer is not HTTP. TimeoutError: no byte came within the
        upstream's timeout.
    """
    silent = True
    try:
        with contextlib.suppress(ConnectionError):  # a function may answer before it has read everything
            _send(connection, upstream, request, body)
        for event in events(connection, upstream):
            silent = False
            if isinstance(event, h11.Response):
                return event
    except (ConnectionError, h11.RemoteProtocolError) as error:
        raise UnansweredError(silent=silent and upstream.trailing_data[0] == b"") from error
    raise UnansweredError(silent=silent)


def _send(connection: socket.socket, upstream: h11.Connection, request: h11.Request, body: Body) -> None:
    connection.sendall(upstream.send(request) or b"")
    for piece in body.pieces(connection):
        connection.sendall(upstream.send(h11.Data(data=piece)) or b"")
    if body.is_whole:
        connection.sendall(upstream.send(h11.EndOfMessage()) or b"")


def events(
    connection: socket.socket, upstream: h11.Connection, before_waiting: Callable[[], None] = lambda: None
) -> Iterator[h11.Event]:
    """Yield the function's answer in parts, as it arrives; `before_waiting` is called before each wait for more."""
    while True:
        event = upstream.next_event()
        if isinstance(event, h11.Event):
            yield event
        else:
            before_waiting()
            upstream.receive_data(connection.recv(_CHUNK))


def _is_quiet(connection: socket.socket) -> bool:
    """Return whether there is neither data nor an end of file to read."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
