"""The task queue as the extension needs it. `cloud_tasks.py` provides it, in the cloud and on one machine."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.direction import Direction
from shared.jobs.jobs import AnyJob
from shared.tenants.tenants import Tenant


@dataclass(frozen=True)
class QueueState:
    """The state of a queue. `depth` counts up to a thousand tasks; `oldest` is the time of the oldest of them."""

    exists: bool
    paused: bool = False
    depth: int = 0
    oldest: datetime | None = None


class TaskQueue(Protocol):
    """Two queues for each tenant. Every method raises QueueUnavailableError if the queue cannot answer now."""

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Queue a job. After this returns, the queue delivers it at least once, `delay` seconds from now or later.

        Raises:
            PayloadTooLargeError: the job does not fit a task.
        """

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        """Do what `put` does, unless the queue has had a task of this name within the last day; return whether it was new.

        A task with a name is slower. `name` should be a hash, because Cloud Tasks spreads tasks by their first letters.
        """

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        """Queue a task body as it is, in the queue with this id."""

    def ensure(self, tenant: Tenant) -> None:
        """Make the tenant's two queues, or update their settings, and let both run."""

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        """Pause the queue. Its tasks stay."""

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        """Let the queue dispatch again."""

    def state(self, tenant: Tenant, direction: Direction) -> QueueState:
        """Return the state of the queue."""

    def purge(self, tenant: Tenant, direction: Direction) -> None:
        """Drop every task. The queue stays, because the name of a deleted queue is blocked for days."""
