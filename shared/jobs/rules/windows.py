"""Windows of ten seconds: calls that arrive within one window are handled together, after its end. Pure; the moment is an argument."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LENGTH = timedelta(seconds=10)
SETTLE = timedelta(seconds=2)  # after a window's end, until what was written in it is read
# How far the clocks of two machines may be apart: a window counts as over this much before its end.
CLOCKS_APART = timedelta(seconds=4)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """One window, by its number since 1970."""

    number: int

    @classmethod
    def at(cls, moment: datetime) -> "Window":
        """Return the window that holds a moment."""
        return cls((moment - _EPOCH) // LENGTH)

    @property
    def end(self) -> datetime:
        """The moment at which the window is over."""
        return _EPOCH + (self.number + 1) * LENGTH

    @property
    def due(self) -> datetime:
        """When what was written in the window is handled."""
        return self.end + SETTLE

    @property
    def next(self) -> "Window":
        """The window after it."""
        return Window(self.number + 1)

    def may_be_over(self, now: datetime) -> bool:
        """Return whether another machine, whose clock is ahead, may have handled the window already."""
        return now >= self.end - CLOCKS_APART

    def task_name(self, *about: str) -> str:
        """Return the name of the one task of this window about something, such as a tenant's profile."""
        return hashed(*about, str(self.number))


def hashed(*about: str) -> str:
    """Return a name for something, in the letters that the queue takes, and spread evenly."""
    return hashlib.sha256("\0".join(about).encode()).hexdigest()[:40]
