"""One HTTP attempt at a task: plain HTTP, to this machine only, no redirects, bounded by a deadline in wall time.

Nothing here knows about queues, retries or storage.
"""

import http.client
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from deploy.local.tasks.limits import METHODS_WITH_BODY
from deploy.local.tasks.model import SECOND, Answer, HttpRequest

NOT_LOOPBACK = "refused: the host is not this machine"
NOT_PLAIN_HTTP = "refused: the emulator speaks plain HTTP only"
DEADLINE = "deadline exceeded"
_CHUNK = 65536
_LONGEST_RETRY_AFTER = 30 * 24 * 3600


class OpenConnections:
    """The connections of running attempts, so that all of them can be cut at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut = False

    def add(self, connection: socket.socket) -> None:
        """Register a connection; raises ConnectionAbortedError once they have been cut."""
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError
            self._open.add(connection)

    def remove(self, connection: socket.socket) -> None:
        """Forget a connection that is about to be closed."""
        with self._lock:
            self._open.discard(connection)

    def cut(self) -> None:
        """Break every open connection, and every later one."""
        with self._lock:
            self._cut = True
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the worker was faster


class _TimedSocket(socket.socket):
    """A socket whose reads share one deadline, so that it also ends a slow answer of many small parts."""

    ends: float

    def remaining(self) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(self.remaining())
        return super().recv_into(*arguments, **options)


def deliver(
    request: HttpRequest, headers: Iterable[tuple[str, str]], *, timeout: float, connections: OpenConnections
) -> Answer:
    """Send the request once and return the worker's answer, or the reason why there is none. `timeout` is in seconds.
    An answer counts when it has arrived completely. The beginning of its body is kept for the record.
    """
    parts = urlsplit(request.url)
    addresses = _loopback_addresses(parts.hostname or "")
    if not addresses:
        return Answer(None, NOT_LOOPBACK)
    if parts.scheme != "http":
        return Answer(None, NOT_PLAIN_HTTP)
    client = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
    client.auto_open = 0
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    ends = time.monotonic() + timeout
    try:
        with _connect(addresses, client.port, ends) as connection:
            connections.add(connection)
            client.sock = connection
            try:
                return _exchange(client, connection, request, target, headers)
            finally:
                connections.remove(connection)
                client.close()
    except TimeoutError:
        return Answer(None, DEADLINE)
    except ConnectionRefusedError:
        return Answer(None, "connection refused")
    except (OSError, http.client.HTTPException, ValueError):
        return Answer(None, "no usable answer")


def _loopback_addresses(host: str) -> list[str]:
    # names are never looked up: a lookup could leave the machine, and its answer could too
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    try:
        return [host] if ipaddress.ip_address(host).is_loopback else []
    except ValueError:
        return []


def _connect(addresses: Sequence[str], port: int, ends: float) -> _TimedSocket:
    refused: OSError = ConnectionRefusedError()
    for address in addresses:
        connection = _TimedSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        connection.ends = ends
        try:
            connection.settimeout(connection.remaining())
            connection.connect((address, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            refused = error
        else:
            return connection
    raise refused


def _exchange(
    client: http.client.HTTPConnection,
    connection: _TimedSocket,
    request: HttpRequest,
    target: str,
    headers: Iterable[tuple[str, str]],
) -> Answer:
    client.putrequest(request.method, target, skip_accept_encoding=True)
    for name, value in headers:
        client.putheader(name, value.encode())
    client.putheader("Connection", "close")
    if request.method in METHODS_WITH_BODY:
        client.putheader("Content-Length", str(len(request.body)))
    connection.settimeout(connection.remaining())
    client.endheaders(request.body or None)
    with client.getresponse() as response:
        body = response.read(_CHUNK)
        while response.read(_CHUNK):
            pass
        if response.length:
            return Answer(None, "no usable answer")
        said = tuple(response.getheaders())
        return Answer(response.status, retry_after=_retry_after(response), headers=said, body=body)


def _retry_after(response: http.client.HTTPResponse) -> int:
    if response.status not in (429, 503):
        return 0
    value = response.getheader("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:10]), _LONGEST_RETRY_AFTER) * SECOND
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0
    wait = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return round(min(max(wait, 0), _LONGEST_RETRY_AFTER) * SECOND)
