"""Virtual time: the order of events, and the strand that runs. No rules of any service are here. Product code runs in
strands (greenlets). A strand that waits gives control back, and the due events happen meanwhile. There is one clock and
no chance, so that the same plan gives the same history.
"""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

from greenlet import getcurrent, greenlet

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC).timestamp()


class Timeline:
    """The clock, in Unix seconds, and everything that is still to happen."""

    def __init__(self) -> None:
        self.now = START
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._until = START
        self._hub = getcurrent()

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    @property
    def seconds(self) -> float:
        """The seconds since the history began."""
        return self.now - START

    @property
    def last_due(self) -> float | None:
        """When the last of all that is known will happen, None if nothing will."""
        return max((when for when, _, _ in self._due), default=None)

    def at(self, when: float, work: Callable[[], object]) -> None:
        """Have something done at a time, or at once if that is over."""
        heapq.heappush(self._due, (max(when, self.now), next(self._numbers), work))

    def after(self, seconds: float, work: Callable[[], object]) -> None:
        """Have something done in so many seconds."""
        self.at(self.now + seconds, work)

    def spawn(self, work: Callable[[], object]) -> None:
        """Begin a strand now; the caller goes on when the strand first waits or has ended."""
        strand = greenlet(work, parent=self._hub)
        if getcurrent() is self._hub:
            strand.switch()
        else:
            self.at(self.now, strand.switch)

    def pause(self, seconds: float) -> None:
        """Let a strand wait, and others go on meanwhile."""
        until = self.now + max(seconds, 0.0)
        strand = getcurrent()
        if strand is self._hub:
            raise AssertionError("only a strand may wait")
        if until <= self._until and (not self._due or self._due[0][0] > until):
            self.now = until  # nobody else is there to go on
            return
        self.at(until, strand.switch)
        self._hub.switch()

    def run(self, until: float) -> None:
        """Let everything happen that is due until then."""
        self._hub = getcurrent()
        self._until = until
        while self._due and self._due[0][0] <= until:
            when, _, work = heapq.heappop(self._due)
            self.now = max(self.now, when)
            work()
        self.now = max(self.now, until)
