"""How a job waits: it goes back to its queue as a new task, or into the store, and is given up once it has waited long enough."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from shared import logs
from shared.direction import Direction
from shared.errors import ExtensionError, RestingError, TokenRejectedError, TurnTakenError, WaitError
from shared.jobs.burial import given_up, request_of
from shared.jobs.jobs import AnyJob, Outcome, SendMetric, SyncProfile, write_job
from shared.jobs.rules.patience import is_given_up, seconds_to_another_look, seconds_to_turn, seconds_to_wait
from shared.metrics.lane import may_go_in_bulk, set_aside, was_throttled
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.worker import outcomes
from shared.worker.giving_up import give_up
from shared.worker.replaying import keep_waiting
from shared.worker.telling import tell_of_an_outage

DISCONNECTED_SECONDS = (
    600.0  # how long a job of the inbound queue waits: that queue goes on while the account is disconnected
)
PAUSED_SECONDS = 10.0  # how long a job waits in a paused queue: it goes on with the queue, and the pause itself takes seconds


def wait_after(
    job: AnyJob,
    tenant: Tenant,
    services: Services,
    error: WaitError | TokenRejectedError,
    *,
    is_again: bool,
) -> Outcome:
    """Let a job wait whose attempt ended with `error`.

    A throttled event that may go in bulk waits in the backlog. Every other job waits in its queue.
    """
    if isinstance(job, SendMetric) and not is_again and was_throttled(error) and may_go_in_bulk(job):
        set_aside(job, tenant, services)
        return event_waits(job, services)
    if isinstance(error, RestingError):
        return wait_for_the_rest(job, tenant, services, error, is_tried=True)
    if isinstance(error, TurnTakenError):
        look = seconds_to_another_look(services.clock() - job.accepted_at, services.random())
        return _wait(job, tenant, services, error, None, delay=look, is_tried=False)
    return _wait(job, tenant, services, error, error.retry_after)


def wait_for_the_rest(
    job: AnyJob, tenant: Tenant, services: Services, error: RestingError, *, is_tried: bool
) -> Outcome:
    """Put the job back until Klaviyo's endpoint no longer rests; each such job gets a different time."""
    turn = seconds_to_turn(error.retry_after or 0.0, services.random())
    return _wait(job, tenant, services, error, None, delay=turn, is_tried=is_tried)


def event_waits(job: SendMetric, services: Services) -> Outcome:
    """Note that the event waits in the backlog. The packer sends it, and the queue may forget the task."""
    outcomes.is_set_aside(job, services)
    logs.write(
        logging.INFO,
        "event waits for a bulk job",
        outcome=Outcome.WAITING.value,
        age=seconds_old(job, services),
    )
    return Outcome.WAITING


def wait_for_install(job: AnyJob, tenant: Tenant, services: Services, error: ExtensionError) -> Outcome:
    """Put the job back until a merchant installs the app again.

    An outbound job also pauses its queue. The inbound queue goes on, because most of its jobs call only Omneo.
    """
    # Read afresh: the job that meets the outage holds the tenant of before, and a paused queue may send no other job for days.
    tell_of_an_outage(services.tenant_cache.fresh(tenant.name) or tenant, services)
    if job.direction is Direction.INBOUND:
        return _wait(job, tenant, services, error, DISCONNECTED_SECONDS)
    if _pause_while_disconnected(tenant, services):
        return _wait(job, tenant, services, error, None, delay=PAUSED_SECONDS)
    return _wait(job, tenant, services, error, None)


def _pause_while_disconnected(tenant: Tenant, services: Services) -> bool:
    """Pause the outbound queue, unless somebody has reinstalled meanwhile; return whether the queue is paused.

    An install stores its tokens before it resumes the queue. This function reads the tenant after the pause, so it sees those tokens and
    never leaves the queue of a connected tenant paused.
    """
    services.queue.pause(tenant, Direction.OUTBOUND)
    now = services.tenant_cache.fresh(tenant.name)
    if now is None or not now.is_connected:
        return True
    services.queue.resume(tenant, Direction.OUTBOUND)
    return False


def wait_behind_others(job: SyncProfile, tenant: Tenant, services: Services, error: RestingError) -> Outcome:
    """Put the sync into the backlog: in the queue it would run before urgent jobs that come later."""
    from shared.profiles.packing import keep_for_later

    def put_back(job: SyncProfile, tenant: Tenant, services: Services, _delay: float) -> None:
        keep_for_later(job, tenant, services)

    later = error.retry_after
    return _wait(job, tenant, services, error, None, delay=later, put_back=put_back, is_tried=False)


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

    The job waits exactly `delay` seconds if given; else at least `asked`, and longer after each attempt.
    """
    now = services.clock()
    if is_given_up(_age(job, tenant, now)):
        return give_up(job, tenant, given_up(error), services, error)
    if delay is None:
        delay = seconds_to_wait(job.attempts, asked, services.random())
    # A wait for a turn is no attempt: some jobs give up at the second attempt.
    taken = error.turn if isinstance(error, TurnTakenError) else ""
    been_through = {"attempts": job.attempts + is_tried, "last_failure": str(error), "turn": taken}
    older = job.model_copy(update=been_through)
    outcomes.waits(older, tenant, services, why=str(error), delay=delay)
    (put_back or _put_back)(older, tenant, services, delay)
    keep_waiting(job, services)
    logs.write(
        logging.WARNING,
        "job waits",
        outcome=Outcome.WAITING.value,
        reason=str(error),
        attempts=job.attempts,
        age=seconds_old(job, services),
        delay=round(delay, 1),
        **request_of(error),
    )
    return Outcome.WAITING


def _put_back(job: AnyJob, tenant: Tenant, services: Services, delay: float) -> None:
    # Not `put`, which checks the size: the queue took the job before, and it is only a few words longer now.
    services.queue.put_back(
        tenant.queue_name(job.direction),
        write_job(job),
        tenant=tenant.name,
        direction=job.direction,
        delay=delay,
    )


def _age(job: AnyJob, tenant: Tenant, now: datetime) -> timedelta:
    return now - job.waits_since - tenant.time_disconnected(job.waits_since, now)


def seconds_old(job: AnyJob, services: Services) -> float:
    return round((services.clock() - job.accepted_at).total_seconds(), 1)
