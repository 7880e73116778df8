"""When a task goes out: schedule, rate, concurrency, pause. One thread decides, one thread per running attempt sends.

The deciding thread sleeps until the next task is due or something has changed; it never polls. `delivery.py` sends an
attempt; `task_table.py` decides about the task afterwards.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from deploy.local.tasks.bucket import Bucket
from deploy.local.tasks.delivery import OpenConnections
from deploy.local.tasks.errors import NotFoundError
from deploy.local.tasks.exchanges import Exchanges
from deploy.local.tasks.headers import request_headers
from deploy.local.tasks.identity import Identity
from deploy.local.tasks.limits import DEFAULT_DEADLINE, MAX_DISPATCHES_PER_SECOND
from deploy.local.tasks.mischief import Mischief
from deploy.local.tasks.model import SECOND, Answer, Begun, HttpRequest, RetryConfig, Task
from deploy.local.tasks.names import short
from deploy.local.tasks.queue_table import QueueTable
from deploy.local.tasks.task_table import TaskTable

log = logging.getLogger(__name__)

_AT_ONCE = 50  # begun in one transaction: their bodies are in memory together
_MOST_THREADS = 1000
_EXPIRE_EVERY = 3600 * SECOND
_GRACE_SECONDS = 0.2


class Deliver(Protocol):
    """Sends one attempt: `delivery.deliver`, or something around it."""

    def __call__(
        self,
        request: HttpRequest,
        headers: Iterable[tuple[str, str]],
        *,
        timeout: float,
        connections: OpenConnections,
    ) -> Answer:
        """Return the worker's answer; `timeout` is in seconds."""


@dataclass
class _Lane:
    """The knowledge about a queue between two looks at it. `look_at` None: only a change is a reason to look again."""

    bucket: Bucket
    in_flight: int = 0
    look_at: int | None = None


class Dispatcher:
    """Sends due tasks. `clock` gives µs since 1970."""

    def __init__(
        self,
        queues: QueueTable,
        tasks: TaskTable,
        identity: Identity,
        *,
        clock: Callable[[], int],
        deliver: Deliver,
        mischief: Mischief | None = None,
        exchanges: Exchanges | None = None,
    ) -> None:
        self._mischief = mischief or Mischief()
        self._exchanges = exchanges or Exchanges()
        self._queues = queues
        self._tasks = tasks
        self._identity = identity
        self._clock = clock
        self._deliver = deliver
        self._connections = OpenConnections()
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="attempt")
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._to_look_at = set(queues.names())
        self._expire_at = 0
        self._stopping = False

    def start(self) -> None:
        """Dispatch without further calls from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop. Attempts that do not end at once are cut off and stay in the database as a killed process leaves them."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_quiet, timeout=_GRACE_SECONDS)
        self._connections.cut()
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def wake(self, queue: str) -> None:
        """Say that a queue, or a task in it, has changed."""
        with self._changed:
            self._to_look_at.add(queue)
            self._changed.notify_all()

    def step(self) -> None:
        """Dispatch the due tasks at this moment of the clock and wait until they are settled. Not while started."""
        for name in self._queues.names():
            self.wake(name)
        started = True
        while started:
            started = self._dispatch_due() > 0
            with self._changed:
                self._changed.wait_for(self._is_quiet)

    def run(self, name: str) -> Task:
        """Begin an attempt at this task now, regardless of its queue's limits and state, and return the task as it was
        before.

        Raises:
            NotFoundError: there is no such task.
        """
        now = self._clock()
        begun = self._tasks.begin(name, now=now)
        with self._changed:
            self._lane(begun.task.queue, now).in_flight += 1
        self._submit(begun, forced_at=now)
        return begun.task

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping or self._to_look_at, timeout=self._seconds_until_next()
                )
                if self._stopping:
                    return
            self._dispatch_due()

    def _seconds_until_next(self) -> float:
        moments = [lane.look_at for lane in self._lanes.values() if lane.look_at is not None]
        return max(0, min([self._expire_at, *moments]) - self._clock()) / SECOND

    def _is_quiet(self) -> bool:
        return not any(lane.in_flight for lane in self._lanes.values())

    def _dispatch_due(self) -> int:
        now = self._clock()
        with self._changed:
            due = {
                name for name, lane in self._lanes.items() if lane.look_at is not None and lane.look_at <= now
            }
            names, self._to_look_at = due | self._to_look_at, set()
        started = 0
        try:
            if now >= self._expire_at:
                self._tasks.expire(now=now)
                self._expire_at = now + _EXPIRE_EVERY
            for name in sorted(names):
                started += self._look_at(name, now)
                names.discard(name)
        except sqlite3.Error:
            log.exception("the database does not answer; trying again in a second")
            self._look_again(names, now + SECOND)
        return started

    def _look_again(self, names: set[str], at: int) -> None:
        with self._changed:
            for name in names:
                self._lane(name, at).look_at = at
            self._expire_at = max(self._expire_at, at)

    def _look_at(self, name: str, now: int) -> int:
        """Begin the attempts that this queue may begin, note when to look again, and return the number of attempts."""
        try:
            queue = self._queues.get(name)
            earliest = self._tasks.next_schedule(name)
        except NotFoundError:
            with self._changed:
                self._lanes.pop(name, None)
            return 0
        with self._changed:
            lane = self._lane(name, now)
            limits = self._mischief.slowed(queue.rate_limits)
            lane.bucket.refill(limits, now)
            free = limits.max_concurrent_dispatches - lane.in_flight
            lane.look_at = None
            if queue.state != "RUNNING" or earliest is None or free <= 0:
                return 0
            if earliest > now or lane.bucket.tokens < 1:
                lane.look_at = max(earliest, lane.bucket.next_token(limits))
                return 0
            room = min(free, int(lane.bucket.tokens), _AT_ONCE)
        return self._begin(name, lane, now, room)

    def _begin(self, name: str, lane: _Lane, now: int, room: int) -> int:
        begun = self._tasks.begin_due(name, now=now, limit=room, order=self._mischief.mood.order)
        with self._changed:
            lane.in_flight += len(begun)
            lane.bucket.tokens -= len(begun)
            self._to_look_at.add(name)  # there may be more, and if not, when to look again is found out
        for attempt in begun:
            self._submit(attempt)
        return len(begun)

    def _lane(self, name: str, now: int) -> _Lane:
        return self._lanes.setdefault(
            name, _Lane(Bucket(MAX_DISPATCHES_PER_SECOND, now))
        )  # full, for a bucket of any size

    def _submit(self, begun: Begun, *, forced_at: int | None = None) -> None:
        if self._stopping:
            return
        self._pool.submit(self._attempt, begun, forced_at).add_done_callback(_report)

    def _attempt(self, begun: Begun, forced_at: int | None) -> None:
        task = begun.task
        try:
            headers = request_headers(task, token=self._identity.token(task.request, now=self._clock()))
            self._exchanges.sent(begun.attempt, task.request, tuple(headers))
            for _ in range(2 if self._mischief.takes_double() else 1):
                answer = self._deliver(
                    task.request,
                    headers,
                    timeout=(task.dispatch_deadline or DEFAULT_DEADLINE) / SECOND,
                    connections=self._connections,
                )
            self._exchanges.answered(begun.attempt, answer)
            if answer.status is not None or not self._stopping:
                self._settle(begun, answer, forced_at)
        finally:
            with self._changed:
                lane = self._lanes.get(task.queue)
                if lane is not None:
                    lane.in_flight -= 1
                self._to_look_at.add(task.queue)
                self._changed.notify_all()

    def _settle(self, begun: Begun, answer: Answer, forced_at: int | None) -> None:
        task, now = begun.task, self._clock()
        try:
            config = task.retry_config or self._queues.get(task.queue).retry_config
        except NotFoundError:
            config = RetryConfig()  # the queue was deleted, and the task with it
        since = now if forced_at is None else forced_at
        if self._tasks.settle(begun, answer, config, now=now, since=since) == "given up":
            log.warning(
                "queue %s gave up task %s after %d attempts: %s",
                short(task.queue),
                short(task.name),
                task.dispatch_count + 1,
                answer.failure or f"HTTP status code {answer.status}",
            )


def _report(attempt: "Future[None]") -> None:
    if not attempt.cancelled() and (error := attempt.exception()) is not None:
        log.error("an attempt ended in an error of the emulator", exc_info=error)
