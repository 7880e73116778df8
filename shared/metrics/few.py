"""Which events are one of few of their metric: a live event is, an event among half a million of one morning is not.

Each process counts its own events, in memory only. So with more processes, more events count as few.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from shared.jobs.jobs import SendMetric
from shared.metrics.rules.event import metric_name_of
from shared.metrics.rules.few import Allowance

if TYPE_CHECKING:
    from shared.services import Services

_METRICS = 10_000


class Few:
    """Counts the events of each tenant and metric. Safe for threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._allowances: dict[tuple[str, str], Allowance] = {}

    @classmethod
    def of(cls, services: "Services") -> "Few":
        """Return the counts of this process."""
        return services.kept(cls, lambda: cls(services.clock))

    def has(self, job: SendMetric) -> bool:
        """Count an event, and return whether it is one of few."""
        now, key = self._clock(), (job.tenant, metric_name_of(job.event))
        with self._lock:
            if len(self._allowances) >= _METRICS and key not in self._allowances:
                self._allowances.clear()
            allowance = self._allowances.get(key) or Allowance.whole(now)
            self._allowances[key], is_few = allowance.less_one(now)
        return is_few
