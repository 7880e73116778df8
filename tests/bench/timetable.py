"""A worker on a stepped clock, and the queue that brings it its jobs: time passes where something waits, and nowhere else."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

from deploy.local.sandbox import Sandbox
from shared.jobs.jobs import AnyJob
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from shared.tenants.tenants import Tenant
from tests.bench.counting import QUEUE_CALLS, CountingQueue
from tests.support.world import Clock

REVISION = "2026-10-15"


@dataclass
class Timetable(CountingQueue):
    """A queue whose jobs come out when they are due, on a clock that it moves; a name is taken once.

    With `a_second`, so many come out in a second at most, however long the work on one takes: others are worked on meanwhile.
    """

    clock: Clock
    counts: Counter[str]
    a_second: float = 0.0
    _due: list[tuple[datetime, int, AnyJob]] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _order: Iterator[int] = field(default_factory=count)
    _last: datetime | None = None

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Keep it until it is due."""
        self.counts[QUEUE_CALLS] += 1
        heappush(self._due, (self.clock() + timedelta(seconds=delay), next(self._order), job))

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        """Keep it, unless the name is taken."""
        is_new = name not in self._names
        self._names.add(name)
        if is_new:
            self.put(job, tenant, delay=delay)
        return is_new

    def take(self) -> AnyJob | None:
        """Move the clock to the next job that is due, and return it."""
        if not self._due:
            return None
        due, _, job = heappop(self._due)
        if self.a_second and self._last is not None:
            due = max(due, self._last + timedelta(seconds=1 / self.a_second))
        self._last = due
        self.clock.now = max(self.clock.now, due)
        return job


def worker_services(folder: Path, sandbox: Sandbox, clock: Clock) -> Services:
    """Return services on this clock, with both sandboxes and a store in the folder."""
    environment = {
        "STORE": f"sqlite:{folder / 'documents.db'}", "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "KLAVIYO_API_URL": sandbox.klaviyo.url, "OMNEO_API_URL": sandbox.omneo.url_template,
        "KLAVIYOREVISION": REVISION, "KLAVIYO_CLIENT_ID": "unused", "KLAVIYO_CLIENT_SECRET": "unused",
    }  # fmt: skip
    settings = Settings.from_env(environment, Needs.STORE | Needs.KLAVIYO_APP)
    return Services(settings, clock=clock, sleep=clock.sleep)
