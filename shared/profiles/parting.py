"""What a sync does when the person's Klaviyo profile has become that of another living person, by a merchant's merge.

The merge has brought values and consents of this person there, and the sync has written values there before Klaviyo's
answer showed it. The other person's next sync takes them out.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import with_merge
from shared.consent.rules.held import Subject, opted_out_at
from shared.consent.rules.memory import CLOCKS_APART, Memory
from shared.consent.rules.whose import our_landings, persons
from shared.consent_events import Decision
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.calls import sync_soon
from shared.profiles.subjects import subjects_of_excluded
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.turn import turn_at
from shared.services import Services
from shared.tenants.tenants import Tenant


@dataclass(frozen=True)
class Parting:
    """Of one Omneo profile, whose values under these names are or were in Klaviyo."""

    profile_id: str
    filled: Collection[str]
    tenant: Tenant
    services: Services

    def part(self, profile: KlaviyoProfile, holder: str, *, is_merged: bool) -> None:
        """Note what is this person's in the Klaviyo profile of another, the Omneo profile `holder`, and have that one synced.

        Raises:
            TurnTakenError: another sync works on the other person.
            QueueUnavailableError: the other sync was not queued.
        """
        with turn_at(holder, self.tenant, self.services):
            self._note_filled(profile, holder)
            if is_merged:
                self._note_merge(profile, holder)
        sync_soon(self.tenant, holder, queue=self.services.queue, clock=self.services.clock)

    def _note_filled(self, profile: KlaviyoProfile, holder: str) -> None:
        """Note the values, so that the sync clears those that the other person has not, and looks up the identifiers anew."""
        store, account = SyncedProfiles.of(self.services), self.tenant.klaviyo_account_id
        known = store.find(self.tenant.name, holder)
        theirs = known if known.account == account else SyncedProfile(account, profile.id)
        filled = theirs.filled.union(self.filled)
        store.fill(self.tenant.name, holder, replace(theirs, filled=filled, left={}))

    def _note_merge(self, merged: KlaviyoProfile, holder: str) -> None:
        """Note that what Klaviyo shows of consents there may be this person's."""
        store, now, shown = (
            ConsentMemories.of(self.services),
            self.services.clock(),
            subjects_of_excluded(merged),
        )
        own = store.find(self.tenant.name, self.profile_id)

        def with_merges(others: Memories) -> Memories:
            return {
                channel: with_merge(
                    memory, now, others_out=_came_along(own[channel], memory, shown[channel], now)
                )
                for channel, memory in others.items()
            }

        store.change(self.tenant.name, holder, with_merges)


def _came_along(own: Memory, others: Memory, shown: Subject, now: datetime) -> datetime | None:
    """Return the time of the opt-out that Klaviyo shows if it is this person's, None if it may be the other's."""
    at = opted_out_at(shown, own.channel, now)
    return at if at is not None and _is_of(own, at) and not _is_of(others, at) else None


def _is_of(memory: Memory, at: datetime) -> bool:
    moments = [one.at for one in persons(memory) if one.decision is Decision.OPT_OUT]
    moments += our_landings(memory, "out")
    moments += [one.landed_at for one in memory.calls if one.direction == "out" and one.landed_at is not None]
    return any(abs(at - moment) <= CLOCKS_APART for moment in moments)
