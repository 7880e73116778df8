"""A function that runs every so many seconds, in its own thread. This module does not know the work of a round."""

import threading
from collections.abc import Callable

_LONGEST_END = 10.0


class Rounds:
    """Calls `work` every so many real seconds while switched on; it is off at first."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._seconds: float | None = None
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def seconds(self) -> float | None:
        """The seconds from the end of one round to the next, None while off."""
        return self._seconds

    def switch(self, seconds: float | None) -> None:
        """Make a round every `seconds` from now on, or stop if None; a running round comes to its end.

        Raises:
            ValueError: `seconds` is not more than 0.
        """
        if seconds is not None and not seconds > 0:
            raise ValueError("seconds must be more than 0")
        with self._lock:
            self._stopped.set()
            self._seconds, self._stopped = seconds, threading.Event()
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if seconds is None:
                return
            thread = threading.Thread(target=self._run, args=(seconds, self._stopped), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop the rounds, and wait for a running one."""
        self.switch(None)
        for thread in self._threads:
            thread.join(_LONGEST_END)

    def _run(self, seconds: float, stopped: threading.Event) -> None:
        while not stopped.wait(seconds):
            self._work()
