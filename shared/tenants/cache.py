"""Tenants in memory for some seconds, so that most calls need no read.

The cache may be empty or old at any time. Code that would refuse a caller because of the cache first reads the tenant with `fresh`: a
credential may just have changed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from shared.tenants.tenants import Tenant

SECONDS = 10.0
TENANTS = 1000


class TenantCache:
    """The tenants that this process has used last. Missing tenants are not kept."""

    def __init__(
        self,
        find: Callable[[str], Tenant | None],
        monotonic: Callable[[], float],
        *,
        seconds: float = SECONDS,
    ) -> None:
        self._find = find
        self._monotonic = monotonic
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Tenant]] = OrderedDict()

    def get(self, name: str) -> Tenant | None:
        """Return the tenant if it was read in the last seconds, None if it has to be read."""
        with self._lock:
            read_at, tenant = self._kept.get(name, (0.0, None))
            if tenant is None or self._monotonic() - read_at > self._seconds:
                return None
            self._kept.move_to_end(name)
            return tenant

    def fresh(self, name: str) -> Tenant | None:
        """Read the tenant now; None when there is none.

        Raises:
            StoreUnavailableError: the store cannot answer.
        """
        read_at = self._monotonic()
        tenant = self._find(name)
        with self._lock:
            if tenant is None:
                self._kept.pop(name, None)
            elif self._kept.get(name, (read_at, tenant))[0] <= read_at:  # no later read was faster
                self._kept[name] = (read_at, tenant)
                self._kept.move_to_end(name)
                while len(self._kept) > TENANTS:
                    self._kept.popitem(last=False)
        return tenant
