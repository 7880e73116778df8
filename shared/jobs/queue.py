"""The task queue as the extension needs it. `cloud_tasks.py` provides it, in the cloud and on one machine."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.direction import Direction
from shared.jobs.jobs import AnyJob
from shared.tenants.tenants import Tenant


@dataclass(frozen=True)
class QueueState:
    """How a queue is. `depth` counts up to a thousand; `oldest` is when the oldest of those was made."""

    exists: bool
    paused: bool = False
    depth: int = 0
    oldest: datetime | None = None


class TaskQueue(Protocol):
    """Two queues for each tenant. Every method raises QueueUnavailableError when it cannot be done now."""

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Hand over a job. When this returns, the queue delivers it at least once, `delay` seconds from now or later.

        Raises:
            PayloadTooLargeError: the job does not fit a task.
        """

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        """Do what `put` does, unless the queue has had a task of this name within the last day; return whether it was new.

        Names are slower than none, and `name` should be a hash: Cloud Tasks spreads tasks by their first letters.
        """

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        """Hand over a task body as it is, on the queue with this id."""

    def ensure(self, tenant: Tenant) -> None:
        """Make the tenant's two queues, or update their settings, and let both run."""

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        """Stop dispatching. The tasks stay. A queue that is paused already stays paused."""

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        """Dispatch again. A queue that runs already keeps running."""

    def state(self, tenant: Tenant, direction: Direction) -> QueueState:
        """Return how the queue is."""

    def purge(self, tenant: Tenant, direction: Direction) -> None:
        """Drop every task. The queue stays: a deleted one's name would be blocked for days."""
