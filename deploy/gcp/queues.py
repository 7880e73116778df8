"""The tenants' queues at deployment: they get the same settings as at an install, from the same queues.toml.

An install makes a queue through `CloudTasksQueue.ensure`, which also lets the queue run. A deployment must not start
the queue of a tenant whose account is disconnected. So this module compares only settings, with the function with which
`ensure` reads them.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from shared.direction import Direction
from shared.jobs.cloud_tasks import queue_settings


def differing(queues: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield for each queue that differs: its id, then the values for the flags of `gcloud tasks queues update`.
    `queues` is the output of `gcloud tasks queues list --format=json`.
    """
    wanted = {direction: _wanted(direction) for direction in Direction}
    for queue in queues:
        id = queue["name"].rpartition("/")[2]
        direction = next((known for known in Direction if id.endswith(f"-{known}")), None)
        if direction is not None and _present(queue) != wanted[direction]:
            yield [id, *wanted[direction]]


def own(queues: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the ids of the queues that are set as installing and deployment set them: that is how ours are known."""
    wanted = {direction: _wanted(direction) for direction in Direction}
    for queue in queues:
        id = queue["name"].rpartition("/")[2]
        if any(id.endswith(f"-{known}") and _present(queue) == wanted[known] for known in Direction):
            yield id


def _wanted(direction: Direction) -> list[str]:
    settings = queue_settings(direction)
    limits, retries = settings.rate_limits, settings.retry_config
    return [
        f"{limits.max_dispatches_per_second:g}",
        str(limits.max_concurrent_dispatches),
        _attempts(retries.max_attempts),
        _seconds(retries.min_backoff),
        _seconds(retries.max_backoff),
        str(retries.max_doublings),
    ]


def _present(queue: Mapping[str, Any]) -> list[str]:
    limits, retries = queue.get("rateLimits", {}), queue.get("retryConfig", {})
    return [
        f"{float(limits.get('maxDispatchesPerSecond', 0)):g}",
        str(limits.get("maxConcurrentDispatches", 0)),
        _attempts(retries.get("maxAttempts", 0)),
        str(retries.get("minBackoff", "")),
        str(retries.get("maxBackoff", "")),
        str(retries.get("maxDoublings", 0)),
    ]


def _attempts(number: int) -> str:
    return "unlimited" if number == -1 else str(number)


def _seconds(duration: Any) -> str:
    # The stubs name the wire's type; the real value is a timedelta.
    return f"{int(cast(timedelta, duration).total_seconds())}s"
