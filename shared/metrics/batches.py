"""The batches of a packer: which of the waiting events go next in a bulk job, which go singly, and which are dropped.

Nothing is sent or changed here; packing.py does that.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import UndecryptableError
from shared.jobs.jobs import SendMetric
from shared.jobs.rules.patience import is_given_up
from shared.jobs.rules.windows import Window
from shared.metrics.backlog import Backlog, Waiting
from shared.metrics.metrics import with_the_number_read
from shared.metrics.rules.bulk import MOST_EVENTS, Filling, Place
from shared.services import Services
from shared.tenants.tenants import Tenant

Dropped = Callable[[SendMetric], bool]


@dataclass(frozen=True)
class Event:
    """An event of a batch: its id in the backlog, the job that brought it, and the event as Klaviyo gets it."""

    id: str
    job: SendMetric
    sent: Mapping[str, Any]


@dataclass
class Batch:
    """The next step: the events that go in bulk, the events that go singly, and the ids of the events that are dropped.

    `last` is the id after which the next batch begins.
    """

    events: list[Event] = field(default_factory=list)
    alone: list[Waiting] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    last: str | None = None
    is_full: bool = False

    @property
    def ids(self) -> list[str]:
        """The ids of the events that go in bulk."""
        return [event.id for event in self.events]

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.events or self.alone or self.dropped)


class Batches:
    """Reads the batches of one run, in which no event goes in bulk twice. `unread` holds the ids of the events that cannot be read."""

    def __init__(self, tenant: Tenant, services: Services, dropping: Callable[[], Dropped]) -> None:
        self.unread: set[str] = set()
        self._tenant = tenant
        self._clock = services.clock
        self._backlog = Backlog.of(services)
        self._dropping = dropping
        self._known: set[int] = set()  # the events in the batches of this run

    def after(self, last: str | None) -> Batch:
        """Return the next batch, behind the event with the id `last`."""
        batch, filling, is_dropped = Batch(last=last), Filling(self._known), self._dropping()
        for waiting in self._of_past_windows(last):
            place = self._put(waiting, batch, filling, is_dropped)
            if place is Place.FULL:
                batch.is_full = True
                break
            batch.last = waiting.id
            if filling.count == MOST_EVENTS:
                batch.is_full = True
                break
        return batch

    def drop_the_erased(self, batch: Batch) -> None:
        """Leave out the events of persons who were erased since the batch was read: the batch before took seconds to send."""
        is_dropped = self._dropping()
        batch.dropped += [event.id for event in batch.events if is_dropped(event.job)]
        batch.events = [event for event in batch.events if not is_dropped(event.job)]

    def job_of(self, waiting: Waiting) -> SendMetric | None:
        """Return the job of an event, None if it cannot be read: an unreadable event must not stop the others."""
        try:
            return waiting.job
        except UndecryptableError:
            self.unread.add(waiting.id)
            return None

    def _put(self, waiting: Waiting, batch: Batch, filling: Filling, is_dropped: Dropped) -> Place:
        job = self.job_of(waiting)
        if job is None:
            return Place.TAKEN
        if is_dropped(job):
            batch.dropped.append(waiting.id)
            return Place.TAKEN
        event = with_the_number_read(job.event, self._tenant)
        place = Place.REPEATED if self._is_old(job) else filling.offer(event)
        if place is Place.REPEATED:
            batch.alone.append(waiting)
        elif place is Place.TAKEN:
            batch.events.append(Event(waiting.id, job, event))
        return place

    def _of_past_windows(self, last: str | None) -> Iterator[Waiting]:
        """Yield the waiting events of past windows. It stops after it has skipped a full job of events of the present window."""
        present, passed_over = Window.at(self._clock()).number, 0
        for waiting in self._backlog.waiting(self._tenant.name, after=last):
            if waiting.window < present:
                yield waiting
                continue
            passed_over += 1
            if passed_over == MOST_EVENTS:
                return

    def _is_old(self, job: SendMetric) -> bool:
        now = self._clock()
        return is_given_up(now - job.waits_since - self._tenant.time_disconnected(job.waits_since, now))
