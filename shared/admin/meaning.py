"""What a tenant's settings mean: whether what they name is there. Their form stands in shared/tenants/settings.py.

Asked when a setting changes and by the doctor: what a setting names may go away later. Values are never repeated.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from shared.errors import DisconnectedError, NotFoundError, ServiceError
from shared.json_logic.check import check_logic
from shared.klaviyo.rules.attributes import attribute_named, property_named
from shared.services import Services
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import Tenant
from shared.values import read_plain
from shared.values.phones import country_code, regions

NO_SUCH_LIST = "Klaviyo has no list of this id in the connected account"

# What would lead elsewhere as a part of a path, or be cut there.
_NOT_IN_A_HANDLE = frozenset("/\\?#%")


def faults(settings: TenantSettings) -> dict[str, str]:
    """Return what is wrong by the name of the setting, as far as that can be known without asking anybody. Pure."""
    found = {
        "default_region": _region_fault(settings.default_region),
        "identity_handle": _handle_fault(settings.identity_handle),
        "profile_exclude_logic": check_logic(settings.profile_exclude_logic or {}),
        "mappings": next(_mapping_faults(settings.mappings), ""),
    }
    return {name: fault for name, fault in found.items() if fault}


def list_fault(tenant: Tenant, services: Services, list_id: str | None) -> str:
    """Return what is wrong with the master list, "" if nothing is, or Klaviyo cannot be asked now."""
    if not list_id or not tenant.is_connected:
        return ""
    try:
        services.klaviyo(tenant).check_list(list_id)
    except NotFoundError:
        return NO_SUCH_LIST
    except (ServiceError, DisconnectedError):
        return ""  # the doctor asks again, and says why Klaviyo cannot be asked
    return ""


def _region_fault(region: str | None) -> str:
    if region is None or region in regions():
        return ""
    meant = country_code(region)
    instead = f" This country is {meant}." if meant and meant != region else ""
    return f"must be the ISO code of one country that has phone numbers, as in AU or GB.{instead}".rstrip(".")


def _handle_fault(handle: str) -> str:
    if (
        handle == handle.strip()
        and handle.strip(".")
        and read_plain(handle)
        and not _NOT_IN_A_HANDLE & {*handle}
        and handle.isprintable()
    ):
        return ""
    return "must be the handle of an identity in Omneo, as in klaviyo"


def _mapping_faults(mappings: Mapping[str, str]) -> Iterator[str]:
    targets = [attribute_named(name) for name in mappings.values()]
    names = [
        f"properties.{property_named(name)}" if target is None else target
        for name, target in zip(mappings.values(), targets, strict=True)
    ]
    if "" in targets or "properties.id" in names:
        yield "may not fill id, external_id, anonymous_id or _kx, by which Klaviyo finds a profile"
    if "properties." in names:
        yield "must name an attribute or a property of Klaviyo for each path"
    if Counter(names).most_common(1) and Counter(names).most_common(1)[0][1] > 1:
        yield "may fill each attribute or property from one path only"
