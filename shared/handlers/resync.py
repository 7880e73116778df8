"""The whole base, from Omneo to Klaviyo: read page by page, compared with Klaviyo a hundred profiles a call, sent in bulk.

A job does one stretch and queues the next, so that live jobs have their turns between. How far a run has come is noted whenever an import
is on its way: what dies in between is read and sent again, which changes nothing. When all imports are over, whoever Omneo has changed
meanwhile is synced once more, because an import carries profiles as they were read.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.domain.profile_calls import stored_klaviyo_id
from shared.domain.resyncs import PageWork, Parcel, State
from shared.errors import NotFoundError, WaitError
from shared.handlers.profile_calls import sync_soon
from shared.handlers.resync_page import HeldProfiles, PagePreparation, PreparedPage
from shared.handlers.resync_sending import Sending
from shared.jobs import Resync
from shared.resyncs import Run
from shared.services import Services
from shared.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.bulk import Held
    from shared.omneo.client import ProfilesPage

LEASE = timedelta(minutes=5)  # as long as a worker may run
STRETCH = timedelta(seconds=120)
PAGES_AT_ONCE = 10  # a thousand profiles: as many as one subscribe takes, read in a second or two
READERS = 8
FOLLOWED_AT_ONCE = 20  # every ten seconds: 120 a minute, of Klaviyo's 150
FOLLOW_SECONDS = 10.0
ANOTHER_RUNS_SECONDS = 10.0

Row = Mapping[str, Any]


def resync(job: Resync, tenant: Tenant, services: Services) -> None:
    """Do one stretch of a run, and queue the next. A run that was paused, cancelled or forgotten is left alone.

    Raises:
        ServiceError, DisconnectedError, OwnServiceError: something is missing; the stretch is done again from where it was noted.
    """
    run = services.resyncs.get(tenant.name, job.run_id)
    if run is None or run.state is not State.RUNNING:
        return
    lease = services.leases.acquire(f"resync {tenant.name}", lasting=LEASE)
    if lease is None:
        raise WaitError(
            "another worker is at the run", service="The extension", retry_after=ANOTHER_RUNS_SECONDS
        )
    try:
        run, delay = _Stretch(run, tenant, services).work()
    finally:
        services.leases.release(lease)
    if run.state is State.RUNNING:
        services.queue.put(next_job(tenant, run, services, job.traceparent), tenant, delay=delay)


def next_job(tenant: Tenant, run: Run, services: Services, traceparent: str = "") -> Resync:
    """Return the job of a run's next stretch."""
    return Resync(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        run_id=run.id,
        traceparent=traceparent,
    )


class _Stretch:
    """As much of a run as one job does."""

    def __init__(self, run: Run, tenant: Tenant, services: Services) -> None:
        self._run = run
        self._tenant = tenant
        self._services = services
        self._began = self._noted = services.clock()
        self._total, self._pages = run.total, run.pages
        self._preparation = PagePreparation(run.options, tenant, services)
        self._sending = Sending(run.id, tenant, services)

    def work(self) -> tuple[Run, float]:
        """Return the run as it is after the stretch, and the seconds after which the next may begin."""
        if not self._run.is_read:
            self._read_and_send()
        elif self._run.imports:
            self._follow()
            return self._run, FOLLOW_SECONDS if self._run.imports else 0.0
        elif self._run.options.sends_profiles and self._sync_tail():
            pass
        else:
            self._run = self._services.resyncs.update(
                self._tenant.name, self._run, state=State.DONE, finished_at=self._services.clock()
            )
        return self._run, 0.0

    # Reading, asking for consents, and sending

    def _read_and_send(self) -> None:
        parcel = Parcel()
        with ThreadPoolExecutor(READERS) as readers:
            for page in self._prepared(readers):
                work = PageWork(page.number, tuple(page.resources), page.counts)
                if not parcel.fits(work):
                    self._send(parcel)
                    parcel = Parcel()
                parcel.add(work)
        if parcel.pages:
            self._send(parcel)

    def _prepared(self, readers: Executor) -> Iterator[PreparedPage]:
        """Yield pages made ready, their consents asked for, until the stretch is over or the run is stopped."""
        number = self._run.page
        while self._goes_on():
            listed = self._listed(number, readers)
            if not listed:
                self._pages = number - 1
                return
            held = readers.map(self._held, [page.rows for page in listed])
            pages = [
                self._preparation.page(number + index, page.rows, HeldProfiles(found))
                for index, (page, found) in enumerate(zip(listed, held, strict=True))
            ]
            if self._run.options.sends:
                self._sending.ask(pages, readers)
            for page in pages:
                self._tell(page)
                yield page
            number += len(listed)
            if number > self._pages:
                return

    def _goes_on(self) -> bool:
        """Return whether to read on. A run that was paused or cancelled stops between two groups of pages."""
        if self._services.clock() - self._began >= STRETCH:
            return False
        now = self._services.resyncs.get(self._tenant.name, self._run.id)
        return now is not None and now.state is State.RUNNING

    def _listed(self, number: int, readers: Executor) -> "list[ProfilesPage]":
        """Return Omneo's pages from this one on, as many as are read at once."""
        first = self._page(number)
        self._total, self._pages = first.total, first.pages
        if not first.rows:
            return []
        others = range(number + 1, min(number + PAGES_AT_ONCE, first.pages + 1))
        return [first, *readers.map(self._page, others)]

    def _page(self, number: int) -> "ProfilesPage":
        return self._services.omneo(self._tenant).profiles_page(number, since=self._run.options.since)

    def _held(self, rows: Sequence[Row]) -> "list[Held]":
        """Return what Klaviyo holds of these profiles: one call where their identities are stored."""
        klaviyo = self._services.klaviyo(self._tenant)
        handle = self._tenant.settings.identity_handle
        stored = {id for row in rows if (id := stored_klaviyo_id(row, handle))}
        found = klaviyo.profiles_by("id", stored) if stored else []
        known = {profile.id for profile in found}
        rest = [row for row in rows if stored_klaviyo_id(row, handle) not in known]
        emails = {str(row["email"]) for row in rest if row.get("email")}
        by_email = klaviyo.profiles_by("email", emails) if emails else []
        known_emails = {profile.email.lower() for profile in by_email}
        ids = {str(row["id"]) for row in rest if str(row.get("email") or "").lower() not in known_emails}
        by_external_id = klaviyo.profiles_by("external_id", ids) if ids else []
        return [*found, *by_email, *by_external_id]

    def _tell(self, page: PreparedPage) -> None:
        if page.told:
            part = f"page-{page.number:09}"
            self._services.resyncs.tell(self._tenant.name, self._run.id, part, page.told)

    def _send(self, parcel: Parcel) -> None:
        """Send a parcel, if the run sends profiles, and note how far the run has come."""
        counts, imports = parcel.counts, self._run.imports
        if self._run.options.sends_profiles and parcel.profiles:
            job, refused = self._sending.import_profiles(parcel.resources, parcel.pages[0].number)
            counts.update(refused)
            imports = (*imports, job) if job else imports
        now = self._services.clock()
        self._run = self._services.resyncs.update(
            self._tenant.name,
            self._run,
            page=parcel.pages[-1].number + 1,
            pages=self._pages,
            total=self._total,
            read=self._run.read + counts["read"],
            counts=self._run.counts + counts,
            imports=imports,
            worked=self._run.worked + (now - self._noted),
        )
        self._noted = now

    # After the last page

    def _follow(self) -> None:
        """Ask how some imports stand; of those that are over, note what Klaviyo did not take."""
        klaviyo = self._services.klaviyo(self._tenant)
        counts, over = self._run.counts.copy(), set()
        for id in self._run.imports[:FOLLOWED_AT_ONCE]:
            try:
                job = klaviyo.import_job(id)
            except NotFoundError:
                counts["failed: Klaviyo no longer knows the import"] += 1
                over.add(id)
                continue
            if job.is_over:
                counts["imported"] += job.completed
                counts.update(self._sending.failures(job))
                over.add(id)
        left = self._run.imports[FOLLOWED_AT_ONCE:]
        waiting = [id for id in self._run.imports[:FOLLOWED_AT_ONCE] if id not in over]
        self._run = self._services.resyncs.update(
            self._tenant.name, self._run, imports=(*left, *waiting), counts=counts
        )

    def _sync_tail(self) -> bool:
        """Sync whom Omneo has changed since the run began, some pages a job; return whether there are more."""
        omneo = self._services.omneo(self._tenant)
        for number in range(self._run.tail_page, self._run.tail_page + PAGES_AT_ONCE):
            page = omneo.profiles_page(number, since=self._run.started_at)
            for row in page.rows:
                sync_soon(
                    self._tenant, str(row["id"]), queue=self._services.queue, clock=self._services.clock
                )
            if number >= page.pages:
                return False
        self._run = self._services.resyncs.update(
            self._tenant.name, self._run, tail_page=self._run.tail_page + PAGES_AT_ONCE
        )
        return True
