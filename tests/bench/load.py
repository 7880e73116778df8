"""Makes load, in a separate process: `python -m tests.bench.load` reads an Order as JSON and prints a Result as JSON.

One thread and non-blocking sockets, each with one request under way at a time; the request is made once. It does not
know the called function or its right answers.
"""

import json
import math
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from tests.bench.measures import percentile
from tests.bench.wire import read_answer

_READ = 65536
_STALLED = 20.0  # seconds without any answer


@dataclass(frozen=True)
class Order:
    """The request and its address: `request` as Latin-1 text, over `connections` kept open, for `seconds` after `warm_up`."""

    port: int
    request: str
    connections: int
    warm_up: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """Answers a second, latency in milliseconds, and how many answers had which status (`0`: the connection broke)."""

    rate: float
    p50: float
    p99: float
    statuses: dict[str, int]


@dataclass
class _Caller:
    """One connection, with its request under way."""

    sock: socket.socket
    sent_at: float
    received: bytearray = field(default_factory=bytearray)


class Load:
    """Carries out one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._request = order.request.encode("latin-1")
        self._selector = selectors.DefaultSelector()
        self._latencies: list[float] = []
        self._statuses: Counter[str] = Counter()

    def make(self) -> Result:
        """Make the load and return the result, after closing every connection.

        Raises:
            OSError: nobody listens, or nobody has answered for 20 seconds.
        """
        try:
            return self._make()
        finally:
            for key in list(self._selector.get_map().values()):
                key.data.sock.close()
            self._selector.close()

    def _make(self) -> Result:
        for _ in range(self._order.connections):
            self._connect()
        self._until(time.perf_counter() + self._order.warm_up)
        self._latencies.clear()
        self._statuses.clear()
        began = time.perf_counter()
        self._until(began + self._order.seconds)
        lasted = time.perf_counter() - began
        ordered = sorted(self._latencies)
        return Result(
            rate=len(ordered) / lasted,
            p50=percentile(ordered, 0.5) * 1000 if ordered else math.nan,
            p99=percentile(ordered, 0.99) * 1000 if ordered else math.nan,
            statuses=dict(self._statuses),
        )

    def _connect(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self._order.port), timeout=_STALLED)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller = _Caller(sock, 0.0)
        self._selector.register(sock, selectors.EVENT_READ, caller)
        self._send(caller)

    def _send(self, caller: _Caller) -> None:
        # The socket has a time-out, so this waits until all is handed over; a request of some hundred bytes always fits.
        caller.sent_at = time.perf_counter()
        caller.sock.sendall(self._request)

    def _until(self, end: float) -> None:
        while (now := time.perf_counter()) < end:
            ready = self._selector.select(_STALLED)
            if not ready:
                raise TimeoutError(f"no answer for {time.perf_counter() - now:.0f} s")
            for key, _ in ready:
                self._read(key.data)

    def _read(self, caller: _Caller) -> None:
        try:
            chunk = caller.sock.recv(_READ)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._statuses["0"] += 1
            self._selector.unregister(caller.sock)
            caller.sock.close()
            self._connect()
            return
        caller.received += chunk
        answer = read_answer(bytes(caller.received))
        if answer is None:
            return
        self._latencies.append(time.perf_counter() - caller.sent_at)
        self._statuses[str(answer.status)] += 1
        del caller.received[: answer.length]
        self._send(caller)


if __name__ == "__main__":
    print(json.dumps(asdict(Load(Order(**json.load(sys.stdin))).make())))
