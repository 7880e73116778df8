"""The reward definitions that this process keeps, so that a Flow of a thousand people reads its definition once in some minutes.

A change of a definition in Omneo takes effect after these minutes. A missing definition is asked for again each time.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.omneo.client import OmneoClient, RewardDefinition

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(minutes=5)
MOST = 1000


class RewardDefinitions:
    """The definitions that were used last."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int | str], tuple[datetime, RewardDefinition]] = OrderedDict()

    @classmethod
    def of(cls, services: "Services") -> "RewardDefinitions":
        """Return the definitions of this process."""
        return services.kept(cls, lambda: cls(services.clock))

    def get(self, omneo: OmneoClient, tenant: str, *, id: int | str, handle: str) -> RewardDefinition | None:
        """Return the tenant's definition with this id, or with this handle if the id is "". Return None if there is none.

        Raises what the client raises.
        """
        name = (tenant, "handle", handle) if id == "" else (tenant, "id", id)
        now = self._clock()
        with self._lock:
            read_at, definition = self._kept.get(name, (now, None))
        if definition is not None and now - read_at < KEPT:
            return definition
        found = omneo.reward_definition_by_handle(handle) if id == "" else omneo.reward_definition(id)
        if found is not None:
            self._keep(name, now, found)
        return found

    def _keep(self, name: tuple[str, str, int | str], now: datetime, found: RewardDefinition) -> None:
        with self._lock:
            self._kept[name] = (now, found)
            self._kept.move_to_end(name)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
