"""The faults that Cloud Tasks does not rule out, on demand: a task delivered twice, tasks in another order, a queue slowed down.

Google's page "Understand Cloud Tasks": delivery is at least once, order is not kept, and a queue is slowed down when workers fail.
"""

import threading
from dataclasses import dataclass, replace
from typing import Literal, get_args

from deploy.local.tasks.model import RateLimits

Order = Literal["due", "newest", "shuffled"]
ORDERS: tuple[str, ...] = get_args(Order)


@dataclass(frozen=True)
class Mood:
    """How the queues behave: the number of next deliveries that are made twice, the order of due tasks, and the most
    attempts a second in each queue. None leaves the queue's own limit.
    """

    doubles: int = 0
    order: Order = "due"
    dispatches_per_second: float | None = None


class Mischief:
    """The mood, which may be changed at any time. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mood = Mood()

    @property
    def mood(self) -> Mood:
        """How the queues behave now."""
        return self._mood

    def change(
        self,
        *,
        doubles: int | None = None,
        order: str | None = None,
        dispatches_per_second: float | None = None,
    ) -> Mood:
        """Change the named fields, leave the rest, and return the mood; `dispatches_per_second` 0 removes the limit.
        Raises: ValueError: a value is not allowed; the message names the field.
        """
        changes: dict[str, object] = {}
        if doubles is not None:
            if isinstance(doubles, bool) or not isinstance(doubles, int) or doubles < 0:
                raise ValueError("doubles must be a whole number, 0 or more")
            changes["doubles"] = doubles
        if order is not None:
            if order not in ORDERS:
                raise ValueError(f"order must be one of {', '.join(ORDERS)}")
            changes["order"] = order
        if dispatches_per_second is not None:
            is_number = isinstance(dispatches_per_second, int | float)
            if isinstance(dispatches_per_second, bool) or not is_number or not dispatches_per_second >= 0:
                raise ValueError("dispatches_per_second must be a number, 0 or more")
            changes["dispatches_per_second"] = dispatches_per_second or None
        with self._lock:
            self._mood = replace(self._mood, **changes)  # type: ignore[arg-type] # checked above
            return self._mood

    def takes_double(self) -> bool:
        """Return whether this delivery is to be made twice, and count it."""
        with self._lock:
            if not self._mood.doubles:
                return False
            self._mood = replace(self._mood, doubles=self._mood.doubles - 1)
            return True

    def slowed(self, limits: RateLimits) -> RateLimits:
        """Return a queue's limits with the brake on, if it is on."""
        most = self._mood.dispatches_per_second
        if most is None:
            return limits
        rate = min(most, limits.max_dispatches_per_second)
        return replace(limits, max_dispatches_per_second=rate)
