"""Resource names of queues and tasks, as the Cloud Tasks API reference defines them. Pure.

projects/PROJECT_ID/locations/LOCATION_ID/queues/QUEUE_ID/tasks/TASK_ID
"""

import re
import secrets

from deploy.local.tasks.errors import InvalidArgumentError

_LOCATION = r"projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9-]+"
_QUEUE = _LOCATION + r"/queues/[A-Za-z0-9-]{1,100}"
_TASK = _QUEUE + r"/tasks/[A-Za-z0-9_-]{1,500}"


def check_location(name: str) -> None:
    """Raise InvalidArgumentError unless `name` is a location."""
    if not re.fullmatch(_LOCATION, name):
        raise InvalidArgumentError("parent must be projects/PROJECT_ID/locations/LOCATION_ID")


def check_queue(name: str) -> None:
    """Raise InvalidArgumentError unless `name` is a queue."""
    if not re.fullmatch(_QUEUE, name):
        raise InvalidArgumentError(
            "a queue is named projects/PROJECT_ID/locations/LOCATION_ID/queues/QUEUE_ID; "
            "QUEUE_ID holds letters, digits and hyphens, 1 to 100 of them"
        )


def check_task(name: str) -> None:
    """Raise InvalidArgumentError unless `name` is a task."""
    if not re.fullmatch(_TASK, name):
        raise InvalidArgumentError(
            "a task is named QUEUE/tasks/TASK_ID, QUEUE being a queue's full name; "
            "TASK_ID holds letters, digits, hyphens and underscores, 1 to 500 of them"
        )


def parent(name: str) -> str:
    """Return the location of a queue, or the queue of a task."""
    return name.rsplit("/", 2)[0]


def short(name: str) -> str:
    """Return QUEUE_ID or TASK_ID."""
    return name.rsplit("/", 1)[-1]


def new_task(queue: str) -> str:
    """Return a task name nobody else has: like the real ones, a long number."""
    return f"{queue}/tasks/{secrets.randbelow(10**19):019d}"
