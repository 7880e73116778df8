"""Whether the things that a tenant's settings name exist. shared/tenants/settings.py holds the form of the settings.

A change of a setting checks this, and so does the doctor, because such a thing may vanish later. No message repeats a value.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from shared.errors import DisconnectedError, NotFoundError, ServiceError
from shared.json_logic.check import check_logic
from shared.services import Services
from shared.tenants.settings import LEAST_AMOUNT, TenantSettings
from shared.tenants.tenants import Tenant
from shared.values import read_plain
from shared.values.attribute_names import attribute_named, name_fault, property_named
from shared.values.phones import country_code, regions
from shared.values.zones import zones

NO_SUCH_LIST = "Klaviyo has no list of this id in the connected account"

# Characters that would change a path, or end it.
_NOT_IN_A_HANDLE = frozenset("/\\?#%")


def faults(settings: TenantSettings) -> dict[str, str]:
    """Return the faults by the name of the setting, as far as they show without a call to a service. Pure."""
    found = {
        "default_region": _region_fault(settings.default_region),
        "timezone": _timezone_fault(settings.timezone),
        "identity_handle": _handle_fault(settings.identity_handle),
        "reward_max_amount": _amount_fault(settings.reward_max_amount),
        "profile_exclude_logic": check_logic(settings.profile_exclude_logic or {}),
        "mappings": next(_mapping_faults(settings.mappings), ""),
    }
    return {name: fault for name, fault in found.items() if fault}


def form_fault(name: str, value: object) -> str:
    """Return what to write instead of a value of the wrong form, "" if the form of the setting says it all. Pure."""
    return _region_fault(value) if name == "default_region" and isinstance(value, str) else ""


def list_fault(tenant: Tenant, services: Services, list_id: str | None) -> str:
    """Return what is wrong with the master list, "" if it is right, or if Klaviyo cannot answer now."""
    if not list_id or not tenant.is_connected:
        return ""
    try:
        services.klaviyo(tenant).check_list(list_id)
    except NotFoundError:
        return NO_SUCH_LIST
    except (ServiceError, DisconnectedError):
        return ""  # the doctor asks again, and says why Klaviyo cannot answer
    return ""


def _region_fault(region: str | None) -> str:
    if region is None or region in regions():
        return ""
    meant = country_code(region)
    instead = f" This country is {meant}." if meant and meant != region else ""
    return f"must be the ISO code of one country that has phone numbers, as in AU or GB.{instead}".rstrip(".")


def _timezone_fault(name: str | None) -> str:
    if name is None or name in zones():
        return ""
    return "must be the IANA time zone of a place, as in Australia/Melbourne, or UTC"


def _amount_fault(most: float | None) -> str:
    return (
        ""
        if most is None or most >= LEAST_AMOUNT
        else f"must be at least {LEAST_AMOUNT}, the smallest unit of any currency"
    )


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
    yield from filter(None, map(name_fault, mappings.values()))
    if not all(map(read_plain, mappings)):
        yield "must name the path of a value in Omneo for each attribute or property"
    filled = Counter(
        attribute_named(name) or f"properties.{property_named(name)}" for name in mappings.values()
    )
    if any(count > 1 for count in filled.values()):
        yield "may fill each attribute or property from one path only"
