"""Queues, tasks and attempts as plain data. Times are whole microseconds since 1970, durations whole microseconds.

Field names are those of the Cloud Tasks API reference. No protobuf (`messages.py`) and no SQL live here.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

SECOND = 1_000_000

QueueState = Literal["RUNNING", "PAUSED"]


@dataclass(frozen=True)
class RateLimits:
    """How fast a queue dispatches. The defaults are those `gcloud tasks queues describe` shows for a new queue."""

    max_dispatches_per_second: float = 500.0
    max_concurrent_dispatches: int = 1000

    @property
    def max_burst_size(self) -> int:
        """Tokens the bucket holds: "generally at least equal to max_dispatches_per_second" (API reference)."""
        return max(1, math.ceil(self.max_dispatches_per_second))


@dataclass(frozen=True)
class RetryConfig:
    """When a failed attempt is repeated. `max_attempts` -1 and `max_retry_duration` 0 mean no limit."""

    max_attempts: int = 100
    max_retry_duration: int = 0
    min_backoff: int = SECOND // 10
    max_backoff: int = 3600 * SECOND
    max_doublings: int = 16


@dataclass(frozen=True)
class Queue:
    """A queue. `name` is the full resource name; `purge_time` None means never purged."""

    name: str
    rate_limits: RateLimits = RateLimits()
    retry_config: RetryConfig = RetryConfig()
    sampling_ratio: float | None = None
    state: QueueState = "RUNNING"
    purge_time: int | None = None


@dataclass(frozen=True)
class HttpRequest:
    """The request to the worker. `url` is already encoded; an empty `service_account_email` means no token."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    service_account_email: str = ""
    audience: str = ""


@dataclass(frozen=True)
class NewTask:
    """A task as its creator asked for it. If `name` is empty, the emulator chooses one."""

    queue: str
    name: str
    request: HttpRequest
    schedule_time: int | None = None
    dispatch_deadline: int | None = None
    retry_config: RetryConfig | None = None
    size: int = 0


@dataclass(frozen=True)
class LastAttempt:
    """The newest attempt at a task. While it runs, `response_time` is None; `status` is None without an answer."""

    schedule_time: int
    dispatch_time: int
    response_time: int | None
    status: int | None
    failure: str


@dataclass(frozen=True)
class Task:
    """A task that is waiting or being attempted.

    `dispatch_count` counts every attempt begun, `response_count` every answer, `execution_count` every answer
    below 500. `previous_status` and `previous_failure` tell how the last finished attempt went.
    """

    sequence: int
    name: str
    queue: str
    request: HttpRequest
    create_time: int
    schedule_time: int
    dispatch_deadline: int | None
    retry_config: RetryConfig | None
    dispatch_count: int = 0
    response_count: int = 0
    execution_count: int = 0
    first_dispatch_time: int | None = None
    last_attempt: LastAttempt | None = None
    previous_status: int | None = None
    previous_failure: str = ""


@dataclass(frozen=True)
class Begun:
    """An attempt that has just been written down: the task as it was before, and the attempt's number in the log."""

    task: Task
    attempt: int


@dataclass(frozen=True)
class Answer:
    """The result of an attempt: an HTTP status, or None and the reason why there is none. `retry_after` is in µs.
    `headers` and the beginning of the `body` are only for the record; nothing depends on them.
    """

    status: int | None
    failure: str = ""
    retry_after: int = 0
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def succeeded(self) -> bool:
        """Say whether the worker acknowledged the task."""
        return self.status is not None and 200 <= self.status <= 299
