"""Whether an event is one of few: an allowance that each event lowers and time raises. Pure; the moment is an argument."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

MOST = 10.0  # at one moment
A_SECOND = 1.0


@dataclass(frozen=True)
class Allowance:
    """How many more events, as of a moment, still count as few."""

    left: float
    at: datetime

    @classmethod
    def whole(cls, now: datetime) -> Self:
        """Return the allowance of a metric without any event yet."""
        return cls(MOST, now)

    def less_one(self, now: datetime) -> tuple[Self, bool]:
        """Return the allowance after one more event, and whether that event is one of few.

        >>> from datetime import UTC, timedelta
        >>> noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
        >>> allowance, found = Allowance.whole(noon), []
        >>> for seconds in [0] * 11 + [2] * 3:
        ...     allowance, is_few = allowance.less_one(noon + timedelta(seconds=seconds))
        ...     found.append(is_few)
        >>> found[9:]
        [True, False, True, True, False]
        """
        passed = max(0.0, (now - self.at).total_seconds())
        left = min(MOST, self.left + passed * A_SECOND)
        is_few = left >= 1.0
        return type(self)(left - is_few, now), is_few
