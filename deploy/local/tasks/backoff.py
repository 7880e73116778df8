"""When a failed task is tried again, and when it is given up. Pure; rules of `RetryConfig` in the API reference."""

from deploy.local.tasks.model import RetryConfig

_DOUBLINGS_THAT_EXCEED_ANY_BACKOFF = 80


def interval(config: RetryConfig, attempts: int) -> int:
    """Return the wait in µs after the attempt numbered `attempts` (the first is 1) has failed.

    It starts at `min_backoff`, doubles `max_doublings` times, then grows by the last doubled value, up to
    `max_backoff`: with 10 s, 300 s and 3 doublings 10, 20, 40, 80, 160, 240, 300, 300 ...
    """
    retry = attempts - 1
    doublings = min(config.max_doublings, _DOUBLINGS_THAT_EXCEED_ANY_BACKOFF)
    if retry <= doublings:
        wait = config.min_backoff << retry
    else:
        wait = (config.min_backoff << doublings) * (retry - doublings + 1)
    return min(wait, config.max_backoff)


def is_exhausted(config: RetryConfig, *, attempts: int, since_first: int) -> bool:
    """Return whether a task that has failed `attempts` times, first `since_first` µs ago, is given up.

    "Cloud Tasks stops retrying only when max_attempts and max_retry_duration are both satisfied": an unset limit does
    not count, and a task without limits exists until its retention ends.
    """
    reached = []
    if config.max_attempts != -1:
        reached.append(attempts >= config.max_attempts)
    if config.max_retry_duration > 0:
        reached.append(since_first >= config.max_retry_duration)
    return bool(reached) and all(reached)
