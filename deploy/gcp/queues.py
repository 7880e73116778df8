"""The tenants' queues at deployment: brought to the settings that installing gives them, from the same queues.toml.

Installing makes a queue through `CloudTasksQueue.ensure`. That also lets it run, which a deployment must not do to the queue
of a tenant whose account is disconnected; so only settings are compared here, by the function that `ensure` reads them with.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from google.cloud.tasks_v2 import Queue

from shared.gcp.tasks import queue_settings
from shared.jobs import Direction


def differing(queues: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield for each queue that differs: its id, then the values of the flags in the order of queues.toml."""
    wanted = {direction: queue_settings(direction) for direction in Direction}
    for queue in queues:
        id = queue["name"].rpartition("/")[2]
        direction = next((known for known in Direction if id.endswith(f"-{known}")), None)
        if direction is None:
            continue
        if _shown(_parsed(queue)) != _shown(wanted[direction]):
            yield [id, *_shown(wanted[direction])]


def _parsed(queue: Mapping[str, Any]) -> Queue:
    known = {key: queue[key] for key in ("rateLimits", "retryConfig") if key in queue}
    known.get("rateLimits", {}).pop("maxBurstSize", None)  # the service works it out
    parsed: Queue = Queue.from_json(json.dumps(known), ignore_unknown_fields=True)
    return parsed


def _shown(queue: Queue) -> list[str]:
    """Return the settings as the flags of `gcloud tasks queues update` take them."""
    limits, retries = queue.rate_limits, queue.retry_config
    return [
        f"{limits.max_dispatches_per_second:g}",
        str(limits.max_concurrent_dispatches),
        "unlimited" if retries.max_attempts == -1 else str(retries.max_attempts),
        f"{_seconds(retries.min_backoff)}s",
        f"{_seconds(retries.max_backoff)}s",
        str(retries.max_doublings),
    ]


def _seconds(duration: Any) -> int:
    # The stubs name the wire's type; what comes out is a timedelta.
    return int(cast(timedelta, duration).total_seconds())
