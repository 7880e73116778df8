"""How long a call may take to send its body. No answer is made here.

gunicorn gives a call its thread once the head is here, and waits for the body without an end: as many half-sent bodies as a function has
threads would hold it. A body that is late is cut off, so that its reader sees the end.
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
    """Cuts off bodies that are not here after `seconds`. One thread watches all bodies, from the first on."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._readings: deque[Reading] = deque()  # all wait equally long: the first is due first
        self._changed = threading.Condition()
        self._is_watched = False

    @classmethod
    def up_to(cls, largest: int) -> "SlowBodies":
        """Return what a body of at most so many bytes may take."""
        return cls(SECONDS + SECONDS_A_MEGABYTE * largest / 1_000_000)

    @contextmanager
    def watched(self, environ: Mapping[str, Any]) -> Iterator[Reading | None]:
        """Limit the reading of a call's body, within the block. None where the server does not show the call's connection, as tests."""
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
        if len(self._readings) == 1:  # else the thread sleeps until one is due that came before
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
