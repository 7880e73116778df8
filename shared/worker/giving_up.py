"""The end of a job that is given up: it goes to the desk, and what depends on it learns that it has failed."""

from shared.erasure.dead_jobs import cut_the_erased
from shared.errors import ExtensionError
from shared.jobs.burial import bury
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import AnyJob, Heal, Outcome, ReplayDeadJobs, Resync
from shared.jobs.replays import Replays
from shared.notify.telling import tell_of_a_death, tell_of_an_ended_run
from shared.resync.rules.run import State
from shared.resync.runs import Resyncs
from shared.resync.telling import tell_of_the_end
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.worker import outcomes


def give_up(job: AnyJob, tenant: Tenant, reason: str, services: Services, because: ExtensionError) -> Outcome:
    """Put the job on the desk with its reason, and tell everything that waits for its result."""
    tell_of_a_death(job.kind, reason, tenant, services)
    desk = DeadJobStore.of(services)
    bury(job, tenant, reason, because=because, desk=desk, now=services.clock())
    cut_the_erased(job.dead_id or job.id, tenant, services)
    outcomes.has_died(job, tenant, services)
    end_run(job, tenant, reason, services)
    return Outcome.DEAD


def end_run(job: AnyJob, tenant: Tenant, reason: str, services: Services) -> None:
    """Note that a run has failed, if the job was a step of one: nothing else would end the run."""
    if isinstance(job, ReplayDeadJobs):
        runs = Replays.of(services)
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
