"""The headers a worker sees on a task. Pure.

Names and meanings: "Create HTTP target tasks" (Cloud Tasks guide) and HttpRequest in the API reference.
"""

from deploy.local.tasks.model import SECOND, Task
from deploy.local.tasks.names import short

USER_AGENT = "Google-Cloud-Tasks"

_IGNORED = frozenset(
    {
        "host",
        "content-length",
        "user-agent",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    }
)
_RESERVED = ("x-cloudtasks-", "x-google-", "x-appengine-")


def request_headers(task: Task, *, token: str = "") -> list[tuple[str, str]]:
    """Return the headers of the next attempt at `task`; Host and Content-Length are left to the HTTP client.

    The creator's headers go through, except those that the service ignores or replaces. `token` replaces Authorization.
    """
    own = {name: value for name, value in task.request.headers.items() if _goes_through(name, token)}
    if task.request.body and not any(name.lower() == "content-type" for name in own):
        own["Content-Type"] = "application/octet-stream"
    if token:
        own["Authorization"] = f"Bearer {token}"
    return [*own.items(), ("User-Agent", USER_AGENT), *_about(task)]


def _goes_through(name: str, token: str) -> bool:
    lowered = name.lower()
    if lowered == "authorization":
        return not token
    return lowered not in _IGNORED and not lowered.startswith(_RESERVED)


def _about(task: Task) -> list[tuple[str, str]]:
    about = [
        ("X-CloudTasks-QueueName", short(task.queue)),
        ("X-CloudTasks-TaskName", short(task.name)),
        ("X-CloudTasks-TaskRetryCount", str(task.dispatch_count)),
        ("X-CloudTasks-TaskExecutionCount", str(task.execution_count)),
        ("X-CloudTasks-TaskETA", f"{task.schedule_time // SECOND}.{task.schedule_time % SECOND:06d}"),
    ]
    if task.previous_status is not None:
        about.append(("X-CloudTasks-TaskPreviousResponse", str(task.previous_status)))
        about.append(("X-CloudTasks-TaskRetryReason", f"HTTP status code {task.previous_status}"))
    elif task.dispatch_count:
        about.append(("X-CloudTasks-TaskRetryReason", task.previous_failure or "interrupted"))
    return about
