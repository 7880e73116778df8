"""The store and the queue of a worker, with counts of their calls. It does not know the purpose of a call."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from shared.direction import Direction
from shared.jobs.jobs import AnyJob, read_job
from shared.storage.documents import Documents
from shared.tenants.tenants import Tenant
from tests.support.through import READS as STORE_READS
from tests.support.through import Through

T = TypeVar("T")

READS, WRITES, QUEUE_CALLS = "store reads", "store writes", "queue calls"


class CountingDocuments(Through):
    """A document store that counts reads and writes."""

    def __init__(self, documents: Documents, counts: Counter[str]) -> None:
        super().__init__(documents)
        self._counts = counts

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        """Count it."""
        self._counts[READS if operation in STORE_READS else WRITES] += 1
        return call()


class CountingQueue:
    """A queue that keeps its jobs in `jobs`, one for each name, and counts every call."""

    def __init__(self, counts: Counter[str]) -> None:
        self.jobs: list[AnyJob] = []
        self._names: set[str] = set()
        self._counts = counts
        self._lock = threading.Lock()  # the door puts some at once

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Keep it."""
        with self._lock:
            self._counts[QUEUE_CALLS] += 1
            self.jobs.append(job)

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        """Keep it, unless one of this name was kept before."""
        if name in self._names:
            self._counts[QUEUE_CALLS] += 1
            return False
        self._names.add(name)
        self.put(job, tenant, delay=delay)
        return True

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        """Keep the job: without it, its work would never be done."""
        with self._lock:
            self._counts[QUEUE_CALLS] += 1
            self.jobs.append(read_job(body))

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        """Count it."""
        self._counts[QUEUE_CALLS] += 1

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        """Count it."""
        self._counts[QUEUE_CALLS] += 1
