"""A queue's token bucket. Pure; times are whole microseconds. Source: RateLimits in the Cloud Tasks API reference."""

import math
from dataclasses import dataclass

from deploy.local.tasks.model import SECOND, RateLimits


@dataclass
class Bucket:
    """At most `max_burst_size` tokens, refilled at `max_dispatches_per_second`. One dispatch takes one token."""

    tokens: float
    filled_at: int

    def refill(self, limits: RateLimits, now: int) -> None:
        """Add the tokens since the last time; a clock that was set back adds none."""
        flowed = max(0, now - self.filled_at) * limits.max_dispatches_per_second / SECOND
        self.tokens = min(self.tokens + flowed, float(limits.max_burst_size))
        self.filled_at = now

    def next_token(self, limits: RateLimits) -> int:
        """Return the time from which a whole token is there."""
        missing = max(0.0, 1 - self.tokens)
        return self.filled_at + math.ceil(missing * SECOND / limits.max_dispatches_per_second)
