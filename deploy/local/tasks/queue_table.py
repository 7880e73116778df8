"""Queues as rows, and the names of deleted queues. Checks of values live in `limits.py`, of names in `names.py`."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, replace

from deploy.local.tasks.database import Database
from deploy.local.tasks.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from deploy.local.tasks.limits import QUEUE_NAME_BLOCKED, TASK_NAME_BLOCKED
from deploy.local.tasks.model import Queue, QueueState, RateLimits, RetryConfig
from deploy.local.tasks.task_table import remove_tasks


class QueueTable:
    """The queues. Every method that names a missing queue raises NotFoundError, unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, queue: Queue, *, now: int) -> Queue:
        """Write a new queue.

        Raises:
            AlreadyExistsError: there is a queue of this name.
            FailedPreconditionError: there was one, deleted too recently.
        """

        def apply(connection: sqlite3.Connection) -> Queue:
            if _find(connection, queue.name) is not None:
                raise AlreadyExistsError("the queue exists already")
            _check_not_blocked(connection, queue.name, now)
            _write(connection, queue)
            return queue

        return self._database.write(apply)

    def change(self, name: str, how: Callable[[Queue], Queue], *, now: int, create: bool = False) -> Queue:
        """Replace a queue's settings by the result of `how`; with `create`, begin from the defaults.

        Raises:
            FailedPreconditionError: the queue cannot be created, because it was deleted too recently.
        """

        def apply(connection: sqlite3.Connection) -> Queue:
            found = _find(connection, name)
            if found is None:
                if not create:
                    raise NotFoundError("there is no such queue")
                _check_not_blocked(connection, name, now)
            changed = how(found or Queue(name))
            _write(connection, changed)
            return changed

        return self._database.write(apply)

    def set_state(self, name: str, state: QueueState, *, now: int) -> Queue:
        """Pause or resume."""
        return self.change(name, lambda queue: replace(queue, state=state), now=now)

    def get(self, name: str) -> Queue:
        """Return the queue."""
        rows = self._database.read("SELECT * FROM queues WHERE name = ?", name)
        if not rows:
            raise NotFoundError("there is no such queue")
        return _queue(rows[0])

    def page(self, location: str, *, after: str, limit: int) -> list[Queue]:
        """Return up to `limit` queues of a location, by name, behind the one called `after`."""
        start = f"{location}/queues/"
        rows = self._database.read(
            "SELECT * FROM queues WHERE name > ? AND name < ? ORDER BY name LIMIT ?",
            max(start, after),
            f"{location}/queues0",  # 0 is the character behind /
            limit,
        )
        return [_queue(row) for row in rows]

    def names(self) -> list[str]:
        """Return the name of every queue."""
        return [row["name"] for row in self._database.read("SELECT name FROM queues")]

    def purge(self, name: str, *, now: int) -> Queue:
        """Delete every task of the queue; names stay blocked as for tasks deleted one by one."""

        def apply(connection: sqlite3.Connection) -> Queue:
            found = _find(connection, name)
            if found is None:
                raise NotFoundError("there is no such queue")
            remove_tasks(connection, "queue = ?", name, blocked_until=now + TASK_NAME_BLOCKED)
            purged = replace(found, purge_time=now)
            _write(connection, purged)
            return purged

        return self._database.write(apply)

    def delete(self, name: str, *, now: int) -> None:
        """Delete the queue and its tasks, and block its name."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute("DELETE FROM queues WHERE name = ?", (name,)).rowcount == 0:
                raise NotFoundError("there is no such queue")
            remove_tasks(connection, "queue = ?", name, blocked_until=now + TASK_NAME_BLOCKED)
            connection.execute(
                "INSERT OR REPLACE INTO deleted_queues VALUES (?, ?)", (name, now + QUEUE_NAME_BLOCKED)
            )

        self._database.write(apply)


def _find(connection: sqlite3.Connection, name: str) -> Queue | None:
    row = connection.execute("SELECT * FROM queues WHERE name = ?", (name,)).fetchone()
    return None if row is None else _queue(row)


def _check_not_blocked(connection: sqlite3.Connection, name: str, now: int) -> None:
    blocked = "SELECT 1 FROM deleted_queues WHERE name = ? AND blocked_until > ?"
    if connection.execute(blocked, (name, now)).fetchone():
        raise FailedPreconditionError(
            "a queue of this name was deleted less than 3 days ago; pause or purge instead"
        )


def _write(connection: sqlite3.Connection, queue: Queue) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?, ?, ?)",
        (
            queue.name,
            json.dumps(asdict(queue.rate_limits)),
            json.dumps(asdict(queue.retry_config)),
            queue.sampling_ratio,
            queue.state,
            queue.purge_time,
        ),
    )


def _queue(row: sqlite3.Row) -> Queue:
    return Queue(
        row["name"],
        RateLimits(**json.loads(row["rate_limits"])),
        RetryConfig(**json.loads(row["retry_config"])),
        row["sampling_ratio"],
        row["state"],
        row["purge_time"],
    )
