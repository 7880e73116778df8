"""The steps of a sync before an address leaves the person's Klaviyo profile. They keep a consent from landing on the
next owner, and lose no opt-out.

`making_room.py` starts the syncs that wait for the address.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.former_numbers import FormerNumbers, GivenUp, mark_of_number
from shared.consent.heirs import leave_at_number, tell_heir
from shared.consent.ledger import ensure_ledger_key
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules import whose
from shared.consent.rules.calls import is_being_carried_out, with_merge
from shared.consent.rules.decisions import Decided
from shared.consent.rules.held import Subject, opted_in_at
from shared.consent.rules.learning import is_pulled
from shared.consent.rules.memory import CLOCKS_APART
from shared.consent_events import Channel, Decision
from shared.errors import WaitError
from shared.jobs.jobs import SyncProfile
from shared.klaviyo.profiles import KlaviyoProfile
from shared.matching import owner_of_email
from shared.omneo.client import Profile
from shared.profiles.making_room import MakingRoom
from shared.profiles.ownership import Ownership
from shared.profiles.subjects import ADDRESSES
from shared.profiles.synced import SyncedProfile
from shared.services import Services
from shared.tenants.erasures import Identifier, mark_of
from shared.tenants.tenants import Tenant

_AT_MOST_A_DAY = timedelta(days=1)
# By then Klaviyo has usually removed the address from the profile. The real time is noted once more.
_AT_IT = timedelta(seconds=10)


@dataclass(frozen=True)
class GivingUp:
    """For one Omneo profile.

    `before` is the result of its last sync, `read_at` the time when it was read from Omneo.
    `absorbed_ids` are the Klaviyo ids of the profiles that were merged into it in Omneo.
    """

    job: SyncProfile
    tenant: Tenant
    before: SyncedProfile
    read_at: datetime
    ownership: Ownership
    services: Services
    absorbed_ids: Collection[str] = ()

    def wait_for_landings(self, room: MakingRoom) -> None:
        """Keep an address while Klaviyo carries out a consent for it: otherwise that consent would land on the next
        owner of the address.

        Raises:
            WaitError: Klaviyo is carrying one out.
        """
        wanted = room.hashes_of_wanted()
        goes = [
            name for name, identifier in self._held_before(room).items() if wanted.get(name) != identifier
        ]
        channels = [channel for channel, name in ADDRESSES.items() if name in goes]
        if not channels:
            return
        memories = ConsentMemories.of(self.services).find(self.tenant.name, self.job.profile_id)
        if any(is_being_carried_out(memories[channel], self.services.clock()) for channel in channels):
            raise WaitError(
                "a consent of the profile's former address is being carried out", service="Klaviyo"
            )

    def leave_opt_outs(self, email: str) -> dict[str, Heir]:
        """Apply an opt-out since the last sync also to the present owner of the address that this profile gives up.

        Returns that owner, by the Klaviyo profile that still has the address.
        """
        heirs: dict[str, Heir] = {}
        for before in (self.ownership.stored(), *self.ownership.absorbed()):
            if before is not None and before.email and before.email.casefold() != email.casefold():
                heirs |= self.leave_opt_outs_of(before)
        return heirs

    def leave_opt_outs_of(self, given_up: KlaviyoProfile) -> dict[str, Heir]:
        """Do the same for one Klaviyo profile that has the address.

        While it has the address, Klaviyo reports the new owner's decisions on that profile. Nothing shows whose
        decision an opt-out was, so both owners are opted out. For a known opt-out a job is queued; a later event finds
        a note. This does not hold for an opt-out after which Omneo still had the address on this person.
        """
        tenant, services = self.tenant, self.services
        found = owner_of_email(given_up.email, services.omneo(tenant))
        if found is None or not found.lives or found.id.casefold() == self.job.profile_id.casefold():
            return {}
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(services.tenants, tenant.name)
        mark = mark_of(tenant, Identifier.EMAIL, given_up.email)
        since = self.since
        heir = Heir(found.id, since, services.clock() + _AT_IT, mark)
        # Before the memory is read: an event that is flushed meanwhile finds the note, or is found.
        FormerIdentities.of(services).note_heir(tenant.name, given_up.id, heir)
        opt_outs = self._opt_outs_through(given_up, Channel.EMAIL)
        outs = [one.at for one in opt_outs if one.at >= since and one.address != mark]
        if outs:
            tell_heir(heir.profile_id, max(outs), tenant, services, traceparent=self.job.traceparent)
        self._leave_opt_in(given_up)
        return {given_up.id: heir}

    def note_taken(self, email: str, klaviyo_id: str, holder: Profile | None, *, since: datetime) -> None:
        """Note the email that this person has in Omneo, and that Klaviyo still has on the profile of `holder`, who has another by now.

        `holder` may get it back before a sync of theirs sees that.
        """
        if holder is None or (holder.email or "").casefold() == email.casefold():
            return
        tenant, services = self.tenant, self.services
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(services.tenants, tenant.name)
        mark = mark_of(tenant, Identifier.EMAIL, email)
        heir = Heir(self.job.profile_id, since, services.clock() + CLOCKS_APART, mark)
        FormerIdentities.of(services).note_heir(tenant.name, klaviyo_id, heir)

    def leave_number(self, number: str) -> dict[str, GivenUp]:
        """Note an opt-out since the last sync under the phone number that this profile gives up. The sync of the
        number's next owner finds it.

        Returns the notes by the Klaviyo profile that still has the number.
        """
        notes: dict[str, GivenUp] = {}
        for before in (self.ownership.stored(), *self.ownership.absorbed()):
            if before is not None and before.phone_number and before.phone_number != number:
                notes |= self.leave_number_of(before)
        return notes

    def leave_number_of(self, given_up: KlaviyoProfile) -> dict[str, GivenUp]:
        """Do the same for one Klaviyo profile that has the number."""
        tenant, services = self.tenant, self.services
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(services.tenants, tenant.name)
        mark = mark_of_number(tenant, given_up.phone_number)
        note = GivenUp(mark, given_up.id, self.since, services.clock() + _AT_IT)
        # Before the memory is read: an event that is flushed meanwhile finds the note, or is found.
        FormerNumbers.of(services).note_given_up(tenant.name, note)
        outs = self._opt_outs_through(given_up, Channel.SMS)
        moments = [one.at for one in outs if note.may_be_of_next(one.at, one.address)]
        leave_at_number(
            moments,
            mark,
            given_up.id,
            tenant,
            services,
            profile_id=self.job.profile_id,
            traceparent=self.job.traceparent,
        )
        return {given_up.id: note}

    def note_given_up(
        self,
        heirs: Mapping[str, Heir],
        numbers: Mapping[str, GivenUp],
        before: KlaviyoProfile | None,
        written: KlaviyoProfile,
    ) -> None:
        """Note that the person's Klaviyo profile no longer has an address: later decisions through it are not the next owner's."""
        until = self.services.clock() + CLOCKS_APART
        heir, number = heirs.get(written.id), numbers.get(written.id)
        if heir and before and written.email.casefold() != before.email.casefold():
            notes = FormerIdentities.of(self.services)
            notes.note_heir(self.tenant.name, written.id, replace(heir, until=until))
        if number and before and written.phone_number != before.phone_number:
            FormerNumbers.of(self.services).note_given_up(self.tenant.name, replace(number, until=until))

    def _leave_opt_in(self, given_up: KlaviyoProfile) -> None:
        """Leave an email opt-in since the last sync with the present owner of the address that this profile gives up.

        Klaviyo goes on showing it on this profile. Without an event, nothing shows that it was this person's.
        """
        now = self.services.clock()
        subject = Subject(given_up.id, given_up.email, given_up.subscriptions)
        opted_in = opted_in_at(subject, Channel.EMAIL, now)
        if opted_in is None or opted_in < self.since:
            return

        def left(memories: Memories) -> Memories:
            return {Channel.EMAIL: with_merge(memories[Channel.EMAIL], now)}

        ConsentMemories.of(self.services).change(self.tenant.name, self.job.profile_id, left)

    def _opt_outs_through(self, given_up: KlaviyoProfile, channel: Channel) -> list[Decided]:
        """Return the person's opt-outs that may have come through a Klaviyo profile; through that of who was merged into the person, no others."""
        memory = ConsentMemories.of(self.services).find(self.tenant.name, self.job.profile_id)[channel]
        # What Klaviyo has shown since a deletion's own suppression landed was no decision at the address.
        ours = whose.our_landings(memory, "out")
        outs = [one for one in whose.persons(memory) if one.decision is Decision.OPT_OUT]
        outs = [one for one in outs if not (is_pulled(one) and one.at in ours)]
        is_absorbed = given_up.id in self.absorbed_ids
        return [one for one in outs if not is_absorbed or one.profile in (given_up.id, "")]

    @property
    def since(self) -> datetime:
        """The time from which a decision through the person's Klaviyo profile may be one of the address's next owner."""
        return (self.before.read_at or self.read_at - _AT_MOST_A_DAY) - CLOCKS_APART

    def _held_before(self, room: MakingRoom) -> Mapping[str, str]:
        """Return the identifiers that Klaviyo has of the person, as hashes by name.

        They come from the last sync, or without one from Klaviyo's profile.
        """
        if self.before.account == self.tenant.klaviyo_account_id:
            return self.before.left
        stored = self.ownership.stored()
        return room.hashes_held(stored) if stored else {}
