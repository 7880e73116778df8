"""The bulk imports of a run over the whole base: their content, the profiles that Klaviyo refuses at once, and their results.

A profile that an import rejects is synced alone, as after a webhook: that sync can leave out an identifier that another profile has, and
reports why a profile cannot be synced. A profile whose email or phone number changes is synced alone too: that sync hands the opt-outs of
the address to its new owner, and waits for the consents that Klaviyo is carrying out. A profile that would write another person's Klaviyo profile is not
sent (`persons.py`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from shared.consent.ledger import ensure_ledger_key
from shared.consent.rules.decisions import read_stamp
from shared.errors import NotFoundError, RefusedError
from shared.jobs.jobs import DeleteProfile
from shared.klaviyo.bulk import ImportJob, RefusedRow
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.rules.owners import IDENTIFIERS
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.waiting import hashes
from shared.resync.alone import sync_alone
from shared.resync.comparing import Candidate
from shared.resync.klaviyo_lookup import KlaviyoLookup, KnownProfiles
from shared.resync.persons import ADDRESSES, claims_of, value_of, without_others
from shared.resync.rules.packing import Parcel, jobs_of, without_clearing
from shared.resync.rules.persons import is_anothers
from shared.resync.rules.place import Place
from shared.resync.rules.run import CLOCKS_DIFFER, Import
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from shared.resync.sending import blamed
from shared.services import Services
from shared.tenants.tenants import Tenant

# More than these of one import are a fault that no live sync mends; they would only stand in the way of live traffic.
MOST_ONE_BY_ONE = 1_000
MOVES = "synced one by one: their email or phone number changes"
_TOLD_AT_ONCE = 1_000
GIVEN_UP = "imports given up by Klaviyo"
_MOST_GIVEN_UP = 3

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """The result of an import: the counts, and whether its profiles have to be sent again."""

    counts: Counter[str]
    again: bool = False


@dataclass
class Imports:
    """Imports for one run."""

    run: Run
    tenant: Tenant
    services: Services

    def start(
        self, parcel: Parcel, lookup: KlaviyoLookup, waiting: Iterable[Import]
    ) -> tuple[list[Import], Counter[str]]:
        """Start the import of a parcel beside those under way; return Klaviyo's jobs, and the profiles that are not
        imported.

        Raises:
            ServiceError, OwnServiceError: not now; a repeat is harmless.
        """
        counts: Counter[str] = Counter()
        # An id that Klaviyo does not know may be another account's.
        known = lookup.ids(parcel.unsure)
        unknown = {id for id in parcel.unsure if known.of("id", id) is None}
        alone = self._left_alone(parcel, known)
        if alone:
            counts[MOVES] += len(alone)
            sync_alone(alone, self.run.options, self.tenant, self.services)
        sent = [row for row in parcel.resources if value_of(row, "external_id") not in alone]
        rows = [_without_id(row) if row.get("id") in unknown else row for row in sent]
        tenant = self._with_ledger_key
        addresses = {address for row in rows for address in claims_of(row, tenant)}
        jobs_under_way = (one.job for one in waiting)
        claims = Resyncs.of(self.services).claims(self.tenant.name, self.run.id, jobs_under_way, addresses)
        rows, left_out = without_others(rows, known, claims, parcel.changed, lookup=lookup, tenant=tenant)
        counts += left_out
        jobs = [job for part in jobs_of(rows) for job in self._start(part, parcel.begins, counts)]
        return jobs, counts

    def pack(self, candidates: Iterable[Candidate], parcel: Parcel, ends: Place) -> bool:
        """Put the profiles of a page, which ends there, into the parcel, each with its Klaviyo id if that is known; return whether they fit."""
        rows, unsure, changed, alone = [], set(), set(), []
        for one in candidates:
            found = self._found(one)
            if found and self._moves(one):
                alone.append(one.id)
            if found and not one.synced.left:
                unsure.add(found)
            rows.append(without_clearing(one.plan.mapped.resource(one.plan.klaviyo_id or found)))
            if one.plan.klaviyo_id not in ("", found):
                unsure.add(one.plan.klaviyo_id)
            changed_at = read_stamp(one.row.get("updated_at"))
            if changed_at is None or changed_at > self.tenant.created_at - CLOCKS_DIFFER:
                changed.add(one.id)
        return parcel.add(rows, ends, unsure, changed, alone)

    def _left_alone(self, parcel: Parcel, known: KnownProfiles) -> dict[str, None]:
        """Return the profiles whose email or phone number an import would change, at most as many as may be synced alone."""
        moved = [value_of(row, "external_id") for row in parcel.resources if _has_another_address(row, known)]
        return dict.fromkeys([*dict.fromkeys([*parcel.alone, *moved])][:MOST_ONE_BY_ONE])

    def _moves(self, one: Candidate) -> bool:
        """Return whether Omneo has another email or phone number of the profile than Klaviyo had after the last sync."""
        left = one.synced.left
        wanted = {name: one.attribute(name) for name in ADDRESSES if left.get(name)}
        # Whether an address moves is asked only where one is known.
        now = hashes(self._with_ledger_key, wanted) if wanted else {}
        return any(left[name] != hash for name, hash in now.items())

    @cached_property
    def _with_ledger_key(self) -> Tenant:
        if self.tenant.ledger_key is not None:
            return self.tenant
        return ensure_ledger_key(self.services.tenants, self.tenant.name)

    def _found(self, one: Candidate) -> str:
        """Return the Klaviyo id that a sync or a run of ours has found in this account, "" if none has."""
        return one.synced.klaviyo_id if one.synced.account == self.tenant.klaviyo_account_id else ""

    def _start(self, rows: list[Resource], begins: Place, counts: Counter[str]) -> list[Import]:
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
                    return [job for half in halves for job in self._start(half, begins, counts)]
                rows = self._without(rows, places or {0: ""}, begins, counts)
            else:
                counts["profiles sent"] += len(rows)
                ids = [value_of(row, "external_id") for row in rows]
                claims = (claims_of(row, self._with_ledger_key) for row in rows)
                Resyncs.of(self.services).keep_sent(self.tenant.name, self.run.id, job, ids, claims)
                return [Import(job, begins)]
        return []

    def _without(
        self, rows: list[Resource], places: Mapping[int, str], begins: Place, counts: Counter[str]
    ) -> list[Resource]:
        """Return the profiles without the phone numbers that Klaviyo refuses, and without the profiles that it refuses for other reasons."""
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
        self._tell(f"refused-{begins.name}", told)
        return kept

    def end(self, waiting: Import, before: Counter[str]) -> Ended | None:
        """Return the result of an import, None while it is under way. `before` are the run's counts so far."""
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
        """Queue the deletion again for profiles that were deleted while they were in an import: it may have made them again."""
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
            sync_alone([error.external_id], self.run.options, self.tenant, self.services)
        return {
            "profile": error.external_id,
            "what": f"{'synced one by one' if is_helped else 'failed'}: {why}",
        }

    def remember(self, candidate: Candidate, profile: KlaviyoProfile) -> None:
        """Remember the identifiers in Klaviyo, and the values that an import has filled or may have filled again.

        A later sync can then clear those that Omneo has emptied.
        """
        mapped, account = candidate.plan.mapped, self.tenant.klaviyo_account_id
        known = candidate.synced if candidate.synced.account == account else SyncedProfile()
        filled = mapped.filled | known.filled | candidate.refilled
        if known.left and filled == known.filled:
            return
        left = known.left or hashes(
            self._with_ledger_key, {name: getattr(profile, name) for name in IDENTIFIERS}
        )
        synced = replace(candidate.synced, account=account, klaviyo_id=profile.id, filled=filled, left=left)
        SyncedProfiles.of(self.services).fill(self.tenant.name, candidate.id, synced)

    def _tell(self, part: str, told: Sequence[Mapping[str, str]]) -> None:
        for number in range(0, len(told), _TOLD_AT_ONCE):
            rows = told[number : number + _TOLD_AT_ONCE]
            Resyncs.of(self.services).tell(self.tenant.name, self.run.id, f"{part}-{number:06}", rows)


def _has_another_address(row: Resource, known: KnownProfiles) -> bool:
    """Return whether Klaviyo has another email or phone number on the person's own profile."""
    held = known.of("id", str(row.get("id") or ""))
    if held is None or is_anothers(held, value_of(row, "external_id")):
        return False
    both = [(getattr(held, name), value_of(row, name)) for name in ADDRESSES]
    return any(before and now and before.casefold() != now.casefold() for before, now in both)


def _without_id(row: Resource) -> Resource:
    return {name: value for name, value in row.items() if name != "id"}
