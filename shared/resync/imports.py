"""The imports of a run over the whole base: which profiles go into one, what Klaviyo refuses at once, and what came of those it took.

A profile that an import does not take is synced by itself, as after a webhook: that sync knows how to make room for an identifier that
another profile has, and says of each that cannot be helped why.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import NotFoundError, RefusedError
from shared.jobs.jobs import DeleteProfile
from shared.klaviyo.bulk import ImportJob, RefusedRow
from shared.profiles.calls import sync_soon
from shared.profiles.synced import SyncedProfiles
from shared.resync.page import Candidate
from shared.resync.reading import KlaviyoLook
from shared.resync.rules.run import Import, jobs_of
from shared.resync.runs import Resyncs, Run
from shared.resync.sending import blamed
from shared.resync.tail import CLOCKS_DIFFER
from shared.services import Services
from shared.tenants.tenants import Tenant

# More than these of one import are a fault that no live sync mends; they would only stand in the way of live traffic.
MOST_ONE_BY_ONE = 1_000
_TOLD_AT_ONCE = 1_000
GIVEN_UP = "imports given up by Klaviyo"
_MOST_GIVEN_UP = 3

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """What came of an import: the counts, and whether its profiles have to be sent again."""

    counts: Counter[str]
    again: bool = False


@dataclass
class Imports:
    """Imports for one run."""

    run: Run
    tenant: Tenant
    services: Services

    def resources(self, candidates: Sequence[Candidate], look: KlaviyoLook) -> list[Resource]:
        """Return the profiles as an import takes them: with Klaviyo's id, where Omneo holds one that Klaviyo knows.

        An id that our own sync found in this account is known; of others Klaviyo is asked, for they may be another account's.
        """
        held = look.ids(one.plan.klaviyo_id for one in candidates if not self._is_known(one))
        return [
            one.plan.mapped.resource(
                one.plan.klaviyo_id
                if self._is_known(one) or held.of("id", one.plan.klaviyo_id) is not None
                else ""
            )
            for one in candidates
        ]

    def _is_known(self, one: Candidate) -> bool:
        synced = one.synced
        is_here = synced.account == self.tenant.klaviyo_account_id
        return is_here and bool(synced.klaviyo_id) and synced.klaviyo_id == one.plan.klaviyo_id

    def start(self, resources: Sequence[Resource], page: int) -> tuple[list[Import], Counter[str]]:
        """Start the import of some profiles, the first of them from this page of Omneo's; return the jobs, and what is refused at once."""
        counts: Counter[str] = Counter()
        jobs = [job for part in jobs_of(resources) for job in self._start(part, page, counts)]
        return jobs, counts

    def _start(self, rows: list[Resource], page: int, counts: Counter[str]) -> list[Import]:
        klaviyo = self.services.klaviyo(self.tenant)
        while rows:
            try:
                job = klaviyo.import_profiles(rows)
            except RefusedError as error:
                if error.status not in (400, 413):
                    raise
                places = blamed(error, len(rows))
                if not places and len(rows) > 1:
                    middle = len(rows) // 2
                    halves = (rows[:middle], rows[middle:])
                    return [job for half in halves for job in self._start(half, page, counts)]
                rows = self._without(rows, places or {0: ""}, page, counts)
            else:
                counts["profiles sent"] += len(rows)
                ids = (str(row["attributes"].get("external_id") or "") for row in rows)
                Resyncs.of(self.services).keep_sent(self.tenant.name, self.run.id, job, ids)
                return [Import(job, page)]
        return []

    def _without(
        self, rows: list[Resource], places: Mapping[int, str], page: int, counts: Counter[str]
    ) -> list[Resource]:
        """Return the profiles without a phone number that Klaviyo refuses, and without whom it refuses otherwise."""
        kept, told = [], []
        for index, row in enumerate(rows):
            attributes = dict(row["attributes"])
            if index not in places:
                kept.append(row)
            elif places[index] == "phone_number" and attributes.pop("phone_number", None) is not None:
                counts["left out: phone_number refused by Klaviyo"] += 1
                kept.append({**row, "attributes": attributes})
            else:
                what = f"failed: Klaviyo refuses {places[index] or 'the profile'}"
                counts[what] += 1
                told.append({"profile": str(attributes.get("external_id") or ""), "what": what})
        self._tell(f"refused-{page:09}", told)
        return kept

    def end(self, waiting: Import, before: Counter[str]) -> Ended | None:
        """Return what came of an import, None while it is under way. `before` are the run's counts so far."""
        try:
            job = self.services.klaviyo(self.tenant).import_job(waiting.job)
        except NotFoundError:
            self._bury_again(waiting)
            return self._given_up(Counter(), before)
        if not job.is_over:
            return None
        self._bury_again(waiting)
        counts = Counter({"profiles imported": job.completed})
        counts += self._errors(job)
        if job.status != "complete":
            return self._given_up(counts, before)
        return Ended(counts)

    def _bury_again(self, waiting: Import) -> None:
        """Have those seen to once more who were deleted while they were in an import: it may have made them again."""
        profile_ids = Resyncs.of(self.services).sent(self.tenant.name, self.run.id, waiting.job)
        since = self.run.started_at - CLOCKS_DIFFER
        for profile_id, at in SyncedProfiles.of(self.services).buried_of(
            self.tenant.name, profile_ids, since
        ):
            job = DeleteProfile(
                tenant=self.tenant.name, id=self.services.new_id(), accepted_at=at, profile_id=profile_id
            )
            self.services.queue.put(job, self.tenant)

    def _given_up(self, counts: Counter[str], before: Counter[str]) -> Ended:
        counts[GIVEN_UP] += 1
        return Ended(counts, again=before[GIVEN_UP] < _MOST_GIVEN_UP)

    def _errors(self, job: ImportJob) -> Counter[str]:
        """Return, by reason, how many profiles an import did not take; tell which, and have them synced one by one."""
        counts: Counter[str] = Counter()
        if not job.failed:
            return counts
        klaviyo, cursor, number = self.services.klaviyo(self.tenant), "", 0
        while True:
            errors, cursor = klaviyo.import_errors(job.id, cursor)
            told = [self._tell_of(error, counts) for error in errors]
            counts.update(row["what"] for row in told)
            self._tell(f"errors-{job.id}-{number:06}", told)
            if not cursor:
                return counts
            number += 1

    def _tell_of(self, error: RefusedRow, before: Counter[str]) -> dict[str, str]:
        why = " ".join(part for part in (error.code, error.field.rpartition("/")[2]) if part)
        is_helped = bool(error.external_id) and before.total() < MOST_ONE_BY_ONE
        if is_helped:
            self.sync([error.external_id])
        return {
            "profile": error.external_id,
            "what": f"{'synced one by one' if is_helped else 'failed'}: {why}",
        }

    def sync(self, profile_ids: Iterable[str]) -> None:
        """Have profiles synced by themselves."""
        for id in profile_ids:
            sync_soon(
                self.tenant, id, queue=self.services.queue, clock=self.services.clock, leaves_undated=True
            )

    def remember(self, candidate: Candidate, klaviyo_id: str) -> None:
        """Remember what an import has filled, so that a later sync can clear what Omneo has emptied."""
        mapped, account = candidate.plan.mapped, self.tenant.klaviyo_account_id
        known = candidate.synced
        if known.account == account and mapped.filled <= known.filled:
            return
        filled = mapped.filled | (known.filled if known.account == account else frozenset())
        synced = replace(known, account=account, klaviyo_id=klaviyo_id, filled=filled)
        SyncedProfiles.of(self.services).fill(self.tenant.name, candidate.id, synced)

    def _tell(self, part: str, told: Sequence[Mapping[str, str]]) -> None:
        for number in range(0, len(told), _TOLD_AT_ONCE):
            rows = told[number : number + _TOLD_AT_ONCE]
            Resyncs.of(self.services).tell(self.tenant.name, self.run.id, f"{part}-{number:06}", rows)
