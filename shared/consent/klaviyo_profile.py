"""The Klaviyo profile that a consent event is about, as Klaviyo has it now."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from shared.consent.rules.decisions import KlaviyoEmail
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile


@dataclass(frozen=True)
class ProfileReadOnce:
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
        """Klaviyo's email consent of the profile as it is now. None and raises as `profile`."""
        return None if self.profile is None else KlaviyoEmail.read(self.profile.subscriptions)
