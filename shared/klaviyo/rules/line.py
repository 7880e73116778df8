"""The waiting line of one endpoint: each caller gets a moment, as early as the limits of a second and a minute allow. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self


@dataclass(frozen=True)
class Line:
    """A line whose next place is the `count`-th of the minute that begins at `start`."""

    start: datetime
    count: int = 0

    def joined(self, opens: datetime, a_second: int, a_minute: int) -> tuple[Self, datetime]:
        """Return the line with one more caller, and the turn of that caller: never before the line `opens`.

        >>> from datetime import UTC
        >>> noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
        >>> line, turns = Line(noon), []
        >>> for _ in range(4):
        ...     line, turn = line.joined(noon, a_second=2, a_minute=3)
        ...     turns.append((turn - noon).total_seconds())
        >>> turns
        [0.0, 0.5, 1.0, 60.0]
        """
        line = self if self._turn(a_second) >= opens else type(self)(opens)
        turn = line._turn(a_second)
        if line.count + 1 < a_minute:
            return type(self)(line.start, line.count + 1), turn
        return type(self)(line.start + timedelta(minutes=1)), turn

    def _turn(self, a_second: int) -> datetime:
        return self.start + timedelta(seconds=self.count / a_second)
