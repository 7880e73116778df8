"""Replays of dead jobs: of one job, or of all that filters choose, as a run in the background that shows its progress.

A replay is a new, unnamed task with the same job in it; its age begins anew. The row is marked before the task is made, so a process that
dies between the two leaves a row that can be replayed again. The worker notes the result of a replayed job.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

from shared.errors import ConflictError, DocumentChangedError
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore, Stores
from shared.jobs.jobs import ReplayDeadJobs, UnknownJobKindError, UnreadableJobError, read_job, write_job
from shared.jobs.rules.causes import RECORDS, Cause
from shared.jobs.rules.wanted import Wanted
from shared.storage.documents import Document, Documents, Value, delete_all
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.jobs.queue import TaskQueue

KEPT = timedelta(days=30)
# Only so many at a time, so that live work does not wait behind them and Klaviyo's limits are not used up.
ROWS_AT_A_TIME = 100
SECONDS_BETWEEN = 10.0


class Asker(StrEnum):
    """The reason why a run began."""

    CALL = "call"  # a person asked for it
    MENDED = "mended"  # the cause that held its jobs is mended


@dataclass(frozen=True)
class ReplayRun:
    """A run. `replayed` and `unreadable` count its rows so far; `after` is the row that it read last. `total` is None if only the run
    itself can tell.

    `reason` says why it has failed, "" if it has not. A failed run goes on when its failed job is replayed.
    """

    id: str
    wanted: Wanted
    asked_by: Asker
    started_at: datetime
    total: int | None = None
    step: int = 0
    after: str = ""
    replayed: int = 0
    unreadable: int = 0
    finished_at: datetime | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.finished_at is not None and not self.reason


class Replays:
    """The runs of each tenant, in a document store."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @classmethod
    def of(cls, services: Stores) -> Self:
        """Return the store of these services."""
        return cls(services.documents)

    def create(self, tenant: str, run: ReplayRun) -> None:
        """Store a new run."""
        fields: dict[str, Value] = {
            **_progress(run),
            "wanted": run.wanted.to_fields(),
            "asked_by": run.asked_by.value,
            "started_at": run.started_at,
            "total": run.total,
            "expire_at": run.started_at + KEPT,
        }
        self._documents.create(_collection(tenant), run.id, fields)

    def find(self, tenant: str, id: str) -> ReplayRun | None:
        """Return the run, None if there is none."""
        found = self._documents.get(_collection(tenant), id)
        return None if found is None else _decode(found)

    def advance(self, tenant: str, before: ReplayRun, after: ReplayRun) -> bool:
        """Store the progress of a run; return False if another worker has already done this step."""
        found = self._documents.get(_collection(tenant), before.id)
        if found is None or found.fields["step"] != before.step:
            return False
        try:
            self._documents.update(_collection(tenant), before.id, _progress(after), version=found.version)
        except DocumentChangedError:
            return False
        return True

    def fail(self, tenant: str, id: str, step: int, reason: str, *, now: datetime) -> None:
        """Note that a run has failed and why, if this step is its present one, or is done without a next one in the queue."""
        found = self._documents.get(_collection(tenant), id)
        run = None if found is None else _decode(found)
        if found is None or run is None or run.finished_at is not None or run.step not in (step, step + 1):
            return
        with suppress(DocumentChangedError):  # another worker takes the step at this moment
            failed = _progress(replace(run, finished_at=now, reason=reason))
            self._documents.update(_collection(tenant), id, failed, version=found.version)

    def forget(self, tenant: str) -> None:
        """Forget every run of the tenant."""
        delete_all(self._documents, _collection(tenant))


class Outside(Stores, Protocol):
    """The outside world of replays: stores, queue, clock and ids."""

    @property
    def queue(self) -> "TaskQueue": ...
    @property
    def clock(self) -> Callable[[], datetime]: ...
    @property
    def new_id(self) -> Callable[[], str]: ...


@dataclass(frozen=True)
class Replaying:
    """The stores, queue and clock of replays."""

    desk: DeadJobStore
    runs: Replays
    queue: "TaskQueue"
    clock: Callable[[], datetime]
    new_id: Callable[[], str]

    @classmethod
    def of(cls, services: Outside) -> Self:
        """Return the parts of these services that replays need."""
        return cls(
            desk=DeadJobStore.of(services),
            runs=Replays.of(services),
            queue=services.queue,
            clock=services.clock,
            new_id=services.new_id,
        )

    def one(self, tenant: Tenant, dead: DeadJob, *, run: str = "") -> bool:
        """Queue a dead job again; return False if it is no longer on the desk. `dead` has its body.

        Raises:
            ConflictError: the job cannot be read, so nobody can do it.
            QueueUnavailableError: the queue did not take it; the row stays, and may be replayed again.
        """
        now, word = self.clock(), self.new_id()
        try:
            job = read_job(dead.body)
        except (UnreadableJobError, UnknownJobKindError):
            raise ConflictError("This release cannot read the job, so it cannot be replayed.") from None
        again = job.replayed(word=word, dead_id=dead.id, at=now)
        keep = timedelta(days=tenant.settings.dead_job_days)
        if not self.desk.begin_replay(tenant.name, dead.id, replay=word, run=run, now=now, keep=keep):
            return False
        # Not `put`, which checks the size: the queue took the job before, and it is only a few words longer now.
        self.queue.put_back(
            tenant.queue_name(again.direction),
            write_job(again),
            tenant=tenant.name,
            direction=again.direction,
            delay=0.0,
        )
        return True

    def begin(
        self, tenant: Tenant, wanted: Wanted, asked_by: Asker = Asker.CALL, *, after: float = 0.0
    ) -> ReplayRun:
        """Begin, `after` so many seconds, a run over all dead jobs that match the filters.

        Raises:
            QueueUnavailableError: the queue did not take it; nothing was replayed.
        """
        run = ReplayRun(
            id=self.new_id(),
            wanted=wanted,
            asked_by=asked_by,
            started_at=self.clock(),
            total=self.desk.count_meant(tenant.name, wanted),
        )
        self.runs.create(tenant.name, run)
        self.queue.put(self.next_job(tenant, run), tenant, delay=after)
        return run

    def begin_held(self, tenant: Tenant, cause: Cause, *, after: float = 0.0) -> ReplayRun | None:
        """Begin a run over all jobs of a mended cause; None if it holds no job. Records are left out, because they do not go on by
        themselves.
        """
        wanted = Wanted(cause=cause.value, leaves_out=RECORDS)
        if not self.desk.count_meant(tenant.name, Wanted(cause=cause.value)):
            return None
        return self.begin(tenant, wanted, Asker.MENDED, after=after)

    def next_job(self, tenant: Tenant, run: ReplayRun) -> ReplayDeadJobs:
        """Return the job that takes the run's next step."""
        return ReplayDeadJobs(
            tenant=tenant.name, id=self.new_id(), accepted_at=self.clock(), run_id=run.id, step=run.step
        )


def next_step(
    run: ReplayRun, *, after: str | None, replayed: int, unreadable: int, now: datetime
) -> ReplayRun:
    """Return the run with one more step done; `after` is None if it was the last."""
    return replace(
        run,
        step=run.step + 1,
        after=after or run.after,
        replayed=run.replayed + replayed,
        unreadable=run.unreadable + unreadable,
        finished_at=now if after is None else None,
        reason="",
    )


def _progress(run: ReplayRun) -> dict[str, Value]:
    return {
        "step": run.step,
        "after": run.after,
        "replayed": run.replayed,
        "unreadable": run.unreadable,
        "finished_at": run.finished_at,
        "reason": run.reason,
    }


def _decode(found: Document) -> ReplayRun:
    fields: dict[str, Any] = dict(found.fields)
    return ReplayRun(
        id=found.id,
        wanted=Wanted.of_fields(fields["wanted"]),
        asked_by=Asker(fields["asked_by"]),
        started_at=fields["started_at"],
        total=fields["total"],
        step=fields["step"],
        after=fields["after"],
        replayed=fields["replayed"],
        unreadable=fields["unreadable"],
        finished_at=fields["finished_at"],
        reason=fields.get("reason") or "",  # a run of an earlier release has none
    )


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/replays"
