"""What a run over the whole base reads: Omneo's list by its pages, and what Klaviyo holds of a hundred profiles a call.

Omneo numbers its pages, and a profile that is deleted moves all later ones forward. So the page before is read as well, and what has moved
onto it is taken along.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

from shared.klaviyo.bulk import READ_AT_ONCE, Identifier
from shared.resync.rules.run import Cursor, in_parts, unseen

if TYPE_CHECKING:
    from shared.klaviyo.bulk import Held
    from shared.klaviyo.client import KlaviyoClient
    from shared.omneo.client import OmneoClient, ProfilesPage

PAGE_SIZE = 100
PAGES_AT_ONCE = 10  # a thousand profiles: as many as one subscribe takes
_MOST_PAGES_BACK = 10
# Of the 750 calls a minute that Klaviyo allows: the rest is for live traffic.
CALLS_PER_MINUTE = 675

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ListedPage:
    """A page of Omneo's list: its profiles, and the place after it."""

    number: int
    rows: tuple[Row, ...]
    after: Cursor


@dataclass
class OmneoList:
    """Omneo's profiles, oldest first; those changed since then, if that is given. `total` is how many there were when it was last read."""

    omneo: "OmneoClient"
    since: datetime | None
    readers: Executor
    total: int = 0

    def after(self, place: Cursor, *, before: int | None = None) -> list[ListedPage]:
        """Return the next pages, as many as are read at once, but none from page `before` on. The last one's place is over."""
        first, last = place.page, self._last(place.page, before)
        numbers = [*([first - 1] if place.seen else []), *range(first, last + 1)]
        pages = dict(zip(numbers, self.readers.map(self._page, numbers), strict=True))
        newest = pages[first]
        self.total = newest.total
        moved = self._moved(pages[first - 1].rows, place) if place.seen else ()
        found = []
        for number in range(first, last + 1):
            rows = (*moved, *pages[number].rows) if number == first else pages[number].rows
            is_over = number >= pages[number].pages
            after = place if not pages[number].rows else Cursor(number + 1, _ids(pages[number].rows))
            found.append(
                ListedPage(number, rows, Cursor(number + 1, after.seen, is_over) if is_over else after)
            )
            if is_over:
                break
        return found

    def _last(self, first: int, before: int | None) -> int:
        last = max(first, min(first + PAGES_AT_ONCE - 1, ceil(self.total / PAGE_SIZE)))
        return last if before is None else max(first, min(last, before - 1))

    def _moved(self, rows: tuple[Row, ...], place: Cursor) -> tuple[Row, ...]:
        """Return the profiles before this place that were not seen when it was the next."""
        found: tuple[Row, ...] = ()
        for number in range(place.page - 1, max(0, place.page - 1 - _MOST_PAGES_BACK), -1):
            page = rows if number == place.page - 1 else self._page(number).rows
            count = unseen(_ids(page), place.seen)
            if count is not None:
                return (*page[len(page) - count :], *found)
            found = (*page, *found)
        return found

    def _page(self, number: int) -> "ProfilesPage":
        return self.omneo.profiles_page(number, since=self.since, size=PAGE_SIZE)


class HeldProfiles:
    """What Klaviyo holds of some profiles."""

    def __init__(self, profiles: "Iterable[Held]" = ()) -> None:
        self._by: dict[str, dict[str, Held]] = {"id": {}, "email": {}, "phone_number": {}, "external_id": {}}
        self.add(profiles)

    def add(self, profiles: "Iterable[Held]") -> None:
        """Learn of more."""
        for profile in profiles:
            for name, known in self._by.items():
                if value := getattr(profile, name):
                    known[value.casefold()] = profile

    def of(self, name: Identifier, value: str) -> "Held | None":
        """Return the profile that has this identifier, None if none is known to."""
        return self._by[name].get(value.casefold()) if value else None


@dataclass(frozen=True)
class Wanted:
    """Whom Klaviyo is asked about: the id that Omneo holds, the Omneo id, and the addresses that a consent could be about."""

    klaviyo_id: str
    omneo_id: str
    email: str = ""
    phone_number: str = ""

    def find(self, held: HeldProfiles) -> "Held | None":
        """Return the profile, found as a live sync finds it: by the stored id, else by external_id, else by email."""
        return (
            held.of("id", self.klaviyo_id)
            or held.of("external_id", self.omneo_id)
            or held.of("email", self.email)
        )

    def owner(self, name: Identifier, held: HeldProfiles) -> "Held | None":
        """Return whose consent an address is about: that of whoever has it, else the profile's own."""
        return held.of(name, getattr(self, name)) or self.find(held)


@dataclass
class KlaviyoLook:
    """Looks many profiles up in Klaviyo, a hundred a call, and never faster than live traffic can bear."""

    klaviyo: "KlaviyoClient"
    readers: Executor
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    _free_at: datetime | None = None

    def at(self, wanted: Collection[Wanted]) -> HeldProfiles:
        """Return what Klaviyo holds of these: one call for a hundred whom it has as Omneo shows them.

        Whoever else has one of their addresses is among it, since a consent goes by the address.
        """
        held = HeldProfiles()
        self._ask(held, "id", (one.klaviyo_id for one in wanted))
        self._ask(held, "external_id", (one.omneo_id for one in wanted if one.find(held) is None))
        self._ask(
            held, "email", (one.email for one in wanted if _differs(one.email, one.find(held), "email"))
        )
        self._ask(
            held,
            "phone_number",
            (
                one.phone_number
                for one in wanted
                if _differs(one.phone_number, one.find(held), "phone_number")
            ),
        )
        return held

    def ids(self, ids: Iterable[str]) -> HeldProfiles:
        """Return which of these ids Klaviyo knows."""
        held = HeldProfiles()
        self._ask(held, "id", ids)
        return held

    def _ask(self, held: HeldProfiles, name: Identifier, values: Iterable[str]) -> None:
        parts = in_parts(sorted({value for value in values if value}), READ_AT_ONCE)
        if not parts:
            return
        self._keep_pace(len(parts))

        def read(part: list[str]) -> "list[Held]":
            return self.klaviyo.profiles_by(name, part)

        for found in self.readers.map(read, parts):
            held.add(found)

    def _keep_pace(self, calls: int) -> None:
        now = self.clock()
        free_at = max(self._free_at or now, now)
        if free_at > now:
            self.sleep((free_at - now).total_seconds())
        self._free_at = free_at + timedelta(minutes=calls / CALLS_PER_MINUTE)


def _differs(address: str, profile: "Held | None", name: str) -> bool:
    return bool(address) and (profile is None or getattr(profile, name).casefold() != address.casefold())


def _ids(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(str(row.get("id") or "") for row in rows)
