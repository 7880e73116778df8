"""Events that outrun the single calls, through the worker against the sandbox's limits: how fast a backlog drains, and whether a stream is kept up with.

Time is that of a stepped clock, on which the queue dispatches as many a second as `queues.toml` says. The packer's calls take the time that
stands below, since it makes them one after the other; no other call takes time, since a hundred jobs are worked on at once. The rates of this
machine are measured beside it. One job is worked on at a time, so one call is under way when the limit is reached; in the cloud it may be as
many as are dispatched within a second, until all instances know of the rest.
"""

import io
import json
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from deploy.local.sandbox import Sandbox
from shared import logs
from shared.jobs.jobs import Delivery, Outcome, PackEvents, write_job
from shared.klaviyo.limits import Endpoint
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
_ON_DISK = 1_000
_SINGLE, _BULK = "/api/events", "/api/event-bulk-create-jobs"
# Seconds of what a packer does: a page that is read, while it sends; several writes at once; a single document; and half a bulk call.
_PAGE, _WRITES, _DOCUMENT, _HALF_A_CALL = 0.0, 0.15, 0.03, 0.5
_QUEUES = Path(__file__).parents[2] / "shared/jobs/queues.toml"


@dataclass(frozen=True)
class _Run:
    """What a run came to, in seconds of the stepped clock, but for `real`."""

    events: int
    seconds: float
    oldest: float
    calls: Counter[int]
    bulk: int
    in_bulk: int
    real: float


def events_backlog() -> Iterator[Finding]:
    """100,000 queued events, and 500 a second for a minute, each once; then 1,000 on this machine's disk."""
    drained = _run([0.0] * _QUEUED)
    alone = _QUEUED / Endpoint.EVENTS.limit.a_minute * 60
    yield Count("100,000 events, times faster than single calls", alone / drained.seconds, Aim(">=", 7))
    yield from _of_calls("the backlog", drained)
    yield Note(
        f"{drained.seconds:.0f} s against {alone:.0f}; {_dispatched():.0f} dispatches a second bind: they alone take {_QUEUED / _dispatched():.0f} s"
    )
    yield Note(
        f"worked off by this machine in {drained.real:.0f} s: {_QUEUED / drained.real:.0f} events a second, in memory"
    )
    stream = _run([number / _A_SECOND for number in range(_STREAM_SECONDS * _A_SECOND)])
    yield Count("500 a second: seconds until the oldest is at Klaviyo", stream.oldest, Aim("<=", 60))
    yield from _of_calls("the stream", stream)
    with tempfile.TemporaryDirectory() as place:
        disk = _run([0.0] * _ON_DISK, SqliteDocuments(Path(place) / "documents.db"))
    yield Note(f"with the store on disk: {_ON_DISK / disk.real:.0f} events a second")


def _of_calls(what: str, run: _Run) -> Iterator[Finding]:
    calls = sum(run.calls.values())
    yield Count(
        f"{what}: share of a batch that is filled", run.in_bulk / run.bulk / MOST_EVENTS, Aim(">=", 0.9)
    )
    yield Count(f"{what}: share of calls that are refused", run.calls[429] / calls, Aim("<=", 0.01))
    yield Note(f"{run.calls[202] - run.bulk} single calls, {run.bulk} bulk calls, {run.calls[429]} refused")


def _run(times: list[float], documents: Documents | None = None) -> _Run:
    """Accept an event at each of these seconds, and work until all are at Klaviyo."""
    clock = Clock(now=datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1))
    began = clock.now
    with tempfile.TemporaryDirectory() as place, Sandbox(clock=clock.timestamp) as sandbox:
        services = worker_services(Path(place), sandbox, clock)
        vars(services)["documents"] = documents or MemoryDocuments()
        queue = Timetable(clock, Counter(), a_second=_dispatched())
        vars(services)["queue"] = queue
        tenant = a_connected_tenant(sandbox.klaviyo.install(ACCOUNT).access_token)
        services.tenants.create(tenant)
        logs.configure("bench")
        for number, seconds in enumerate(times):
            clock.now = began + timedelta(seconds=seconds)
            _accept(number, tenant, services)
        clock.now = began
        started = time.perf_counter()
        with redirect_stdout(io.StringIO()):
            _work(queue, services)
        real = time.perf_counter() - started
        return _judged(times, began, sandbox, services, real)


def _accept(number: int, tenant: Tenant, services: Services) -> None:
    attributes = {
        "metric": {"data": {"attributes": {"name": "Points Expire"}}},
        "profile": {"data": {"attributes": {"email": f"canary-{number}@example.org"}}},
        "properties": {
            "n": number,
            "points": 120,
            "expires_at": "2027-01-31",
            "store": "Fitzroy",
            "tier": "Gold",
        },
    }
    accept_metric(
        tenant,
        {"attributes": attributes},
        metric_name="",
        with_token=False,
        queue=services.queue,
        now=services.clock(),
        new_id=services.new_id,
        traceparent="",
    )


def _work(queue: Timetable, services: Services) -> None:
    packer = replace(services, _kept=services._kept)
    vars(packer)["documents"] = _Slow(services.documents, queue.clock)
    vars(packer)["_connections"] = watched_everywhere(_SlowCalls(queue.clock))
    vars(packer)["queue"], vars(packer)["rests"] = queue, services.rests
    while (job := queue.take()) is not None:
        delivery = Delivery(job.direction, write_job(job), "queue", "task", TENANT, 0)
        if deliver(delivery, packer if isinstance(job, PackEvents) else services) is Outcome.DEAD:
            raise BenchmarkError("a job died")


class _Slow(Through):
    """The store as the packer finds it."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        super().__init__(documents)
        self._clock = clock

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        """Take a while."""
        self._clock.advance({"find": _PAGE, "write_all": _WRITES}.get(operation, _DOCUMENT))
        return call()


class _SlowCalls(Fate):
    """Klaviyo as the packer finds it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(-1, kills=False)
        self._clock = clock

    def pass_by(self, what: str) -> None:
        """Take a while."""
        self._clock.advance(_HALF_A_CALL)


def _judged(times: list[float], began: datetime, sandbox: Sandbox, services: Services, real: float) -> _Run:
    if Backlog.of(services).count(TENANT):
        raise BenchmarkError("events still wait")
    events = sandbox.klaviyo.events(ACCOUNT)
    arrived = Counter(event.properties["n"] for event in events)
    if arrived != Counter(range(len(times))):
        raise BenchmarkError(f"{len(arrived)} of {len(times)} events arrived, {len(events)} times in all")
    start = began.timestamp()
    ages = (event.received_at - start - times[event.properties["n"]] for event in events)
    calls = [call for call in sandbox.klaviyo.calls.all() if call.path in (_SINGLE, _BULK)]
    bulk = [json.loads(call.body) for call in calls if call.path == _BULK and call.status == 202]
    rows = [body["data"]["attributes"]["events-bulk-create"]["data"] for body in bulk]
    return _Run(
        events=len(events),
        seconds=max(event.received_at for event in events) - start,
        oldest=max(ages),
        calls=Counter(call.status or 0 for call in calls),
        bulk=len(bulk),
        in_bulk=sum(map(len, rows)),
        real=real,
    )


def _dispatched() -> float:
    """Return how many jobs a tenant's queue dispatches in a second."""
    return float(tomllib.loads(_QUEUES.read_text())["outbound"]["max_dispatches_per_second"])
