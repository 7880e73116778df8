"""One delivery of a task in a worker: the job is done, waits, or is dead with a reason.

Only the queue repeats work, and only the worker gives up: by the job's age, or by a retry count. The worker looks at the count before it
reads the body, because the body may be what kills it.
"""

import logging

from shared import logs
from shared.direction import Direction
from shared.erasure.dropping import without_the_erased
from shared.errors import (
    CannotSucceedError,
    DisconnectedError,
    RefusedError,
    RestingError,
    TokenRejectedError,
    WaitError,
)
from shared.http.heard import listening
from shared.jobs.burial import refused
from shared.jobs.jobs import (
    AnyJob,
    Delivery,
    EveryTenant,
    Outcome,
    SendMetric,
    SyncProfile,
    UnknownJobKindError,
    UnreadableJobError,
    read_job,
)
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.patience import POISON_RETRIES
from shared.metrics.lane import goes_to_the_backlog
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.worker import outcomes
from shared.worker.admission import check_rests, check_turn, opt_outs_go_first, waits_behind_others
from shared.worker.giving_up import give_up
from shared.worker.replaying import OVERTAKEN, after_success, is_meant
from shared.worker.run import run
from shared.worker.schedule import every_tenant
from shared.worker.unread import await_revision, bury_unread
from shared.worker.waiting import (
    event_waits,
    seconds_old,
    wait_after,
    wait_behind_others,
    wait_for_install,
    wait_for_the_rest,
)


def deliver(delivery: Delivery, services: Services) -> Outcome:
    """Do the job in a task, or put it back, or give it up.

    Raises:
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    if delivery.retries >= POISON_RETRIES:
        return bury_unread(delivery, f"The worker failed on it {delivery.retries} times.", services)
    try:
        job = read_job(delivery.body)
    except UnreadableJobError as error:
        return bury_unread(delivery, f"It cannot be read: {error}.", services)
    except UnknownJobKindError as error:
        return await_revision(delivery, error, services)
    with logs.context(tenant=job.tenant, job=job.id, kind=job.kind, traceparent=job.traceparent):
        if isinstance(job, EveryTenant):
            every_tenant(job, services)
            return Outcome.DONE
        return _settle(job, services, is_again=delivery.retries > 0)


def _settle(job: AnyJob, services: Services, *, is_again: bool) -> Outcome:
    if not is_meant(job, services):
        logs.write(logging.INFO, OVERTAKEN, outcome=Outcome.DONE.value)
        return Outcome.DONE
    tenant = services.tenant_cache.get(job.tenant)
    if tenant is None or not tenant.is_connected:
        tenant = services.tenant_cache.fresh(job.tenant)  # a reinstall is noticed at once
    if tenant is None:
        logs.write(logging.WARNING, "job dropped, its tenant was deleted", outcome=Outcome.GONE.value)
        return Outcome.GONE
    left = without_the_erased(job, tenant, services)
    if left is None:
        logs.write(logging.INFO, "job dropped, its person was erased", outcome=Outcome.DONE.value)
        return Outcome.DONE
    return _done(left, tenant, services, is_again=is_again)


def _done(job: AnyJob, tenant: Tenant, services: Services, *, is_again: bool) -> Outcome:
    began = services.clock()
    try:
        if job.direction is Direction.OUTBOUND:  # most inbound jobs call only Omneo
            _check_connected(tenant)
        if (waiting := _waits_first(job, tenant, services, is_again=is_again)) is not None:
            return waiting
        with listening() as heard:
            run(job, tenant, services)
    except DisconnectedError as error:
        return wait_for_install(job, tenant, services, error)
    except (WaitError, TokenRejectedError) as error:
        return wait_after(job, tenant, services, error, is_again=is_again)
    except (RefusedError, CannotSucceedError) as error:
        return give_up(job, tenant, refused(error), services, error)
    was_dead = not outcomes.goes_on(job, tenant) and after_success(job, tenant, services, began=began)
    outcomes.is_done(job, tenant, services, heard, was_dead=was_dead)
    logs.write(
        logging.INFO,
        "job done",
        outcome=Outcome.DONE.value,
        attempts=job.attempts,
        age=seconds_old(job, services),
    )
    return Outcome.DONE


def _waits_first(job: AnyJob, tenant: Tenant, services: Services, *, is_again: bool) -> Outcome | None:
    """Put a job back that cannot be done now, before it costs anything; return None if it can be done. Such a wait is no attempt.

    Raises:
        TurnTakenError: the job waits for another job of ours, which still works.
    """
    if isinstance(job, SendMetric) and goes_to_the_backlog(job, tenant, services, is_again=is_again):
        return event_waits(job, services)
    if isinstance(job, SyncProfile) and (waiting := waits_behind_others(job, tenant, services)):
        return wait_behind_others(job, tenant, services, waiting)
    try:
        check_rests(job, tenant, services)
    except RestingError as error:
        if isinstance(job, SyncProfile):
            opt_outs_go_first(job, tenant, services)
        if is_again and isinstance(job, SendMetric):
            # The new task looks as if nobody had tried the job, but an earlier delivery may have sent the event.
            job = job.model_copy(update={"alone": True})
        return wait_for_the_rest(job, tenant, services, error, is_tried=False)
    check_turn(job, services)
    return None


def _check_connected(tenant: Tenant) -> None:
    if tenant.klaviyo is None:
        raise CannotSucceedError(
            "The tenant has no Klaviyo account. Once one is installed, this job goes on by itself.",
            cause=Cause.NOT_INSTALLED,
        )
    if tenant.klaviyo.disconnected:
        raise DisconnectedError("the tenant's Klaviyo account is disconnected; install again")
