"""Puts a job that is given up on the dead-letter desk, with a plain reason and a cause. The code that does the job decides when to give it
up.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from shared import logs
from shared.errors import (
    CannotSucceedError,
    DisconnectedError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
)
from shared.http.forbidden import lacks_a_scope, what_mends
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import AnyJob, Outcome, SendMetric, SendRecords, write_job
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.persons import hashed_name, names_in
from shared.tenants.tenants import Tenant

_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{64,}")


def bury(
    job: AnyJob, tenant: Tenant, reason: str, *, because: BaseException, desk: DeadJobStore, now: datetime
) -> None:
    """Put a job on the desk and log it. A job that dies again keeps its row, which is updated."""
    body, cause = write_job(job), cause_of(because)
    dead = DeadJob(
        id=job.dead_id or job.id,
        tenant=job.tenant,
        kind=job.kind,
        reason=reason,
        detail=_detail(job, because),
        body=body,
        attempts=job.attempts + 1,
        died_at=now,
        request_id=request_of(because).get("request", ""),
        cause=cause,
        metric=_metric(job),
        call=(job.call or job.dead_id or job.id) if isinstance(job, SendRecords) else "",
        profiles=hashes_of(json.loads(body), tenant),
        accepted_at=job.accepted_at,
        replay=job.replay,
    )
    desk.add(dead, keep=timedelta(days=tenant.settings.dead_job_days))
    age = round((now - job.accepted_at).total_seconds(), 1)
    logs.write(
        logging.ERROR,
        "job is dead",
        outcome=Outcome.DEAD.value,
        reason=reason,
        cause=cause.value,
        attempts=job.attempts,
        age=age,
        **request_of(because),
    )


def hashes_of(body: object, tenant: Tenant) -> tuple[str, ...]:
    """Return the hashes of the persons in a job's body; none for a tenant without a ledger key."""
    if tenant.ledger_key is None:
        return ()
    key = tenant.ledger_key.get_secret_value()
    return tuple(hashed_name(key, name) for name in names_in(body))


def cause_of(error: BaseException) -> Cause:
    """Return the cause of a job's death from the error that ended it."""
    if isinstance(error, CannotSucceedError):
        return _of_the_message(error)
    if isinstance(error, DisconnectedError):
        return Cause.NOT_INSTALLED
    if isinstance(error, TokenRejectedError):
        return Cause.OMNEO_TOKEN if error.service == "Omneo" else Cause.NO_ANSWER
    if not isinstance(error, RefusedError):
        return Cause.NO_ANSWER
    return _forbidden(error) if error.status == 403 else Cause.REFUSED


def refused(error: RefusedError | CannotSucceedError) -> str:
    """Return the reason of a job that will never succeed."""
    if isinstance(error, CannotSucceedError):
        return str(error)
    if error.status == 403:
        return f"{error}. {what_mends(error)}"
    return f"{error}. Sending it again unchanged will not help."


def given_up(error: BaseException) -> str:
    """Return the reason of a job that was tried for too long; `error` is the result of the last try."""
    return f"Given up after 24 hours of trying. Last answer: {error}."


def request_of(error: BaseException) -> dict[str, str]:
    """Return the service's own name of the failed call as a field of a log line; no field if it gave none."""
    said = _said(error)
    return {"request": said.request_id} if said and said.request_id else {}


def _of_the_message(error: CannotSucceedError) -> Cause:
    if error.cause:
        return Cause(error.cause)
    because = error.__cause__
    if isinstance(because, RefusedError) and because.status == 403:
        return _forbidden(because)
    return Cause.OTHER


def _forbidden(error: ServiceError) -> Cause:
    if error.service != "Klaviyo":
        return Cause.OMNEO_PERMISSION
    return Cause.SCOPE if lacks_a_scope(error) else Cause.PLAN


def _metric(job: AnyJob) -> str:
    """Return the metric's name of an event, the data source's title of records, "" for any other job."""
    if isinstance(job, SendRecords):
        return job.data_source
    found: object = job.event if isinstance(job, SendMetric) else None
    for name in ("metric", "data", "attributes", "name"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def _detail(job: AnyJob, error: BaseException) -> str:
    """Return the service's own words without an ID token. They are stored encrypted, because they may quote personal data."""
    said = _said(error)
    detail = said.detail if said else ""
    return _TOKEN.sub("<token>", detail) if isinstance(job, SendMetric) and job.with_token else detail


def _said(error: BaseException) -> ServiceError | None:
    said = error if isinstance(error, ServiceError) else error.__cause__
    return said if isinstance(said, ServiceError) else None
