"""How much time the present call has left. Whoever waits for something outside asks here how long it may.

A deadline is not handed down argument by argument: it bounds every wait of a call, also in code that knows nothing of the call. It
belongs to the thread that set it, and what is set within another deadline can only end earlier. No clock is read here.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TimeLeft = Callable[[], float]


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
