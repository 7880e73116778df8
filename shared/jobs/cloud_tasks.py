"""Cloud Tasks: the one queue client, for Google's service and for the local emulator of its wire protocol."""

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast

import grpc
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

from shared.direction import Direction
from shared.errors import PayloadTooLargeError, QueueUnavailableError
from shared.jobs.jobs import TASK_BYTES, AnyJob, write_job
from shared.jobs.queue import QueueState
from shared.settings import QueueSettings
from shared.tenants.tenants import Tenant

TENANT_HEADER = "X-Extension-Tenant"
_SETTINGS = Path(__file__).with_name("queues.toml")
_CALL_SECONDS = 3.0
_TOTAL_SECONDS = 5.0  # Omneo is waiting for the answer; a caller that hears 503 calls again
_COUNTED = 1000
_DEADLINE = timedelta(
    seconds=280
)  # below the workers' own time-out, so the queue never retries a job that still runs

# The only retries of queue calls. A task that is created twice is harmless: every effect is idempotent by its own key.
_RETRY = Retry(
    predicate=if_exception_type(exceptions.ServiceUnavailable, exceptions.DeadlineExceeded),
    initial=0.1,
    maximum=1.0,
    timeout=_TOTAL_SECONDS,
)


class CloudTasksQueue:
    """The tenants' queues in Cloud Tasks."""

    def __init__(
        self, settings: QueueSettings, client: tasks_v2.CloudTasksClient, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._workers = {
            Direction.INBOUND: settings.inbound_worker_url,
            Direction.OUTBOUND: settings.outbound_worker_url,
        }

    def connect(self) -> None:
        """Connect now, so that the first job does not wait for it.

        Raises:
            QueueUnavailableError: the queue does not answer.
        """
        with _unavailable("The queue does not answer"), suppress(exceptions.NotFound, exceptions.Forbidden):
            self._client.get_queue(name=self._path("warm"), retry=None, timeout=_CALL_SECONDS)

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        queue, body = tenant.queue_name(job.direction), _body(job)
        self.put_back(queue, body, tenant=tenant.name, direction=job.direction, delay=delay)

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        queue = self._path(tenant.queue_name(job.direction))
        task = self._task(_body(job), tenant.name, job.direction, delay)
        task.name = f"{queue}/tasks/{name}"
        with _unavailable("The queue did not take the task"):
            try:
                self._client.create_task(parent=queue, task=task, retry=_RETRY, timeout=_CALL_SECONDS)
            except exceptions.AlreadyExists:
                return False
        return True

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        task = self._task(body, tenant, direction, delay)
        with _unavailable("The queue did not take the task"):
            self._client.create_task(parent=self._path(queue), task=task, retry=_RETRY, timeout=_CALL_SECONDS)

    def _task(self, body: bytes, tenant: str, direction: Direction, delay: float) -> tasks_v2.Task:
        worker = self._workers[direction]
        task = tasks_v2.Task(
            http_request=tasks_v2.HttpRequest(
                http_method=tasks_v2.HttpMethod.POST,
                url=f"{worker}/tasks/{direction}",
                headers={"Content-Type": "application/json", TENANT_HEADER: tenant},
                body=body,
                oidc_token=tasks_v2.OidcToken(
                    service_account_email=self._settings.service_account, audience=worker
                ),
            ),
            dispatch_deadline=duration_pb2.Duration(seconds=int(_DEADLINE.total_seconds())),
        )
        if delay > 0:
            due = timestamp_pb2.Timestamp()
            due.FromDatetime((self._clock() + timedelta(seconds=delay)).astimezone(UTC))
            task.schedule_time = due
        return task

    def ensure(self, tenant: Tenant) -> None:
        for direction in Direction:
            self._ensure(tenant, direction)

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        with _unavailable("The queue could not be paused"):
            self._client.pause_queue(name=self._of(tenant, direction), retry=_RETRY, timeout=_CALL_SECONDS)

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        with _unavailable("The queue could not be resumed"):
            self._client.resume_queue(name=self._of(tenant, direction), retry=_RETRY, timeout=_CALL_SECONDS)

    def state(self, tenant: Tenant, direction: Direction) -> QueueState:
        name = self._of(tenant, direction)
        with _unavailable("The queue could not be looked at"):
            try:
                queue = self._client.get_queue(name=name, retry=_RETRY, timeout=_CALL_SECONDS)
            except exceptions.NotFound:
                return QueueState(exists=False)
            pager = self._client.list_tasks(
                request=tasks_v2.ListTasksRequest(parent=name, page_size=_COUNTED),
                retry=_RETRY,
                timeout=_CALL_SECONDS,
            )
            # The stubs name the type on the wire, but the value is a datetime.
            made = [cast(datetime, task.create_time) for task in islice(pager, _COUNTED)]
        paused = queue.state == tasks_v2.Queue.State.PAUSED
        return QueueState(exists=True, paused=paused, depth=len(made), oldest=min(made, default=None))

    def purge(self, tenant: Tenant, direction: Direction) -> None:
        with _unavailable("The queue could not be purged"):
            try:
                self._client.purge_queue(
                    name=self._of(tenant, direction), retry=_RETRY, timeout=_CALL_SECONDS
                )
            except exceptions.NotFound:
                return  # a missing queue is empty

    def _ensure(self, tenant: Tenant, direction: Direction) -> None:
        queue = queue_settings(direction)
        queue.name = self._of(tenant, direction)
        with _unavailable("The queue could not be made"):
            try:
                self._client.create_queue(
                    parent=self._location, queue=queue, retry=_RETRY, timeout=_CALL_SECONDS
                )
            except exceptions.AlreadyExists:
                mask = field_mask_pb2.FieldMask(paths=["rate_limits", "retry_config"])
                self._client.update_queue(queue=queue, update_mask=mask, retry=_RETRY, timeout=_CALL_SECONDS)
                self._client.resume_queue(name=queue.name, retry=_RETRY, timeout=_CALL_SECONDS)

    @property
    def _location(self) -> str:
        return f"projects/{self._settings.project}/locations/{self._settings.region}"

    def _path(self, queue: str) -> str:
        return f"{self._location}/queues/{queue}"

    def _of(self, tenant: Tenant, direction: Direction) -> str:
        return self._path(tenant.queue_name(direction))


def tasks_client(settings: QueueSettings) -> tasks_v2.CloudTasksClient:
    """Return a client of Google's service, or of the emulator that the settings name."""
    if not settings.emulator:
        return tasks_v2.CloudTasksClient()
    # The client has no emulator variable of its own; a plain channel is the documented way in.
    return tasks_v2.CloudTasksClient(
        transport=CloudTasksGrpcTransport(channel=emulator_channel(settings.emulator))
    )


def channel_to(address: str) -> grpc.Channel:
    """Return a channel to an emulator."""
    # Separate connections: gRPC shares connections by address, and with them the pause after a refusal. An emulator that has just started
    # on the port of an earlier one would inherit that pause.
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


emulator_channel: Callable[[str], grpc.Channel] = channel_to


def queue_settings(direction: Direction) -> tasks_v2.Queue:
    """Return the settings that queues.toml gives queues of this direction."""
    row: dict[str, Any] = tomllib.loads(_SETTINGS.read_text())[direction]
    return tasks_v2.Queue(
        rate_limits=tasks_v2.RateLimits(
            max_dispatches_per_second=row["max_dispatches_per_second"],
            max_concurrent_dispatches=row["max_concurrent_dispatches"],
        ),
        retry_config=tasks_v2.RetryConfig(
            max_attempts=row["max_attempts"],
            min_backoff=duration_pb2.Duration(seconds=row["min_backoff_seconds"]),
            max_backoff=duration_pb2.Duration(seconds=row["max_backoff_seconds"]),
            max_doublings=row["max_doublings"],
        ),
    )


def _body(job: AnyJob) -> bytes:
    body = write_job(job)
    if len(body) > TASK_BYTES:
        raise PayloadTooLargeError(f"The call must be smaller: at most {TASK_BYTES // 1000} KB as a job.")
    return body


@contextmanager
def _unavailable(message: str) -> Iterator[None]:
    try:
        yield
    except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
        raise QueueUnavailableError(f"{message} ({type(error).__name__}).") from error
