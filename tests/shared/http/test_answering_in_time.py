"""How long a call may take that somebody waits for: counted from its arrival, or from the start of a process that it had to wait for."""

import math
import time
from collections.abc import Callable

import pytest
from flask import Flask, request

from shared.http import deadlines
from shared.http.deadlines import seconds_left
from shared.web.calls import Call, Reply
from shared.web.endpoints import endpoint

PATH = "/{tenant}/here"


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets how many seconds ago the process began."""
    return lambda ago: monkeypatch.setattr(deadlines, "_BEGAN", time.monotonic() - ago)


def left(within: float = 9.0) -> float:
    """Return the seconds that a call has left when its function begins."""
    seen: list[float] = []

    @endpoint("POST", PATH, largest=10, within=within)
    def here(call: Call) -> Reply:
        seen.append(seconds_left())
        return 200, {}

    with Flask("test").test_request_context("/acme/here", method="POST"):
        assert here(request).status_code == 200
    assert seconds_left() == math.inf
    return seen[0]


def test_a_call_of_a_warm_process_has_its_whole_time_but_for_writing_the_answer(
    began: Callable[[float], None],
) -> None:
    began(deadlines.COLD_SECONDS + 1)
    assert left() == pytest.approx(8.5, abs=0.1)


def test_a_call_that_waited_for_the_process_to_start_has_what_that_left(
    began: Callable[[float], None],
) -> None:
    began(3.0)
    assert left() == pytest.approx(5.5, abs=0.1)


def test_this_process_began_some_computing_time_ago() -> None:
    assert time.monotonic() - deadlines._BEGAN > 0


def test_where_nothing_is_said_there_is_no_end(began: Callable[[float], None]) -> None:
    began(0.0)
    assert left(math.inf) == math.inf
