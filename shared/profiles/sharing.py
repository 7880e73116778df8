"""The other tenants on the Klaviyo account: a profile there may also be a customer of theirs. Production and its staging twin may share
an account.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shared.klaviyo.profiles import KlaviyoProfile
from shared.omneo.client import OmneoClient
from shared.profiles.synced import SyncedProfiles
from shared.services import Services
from shared.tenants.tenants import Tenant, is_staging, production_of
from shared.values.omneo_ids import read_omneo_id


@dataclass(frozen=True)
class KnownBy:
    """The identifiers of a person: the id of an Omneo profile, "" if none, email addresses, and Klaviyo's ids."""

    profile_id: str
    emails: tuple[str, ...]
    klaviyo_ids: tuple[str, ...]


def other_tenant_of(
    person: KnownBy, tenant: Tenant, services: Services, *, counts: Callable[[str], bool] = lambda _: True
) -> str:
    """Return the name of another tenant on the Klaviyo account that still knows the person, "" if there is none that
    counts.

    Raises:
        ServiceError, DisconnectedError: Klaviyo or another tenant's Omneo refused or did not answer.
    """
    account = tenant.klaviyo_account_id or services.klaviyo(tenant).account().id
    for name in filter(counts, (*services.tenants.holding(account), *_production(tenant, services))):
        if name != tenant.name and (_has_synced(person, name, services) or _lives_in(person, name, services)):
            return name
    # If a tenant's account is unknown, its Omneo is not asked: the tenant may be any other retailer. A Klaviyo id
    # exists in one account only.
    for name in filter(counts, services.tenants.of_unknown_account()):
        if name != tenant.name and _has_synced(person, name, services):
            return name
    return ""


def production_knowing(found: KlaviyoProfile, tenant: Tenant, services: Services) -> str:
    """Return the tenant that knows the Klaviyo profile's person, "" if there is none, or if this is not a staging twin.

    Raises: as `other_tenant_of`.
    """
    if not is_staging(tenant.name):
        return ""
    emails = (found.email,) if found.email else ()
    person = KnownBy(read_omneo_id(found.external_id), emails, (found.id,))
    return other_tenant_of(person, tenant, services, counts=lambda name: not is_staging(name))


def _production(tenant: Tenant, services: Services) -> list[str]:
    """Return the production tenant of this staging twin, if that tenant has no account or an unknown one.

    Its customers may still be in this account: before the tenant joins it, and after the tenant has left it.
    """
    name = production_of(tenant.name)
    production = services.tenants.find(name) if name else None
    return [name] if production is not None and not production.klaviyo_account_id else []


def _has_synced(person: KnownBy, name: str, services: Services) -> bool:
    store = SyncedProfiles.of(services)
    return any(store.knows(name, id) for id in person.klaviyo_ids)


def _lives_in(person: KnownBy, name: str, services: Services) -> bool:
    tenant = services.tenants.find(name)
    if tenant is None:
        return False
    return _is_in(services.omneo(tenant), person, tenant.settings.identity_handle)


def _is_in(omneo: OmneoClient, person: KnownBy, handle: str) -> bool:
    found = [omneo.find_profile_by_email(email) for email in person.emails]
    found += [omneo.find_profile_by_identity(identifier=id, handle=handle) for id in person.klaviyo_ids]
    if person.profile_id:  # a copy of an Omneo has the ids of the one it was made from
        found.append(omneo.profile(person.profile_id))
    return any(profile is not None and profile.lives for profile in found)
