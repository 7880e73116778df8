"""Work that takes effect a while after its request, by the sandbox's clock.

No threads: the next read runs the due work.
"""

import heapq
import itertools
from collections.abc import Callable

from deploy.local.sandbox.stage.clock import Clock


class Schedule:
    """Work in the order in which it is due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    def add(self, work: Callable[[float], None], *, after: float) -> None:
        """Have `work` done in `after` seconds, at once if that is 0. It is handed the Unix seconds it was due."""
        heapq.heappush(self._due, (self._clock() + after, next(self._numbers), work))
        self.run_due()

    def run_due(self) -> None:
        """Do the due work."""
        while self._due and self._due[0][0] <= self._clock():
            due, _, work = heapq.heappop(self._due)
            work(due)
