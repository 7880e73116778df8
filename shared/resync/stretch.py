"""The whole base, from Omneo to Klaviyo: profiles by import, then, when an import is over, their consents, compared a hundred a call.

A job does one stretch and queues the next, so that live jobs have their turns between. Two places in Omneo's list are kept: up to which
profiles were sent, and, behind it, up to which consents were compared; an opt-out can only be given of a profile that Klaviyo has. How far a
run has come is noted with every import and every thousand profiles compared: what dies in between is done again, which changes nothing.
At the end whoever Omneo has changed or deleted meanwhile is seen to once more, because a run goes by profiles as they were read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Unpack

from shared import logs
from shared.consent.rules.comparison import Outcome
from shared.errors import WaitError
from shared.jobs.jobs import Resync
from shared.resync.imports import Ended, Imports
from shared.resync.page import Candidate, Deciding
from shared.resync.reading import KlaviyoLook, ListedPage, OmneoList
from shared.resync.rules.run import Cursor, Import, PageWork, Parcel, State
from shared.resync.runs import Changes, Resyncs, Run
from shared.resync.sending import ConsentSending, counted
from shared.resync.tail import see_to_the_tail
from shared.services import Services
from shared.tenants.tenants import Tenant

LEASE = timedelta(minutes=5)  # as long as a worker may run
STRETCH = timedelta(seconds=120)
THREADS = 16
MOST_WAITING = 20  # imports; each is asked after every ten seconds: 120 a minute, of Klaviyo's 150
FOLLOW_SECONDS = 10.0
ANOTHER_RUNS_SECONDS = 10.0
# Who unsubscribes in Klaviyo after their consent was read, and before we subscribe them, is subscribed; Klaviyo tells of it within
# minutes, Omneo learns of it, and the sync at the end then takes the subscription back.
SETTLING = timedelta(minutes=5)


def resync(job: Resync, tenant: Tenant, services: Services) -> None:
    """Do one stretch of a run, and queue the next. A run that was paused, cancelled or forgotten is left alone.

    Raises:
        ServiceError, DisconnectedError, OwnServiceError: something is missing; the stretch is done again from where it was noted.
    """
    if not _is_mine(Resyncs.of(services).get(tenant.name, job.run_id), job):
        return
    lease = services.leases.acquire(f"resync {tenant.name}", lasting=LEASE)
    if lease is None:
        raise WaitError(
            "another worker is at the run", service="The extension", retry_after=ANOTHER_RUNS_SECONDS
        )
    try:
        run = Resyncs.of(services).get(tenant.name, job.run_id)
        if run is None or not _is_mine(run, job):
            return
        with ThreadPoolExecutor(THREADS, initializer=logs.carried()) as threads:
            delay = _Stretch(run, tenant, services, threads).work()
    finally:
        services.leases.release(lease)
    run = Resyncs.of(services).get(tenant.name, job.run_id)
    if run is not None and _is_mine(run, job):
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


def _is_mine(run: Run | None, job: Resync) -> bool:
    return run is not None and run.state is State.RUNNING and run.chain == job.chain


class _Stretch:
    """As much of a run as one job does."""

    def __init__(self, run: Run, tenant: Tenant, services: Services, threads: Executor) -> None:
        self._run = run
        self._tenant = tenant
        self._services = services
        self._threads = threads
        self._began = self._noted = services.clock()
        self._deciding = Deciding(run.options, tenant, services)
        self._imports = Imports(run, tenant, services)
        self._consents = ConsentSending(run.id, tenant, services, threads)
        self._list = OmneoList(services.omneo(tenant), run.options.since, threads, run.total)
        self._look = KlaviyoLook(services.klaviyo(tenant), threads, services.clock, services.sleep)
        self._read: list[PageWork] = []  # for the next parcel
        self._followed_at: datetime | None = None

    def work(self) -> float:
        """Do it, and return the seconds after which the next may begin."""
        while self._goes_on():
            before = (self._run.sent, self._run.compared)
            self._follow()
            self._send()
            self._compare()
            if self._is_through():
                return self._finish()
            if (self._run.sent, self._run.compared) == before:
                return FOLLOW_SECONDS  # nothing is left but to wait for Klaviyo
        return 0.0

    def _is_through(self) -> bool:
        run = self._run
        return (
            run.compared.is_over and not run.imports and (run.sent.is_over or not run.options.sends_profiles)
        )

    def _goes_on(self) -> bool:
        """Return whether to go on. A run that was paused or cancelled, or taken over, stops between two groups of pages."""
        return self._services.clock() - self._began < STRETCH and self._is_wanted()

    def _is_wanted(self) -> bool:
        now = Resyncs.of(self._services).get(self._tenant.name, self._run.id)
        return now is not None and now.state is State.RUNNING and now.chain == self._run.chain

    def _note(self, **changes: Unpack[Changes]) -> None:
        now = self._services.clock()
        changes["worked"] = self._run.worked + (now - self._noted)
        self._run = Resyncs.of(self._services).update(self._tenant.name, self._run, **changes)
        self._noted = now

    # Profiles

    def _send(self) -> None:
        """Send a parcel. One that the stretch is too short to fill is read again, unless there is nothing else to do."""
        run = self._run
        if not run.options.sends_profiles or run.sent.is_over or len(run.imports) >= MOST_WAITING:
            return
        parcel, is_full = Parcel(), False
        while not is_full and (self._read or self._read_pages(parcel)):
            is_full = not parcel.fits(self._read[0])
            if not is_full:
                parcel.add(self._read.pop(0))
        is_last = bool(parcel.pages) and (parcel.pages[-1].after.is_over or not run.imports)
        if is_full or (is_last and self._is_wanted()):
            self._import(parcel)

    def _read_pages(self, parcel: Parcel) -> bool:
        """Read the pages that come after those in the parcel; return whether there are any."""
        place = parcel.pages[-1].after if parcel.pages else self._run.sent
        if place.is_over or not self._goes_on():
            return False
        for page, looked in self._planned(self._list.after(place)):
            candidates = [one for one in looked if isinstance(one, Candidate)]
            resources = self._imports.resources(candidates, self._look)
            self._read.append(PageWork(page.number, page.after, tuple(resources)))
        return True

    def _import(self, parcel: Parcel) -> None:
        jobs, counts = self._imports.start(parcel.resources, parcel.pages[0].number)
        self._note(
            sent=parcel.pages[-1].after,
            imports=(*self._run.imports, *jobs),
            counts=self._run.counts + counts,
            total=self._list.total,
        )

    def _follow(self) -> None:
        """Ask how the imports stand; of those that are over, note what Klaviyo did not take. What it gave up is sent again."""
        now = self._services.clock()
        if self._followed_at is not None and now - self._followed_at < timedelta(seconds=FOLLOW_SECONDS):
            return
        self._followed_at = now
        counts, waiting, sent = Counter[str](), [], self._run.sent
        for one, ended in zip(
            self._run.imports, self._threads.map(self._end, self._run.imports), strict=True
        ):
            if ended is None:
                waiting.append(one)
                continue
            counts += ended.counts
            if ended.again and (one.page < sent.page or sent.is_over):
                sent = Cursor(one.page)
                self._read.clear()
        if len(waiting) < len(self._run.imports):
            over = set(self._run.imports) - set(waiting)
            self._note(imports=tuple(waiting), sent=sent, counts=self._run.counts + counts)
            for one in over:
                Resyncs.of(self._services).drop_sent(self._tenant.name, self._run.id, one.job)

    def _end(self, waiting: Import) -> Ended | None:
        return self._imports.end(waiting, self._run.counts)

    # Consents

    def _compare(self) -> None:
        while not self._run.compared.is_over and self._goes_on():
            ready = self._run.ready_page
            if ready is not None and self._run.compared.page >= ready:
                return
            self._compare_group(ready)

    def _compare_group(self, before: int | None) -> None:
        read_at = self._services.clock()
        pages = self._planned(self._list.after(self._run.compared, before=before))
        rows = [row for page, _ in pages for row in page.rows]
        looked = [one for _, each in pages for one in each]
        candidates = [one for one in looked if isinstance(one, Candidate)]
        wanted = [self._deciding.wanted(one) for one in candidates]
        held = self._look.at(wanted)
        findings = self._deciding.decide(looked, rows, held, read_at)
        # Told first: done again after a death in between, there is less left to ask for.
        told = self._tell(findings.told)
        if self._run.options.sends:
            if refused := self._consents.ask(findings.asked):
                told = self._tell(refused)
            self._imports.sync(findings.one_by_one)
        if self._run.options.sends_profiles:
            found = [(one, each.find(held)) for one, each in zip(candidates, wanted, strict=True)]
            known = [(one, profile.id) for one, profile in found if profile is not None]
            list(self._threads.map(lambda pair: self._imports.remember(*pair), known))
        self._note(
            compared=pages[-1][0].after,
            read=self._run.read + findings.counts.pop("read", 0),
            counts=self._run.counts + findings.counts + counted(told),
            total=self._list.total,
        )

    def _tell(self, rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
        part = f"compared-{self._run.read:09}"  # the same when it is done again, and never another's
        return Resyncs.of(self._services).tell(self._tenant.name, self._run.id, part, rows)

    def _planned(self, pages: Sequence[ListedPage]) -> list[tuple[ListedPage, list[Candidate | str]]]:
        rows = [row for page in pages for row in page.rows]
        looked = iter(list(self._threads.map(self._deciding.candidate, rows)))
        return [(page, [next(looked) for _ in page.rows]) for page in pages]

    # At the end

    def _finish(self) -> float:
        """Do what is left when everything was sent; return the seconds after which to go on, if it is not over."""
        now, run = self._services.clock(), self._run
        if run.options.sends:
            if run.settles_at is None:
                has_subscribed = any(f": {Outcome.SUBSCRIBE}" in what for what in run.counts)
                self._note(settles_at=now + (SETTLING if has_subscribed else timedelta()))
            left = (self._run.settles_at or now) - now
            if left > timedelta():
                return left.total_seconds()
            following = see_to_the_tail(run, self._tenant, self._services)
            if following is not None:
                self._note(tail_page=following)
                return 0.0
        self._note(state=State.DONE, finished_at=now)
        return 0.0
