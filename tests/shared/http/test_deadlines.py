"""Deadlines: what is around never ends later than it says, whatever is set within, and threads do not share theirs."""

import math
import threading

import pytest

from shared.http.deadlines import lasting, seconds_left, time_left


def test_without_a_deadline_there_is_no_end() -> None:
    assert seconds_left() == math.inf


@pytest.mark.parametrize(("outer", "inner", "left"), [(9.0, 2.0, 2.0), (2.0, 9.0, 2.0), (-1.0, 5.0, -1.0)])
def test_the_earlier_deadline_holds(outer: float, inner: float, left: float) -> None:
    with lasting(lambda: outer):
        with lasting(lambda: inner):
            assert seconds_left() == left
        assert seconds_left() == outer
    assert seconds_left() == math.inf


def test_a_deadline_is_asked_anew_every_time_also_from_outside() -> None:
    now = 0.0
    with lasting(lambda: 9.0 - now):
        kept = time_left()
        now = 4.0
        assert seconds_left() == 5.0
    now = 8.0
    assert kept() == 1.0


def test_a_deadline_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), lasting(lambda: 1.0):
        raise KeyError
    assert seconds_left() == math.inf


def test_another_thread_has_a_deadline_of_its_own() -> None:
    seen: list[float] = []
    with lasting(lambda: 1.0):
        thread = threading.Thread(target=lambda: seen.append(seconds_left()))
        thread.start()
        thread.join()
    assert seen == [math.inf]
