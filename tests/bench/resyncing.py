"""A worker, in a separate process, that does a run over a whole base: `python -m tests.bench.resyncing FOLDER SANDBOX
TOKEN SYNCS`.

Instead of waiting, it moves its clock and the sandbox's forward: Klaviyo's limits hold on that clock. It prints one
line of JSON when it is done.
"""

import io
import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.jobs.jobs import AnyJob, Delivery, Outcome, Resync, SyncProfile, write_job
from shared.resync.orders import Order, begin
from shared.resync.rules.run import Kind, State
from shared.resync.runs import Resyncs
from shared.worker.delivery import deliver
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant
from tests.bench.stage import Stage, control
from tests.support.world import TENANT

_FOLLOWING = 10.0


class _MovedClock:
    """The real time, plus the waits that were skipped."""

    def __init__(self, sandbox: dict[str, str]) -> None:
        self._ahead = timedelta()
        self._url = sandbox["klaviyo"]  # both services have one clock
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def sleep(self, seconds: float) -> None:
        """Move on."""
        with self._lock:
            self._ahead += timedelta(seconds=seconds)
            control(f"{self._url}/_sandbox/clock", advance=seconds)


def main() -> None:
    """Do the syncs, then the run."""
    folder, sandbox = Path(sys.argv[1]), json.loads(sys.argv[2])
    tokens, syncs = json.loads(sys.argv[3]), int(sys.argv[4])
    stage, clock = Stage.on(folder, sandbox), _MovedClock(sandbox)
    vars(stage.services)["clock"], vars(stage.services)["sleep"] = clock, clock.sleep
    tenant = a_connected_tenant(**tokens)
    stage.services.tenants.create(tenant)
    rows = stage.services.omneo(tenant).profiles_page(1).rows[:syncs]
    for row in rows:
        until = clock() + timedelta(seconds=10)
        _do(
            SyncProfile(tenant=TENANT, accepted_at=clock(), profile_id=str(row["id"]), until=until),
            stage,
            clock,
        )
    one_by_one = _calls(stage, 0)
    before = one_by_one[-1]["number"] if one_by_one else 0
    clock.sleep(600)  # the syncs are not the run's business
    began, started_at = time.perf_counter(), clock()
    run = begin(tenant, Kind.RESYNC, Order(), stage.services)
    while stage.queue.jobs:
        job = stage.queue.jobs.pop(0)
        if isinstance(job, Resync):
            _do(job, stage, clock)
    took, mebibytes = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    calls = _calls(stage, before)
    found = Resyncs.of(stage.services).get(TENANT, run.id)
    if found is None or found.state is not State.DONE:
        raise BenchmarkError(f"the run did not end: {found and (found.state, found.reason, found.read)}")
    print(
        json.dumps(
            {
                "seconds": took,
                "moved_seconds": (clock() - started_at).total_seconds(),
                "mebibytes": mebibytes,
                "counts": found.counts,
                "read": found.read,
                "calls": [(call["method"], call["path"]) for call in calls],
                "windows": list(_windows(calls)),
                "one_by_one": [(call["method"], call["path"]) for call in one_by_one],
            }
        )
    )


def _do(job: AnyJob, stage: Stage, clock: _MovedClock) -> None:
    waiting = len(stage.queue.jobs)
    delivery = Delivery(job.direction, write_job(job), "queue", "task", TENANT, 0)
    with redirect_stdout(io.StringIO()):
        outcome = deliver(delivery, stage.services)
    if outcome not in (Outcome.DONE, Outcome.WAITING):
        raise BenchmarkError(f"a job {job.kind} came out as {outcome}")
    if outcome is Outcome.WAITING:
        print(f"a job {job.kind} waits: {stage.queue.jobs[-1].last_failure}", file=sys.stderr)
    if len(stage.queue.jobs) > waiting:
        clock.sleep(_FOLLOWING)  # the queue of this bench knows no delays


def _calls(stage: Stage, after: int) -> list[dict[str, Any]]:
    """Return the calls that were not refused for the limits, and forget none."""
    return [
        call
        for call in stage.klaviyo_calls()
        if call["number"] > after and call["status"] != 429 and call["path"].startswith("/api/")
    ]


def _windows(calls: list[dict[str, Any]]) -> Iterator[float]:
    """Yield the seconds from the first look at some profiles' consents to each subscribe that follows from it."""
    looked_at, was_look = 0.0, False
    for call in calls:
        is_look = (call["method"], call["path"]) == ("GET", "/api/profiles")
        if is_look and not was_look:
            looked_at = call["received_at"]
        elif call["path"].endswith("subscription-bulk-create-jobs"):
            yield call["received_at"] - looked_at
        was_look = is_look


if __name__ == "__main__":
    main()
