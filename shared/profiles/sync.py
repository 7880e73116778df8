"""The profile sync from Omneo to Klaviyo: read the newest profile, look up who has its identifiers, write it, ask for consent where the rule
says so, and write the Klaviyo id back as an identity.

`rules/sync_plan.py`, `rules/owners.py` and `consent/rules/comparison.py` decide. `explain` asks them the same questions.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from shared import logs
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import is_being_carried_out, with_merge
from shared.consent.rules.held import Subject, opted_in_at
from shared.consent.rules.memory import CLOCKS_APART
from shared.consent.rules.step import Outcome, Step
from shared.consent_events import Channel
from shared.errors import (
    CannotSucceedError,
    NotFoundError,
    RefusedError,
    TurnTakenError,
    UnsureError,
    WaitError,
)
from shared.jobs.jobs import SyncProfile
from shared.json_logic.exclude_logic import ExcludeLogicError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.consent_calls import ConsentCalls, Trouble, compared
from shared.profiles.klaviyo_import import Imported, given_up_by_excluded, import_profile
from shared.profiles.making_room import MakingRoom
from shared.profiles.opt_outs import leave_opt_outs_to_heir, note_given_up
from shared.profiles.ownership import Ownership
from shared.profiles.rules.calls import merged_klaviyo_ids, stored_klaviyo_id
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.omneo_paths import at_path
from shared.profiles.rules.sync_plan import Absence, SyncPlan, SyncRules, comms_of, mapped_profile, plan_sync
from shared.profiles.sharing import KnownBy, other_tenant_of
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.taking_over import TakeOver, taking_over
from shared.services import Services
from shared.storage.leases import id_of
from shared.tenants.tenants import Tenant, is_staging
from shared.values.omneo_ids import read_omneo_id
from shared.values.phones import region_of

TURN = timedelta(minutes=5)  # as long as a worker may run
_THROTTLED = 429
_AT_MOST_A_DAY = timedelta(days=1)
_IDENTIFIERS = {Channel.EMAIL: "email", Channel.SMS: "phone_number"}

Json = Any


def sync_profile(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Make the Klaviyo profile what the Omneo profile is now. Repeating this is harmless.

    Raises:
        CannotSucceedError, RefusedError: some of it can never be done; what can be was.
        ServiceError, DisconnectedError: a service is missing; do all of it again.
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
    """Apply the opt-outs of a sync that has to wait, because Klaviyo takes no profiles now. Repeating this is harmless.

    Raises:
        ServiceError, DisconnectedError: a service is missing; the sync sees to them.
    """
    with turn_at(job.profile_id, tenant, services):
        sync, plan = _begun(job, tenant, services)
        if isinstance(plan, SyncPlan | Exclusion):
            sync.opt_out_meanwhile()


def _begun(
    job: SyncProfile, tenant: Tenant, services: Services
) -> "tuple[_Sync, SyncPlan | Exclusion | Absence | None]":
    """Read the profile, and return what there is to do; None if it was done since."""
    synced = SyncedProfiles.of(services).find(tenant.name, job.profile_id)
    read_at = services.clock()
    if synced.read_at is not None and synced.read_at >= job.until:
        return _Sync(job, tenant, {}, synced, read_at, services), None
    profile = services.omneo(tenant).profile_fields(job.profile_id)
    plan = planned(profile, tenant, synced)
    return _Sync(job, tenant, profile or {}, synced, read_at, services), plan


@contextmanager
def turn_at(profile_id: str, tenant: Tenant, services: Services) -> Iterator[None]:
    """Hold the profile's turn: two at once could let the older state be the last.

    Raises:
        TurnTakenError: somebody else has it.
    """
    name = f"sync {tenant.name} {profile_id}"
    turn = services.leases.acquire(name, lasting=TURN)
    if turn is None:
        raise TurnTakenError("another sync works on the profile", turn=id_of(name))
    try:
        yield
    finally:
        services.leases.release(turn)


def planned(
    profile: Mapping[str, Json] | None, tenant: Tenant, synced: SyncedProfile
) -> SyncPlan | Exclusion | Absence:
    """Return what would go to Klaviyo, or why nothing would: see `plan_sync`.

    Raises:
        CannotSucceedError: whether the profile is excluded cannot be told.
    """
    # What was filled in another account has not been filled in this one.
    filled = synced.filled if synced.account == tenant.klaviyo_account_id else frozenset()
    try:
        return plan_sync(profile, _rules(tenant), filled_before=filled, deleted_at=synced.deleted_at)
    except ExcludeLogicError as error:
        raise CannotSucceedError(f"{error} The profile was not synced.") from error


def _rules(tenant: Tenant) -> SyncRules:
    settings = tenant.settings
    country = tenant.klaviyo.account_country if tenant.klaviyo else ""
    return SyncRules(
        logic=settings.profile_exclude_logic,
        mappings=settings.mappings,
        region=region_of(settings.default_region, country),
        identity_handle=settings.identity_handle,
    )


def ownership_of(profile: Mapping[str, Json], id: str, tenant: Tenant, services: Services) -> Ownership:
    """Return the look-ups of an Omneo profile's identifiers."""
    handle = tenant.settings.identity_handle
    stored_id = stored_klaviyo_id(profile, handle)
    merged_ids = merged_klaviyo_ids(profile, handle)
    return Ownership(services.klaviyo(tenant), services.omneo(tenant), id, stored_id, handle, merged_ids)


def subjects_of(imported: Imported, wanted: Mapping[str, Json]) -> dict[Channel, Subject]:
    """Return whose consent each channel is about after an import: see `subjects`."""
    number = None if imported.holders else imported.owners.get("phone_number")
    return subjects(imported.profile, number, wanted)


def subjects(
    own: KlaviyoProfile, number: KlaviyoProfile | None, wanted: Mapping[str, Json]
) -> dict[Channel, Subject]:
    """Return whose consent each channel is about: that of the profile's own Klaviyo profile, with the address that Klaviyo has of it.

    Consent to a phone number that a Klaviyo profile has which is nothing but this number is about that one. `number` is who has the
    number, None if nobody, or another living Omneo profile's. `wanted` are the attributes that Klaviyo was to get.
    """
    is_bare = number is not None and not (number.email or number.external_id)
    owners = {Channel.EMAIL: own, Channel.SMS: number if number and is_bare else own}
    return {channel: _subject(owner, channel, wanted) for channel, owner in owners.items()}


def subjects_of_excluded(profile: KlaviyoProfile) -> dict[Channel, Subject]:
    """Return whose consents an excluded profile's opt-outs are about. No opt-in is asked for, since no address is its own."""
    return {channel: _subject(profile, channel, {}) for channel in Channel}


def _subject(owner: KlaviyoProfile, channel: Channel, wanted: Mapping[str, Json]) -> Subject:
    name = _IDENTIFIERS[channel]
    held = owner.email if channel is Channel.EMAIL else owner.phone_number
    address = str(wanted.get(name) or "")
    return Subject(
        owner.id, address if held.casefold() == address.casefold() else "", owner.subscriptions, held
    )


def profile_of_excluded(
    ownership: Ownership, tenant: Tenant, synced: SyncedProfile, services: Services
) -> KlaviyoProfile | None:
    """Return the Klaviyo profile of an excluded profile that was synced before, None if there is none, or it is another's by now."""
    known = synced.klaviyo_id if synced.account == tenant.klaviyo_account_id else ""
    id = ownership.stored_id or known
    found = services.klaviyo(tenant).profile(id) if id else None
    return None if found is None or ownership.holder_of(found) else found


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
        known_id = self._known_id(plan, room)
        heirs: dict[str, Heir] = {}
        if not known_id:
            self._wait_for_landings(room)
            heirs = self._leave_opt_outs(str(plan.mapped.attributes.get("email") or ""))
        try:
            imported = import_profile(
                services.klaviyo(tenant),
                self._ownership,
                plan.mapped,
                known_id=known_id,
                released=room.released,
                take_over=take_over,
            )
        except WaitError as refusal:
            if refusal.status == _THROTTLED or isinstance(refusal, TurnTakenError):
                self.opt_out_meanwhile()
            raise
        self._note_given_up(heirs, imported.before, imported.profile)
        subjects = subjects_of(imported, plan.mapped.attributes)
        # Before the merge: what Klaviyo has shown is hers alone.
        steps = self._compare(subjects, left=imported.profile.email)
        unmerged = self._merge(imported, subjects)
        trouble = self._settle_consents(subjects, steps)
        self._write_identity(imported.profile.id, plan.klaviyo_id)
        room.hand_on(self.before.left.values(), imported)
        missing = unmerged or room.what_is_missing(self.job, imported, self._wanted_by)
        is_done = missing is None and trouble is None and not any(map(self._leaves, steps))
        self._keep(plan, imported, room.hashes_left(imported), is_done=is_done)
        self._log(plan, imported, [step for step in steps if not self._leaves(step)])
        if error := missing or trouble:
            raise error

    def opt_out_meanwhile(self) -> None:
        """Apply the opt-outs of a profile that Klaviyo has from before, while its import waits. What cannot be done is left to the sync."""
        with suppress(RefusedError, CannotSucceedError):
            found = profile_of_excluded(self._ownership, self.tenant, self.before, self.services)
            if found is not None:
                subjects = subjects_of_excluded(found)
                self._settle_consents(subjects, self._compare(subjects))

    def opt_out(self, exclusion: Exclusion) -> None:
        """Apply the opt-outs of a profile that is excluded, if Klaviyo has it from before, and give up what others wait for."""
        logs.write(logging.INFO, "profile not synced", reason=exclusion.value)
        found = profile_of_excluded(self._ownership, self.tenant, self.before, self.services)
        if found is None:
            return
        subjects = subjects_of_excluded(found)
        trouble = self._settle_consents(subjects, self._compare(subjects))
        wanted = mapped_profile(self.profile, _rules(self.tenant)).attributes
        room = MakingRoom(self.job.profile_id, wanted, self.tenant, self.services)
        if given_up := given_up_by_excluded(found, wanted, room.released):
            self._wait_for_landings(room)
            heirs = self._leave_opt_outs_of(found) if "email" in given_up["attributes"] else {}
            written = self.services.klaviyo(self.tenant).import_profile(given_up)
            self._note_given_up(heirs, found, written)
            room.hand_on(self.before.left.values(), Imported(written, given_up, before=found))
        if trouble is not None:
            raise trouble

    def _wanted_by(self, profile_id: str) -> Mapping[str, Json]:
        """Return the attributes that another Omneo profile is to have in Klaviyo, whether it is synced or not."""
        profile = self.services.omneo(self.tenant).profile_fields(profile_id)
        is_there = profile is not None and profile.get("profile_type") != "deleted"
        return mapped_profile(profile, _rules(self.tenant)).attributes if profile and is_there else {}

    @cached_property
    def _ownership(self) -> Ownership:
        return ownership_of(self.profile, self.job.profile_id, self.tenant, self.services)

    def _known_id(self, plan: SyncPlan, room: MakingRoom) -> str:
        """Return the id of the Klaviyo profile if it has what the last sync left there, and that is what it is to have; else ""."""
        before = self.before
        is_ours = (before.account, before.klaviyo_id) == (self.tenant.klaviyo_account_id, plan.klaviyo_id)
        return plan.klaviyo_id if is_ours and before.left == room.hashes_of_wanted() else ""

    def _wait_for_landings(self, room: MakingRoom) -> None:
        """Let no address go while Klaviyo is at a consent of it: that would become the consent of the next owner of the address.

        Raises:
            WaitError: Klaviyo is.
        """
        wanted = room.hashes_of_wanted()
        goes = [
            name for name, identifier in self._held_before(room).items() if wanted.get(name) != identifier
        ]
        channels = [channel for channel, name in _IDENTIFIERS.items() if name in goes]
        if not channels:
            return
        memories = ConsentMemories.of(self.services).find(self.tenant.name, self.job.profile_id)
        if any(is_being_carried_out(memories[channel], self.services.clock()) for channel in channels):
            raise WaitError(
                "a consent of the profile's former address is being carried out", service="Klaviyo"
            )

    def _held_before(self, room: MakingRoom) -> Mapping[str, str]:
        """Return the identifiers that Klaviyo has of the person, as hashes by name: what the last sync left, or what it shows where none did."""
        if self.before.account == self.tenant.klaviyo_account_id:
            return self.before.left
        stored = self._ownership.stored()
        return room.hashes_held(stored) if stored else {}

    def _leave_opt_outs(self, email: str) -> dict[str, Heir]:
        """Apply an opt-out since the last sync also to the present owner of the address that this profile gives up.

        Returns who that is, by the Klaviyo profile that has the address still.
        """
        heirs: dict[str, Heir] = {}
        for before in (self._ownership.stored(), *self._ownership.absorbed()):
            if before is not None and before.email and before.email.casefold() != email.casefold():
                heirs |= self._leave_opt_outs_of(before)
        return heirs

    def _leave_opt_outs_of(self, before: KlaviyoProfile) -> dict[str, Heir]:
        since = (self.before.read_at or self.read_at - _AT_MOST_A_DAY) - CLOCKS_APART
        heir = leave_opt_outs_to_heir(
            before,
            since,
            self.tenant,
            self.services,
            profile_id=self.job.profile_id,
            traceparent=self.job.traceparent,
        )
        return {before.id: heir} if heir else {}

    def _note_given_up(
        self, heirs: Mapping[str, Heir], before: KlaviyoProfile | None, written: KlaviyoProfile
    ) -> None:
        """Note of the person's own Klaviyo profile that it has the address no more which an heir has."""
        heir = heirs.get(written.id)
        if heir and before and written.email.casefold() != before.email.casefold():
            note_given_up(written.id, heir, self.tenant, self.services)

    def _merge(self, imported: Imported, subjects: Mapping[Channel, Subject]) -> CannotSucceedError | None:
        """Merge what is one person's in Omneo; return why some of it is never merged, None if there is nothing of the kind."""
        found = imported.verdict.merges if imported.verdict else ()
        theirs = {source: name for source in found if (name := self._whose_too(source))}
        # What is under way would land on what is kept, with the address of what is gone.
        merges = [source for source in found if source not in theirs and not self._is_landing(source)]
        if merges:
            self._note_merge(subjects if self._was_left_there(imported.profile.id) else {})
        for source in merges:
            self._forget_holder(source)
            self._merge_into(imported.profile.id, source)
        for source, name in theirs.items():
            return CannotSucceedError(
                f"Another Klaviyo profile ({source}) would be merged into the profile's, and is a customer's of the tenant {name} on the same "
                "Klaviyo account. A staging twin merges none of those: give the profile another email in Omneo."
            )
        return None

    def _forget_holder(self, source: str) -> None:
        """Let whoever had the Klaviyo profile, if ever restored in Omneo, not be written to the one that it becomes."""
        found = self._ownership.profiles.get(source)
        holder = read_omneo_id(found.external_id) if found else ""
        if holder and holder != self.job.profile_id.casefold():
            SyncedProfiles.of(self.services).forget_left(self.tenant.name, holder)

    def _merge_into(self, kept_id: str, source: str) -> None:
        klaviyo = self.services.klaviyo(self.tenant)
        try:
            klaviyo.merge_profiles(source, into=kept_id)
        except NotFoundError:
            return  # it is gone already
        except RefusedError:
            # Klaviyo does not merge a profile with itself: an earlier merge has been carried out since we looked.
            now, kept = klaviyo.profile(source), klaviyo.profile(kept_id)
            if now is None or kept is None or now.id != kept.id:
                raise

    def _whose_too(self, klaviyo_id: str) -> str:
        """Return the tenant to whom the Klaviyo profile's person is known, "" if there is none, or this is no staging twin."""
        found = self._ownership.profiles.get(klaviyo_id)
        if not is_staging(self.tenant.name) or found is None:
            return ""
        emails = (found.email,) if found.email else ()
        person = KnownBy(read_omneo_id(found.external_id), emails, (klaviyo_id,))
        return other_tenant_of(person, self.tenant, self.services, counts=lambda name: not is_staging(name))

    def _is_landing(self, klaviyo_id: str) -> bool:
        store, name = ConsentMemories.of(self.services), self.tenant.name
        id = store.profile_asked_about(name, klaviyo_id)
        memories = store.find(name, id).values() if id else ()
        return any(is_being_carried_out(memory, self.services.clock()) for memory in memories)

    def _was_left_there(self, klaviyo_id: str) -> bool:
        """Return whether a sync has left the person on this Klaviyo profile: else it may be that of who was merged into the person in Omneo."""
        before = self.before
        return (before.account, before.klaviyo_id) == (self.tenant.klaviyo_account_id, klaviyo_id)

    def _note_merge(self, own: Mapping[Channel, Subject]) -> None:
        """Remember that others are merged into the profile, which has shown of its own what these consents are."""
        now = self.services.clock()
        shown = {channel: opted_in_at(subject, channel, now) for channel, subject in own.items()}

        def merged(memories: Memories) -> Memories:
            return {
                channel: with_merge(memory, self.read_at, shown.get(channel))
                for channel, memory in memories.items()
            }

        ConsentMemories.of(self.services).change(self.tenant.name, self.job.profile_id, merged)

    def _compare(self, subjects: Mapping[Channel, Subject], *, left: str = "") -> list[Step]:
        """Return the steps that follow from both sides' consents. `left` is the email that Klaviyo has now, "" if it was not written."""
        comms = comms_of(self.profile)
        if comms is None:
            logs.write(logging.WARNING, "Omneo shows no consent, so none was asked for")
            return []
        id, tenant, services = self.job.profile_id, self.tenant, self.services
        read_at = self.read_at
        return compared(id, comms, subjects, read_at=read_at, tenant=tenant, services=services, left=left)[1]

    def _settle_consents(self, subjects: Mapping[Channel, Subject], steps: Iterable[Step]) -> Trouble | None:
        """Ask for what is to be asked; return what of it can never succeed, None if all did."""
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
            # Another Omneo profile holds it; a person has to decide whose the Klaviyo profile is.
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
        )
        if synced != replace(self.before, deleted_at=None) or self.before.deleted_at is not None:
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
