"""The time that the present call has left. Code that waits for something outside reads here how long it may wait.

No argument carries a deadline: it limits every wait of a call, also in code that knows nothing of the call. A deadline belongs to the
thread that sets it. A deadline within another one can only end earlier.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TimeLeft = Callable[[], float]

# When this process began: before this line only its computing time is known, and a start is mostly computing.
_BEGAN = time.monotonic() - time.process_time()
COLD_SECONDS = 5.0  # a call that comes so soon after the start has probably been waiting for it
_ANSWERING_SECONDS = 0.5  # for the writing of the answer, and for the time before the process began


def _forever() -> float:
    return math.inf


_time_left: ContextVar[TimeLeft] = ContextVar("time_left", default=_forever)


@contextmanager
def lasting(time_left: TimeLeft) -> Iterator[None]:
    """Limit the block to the seconds that `time_left` returns, and to the deadline around it."""
    around = _time_left.get()
    token = _time_left.set(lambda: min(around(), time_left()))
    try:
        yield
    finally:
        _time_left.reset(token)


def time_left() -> TimeLeft:
    """Return the present deadline. The caller can ask it later, also outside of the block."""
    return _time_left.get()


def seconds_left() -> float:
    """Return the seconds that are left now: infinity without a deadline, zero or less after it."""
    return _time_left.get()()


def time_to_answer(started: float, within: float) -> TimeLeft:
    """Return the deadline of a call that arrived at `started`, on the monotonic clock, and needs an answer `within` seconds.

    If the call waited for this process to start, its time counts from the start of the process.
    """
    began = _BEGAN if started - _BEGAN < COLD_SECONDS else started
    return lambda: began + within - _ANSWERING_SECONDS - time.monotonic()
