"""The former owners of Klaviyo profiles that another person takes over: Omneo profiles that no longer exist, and whose
email somebody else has.

Values that a sync filled in for a former owner do not belong to the next one. The same holds for the former owner's
decisions.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.consent.asking import Asking
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import with_merge
from shared.consent.rules.held import Subject, opted_out_at
from shared.consent_events import Channel
from shared.errors import CannotSucceedError, WaitError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.rules.mapping import names_filled
from shared.profiles.sharing import KnownBy, other_tenant_of, production_knowing
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.services import Services
from shared.tenants.tenants import Tenant, is_staging
from shared.values.omneo_ids import read_omneo_id

_EVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class FormerOwners:
    """Of the Klaviyo profiles that one Omneo profile takes over. The caller knows already that no living profile has
    them.

    `absorbed_ids` are the Klaviyo ids of the profiles that were merged into it in Omneo. Their data belongs to one
    person, but each decided for its own address.
    """

    profile_id: str
    absorbed_ids: Collection[str]
    tenant: Tenant
    services: Services
    _known: dict[str, str] = field(default_factory=dict)

    def of(self, profile: KlaviyoProfile) -> str:
        """Return the id of the other Omneo profile that owned a Klaviyo profile, "" if there was none, or if it is
        another tenant's customer.

        Raises:
            ServiceError, DisconnectedError: Klaviyo or another tenant's Omneo refused or did not answer.
        """
        if profile.id not in self._known:
            self._known[profile.id] = self._looked_up(profile)
        return self._known[profile.id]

    def keep_from_production(self, profile: KlaviyoProfile) -> None:
        """Keep a staging twin from a Klaviyo profile that only the email says to be its person's.

        Raises:
            CannotSucceedError: it is a customer's of the production tenant.
            ServiceError, DisconnectedError: Klaviyo or another tenant's Omneo refused or did not answer.
        """
        if name := production_knowing(profile, self.tenant, self.services):
            raise CannotSucceedError(
                f"Klaviyo has the profile's email address with a customer's profile ({profile.id}) of the tenant {name} on the same "
                "Klaviyo account. A staging twin takes over none of those: give the profile another email in Omneo."
            )

    def fields_of(self, profile: KlaviyoProfile) -> Collection[str]:
        """Return the names of the values that a sync filled in for the former owner, except the email. If they are not
        known, return all that a sync fills.

        Raises: as `of`.
        """
        owner = self.of(profile)
        if not owner or profile.id in self.absorbed_ids:
            return ()
        synced = self._synced(owner)
        names = (
            synced.filled if self._is_there(synced, profile) else names_filled(self.tenant.settings.mappings)
        )
        return {*names} - {"email"}

    def opted_out_at(self, profile: KlaviyoProfile, number: str) -> datetime | None:
        """Return the time of an SMS opt-out that the Klaviyo profile shows, and that is for the former owner's phone number.

        `number` is the person's own, "" if there is none. In doubt the opt-out may be the person's, and this returns None.

        Raises: as `of`.
        """
        is_anothers = profile.id not in self.absorbed_ids and bool(self.of(profile))
        if not is_anothers or not number or profile.phone_number in ("", number):
            return None
        subject = Subject(profile.id, profile.phone_number, profile.subscriptions)
        return opted_out_at(subject, Channel.SMS, self.services.clock())

    def leave(self, profile: KlaviyoProfile, number: str = "") -> None:
        """Leave all decisions so far with the former owner; call it before the Klaviyo profile is written. `number` as for `opted_out_at`.

        Raises:
            WaitError: Klaviyo is carrying out a consent of the former owner, which would land on the next one.
        """
        owner = self.of(profile)
        if not owner:
            return
        if Asking(self.tenant, self.services).is_landing(profile.id):
            raise WaitError(
                "a consent of the Klaviyo profile's former owner is being carried out", service="Klaviyo"
            )
        self.note(profile)

        def left(memories: Memories) -> Memories:
            return self.left(memories, profile, number)

        ConsentMemories.of(self.services).change(self.tenant.name, self.profile_id, left)

    def left(self, memories: Memories, profile: KlaviyoProfile, number: str) -> Memories:
        """Return the person's memories when all decisions of the Klaviyo profile so far are left with the former owner; `number` as above."""
        now, outs = self.services.clock(), {Channel.SMS: self.opted_out_at(profile, number)}
        return {
            channel: with_merge(memory, now, others_out=outs.get(channel))
            for channel, memory in memories.items()
        }

    def note(self, profile: KlaviyoProfile) -> None:
        """Remember the owner until now: an event may come days later.

        If Omneo restores the former owner, a sync looks them up anew.
        """
        owner = self.of(profile)
        if owner:
            former = Heir(owner, since=_EVER, until=self.services.clock(), had_all=True)
            FormerIdentities.of(self.services).note_heir(self.tenant.name, profile.id, former)
            SyncedProfiles.of(self.services).forget_left(self.tenant.name, owner)

    def _looked_up(self, profile: KlaviyoProfile) -> str:
        named = read_omneo_id(profile.external_id)
        if not named or named.casefold() == self.profile_id.casefold():
            return ""
        if profile.id in self.absorbed_ids or self._is_there(self._synced(named), profile):
            return named
        known_by = KnownBy(named, (profile.email,) if profile.email else (), (profile.id,))
        # For a production tenant, a copy in its staging twin is nobody's customer.
        is_twin = is_staging(self.tenant.name)
        other = other_tenant_of(
            known_by, self.tenant, self.services, counts=lambda name: is_twin or not is_staging(name)
        )
        return "" if other else named

    def _synced(self, owner: str) -> SyncedProfile:
        return SyncedProfiles.of(self.services).find(self.tenant.name, owner)

    def _is_there(self, synced: SyncedProfile, profile: KlaviyoProfile) -> bool:
        """Return whether the last sync of the former owner, by this tenant, wrote this Klaviyo profile."""
        return (synced.account, synced.klaviyo_id) == (self.tenant.klaviyo_account_id, profile.id)
