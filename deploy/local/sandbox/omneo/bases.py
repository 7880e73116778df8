"""A tenant's whole customer base that a test arranges: many profiles at once, and changes to one. No HTTP here."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deploy.local.sandbox.omneo.profiles import new_profile
from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.seeding import Uncollected

_FOUND_BY = ("email", "profile_type", "created_at", "updated_at", "identities")


class Bases:
    """The customer bases of a service that has tenants and a lock."""

    clock: Clock
    _identifiers: Identifiers
    _lock: threading.RLock
    _tenants: dict[str, Tenant]

    def seed_profiles(self, tenant: str, count: int, make: Callable[[int], Mapping[str, Any]]) -> None:
        """Keep `count` profiles. `make` gets 0, 1, 2... and returns the arguments of `profile`. Only these are held in
        memory; the whole profile is made at a read.
        """
        with self._lock, Uncollected():
            profiles, now = self._tenants[tenant].profiles, self.clock()
            usual = new_profile({}, self._identifiers, now)
            known = {name: usual[name] for name in _FOUND_BY}
            for number in range(count):
                fields = dict(make(number))
                id = fields.setdefault("id", self._identifiers.uuid())
                own = {name: fields[name] for name in _FOUND_BY if name in fields}
                profiles.seed(id, {**known, **own}, partial(new_profile, fields, self._identifiers, now))
