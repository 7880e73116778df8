"""How much time the present call has left. Whoever waits for something outside asks here how long it may.

A deadline is not handed down argument by argument: it bounds every wait of a call, also in code that knows nothing of the call. It
belongs to the thread that set it, and what is set within another deadline can only end earlier.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TimeLeft = Callable[[], float]

# When this process began: starting is computing, and computing time is all that is known of the time before this line.
_BEGAN = time.monotonic() - time.process_time()
COLD_SECONDS = 5.0  # a call that comes so soon after the start has probably been waiting for it
_ANSWERING_SECONDS = 0.5  # kept for writing the answer, and for what happened before the process began


def _forever() -> float:
    return math.inf


_time_left: ContextVar[TimeLeft] = ContextVar("time_left", default=_forever)


@contextmanager
def lasting(time_left: TimeLeft) -> Iterator[None]:
    """Let what is within end when `time_left` says that no second is left, or when what is around it has to end."""
    around = _time_left.get()
    token = _time_left.set(lambda: min(around(), time_left()))
    try:
        yield
    finally:
        _time_left.reset(token)


def time_left() -> TimeLeft:
    """Return the deadline in force, to be asked later, possibly outside of it."""
    return _time_left.get()


def seconds_left() -> float:
    """Return the seconds left now, infinity where nothing sets a deadline, zero or less when it is over."""
    return _time_left.get()()


def time_to_answer(started: float, within: float) -> TimeLeft:
    """Return the deadline of a call that came in at `started`, of the monotonic clock, to be answered `within` seconds.

    A call that had to wait for this process to start is counted from there.
    """
    began = _BEGAN if started - _BEGAN < COLD_SECONDS else started
    return lambda: began + within - _ANSWERING_SECONDS - time.monotonic()
