"""The worker's part in replays of dead jobs: it takes the steps of a run of replays, and notes the result of a replayed job.

A cause that holds jobs is mended when one of its jobs succeeds; then the others follow.
"""

import logging
from datetime import datetime, timedelta

from shared import logs
from shared.errors import ConflictError, UndecryptableError
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import (
    AnyJob,
    CompareConsent,
    DeleteProfile,
    FlushInbox,
    Heal,
    Provision,
    ReplayDeadJobs,
    SendRecords,
    SyncProfile,
)
from shared.jobs.replays import ROWS_AT_A_TIME, SECONDS_BETWEEN, Replaying, next_step
from shared.jobs.rules.causes import HELD, RECORDS
from shared.jobs.rules.wanted import Wanted
from shared.notify.telling import tell_of_a_mended_job
from shared.services import Services
from shared.tenants.tenants import Tenant

TRIED_EVERY = timedelta(hours=1)
OVERTAKEN = "replay dropped, another has overtaken it or the job is settled"


def replay_dead_jobs(job: ReplayDeadJobs, tenant: Tenant, services: Services) -> None:
    """Take one step of a run: replay some of its dead jobs, note the place that it has reached, and queue the next step.

    Raises:
        OwnServiceError: our store or queue cannot answer. The next delivery takes the step again, and its replays replace the earlier ones.
    """
    replays = Replaying.of(services)
    run = replays.runs.find(tenant.name, job.run_id)
    if run is None or run.is_over or run.step > job.step + 1:
        return
    if run.step == job.step + 1:  # the worker died before it queued the next step
        services.queue.put(replays.next_job(tenant, run), tenant, delay=SECONDS_BETWEEN)
        return
    rows, after = replays.desk.scan(
        tenant.name, run.wanted, now=services.clock(), after=run.after or None, most=ROWS_AT_A_TIME
    )
    replayed = unreadable = 0
    for row in rows:
        try:
            dead = replays.desk.find(tenant.name, row.id)
            replayed += dead is not None and replays.one(tenant, dead, run=run.id)
        except (ConflictError, UndecryptableError):
            unreadable += 1
    moved = next_step(run, after=after, replayed=replayed, unreadable=unreadable, now=services.clock())
    if not replays.runs.advance(tenant.name, run, moved):
        return  # another worker took this step at the same time
    logs.note(replayed=replayed, unreadable=unreadable)
    if moved.finished_at is None:
        services.queue.put(replays.next_job(tenant, moved), tenant, delay=SECONDS_BETWEEN)


def is_meant(job: AnyJob, services: Services) -> bool:
    """Return whether a job must be done. A replay is not done if a later replay has overtaken it, or if its row is gone."""
    if not job.replay:
        return True
    desk = DeadJobStore.of(services)
    return desk.is_meant(job.tenant, job.dead_id, job.replay)


def keep_waiting(job: AnyJob, services: Services) -> None:
    """Keep the row of a replayed job that has to wait."""
    if job.replay:
        desk = DeadJobStore.of(services)
        desk.keep_waiting(job.tenant, job.dead_id, job.replay, now=services.clock())


def after_success(job: AnyJob, tenant: Tenant, services: Services, *, began: datetime) -> bool:
    """Remove the row of a job that has succeeded, and the rows of earlier jobs whose work it has done too.

    Return whether there was such a row. If a cause held one of these jobs, the cause is mended, and the other jobs follow.
    """
    if isinstance(job, SendRecords):  # the records are not sent yet; the packer removes their row
        return False
    replays = Replaying.of(services)
    settled = [replays.desk.settle(tenant.name, id, since=began) for id in _same_thing(job, replays.desk)]
    if job.replay:
        settled.append(replays.desk.end_replay(tenant.name, job.dead_id, job.replay))
    rows = [dead for dead in settled if dead is not None]
    for dead in rows:
        tell_of_a_mended_job(job.kind, dead.reason, tenant, services)
        if dead.cause in HELD and not dead.run:
            replays.begin_held(tenant, dead.cause)
    return bool(rows)


def _same_thing(job: AnyJob, desk: DeadJobStore) -> list[str]:
    """Return the rows of earlier jobs whose work this job has done too, because it acts on the present state."""
    match job:
        case SyncProfile(leaves_undated=True):
            return []
        case SyncProfile() | DeleteProfile() | FlushInbox() | CompareConsent():
            return [job.id]  # all syncs of a profile have one id
        case Provision() | Heal():
            return desk.of_kind(job.tenant, job.kind)
        case _:
            return []


def try_held(tenant: Tenant, services: Services) -> None:
    """Replay one job of each cause that holds jobs and that had no try within the last hour.

    Raises:
        OwnServiceError: our store or queue cannot answer.
    """
    replays, now = Replaying.of(services), services.clock()
    for held in replays.desk.causes.held(tenant.name):
        if now - held.tried_at < TRIED_EVERY:
            continue
        wanted = Wanted(cause=held.cause.value, leaves_out=RECORDS)
        rows, after = replays.desk.scan(tenant.name, wanted, now=now, most=ROWS_AT_A_TIME)
        if (
            not rows
            and after is None
            and not replays.desk.count_meant(tenant.name, Wanted(cause=held.cause.value))
        ):
            replays.desk.causes.forget(tenant.name, held.cause)
            continue
        replays.desk.causes.note_try(tenant.name, held.cause, now=now)
        for row in rows:
            if _is_tried(row, tenant, replays):
                break


def _is_tried(row: DeadJob, tenant: Tenant, replays: Replaying) -> bool:
    """Replay a held job, and return whether it is queued. A job that cannot be read must not stop the tries of the others."""
    try:
        dead = replays.desk.find(tenant.name, row.id)
        return dead is not None and replays.one(tenant, dead)
    except (ConflictError, UndecryptableError):
        logs.write(logging.WARNING, "a held job cannot be read", cause=row.cause.value, job=row.id)
        return False
