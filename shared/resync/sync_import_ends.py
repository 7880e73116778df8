"""The end of a bulk import of waiting syncs: what happens to its people once the import is over, or too slow to wait
for.

An import is carried out minutes after its people were read, and by then its values may be old. A profile is synced
alone, with Omneo's present values, if it was synced meanwhile, was refused, or no longer has the same Klaviyo id. Only
the syncs of the other profiles are done. If Klaviyo cannot show an import, it may still be carried out. Its people are
synced at once, and once more when the import can no longer be under way.

An import of which Klaviyo or Omneo cannot tell holds up no other one, and its own people for a quarter of an hour only.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared import logs
from shared.errors import NotFoundError, RefusedError, TokenRejectedError, WaitError
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import DeleteProfile, SyncProfile
from shared.jobs.rules.windows import LENGTH
from shared.klaviyo.bulk import READ_AT_ONCE, ImportJob
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.backlog import SyncBacklog
from shared.profiles.calls import sync_id
from shared.profiles.packing import pack_soon
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.turn import turn_at
from shared.receipts import Fate, Receipt, Receipts
from shared.resync.many_at_once import ManyAtOnce
from shared.resync.rules.run import in_parts
from shared.resync.sync_imports import Sent, SyncImport, SyncImports, mark_of
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import Traffic
from shared.values.omneo_ids import read_omneo_id

# The wait for an import without progress; and the time in which an import that Klaviyo does not show may still be
# carried out.
PATIENCE = timedelta(minutes=15)
FOLLOWED_FOR = timedelta(days=1)
_KIND = "sync-profile"
_ANSWERED = "Klaviyo answered 202"

Dropped = Callable[[SyncProfile], bool]


@dataclass
class SyncImportEnds:
    """For one tenant. `goes_on` returns whether this process may go on; for `dropping` see `syncs_in_bulk.py`."""

    many: ManyAtOnce
    dropping: Callable[[], Dropped]
    goes_on: Callable[[], bool]
    done: int = 0
    _is_desk_empty: bool = False

    def follow(self) -> None:
        """Look at every import under way, and finish the syncs of those that are over.

        Raises:
            WaitError, TokenRejectedError: some import could not be looked at, or not everybody in it; its people still wait.
            DisconnectedError: none can be looked at.
        """
        troubles = list[WaitError | TokenRejectedError]()
        for one in self._imports.all(self._tenant.name):
            if not self.goes_on():
                return
            if one.account != self._tenant.klaviyo_account_id:  # the tenant has left this account
                self._sync_alone(one)
                self._imports.end(self._tenant.name, one.id)
                continue
            try:
                self._follow(one)
            except (WaitError, TokenRejectedError) as error:
                if self._still_waits(one, error):
                    troubles.append(error)
        if troubles:
            raise troubles[0]

    def _still_waits(self, one: SyncImport, trouble: WaitError | TokenRejectedError) -> bool:
        """Let the people of an import go that cannot be looked at, once that has lasted; return whether they still wait for it."""
        name, now = self._tenant.name, self._services.clock()
        if now - one.begun_at >= FOLLOWED_FOR:
            logs.write(logging.WARNING, "a bulk import is given up", reason=str(trouble))
            self._sync_alone(one)
            self._imports.end(name, one.id)
        elif not one.is_let_go and now - one.moved_at >= PATIENCE:
            logs.write(logging.WARNING, "a bulk import is not waited for", reason=str(trouble))
            self._sync_alone(one)
            self._imports.let_go(name, one.id)
        elif not one.is_let_go:
            return True
        return False

    def _follow(self, one: SyncImport) -> None:
        job = self._job_of(one)
        if job is not None and job.is_over:
            self._settle(one, self._refused(one, job))
            return
        name, now = self._tenant.name, self._services.clock()
        progress = "" if job is None else f"{job.status} {job.completed} {job.failed}"
        if progress and progress != one.progress:
            self._imports.note_progress(name, one.id, progress)
        elif not one.is_let_go and (not one.job or now - one.moved_at >= PATIENCE):
            logs.write(logging.WARNING, "a bulk import is not waited for", reason=progress or "unknown")
            self._sync_alone(one)
            self._imports.let_go(name, one.id)
        if now - one.begun_at >= (PATIENCE if job is None else FOLLOWED_FOR):
            # If it was carried out, it has filled values that a sync meanwhile did not know.
            self._settle(one, {row.klaviyo_id for row in one.rows})

    def _job_of(self, one: SyncImport) -> ImportJob | None:
        """Return the state of Klaviyo's job, None if Klaviyo does not show it."""
        try:
            return self._services.klaviyo(self._tenant).import_job(one.job) if one.job else None
        except NotFoundError:
            return None
        except RefusedError as error:
            logs.write(logging.WARNING, "Klaviyo refuses to show an import", reason=str(error))
            return None

    def _settle(self, one: SyncImport, refused: Collection[str]) -> None:
        """Finish the syncs of an import that is over.

        If another job holds a person's turn, the next run finishes that sync.
        """
        name, troubles = self._tenant.name, list[WaitError]()
        for part in in_parts(one.rows, READ_AT_ONCE):
            if not self.goes_on():
                return
            try:
                done = self._end_all(part, one, refused, troubles)
            except WaitError as error:
                troubles.append(error)
                continue
            Traffic.of(self._services).count(name, Row(_KIND, What.DELIVERED), done)
            self.done += done
        pack_soon(self._tenant, self._services)
        if troubles:
            raise troubles[0]

    def _end_all(
        self, part: list[Sent], one: SyncImport, refused: Collection[str], troubles: list[WaitError]
    ) -> int:
        """Finish the syncs of people whose turns are free; return the number of syncs that are done.

        Those about whom Klaviyo cannot tell now stay in the import, and it is added to the troubles.
        """
        with self.many.turns() as take_turns:
            free = take_turns(part, lambda row: row.profile_id)
            is_erased = self._erased_since(one)
            rows = [row for row in free if not is_erased(row.profile_id)]
            self._is_desk_empty = self._desk.is_empty(self._tenant.name)
            held = self.many.held_under(row.klaviyo_id for row in rows)

            # Else nobody knows who was refused, and everybody counts as refused.
            is_known = len(refused) < len(one.rows)
            turns = {row.profile_id.casefold() for row in free}

            def end(row: Sent) -> bool:
                return self._end(row, one, is_again=row.klaviyo_id in refused)

            def end_strangely(row: Sent, whose: KlaviyoProfile | WaitError | None) -> bool | WaitError:
                if isinstance(whose, WaitError):
                    return whose
                is_written = not (is_known and row.klaviyo_id in refused)
                try:
                    self._sync_whose_it_is(row, one, whose, turns, is_written=is_written)
                except WaitError as error:
                    return error
                return self._end(row, one, is_again=True)

            theirs = [row for row in rows if _is_theirs(row, held.get(row.klaviyo_id))]
            others = [row for row in rows if row not in theirs]
            ends: list[bool | WaitError] = [*self.many.each(end, theirs)]
            found = self.many.each(lambda row: self._whose(row, held.get(row.klaviyo_id)), others)
            # One after the other, and last: what this notes about somebody must not be lost.
            ends += map(end_strangely, others, found)
            pairs = zip([*theirs, *others], ends, strict=True)
            left = {row.profile_id for row, ended in pairs if isinstance(ended, WaitError)}
            self._imports.settle(self._tenant.name, one.id, {row.profile_id for row in free} - left)
        troubles += [ended for ended in ends if isinstance(ended, WaitError)]
        return sum(ended is True for ended in ends)

    def _refused(self, one: SyncImport, job: ImportJob) -> Collection[str]:
        """Return the Klaviyo ids of the people whom an import has refused.

        Return all ids if that is not known, or if nobody has waited for the import.
        """
        everybody = {row.klaviyo_id for row in one.rows}
        if job.status != "complete" or one.is_let_go or job.completed + job.failed < len(one.rows):
            return everybody
        if not job.failed:
            return ()
        try:
            refused = {*self._errors_of(job)}
        except RefusedError as error:
            logs.write(logging.WARNING, "Klaviyo refuses to show an import", reason=str(error))
            return everybody
        is_told = refused <= everybody and len(refused) >= job.failed
        return refused if is_told else everybody

    def _errors_of(self, job: ImportJob) -> Iterator[str]:
        cursor = ""
        for _ in range(job.failed):  # each page but the last has an error
            errors, cursor = self._services.klaviyo(self._tenant).import_errors(job.id, cursor)
            yield from (error.klaviyo_id for error in errors)
            if not cursor:
                return

    def _end(self, row: Sent, one: SyncImport, *, is_again: bool) -> bool:
        """Finish the sync of one person, whose turn is held; return whether it is done.

        `is_again` says that the import did not surely write the person.
        """
        store, name = SyncedProfiles.of(self._services), self._tenant.name
        synced = store.find(name, row.profile_id)
        if synced.deleted_at is not None:
            self._delete_again(row, synced)
            return False
        if is_again or mark_of(synced) != row.mark or self._is_on_the_desk(row):
            is_there = (synced.account, synced.klaviyo_id) == (one.account, row.klaviyo_id)
            # A sync meanwhile did not know the values that the import fills, and could not clear them.
            if is_there and not row.filled <= synced.filled:
                store.fill(name, row.profile_id, replace(synced, filled=synced.filled | row.filled))
            self._sync(row.profile_id, leaves_undated=row.leaves_undated)
            return False
        read_at = max(filter(None, (synced.read_at, one.read_at)))
        filled, now = synced.filled | row.filled, self._services.clock()
        store.keep(name, row.profile_id, replace(synced, filled=filled, read_at=read_at, written_at=now))
        self._tell_of(row)
        return True

    def _delete_again(self, row: Sent, synced: SyncedProfile) -> None:
        """Delete a person again, because the import may have written them after the deletion."""
        services, at = self._services, synced.deleted_at or self._services.clock()
        again = DeleteProfile(
            tenant=self._tenant.name, id=services.new_id(), accepted_at=at, profile_id=row.profile_id
        )
        services.queue.put(again, self._tenant)

    def _whose(self, row: Sent, held: KlaviyoProfile | None) -> KlaviyoProfile | WaitError | None:
        """Return the Klaviyo profile that the import may have written, because the person's was merged or taken over."""
        try:
            return held or self._services.klaviyo(self._tenant).profile(row.klaviyo_id)
        except WaitError as error:
            return error
        except RefusedError as error:
            logs.write(logging.WARNING, "Klaviyo refuses to show a profile", reason=str(error))
            return None

    def _sync_whose_it_is(
        self,
        row: Sent,
        one: SyncImport,
        found: KlaviyoProfile | None,
        turns: Collection[str],
        *,
        is_written: bool,
    ) -> None:
        """Sync the person whose Klaviyo profile the import may have written instead.

        `turns` are the people whose turns this run holds. `is_written` is False if the import has surely not written the profile.

        Raises:
            WaitError: another job holds that person's turn.
        """
        holder = read_omneo_id(found.external_id) if found is not None else ""
        if found is not None and holder and holder != row.profile_id.casefold():
            if is_written:
                with nullcontext() if holder in turns else turn_at(holder, self._tenant, self._services):
                    self._note_filled_for(holder, found.id, row)
            self._sync(holder)
            self._forget_the_erased([holder], one)

    def _note_filled_for(self, holder: str, klaviyo_id: str, row: Sent) -> None:
        """Note that a person's Klaviyo profile may hold another's values: then the sync clears those that the person has not in Omneo."""
        store, name, account = (
            SyncedProfiles.of(self._services),
            self._tenant.name,
            self._tenant.klaviyo_account_id,
        )
        known = store.find(name, holder)
        if known.deleted_at is not None:
            return
        ours = known if known.account == account else SyncedProfile(account, klaviyo_id)
        store.fill(name, holder, replace(ours, filled=ours.filled | row.filled))

    def _is_on_the_desk(self, row: Sent) -> bool:
        name = self._tenant.name
        return not self._is_desk_empty and self._desk.has(name, sync_id(name, row.profile_id))

    def _tell_of(self, row: Sent) -> None:
        """Keep the receipt that the sync is done, unless another sync of the profile waits: it has the same id."""
        if SyncBacklog.of(self._services).waits(self._tenant.name, row.profile_id):
            return
        id, now = sync_id(self._tenant.name, row.profile_id), self._services.clock()
        receipt = Receipt(id, _KIND, Fate.DONE, now, attempts=1, answered=_ANSWERED)
        Receipts.of(self._services).is_done(self._tenant, receipt, {"omneo_id": row.profile_id})

    # Those who are synced alone

    def _sync_alone(self, one: SyncImport) -> None:
        """Sync everybody in an import alone."""
        self.many.each(lambda row: self._sync(row.profile_id, leaves_undated=row.leaves_undated), one.rows)
        self._forget_the_erased([row.profile_id for row in one.rows], one)
        pack_soon(self._tenant, self._services)

    def _forget_the_erased(self, profile_ids: Collection[str], one: SyncImport) -> None:
        """Remove the waiting syncs of people who were erased after the import's read.

        No turn is held here, so the erasure may have come first.
        """
        is_erased = self._erased_since(one)
        for profile_id in filter(is_erased, profile_ids):
            SyncBacklog.of(self._services).forget_profile(self._tenant.name, profile_id)

    def _sync(self, profile_id: str, *, leaves_undated: bool = False) -> None:
        """Put a sync that goes alone into the backlog: the packer gives it back to the queue."""
        now = self._services.clock()
        # `until` lies ahead, so that no earlier sync counts as this one, even if the clock of its machine is wrong.
        job = self._sync_of(profile_id, now + LENGTH, leaves_undated=leaves_undated)
        SyncBacklog.of(self._services).add(self._tenant.name, job)

    def _sync_of(self, profile_id: str, until: datetime, *, leaves_undated: bool = False) -> SyncProfile:
        name = self._tenant.name
        return SyncProfile(
            tenant=name,
            id=sync_id(name, profile_id),
            accepted_at=self._services.clock(),
            profile_id=profile_id,
            until=until,
            leaves_undated=leaves_undated,
            has_waited=True,
            alone=True,
        )

    def _erased_since(self, one: SyncImport) -> Callable[[str], bool]:
        """Return a function that says whether a person was erased after the import's read."""
        is_dropped = self.dropping()
        return lambda profile_id: is_dropped(self._sync_of(profile_id, one.read_at))

    @property
    def _desk(self) -> DeadJobStore:
        return DeadJobStore.of(self._services)

    @property
    def _tenant(self) -> Tenant:
        return self.many.tenant

    @property
    def _services(self) -> Services:
        return self.many.services

    @property
    def _imports(self) -> SyncImports:
        return SyncImports.of(self._services)


def _is_theirs(row: Sent, held: KlaviyoProfile | None) -> bool:
    """Return whether the Klaviyo profile that an import was to write is still the person's."""
    return held is not None and held.external_id.casefold() == row.profile_id.casefold()
