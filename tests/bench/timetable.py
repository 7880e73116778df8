"""A worker on a stepped clock, and the queue that brings it its jobs: time passes where something waits, and nowhere else."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

from deploy.local.sandbox import Sandbox
from shared.direction import Direction
from shared.jobs.jobs import AnyJob, read_job
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from shared.tenants.tenants import Tenant
from tests.bench.counting import QUEUE_CALLS, CountingQueue
from tests.support.world import Clock

REVISION = "2026-10-15"


@dataclass
class Timetable(CountingQueue):
    """Two queues that give out due jobs, on a clock that they move; they accept a name once. With `a_second`, each
    gives out at most so many in a second. A slow job does not hold the others up: they run meanwhile.
    """

    clock: Clock
    counts: Counter[str]
    a_second: float = 0.0
    _due: dict[Direction, list[tuple[datetime, int, AnyJob]]] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _order: Iterator[int] = field(default_factory=count)
    _last: dict[Direction, datetime] = field(default_factory=dict)

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Keep it until it is due."""
        self.counts[QUEUE_CALLS] += 1
        due = self.clock() + timedelta(seconds=delay)
        heappush(self._due.setdefault(job.direction, []), (due, next(self._order), job))

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        """Keep it, unless the name is taken."""
        is_new = name not in self._names
        self._names.add(name)
        if is_new:
            self.put(job, tenant, delay=delay)
        return is_new

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        """Keep it until it is due."""
        self.counts[QUEUE_CALLS] += 1
        due = self.clock() + timedelta(seconds=delay)
        heappush(self._due.setdefault(direction, []), (due, next(self._order), read_job(body)))

    def due(self, *directions: Direction) -> datetime | None:
        """Return when the next job comes out, of these queues if they are named; None if there is none."""
        among = directions or tuple(Direction)
        return min((self._turn(direction) for direction in among if self._due.get(direction)), default=None)

    def take(self, *directions: Direction) -> AnyJob | None:
        """Move the clock to the next job that is due, of these queues if they are named, and return it."""
        among = directions or tuple(Direction)
        turns = [(self._turn(direction), direction) for direction in among if self._due.get(direction)]
        if not turns:
            return None
        at, direction = min(turns)
        _, _, job = heappop(self._due[direction])
        self._last[direction] = at
        self.clock.now = max(self.clock.now, at)
        return job

    def _turn(self, direction: Direction) -> datetime:
        due, last = self._due[direction][0][0], self._last.get(direction)
        if not self.a_second or last is None:
            return due
        return max(due, last + timedelta(seconds=1 / self.a_second))


def worker_services(folder: Path, sandbox: Sandbox, clock: Clock) -> Services:
    """Return services on this clock, with both sandboxes and a store in the folder."""
    environment = {
        "STORE": f"sqlite:{folder / 'documents.db'}", "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "KLAVIYO_API_URL": sandbox.klaviyo.url, "OMNEO_API_URL": sandbox.omneo.url_template,
        "KLAVIYO_REVISION": REVISION, "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
        "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
    }  # fmt: skip
    settings = Settings.from_env(environment, Needs.STORE | Needs.KLAVIYO_APP)
    return Services(settings, clock=clock, sleep=clock.sleep)
