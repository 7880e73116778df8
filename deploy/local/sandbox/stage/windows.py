"""Rate limits as fixed windows, the way Klaviyo counts. Pure, except for the given clock.

Klaviyo's page "Rate limits, status codes, and errors": fixed windows, a burst of one second and a steady window of one
minute, for each account (for each install, with OAuth) and endpoint.

Recorded: the headers Remaining and Reset speak of the burst window, whose reset is 0. Assumed (windows-begin-with-the-clock, answers-carry-limits):
windows begin at whole seconds and minutes of
the clock; a call that is refused is not counted.
"""

import math
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """At most `calls` in every `seconds`."""

    seconds: int
    calls: int


@dataclass(frozen=True)
class Verdict:
    """Whether a call may pass. `retry_after` is None if it may, else the whole seconds to wait, at least 1.

    `remaining` and `reset` are the calls and the whole seconds left in the shortest window.
    """

    retry_after: int | None
    remaining: int
    reset: int


class Windows:
    """Counts calls by key."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[Hashable, int], tuple[int, int]] = {}

    def take(self, key: Hashable, windows: Sequence[Window]) -> Verdict:
        """Count one call in every window; if one is full, count it in no window. The shortest window comes first."""
        now = self._clock()
        with self._lock:
            used = [self._used(key, window, now) for window in windows]
            waits = [
                _wait(window, now)
                for window, count in zip(windows, used, strict=True)
                if count >= window.calls
            ]
            if not waits:
                for window, count in zip(windows, used, strict=True):
                    self._counts[key, window.seconds] = (_number(window, now), count + 1)
        burst = windows[0]
        left = max(0, burst.calls - used[0] - (0 if waits else 1))
        return Verdict(max(waits) if waits else None, left, _wait(burst, now) - 1)

    def clear(self) -> None:
        """Forget every count."""
        with self._lock:
            self._counts.clear()

    def _used(self, key: Hashable, window: Window, now: float) -> int:
        number, count = self._counts.get((key, window.seconds), (-1, 0))
        return count if number == _number(window, now) else 0


def _number(window: Window, now: float) -> int:
    return int(now // window.seconds)


def _wait(window: Window, now: float) -> int:
    return max(1, math.ceil((_number(window, now) + 1) * window.seconds - now))
