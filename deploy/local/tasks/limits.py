"""The documented limits of Cloud Tasks, and the checks that hold them. Pure.

Sources: the API reference (HttpRequest, Task, RateLimits, RetryConfig) and the "Quotas and limits" page. Every check
raises InvalidArgumentError. Resource names are checked in `names.py`.
"""

import re
from urllib.parse import quote, urlsplit

from deploy.local.tasks.errors import InvalidArgumentError
from deploy.local.tasks.model import SECOND, HttpRequest, NewTask, RateLimits, RetryConfig

DAY = 24 * 3600 * SECOND

MAX_TASK_BYTES = 1024 * 1024
MAX_URL_CHARACTERS = 2083
MAX_HEADER_BYTES = 80 * 1024
MAX_SCHEDULE_AHEAD = 30 * DAY
MIN_DEADLINE, DEFAULT_DEADLINE, MAX_DEADLINE = 15 * SECOND, 600 * SECOND, 1800 * SECOND
RETENTION = 31 * DAY
TASK_NAME_BLOCKED = DAY
QUEUE_NAME_BLOCKED = 3 * DAY
MAX_DISPATCHES_PER_SECOND = 500
MAX_CONCURRENT_DISPATCHES = 5000
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED = "%/:=&?~#+!$,;'@()*[]"


def encoded_url(url: str) -> str:
    """Return `url` with all forbidden characters percent-encoded. The service does so before it measures the length."""
    return quote(url, safe=_RESERVED)


def check_task(task: NewTask, *, now: int) -> None:
    """Hold everything the service asks of a new task. `now` is in µs since 1970."""
    check_request(task.request)
    if task.size > MAX_TASK_BYTES:
        raise InvalidArgumentError("task: the task size must be at most 1 MiB")
    deadline = task.dispatch_deadline
    if deadline is not None and not MIN_DEADLINE <= deadline <= MAX_DEADLINE:
        raise InvalidArgumentError("task.dispatch_deadline must be between 15 seconds and 30 minutes")
    if task.schedule_time is not None and task.schedule_time > now + MAX_SCHEDULE_AHEAD:
        raise InvalidArgumentError("task.schedule_time must be at most 30 days ahead")
    if task.retry_config is not None:
        check_retry_config(task.retry_config)


def check_request(request: HttpRequest) -> None:
    """Hold the rules for URL, headers and body."""
    _check_url(request.url)
    size = 0
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name) or any(character in value for character in "\r\n\0"):
            raise InvalidArgumentError("task.http_request.headers holds what HTTP does not allow in a header")
        size += len(name.encode()) + len(value.encode())
    if size >= MAX_HEADER_BYTES:
        raise InvalidArgumentError("task.http_request.headers must be smaller than 80 KB")
    if request.body and request.method not in METHODS_WITH_BODY:
        raise InvalidArgumentError("task.http_request.body is allowed only with POST, PUT and PATCH")


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise InvalidArgumentError("task.http_request.url must begin with http:// or https://")
    if len(url) > MAX_URL_CHARACTERS:
        raise InvalidArgumentError("task.http_request.url must be at most 2083 characters long, encoded")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidArgumentError(
            "task.http_request.url must name a host, and a port if it is not the usual one"
        )


def check_rate_limits(limits: RateLimits) -> None:
    """Hold the maxima of a queue's rate limits."""
    if not 0 < limits.max_dispatches_per_second <= MAX_DISPATCHES_PER_SECOND:
        raise InvalidArgumentError("rate_limits.max_dispatches_per_second must be above 0 and at most 500")
    if not 1 <= limits.max_concurrent_dispatches <= MAX_CONCURRENT_DISPATCHES:
        raise InvalidArgumentError("rate_limits.max_concurrent_dispatches must be between 1 and 5000")


def check_retry_config(config: RetryConfig) -> None:
    """Hold the ranges of a retry configuration."""
    if config.max_attempts < -1 or config.max_attempts == 0:
        raise InvalidArgumentError("retry_config.max_attempts must be -1 (unlimited) or at least 1")
    if min(config.max_retry_duration, config.min_backoff, config.max_backoff, config.max_doublings) < 0:
        raise InvalidArgumentError("retry_config holds no negative values but max_attempts -1")
    if config.min_backoff > config.max_backoff:
        raise InvalidArgumentError("retry_config.min_backoff must not be longer than max_backoff")
