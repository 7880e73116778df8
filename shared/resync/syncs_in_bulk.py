"""Waiting syncs go in bulk imports while many of them wait.

A run reads the profiles of a thousand waiting syncs from Omneo, looks at a hundred of them at a time in Klaviyo, and
sends those that are fit (`fit_for_bulk.py`) in one import; each of the others goes alone. It holds each person's turn
from before the read of the profile until the import's call. So no sync can write an older state later, and an erasure
finds either the waiting sync or the note of the import. A person in one import goes into no other.
`sync_import_ends.py` finishes the syncs of an import when it is over.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from shared import logs
from shared.errors import DisconnectedError, RefusedError, RestingError, TokenRejectedError, WaitError
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import ImportSyncs, SweepOutbox
from shared.jobs.rules.patience import seconds_to_wait
from shared.klaviyo.bulk import READ_AT_ONCE
from shared.klaviyo.limits import Endpoint
from shared.profiles.backlog import SyncBacklog, WaitingSync
from shared.profiles.packing import are_many, import_soon, pack_soon
from shared.resync.fit_for_bulk import Apart, Fit, FitForBulk, Read
from shared.resync.many_at_once import ManyAtOnce
from shared.resync.rules.packing import ENVELOPE, MOST_BYTES, size_of
from shared.resync.rules.run import in_parts
from shared.resync.sending import blamed
from shared.resync.sync_import_ends import Dropped, SyncImportEnds
from shared.resync.sync_imports import NoteSize, SyncImport, SyncImports
from shared.services import Services
from shared.storage.leases import Lease
from shared.tenants.tenants import Tenant

MOST_IN_ONE = 1_000
MOST_UNDER_WAY = 10  # imports; a run looks at each every ten seconds: 60 calls a minute, of Klaviyo's 150
MOST_LOOKED_THROUGH = 5_000  # of the backlog, to find those for one import
THREADS = 32  # each mostly waits for the store
WORKS_FOR = timedelta(seconds=90)
# The last moments, after the first turn was taken, to begin another hundred and to begin the import: a turn lasts for
# 90 seconds.
FILLING = timedelta(seconds=40)
HELD_SAFELY = timedelta(seconds=70)
LEASE = timedelta(minutes=2)
FOLLOWED_EVERY = 10.0
_NEEDED = (Endpoint.BULK_IMPORT, Endpoint.READ_PROFILES)
_THROTTLED = 429


def import_syncs(
    job: ImportSyncs,
    services: Services,
    *,
    known: Callable[[], Tenant],
    dropping: Callable[[], Dropped],
) -> None:
    """Follow the imports under way, and begin others while many syncs wait. While there are any, it queues the next
    run.

    `known` returns the tenant as it is now. `dropping` looks up the people who were erased, and returns a function that
    says whether to drop a sync for that reason.

    Raises:
        DisconnectedError: the account is disconnected; waiting syncs keep waiting.
        OwnServiceError: of ours; the queue must deliver again.
    """
    tenant = known()
    lease = services.leases.acquire(f"import-syncs {tenant.name}", lasting=LEASE)
    if lease is None:
        import_soon(tenant, services, traceparent=job.traceparent)
        return
    try:
        with ThreadPoolExecutor(THREADS, initializer=logs.carried()) as threads:
            _Run(job, ManyAtOnce(tenant, services, threads), known, dropping, lease).work()
    finally:
        services.leases.release(lease)


def sweep_imports(job: SweepOutbox, tenant: Tenant, services: Services) -> None:
    """Queue a run if an import is under way: this replaces a run that was lost."""
    if tenant.is_connected and SyncImports.of(services).all(tenant.name):
        import_soon(tenant, services, traceparent=job.traceparent)


@dataclass
class _Filling:
    """The people for one import."""

    fits: list[Fit] = field(default_factory=list)
    is_full: bool = False
    _bytes: int = ENVELOPE
    _note: NoteSize = field(default_factory=NoteSize)

    def take(self, fit: Fit) -> None:
        """Add a person if there is room; otherwise the person keeps waiting."""
        size = self._bytes + size_of(fit.row)
        if self.is_full or size > MOST_BYTES or not self._note.takes(fit.sent):
            self.is_full = True
            return
        self.fits.append(fit)
        self._bytes = size


class _Run:
    """One run."""

    def __init__(
        self,
        job: ImportSyncs,
        many: ManyAtOnce,
        known: Callable[[], Tenant],
        dropping: Callable[[], Dropped],
        lease: Lease,
    ) -> None:
        self._job = job
        self._many = many
        self._tenant = many.tenant
        self._services = many.services
        self._known = known
        self._dropping = dropping
        self._lease = lease
        self._backlog = SyncBacklog.of(many.services)
        self._imports = SyncImports.of(many.services)
        self._sent = 0

    def work(self) -> None:
        """Do the run, and queue the next one."""
        ends = SyncImportEnds(self._many, self._dropping, self._goes_on)
        attempts = 0
        try:
            ends.follow()
            after = self._send()
        except (WaitError, TokenRejectedError) as error:
            logs.write(logging.WARNING, "syncs wait for a bulk import", reason=str(error))
            after, attempts = self._wait_after(error)
        finally:
            logs.note(syncs=self._sent + ends.done)
        if after is not None:
            traceparent = self._job.traceparent
            import_soon(self._tenant, self._services, after=after, attempts=attempts, traceparent=traceparent)

    def _wait_after(self, error: WaitError | TokenRejectedError) -> tuple[float, int]:
        """Return the seconds until the next run, and how many runs have failed by then."""
        if error.service == "Klaviyo" and error.status == _THROTTLED:
            # One endpoint rests, and while it does the next run does not call it. Imports under way are followed all the same.
            return FOLLOWED_EVERY, self._job.attempts
        asked = error.retry_after if isinstance(error, WaitError) else None
        wait = seconds_to_wait(self._job.attempts, asked, self._services.random())
        return max(FOLLOWED_EVERY, wait), self._job.attempts + 1

    def _goes_on(self) -> bool:
        """Return whether this is still the only run."""
        return self._services.leases.renew(self._lease, lasting=LEASE)

    def _send(self) -> float | None:
        """Begin imports.

        Return the seconds until the next run, or None if no import is under way and few syncs wait.
        """
        ends = self._services.clock() + WORKS_FOR
        while are_many(self._tenant, self._services) and self._goes_on():
            if len(self._imports.all(self._tenant.name)) >= MOST_UNDER_WAY or self._rests():
                return FOLLOWED_EVERY
            if self._services.clock() >= ends:
                return 0.0
            if not self._send_some():
                return FOLLOWED_EVERY
        is_any = bool(self._imports.all(self._tenant.name)) or are_many(self._tenant, self._services)
        return FOLLOWED_EVERY if is_any else None

    def _rests(self) -> bool:
        """Return whether Klaviyo takes no import now. Asked before a thousand people are read from Omneo for one."""
        rests, name = self._services.rests, self._tenant.name
        return any(rests.until(name, needed) is not None for needed in _NEEDED)

    def _send_some(self) -> bool:
        """Begin one import; return whether it looked at any sync.

        Raises:
            WaitError, TokenRejectedError, DisconnectedError: no other import can begin now; one with the people who were
            found before may have begun.
        """
        tenant, clock = self._known(), self._services.clock
        if tenant.klaviyo is None or tenant.klaviyo_account_id != self._tenant.klaviyo_account_id:
            return False  # the app was uninstalled, or joined to another account
        self._tenant, self._many = tenant, ManyAtOnce(tenant, self._services, self._many.threads)
        began, filling, count = clock(), _Filling(), 0
        trouble: WaitError | None = None
        with self._many.turns() as take_turns:
            for part in in_parts(self._candidates(), READ_AT_ONCE):
                if filling.is_full or clock() - began > FILLING or not self._goes_on():
                    break
                free = take_turns(part, lambda sync: sync.job.profile_id)
                count += len(free)
                try:
                    self._look(free, filling)
                except WaitError as error:
                    # Those who were found before go all the same: they need not be read again.
                    trouble = error
                    break
            if filling.fits and clock() - began < HELD_SAFELY:
                self._start(filling.fits)
        pack_soon(tenant, self._services, traceparent=self._job.traceparent)
        if trouble is not None:
            raise trouble
        return count > 0

    def _candidates(self) -> Iterator[WaitingSync]:
        """Yield the waiting syncs that may go in bulk, at most as many as one import holds, without people who are in an import.

        Who is in one that nobody waits for goes alone: it may be under way for a day.
        """
        name, under_way = self._tenant.name, self._imports.all(self._tenant.name)
        there = {row.profile_id for one in under_way for row in one.rows}
        let_go = {row.profile_id for one in under_way if one.is_let_go for row in one.rows}
        found, seen, after = 0, 0, None
        while seen < MOST_LOOKED_THROUGH:
            page = self._backlog.first(name, READ_AT_ONCE, alone=False, after=after)
            if not page:
                return
            for sync in page:
                if sync.job.profile_id in let_go:
                    self._set_apart(sync, Apart.ALONE)
                if sync.job.profile_id in there:
                    continue
                yield sync
                found += 1
                if found == MOST_IN_ONE:
                    return
            seen, after = seen + len(page), page[-1].id

    def _look(self, syncs: list[WaitingSync], filling: _Filling) -> None:
        """Add the fit syncs to an import, and let each of the others go alone."""
        is_dropped, name = self._dropping(), self._tenant.name
        dropped = [sync for sync in syncs if is_dropped(sync.job)]
        self._many.each(lambda sync: self._backlog.take_out(name, sync), dropped)
        asked = [sync for sync in syncs if sync not in dropped]
        desk = DeadJobStore.of(self._services)
        deciding = FitForBulk(self._tenant, self._services, desk.is_empty(name))
        read = self._many.each(lambda sync: self._read(sync, deciding), asked)
        troubles = [one for one in read if isinstance(one, WaitError)]
        if troubles and len(troubles) == len(read):
            raise troubles[0]  # Omneo is down; if it only fails for one profile, the others must not wait
        held = self._many.held_under(one.plan.klaviyo_id for one in read if isinstance(one, Read))

        def decided(one: Read | Apart | WaitError) -> Fit | Apart:
            if isinstance(one, Read):
                return deciding.decide(one, held.get(one.plan.klaviyo_id))
            return Apart.ALONE if isinstance(one, WaitError) else one

        found = self._many.each(decided, read)
        pairs = zip(asked, found, strict=True)
        self._many.each(
            lambda pair: self._set_apart(*pair),
            [(sync, fate) for sync, fate in pairs if isinstance(fate, Apart)],
        )
        for fate in found:
            if isinstance(fate, Fit):
                filling.take(fate)

    def _read(self, sync: WaitingSync, deciding: FitForBulk) -> Read | Apart | WaitError:
        try:
            return deciding.read(sync)
        except WaitError as error:
            if isinstance(error, RestingError) or error.status == _THROTTLED:
                raise
            return error

    def _set_apart(self, sync: WaitingSync, how: Apart) -> None:
        name, tenant = self._tenant.name, self._tenant
        if how is Apart.ALONE:
            self._backlog.set_apart(name, sync, sync.job.model_copy(update={"alone": True}))
            return
        self._services.queue.put(sync.job.model_copy(update={"may_wait": False}), tenant)
        self._backlog.take_out(name, sync)

    def _start(self, fits: list[Fit]) -> None:
        """Ask Klaviyo for an import. Once Klaviyo has accepted it, remove its people from the backlog.

        Raises:
            TokenRejectedError, DisconnectedError: the import has certainly not begun.
            WaitError: it may have begun if its note is still there. Another one would hardly fare better now.
        """
        klaviyo, name, now = self._services.klaviyo(self._tenant), self._tenant.name, self._services.clock()
        klaviyo.need_token()  # otherwise a call without an answer would look like a call that was never made
        one = SyncImport(
            id=self._services.new_id(),
            account=self._tenant.klaviyo_account_id,
            rows=tuple(fit.sent for fit in fits),
            read_at=min(fit.read_at for fit in fits),
            begun_at=now,
            moved_at=now,
        )
        self._imports.begin(name, one)
        try:
            job = klaviyo.import_profiles([fit.row for fit in fits])
        except (DisconnectedError, TokenRejectedError):
            self._imports.end(name, one.id)  # no call was made, or Klaviyo did not accept our token
            raise
        except RefusedError as error:
            self._imports.end(name, one.id)
            self._refused(fits, error)
            return
        except WaitError as error:
            if isinstance(error, RestingError) or error.status == _THROTTLED:
                self._imports.end(name, one.id)
                raise
            logs.write(logging.WARNING, "a bulk import may be lost", reason=str(error), syncs=len(fits))
            raise  # the next run finds the note, and finishes its syncs
        self._imports.note_job(name, one.id, job)
        self._many.each(lambda fit: self._backlog.take_out(name, fit.sync), fits)
        self._sent += len(fits)

    def _refused(self, fits: list[Fit], error: RefusedError) -> None:
        """Let the profiles that Klaviyo's refusal names go alone, or all of them if it names none."""
        logs.write(logging.WARNING, "a bulk import was refused", reason=str(error), syncs=len(fits))
        places = blamed(error, len(fits)) or range(len(fits))
        self._many.each(lambda place: self._set_apart(fits[place].sync, Apart.ALONE), places)
