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
from shared.errors import WaitError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.rules.mapping import names_filled
from shared.profiles.sharing import KnownBy, other_tenant_of
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

    def leave(self, profile: KlaviyoProfile) -> None:
        """Leave all decisions so far with the former owner; call it before the Klaviyo profile is written.

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
        now = self.services.clock()
        self.note(profile)

        def merged(memories: Memories) -> Memories:
            return {channel: with_merge(memory, now) for channel, memory in memories.items()}

        ConsentMemories.of(self.services).change(self.tenant.name, self.profile_id, merged)

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
