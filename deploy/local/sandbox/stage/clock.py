"""The sandbox's clock, which can be moved forward. Nothing else in the sandbox reads the time of day."""

import threading
from collections.abc import Callable


class Clock:
    """Unix seconds from `now`, plus the seconds by which it was advanced."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._offset = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self._now() + self._offset

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once: tokens expire and rate windows end."""
        with self._lock:
            self._offset += seconds
