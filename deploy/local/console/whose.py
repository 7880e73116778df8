"""The tenant of the pages: the tenants in the store of `make run`, and the installation key of each for the admin API.
The demo's key is known. A person types another tenant's key, and the console keeps it until it stops; the store holds
only its hash. No pages and no HTTP here. The code that reads the store is imported at the first request of a page, so
that `make run` starts faster.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from deploy.local.console.masking import Mask
from deploy.local.hints import Place

if TYPE_CHECKING:
    from shared.services import Services
    from shared.tenants.tenants import Tenant


class Tenants:
    """The tenants of the store.

    `place` is the demo's; `environment` is that of the bundle; `mask` learns the secrets.
    """

    def __init__(self, place: Place, environment: Mapping[str, str], mask: Mask) -> None:
        self._demo = place
        self._environment = environment
        self._mask = mask
        self._keys = {place.tenant: place.installation_key}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of all that are stored now, in their order."""
        return sorted(self.services.tenants.names())

    def find(self, name: str) -> "Tenant | None":
        """Return a tenant as it is stored now, None when there is none."""
        return self.services.tenants.find(name)

    def is_open(self, name: str) -> bool:
        """Return whether the console has the installation key of this tenant."""
        return name in self._keys

    def open(self, name: str, key: str) -> None:
        """Keep the installation key of a tenant, which the admin API has taken."""
        self._mask.learn(key)
        with self._lock:
            self._keys[name] = key

    def place(self, name: str) -> Place:
        """Return the running parts for this tenant; those for the demo if the tenant is not open or no longer exists."""
        if name == self._demo.tenant or not self.is_open(name):
            return self._demo
        tenant = self.find(name)
        if tenant is None:
            return self._demo
        secret = tenant.webhook_secrets[0].value.get_secret_value()
        self._mask.learn(secret)
        return replace(
            self._demo,
            tenant=name,
            account=tenant.klaviyo_account_id,
            installation_key=self._keys[name],
            webhook_secret=secret,
        )

    @cached_property
    def services(self) -> "Services":
        """Return the services of an operator's command: the store, and Omneo for a tenant."""
        from shared.services import Services
        from shared.settings import Needs, Settings

        return Services(Settings.from_env(self._environment, Needs.STORE), short_waits=3)
