"""A run over a tenant's whole base: its options, its states, and the calculation of its progress. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from shared.resync.rules.place import Place

# Omneo's clock and ours differ by no more than this.
CLOCKS_DIFFER = timedelta(minutes=2)

T = TypeVar("T")


class Kind(StrEnum):
    """The purpose of a run."""

    RESYNC = "resync"  # profiles and consent to Klaviyo
    RECONCILE = "reconcile"  # nothing is sent: where do the two sides differ in consent?
    REPAIR = "repair"  # consent alone, by the same rule


class State(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"  # its job died, or it was not complete; it may be resumed

    @property
    def is_over(self) -> bool:
        """Whether no job works on it, so that another run may begin."""
        return self in (State.CANCELLED, State.DONE, State.FAILED)


class Undated(StrEnum):
    """The meaning of an opt-in without a date: Klaviyo takes no historical opt-in without a date."""

    LEAVE = "leave"  # counted, not sent
    JOINED_DATE = "joined_date"  # the day the customer joined is taken for it


@dataclass(frozen=True)
class Options:
    """The options of a run. `since` leaves out the profiles that Omneo has not changed since then; None leaves out nothing."""

    kind: Kind = Kind.RESYNC
    since: datetime | None = None
    only_consent: bool = False
    dry_run: bool = False
    undated: Undated = Undated.LEAVE

    @property
    def sends(self) -> bool:
        """Whether anything is sent."""
        return not self.dry_run and self.kind is not Kind.RECONCILE

    @property
    def sends_profiles(self) -> bool:
        """Whether profiles are among it."""
        return self.sends and self.kind is Kind.RESYNC and not self.only_consent


@dataclass(frozen=True)
class Import:
    """A Klaviyo import job that is not over yet, and the place in Omneo's list at which its profiles begin."""

    job: str
    begins: Place


@dataclass(frozen=True)
class Progress:
    """The progress of a run: the profiles that are read, the total, the profiles a minute, and the time that is left; None for an unknown
    value.
    """

    read: int
    total: int
    per_minute: float
    left: timedelta | None


def progress(read: int, total: int, worked: timedelta) -> Progress:
    """Return the progress of a run that has worked for so long, pauses left out.

    >>> progress(500, 1500, timedelta(minutes=1)).left
    datetime.timedelta(seconds=120)
    """
    minutes = worked.total_seconds() / 60
    speed = read / minutes if minutes > 0 else 0.0
    left = timedelta(minutes=max(0, total - read) / speed) if speed else None
    return Progress(read, total, speed, left)


def in_parts(rows: Iterable[T], most: int) -> list[list[T]]:
    """Return the rows in lists of at most so many."""
    whole = list(rows)
    return [whole[first : first + most] for first in range(0, len(whole), most)]
