"""The traces of each outcome: a count in the tenant's traffic, and the job's receipt.

If each job of a target has its own call, the jobs count under the target's name. All others count under their kind.
"""

from collections.abc import Mapping
from datetime import timedelta

from shared.http.heard import Heard
from shared.jobs.jobs import (
    AnyJob,
    DeleteProfile,
    FlushInbox,
    Heal,
    ImportSyncs,
    PackEvents,
    PackRecords,
    PackSyncs,
    SendMetric,
    SendRecords,
    SweepInbox,
    SweepOutbox,
    SyncProfile,
)
from shared.receipts import Fate, Receipt, Receipts
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import METRIC, RECORDS, Row, What, name_shown
from shared.traffic.traffic import Traffic

_UNCOUNTED = frozenset({"sweep-inbox", "sweep-outbox", "pack-events", "pack-syncs", "import-syncs"})
# The target under which an unread job counts.
_TARGETS: Mapping[str, str] = {"send-metric": METRIC, "send-records": RECORDS, "pack-records": RECORDS}


def waits(job: AnyJob, tenant: Tenant, services: Services, *, why: str, delay: float) -> None:
    """Note that a job is about to be put back, and is tried again after `delay` seconds."""
    _count(job, What.WAITING, services)
    now = services.clock()
    receipt = Receipt(
        id=job.id,
        kind=job.kind,
        state=Fate.WAITING,
        at=now,
        metric=_metric(job),
        attempts=_waits(job),
        why=why,
        next_try_at=now + timedelta(seconds=delay),
    )
    if _has_receipts(job):
        Receipts.of(services).waits(tenant, receipt, _persons(job))


def is_set_aside(job: AnyJob, services: Services) -> None:
    """Note that an event waits for a bulk job. The entry in the backlog is the job's receipt."""
    _count(job, What.WAITING, services)


def is_done(
    job: AnyJob, tenant: Tenant, services: Services, heard: Mapping[str, Heard], *, was_dead: bool
) -> None:
    """Note that a job is done, with the last answer of Klaviyo, or else of Omneo. A heal is done with its last page.

    `was_dead` says that a job with its id stood on the desk.
    """
    _count(job, What.DELIVERED, services)
    if not _has_receipts(job) or goes_on(job, tenant):
        return
    answer = heard.get("Klaviyo") or heard.get("Omneo")
    receipt = Receipt(
        id=job.id,
        kind=job.kind,
        state=Fate.DONE,
        at=services.clock(),
        metric=_metric(job),
        attempts=_waits(job),
        answered="" if answer is None else str(answer),
    )
    # Without a receipt, a job that was dead would be unknown once its row is gone, and a heal would seem to wait for ever if an earlier
    # page did.
    always = was_dead or bool(job.replay) or isinstance(job, Heal)
    Receipts.of(services).is_done(tenant, receipt, _persons(job), always=always)


def has_died(job: AnyJob, tenant: Tenant, services: Services) -> None:
    """Note that a job was given up."""
    _count(job, What.DEAD, services)
    receipt = Receipt(job.id, job.kind, Fate.DEAD, services.clock(), attempts=_waits(job))
    Receipts.of(services).has_died(tenant, receipt)


def has_died_unread(id: str, kind: str, tenant: Tenant, services: Services) -> None:
    """Note that a job was given up whose body was not read, except for its id and kind."""
    if kind not in _UNCOUNTED:
        Traffic.of(services).count(tenant.name, Row(_TARGETS.get(kind, kind), What.DEAD))
    # The job may have waited more often: the number stands in the body.
    receipt = Receipt(id, kind, Fate.DEAD, services.clock(), attempts=1)
    Receipts.of(services).has_died(tenant, receipt)


def _waits(job: AnyJob) -> int:
    """Return how often a job was put back. All waits before its first attempt count as one."""
    return max(job.attempts, int(bool(job.last_failure)))


def goes_on(job: AnyJob, tenant: Tenant) -> bool:
    """Return whether this is a heal with more jobs to come. They carry the same id, and may end before this job does."""
    if not isinstance(job, Heal) or tenant.klaviyo is None:
        return False
    return job.began_at is None or job.since is None or bool(job.metrics)


def _has_receipts(job: AnyJob) -> bool:
    # The packers write the receipts of records (by call) and of events (by job). The jobs that only move them have no caller.
    movers = SendRecords | PackRecords | PackEvents | PackSyncs | ImportSyncs | SweepInbox | SweepOutbox
    return not isinstance(job, movers)


def _count(job: AnyJob, what: What, services: Services) -> None:
    if (row := row_of(job, what)) is not None:
        Traffic.of(services).count(job.tenant, row)


def row_of(job: AnyJob, what: What) -> Row | None:
    """Return the row of the traffic in which a job counts, None if it does not count."""
    match job:
        case SweepInbox() | SweepOutbox() | PackEvents() | PackSyncs() | ImportSyncs():
            return None  # the packers count the events and the syncs one by one
        case SendMetric():
            return Row(METRIC, what, metric=_metric(job))
        case SendRecords() | PackRecords():
            # records/packing.py counts the records that Klaviyo takes one by one.
            return None if what is What.DELIVERED else Row(RECORDS, what, metric=job.data_source)
        case _:
            return Row(job.kind, what)


def _metric(job: AnyJob) -> str:
    if not isinstance(job, SendMetric):
        return ""
    from shared.metrics.rules.event import metric_name_of

    return name_shown(metric_name_of(job.event))


def _persons(job: AnyJob) -> dict[str, str]:
    """Return the ids and addresses of the person that stand in a job."""
    match job:
        case SendMetric():
            from shared.metrics.lane import persons_of

            return persons_of(job)
        case SyncProfile():
            return {"omneo_id": job.profile_id}
        case DeleteProfile():
            return {"omneo_id": job.profile_id, "klaviyo_id": job.klaviyo_id}
        case FlushInbox():
            return {"klaviyo_id": job.profile}
        case _:
            return {}
