"""Cloud Tasks as Google documents it: at least once, in no order, names blocked for a day, backoff, and throttling after a 429 or 503.

Google's pages "Queue", "Task" and "Understand Cloud Tasks": a 429 or 503, or many errors, slow the whole queue down.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from shared.direction import Direction
from shared.errors import PayloadTooLargeError
from shared.jobs.jobs import TASK_BYTES, AnyJob, write_job
from shared.jobs.queue import QueueState
from shared.tenants.tenants import Tenant
from tests.world.bundle import queue_call

if TYPE_CHECKING:
    from tests.world.bundle import Process
    from tests.world.world import SimulatedWorld

T = TypeVar("T")
_NAME_BLOCKED = 86400.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 600.0
_LATE, _TWICE = 0.03, 0.03


@dataclass
class Task:
    """A task that waits or runs. Times are Unix seconds."""

    number: int
    queue: str
    body: bytes
    tenant: str
    direction: Direction
    due: float
    made_at: float
    retries: int = 0
    is_over: bool = False


@dataclass
class _Queue:
    is_paused: bool = False
    held_until: float = 0.0
    tasks: dict[int, Task] = field(default_factory=dict)
    names: dict[str, float] = field(default_factory=dict)


class SimulatedQueue:
    """All queues, and their dispatching to the workers."""

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world
        self._queues: dict[str, _Queue] = {}
        self._numbers = count(1)

    def of(self, process: "Process") -> "QueueOf":
        """Return the queue as a process reaches it."""
        return QueueOf(self, process)

    @property
    def waiting(self) -> list[Task]:
        """The tasks that are not done."""
        return [task for queue in self._queues.values() for task in queue.tasks.values()]

    def add(
        self, queue: str, body: bytes, tenant: str, direction: Direction, delay: float, name: str = ""
    ) -> bool:
        """Take a task; return whether its name was free."""
        now, known = self._world.timeline.now, self._queue(queue)
        if name:
            if known.names.get(name, -1.0) >= now:
                return False
            known.names[name] = now + delay + _NAME_BLOCKED
        task = Task(next(self._numbers), queue, body, tenant, direction, now + delay, now)
        known.tasks[task.number] = task
        self._world.seen_task(task, delay)
        self._schedule(task)
        return True

    def ensure(self, queue: str) -> None:
        self._queue(queue)
        self.resume(queue)

    def pause(self, queue: str) -> None:
        self._queue(queue).is_paused = True

    def resume(self, queue: str) -> None:
        known = self._queue(queue)
        if known.is_paused:
            known.is_paused = False
            for task in known.tasks.values():
                self._schedule(task)

    def purge(self, queue: str) -> None:
        self._queue(queue).tasks.clear()

    def state(self, queue: str) -> QueueState:
        if queue not in self._queues:
            return QueueState(exists=False)
        known = self._queues[queue]
        oldest = min((task.made_at for task in known.tasks.values()), default=None)
        at = None if oldest is None else datetime.fromtimestamp(oldest, UTC)
        return QueueState(exists=True, paused=known.is_paused, depth=len(known.tasks), oldest=at)

    def _queue(self, name: str) -> _Queue:
        return self._queues.setdefault(name, _Queue())

    def _schedule(self, task: Task) -> None:
        due = max(task.due, self._queue(task.queue).held_until)
        self._world.timeline.at(due + self._world.dispatch_seconds(_LATE), lambda: self._dispatch(task))

    def _dispatch(self, task: Task) -> None:
        known = self._queue(task.queue)
        if task.number not in known.tasks or known.is_paused:
            return
        if known.held_until > self._world.timeline.now:
            self._schedule(task)
            return
        self._deliver(task, self._settle)
        if self._world.happens(_TWICE):
            self._world.fired["queue: twice"] += 1
            again = self._world.latency() * 2 * self._world.random() * 100
            self._world.timeline.after(again, lambda: self._deliver(task, lambda task, status: None))

    def _deliver(self, task: Task, settle: Callable[[Task, int], None]) -> None:
        headers = {
            "Content-Type": "application/json",
            "X-CloudTasks-QueueName": task.queue,
            "X-CloudTasks-TaskName": str(task.number),
            "X-CloudTasks-TaskRetryCount": str(task.retries),
            "X-Extension-Tenant": task.tenant,
        }
        self._world.work(task, headers, lambda status: settle(task, status))

    def _settle(self, task: Task, status: int) -> None:
        known = self._queue(task.queue)
        if 200 <= status < 300:
            known.tasks.pop(task.number, None)
            return
        if status in (429, 503):
            known.held_until = self._world.timeline.now + 2.0
            self._world.fired["queue: throttled"] += 1
        task.retries += 1
        task.due = self._world.timeline.now + min(
            _LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** (task.retries - 1)
        )
        self._schedule(task)


class QueueOf:
    """`shared.queue.TaskQueue` for the code in one process."""

    def __init__(self, queue: SimulatedQueue, process: "Process") -> None:
        self._queue = queue
        self._process = process

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        self.put_back(
            tenant.queue_name(job.direction),
            _body(job),
            tenant=tenant.name,
            direction=job.direction,
            delay=delay,
        )

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        queue, body = tenant.queue_name(job.direction), _body(job)
        return self._call(
            lambda: self._queue.add(queue, body, tenant.name, job.direction, delay, name), "put_named"
        )

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        self._call(lambda: self._queue.add(queue, body, tenant, direction, delay), "put")

    def ensure(self, tenant: Tenant) -> None:
        for direction in Direction:
            self._queue.ensure(tenant.queue_name(direction))

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        self._call(lambda: self._queue.pause(tenant.queue_name(direction)), "pause")

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        self._call(lambda: self._queue.resume(tenant.queue_name(direction)), "resume")

    def state(self, tenant: Tenant, direction: Direction) -> QueueState:
        return self._call(lambda: self._queue.state(tenant.queue_name(direction)), "state")

    def purge(self, tenant: Tenant, direction: Direction) -> None:
        self._call(lambda: self._queue.purge(tenant.queue_name(direction)), "purge")

    def _call(self, call: Callable[[], T], about: str) -> T:
        return queue_call(self._process, call, f"queue {about}")


def _body(job: AnyJob) -> bytes:
    body = write_job(job)
    if len(body) > TASK_BYTES:
        raise PayloadTooLargeError(f"The call must be smaller: at most {TASK_BYTES // 1000} KB as a job.")
    return body
