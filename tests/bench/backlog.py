"""More events than single calls can carry, through the worker against the sandbox's limits: how fast a backlog drains,
and whether the worker keeps up with a stream.

The clock is stepped; the queue dispatches as many tasks a second on it as `queues.toml` says. The packer makes its
calls one after the other, so each takes the time below, and everything else goes on meanwhile. Other calls take no
time, because a hundred jobs run at once. The rates of this machine are measured beside it. Here one job runs at a time,
so one call is under way when the limit is reached. In the cloud, all calls of a second may be under way until every
instance knows of the rest.
"""

import io
import json
import tempfile
import threading
import time
import tomllib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.sandbox import Sandbox
from shared import logs
from shared.direction import Direction
from shared.jobs.jobs import AnyJob, Delivery, Outcome, PackEvents, SendMetric, write_job
from shared.klaviyo.limits import Endpoint
from shared.metrics.arrival import to_be_queued
from shared.metrics.backlog import Backlog
from shared.metrics.metrics import accept_metric
from shared.metrics.rules.bulk import MOST_EVENTS
from shared.services import Services
from shared.storage.documents import Documents
from shared.storage.sqlite import SqliteDocuments
from shared.tenants.tenants import Tenant
from shared.worker.delivery import deliver
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant
from tests.bench.timetable import Timetable, worker_services
from tests.support.memory_documents import MemoryDocuments
from tests.support.mortal import Fate, watched_everywhere
from tests.support.through import Through
from tests.support.world import ACCOUNT, TENANT, Clock

T = TypeVar("T")
_QUEUED = 100_000
_STREAM_SECONDS, _A_SECOND = 60, 500
_LIVE_EVERY = 7
_ON_DISK = 1_000
_SINGLE, _BULK = "/api/events", "/api/event-bulk-create-jobs"
# Seconds of a packer's steps: the read of a page, while it sends; several writes at once; a single document; and half a
# bulk call.
_PAGE, _WRITES, _DOCUMENT, _HALF_A_CALL = 0.0, 0.15, 0.03, 0.5
_QUEUES = Path(__file__).parents[2] / "shared/jobs/queues.toml"


@dataclass(frozen=True)
class Event:
    """An event that is accepted so many seconds after the beginning. A live one is of another metric than the others."""

    at: float
    is_live: bool = False


@dataclass(frozen=True)
class _Run:
    """The result of a run, in seconds of the stepped clock; only `real` is in real seconds.

    `oldest` and `latest_live` count from an event's 202.
    """

    events: int
    seconds: float
    oldest: float
    latest_live: float
    calls: Counter[int]
    bulk: int
    in_bulk: int
    real: float


def events_backlog() -> Iterator[Finding]:
    """100,000 queued events, and 500 a second for a minute, each once, with live ones among them; then 1,000 on this machine's disk."""
    drained = _run([Event(0.0)] * _QUEUED)
    alone = _QUEUED / Endpoint.EVENTS.limit.a_minute * 60
    yield Count("100,000 events, times faster than single calls", alone / drained.seconds, Aim(">=", 7))
    yield from _of_calls("the backlog", drained)
    yield Note(
        f"{drained.seconds:.0f} s against {alone:.0f}; {dispatched():.0f} dispatches a second bind: they alone take {_QUEUED / dispatched():.0f} s"
    )
    yield Note(
        f"worked off by this machine in {drained.real:.0f} s: {_QUEUED / drained.real:.0f} events a second, in memory"
    )
    yield from rush()
    with tempfile.TemporaryDirectory() as place:
        disk = _run([Event(0.0)] * _ON_DISK, SqliteDocuments(Path(place) / "documents.db"))
    yield Note(f"with the store on disk: {_ON_DISK / disk.real:.0f} events a second")


def rush(seconds: int = _STREAM_SECONDS) -> Iterator[Finding]:
    """500 events a second of one metric, and every few seconds a live one of another, for as long and until all are at Klaviyo."""
    many = [Event(number / _A_SECOND) for number in range(seconds * _A_SECOND)]
    live = [Event(float(at), is_live=True) for at in range(_LIVE_EVERY, seconds + 30, _LIVE_EVERY)]
    stream = _run(sorted(many + live, key=lambda event: event.at))
    yield Count("500 a second: seconds until the oldest is at Klaviyo", stream.oldest, Aim("<=", 60))
    yield Count("seconds until a live one among them is", stream.latest_live, Aim("<=", 5))
    yield from _of_calls("the stream", stream)


def _of_calls(what: str, run: _Run) -> Iterator[Finding]:
    calls = sum(run.calls.values())
    yield Count(
        f"{what}: share of a batch that is filled", run.in_bulk / run.bulk / MOST_EVENTS, Aim(">=", 0.9)
    )
    yield Count(f"{what}: share of calls that are refused", run.calls[429] / calls, Aim("<=", 0.01))
    yield Note(f"{run.calls[202] - run.bulk} single calls, {run.bulk} bulk calls, {run.calls[429]} refused")


def _run(events: list[Event], documents: Documents | None = None) -> _Run:
    """Accept each of these events at its moment, and work until all are at Klaviyo."""
    clock = Clock(now=datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1))
    with tempfile.TemporaryDirectory() as place, Sandbox(clock=clock.timestamp) as sandbox:
        services = worker_services(Path(place), sandbox, clock)
        vars(services)["documents"] = documents or MemoryDocuments()
        queue = Timetable(clock, Counter(), a_second=dispatched())
        vars(services)["queue"] = queue
        tenant = a_connected_tenant(sandbox.klaviyo.install(ACCOUNT).access_token)
        services.tenants.create(tenant)
        logs.configure("bench")
        began, started = clock.now, time.perf_counter()
        with redirect_stdout(io.StringIO()):
            Working(events, began, tenant, services, queue).work()
        real = time.perf_counter() - started
        return _judged(events, began, sandbox, services, real)


def _attributes(number: int, event: Event) -> dict[str, Any]:
    return {
        "metric": {"data": {"attributes": {"name": "Reward Issued" if event.is_live else "Points Expire"}}},
        "profile": {"data": {"attributes": {"email": f"canary-{number}@example.org"}}},
        "properties": {
            "n": number,
            "points": 120,
            "expires_at": "2027-01-31",
            "store": "Fitzroy",
            "tier": "Gold",
        },
    }


class Working:
    """The functions and the workers: they accept events and run due jobs, each at its moment, even while the packer waits."""

    def __init__(
        self, events: list[Event], began: datetime, tenant: Tenant, services: Services, queue: Timetable
    ) -> None:
        self._coming = deque(enumerate(events))
        self._began = began
        self._tenant = tenant
        self._queue = queue
        self._clock = queue.clock
        self._waits = threading.Lock()
        self._services = services
        self._targets = replace(services, _kept={})
        self._packer = replace(services, _kept=services._kept)
        vars(self._packer)["documents"] = _Slow(services.documents, self.wait)
        vars(self._packer)["_connections"] = watched_everywhere(_SlowCalls(self.wait))
        for own in (self._targets, self._packer):
            vars(own)["queue"] = queue
        vars(self._packer)["rests"] = services.rests
        vars(self._targets)["documents"] = services.documents

    def work(self) -> None:
        """Do all of it."""
        while self._step(None):
            pass

    def wait(self, seconds: float) -> None:
        """Let time pass for the packer, while everything else goes on.

        Steps that the packer makes at once wait at once.
        """
        if not self._waits.acquire(blocking=False):
            return
        try:
            end = self._clock() + timedelta(seconds=seconds)
            while self._step(end, Direction.OUTBOUND):
                pass
            self._clock.now = max(self._clock.now, end)
        finally:
            self._waits.release()

    def _step(self, end: datetime | None, *directions: Direction) -> bool:
        """Do the next step, if there is one before the end."""
        due, arrives = self._queue.due(*directions), self._arrival()
        moments = [at for at in (due, arrives) if at is not None and (end is None or at <= end)]
        if not moments:
            return False
        if arrives is not None and arrives == min(moments):
            self._clock.now = max(self._clock.now, arrives)
            self._accept(*self._coming.popleft())
            return True
        job = self._queue.take(*directions)
        if job is not None:
            self._do(job)
        return True

    def _do(self, job: AnyJob) -> None:
        self._deliver(job, self._packer if isinstance(job, PackEvents) else self._services)

    def _deliver(self, job: AnyJob, services: Services) -> None:
        delivery = Delivery(job.direction, write_job(job), "queue", "task", TENANT, 0)
        if deliver(delivery, services) is Outcome.DEAD:
            raise BenchmarkError("a job died")

    def _arrival(self) -> datetime | None:
        return self._began + timedelta(seconds=self._coming[0][1].at) if self._coming else None

    def _accept(self, number: int, event: Event) -> None:
        accept_metric(
            self._tenant,
            {"attributes": _attributes(number, event)},
            metric_name="",
            with_token=False,
            queue=self._services.queue,
            now=self._clock(),
            new_id=self._services.new_id,
            traceparent="",
            to_be_queued=lambda job: self._to_be_queued(job, event),
        )

    def _to_be_queued(self, job: SendMetric, event: Event) -> SendMetric | None:
        return to_be_queued(job, self._tenant, self._targets, is_repeat=False)


class _Slow(Through):
    """The store as the packer finds it."""

    def __init__(self, documents: Documents, wait: Callable[[float], None]) -> None:
        super().__init__(documents)
        self._wait = wait

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        """Take a while."""
        self._wait({"find": _PAGE, "write_all": _WRITES}.get(operation, _DOCUMENT))
        return call()


class _SlowCalls(Fate):
    """Klaviyo as the packer finds it."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__(-1, kills=False)
        self._wait = wait

    def pass_by(self, what: str) -> None:
        """Take a while."""
        self._wait(_HALF_A_CALL)


def _judged(events: list[Event], began: datetime, sandbox: Sandbox, services: Services, real: float) -> _Run:
    if Backlog.of(services).count(TENANT):
        raise BenchmarkError("events still wait")
    there = sandbox.klaviyo.events(ACCOUNT)
    arrived = Counter(event.properties["n"] for event in there)
    if arrived != Counter(range(len(events))):
        raise BenchmarkError(f"{len(arrived)} of {len(events)} events arrived, {len(there)} times in all")
    start = began.timestamp()
    ages = {
        event.properties["n"]: event.received_at - start - events[event.properties["n"]].at for event in there
    }
    calls = [call for call in sandbox.klaviyo.calls.all() if call.path in (_SINGLE, _BULK)]
    bulk = [json.loads(call.body) for call in calls if call.path == _BULK and call.status == 202]
    rows = [body["data"]["attributes"]["events-bulk-create"]["data"] for body in bulk]
    return _Run(
        events=len(there),
        seconds=max(event.received_at for event in there) - start,
        oldest=max(ages.values()),
        latest_live=max((age for number, age in ages.items() if events[number].is_live), default=0.0),
        calls=Counter(call.status or 0 for call in calls),
        bulk=len(bulk),
        in_bulk=sum(map(len, rows)),
        real=real,
    )


def dispatched() -> float:
    """Return how many jobs a tenant's queue dispatches in a second."""
    return float(tomllib.loads(_QUEUES.read_text())["outbound"]["max_dispatches_per_second"])
