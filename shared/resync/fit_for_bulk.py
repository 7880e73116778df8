"""Which waiting syncs may go in a bulk import, and their rows.

A bulk import clears nothing, asks for no consent, and reports refusals only when it is over. So a sync goes in bulk
only under three conditions. Klaviyo has the person's identifiers from Omneo under the stored id; the sync clears
nothing; and the consents are the same on both sides. A row carries the Klaviyo id and no other identifier. So an import
never moves an address, even if the address changes its owner meanwhile. Every other sync goes alone; it goes at once if
it brings an opt-out to Klaviyo or Omneo.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.consent.rules.step import Outcome, Step
from shared.consent_events import Channel
from shared.errors import CannotSucceedError, RefusedError
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SyncProfile
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.backlog import WaitingSync
from shared.profiles.calls import sync_id
from shared.profiles.consent_calls import compared
from shared.profiles.making_room import MakingRoom
from shared.profiles.planning import planned
from shared.profiles.rules.calls import merged_klaviyo_ids
from shared.profiles.rules.owners import IDENTIFIERS
from shared.profiles.rules.sync_plan import SyncPlan, comms_of
from shared.profiles.subjects import subjects
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.resync.rules.packing import clears, without_clearing
from shared.resync.sync_imports import Sent, mark_of
from shared.services import Services
from shared.tenants.tenants import Tenant

# More names of values than Klaviyo accepts properties: their note would be large.
MOST_NAMES = 400

Resource = Mapping[str, Any]


class Apart(StrEnum):
    """How a sync runs that does not go in bulk."""

    ALONE = "alone"
    AT_ONCE = "at once"


@dataclass(frozen=True)
class Read:
    """A waiting sync whose profile was read, and seems fit: the plan, Omneo's consents, and the result of the last sync."""

    sync: WaitingSync
    job: SyncProfile
    synced: SyncedProfile
    plan: SyncPlan
    comms: Mapping[str, Any] | None
    read_at: datetime


@dataclass(frozen=True)
class Fit:
    """A waiting sync that goes in bulk: its row in the import, and its note."""

    sync: WaitingSync
    row: Resource
    sent: Sent
    read_at: datetime


@dataclass(frozen=True)
class FitForBulk:
    """Decides for one tenant, for people whose turns are held.

    `is_desk_empty` means that all of their syncs are alive.
    """

    tenant: Tenant
    services: Services
    is_desk_empty: bool

    def read(self, sync: WaitingSync) -> Read | Apart:
        """Read the profile, and return it if only Klaviyo's side is still to be checked.

        Raises:
            WaitError, TokenRejectedError: Omneo cannot tell now.
        """
        job, tenant = sync.job, self.tenant
        synced, read_at = (
            SyncedProfiles.of(self.services).find(tenant.name, job.profile_id),
            self.services.clock(),
        )
        if job.until > read_at or job.id != sync_id(tenant.name, job.profile_id) or self._is_on_the_desk(job):
            return Apart.ALONE
        if synced.deleted_at is not None or (synced.read_at is not None and synced.read_at >= job.until):
            return Apart.ALONE
        try:
            profile = self.services.omneo(tenant).profile_fields(job.profile_id)
            plan = planned(profile, tenant, synced)
        except (RefusedError, CannotSucceedError):
            return Apart.ALONE
        if profile is None or not isinstance(plan, SyncPlan) or clears(plan.mapped.resource()):
            return Apart.ALONE
        merged_ids = merged_klaviyo_ids(profile, tenant.settings.identity_handle)
        room = MakingRoom(job.profile_id, plan.mapped.attributes, tenant, self.services, merged_ids)
        if not room.known_id(synced, plan.klaviyo_id) or len(plan.mapped.filled) > MOST_NAMES:
            return Apart.ALONE
        return Read(sync, job, synced, plan, comms_of(profile), read_at)

    def decide(self, read: Read, held: KlaviyoProfile | None) -> Fit | Apart:
        """Return how the sync runs. `held` is the profile that Klaviyo has now under the stored id, or None.

        It compares the consents of both sides like a single sync, and the memory learns the same.
        """
        attributes = read.plan.mapped.attributes
        if held is None or not _has_all(held, attributes):
            return Apart.ALONE
        steps = self._steps(read, held)
        if any(_tells_of_an_opt_out(step) for step in steps):
            return Apart.AT_ONCE
        row = _row(read)
        if not row["attributes"] or any(step.outcome is not Outcome.LEAVE for step in steps):
            return Apart.ALONE
        job, filled = read.job, read.plan.mapped.filled
        sent = Sent(job.profile_id, held.id, mark_of(read.synced), filled, job.leaves_undated)
        return Fit(read.sync, row, sent, read.read_at)

    def _steps(self, read: Read, held: KlaviyoProfile) -> list[Step]:
        if read.comms is None:
            return []
        about = subjects(held, None, read.plan.mapped.attributes)
        id, tenant, services = read.job.profile_id, self.tenant, self.services
        left = {Channel.EMAIL: held.email, Channel.SMS: held.phone_number}
        return compared(
            id, read.comms, about, read_at=read.read_at, tenant=tenant, services=services, left=left
        )[1]

    def _is_on_the_desk(self, job: SyncProfile) -> bool:
        """Return whether a sync of the profile is on the desk: only a single sync takes it off when it succeeds."""
        desk = DeadJobStore.of(self.services)
        return not self.is_desk_empty and desk.has(self.tenant.name, job.id)


def _has_all(held: KlaviyoProfile, attributes: Mapping[str, Any]) -> bool:
    """Return whether Klaviyo has all identifiers of the person."""
    wanted = {name: str(attributes.get(name) or "") for name in IDENTIFIERS}
    return all(value.casefold() in ("", getattr(held, name).casefold()) for name, value in wanted.items())


def _tells_of_an_opt_out(step: Step) -> bool:
    return step.outcome in (Outcome.UNSUBSCRIBE, Outcome.PULL_OPT_OUT) or step.opted_out_at is not None


def _row(read: Read) -> Resource:
    row = without_clearing(read.plan.mapped.resource(read.plan.klaviyo_id))
    attributes = {name: value for name, value in row["attributes"].items() if name not in IDENTIFIERS}
    return {**row, "attributes": attributes}
