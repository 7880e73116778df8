"""Tasks whose body this worker cannot read: one that kills the worker, one that is no job, and a job of a kind that only a newer revision knows.

The id and the kind are found with a pattern, because reading the body as JSON may be what kills the worker.
"""

import hashlib
import logging
import re
from contextlib import suppress
from datetime import timedelta

from shared import logs
from shared.erasure.dead_jobs import cut_the_erased
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import (
    KINDS,
    Delivery,
    Outcome,
    UnknownJobKindError,
    UnreadableJobError,
    age_one_attempt,
    read_job,
)
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.patience import is_given_up, seconds_to_wait
from shared.notify.telling import tell_of_a_death
from shared.services import Services
from shared.tenants.tenants import Tenant, is_tenant_name
from shared.worker import outcomes
from shared.worker.giving_up import end_run
from shared.worker.replaying import OVERTAKEN

UNKNOWN_TENANT = "_unknown"  # no tenant can have this name
UNREAD = "unread"  # in place of a kind
_STEPS = frozenset({"resync", "replay-dead-jobs"})  # the kinds whose death ends a run
# The begin of what `write_job` writes, and the first kind in it: all values of callers come later.
_ID = re.compile(rb'\{"tenant":"[^"\\]*","id":"((?!__)[0-9A-Za-z_-]{1,64})"')
_KIND = re.compile(rb'"kind":"([a-z-]+)"')
# The first match belongs to the job, even if it is blank: a caller's event may hold another one later.
_REPLAY = re.compile(rb'"replay":"([0-9A-Za-z]*)","dead_id":"([0-9A-Za-z-]*)"')


def bury_unread(delivery: Delivery, reason: str, services: Services) -> Outcome:
    """Put a task on the desk whose body was not read or cannot be read."""
    name = delivery.tenant if is_tenant_name(delivery.tenant) else UNKNOWN_TENANT
    desk = DeadJobStore.of(services)
    row, replay = _replay_in(delivery.body)
    id, kind = _id_and_kind_in(delivery.body)
    with logs.context(tenant=name, kind=kind, **({"job": id} if id else {})):
        if row and not desk.is_meant(name, row, replay):
            logs.write(logging.INFO, OVERTAKEN, outcome=Outcome.DONE.value)
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
        logs.write(logging.ERROR, "job is dead", outcome=Outcome.DEAD.value, reason=reason)
        if tenant is not None:
            _end_run_of(delivery.body, kind, tenant, reason, services)
        if tenant is not None and is_new:
            # Last, and only once: this reads the body, which may be what kills the worker.
            cut_the_erased(dead.id, tenant, services)
    return Outcome.DEAD


def _end_run_of(body: bytes, kind: str, tenant: Tenant, reason: str, services: Services) -> None:
    if kind not in _STEPS:  # only the body of a step is ours alone and short, so it is safe to read
        return
    with suppress(UnreadableJobError, UnknownJobKindError):
        end_run(read_job(body), tenant, reason, services)


def _id_and_kind_in(body: bytes) -> tuple[str, str]:
    """Return the id and the kind of a job without reading its body as JSON; "" and `unread` if the body does not show them."""
    id, kind = _ID.match(body), _KIND.search(body)
    known = kind[1].decode() if kind else ""
    return id[1].decode() if id else "", known if known in KINDS else UNREAD


def _replay_in(body: bytes) -> tuple[str, str]:
    """Return the row and the word of a replayed job without reading its body as JSON; two blanks for any other job."""
    found, kind = _REPLAY.search(body), _KIND.search(body)
    is_ours = found and kind and _ID.match(body) and found.start() < kind.start()
    return (found[2].decode(), found[1].decode()) if found and is_ours else ("", "")


def await_revision(delivery: Delivery, error: UnknownJobKindError, services: Services) -> Outcome:
    """Put back a job of a kind that only a newer revision knows: the next instance may run that revision."""
    if error.accepted_at is None or is_given_up(services.clock() - error.accepted_at):
        return bury_unread(delivery, "No revision that ran within 24 hours knows its kind.", services)
    delay = seconds_to_wait(error.attempts, None, services.random())
    services.queue.put_back(
        delivery.queue,
        age_one_attempt(delivery.body),
        tenant=error.tenant,
        direction=delivery.direction,
        delay=delay,
    )
    with logs.context(tenant=error.tenant):
        logs.write(
            logging.WARNING,
            "job waits for a newer revision",
            outcome=Outcome.WAITING.value,
            attempts=error.attempts,
            delay=round(delay, 1),
        )
    return Outcome.WAITING
