"""Windows of ten seconds: calls that arrive within one window are handled together, after its end. Pure; the moment is an argument."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LENGTH = timedelta(seconds=10)
SETTLE = timedelta(seconds=2)  # between a window's end and the job that reads what was written in it
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
        """The time of the window's job."""
        return self.end + SETTLE

    @property
    def next(self) -> "Window":
        """The window after it."""
        return Window(self.number + 1)

    def may_be_over(self, now: datetime) -> bool:
        """Return whether another machine with a faster clock may have handled the window already."""
        return now >= self.end - CLOCKS_APART

    def task_name(self, *about: str) -> str:
        """Return the name of the window's only task about something, such as a tenant's profile."""
        return hashed(*about, str(self.number))


def hashed(*about: str) -> str:
    """Return a name for something, in letters that the queue accepts, and evenly spread."""
    return hashlib.sha256("\0".join(about).encode()).hexdigest()[:40]
