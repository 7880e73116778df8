"""The load generator reads every answer whole and counts the statuses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar

import pytest

from tests.bench.load import Load, Order, Result
from tests.bench.wire import Answer, UnreadableAnswerError, read_answer, request_bytes

ANSWER = b"HTTP/1.1 202 ACCEPTED\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_an_answer_that_is_still_coming_is_not_read_yet(length: int) -> None:
    assert read_answer(ANSWER[:length]) is None


def test_an_answer_ends_where_its_length_says() -> None:
    assert read_answer(ANSWER + b"HTTP/1.1 500 ") == Answer(202, len(ANSWER))


def test_an_answer_without_a_length_is_not_guessed_at() -> None:
    with pytest.raises(UnreadableAnswerError):
        read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


class Alternating(BaseHTTPRequestHandler):
    """Answers 202 and 400 in turn, with more than one read's worth, on a connection that it keeps."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[Iterator[int]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202 if next(self.status) % 2 else 400)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 100_000)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Leaving(Alternating):
    """Hangs up on every call."""

    def do_POST(self) -> None:
        self.close_connection = True


@contextmanager
def served(handler: type[Alternating]) -> Iterator[int]:
    """Serve on a free loopback port and yield it."""
    handler.status = count()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def load(handler: type[Alternating], connections: int) -> Result:
    """Call it for two tenths of a second."""
    with served(handler) as port:
        request = request_bytes("/metric", {}, {"points": 120}).decode("latin-1")
        return Load(Order(port, request, connections, warm_up=0.05, seconds=0.2)).make()


def test_every_answer_is_counted_by_its_status() -> None:
    result = load(Alternating, connections=2)
    assert set(result.statuses) == {"202", "400"}
    assert abs(result.statuses["202"] - result.statuses["400"]) <= 4
    assert 0 < result.p50 <= result.p99
    assert 0 < result.rate <= sum(result.statuses.values()) / 0.2


def test_a_server_that_hangs_up_is_not_taken_for_a_fast_one() -> None:
    result = load(Leaving, connections=1)
    assert result.rate == 0
    assert set(result.statuses) == {"0"}
