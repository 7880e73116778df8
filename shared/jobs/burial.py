"""How a job that is given up comes to the dead-letter desk, and the plain reason that it stands there with.

When a job is given up is for those to say who do it.
"""

import logging
from datetime import datetime, timedelta

from shared import logs
from shared.errors import CannotSucceedError, RefusedError, ServiceError
from shared.http.forbidden import what_mends
from shared.jobs.dead_jobs import DeadJob, DeadJobStore
from shared.jobs.jobs import AnyJob, Outcome, write_job
from shared.tenants.tenants import Tenant


def bury(
    job: AnyJob, tenant: Tenant, reason: str, *, because: BaseException, desk: DeadJobStore, now: datetime
) -> None:
    """Put a job on the desk, and say so in the log. A job that stands there already stays as it is."""
    dead = DeadJob(
        id=job.id,
        tenant=job.tenant,
        kind=job.kind,
        reason=reason,
        detail=_detail(because),
        body=write_job(job),
        attempts=job.attempts,
        died_at=now,
        request_id=request_of(because).get("request", ""),
    )
    desk.add(dead, keep=timedelta(days=tenant.settings.dead_job_days))
    age = round((now - job.accepted_at).total_seconds(), 1)
    logs.write(
        logging.ERROR,
        "job is dead",
        outcome=Outcome.DEAD.value,
        reason=reason,
        attempts=job.attempts,
        age=age,
        **request_of(because),
    )


def refused(error: RefusedError | CannotSucceedError) -> str:
    """Return the reason of a job that will never succeed."""
    if isinstance(error, CannotSucceedError):
        return str(error)
    if error.status == 403:
        return f"{error}. {what_mends(error)} Then replay this job."
    return f"{error}. Sending it again unchanged will not help."


def given_up(error: BaseException) -> str:
    """Return the reason of a job that was tried for as long as is worth it; `error` is what became of the last try."""
    return f"Given up after 24 hours of trying. Last answer: {error}."


def request_of(error: BaseException) -> dict[str, str]:
    """Return the service's own name of the call that failed, as a field of a log line; nothing if it gave none."""
    said = _said(error)
    return {"request": said.request_id} if said and said.request_id else {}


def _detail(error: BaseException) -> str:
    """Return what the service said, in its own words; kept encrypted, because it may quote personal data."""
    said = _said(error)
    return said.detail if said else ""


def _said(error: BaseException) -> ServiceError | None:
    said = error if isinstance(error, ServiceError) else error.__cause__
    return said if isinstance(said, ServiceError) else None
