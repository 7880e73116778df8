"""How syncs of profiles make room for each other: a sync gives up an identifier that its person no longer has, starts the syncs that wait for the
identifier, and waits itself for an identifier that another profile still has.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from shared.consent.ledger import ensure_ledger_key
from shared.errors import CannotSucceedError, WaitError
from shared.jobs.jobs import SyncProfile
from shared.jobs.rules.causes import Cause
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.calls import sync_soon
from shared.profiles.klaviyo_import import Imported, LeftOut
from shared.profiles.rules.owners import IDENTIFIERS
from shared.profiles.synced import SyncedProfile
from shared.profiles.waiting import Waiting, hashes
from shared.services import Services
from shared.tenants.tenants import Tenant

# A sync waits this long for another living profile. If the sync of that profile comes later, it starts this one again.
PATIENCE = timedelta(minutes=15)
_AT_LEAST = 2  # attempts: Omneo may show an identifier for some seconds after its owner has given it up
_ABSORBED = "absorbed"  # the name under which the ids of merged Klaviyo profiles are stored
_PLAIN = {"external_id": "Omneo id", "email": "email address", "phone_number": "phone number"}

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class MakingRoom:
    """Between one Omneo profile and others. `wanted` are its attributes as Klaviyo takes them.

    `merged_ids` are the Klaviyo ids of the profiles that were merged into it in Omneo.
    """

    profile_id: str
    wanted: Attributes
    tenant: Tenant
    services: Services
    merged_ids: tuple[str, ...] = ()

    def hashes_of_wanted(self) -> dict[str, str]:
        """Return the identifiers that Klaviyo should have, as hashes by name."""
        return self._hashes({name: self.wanted.get(name) for name in IDENTIFIERS} | self._absorbed())

    def known_id(self, before: SyncedProfile, klaviyo_id: str) -> str:
        """Return the id of the Klaviyo profile if the last sync left exactly the identifiers that it should have; else ""."""
        is_ours = (before.account, before.klaviyo_id) == (self.tenant.klaviyo_account_id, klaviyo_id)
        return klaviyo_id if is_ours and before.left == self.hashes_of_wanted() else ""

    def hashes_held(self, profile: KlaviyoProfile) -> dict[str, str]:
        """Return the identifiers that a Klaviyo profile has, as hashes by name."""
        return self._hashes(_identifiers(profile))

    def hashes_left(self, imported: Imported) -> dict[str, str]:
        """Return the identifiers that Klaviyo has now, and those that it refuses, as hashes by name."""
        held = _identifiers(imported.profile)
        refused = [name for name, why in imported.left_out.items() if why is LeftOut.REFUSED]
        absorbed = {} if imported.verdict and imported.verdict.unmerged else self._absorbed()
        return self._hashes(
            held | {name: self.wanted.get(name) for name in refused if name in held} | absorbed
        )

    def released(self, name: str, value: str) -> bool:
        """Return whether a sync takes an identifier out of Klaviyo that the person no longer has in Omneo.

        It does if another profile waits for it.
        """
        tenant = self.tenant
        if tenant.ledger_key is None:
            tenant = self.services.tenants.find(tenant.name) or tenant
        if tenant.ledger_key is None:
            return False  # a waiting profile has made one
        identifier = hashes(tenant, {name: value})[name]
        waiting = Waiting.of(self.services).those_for(self.tenant.name, identifier)
        return any(id != self.profile_id for id in waiting)

    def hand_on(self, before: Collection[str], imported: Imported) -> None:
        """Start the syncs that wait for an identifier that this profile no longer has.

        `before` are hashes from the last sync.
        """
        known = self.hashes_held(imported.before) if imported.before else {}
        for identifier in {*before, *known.values()} - {*self.hashes_left(imported).values()}:
            waiting = Waiting.of(self.services)
            for id in waiting.those_for(self.tenant.name, identifier):
                sync_soon(self.tenant, id, queue=self.services.queue, clock=self.services.clock)
            waiting.end(self.tenant.name, identifier)

    def what_is_missing(
        self, job: SyncProfile, imported: Imported, wanted_by: Callable[[str], Attributes]
    ) -> WaitError | CannotSucceedError | None:
        """Return the reason to wait, or the reason why waiting does not help. Return None if the sync left out no
        identifier of another profile.

        The profile that has the identifier is synced once too: it may have given the identifier up in Omneo. If that
        profile still has it in Omneo, by `wanted_by`, it keeps it and the sync does not wait. When that profile gives
        it up, its sync starts this one again.
        """
        names = [name for name, why in imported.left_out.items() if why is LeftOut.OF_ANOTHER]
        self._have_synced(imported.holders, names)
        if LeftOut.MERGING in imported.left_out.values() or _is_merging(imported):
            return WaitError("another profile of the same person is being merged", service="Klaviyo")
        if not names:
            return None
        what = " and ".join(_PLAIN[name] for name in names)
        if self._may_get(names, imported.holders, job, wanted_by):
            return WaitError(f"another profile still has the {what} in Klaviyo", service="The extension")
        others = ", ".join(dict.fromkeys(imported.owners[name].id for name in names))
        return CannotSucceedError(
            f"Another Klaviyo profile ({others}) has the profile's {what}, so it was synced without. "
            "If both are one person, merge them in Klaviyo; else correct one of them. Then replay this job.",
            cause=Cause.IDENTIFIER,
        )

    def _may_get(
        self,
        names: Collection[str],
        holders: Collection[str],
        job: SyncProfile,
        wanted_by: Callable[[str], Attributes],
    ) -> bool:
        """Return whether it may help to wait for these identifiers."""
        if not holders or self.services.clock() - job.accepted_at >= PATIENCE:
            return False
        if job.attempts < _AT_LEAST:
            return True
        wanted = [wanted_by(holder) for holder in holders]
        kept = {name for name in names for theirs in wanted if _same(theirs.get(name), self.wanted.get(name))}
        return kept != {*names}

    def _have_synced(self, holders: Collection[str], names: Collection[str]) -> None:
        waiting, tenant = Waiting.of(self.services), self.tenant.name
        wanted = self._hashes({name: self.wanted.get(name) for name in names})
        untold = [each for each in wanted.values() if waiting.note(tenant, each, self.profile_id)]
        for holder in holders if untold else ():
            sync_soon(self.tenant, holder, queue=self.services.queue, clock=self.services.clock)
        for identifier in untold:
            waiting.told(tenant, identifier, self.profile_id)

    def _absorbed(self) -> dict[str, str]:
        return {_ABSORBED: " ".join(self.merged_ids)} if self.merged_ids else {}

    def _hashes(self, identifiers: Attributes) -> dict[str, str]:
        return hashes(self._with_ledger_key, identifiers)

    @cached_property
    def _with_ledger_key(self) -> Tenant:
        if self.tenant.ledger_key is not None:
            return self.tenant
        return ensure_ledger_key(self.services.tenants, self.tenant.name)


def _is_merging(imported: Imported) -> bool:
    verdict = imported.verdict
    return verdict is not None and any(id in verdict.merges for id in verdict.unmerged)


def _same(one: object, other: object) -> bool:
    return str(one or "").casefold() == str(other or "").casefold()


def _identifiers(profile: KlaviyoProfile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in IDENTIFIERS}
