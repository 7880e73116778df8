"""The backlog: events that wait for a bulk job, from the moment when single calls were throttled until Klaviyo has them.

Each event is an encrypted document, because events are about people. The documents keep the order in which the calls were accepted. The
events of a bulk call are noted before the call, so that nobody takes them for untried if the process dies. Nothing is sent here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, cast

from shared.errors import DocumentChangedError, DocumentExistsError, UndecryptableError
from shared.jobs.jobs import SendMetric, write_job
from shared.jobs.rules.windows import LENGTH, Window
from shared.storage.documents import MOST_WRITES, Document, Documents, Value, Write, delete_all, each_document
from shared.storage.encryption import KeyRing
from shared.storage.sealed import SealedField

if TYPE_CHECKING:
    from shared.services import Services

# An event is at most 16 KB (`LARGEST_EVENT`), some 22 KB sealed: a page is at most 11 MB, which the store brings within one time-out.
_AT_ONCE = 500
_TRY = "tried"  # the one document that notes a bulk call: a tenant has one packer


@dataclass(frozen=True)
class Waiting:
    """An event that waits. `window` is the number of the ten seconds in which it came here."""

    id: str
    window: int
    _opened: Callable[[], SendMetric]

    @property
    def since(self) -> datetime:
        """The time since when it has waited, to ten seconds."""
        return Window(self.window).end - LENGTH

    @property
    def job(self) -> SendMetric:
        """The job that brought the event."""
        return self._opened()


class Backlog:
    """Stores the waiting events of each tenant."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self._event = SealedField(documents, keys, "event", context="event_backlog.event")

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.keys)

    def add(self, tenant: str, job: SendMetric, *, at: datetime) -> None:
        """Add an event that waits from this moment on. To add it again while it waits changes nothing."""
        fields: dict[str, Value] = {
            "job": job.id,
            "accepted_at": job.accepted_at.astimezone(UTC),
            "window": str(
                Window.at(at).number
            ),  # as text, so that SQLite finds it without a read of the others
            "event": self._event.seal(tenant, write_job(job)),
        }
        with suppress(DocumentExistsError):
            self._documents.create(_events(tenant), _id(job), fields)

    def holds(self, tenant: str, job: SendMetric) -> bool:
        """Return whether the event of this job waits."""
        return self._documents.get(_events(tenant), _id(job)) is not None

    def waits_of(self, tenant: str, job: str) -> SendMetric | None:
        """Return the job of this id if its event waits, else None."""
        found = self._documents.find(_events(tenant), where={"job": job}, limit=1)
        return self._waiting(tenant, found[0]).job if found else None

    def waiting(self, tenant: str, *, after: str | None = None) -> Iterator[Waiting]:
        """Yield the waiting events, the earliest accepted first, a page at a time; with `after`, only those after the event with this id."""
        found = each_document(self._documents, _events(tenant), after=after, at_once=_AT_ONCE)
        return (self._waiting(tenant, document) for document in found)

    def first(self, tenant: str) -> Waiting | None:
        """Return the event that was accepted first, None if nothing waits."""
        found = self._documents.find(_events(tenant), limit=1)
        return self._waiting(tenant, found[0]) if found else None

    def count(self, tenant: str) -> int:
        """Return how many events wait."""
        return self._documents.count(_events(tenant))

    def count_of(self, tenant: str, window: int) -> int:
        """Return how many of the waiting events came in this window."""
        return self._documents.count(_events(tenant), where={"window": str(window)})

    def note_try(self, tenant: str, ids: Collection[str]) -> None:
        """Note that a bulk call with these events is about to be made.

        Raises:
            DocumentExistsError: another bulk call is noted; its packer still works, or has died.
        """
        self._documents.create(_tries(tenant), _TRY, {"events": list(ids)})

    def tried(self, tenant: str) -> frozenset[str] | None:
        """Return the event ids of the bulk call that is noted and not over, None if there is none."""
        note = self._documents.get(_tries(tenant), _TRY)
        return None if note is None else frozenset(cast(list[str], note.fields["events"]))

    def end_try(self, tenant: str, ids: Collection[str]) -> None:
        """Note that the bulk call with these events is over and its events are handled. The note of another packer's call stays."""
        note = self._documents.get(_tries(tenant), _TRY)
        if note is not None and set(cast(list[str], note.fields["events"])) == set(ids):
            with suppress(DocumentChangedError):
                self._documents.delete(_tries(tenant), _TRY, version=note.version)

    def take_out(self, tenant: str, ids: Iterable[str], *, also: Iterable[Write] = ()) -> None:
        """Make the other writes, and then take these events out, as many at once as the store allows."""
        self._write(list(also))
        self._write([Write(_events(tenant), id) for id in ids])

    def _write(self, writes: list[Write]) -> None:
        parts = [writes[start : start + MOST_WRITES] for start in range(0, len(writes), MOST_WRITES)]
        if len(parts) < 2:
            for part in parts:
                self._documents.write_all(part)
            return
        with ThreadPoolExecutor(len(parts)) as threads:
            for _ in threads.map(self._documents.write_all, parts):
                pass  # raises the error of a write that failed

    def forget_those(self, tenant: str, is_meant: Callable[[SendMetric], bool]) -> int:
        """Take out every matching event; return how many there were.

        Raises:
            UndecryptableError: some events cannot be read, so their persons are unknown; all other matching events were taken out.
        """
        meant, unreadable = [], None
        for waiting in self.waiting(tenant):
            try:
                if is_meant(waiting.job):
                    meant.append(waiting.id)
            except UndecryptableError as error:
                unreadable = error
        self.take_out(tenant, meant)
        if unreadable is not None:
            raise unreadable
        return len(meant)

    def forget(self, tenant: str) -> None:
        """Forget everything of the tenant."""
        while found := self._documents.find(_events(tenant), limit=_AT_ONCE):
            self.take_out(tenant, [document.id for document in found])
        delete_all(self._documents, _tries(tenant))

    def reencrypt(self, tenant: str, *, dry_run: bool = False) -> int:
        """Encrypt with the first key every event that an older key encrypted; return how many there were.

        Raises:
            UndecryptableError: some cannot be read; all others were written.
        """
        return self._event.reencrypt(tenant, _events(tenant), at_once=_AT_ONCE, dry_run=dry_run)

    def _waiting(self, tenant: str, document: Document) -> Waiting:
        def opened() -> SendMetric:
            return SendMetric.model_validate_json(self._event.open(tenant, document))

        return Waiting(document.id, int(str(document.fields["window"])), opened)


def _id(job: SendMetric) -> str:
    return f"{job.accepted_at.astimezone(UTC):%Y%m%dT%H%M%S%f} {job.id}"


def _events(tenant: str) -> str:
    return f"tenants/{tenant}/event_backlog"


def _tries(tenant: str) -> str:
    return f"tenants/{tenant}/event_tries"
