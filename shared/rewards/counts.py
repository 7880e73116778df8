"""How many rewards a tenant with a limit has issued this hour.

A document takes about one write a second, so several documents share the limit: each holds a part of it, and a reward takes its place in
one that has a place left. So the limit is never exceeded. If a process dies, its place stays taken until the hour ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.storage.documents import Document, Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

SHARDS = 8
_TRIES = 10
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """One reward's place in the count; hand it back if there was no reward."""

    collection: str
    id: str


class RewardCounts:
    """Counts rewards by tenant and hour (UTC)."""

    def __init__(
        self, documents: Documents, clock: Callable[[], datetime], random: Callable[[], float]
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._random = random

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock, services.random)

    def reserve(self, tenant: str, most: int) -> Place | None:
        """Return a place among the `most` of this hour, None if all are taken.

        Raises:
            StoreUnavailableError: the store cannot answer, or too many count at once.
        """
        collection, hour = _collection(tenant), f"{self._clock():%Y-%m-%dT%H}"
        known = {found.id: found for found in self._documents.find(collection, where={"hour": hour})}
        shards = min(SHARDS, most)
        first, is_crowded = int(self._random() * shards), False
        for shard in ((first + step) % shards for step in range(shards)):
            place = Place(collection, f"{hour}-{shard}")
            taken = self._take(place, hour, _share(most, shard, shards), known.get(place.id))
            if taken:
                return place
            is_crowded = is_crowded or taken is None
        if is_crowded:
            raise StoreUnavailableError("Too many rewards are being counted at this moment.")
        return None

    def give_back(self, place: Place) -> None:
        """Free a place that no reward has taken."""
        for _ in range(_TRIES):
            found = self._documents.get(place.collection, place.id)
            if found is None or _count(found) <= 0:
                return
            if self._write(place, found, _count(found) - 1):
                return

    def seconds_to_next_hour(self) -> float:
        """Return the seconds until a new count begins."""
        now = self._clock()
        return (now.replace(minute=0, second=0, microsecond=0) + HOUR - now).total_seconds()

    def forget(self, tenant: str) -> None:
        """Forget every count of a tenant."""
        delete_all(self._documents, _collection(tenant))

    def _take(self, place: Place, hour: str, share: int, found: Document | None) -> bool | None:
        """Return whether a place was left; None if other callers were faster each time."""
        for _ in range(_TRIES):
            if found is None:
                if self._make(place, hour):
                    return True
            elif _count(found) >= share:
                return False
            elif self._write(place, found, _count(found) + 1):
                return True
            found = self._documents.get(place.collection, place.id)
        return None

    def _make(self, place: Place, hour: str) -> bool:
        fields: dict[str, Value] = {"hour": hour, "count": 1, "expire_at": self._clock() + 2 * HOUR}
        try:
            self._documents.create(place.collection, place.id, fields)
        except DocumentExistsError:
            return False
        return True

    def _write(self, place: Place, found: Document, count: int) -> bool:
        try:
            self._documents.update(place.collection, place.id, {"count": count}, version=found.version)
        except (DocumentChangedError, DocumentMissingError):
            return False
        return True


def _share(most: int, shard: int, shards: int) -> int:
    """Return the part of the limit that one shard holds.

    >>> [_share(10, shard, 8) for shard in range(8)]
    [2, 2, 1, 1, 1, 1, 1, 1]
    """
    return most // shards + (shard < most % shards)


def _count(document: Document) -> int:
    count = document.fields.get("count")
    return count if isinstance(count, int) else 0


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/reward_counts"
