"""Omneo's profiles, page by page in the order in which they were made. No profile is missed when others are deleted meanwhile: see
`rules/place.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.consent.rules.decisions import read_stamp
from shared.resync.rules.place import Place

if TYPE_CHECKING:
    from shared.omneo.client import OmneoClient

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """Profiles that were not read yet, the place behind them, and how many there are after that."""

    rows: tuple[Row, ...]
    after: Place
    left: int


@dataclass(frozen=True)
class OmneoList:
    """Omneo's profiles; those changed since then, if that is given."""

    omneo: "OmneoClient"
    since: datetime | None = None

    def pages(self, place: Place) -> Iterator[Page]:
        """Yield the pages after this place, each as it is asked for. The last one's place is over."""
        while not place.is_over:
            page = self.page(place)
            yield page
            place = page.after

    def page(self, place: Place) -> Page:
        """Return the profiles that come after this place, as many as one call shows.

        Raises:
            ServiceError: Omneo refused, or could not answer.
        """
        while True:
            size, number = place.window()
            found = self.omneo.profiles_page(number, since=self.since, made_since=place.made_at, size=size)
            ids = [str(row.get("id") or "") for row in found.rows]
            start, unread = (number - 1) * size, place.unread(ids)
            if unread is None and start > 0:  # so many have gone that the rest has moved to the pages before
                place = replace(place, count=start)
                continue
            rows = found.rows if unread is None else found.rows[len(ids) - unread :]
            is_over = number >= found.pages or not ids
            made = [read_stamp(row.get("created_at")) for row in found.rows]
            place = place.after(ids, made, start + len(ids), is_over=is_over)
            if rows or is_over:
                return Page(rows, place, max(0, found.total - start - len(ids)))

    def count(self, *, changed_before: datetime) -> int:
        """Return how many profiles there are that have not changed since then."""
        return self.omneo.profiles_page(1, since=self.since, until=changed_before, size=1).total
