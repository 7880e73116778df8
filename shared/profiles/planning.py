"""The plan of a sync before it writes: the profile for Klaviyo, and the owners of the identifiers. A caller that only asks gets the same
answers.

`rules/sync_plan.py` and `rules/owners.py` decide. Nothing here writes.
"""

from collections.abc import Mapping
from typing import Any

from shared.errors import CannotSucceedError
from shared.json_logic.exclude_logic import ExcludeLogicError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.former_owners import FormerOwners
from shared.profiles.ownership import Ownership
from shared.profiles.rules.calls import absorbed_klaviyo_ids, merged_klaviyo_ids, stored_klaviyo_id
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.sync_plan import Absence, SyncPlan, SyncRules, plan_sync
from shared.profiles.sharing import production_knowing
from shared.profiles.synced import SyncedProfile
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.values.phones import region_of

Json = Any


def planned(
    profile: Mapping[str, Json] | None, tenant: Tenant, synced: SyncedProfile
) -> SyncPlan | Exclusion | Absence:
    """Return the plan of a sync, or the reason why there is none: see `plan_sync`.

    Raises:
        CannotSucceedError: it is unknown whether the profile is excluded.
    """
    # Fields that were filled in another account are not filled in this one.
    filled = synced.filled if synced.account == tenant.klaviyo_account_id else frozenset()
    try:
        return plan_sync(profile, rules_of(tenant), filled_before=filled, deleted_at=synced.deleted_at)
    except ExcludeLogicError as error:
        raise CannotSucceedError(f"{error} The profile was not synced.") from error


def rules_of(tenant: Tenant) -> SyncRules:
    """Return the part of the tenant's settings that decides about the values for Klaviyo."""
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
    return Ownership(
        services.klaviyo(tenant),
        services.omneo(tenant),
        id,
        stored_id,
        handle,
        lambda found: production_knowing(found, tenant, services),
        merged_ids,
    )


def former_owners_of(
    profile: Mapping[str, Json], id: str, tenant: Tenant, services: Services
) -> FormerOwners:
    """Return the look-ups of the former owners of Klaviyo profiles that an Omneo profile takes over."""
    return FormerOwners(id, absorbed_klaviyo_ids(profile, tenant.settings.identity_handle), tenant, services)


def profiles_of_excluded(
    ownership: Ownership, tenant: Tenant, synced: SyncedProfile, services: Services
) -> list[KlaviyoProfile]:
    """Return the Klaviyo profiles of an excluded profile that was synced before: her own first, without those that are another's by now.

    They are several where others were merged into her in Omneo: nothing merges them in Klaviyo as long as she is excluded.
    """
    known = synced.klaviyo_id if synced.account == tenant.klaviyo_account_id else ""
    klaviyo, id = services.klaviyo(tenant), ownership.profile_id.casefold()
    ids = dict.fromkeys((ownership.stored_id or known, known))
    found = [*(one for each in ids if each and (one := klaviyo.profile(each))), *ownership.absorbed()]
    if any(one.external_id.casefold() != id for one in found):
        named = klaviyo.find_profile_by_external_id(ownership.profile_id)
        found += [named] if named is not None else []
    theirs = {
        one.id: one
        for one in found
        if not ownership.holder_of(one) and (one.id in ids or not ownership.production(one))
    }
    return sorted(theirs.values(), key=lambda one: one.external_id.casefold() != id)
