"""Merges the Klaviyo profiles that are one person's in Omneo into the one that the sync wrote."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from shared.consent.asking import Asking
from shared.consent.former_identities import FormerIdentities
from shared.consent.looks import look_after_a_call
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import with_merge
from shared.consent.rules.held import Subject, is_opted_out, opted_in_at
from shared.consent_events import Channel
from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.profiles.former_owners import FormerOwners
from shared.profiles.klaviyo_import import Imported
from shared.profiles.ownership import Ownership
from shared.profiles.rules.draft import with_cleared
from shared.profiles.sharing import production_knowing
from shared.profiles.synced import SyncedProfile
from shared.services import Services
from shared.tenants.tenants import Tenant


@dataclass(frozen=True)
class Merging:
    """Merges into the Klaviyo profile of one Omneo profile.

    `before` is the result of its last sync, `read_at` the time of the read from Omneo.
    """

    profile_id: str
    tenant: Tenant
    before: SyncedProfile
    read_at: datetime
    ownership: Ownership
    former_owners: FormerOwners
    services: Services

    def merge(self, imported: Imported, subjects: Mapping[Channel, Subject]) -> CannotSucceedError | None:
        """Merge the Klaviyo profiles of one person in Omneo.

        Return the reason if one of them must never be merged, else None.
        """
        found = imported.verdict.merges if imported.verdict else ()
        theirs = {source: name for source in found if (name := self._whose_too(source))}
        # A consent under way would land on the kept profile, with the address of the merged one.
        asking = Asking(self.tenant, self.services)
        merges = [source for source in found if source not in theirs and not asking.is_landing(source)]
        if merges:
            own = subjects if self._was_left_there(imported.profile.id) else {}
            self._note_merge(own, self._others_outs(merges, imported, subjects[Channel.SMS]))
            # The merged data may undo a decision that comes before the merge is carried out.
            look_after_a_call(self.tenant, self.profile_id, self.services)
        for source in merges:
            self._leave_with_owner(source)
            self._merge_into(imported.profile.id, source)
        for source, name in theirs.items():
            return CannotSucceedError(
                f"Another Klaviyo profile ({source}) would be merged into the profile's, and is a customer's of the tenant {name} on the same "
                "Klaviyo account. A staging twin merges none of those: give the profile another email in Omneo."
            )
        return None

    def _leave_with_owner(self, source: str) -> None:
        """Leave decisions and filled values with a former owner who no longer exists in Omneo: otherwise the merge would move them.

        A profile without one was hers: Klaviyo may report her decisions through it when its id finds nothing any more.
        """
        found = self.ownership.profiles.get(source)
        if found is None:
            return
        if not self.former_owners.of(found):
            FormerIdentities.of(self.services).note(self.tenant.name, source, self.profile_id)
        self.former_owners.note(found)
        names = self.former_owners.fields_of(found)
        if not names:
            return
        with suppress(NotFoundError):  # it is gone already
            cleared = with_cleared({"type": "profile", "id": source, "attributes": {}}, names)
            self.services.klaviyo(self.tenant).import_profile(cleared)

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
        """Return the tenant that knows the Klaviyo profile's person, "" if there is none, or if this is not a staging twin."""
        found = self.ownership.profiles.get(klaviyo_id)
        return production_knowing(found, self.tenant, self.services) if found else ""

    def _was_left_there(self, klaviyo_id: str) -> bool:
        """Return whether the last sync wrote this Klaviyo profile.

        If not, it may belong to a person who was merged into this one in Omneo.
        """
        before = self.before
        return (before.account, before.klaviyo_id) == (self.tenant.klaviyo_account_id, klaviyo_id)

    def _others_outs(
        self, merges: Iterable[str], imported: Imported, own: Subject
    ) -> Mapping[Channel, datetime]:
        """Return the time of an SMS opt-out that comes along and is for another's phone number; `own` is what hers shows."""
        if is_opted_out(own, Channel.SMS, self.services.clock()):
            return {}  # she has opted out too
        owner = imported.owners.get("phone_number")
        found = [self.ownership.profiles[id] for id in merges if owner is None or id != owner.id]
        outs = [at for one in found if (at := self.former_owners.opted_out_at(one, own.mailed))]
        return {Channel.SMS: max(outs)} if outs else {}

    def _note_merge(self, own: Mapping[Channel, Subject], others_outs: Mapping[Channel, datetime]) -> None:
        """Remember that others are merged into the profile; `own` are the consents that the profile showed before."""
        now = self.services.clock()
        shown = {channel: opted_in_at(subject, channel, now) for channel, subject in own.items()}

        def merged(memories: Memories) -> Memories:
            return {
                channel: with_merge(
                    memory, self.read_at, shown.get(channel), others_out=others_outs.get(channel)
                )
                for channel, memory in memories.items()
            }

        ConsentMemories.of(self.services).change(self.tenant.name, self.profile_id, merged)
