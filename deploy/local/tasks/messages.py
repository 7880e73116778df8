"""Protobuf messages of google.cloud.tasks.v2 to and from plain data.

The raw messages are used, not the client's wrappers around them: they tell an unset field from a zero. Values are
checked in `limits.py`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from google.cloud.tasks_v2 import types

from deploy.local.tasks.errors import InvalidArgumentError, NotEmulatedError
from deploy.local.tasks.limits import DEFAULT_DEADLINE, encoded_url
from deploy.local.tasks.model import SECOND, HttpRequest, NewTask, Queue, RateLimits, RetryConfig, Task

QueueMessage = types.Queue.pb()
TaskMessage = types.Task.pb()
FULL = types.Task.View.FULL

_RATE_FIELDS = ("max_dispatches_per_second", "max_concurrent_dispatches")
_RETRY_DURATIONS = ("max_retry_duration", "min_backoff", "max_backoff")
_RETRY_NUMBERS = ("max_attempts", "max_doublings")
_OUTPUT_ONLY = frozenset({"name", "state", "purge_time", "rate_limits.max_burst_size"})


def updated_queue(queue: Queue, message: Any, paths: Iterable[str] = ()) -> Queue:
    """Return `queue` with the fields of `message` that `paths` name; without paths, with all of them.

    An unset field becomes the default. Output-only fields are ignored (UpdateQueue in the API reference).
    """
    _refuse_routing(message)
    named = set(paths) or {"rate_limits", "retry_config", "stackdriver_logging_config"}
    for path in named - _OUTPUT_ONLY:
        queue = _with_field(queue, message, path)
    return queue


def _with_field(queue: Queue, message: Any, path: str) -> Queue:
    group, _, leaf = path.partition(".")
    if group == "rate_limits" and leaf in ("", *_RATE_FIELDS):
        return replace(queue, rate_limits=_rate_limits(message.rate_limits, queue.rate_limits, leaf))
    if group == "retry_config" and leaf in ("", *_RETRY_DURATIONS, *_RETRY_NUMBERS):
        return replace(queue, retry_config=_retry_config(message.retry_config, queue.retry_config, leaf))
    if group == "stackdriver_logging_config" and leaf in ("", "sampling_ratio"):
        return replace(queue, sampling_ratio=_sampling_ratio(message))
    raise InvalidArgumentError("update_mask names a field that a queue does not have")


def _refuse_routing(message: Any) -> None:
    if message.HasField("http_target") or message.HasField("app_engine_routing_override"):
        raise NotEmulatedError("queue.http_target and queue.app_engine_routing_override are not emulated")


def _rate_limits(message: Any, old: RateLimits, leaf: str) -> RateLimits:
    leaves = [leaf] if leaf else _RATE_FIELDS
    return replace(old, **{name: getattr(message, name) or getattr(RateLimits(), name) for name in leaves})


def _retry_config(message: Any, old: RetryConfig, leaf: str) -> RetryConfig:
    changes = {}
    for name in [leaf] if leaf else (*_RETRY_DURATIONS, *_RETRY_NUMBERS):
        if name in _RETRY_DURATIONS:
            unset = not message.HasField(name)
            value = 0 if unset else getattr(message, name).ToMicroseconds()
        else:
            value = getattr(message, name)
            # zero and unset look alike on the wire; only a mask that names the field tells that zero is meant
            unset = value == 0 and not (leaf and name == "max_doublings")
        changes[name] = getattr(RetryConfig(), name) if unset else value
    changed = replace(old, **changes)
    # "max_retry_duration will be truncated to the nearest second"
    return replace(changed, max_retry_duration=changed.max_retry_duration // SECOND * SECOND)


def _sampling_ratio(message: Any) -> float | None:
    if not message.HasField("stackdriver_logging_config"):
        return None
    ratio: float = message.stackdriver_logging_config.sampling_ratio
    if not 0 <= ratio <= 1:
        raise InvalidArgumentError("stackdriver_logging_config.sampling_ratio must be between 0 and 1")
    return ratio


def queue_message(queue: Queue) -> Any:
    """Return the message that describes `queue`, defaults filled in."""
    message = QueueMessage(name=queue.name, state=queue.state)
    message.rate_limits.max_dispatches_per_second = queue.rate_limits.max_dispatches_per_second
    message.rate_limits.max_concurrent_dispatches = queue.rate_limits.max_concurrent_dispatches
    message.rate_limits.max_burst_size = queue.rate_limits.max_burst_size
    _write_retry_config(message.retry_config, queue.retry_config)
    if queue.sampling_ratio is not None:
        message.stackdriver_logging_config.sampling_ratio = queue.sampling_ratio
    if queue.purge_time is not None:
        message.purge_time.FromMicroseconds(queue.purge_time)
    return message


def _write_retry_config(message: Any, config: RetryConfig) -> None:
    message.max_attempts = config.max_attempts
    message.max_doublings = config.max_doublings
    message.min_backoff.FromMicroseconds(config.min_backoff)
    message.max_backoff.FromMicroseconds(config.max_backoff)
    if config.max_retry_duration:
        message.max_retry_duration.FromMicroseconds(config.max_retry_duration)


def new_task(queue: str, message: Any) -> NewTask:
    """Return the task that `message` asks for in `queue`; output-only fields are ignored."""
    if message.HasField("app_engine_http_request"):
        raise NotEmulatedError("task.app_engine_http_request is not emulated")
    if not message.HasField("http_request"):
        raise InvalidArgumentError("task.http_request is required")
    return NewTask(
        queue=queue,
        name=message.name,
        request=_http_request(message.http_request),
        schedule_time=message.schedule_time.ToMicroseconds() if message.HasField("schedule_time") else None,
        dispatch_deadline=_deadline(message) if message.HasField("dispatch_deadline") else None,
        retry_config=(
            _retry_config(message.retry_config, RetryConfig(), "")
            if message.HasField("retry_config")
            else None
        ),
        size=message.ByteSize(),
    )


def _deadline(message: Any) -> int:
    # "dispatch_deadline will be truncated to the nearest millisecond"
    milliseconds: int = message.dispatch_deadline.ToMilliseconds()
    return milliseconds * 1000


def _http_request(message: Any) -> HttpRequest:
    if message.HasField("oauth_token"):
        raise NotEmulatedError("task.http_request.oauth_token is not emulated")
    if message.HasField("oidc_token") and not message.oidc_token.service_account_email:
        raise InvalidArgumentError("task.http_request.oidc_token.service_account_email is required")
    try:
        method = types.HttpMethod(message.http_method).name
    except ValueError as error:
        raise InvalidArgumentError("task.http_request.http_method is not one of HttpMethod") from error
    return HttpRequest(
        url=encoded_url(message.url),
        method="POST" if method == "HTTP_METHOD_UNSPECIFIED" else method,
        headers=dict(message.headers),
        body=message.body,
        service_account_email=message.oidc_token.service_account_email,
        audience=message.oidc_token.audience,
    )


def task_message(task: Task, view: int) -> Any:
    """Return the message that describes `task`; only the FULL view carries the body."""
    message = TaskMessage(
        name=task.name, dispatch_count=task.dispatch_count, response_count=task.response_count
    )
    _write_request(message.http_request, task.request, view)
    message.view = FULL if view == FULL else types.Task.View.BASIC
    message.create_time.FromSeconds(task.create_time // SECOND)
    message.schedule_time.FromMicroseconds(task.schedule_time)
    message.dispatch_deadline.FromMicroseconds(task.dispatch_deadline or DEFAULT_DEADLINE)
    if task.retry_config is not None:
        _write_retry_config(message.retry_config, task.retry_config)
    if task.first_dispatch_time is not None:
        message.first_attempt.dispatch_time.FromMicroseconds(task.first_dispatch_time)
    _write_last_attempt(message, task)
    return message


def _write_request(message: Any, request: HttpRequest, view: int) -> None:
    message.url = request.url
    message.http_method = getattr(types.HttpMethod, request.method)
    message.headers.update(request.headers)
    if request.service_account_email:
        message.oidc_token.service_account_email = request.service_account_email
        message.oidc_token.audience = request.audience
    if view == FULL:
        message.body = request.body


def _write_last_attempt(message: Any, task: Task) -> None:
    last = task.last_attempt
    if last is None:
        return
    message.last_attempt.schedule_time.FromMicroseconds(last.schedule_time)
    message.last_attempt.dispatch_time.FromMicroseconds(last.dispatch_time)
    if last.response_time is not None:
        message.last_attempt.response_time.FromMicroseconds(last.response_time)
        message.last_attempt.response_status.code = (
            2  # UNKNOWN: which code stands for which status is not documented
        )
        message.last_attempt.response_status.message = last.failure or f"HTTP status code {last.status}"
