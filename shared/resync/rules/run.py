"""A run over a tenant's whole base: what it may do, how its profiles are packed, what is said of its progress. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

# https://developers.klaviyo.com/en/reference/bulk_import_profiles
MOST_PROFILES = 10_000
MOST_BYTES = 5_000_000
_ENVELOPE = 1_000  # what stands around the profiles
_BETWEEN = 2  # a comma and a space

Resource = Mapping[str, Any]
T = TypeVar("T")


class Kind(StrEnum):
    """What a run is for."""

    RESYNC = "resync"  # profiles and consent to Klaviyo
    RECONCILE = "reconcile"  # nothing is sent: where do the two sides differ in consent?
    REPAIR = "repair"  # consent alone, by the same rule


class State(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"

    @property
    def is_over(self) -> bool:
        """Whether nothing will be done any more."""
        return self in (State.CANCELLED, State.DONE)


class Undated(StrEnum):
    """What an opt-in without a date means: Klaviyo takes none without one."""

    LEAVE = "leave"  # counted, not sent
    JOINED_DATE = "joined_date"  # the day the customer joined is taken for it


@dataclass(frozen=True)
class Options:
    """What a run was asked to do. `since` leaves out what Omneo has not changed since then, None leaves out nothing."""

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
class Cursor:
    """A place in Omneo's list: the next page, and the ids on the page before, by which it is seen whether the list has moved since."""

    page: int = 1
    seen: tuple[str, ...] = ()
    is_over: bool = False


START = Cursor()


@dataclass(frozen=True)
class Import:
    """An import job of Klaviyo's whose end is not known yet, and the first of Omneo's pages in it."""

    job: str
    page: int


@dataclass(frozen=True)
class PageWork:
    """A page of Omneo's profiles, ready to be imported; `after` is the place after it, `counts` says what came of the others."""

    number: int
    after: Cursor
    resources: tuple[Resource, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @cached_property
    def size(self) -> int:
        """The bytes of its profiles as they travel."""
        return sum(map(size_of, self.resources))


class Parcel:
    """Whole pages for one import. A page is never torn apart, so that how far a run has come can be noted by page."""

    def __init__(self) -> None:
        self.pages: list[PageWork] = []
        self.profiles = 0
        self.size = _ENVELOPE

    def fits(self, page: PageWork) -> bool:
        """Return whether the page fits; into an empty parcel every page does."""
        within = self.profiles + len(page.resources) <= MOST_PROFILES and self.size + page.size <= MOST_BYTES
        return within or not self.pages

    def add(self, page: PageWork) -> None:
        """Put the page in."""
        self.pages.append(page)
        self.profiles += len(page.resources)
        self.size += page.size

    @property
    def resources(self) -> list[Resource]:
        """All profiles in it."""
        return [resource for page in self.pages for resource in page.resources]

    @property
    def counts(self) -> Counter[str]:
        """What came of the profiles of all its pages."""
        return sum((page.counts for page in self.pages), Counter[str]())


def size_of(resource: Resource) -> int:
    """Return the bytes of a profile among others, as it travels."""
    return len(json.dumps(resource).encode()) + _BETWEEN


def jobs_of(resources: Iterable[Resource]) -> Iterator[list[Resource]]:
    """Yield the profiles in lists that an import takes: a single page may be too large for one."""
    found: list[Resource] = []
    size = _ENVELOPE
    for resource in resources:
        own = size_of(resource)
        if found and (len(found) == MOST_PROFILES or size + own > MOST_BYTES):
            yield found
            found, size = [], _ENVELOPE
        found.append(resource)
        size += own
    if found:
        yield found


def unseen(ids: Sequence[str], seen: Sequence[str]) -> int | None:
    """Return how many of a page's ids, from its end, come after what was seen; None if nothing on it was.

    >>> unseen(["a", "b", "c", "d"], ["x", "a", "b"]), unseen(["d"], ["a"])
    (2, None)
    """
    known = set(seen)
    last = max((place for place, id in enumerate(ids) if id in known), default=None)
    return None if last is None else len(ids) - last - 1


@dataclass(frozen=True)
class Progress:
    """How a run stands: profiles read of how many, how many a minute, and the time that is left, None where it cannot be known."""

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
