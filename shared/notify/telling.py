"""Messages to a tenant's own address: any code that sees something for an operator calls `tell`. A job sends the message.

At most one message an hour goes out for each cause: the queue takes a task of one name once. A message that fails never fails the work that
caused it.
"""

import logging
from datetime import datetime
from enum import StrEnum

from shared import logs
from shared.errors import OwnServiceError
from shared.jobs.jobs import Notify
from shared.jobs.rules.windows import hashed
from shared.services import Services
from shared.tenants.tenants import Tenant

_MESSAGE = Notify.model_fields["kind"].default


class Cause(StrEnum):
    """The `type` of a message. Standard Webhooks asks for names with dots."""

    DISCONNECTED = "account.disconnected"
    CONNECTED = "account.connected"
    JOBS_DIED = "jobs.died"
    JOBS_MENDED = "jobs.mended"
    TRAFFIC_REFUSED = "traffic.refused"
    TRAFFIC_SILENT = "traffic.silent"
    RUN_ENDED = "run.ended"


def hour_of(moment: datetime) -> str:
    """Return the hour of a moment, as `tell` names it."""
    return f"{moment:%Y-%m-%dT%H}"


def tell_of_a_death(kind: str, reason: str, tenant: Tenant, services: Services) -> None:
    """Queue a message that jobs of this kind die for this reason."""
    _tell_of_jobs(Cause.JOBS_DIED, kind, reason, tenant, services)


def tell_of_a_mended_job(kind: str, reason: str, tenant: Tenant, services: Services) -> None:
    """Queue a message that jobs of this kind, which had died for this reason, have now been done."""
    _tell_of_jobs(Cause.JOBS_MENDED, kind, reason, tenant, services)


def tell_of_an_ended_run(
    tenant: Tenant, services: Services, *, id: str, kind: str, state: str, reason: str = ""
) -> None:
    """Queue a message that a run or a heal has ended, and how. If it goes on and ends in another way, a new message says so, even within
    the hour.
    """
    tell(
        tenant,
        Cause.RUN_ENDED,
        services,
        key=f"{id} {state}",
        run=id,
        kind=kind,
        state=state,
        reason=reason,
    )


def tell(
    tenant: Tenant,
    cause: Cause,
    services: Services,
    *,
    key: str = "",
    hour: str = "",
    **about: str | int,
) -> None:
    """Queue a message to the tenant's address, if it has one. `key` distinguishes causes of one kind; `about` holds nothing personal.

    `hour` names the hour, or another span of time, in which the message is sent once. The default is the present hour.
    """
    if tenant.settings.notify_url is None:
        return
    now = services.clock()
    name = hashed("notify", tenant.name, cause, key, hour or hour_of(now))
    job = Notify(tenant=tenant.name, id=name[:32], accepted_at=now, cause=cause.value, about=about)
    try:
        services.queue.put_named(job, tenant, name=name, delay=0.0)
    except OwnServiceError as error:
        logs.write(
            logging.ERROR, "a message to a tenant was not queued", reason=cause.value, error=logs.where(error)
        )


def _tell_of_jobs(cause: Cause, kind: str, reason: str, tenant: Tenant, services: Services) -> None:
    if kind != _MESSAGE:  # a message that failed or came late is shown only on the desk
        tell(tenant, cause, services, key=f"{kind} {reason}", kind=kind, reason=reason)
