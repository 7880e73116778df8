"""Which Omneo profile a Klaviyo profile is: by the stored identity, then by Klaviyo's external_id, then by email.

Omneo's page "Profile sync" has the order. A profile that Klaviyo has merged into another answers as the other.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from shared.consent.rules.decisions import KlaviyoEmail
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile
    from shared.omneo.client import OmneoClient, Profile

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class KlaviyoLook:
    """A Klaviyo profile, read when it is first needed, and once."""

    id: str
    tenant: Tenant
    services: Services

    @cached_property
    def profile(self) -> "KlaviyoProfile | None":
        """The profile, None if Klaviyo knows none or the tenant has no account any more. Raises as Klaviyo's client does."""
        if self.tenant.klaviyo is None:
            return None
        return self.services.klaviyo(self.tenant).profile(self.id)

    @cached_property
    def email(self) -> KlaviyoEmail | None:
        """What Klaviyo says of the email consent now. None and raises as `profile`."""
        return None if self.profile is None else KlaviyoEmail.read(self.profile.subscriptions)


def omneo_profile_of(tenant: Tenant, omneo: "OmneoClient", look: KlaviyoLook) -> "Profile | None":
    """Return the Omneo profile, None when there is none. One call where the identity is stored.

    Raises:
        ServiceError, DisconnectedError: what Omneo answered, or Klaviyo, which is asked only when no identity is stored.
    """
    handle = tenant.settings.identity_handle
    if found := omneo.find_profile_by_identity(identifier=look.id, handle=handle):
        return found
    klaviyo = look.profile
    if klaviyo is None:
        return None
    if klaviyo.id != look.id and (
        found := omneo.find_profile_by_identity(identifier=klaviyo.id, handle=handle)
    ):
        return found
    if _UUID.fullmatch(klaviyo.external_id) and (found := omneo.profile(klaviyo.external_id)):
        return found
    return omneo.find_profile_by_email(klaviyo.email) if klaviyo.email else None
