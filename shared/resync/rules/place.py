"""A place in Omneo's list of profiles, which is read in the order in which they were made. Pure.

Pages that are numbered from the beginning move when a profile is deleted: a profile that moves from the next page to the last one is never
seen. So a page is asked for by the time at which the last profile was made, which no deletion changes. Omneo may make thousands of profiles
in one second. Within such a second pages are numbered, and each page begins with profiles that were read before. The profiles after them in
the same answer come next, and no profile can stand between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

PAGE_SIZE = 100
_SHOWN_AGAIN = 10


@dataclass(frozen=True)
class Place:
    """How far the list was read: so many (`count`) of those made at `made_at` or later, the last of them with the ids `last`.

    `made_at` None counts from the beginning of the list.
    """

    made_at: datetime | None = None
    count: int = 0
    last: tuple[str, ...] = ()
    is_over: bool = False

    @property
    def name(self) -> str:
        """A name that orders as places do."""
        return f"{self.made_at:%Y%m%dT%H%M%S}-{self.count:09}" if self.made_at else f"0-{self.count:09}"

    def window(self) -> tuple[int, int]:
        """Return the size and the number of the page that shows the last of those read, and as many of the next as a page can.

        >>> Place().window(), Place(count=1).window(), Place(count=100).window()
        ((100, 1), (100, 1), (90, 2))
        """
        first = max(0, self.count - max(1, PAGE_SIZE // _SHOWN_AGAIN))

        def end(size: int) -> int:
            return (first // size + 1) * size

        size = max(range(PAGE_SIZE // 2, PAGE_SIZE + 1), key=lambda size: (end(size), size))
        return size, first // size + 1

    def unread(self, ids: Sequence[str]) -> int | None:
        """Return how many of a page's ids, from its end, come after all that were read; None if none of `last` is on it.

        >>> Place(last=("a", "b")).unread(["z", "a", "b", "c", "d"]), Place(last=("a",)).unread(["d"])
        (2, None)
        """
        found = max((index for index, id in enumerate(ids) if id in self.last), default=None)
        return None if found is None else len(ids) - found - 1

    def after(
        self, ids: Sequence[str], made: Sequence[datetime | None], end: int, *, is_over: bool
    ) -> "Place":
        """Return the place behind a page of profiles with these ids, made at these times. The page ends at number `end` of the list."""
        at = next((time for time in reversed(made) if time is not None), None)
        if at is None or (self.made_at is not None and at <= self.made_at):
            key, count = self.made_at, end
        else:
            # The page has every profile so far of that second, from its first one on.
            key, count = at, len(made) - made.index(at)
        last = tuple(ids[-_SHOWN_AGAIN:]) or self.last
        return Place(key, count, last, is_over)


START = Place()
