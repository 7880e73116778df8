"""Where a job counts in its tenant's traffic: the jobs of a target that is called for each of them under its name, all others by their kind."""

from shared.jobs.jobs import AnyJob, PackRecords, SendMetric, SendRecords, SweepInbox, SweepOutbox
from shared.services import Services
from shared.traffic.rules.counts import METRIC, RECORDS, Row, What, name_shown
from shared.traffic.traffic import Traffic


def count(job: AnyJob, what: What, services: Services) -> None:
    """Count what became of a job; a sweep is not traffic."""
    if (row := row_of(job, what)) is not None:
        Traffic.of(services).count(job.tenant, row)


def row_of(job: AnyJob, what: What) -> Row | None:
    """Return where a job counts, None if it does not."""
    match job:
        case SweepInbox() | SweepOutbox():
            return None
        case SendMetric():
            from shared.metrics.rules.event import metric_name_of

            return Row(METRIC, what, metric=name_shown(metric_name_of(job.event)))
        case SendRecords() | PackRecords():
            # Records are counted one by one where Klaviyo takes them (records/packing.py), not by the jobs that carry them.
            return None if what is What.DELIVERED else Row(RECORDS, what, metric=job.data_source)
        case _:
            return Row(job.kind, what)
