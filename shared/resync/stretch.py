"""The whole base, from Omneo to Klaviyo, in two phases: first every profile is sent in bulk imports. When the imports are over, every consent is
compared, a hundred in a call, and each difference is sent. Klaviyo takes an opt-out only for a profile that it has.

A job does one stretch of one phase and queues the next, so that live jobs have their turns between. The place of a run is noted with
every import and every thousand compared profiles. Work after the last note is done again after a death, which
changes nothing. At the end, profiles that Omneo has changed meanwhile are synced again, because a run sends profiles as they were when it
read them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from typing import Unpack

from shared import logs
from shared.errors import CannotSucceedError, ConflictError, WaitError
from shared.jobs.jobs import Resync
from shared.profiles.backlog import SyncBacklog
from shared.resync.alone import sync_alone
from shared.resync.comparing import Candidate, Deciding, NotSynced
from shared.resync.imports import Ended, Imports
from shared.resync.klaviyo_lookup import KlaviyoLookup
from shared.resync.omneo_list import OmneoList, Page
from shared.resync.rules.packing import Parcel
from shared.resync.rules.place import Place
from shared.resync.rules.run import CLOCKS_DIFFER, Import, State
from shared.resync.run import Changes, Run
from shared.resync.runs import Resyncs
from shared.resync.sending import ConsentSending, counted
from shared.resync.sync_imports import SyncImports
from shared.resync.telling import tell_of_the_end
from shared.services import Services
from shared.tenants.tenants import Tenant

LEASE = timedelta(minutes=5)  # as long as a worker may run
STRETCH = timedelta(seconds=120)
FILLING = timedelta(
    seconds=60
)  # more, to fill an import that was begun: Klaviyo takes few imports, and large ones
THREADS = 16
PAGES_COMPARED = 10  # together: a thousand profiles, as many as one subscribe takes
PAGES_CLOSED = 10  # in one job
MOST_WAITING = 20  # imports; each is asked after every ten seconds: 120 a minute, of Klaviyo's 150
FOLLOW_SECONDS = 10.0
ANOTHER_RUNS_SECONDS = 10.0
BEHIND_SYNCS_SECONDS = 15.0
ALONE = timedelta(
    seconds=20
)  # by then the last sync of a single profile has begun, if the queue is not behind


def resync(job: Resync, tenant: Tenant, services: Services) -> None:
    """Do one stretch of a run, and queue the next. A run that was paused, cancelled or forgotten is left alone.

    Raises:
        CannotSucceedError: the run had failed and cannot go on now, because another one is under way.
        ServiceError, DisconnectedError, OwnServiceError: something is missing; the stretch is done again from where it was noted.
    """
    runs = Resyncs.of(services)
    run = runs.get(tenant.name, job.run_id)
    if run is None or run.chain != job.chain or run.state not in (State.RUNNING, State.FAILED):
        return
    lease = services.leases.acquire(f"resync {tenant.name}", lasting=LEASE)
    if lease is None:
        raise WaitError(
            "another worker works on the run", service="The extension", retry_after=ANOTHER_RUNS_SECONDS
        )
    try:
        delay = _do(job, tenant, services)
    finally:
        services.leases.release(lease)
    run = runs.get(tenant.name, job.run_id)
    if delay is not None and run is not None and run.is_worked_on_by(job.chain):
        services.queue.put(next_job(tenant, run, services, job.traceparent), tenant, delay=delay)


def next_job(tenant: Tenant, run: Run, services: Services, traceparent: str = "") -> Resync:
    """Return the job of a run's next stretch."""
    return Resync(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        run_id=run.id,
        chain=run.chain,
        traceparent=traceparent,
    )


def _do(job: Resync, tenant: Tenant, services: Services) -> float | None:
    """Do one stretch, and return the seconds after which the next may begin, None if the run is not for this job."""
    runs = Resyncs.of(services)
    run = runs.get(tenant.name, job.run_id)
    if run is not None and run.state is State.FAILED and run.chain == job.chain:
        try:
            run = runs.reopen(tenant.name, run, job.chain)  # the job was replayed
        except ConflictError as error:
            raise CannotSucceedError(str(error)) from error
    if run is None or not run.is_worked_on_by(job.chain):
        return None
    with ThreadPoolExecutor(THREADS, initializer=logs.carried()) as threads:
        return _Stretch(run, tenant, services, threads).work()


class _Stretch:
    """As much of a run as one job does."""

    def __init__(self, run: Run, tenant: Tenant, services: Services, threads: Executor) -> None:
        self._run = run
        self._tenant = tenant
        self._services = services
        self._threads = threads
        self._began = self._noted = services.clock()
        self._deciding = Deciding(run.options, run.started_at, tenant, services)
        self._imports = Imports(run, tenant, services)
        self._consents = ConsentSending(run.id, tenant, services, threads)
        self._list = OmneoList(services.omneo(tenant), run.options.since)
        self._lookup = KlaviyoLookup(services.klaviyo(tenant), threads, services.clock, services.sleep)

    def work(self) -> float:
        """Do it, and return the seconds after which the next may begin."""
        self._note()
        if self._run.is_sending and self._are_syncs_waiting():
            return BEHIND_SYNCS_SECONDS  # somebody has just changed; nobody waits for a run
        if self._run.is_sending:
            return self._send()
        if not self._run.compared.is_over:
            return self._compare()
        return self._close()

    def _are_syncs_waiting(self) -> bool:
        """Return whether syncs wait, also for imports of their own: one of those, with older values, must not land after one of the run's."""
        name = self._tenant.name
        is_any = SyncImports.of(self._services).is_any_waited_for(name)
        return is_any or bool(SyncBacklog.of(self._services).first(name, 1))

    def _is_wanted(self) -> bool:
        """Return whether the run was not paused, cancelled or taken over."""
        now = Resyncs.of(self._services).get(self._tenant.name, self._run.id)
        return now is not None and now.is_worked_on_by(self._run.chain)

    def _goes_on(self, lasting: timedelta = STRETCH) -> bool:
        return self._services.clock() - self._began < lasting and self._is_wanted()

    def _note(self, **changes: Unpack[Changes]) -> None:
        now = self._services.clock()
        changes["worked"] = self._run.worked + (now - self._noted)
        self._run = Resyncs.of(self._services).update(self._tenant.name, self._run, **changes)
        self._noted = now

    def _look_at(self, pages: Sequence[Page]) -> list[Candidate | NotSynced]:
        rows = [row for page in pages for row in page.rows]
        return list(self._threads.map(self._deciding.look_at, rows))

    # The first phase: profiles

    def _send(self) -> float:
        self._follow()
        if not self._has_room():
            return FOLLOW_SECONDS
        for parcel in self._parcels():
            if not self._is_wanted():
                break
            self._import(parcel)
            if not self._has_room():
                break
        can_send = self._has_room() and not self._run.sent.is_over
        return FOLLOW_SECONDS if self._run.imports and not can_send else 0.0

    def _has_room(self) -> bool:
        """Whether Klaviyo may be given another import."""
        return len(self._run.imports) < MOST_WAITING

    def _parcels(self) -> Iterator[Parcel]:
        """Yield the profiles that are left to send, as many as an import takes at a time, until the stretch is over."""
        parcel = Parcel(self._run.sent)
        for page in self._list.pages(self._run.sent):
            is_begun = parcel.ends != parcel.begins
            if not self._goes_on(STRETCH + FILLING if is_begun else STRETCH):
                break
            if not self._run.total:
                self._note(total=len(page.rows) + page.left)
            candidates = [one for one in self._look_at([page]) if isinstance(one, Candidate)]
            if not self._imports.pack(candidates, parcel, page.after):
                yield parcel
                parcel = Parcel(parcel.ends)
                self._imports.pack(candidates, parcel, page.after)
        if parcel.ends != parcel.begins:
            yield parcel

    def _import(self, parcel: Parcel) -> None:
        jobs, counts = self._imports.start(parcel, self._lookup, self._run.imports)
        imports, counts = (*self._run.imports, *jobs), self._run.counts + counts
        self._note(sent=parcel.ends, imports=imports, counts=counts)

    def _follow(self) -> None:
        """Read the state of the imports. For each import that has ended, note the profiles that Klaviyo refused. A part that Klaviyo gave
        up is sent again.
        """
        before, counts, sent = self._run.imports, Counter[str](), self._run.sent
        ended = dict(zip(before, self._threads.map(self._end, before), strict=True))
        for one, end in ended.items():
            if end is not None:
                counts += end.counts
                sent = min(sent, one.begins, key=_order) if end.again else sent
        waiting = tuple(one for one in before if ended[one] is None)
        if waiting != before:
            self._note(imports=waiting, sent=sent, counts=self._run.counts + counts)
            for one in set(before) - set(waiting):
                Resyncs.of(self._services).drop_sent(self._tenant.name, self._run.id, one.job)

    def _end(self, waiting: Import) -> Ended | None:
        return self._imports.end(waiting, self._run.counts)

    # The second phase: consents

    def _compare(self) -> float:
        while not self._run.compared.is_over and self._goes_on():
            read_at = self._services.clock()
            self._compare_pages(list(islice(self._list.pages(self._run.compared), PAGES_COMPARED)), read_at)
        return 0.0

    def _compare_pages(self, pages: Sequence[Page], read_at: datetime) -> None:
        profiles = self._look_at(pages)
        candidates = [one for one in profiles if isinstance(one, Candidate)]
        wanted = [self._deciding.wanted(one) for one in candidates]
        known = self._lookup.of(wanted)
        findings = self._deciding.decide(profiles, known, read_at, self._run.counts)
        # Told first: done again after a death in between, there is less left to ask for.
        told = self._tell(findings.told)
        if self._run.options.sends:
            if refused := self._consents.ask(findings.asked):
                told = self._tell(refused)
            sync_alone(findings.one_by_one, self._run.options, self._tenant, self._services)
        if self._run.options.sends_profiles:
            found = [(one, each.find(known)) for one, each in zip(candidates, wanted, strict=True)]
            imported = [(one, profile) for one, profile in found if profile is not None]
            list(self._threads.map(lambda pair: self._imports.remember(*pair), imported))
        read = self._run.read + len(profiles)
        self._note(
            compared=pages[-1].after,
            read=read,
            total=read + pages[-1].left,
            counts=self._run.counts + findings.counts + counted(told),
        )

    def _tell(self, rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
        part = f"compared-{self._run.read:09}"  # the same when it is done again, and never another's
        return Resyncs.of(self._services).tell(self._tenant.name, self._run.id, part, rows)

    # At the end

    def _close(self) -> float:
        """Do the rest of the run when everything is sent and compared; return the seconds until the next job if it is not over."""
        now = self._services.clock()
        if self._run.options.sends:
            if self._run.settles_at is None:
                self._note(settles_at=now + ALONE)
            left = (self._run.settles_at or now) - now
            if left > timedelta():
                return left.total_seconds()
            self._sync_the_changed()
            if not self._run.closed.is_over:
                return 0.0
        self._finish()
        return 0.0

    def _sync_the_changed(self) -> None:
        """Sync some of the profiles that Omneo has changed since the run began: an import may have carried an older state."""
        changed = OmneoList(self._services.omneo(self._tenant), self._run.started_at - CLOCKS_DIFFER)
        for page in islice(changed.pages(self._run.closed), PAGES_CLOSED):
            ids = [str(row["id"]) for row in page.rows]
            sync_alone(ids, self._run.options, self._tenant, self._services)
            self._note(closed=page.after)

    def _finish(self) -> None:
        """End the run: it is done if at least as many profiles were compared as Omneo has that did not change meanwhile."""
        now = self._services.clock()
        there = self._list.count(changed_before=self._run.started_at - CLOCKS_DIFFER)
        if there <= self._run.read:
            self._note(state=State.DONE, finished_at=now)
        else:
            reason = f"Omneo has {there} profiles and {self._run.read} were compared. Order the run again."
            self._note(state=State.FAILED, reason=reason, finished_at=now)
        tell_of_the_end(self._run, self._tenant, self._services)


def _order(place: Place) -> tuple[bool, str]:
    return place.is_over, place.name
