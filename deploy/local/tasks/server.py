"""The methods of google.cloud.tasks.v2.CloudTasks: their requests, answers and status codes. The server uses the client
library's own message types, so it needs no generated code. The client's methods document the meaning of these methods;
other methods answer UNIMPLEMENTED.
"""

import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Never

import grpc
from google.cloud.tasks_v2 import types

from deploy.local.tasks import errors, limits, messages, names
from deploy.local.tasks.dispatcher import Dispatcher
from deploy.local.tasks.model import Queue, Task
from deploy.local.tasks.queue_table import QueueTable
from deploy.local.tasks.task_table import TaskTable

log = logging.getLogger(__name__)

SERVICE = "google.cloud.tasks.v2.CloudTasks"

_STATUS = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotEmulatedError: grpc.StatusCode.UNIMPLEMENTED,
}
_MAX_QUEUES_PAGE = 9800
_MAX_TASKS_PAGE = 100  # the service's is 1000, and says that fewer may be returned; these may be 1 MiB each
_MAX_PAGE_BYTES = 2 * 1024 * 1024  # a client refuses answers above 4 MiB


class CloudTasks:
    """The methods. Each takes the request message and returns the answer's, or raises a TasksError."""

    def __init__(
        self, queues: QueueTable, tasks: TaskTable, dispatcher: Dispatcher, *, clock: Callable[[], int]
    ) -> None:
        self._queues = queues
        self._tasks = tasks
        self._dispatcher = dispatcher
        self._clock = clock

    def create_queue(self, request: Any) -> Any:
        """Create a queue."""
        names.check_location(request.parent)
        names.check_queue(request.queue.name)
        if names.parent(request.queue.name) != request.parent:
            raise errors.InvalidArgumentError("queue.name must lie in parent")
        queue = _checked(messages.updated_queue(Queue(request.queue.name), request.queue))
        return messages.queue_message(self._queues.create(queue, now=self._clock()))

    def get_queue(self, request: Any) -> Any:
        """Return a queue."""
        names.check_queue(request.name)
        return messages.queue_message(self._queues.get(request.name))

    def update_queue(self, request: Any) -> Any:
        """Change a queue's settings, or create it."""
        names.check_queue(request.queue.name)
        paths = list(request.update_mask.paths)
        queue = self._queues.change(
            request.queue.name,
            lambda queue: _checked(messages.updated_queue(queue, request.queue, paths)),
            now=self._clock(),
            create=True,
        )
        return self._changed(queue)

    def list_queues(self, request: Any) -> Any:
        """Return a page of queues, by name."""
        names.check_location(request.parent)
        if request.filter:
            raise errors.NotEmulatedError("filter is not emulated")
        limit = _page_size(request.page_size, _MAX_QUEUES_PAGE)
        page = self._queues.page(request.parent, after=request.page_token, limit=limit)
        token = page[-1].name if len(page) == limit else ""
        return _message(types.ListQueuesResponse)(
            queues=[messages.queue_message(queue) for queue in page], next_page_token=token
        )

    def pause_queue(self, request: Any) -> Any:
        """Stop dispatching from a queue; attempts that run go on."""
        names.check_queue(request.name)
        return self._changed(self._queues.set_state(request.name, "PAUSED", now=self._clock()))

    def resume_queue(self, request: Any) -> Any:
        """Dispatch from a queue again."""
        names.check_queue(request.name)
        return self._changed(self._queues.set_state(request.name, "RUNNING", now=self._clock()))

    def purge_queue(self, request: Any) -> Any:
        """Delete all tasks of a queue."""
        names.check_queue(request.name)
        return self._changed(self._queues.purge(request.name, now=self._clock()))

    def delete_queue(self, request: Any) -> None:
        """Delete a queue and all its tasks."""
        names.check_queue(request.name)
        self._queues.delete(request.name, now=self._clock())
        self._dispatcher.wake(request.name)

    def create_task(self, request: Any) -> Any:
        """Take a task; it is on disk before the answer goes out."""
        names.check_queue(request.parent)
        if request.task.name:
            names.check_task(request.task.name)
            if names.parent(request.task.name) != request.parent:
                raise errors.InvalidArgumentError("task.name must lie in parent")
        now = self._clock()
        asked = messages.new_task(request.parent, request.task)
        limits.check_task(asked, now=now)
        task = self._tasks.create(asked, now=now)
        self._dispatcher.wake(request.parent)
        return messages.task_message(task, request.response_view)

    def get_task(self, request: Any) -> Any:
        """Return a task."""
        names.check_task(request.name)
        return messages.task_message(self._tasks.get(request.name), request.response_view)

    def list_tasks(self, request: Any) -> Any:
        """Return a page of tasks, the oldest first."""
        names.check_queue(request.parent)
        limit = _page_size(request.page_size, _MAX_TASKS_PAGE)
        found = self._tasks.page(request.parent, after=_after(request.page_token), limit=limit)
        page = _sendable(found, request.response_view)
        is_last = len(found) < limit and len(page) == len(found)
        return _message(types.ListTasksResponse)(
            tasks=[messages.task_message(task, request.response_view) for task in page],
            next_page_token="" if is_last else str(page[-1].sequence),
        )

    def delete_task(self, request: Any) -> None:
        """Delete a task."""
        names.check_task(request.name)
        self._tasks.delete(request.name, now=self._clock())

    def run_task(self, request: Any) -> Any:
        """Begin an attempt at a task now, and return the task as it was then."""
        names.check_task(request.name)
        return messages.task_message(self._dispatcher.run(request.name), request.response_view)

    def _changed(self, queue: Queue) -> Any:
        self._dispatcher.wake(queue.name)
        return messages.queue_message(queue)


def handler(methods: CloudTasks) -> grpc.GenericRpcHandler:
    """Return the handler with which a gRPC server serves `methods`."""
    served = {
        "CreateQueue": (methods.create_queue, types.CreateQueueRequest),
        "GetQueue": (methods.get_queue, types.GetQueueRequest),
        "UpdateQueue": (methods.update_queue, types.UpdateQueueRequest),
        "ListQueues": (methods.list_queues, types.ListQueuesRequest),
        "PauseQueue": (methods.pause_queue, types.PauseQueueRequest),
        "ResumeQueue": (methods.resume_queue, types.ResumeQueueRequest),
        "PurgeQueue": (methods.purge_queue, types.PurgeQueueRequest),
        "DeleteQueue": (methods.delete_queue, types.DeleteQueueRequest),
        "CreateTask": (methods.create_task, types.CreateTaskRequest),
        "GetTask": (methods.get_task, types.GetTaskRequest),
        "ListTasks": (methods.list_tasks, types.ListTasksRequest),
        "DeleteTask": (methods.delete_task, types.DeleteTaskRequest),
        "RunTask": (methods.run_task, types.RunTaskRequest),
    }
    return grpc.method_handlers_generic_handler(
        SERVICE, {name: _unary(method, request) for name, (method, request) in served.items()}
    )


def _unary(method: Callable[[Any], Any], request: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    def answer(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(message)
        except errors.TasksError as error:
            _refuse(context, _STATUS[type(error)], str(error))
        except sqlite3.Error:
            log.exception("the database does not answer")
            _refuse(context, grpc.StatusCode.UNAVAILABLE, "the emulator's database does not answer")

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=_message(request).FromString,
        response_serializer=lambda message: b"" if message is None else message.SerializeToString(),
    )


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> Never:
    context.abort(code, message)
    raise AssertionError("abort does not return")


def _message(wrapper: Any) -> Any:
    return wrapper.pb()


def _checked(queue: Queue) -> Queue:
    limits.check_rate_limits(queue.rate_limits)
    limits.check_retry_config(queue.retry_config)
    return queue


def _page_size(asked: int, most: int) -> int:
    if asked < 0:
        raise errors.InvalidArgumentError("page_size must not be negative")
    return min(asked or most, most)


def _after(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise errors.InvalidArgumentError("page_token is not one that an answer carried")
    return int(token)


def _sendable(tasks: list[Task], view: int) -> list[Task]:
    """Return as many of the tasks as fit an answer, one at least."""
    size = 0
    page: list[Task] = []
    for task in tasks:
        size += len(task.request.body) if view == messages.FULL else 0
        size += 1000 + sum(len(name) + len(value) for name, value in task.request.headers.items())
        if page and size > _MAX_PAGE_BYTES:
            break
        page.append(task)
    return page
