"""One delivery of a task in a worker: the job is done, waits, or is dead with a reason.

Only the queue repeats work, and only the worker gives up: by the job's age, or by a retry count. It looks at the count before it reads
the body, because the body may be what kills the worker.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from shared import logs
from shared.direction import Direction
from shared.erasure.dead_jobs import cut_the_erased
from shared.erasure.dropping import without_the_erased
from shared.errors import (
    CannotSucceedError,
    DisconnectedError,
    ExtensionError,
    RefusedError,
    RestingError,
    TokenRejectedError,
    TurnTakenError,
    WaitError,
)
from shared.http.heard import listening
from shared.jobs.burial import bury, given_up, refused, request_of
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import (
    KINDS,
    AnyJob,
    Delivery,
    EveryTenant,
    Heal,
    Outcome,
    ReplayDeadJobs,
    Resync,
    SendMetric,
    SyncProfile,
    UnknownJobKindError,
    UnreadableJobError,
    age_one_attempt,
    read_job,
    write_job,
)
from shared.jobs.replays import Replays
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.patience import (
    POISON_RETRIES,
    is_given_up,
    seconds_to_another_look,
    seconds_to_turn,
    seconds_to_wait,
)
from shared.metrics.lane import goes_to_the_backlog, may_go_in_bulk, set_aside, was_throttled
from shared.notify.telling import tell_of_a_death, tell_of_an_ended_run
from shared.resync.rules.run import State
from shared.resync.runs import Resyncs
from shared.resync.telling import tell_of_the_end
from shared.services import Services
from shared.tenants.tenants import Tenant, is_tenant_name
from shared.worker import outcomes
from shared.worker.admission import check_rests, check_turn, opt_outs_go_first, waits_behind_others
from shared.worker.replaying import after_success, is_meant, keep_waiting
from shared.worker.run import run
from shared.worker.schedule import every_tenant
from shared.worker.telling import tell_of_an_outage

DISCONNECTED_SECONDS = 600.0  # how long one waits whose queue goes on meanwhile
PAUSED_SECONDS = 10.0  # how long one waits whose queue is paused: it is to go on when the queue does, and a pause takes seconds
UNKNOWN_TENANT = "_unknown"  # no tenant can have this name
UNREAD = "unread"  # in place of a kind
_STEPS = frozenset({"resync", "replay-dead-jobs"})  # of runs, which end with them
_OVERTAKEN = "replay dropped, another has overtaken it or the job is settled"
# How `write_job` begins, and the first kind that it names: what callers gave comes after it.
_ID = re.compile(rb'\{"tenant":"[^"\\]*","id":"((?!__)[0-9A-Za-z_-]{1,64})"')
_KIND = re.compile(rb'"kind":"([a-z-]+)"')
# The first is the job's own, blank or not: a caller's may follow in the event.
_REPLAY = re.compile(rb'"replay":"([0-9A-Za-z]*)","dead_id":"([0-9A-Za-z-]*)"')


def deliver(delivery: Delivery, services: Services) -> Outcome:
    """Do the job in a task, or put it back, or bury it.

    Raises:
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    if delivery.retries >= POISON_RETRIES:
        return _bury_unread(delivery, f"The worker failed on it {delivery.retries} times.", services)
    try:
        job = read_job(delivery.body)
    except UnreadableJobError as error:
        return _bury_unread(delivery, f"It cannot be read: {error}.", services)
    except UnknownJobKindError as error:
        return _await_revision(delivery, error, services)
    with logs.context(tenant=job.tenant, job=job.id, kind=job.kind, traceparent=job.traceparent):
        if isinstance(job, EveryTenant):
            every_tenant(job, services)
            return Outcome.DONE
        return _settle(job, services, is_again=delivery.retries > 0)


def _settle(job: AnyJob, services: Services, *, is_again: bool) -> Outcome:
    if not is_meant(job, services):
        _log(logging.INFO, _OVERTAKEN, Outcome.DONE)
        return Outcome.DONE
    tenant = services.tenant_cache.get(job.tenant)
    if tenant is None or not tenant.is_connected:
        tenant = services.tenant_cache.fresh(job.tenant)  # a reinstall is noticed at once
    if tenant is None:
        _log(logging.WARNING, "job dropped, its tenant was deleted", Outcome.GONE)
        return Outcome.GONE
    left = without_the_erased(job, tenant, services)
    if left is None:
        _log(logging.INFO, "job dropped, its person was erased", Outcome.DONE)
        return Outcome.DONE
    return _done(left, tenant, services, is_again=is_again)


def _done(job: AnyJob, tenant: Tenant, services: Services, *, is_again: bool) -> Outcome:
    began = services.clock()
    try:
        if job.direction is Direction.OUTBOUND:  # much of what goes to Omneo needs no Klaviyo
            _check_connected(tenant)
        if (waiting := _waits_first(job, tenant, services, is_again=is_again)) is not None:
            return waiting
        with listening() as heard:
            run(job, tenant, services)
    except DisconnectedError as error:
        return _wait_for_install(job, tenant, services, error)
    except (WaitError, TokenRejectedError) as error:
        return _later(job, tenant, services, error, is_again=is_again)
    except (RefusedError, CannotSucceedError) as error:
        return _bury(job, tenant, refused(error), services, error)
    was_dead = not outcomes.goes_on(job, tenant) and after_success(job, tenant, services, began=began)
    outcomes.is_done(job, tenant, services, heard, was_dead=was_dead)
    _log(logging.INFO, "job done", Outcome.DONE, attempts=job.attempts, age=_seconds_old(job, services))
    return Outcome.DONE


def _waits_first(job: AnyJob, tenant: Tenant, services: Services, *, is_again: bool) -> Outcome | None:
    """Let a job wait before it costs anything, if it has to; return None if it is to be done. One that waits like this was not tried.

    Raises:
        TurnTakenError: it waits for another job of ours, which is still at it.
    """
    if isinstance(job, SendMetric) and goes_to_the_backlog(job, tenant, services, is_again=is_again):
        return _set_aside(job, services)
    if isinstance(job, SyncProfile) and (waiting := waits_behind_others(job, tenant, services)):
        return _wait_behind_others(job, tenant, services, waiting)
    try:
        check_rests(job, tenant, services)
    except RestingError as error:
        if isinstance(job, SyncProfile):
            opt_outs_go_first(job, tenant, services)
        turn = seconds_to_turn(error.retry_after or 0.0, services.random())
        if is_again and isinstance(job, SendMetric):
            # As a new task it looks as if nobody had tried it; the delivery before this may have.
            job = job.model_copy(update={"alone": True})
        return _wait(job, tenant, services, error, None, delay=turn, is_tried=False)
    check_turn(job, services)
    return None


def _later(
    job: AnyJob,
    tenant: Tenant,
    services: Services,
    error: WaitError | TokenRejectedError,
    *,
    is_again: bool,
) -> Outcome:
    """Let what cannot be done now wait: an event that was throttled in the backlog, if it may go in bulk, all else in the queue."""
    if isinstance(job, SendMetric) and not is_again and was_throttled(error) and may_go_in_bulk(job):
        set_aside(job, tenant, services)
        return _set_aside(job, services)
    if isinstance(error, RestingError):
        turn = seconds_to_turn(error.retry_after or 0.0, services.random())
        return _wait(job, tenant, services, error, None, delay=turn)
    if isinstance(error, TurnTakenError):
        look = seconds_to_another_look(services.clock() - job.accepted_at, services.random())
        return _wait(job, tenant, services, error, None, delay=look, is_tried=False)
    return _wait(job, tenant, services, error, error.retry_after)


def _set_aside(job: SendMetric, services: Services) -> Outcome:
    """Say that the event waits in the backlog: the queue may forget it, and the packer sends it."""
    outcomes.is_set_aside(job, services)
    _log(logging.INFO, "event waits for a bulk job", Outcome.WAITING, age=_seconds_old(job, services))
    return Outcome.WAITING


def _check_connected(tenant: Tenant) -> None:
    if tenant.klaviyo is None:
        raise CannotSucceedError(
            "The tenant has no Klaviyo account. Once one is installed, this job goes on by itself.",
            cause=Cause.NOT_INSTALLED,
        )
    if tenant.klaviyo.disconnected:
        raise DisconnectedError("the tenant's Klaviyo account is disconnected; install again")


def _wait_for_install(job: AnyJob, tenant: Tenant, services: Services, error: ExtensionError) -> Outcome:
    # Read afresh: the job that finds it out holds the tenant as it was before, and with the queue paused none may follow for days.
    tell_of_an_outage(services.tenant_cache.fresh(tenant.name) or tenant, services)
    if job.direction is Direction.INBOUND:
        return _wait(job, tenant, services, error, DISCONNECTED_SECONDS)
    if _pause_while_disconnected(tenant, services):
        return _wait(job, tenant, services, error, None, delay=PAUSED_SECONDS)
    return _wait(job, tenant, services, error, None)


def _pause_while_disconnected(tenant: Tenant, services: Services) -> bool:
    """Pause the outbound queue, unless a reinstall has happened meanwhile; return whether it is paused.

    An install stores its tokens before it lets the queue run; looking after the pause, not before, therefore never leaves the queue of a
    connected tenant paused.
    """
    services.queue.pause(tenant, Direction.OUTBOUND)
    now = services.tenant_cache.fresh(tenant.name)
    if now is None or not now.is_connected:
        return True
    services.queue.resume(tenant, Direction.OUTBOUND)
    return False


def _wait(
    job: AnyJob,
    tenant: Tenant,
    services: Services,
    error: ExtensionError,
    asked: float | None,
    *,
    delay: float | None = None,
    put_back: Callable[[Any, Tenant, Services, float], None] | None = None,
    is_tried: bool = True,
) -> Outcome:
    """Put the job back as a new task, one attempt older, or give it up if it has waited long enough.

    It waits as long as `asked`, and longer after every attempt; or exactly `delay`.
    """
    now = services.clock()
    if is_given_up(_age(job, tenant, now)):
        return _bury(job, tenant, given_up(error), services, error)
    if delay is None:
        delay = seconds_to_wait(job.attempts, asked, services.random())
    # Who only waited for its turn is no older by that: some give up at the second attempt.
    taken = error.turn if isinstance(error, TurnTakenError) else ""
    been_through = {"attempts": job.attempts + is_tried, "last_failure": str(error), "turn": taken}
    older = job.model_copy(update=been_through)
    outcomes.waits(older, tenant, services, why=str(error), delay=delay)
    (put_back or _put_back)(older, tenant, services, delay)
    keep_waiting(job, services)
    _log(
        logging.WARNING,
        "job waits",
        Outcome.WAITING,
        reason=str(error),
        attempts=job.attempts,
        age=_seconds_old(job, services),
        delay=round(delay, 1),
        **request_of(error),
    )
    return Outcome.WAITING


def _wait_behind_others(job: SyncProfile, tenant: Tenant, services: Services, error: RestingError) -> Outcome:
    """Put the job into the backlog, not into the queue, where it would stand before what comes later and is more urgent."""
    from shared.profiles.packing import keep_for_later

    later = error.retry_after
    return _wait(job, tenant, services, error, None, delay=later, put_back=keep_for_later, is_tried=False)


def _put_back(job: AnyJob, tenant: Tenant, services: Services, delay: float) -> None:
    # Not `put`, which measures: the job was taken once, and is only some words longer.
    services.queue.put_back(
        tenant.queue_name(job.direction),
        write_job(job),
        tenant=tenant.name,
        direction=job.direction,
        delay=delay,
    )


def _age(job: AnyJob, tenant: Tenant, now: datetime) -> timedelta:
    return now - job.waits_since - tenant.time_disconnected(job.waits_since, now)


def _seconds_old(job: AnyJob, services: Services) -> float:
    return round((services.clock() - job.accepted_at).total_seconds(), 1)


def _bury(job: AnyJob, tenant: Tenant, reason: str, services: Services, because: ExtensionError) -> Outcome:
    tell_of_a_death(job.kind, reason, tenant, services)
    desk = DeadJobStore(services.documents, services.keys)
    bury(job, tenant, reason, because=because, desk=desk, now=services.clock())
    cut_the_erased(job.dead_id or job.id, tenant, services)
    outcomes.has_died(job, tenant, services)
    _end_run(job, tenant, reason, services)
    return Outcome.DEAD


def _end_run(job: AnyJob, tenant: Tenant, reason: str, services: Services) -> None:
    """Let the run fail whose step was given up: nothing else would end it."""
    if isinstance(job, ReplayDeadJobs):
        runs = Replays(services.documents)
        runs.fail(job.tenant, job.run_id, job.step, reason, now=services.clock())
    if isinstance(job, Resync):
        kept = Resyncs.of(services)
        kept.fail(job.tenant, job.run_id, job.chain, reason)
        ended = kept.get(job.tenant, job.run_id)
        if ended is not None and ended.state is State.FAILED:
            tell_of_the_end(ended, tenant, services)
    if isinstance(job, Heal):
        state = State.FAILED.value
        tell_of_an_ended_run(tenant, services, id=job.id, kind=job.kind, state=state, reason=reason)


def _bury_unread(delivery: Delivery, reason: str, services: Services) -> Outcome:
    """Record a task whose body was not, or could not be, read."""
    name = delivery.tenant if is_tenant_name(delivery.tenant) else UNKNOWN_TENANT
    desk = DeadJobStore(services.documents, services.keys)
    row, replay = _replay_in(delivery.body)
    id, kind = _id_and_kind_in(delivery.body)
    with logs.context(tenant=name, kind=kind, **({"job": id} if id else {})):
        if row and not desk.is_meant(name, row, replay):
            _log(logging.INFO, _OVERTAKEN, Outcome.DONE)
            return Outcome.DONE
        dead = DeadJob(
            id=row or id or hashlib.sha256(delivery.body).hexdigest()[:32],
            tenant=name,
            kind=kind,
            reason=reason,
            body=delivery.body,
            attempts=delivery.retries,
            died_at=services.clock(),
            cause=Cause.UNREAD,
            replay=replay,
        )
        is_new = desk.add(dead, keep=timedelta(days=30))
        tenant = services.tenant_cache.get(name) or services.tenant_cache.fresh(name)
        if tenant is not None:
            tell_of_a_death(kind, reason, tenant, services)
            outcomes.has_died_unread(id or dead.id, kind, tenant, services)
        _log(logging.ERROR, "job is dead", Outcome.DEAD, reason=reason)
        if tenant is not None:
            _end_run_of(delivery.body, kind, tenant, reason, services)
        if tenant is not None and is_new:
            # Last, and once: now the body is read, and it may be what kills the worker.
            cut_the_erased(dead.id, tenant, services)
    return Outcome.DEAD


def _end_run_of(body: bytes, kind: str, tenant: Tenant, reason: str, services: Services) -> None:
    if kind not in _STEPS:  # the body of a step is our own and short: nothing in it kills who reads it
        return
    with suppress(UnreadableJobError, UnknownJobKindError):
        _end_run(read_job(body), tenant, reason, services)


def _id_and_kind_in(body: bytes) -> tuple[str, str]:
    """Return the id and the kind that a job carries, without reading the body as JSON; "" and `unread` where they are not to be seen."""
    id, kind = _ID.match(body), _KIND.search(body)
    known = kind[1].decode() if kind else ""
    return id[1].decode() if id else "", known if known in KINDS else UNREAD


def _replay_in(body: bytes) -> tuple[str, str]:
    """Return the row and the word that a replayed job carries, without reading the body as JSON; blanks if it seems to be none."""
    found, kind = _REPLAY.search(body), _KIND.search(body)
    is_ours = found and kind and _ID.match(body) and found.start() < kind.start()
    return (found[2].decode(), found[1].decode()) if found and is_ours else ("", "")


def _await_revision(delivery: Delivery, error: UnknownJobKindError, services: Services) -> Outcome:
    """Put back a job that a newer revision has sent: this revision cannot do it, the next instance may."""
    if error.accepted_at is None or is_given_up(services.clock() - error.accepted_at):
        return _bury_unread(delivery, "No revision that ran within 24 hours knows its kind.", services)
    delay = seconds_to_wait(error.attempts, None, services.random())
    services.queue.put_back(
        delivery.queue,
        age_one_attempt(delivery.body),
        tenant=error.tenant,
        direction=delivery.direction,
        delay=delay,
    )
    with logs.context(tenant=error.tenant):
        _log(
            logging.WARNING,
            "job waits for a newer revision",
            Outcome.WAITING,
            attempts=error.attempts,
            delay=round(delay, 1),
        )
    return Outcome.WAITING


def _log(severity: int, message: str, outcome: Outcome, **fields: object) -> None:
    logs.write(severity, message, outcome=outcome.value, **fields)
