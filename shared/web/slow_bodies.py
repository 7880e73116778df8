"""How long a call may take to send its body. No answer is made here.

gunicorn gives a call its thread once the head has come, and then waits for the body without limit: as many half-sent bodies as a function
has threads would block it. A late body is cut off, so that its reader sees the end.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

SECONDS = 5.0  # Klaviyo itself waits no longer for a webhook
SECONDS_A_MEGABYTE = 1.0


@dataclass
class Reading:
    """A body that is being read. `is_late` is set before it is cut off."""

    connection: socket.socket
    due: float
    is_over: bool = False
    is_late: bool = False


class SlowBodies:
    """Cuts off bodies that are not complete after `seconds`. One thread watches all bodies, from the first on."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._readings: deque[Reading] = deque()  # all have the same time: the first body is due first
        self._changed = threading.Condition()
        self._is_watched = False

    @classmethod
    def up_to(cls, largest: int) -> "SlowBodies":
        """Return the seconds that a body of at most so many bytes may take."""
        return cls(SECONDS + SECONDS_A_MEGABYTE * largest / 1_000_000)

    @contextmanager
    def watched(self, environ: Mapping[str, Any]) -> Iterator[Reading | None]:
        """Limit the reading of a call's body within the block. It yields None if the server does not show the connection, as in tests."""
        connection = environ.get("gunicorn.socket")
        if not isinstance(connection, socket.socket):
            yield None
            return
        reading = Reading(connection, self._clock() + self.seconds)
        with self._changed:
            self._readings.append(reading)
            self._watch()
        try:
            yield reading
        finally:
            with self._changed:
                reading.is_over = True

    def _watch(self) -> None:
        if len(self._readings) == 1:  # otherwise the thread sleeps until an earlier body is due
            self._changed.notify()
        if not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._cut_the_late, name="slow bodies", daemon=True).start()

    def _cut_the_late(self) -> None:
        with self._changed:
            while True:
                while self._readings and self._readings[0].is_over:
                    self._readings.popleft()
                if not self._readings:
                    self._changed.wait()
                elif (left := self._readings[0].due - self._clock()) > 0:
                    self._changed.wait(left)
                else:
                    self._cut(self._readings.popleft())

    def _cut(self, reading: Reading) -> None:
        reading.is_late = True
        with suppress(OSError):  # the caller has gone
            reading.connection.shutdown(socket.SHUT_RD)
