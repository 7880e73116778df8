"""Traffic: how many of each tenant's calls and jobs were accepted, refused, delivered, put back to wait and given up, by target, metric and hour.

No document is hot. Each instance counts in its memory and writes its own share: a document for each tenant and hour, which no other
instance writes, with totals, so that a write whose answer was lost counts once. It writes inside a call, because nothing runs after an
answer. It writes the first count after ten quiet seconds at once, so that a lone refusal is seen, and later counts with the first call
after ten seconds more. So an instance that is killed or gets no more calls loses the counts since its last write: as a rule, ten seconds'
worth.

A reader folds the shares of a day's hours into one document, once the day after it is over.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.storage.documents import Document, Documents, Value, delete_all, each_document
from shared.traffic.rules.counts import Row, Table, Tally, add, decoded, encoded, merged

if TYPE_CHECKING:
    from shared.services import Services

WRITES_EVERY = timedelta(seconds=10)
KEPT = timedelta(days=35)
ALSO_WRITTEN = 2  # how many tenants' counts a call of another tenant writes too
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Span:
    """The counts of an hour, or of a day that is over (`is_day`), from `at` on."""

    at: datetime
    table: Table
    is_day: bool = False


class Traffic:
    """Counts, and returns the counts of all instances. Safe for threads."""

    def __init__(
        self, documents: Callable[[], Documents], clock: Callable[[], datetime], instance: Callable[[], str]
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._new_instance = instance
        self._instance = ""
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, datetime], dict[Row, Tally]] = {}
        self._unwritten: set[tuple[str, datetime]] = set()
        self._tried: dict[str, datetime] = {}

    @classmethod
    def of(cls, services: "Services") -> "Traffic":
        """Return the counts of this process."""
        return services.kept(cls, lambda: cls(lambda: services.documents, services.clock, services.new_word))

    def count(self, tenant: str, row: Row, number: int = 1) -> None:
        """Count, and write the counts that are due. A failure of the store fails no call; the next try comes after ten seconds."""
        now = self._clock()
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        with self._lock:
            add(self._counted.setdefault((tenant, hour), {}), row, Tally(number, now))
            self._unwritten.add((tenant, hour))
            due = self._take_due(tenant, now)
        for name, at, table in due:
            self._write(name, at, table, hour)

    def spans(self, tenant: str, since: datetime) -> list[Span]:
        """Return the counts from the hour of that moment on, the earliest first: by day if the day is folded, otherwise by hour.

        Raises:
            StoreUnavailableError: the store cannot answer.
        """
        first = since.astimezone(UTC)
        days = {document.id: document for document in self._all(_days(tenant), f"{first - DAY:%Y-%m-%d}")}
        folded = {id for day in days.values() for id in _folded(day)}
        hours: dict[str, list[Table]] = {}
        for share in self._all(_shares(tenant), f"{first - HOUR:%Y-%m-%dT%H}~"):
            if share.id not in folded:
                hours.setdefault(share.id[:13], []).append(decoded(share.fields.get("rows")))
        found = [Span(_day(id), decoded(day.fields.get("rows")), is_day=True) for id, day in days.items()]
        found += [Span(_hour(id), merged(tables)) for id, tables in hours.items()]
        return sorted((span for span in found if _ends(span) > first), key=lambda span: span.at)

    def fold(self, tenant: str) -> None:
        """Fold the shares of each day before yesterday into one document. Two callers at once fold each share once.

        Raises:
            StoreUnavailableError: the store cannot answer; days that are folded stay folded.
        """
        today = f"{self._clock().astimezone(UTC) - DAY:%Y-%m-%d}"
        days: dict[str, list[Document]] = {}
        for share in self._all(_shares(tenant), None):
            if share.id[:10] >= today:
                break
            days.setdefault(share.id[:10], []).append(share)
        for day, shares in days.items():
            if self._folded_into(tenant, day, shares):
                for share in shares:
                    self._documents().delete(_shares(tenant), share.id)

    def forget(self, tenant: str) -> None:
        """Forget every count of a tenant."""
        for collection in (_shares(tenant), _days(tenant)):
            delete_all(self._documents(), collection)

    def _take_due(self, tenant: str, now: datetime) -> list[tuple[str, datetime, Table]]:
        """Return the counts to write now, of this tenant and of some tenants that got no further call."""
        late = [name for name, _ in sorted(self._unwritten, key=lambda one: one[1]) if name != tenant]
        names = [tenant, *dict.fromkeys(name for name in late if self._is_due(name, now))][: 1 + ALSO_WRITTEN]
        due: list[tuple[str, datetime, Table]] = []
        for name in names:
            if self._is_due(name, now):
                self._tried[name] = now
                places = [place for place in self._unwritten if place[0] == name]
                due += [(*place, dict(self._counted[place])) for place in places]
                self._unwritten.difference_update(places)
        return due

    def _is_due(self, tenant: str, now: datetime) -> bool:
        tried = self._tried.get(tenant)
        return tried is None or now - tried >= WRITES_EVERY

    def _write(self, tenant: str, hour: datetime, table: Table, present: datetime) -> None:
        try:
            self._write_share(tenant, hour, table)
        except StoreUnavailableError:
            with self._lock:
                self._unwritten.add((tenant, hour))
            return
        with self._lock:
            if hour < present and (tenant, hour) not in self._unwritten:
                self._counted.pop((tenant, hour), None)  # an hour that is over is written for the last time

    def _write_share(self, tenant: str, hour: datetime, table: Table) -> None:
        self._instance = self._instance or self._new_instance()
        id = f"{hour:%Y-%m-%dT%H} {self._instance}"
        fields: dict[str, Value] = {"rows": encoded(table), "expire_at": hour + KEPT}
        try:
            self._documents().update(_shares(tenant), id, fields)
        except DocumentMissingError:
            with suppress(
                DocumentExistsError
            ):  # two threads of this instance: the later one writes again in ten seconds
                self._documents().create(_shares(tenant), id, fields)

    def _folded_into(self, tenant: str, day: str, shares: list[Document]) -> bool:
        """Add the shares to their day's document, each once; return whether that is done."""
        before = self._documents().get(_days(tenant), day)
        known = _folded(before) if before else []
        new = [share for share in shares if share.id not in known]
        tables = [decoded(share.fields.get("rows")) for share in new]
        if before:
            tables.insert(0, decoded(before.fields.get("rows")))
        fields: dict[str, Value] = {
            "rows": encoded(merged(tables)),
            "folded": [*known, *(share.id for share in new)],
            "expire_at": _day(day) + DAY + KEPT,
        }
        try:
            if before is None:
                self._documents().create(_days(tenant), day, fields)
            else:
                self._documents().update(_days(tenant), day, fields, version=before.version)
        except (DocumentExistsError, DocumentChangedError):
            return False  # another reader folds this very day
        return True

    def _all(self, collection: str, after: str | None) -> Iterator[Document]:
        return each_document(self._documents(), collection, after=after)


def _ends(span: Span) -> datetime:
    return span.at + (DAY if span.is_day else HOUR)


def _folded(day: Document) -> list[Value]:
    folded = day.fields.get("folded")
    return folded if isinstance(folded, list) else []


def _day(id: str) -> datetime:
    return datetime.strptime(id, "%Y-%m-%d").replace(tzinfo=UTC)


def _hour(id: str) -> datetime:
    return datetime.strptime(id, "%Y-%m-%dT%H").replace(tzinfo=UTC)


def _shares(tenant: str) -> str:
    return f"tenants/{tenant}/traffic"


def _days(tenant: str) -> str:
    return f"tenants/{tenant}/traffic_days"
