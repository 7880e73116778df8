"""The profile sync from Omneo to Klaviyo: read the newest profile, look up the owners of its identifiers, write it, ask
for consent if the rule says so, and write the Klaviyo id back as an identity.

`rules/sync_plan.py`, `rules/owners.py` and `consent/rules/comparison.py` decide. `explain` uses the same rules.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from shared import logs
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.former_numbers import GivenUp, Sharer
from shared.consent.heirs import learn_of_number, share_email, share_number
from shared.consent.rules.held import Subject, opted_in_at
from shared.consent.rules.step import Outcome, Step
from shared.consent_events import Channel
from shared.errors import (
    CannotSucceedError,
    NotFoundError,
    RefusedError,
    ServiceError,
    TurnTakenError,
    UnsureError,
    WaitError,
)
from shared.jobs.jobs import SyncProfile
from shared.jobs.rules.windows import CLOCKS_APART
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.consent_calls import ConsentCalls, Trouble, compared
from shared.profiles.former_owners import FormerOwners
from shared.profiles.giving_up import GivingUp
from shared.profiles.klaviyo_import import Imported, LeftOut, given_up_by_excluded, import_profile
from shared.profiles.making_room import MakingRoom
from shared.profiles.merging import Merging
from shared.profiles.ownership import Ownership
from shared.profiles.parting import Parting
from shared.profiles.planning import former_owners_of, ownership_of, planned, profiles_of_excluded, rules_of
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.omneo_paths import at_path
from shared.profiles.rules.sync_plan import Absence, SyncPlan, comms_of, mapped_profile
from shared.profiles.subjects import ADDRESSES, subjects_of, subjects_of_excluded
from shared.profiles.synced import RUN_LASTS, SyncedProfile, SyncedProfiles
from shared.profiles.taking_over import TakeOver, taking_over
from shared.profiles.turn import turn_at
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.values.omneo_ids import read_omneo_id

_THROTTLED = 429
_AT_HAND = timedelta(seconds=5)  # after it was read, a profile counts for so long as Omneo has it
_OPT_OUTS = (Outcome.UNSUBSCRIBE, Outcome.PULL_OPT_OUT)

Json = Any


def sync_profile(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Make the Klaviyo profile equal to the present Omneo profile. A repeat is harmless.

    Raises:
        CannotSucceedError, RefusedError: a part of the sync can never be done; all other parts are done.
        ServiceError, DisconnectedError: a service refused or could not answer; the whole sync must be repeated.
    """
    with turn_at(job.profile_id, tenant, services), taking_over(services) as take_over:
        sync, plan = _begun(job, tenant, services)
        if plan is None:
            logs.write(logging.INFO, "profile was synced since", reason="superseded")
        elif isinstance(plan, SyncPlan):
            sync.run(plan, take_over)
        elif isinstance(plan, Exclusion):
            sync.opt_out(plan)
        else:
            logs.write(logging.INFO, "profile not synced", reason=plan.value)


def opt_out_meanwhile(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Apply the opt-outs of a sync that must wait because Klaviyo accepts no profiles now. Repeating this is harmless.

    Raises:
        ServiceError, DisconnectedError: a service is missing; the sync applies them later.
    """
    with turn_at(job.profile_id, tenant, services):
        sync, plan = _begun(job, tenant, services)
        if isinstance(plan, SyncPlan | Exclusion):
            sync.opt_out_meanwhile()


def _begun(
    job: SyncProfile, tenant: Tenant, services: Services
) -> "tuple[_Sync, SyncPlan | Exclusion | Absence | None]":
    """Read the profile, and return the work to do; None if a later sync has done it, even if the clocks of two machines differ."""
    synced = SyncedProfiles.of(services).find(tenant.name, job.profile_id)
    read_at = services.clock()
    if synced.read_at is not None and synced.read_at >= job.until + CLOCKS_APART:
        return _Sync(job, tenant, {}, synced, read_at, services), None
    profile = services.omneo(tenant).profile_fields(job.profile_id)
    sync = _Sync(job, tenant, profile or {}, synced, read_at, services)
    try:
        return sync, planned(profile, tenant, synced)
    except CannotSucceedError:
        # Her opt-outs hold even if she is excluded.
        sync.opt_out_meanwhile()
        raise


@dataclass(frozen=True)
class _Sync:
    """One sync of one profile, which was read, under its turn."""

    job: SyncProfile
    tenant: Tenant
    profile: Mapping[str, Json]
    before: SyncedProfile
    read_at: datetime
    services: Services

    def run(self, plan: SyncPlan, take_over: TakeOver) -> None:
        """Write the profile, its consents and its identity.

        If a value was left out, the profile does not count as read: the same job, put back or replayed, does all of it again.
        """
        tenant, services, id = self.tenant, self.services, self.job.profile_id
        room = MakingRoom(id, plan.mapped.attributes, tenant, services, self._ownership.merged_ids)
        known_id = room.known_id(self.before, plan.klaviyo_id)
        heirs: dict[str, Heir] = {}
        numbers: dict[str, GivenUp] = {}
        try:
            if not known_id:
                self._giving_up.wait_for_landings(room)
                heirs = self._giving_up.leave_opt_outs(str(plan.mapped.attributes.get("email") or ""))
                numbers = self._giving_up.leave_number(str(plan.mapped.attributes.get("phone_number") or ""))
            self._note_filled(plan)
            imported = import_profile(
                services.klaviyo(tenant),
                self._ownership,
                plan.mapped,
                known_id=known_id,
                released=room.released,
                take_over=take_over,
                former_owners=self._former_owners,
            )
        except (RefusedError, CannotSucceedError):
            self.opt_out_meanwhile()
            raise
        except WaitError as refusal:
            # Not where the service is down: it would take the opt-out no more than the import.
            if refusal.status == _THROTTLED or isinstance(refusal, TurnTakenError):
                self.opt_out_meanwhile()
            raise
        self._part(plan, imported)
        self._giving_up.note_given_up(heirs, numbers, imported.before, imported.profile)
        subjects = subjects_of(imported, plan.mapped.attributes)
        if not known_id and (number := subjects[Channel.SMS].address):
            learn_of_number(number, subjects[Channel.SMS].klaviyo_id, id, tenant, services)
        if not known_id:
            self._note_shared(plan, imported)
        # Before the merge: Klaviyo has shown only her own consents.
        left = {Channel.EMAIL: imported.profile.email, Channel.SMS: imported.profile.phone_number}
        steps = self._compare(subjects, left=left)
        try:
            unmerged = self._merging.merge(imported, subjects)
            self._ensure_unchanged(plan, steps)
        except (ServiceError, CannotSucceedError):
            self._settle_consents(subjects, [step for step in steps if step.outcome in _OPT_OUTS])
            raise
        trouble = self._settle_consents(subjects, steps)
        self._write_identity(imported.profile.id, plan.klaviyo_id)
        room.hand_on(self.before.left.values(), imported)
        missing = unmerged or room.what_is_missing(self.job, imported, self._wanted_by)
        is_done = missing is None and trouble is None and not any(map(self._leaves, steps))
        self._keep(plan, imported, room.hashes_left(imported), is_done=is_done)
        self._log(plan, imported, [step for step in steps if not self._leaves(step)])
        if error := missing or trouble:
            raise error

    def _ensure_unchanged(self, plan: SyncPlan, steps: Iterable[Step]) -> None:
        """Ask Omneo once more before an opt-in, if the calls since it was asked were slow.

        Meanwhile the person may have been merged into another, who has the address by now and has opted out.

        Raises:
            WaitError: Omneo no longer shows the person with the addresses and consents of the plan.
            CannotSucceedError: it is unknown whether the profile is excluded by now.
        """
        is_asked = any(step.outcome is Outcome.SUBSCRIBE for step in steps)
        if not is_asked or self.services.clock() - self.read_at <= _AT_HAND:
            return
        found = self.services.omneo(self.tenant).profile_fields(self.job.profile_id)
        now = planned(found, self.tenant, self.before)
        if (
            not isinstance(now, SyncPlan)
            or _addresses(now) != _addresses(plan)
            or comms_of(found or {}) != comms_of(self.profile)
        ):
            raise WaitError("the profile has changed while it was being written", service="Omneo")

    def _note_filled(self, plan: SyncPlan) -> None:
        """Note the values that Klaviyo gets for the first time: if the process dies during the write, a later sync can still clear them."""
        before = self.before
        if before.account == self.tenant.klaviyo_account_id and not plan.mapped.filled <= before.filled:
            filled = replace(before, filled=before.filled | plan.mapped.filled)
            SyncedProfiles.of(self.services).fill(self.tenant.name, self.job.profile_id, filled)

    def _part(self, plan: SyncPlan, imported: Imported) -> None:
        """Have another person's Klaviyo profile mended that a merge, or this sync, has given values of this person; before the identity is
        replaced, which shows that profile.
        """
        if not imported.verdict:
            return
        filled = self.before.filled | plan.mapped.filled
        if other := self._ownership.anothers():
            profile, holder = other
            is_merged = profile.id != plan.klaviyo_id
            if is_merged or imported.is_astray:
                parting = Parting(self.job.profile_id, filled, self.tenant, self.services)
                parting.part(profile, holder, is_merged=is_merged)
        elif customer := self._ownership.productions():
            profile, name = customer
            holder, production = read_omneo_id(profile.external_id), self.services.tenants.find(name)
            is_here = (
                production is not None and production.klaviyo_account_id == self.tenant.klaviyo_account_id
            )
            if holder and production is not None and is_here:
                parting = Parting(self.job.profile_id, filled, production, self.services)
                parting.part(profile, holder, is_merged=True)

    def _note_shared(self, plan: SyncPlan, imported: Imported) -> None:
        """Note the addresses of hers that Klaviyo has with somebody else: an opt-out from one of them may be hers."""
        sharer = Sharer(self.job.profile_id, since=self.job.accepted_at - CLOCKS_APART)
        holders = {
            name: owner.holder
            for name, owner in (imported.verdict.owners if imported.verdict else {}).items()
        }
        shared = [name for name, why in imported.left_out.items() if why is LeftOut.OF_ANOTHER]
        email = imported.owners["email"].id if "email" in shared else ""
        number = str(plan.mapped.attributes["phone_number"]) if "phone_number" in shared else ""
        share_email(email, holders.get("email", ""), sharer, self.tenant, self.services)
        if email:
            wanted, holder = (
                str(plan.mapped.attributes["email"]),
                self._ownership.holders.get(holders["email"]),
            )
            self._giving_up.note_taken(wanted, email, holder, since=sharer.since)
        share_number(number, holders.get("phone_number", ""), sharer, self.tenant, self.services)

    def _note_taken(self, email: str, klaviyo_id: str, holder_id: str) -> None:
        holder, since = self._ownership.holders.get(holder_id), self.job.accepted_at - CLOCKS_APART
        self._giving_up.note_taken(email, klaviyo_id, holder, since=since)

    def opt_out_meanwhile(self) -> None:
        """Apply the opt-outs of a profile that Klaviyo already has, while its import waits. An opt-out that fails is left to the sync."""
        with suppress(RefusedError, CannotSucceedError):
            for found in self._of_excluded()[:1]:
                subjects = subjects_of_excluded(found)
                self._settle_consents(subjects, self._compare(subjects))

    def opt_out(self, exclusion: Exclusion) -> None:
        """Apply the opt-outs of an excluded profile if Klaviyo has it from before, and give up identifiers for which others wait."""
        logs.write(logging.INFO, "profile not synced", reason=exclusion.value)
        wanted = mapped_profile(self.profile, rules_of(self.tenant)).attributes
        room = MakingRoom(self.job.profile_id, wanted, self.tenant, self.services)
        trouble, before, theirs = None, [*self.before.left.values()], self._of_excluded()
        self._note_taken_by_excluded(str(wanted.get("email") or ""), theirs)
        for found in theirs:
            subjects = subjects_of_excluded(found)
            is_absorbed = found.id in self._former_owners.absorbed_ids
            if is_absorbed and self._is_opted_in(subjects):
                self._former_owners.leave(found)
            steps = self._compare(subjects)
            if is_absorbed:
                # The decisions of people who were merged into her are not hers.
                steps = [step for step in steps if step.outcome is Outcome.UNSUBSCRIBE]
            trouble = self._settle_consents(subjects, steps) or trouble
            self._give_up(found, room, before)
            before = []
        if trouble is not None:
            raise trouble

    def _note_taken_by_excluded(self, email: str, found: Collection[KlaviyoProfile]) -> None:
        """Note whose Klaviyo profile has the email that the person has got; nobody is asked while her own has it."""
        if not email or not found or any(one.email.casefold() == email.casefold() for one in found):
            return
        owner = self._ownership.owners({"email": email}).by.get("email")
        if owner is not None:
            self._note_taken(email, owner.id, owner.holder)

    def _give_up(self, found: KlaviyoProfile, room: MakingRoom, before: Collection[str]) -> None:
        """Take the identifiers for which others wait from an excluded person's Klaviyo profile.

        `before` are hashes from the last sync.
        """
        given_up = given_up_by_excluded(found, room.wanted, room.released)
        if not given_up:
            return
        self._giving_up.wait_for_landings(room)
        names = given_up["attributes"]
        heirs = self._giving_up.leave_opt_outs_of(found) if "email" in names else {}
        numbers = self._giving_up.leave_number_of(found) if "phone_number" in names else {}
        written = self.services.klaviyo(self.tenant).import_profile(given_up)
        self._giving_up.note_given_up(heirs, numbers, found, written)
        room.hand_on(before, Imported(written, given_up, before=found))

    def _is_opted_in(self, subjects: Mapping[Channel, Subject]) -> bool:
        now = self.services.clock()
        return any(opted_in_at(subject, channel, now) for channel, subject in subjects.items())

    def _of_excluded(self) -> list[KlaviyoProfile]:
        return profiles_of_excluded(self._ownership, self.tenant, self.before, self.services)

    def _wanted_by(self, profile_id: str) -> Mapping[str, Json]:
        """Return the attributes that another Omneo profile is to have in Klaviyo, whether it is synced or not."""
        profile = self.services.omneo(self.tenant).profile_fields(profile_id)
        is_there = profile is not None and profile.get("profile_type") != "deleted"
        return mapped_profile(profile, rules_of(self.tenant)).attributes if profile and is_there else {}

    @cached_property
    def _ownership(self) -> Ownership:
        return ownership_of(self.profile, self.job.profile_id, self.tenant, self.services)

    @cached_property
    def _giving_up(self) -> GivingUp:
        tenant, own, absorbed = self.tenant, self._ownership, self._former_owners.absorbed_ids
        return GivingUp(self.job, tenant, self.before, self.read_at, own, self.services, absorbed)

    @property
    def _merging(self) -> Merging:
        id, tenant = self.job.profile_id, self.tenant
        own, former = self._ownership, self._former_owners
        return Merging(id, tenant, self.before, self.read_at, own, former, self.services)

    @cached_property
    def _former_owners(self) -> FormerOwners:
        return former_owners_of(self.profile, self.job.profile_id, self.tenant, self.services)

    def _compare(
        self, subjects: Mapping[Channel, Subject], *, left: Mapping[Channel, str] | None = None
    ) -> list[Step]:
        """Return the steps that follow from both sides' consents. `left` are the addresses that Klaviyo has now, None if they were not written."""
        comms = comms_of(self.profile)
        if comms is None:
            logs.write(logging.WARNING, "Omneo shows no consent, so none was asked for")
            return []
        id, tenant, services = self.job.profile_id, self.tenant, self.services
        read_at = self.read_at
        return compared(
            id, comms, subjects, read_at=read_at, tenant=tenant, services=services, left=left or {}
        )[1]

    def _settle_consents(self, subjects: Mapping[Channel, Subject], steps: Iterable[Step]) -> Trouble | None:
        """Make the consent calls of the sync; return the error of a call that can never succeed, None if there is none."""
        id, tenant, services = self.job.profile_id, self.tenant, self.services
        comms = comms_of(self.profile) or {}
        calls = ConsentCalls(tenant, id, subjects, comms, self.read_at, services, self.job.traceparent)
        return calls.make(step for step in steps if not self._leaves(step))

    def _leaves(self, step: Step) -> bool:
        """Return whether the step is left to a sync that asks for opt-ins without a date as well."""
        return self.job.leaves_undated and step.outcome is Outcome.SUBSCRIBE and step.decided_at is None

    def _write_identity(self, klaviyo_id: str, stored: str) -> None:
        """Give the Omneo profile the Klaviyo id as identity, unless it holds it already."""
        if klaviyo_id == stored:
            return
        handle = self.tenant.settings.identity_handle
        omneo, id = self.services.omneo(self.tenant), self.job.profile_id
        if stored and stored not in self._ownership.profiles:
            FormerIdentities.of(self.services).note(self.tenant.name, stored, id)
        rows = self.profile.get("identities")
        is_known = not isinstance(rows, list) or isinstance(
            at_path(self.profile, f"identities.{handle}"), str
        )
        try:
            if is_known:
                try:
                    omneo.update_identity(id, handle=handle, identifier=klaviyo_id)
                except (NotFoundError, UnsureError):  # it is made, and if it is there after all refused
                    is_known = False
            if not is_known:
                omneo.create_identity(id, handle=handle, identifier=klaviyo_id)
        except NotFoundError:
            logs.write(logging.INFO, "identity not written, the profile has gone", reason="gone")
        except RefusedError as error:
            if error.status not in (409, 422):
                raise
            # Another Omneo profile holds it; a person has to decide who owns the Klaviyo profile.
            logs.write(logging.WARNING, "identity not written", reason="identity_of_another")

    def _keep(self, plan: SyncPlan, imported: Imported, left: Mapping[str, str], *, is_done: bool) -> None:
        filled = frozenset(
            name for name in plan.mapped.filled if name.partition(".")[0] not in imported.left_out
        )
        synced = SyncedProfile(
            account=self.tenant.klaviyo_account_id,
            klaviyo_id=imported.profile.id,
            filled=filled,
            left=left,
            read_at=self.read_at if is_done else self.before.read_at,
            written_at=self.services.clock(),
            cleared=self.before.cleared - filled,
            cleared_at=self.before.cleared_at,
        )
        if cleared := plan.mapped.cleared:
            now = self.services.clock()
            before = self.before.cleared_since(now - RUN_LASTS)
            synced = replace(synced, cleared=(before | cleared) - filled, cleared_at=now)
        SyncedProfiles.of(self.services).keep(self.tenant.name, self.job.profile_id, synced)

    def _log(self, plan: SyncPlan, imported: Imported, steps: list[Step]) -> None:
        left_out = Counter(note.reason.value for note in plan.mapped.notes)
        left_out.update(f"{name}_{reason}" for name, reason in imported.left_out.items())
        logs.write(
            logging.INFO,
            "profile synced",
            decisions={step.consent.value: f"{step.outcome}: {step.reason}" for step in steps},
            left_out=dict(left_out),
        )


def _addresses(plan: SyncPlan) -> list[Json]:
    return [plan.mapped.attributes.get(name) for name in ADDRESSES.values()]
