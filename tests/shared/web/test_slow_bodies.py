"""A body that does not arrive is given up, and the caller is told so; a thread is not held by it."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from shared.web import slow_bodies
from shared.web.calls import Call, Reply
from shared.web.endpoints import endpoint
from shared.web.slow_bodies import SlowBodies

PATH = "/acme/api/v1/targets/klaviyo/metric"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a connection: the caller's, and the function's."""
    caller, function = socket.socketpair()
    caller.settimeout(10)
    function.settimeout(10)
    with caller, function:
        yield caller, function


def answered(function: socket.socket, said: int = 10) -> tuple[int, str]:
    """Return status and code of a call whose body of `said` bytes comes from a connection, as gunicorn hands it over."""

    @endpoint("POST", "/{tenant}/api/v1/targets/klaviyo/metric", largest=1000)
    def targets(call: Call) -> Reply:
        return 202, {"size": len(call.body)}

    with function.makefile("rb", buffering=0) as body:
        environ = EnvironBuilder(PATH, method="POST").get_environ()
        environ |= {"CONTENT_LENGTH": str(said), "wsgi.input": body, "gunicorn.socket": function}
        response = targets(Request(environ))
    reply = json.loads(response.get_data())
    return response.status_code, reply["error"]["code"] if "error" in reply else ""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_bodies, "SECONDS", 0.05)


def test_a_body_that_stops_half_way_is_503_after_its_time(pair: tuple[socket.socket, socket.socket]) -> None:
    caller, function = pair
    caller.sendall(b"half ")
    began = time.monotonic()
    assert answered(function) == (503, "unavailable")
    assert 0.04 < time.monotonic() - began < 30


def test_a_body_that_drips_is_given_up_all_the_same(pair: tuple[socket.socket, socket.socket]) -> None:
    caller, function = pair
    is_over = threading.Event()

    def drip() -> None:
        with suppress(BrokenPipeError):  # the function reads no more
            while not is_over.wait(0.01):
                caller.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert answered(function, said=900) == (503, "unavailable")
    finally:
        is_over.set()
        thread.join()


def test_a_caller_that_hangs_up_is_told_of_the_body_not_of_the_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    caller, function = pair
    caller.sendall(b"half ")
    caller.shutdown(socket.SHUT_WR)
    assert answered(function) == (400, "invalid_payload")


def test_a_body_that_is_here_in_time_leaves_its_connection_alone_afterwards(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    caller, function = pair
    bodies = SlowBodies(0.03)
    with bodies.watched({"gunicorn.socket": function}) as first:
        pass
    caller_again, function_again = socket.socketpair()
    with caller_again, function_again, bodies.watched({"gunicorn.socket": function_again}) as second:
        function_again.settimeout(10)
        assert function_again.recv(1) == b""  # cut off, so the first's time is over too
    assert first is not None
    assert second is not None
    assert (first.is_late, second.is_late) == (False, True)
    caller.sendall(b"next")
    assert function.recv(10) == b"next"


def test_the_more_a_function_takes_the_longer_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [SlowBodies.up_to(largest).seconds for largest in (0, 1_000_000, 25_000_000)] == [5, 6, 30]


def test_where_the_server_shows_no_connection_nothing_is_watched() -> None:
    with SlowBodies(0.01).watched({}) as reading:
        assert reading is None
