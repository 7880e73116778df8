"""Tasks as rows, the names that stay blocked behind them, and the log of attempts they leave.

Each method is one transaction: a task is never lost and never half settled, whenever the process is killed. When
and where a task is sent is not decided here (`dispatcher.py`).
"""

import json
import sqlite3
from dataclasses import asdict
from typing import Literal

from deploy.local.tasks import backoff
from deploy.local.tasks.database import Database
from deploy.local.tasks.errors import AlreadyExistsError, NotFoundError
from deploy.local.tasks.limits import RETENTION, TASK_NAME_BLOCKED
from deploy.local.tasks.mischief import Order
from deploy.local.tasks.model import Answer, Begun, HttpRequest, LastAttempt, NewTask, RetryConfig, Task
from deploy.local.tasks.names import new_task

Settled = Literal["done", "waiting", "given up", "gone"]

_SELECT = """
SELECT tasks.*, last.schedule_time AS last_schedule_time, last.dispatch_time AS last_dispatch_time,
    last.response_time AS last_response_time, last.status AS last_status, last.failure AS last_failure
FROM tasks LEFT JOIN attempts AS last ON last.id = tasks.last_attempt
"""

_ORDERS: dict[Order, str] = {
    "due": "tasks.schedule_time, sequence",
    "newest": "sequence DESC",
    # The same disorder each time, so that a test can be repeated.
    "shuffled": "(sequence * 2654435761) % 4294967291",
}


class TaskTable:
    """The tasks. Every method that names a missing task raises NotFoundError, unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recover(self) -> None:
        """Put the tasks that a killed process was dispatching back: a task may run twice, but is never lost."""

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE tasks SET running = 0 WHERE running > 0")
            connection.execute(
                "UPDATE attempts SET failure = 'interrupted' WHERE response_time IS NULL AND failure = ''"
            )

        self._database.write(apply)

    def create(self, task: NewTask, *, now: int) -> Task:
        """Write a new task; a schedule time in the past becomes now.

        Raises:
            NotFoundError: there is no such queue.
            AlreadyExistsError: the name is in use, or was within the last 24 hours.
        """

        def apply(connection: sqlite3.Connection) -> Task:
            if not connection.execute("SELECT 1 FROM queues WHERE name = ?", (task.queue,)).fetchone():
                raise NotFoundError("there is no such queue")
            if task.name:
                _check_unused(connection, task.name, now)
            name = task.name or new_task(task.queue)
            connection.execute(_INSERT, _columns(task, name, now))
            return _one(connection, name)

        return self._database.write(apply)

    def get(self, name: str) -> Task:
        """Return the task."""
        rows = self._database.read(f"{_SELECT} WHERE tasks.name = ?", name)
        if not rows:
            raise NotFoundError("there is no such task")
        return _task(rows[0])

    def page(self, queue: str, *, after: int, limit: int) -> list[Task]:
        """Return up to `limit` tasks of a queue in order of creation, behind the one numbered `after`.

        Raises:
            NotFoundError: there is no such queue.
        """
        if not self._database.read("SELECT 1 FROM queues WHERE name = ?", queue):
            raise NotFoundError("there is no such queue")
        where = "WHERE tasks.queue = ? AND tasks.sequence > ? ORDER BY tasks.sequence LIMIT ?"
        return [_task(row) for row in self._database.read(f"{_SELECT} {where}", queue, after, limit)]

    def delete(self, name: str, *, now: int) -> None:
        """Delete the task and block its name; an attempt that is running goes on and is only logged."""

        def apply(connection: sqlite3.Connection) -> None:
            if not remove_tasks(connection, "name = ?", name, blocked_until=now + TASK_NAME_BLOCKED):
                raise NotFoundError("there is no such task")

        self._database.write(apply)

    def begin_due(self, queue: str, *, now: int, limit: int, order: Order = "due") -> list[Begun]:
        """Write down an attempt at up to `limit` waiting tasks that are due, in order of schedule, then creation, or in another one."""
        waiting = "WHERE tasks.queue = ? AND running = 0 AND tasks.schedule_time <= ?"
        due = f"{waiting} ORDER BY {_ORDERS[order]}"

        def apply(connection: sqlite3.Connection) -> list[Begun]:
            rows = connection.execute(f"{_SELECT} {due} LIMIT ?", (queue, now, limit)).fetchall()
            return [_begin(connection, _task(row), now) for row in rows]

        return self._database.write(apply)

    def begin(self, name: str, *, now: int) -> Begun:
        """Write down an attempt at one task, whether it is due, or running already, or not."""
        return self._database.write(lambda connection: _begin(connection, _one(connection, name), now))

    def next_schedule(self, queue: str) -> int | None:
        """Return the earliest schedule time among the waiting tasks of a queue, None when none waits."""
        query = "SELECT MIN(schedule_time) AS earliest FROM tasks WHERE queue = ? AND running = 0"
        earliest: int | None = self._database.read(query, queue)[0]["earliest"]
        return earliest

    def settle(self, begun: Begun, answer: Answer, config: RetryConfig, *, now: int, since: int) -> Settled:
        """Store the result of an attempt, and the state of its task: done, waiting, given up, or deleted meanwhile.

        The next attempt is due a back-off after `since`, and not before the worker's `Retry-After`.
        """

        def apply(connection: sqlite3.Connection) -> Settled:
            _log(connection, begun.attempt, answer, now)
            row = connection.execute(f"{_SELECT} WHERE tasks.name = ?", (begun.task.name,)).fetchone()
            if row is None:
                return "gone"
            task = _task(row)
            if answer.succeeded:
                _remove(connection, task, now)
                return "done"
            if _is_exhausted(task, config, now):
                connection.execute("UPDATE attempts SET given_up = 1 WHERE id = ?", (begun.attempt,))
                _remove(connection, task, now)
                return "given up"
            wait = backoff.interval(config, task.dispatch_count)
            _put_back(connection, task, answer, max(since + wait, now + answer.retry_after))
            return "waiting"

        return self._database.write(apply)

    def expire(self, *, now: int) -> None:
        """Delete tasks and attempts past the retention of 31 days, and names that are free again."""

        def apply(connection: sqlite3.Connection) -> None:
            old = now - RETENTION
            remove_tasks(
                connection, "create_time <= ? AND running = 0", old, blocked_until=now + TASK_NAME_BLOCKED
            )
            connection.execute("DELETE FROM attempts WHERE create_time <= ?", (old - RETENTION,))
            connection.execute("DELETE FROM tombstones WHERE blocked_until <= ?", (now,))
            connection.execute("DELETE FROM deleted_queues WHERE blocked_until <= ?", (now,))

        self._database.write(apply)


def remove_tasks(
    connection: sqlite3.Connection, where: str, argument: str | int, *, blocked_until: int
) -> int:
    """Delete the tasks a condition names, block the names their creators chose, and return how many they were."""
    connection.execute(
        f"INSERT OR REPLACE INTO tombstones SELECT name, ? FROM tasks WHERE is_named AND {where}",  # noqa: S608 - our own text
        (blocked_until, argument),
    )
    return connection.execute(f"DELETE FROM tasks WHERE {where}", (argument,)).rowcount  # noqa: S608 - our own text


def _remove(connection: sqlite3.Connection, task: Task, now: int) -> None:
    remove_tasks(connection, "name = ?", task.name, blocked_until=now + TASK_NAME_BLOCKED)


def _check_unused(connection: sqlite3.Connection, name: str, now: int) -> None:
    if connection.execute("SELECT 1 FROM tasks WHERE name = ?", (name,)).fetchone():
        raise AlreadyExistsError("a task of this name exists")
    blocked = "SELECT 1 FROM tombstones WHERE name = ? AND blocked_until > ?"
    if connection.execute(blocked, (name, now)).fetchone():
        raise AlreadyExistsError("a task of this name ran or was deleted within the last 24 hours")


def _begin(connection: sqlite3.Connection, task: Task, now: int) -> Begun:
    cursor = connection.execute(
        "INSERT INTO attempts (task, queue, number, body_bytes, create_time, schedule_time, dispatch_time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            task.name,
            task.queue,
            task.dispatch_count + 1,
            len(task.request.body),
            task.create_time,
            task.schedule_time,
            now,
        ),
    )
    attempt = cursor.lastrowid or 0
    connection.execute(
        "UPDATE tasks SET running = running + 1, dispatch_count = dispatch_count + 1, last_attempt = ?,"
        " first_dispatch_time = COALESCE(first_dispatch_time, ?) WHERE sequence = ?",
        (attempt, now, task.sequence),
    )
    return Begun(task, attempt)


def _log(connection: sqlite3.Connection, attempt: int, answer: Answer, now: int) -> None:
    connection.execute(
        "UPDATE attempts SET response_time = ?, status = ?, failure = ? WHERE id = ?",
        (now, answer.status, answer.failure, attempt),
    )


def _put_back(connection: sqlite3.Connection, task: Task, answer: Answer, schedule_time: int) -> None:
    answered = answer.status is not None
    executed = answer.status is not None and answer.status < 500
    connection.execute(
        "UPDATE tasks SET running = MAX(running - 1, 0), schedule_time = ?, response_count = response_count + ?,"
        " execution_count = execution_count + ?, previous_status = ?, previous_failure = ? WHERE sequence = ?",
        (schedule_time, answered, executed, answer.status, answer.failure, task.sequence),
    )


def _is_exhausted(task: Task, config: RetryConfig, now: int) -> bool:
    first = now if task.first_dispatch_time is None else task.first_dispatch_time
    return backoff.is_exhausted(config, attempts=task.dispatch_count, since_first=now - first)


_INSERT = """
INSERT INTO tasks (name, queue, is_named, create_time, schedule_time, dispatch_deadline, retry_config,
    url, method, service_account_email, audience, headers, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def _columns(task: NewTask, name: str, now: int) -> tuple[object, ...]:
    request = task.request
    return (
        name,
        task.queue,
        bool(task.name),
        now,
        max(now, task.schedule_time or now),
        task.dispatch_deadline,
        None if task.retry_config is None else json.dumps(asdict(task.retry_config)),
        request.url,
        request.method,
        request.service_account_email,
        request.audience,
        json.dumps(request.headers),
        request.body,
    )


def _one(connection: sqlite3.Connection, name: str) -> Task:
    row = connection.execute(f"{_SELECT} WHERE tasks.name = ?", (name,)).fetchone()
    if row is None:
        raise NotFoundError("there is no such task")
    return _task(row)


def _task(row: sqlite3.Row) -> Task:
    return Task(
        sequence=row["sequence"],
        name=row["name"],
        queue=row["queue"],
        request=HttpRequest(
            row["url"],
            row["method"],
            json.loads(row["headers"]),
            row["body"],
            row["service_account_email"],
            row["audience"],
        ),
        create_time=row["create_time"],
        schedule_time=row["schedule_time"],
        dispatch_deadline=row["dispatch_deadline"],
        retry_config=None if row["retry_config"] is None else RetryConfig(**json.loads(row["retry_config"])),
        dispatch_count=row["dispatch_count"],
        response_count=row["response_count"],
        execution_count=row["execution_count"],
        first_dispatch_time=row["first_dispatch_time"],
        last_attempt=_last_attempt(row),
        previous_status=row["previous_status"],
        previous_failure=row["previous_failure"],
    )


def _last_attempt(row: sqlite3.Row) -> LastAttempt | None:
    if row["last_dispatch_time"] is None:
        return None
    return LastAttempt(
        row["last_schedule_time"],
        row["last_dispatch_time"],
        row["last_response_time"],
        row["last_status"],
        row["last_failure"],
    )
