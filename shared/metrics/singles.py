"""How many single calls of events all workers together have made for a tenant in the present minute.

Each process counts its own calls, and adds some dozens at a time to the common count. So no document is hot, and the count is not exact.
Once four fifths are spent, events that may go in bulk leave the rest of the minute to live events and to events that cannot go in bulk.
"""

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.klaviyo.limits import Endpoint

if TYPE_CHECKING:
    from shared.services import Services

# While this rests, untried events go in bulk although single calls are allowed: those are left to the few, and to events that cannot go in
# bulk.
UNTRIED = "untried-events"
SHARE = 0.8  # of a minute's calls
_SPENT = "single calls spent"
_PARTS = 35  # of a minute's calls: one part is added at a time
_MINUTE = timedelta(minutes=1)
_TENANTS = 1000


class Singles:
    """Counts the single calls. Safe for threads."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[datetime, int]] = {}

    @classmethod
    def of(cls, services: "Services") -> "Singles":
        """Return the counts of this process."""
        return services.kept(cls, lambda: cls(services))

    def count(self, tenant: str) -> None:
        """Count a call that is about to be made."""
        rests, minute = self._services.rests, self._services.clock().replace(second=0, microsecond=0)
        limit = rests.limit(tenant, Endpoint.EVENTS).a_minute
        part = max(1, limit // _PARTS)
        with self._lock:
            if len(self._counts) >= _TENANTS and tenant not in self._counts:
                self._counts.clear()
            counted_in, count = self._counts.get(tenant, (minute, 0))
            count = count + 1 if counted_in == minute else 1
            self._counts[tenant] = minute, count % part
        if count < part:
            return
        if rests.spend(tenant, _SPENT, part, until=minute + _MINUTE) >= SHARE * limit:
            rests.rest(tenant, UNTRIED, minute + _MINUTE)
