"""How events come into the inboxes of their profiles, and when each inbox is flushed."""

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared import logs
from shared.consent.inbox import Inbox
from shared.consent.spreading import flush_soon, spread, sweep
from shared.consent_events import SystemEvent
from shared.direction import Direction
from shared.errors import QueueUnavailableError
from shared.jobs.jobs import AnyJob, FlushInbox, SpreadEvents, SweepInbox
from shared.jobs.queue import QueueState
from shared.jobs.rules.windows import CLOCKS_APART, LENGTH, SETTLE
from shared.storage.sqlite import SqliteDocuments
from shared.tenants.tenants import Tenant
from tests.support.mortal import Fate, KilledError, WatchedDocuments
from tests.support.world import ACCOUNT, TENANT, Clock, a_tenant, lines


class Queue:
    """Takes jobs, and each name once. `fails` lets the next puts fail."""

    def __init__(self, clock: Clock) -> None:
        self.named: dict[str, tuple[FlushInbox, datetime]] = {}
        self.fails = 0
        self._clock = clock

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        raise AssertionError("a flush has a name")

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        if self.fails:
            self.fails -= 1
            raise QueueUnavailableError("not now")
        if name in self.named:
            return False
        assert isinstance(job, FlushInbox)
        self.named[name] = (job, self._clock() + timedelta(seconds=delay))
        return True

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        raise AssertionError("nothing is put back")

    def ensure(self, tenant: Tenant) -> None:
        raise AssertionError("queues are there")

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        raise AssertionError("nothing is paused")

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        raise AssertionError("nothing is resumed")

    def state(self, tenant: Tenant, direction: Direction) -> QueueState:
        raise AssertionError("nobody asks")

    def purge(self, tenant: Tenant, direction: Direction) -> None:
        raise AssertionError("nothing is purged")

    @property
    def profiles(self) -> list[str]:
        return sorted(job.profile for job, _ in self.named.values())

    @property
    def due(self) -> list[datetime]:
        return sorted(due for _, due in self.named.values())


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue(clock)


@pytest.fixture
def tenant(clock: Clock) -> Tenant:
    return a_tenant(TENANT, clock())


@pytest.fixture
def inbox(tmp_path: Path, clock: Clock) -> Inbox:
    return Inbox(SqliteDocuments(tmp_path / "documents.db"), clock)


def events(clock: Clock, *profiles: str) -> tuple[SystemEvent, ...]:
    """Return an event of each of these profiles."""
    return tuple(
        SystemEvent(id=f"e{number}", topic="dropped_email", profile=profile, at=clock())
        for number, profile in enumerate(profiles)
    )


def a_spread(clock: Clock, *profiles: str) -> SpreadEvents:
    return SpreadEvents(
        tenant=TENANT,
        accepted_at=clock(),
        account=ACCOUNT,
        events=events(clock, *profiles),
        traceparent="00-x",
    )


def test_each_profile_is_flushed_once_however_many_its_events(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("p")
    with logs.context(job="j"):
        spread(a_spread(clock, "a", "b", "a", "c", "b"), tenant, inbox=inbox, queue=queue, clock=clock)
        logs.write(20, "done")
    assert queue.profiles == ["a", "b", "c"]
    [line] = lines(capsys.readouterr().out)
    assert (line["events"], line["received"]) == (5, {"added": 5})


def test_a_flush_is_due_when_its_window_has_settled(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    clock.advance(3.5)
    spread(a_spread(clock, "a"), tenant, inbox=inbox, queue=queue, clock=clock)
    [due] = queue.due
    assert due == datetime.fromisoformat("2026-11-21T10:00:00+00:00") + LENGTH + SETTLE
    [(job, _)] = queue.named.values()
    assert job.traceparent == "00-x"


def test_a_window_that_may_be_over_is_not_trusted(queue: Queue, tenant: Tenant, clock: Clock) -> None:
    flush_soon(tenant, "a", queue=queue, clock=clock)
    clock.advance((LENGTH - CLOCKS_APART).total_seconds() - 0.1)
    flush_soon(tenant, "a", queue=queue, clock=clock)
    assert len(queue.named) == 1
    clock.advance(0.1)
    flush_soon(tenant, "a", queue=queue, clock=clock)
    assert len(queue.named) == 2
    assert queue.due[1] - queue.due[0] == LENGTH


def test_a_delay_is_never_negative(queue: Queue, tenant: Tenant, clock: Clock) -> None:
    """A process that stood still between two looks at its clock asks for now, not for the past."""
    ticks = iter([clock(), clock() + timedelta(seconds=60)])
    flush_soon(tenant, "a", queue=queue, clock=lambda: next(ticks))
    assert queue.due == [clock()]


def test_a_duplicate_that_was_handled_queues_nothing(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    spread(a_spread(clock, "a"), tenant, inbox=inbox, queue=queue, clock=clock)
    [entry] = inbox.open_of(TENANT, "a")
    inbox.close(TENANT, entry)
    clock.advance(60)
    spread(a_spread(clock, "a"), tenant, inbox=inbox, queue=queue, clock=clock)
    assert len(queue.named) == 1


def test_a_duplicate_that_is_still_open_is_flushed_again(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    spread(a_spread(clock, "a"), tenant, inbox=inbox, queue=queue, clock=clock)
    clock.advance(60)
    spread(a_spread(clock, "a"), tenant, inbox=inbox, queue=queue, clock=clock)
    assert len(queue.named) == 2


def test_a_queue_that_fails_leaves_the_entries_to_the_next_try(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    queue.fails = 1
    with pytest.raises(QueueUnavailableError):
        spread(a_spread(clock, "a", "b"), tenant, inbox=inbox, queue=queue, clock=clock)
    spread(a_spread(clock, "a", "b"), tenant, inbox=inbox, queue=queue, clock=clock)
    assert queue.profiles == ["a", "b"]


def test_a_death_while_spreading_loses_no_event(
    tmp_path: Path, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    for moment in range(8):
        documents = SqliteDocuments(tmp_path / f"{moment}.db")
        mortal = Inbox(WatchedDocuments(documents, Fate(moment, kills=True)), clock)
        whole = Inbox(documents, clock)
        job = a_spread(clock, "a", "b", "a", "c")
        with pytest.raises(KilledError):
            spread(job, tenant, inbox=mortal, queue=queue, clock=clock)
        spread(job, tenant, inbox=whole, queue=queue, clock=clock)
        assert len(list(whole.older_than(TENANT, clock() + timedelta(seconds=1)))) == 4
        assert set(queue.profiles) == {"a", "b", "c"}


def test_many_who_spread_one_delivery_at_once_keep_each_event_once(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    job = a_spread(clock, *"abcabcabc")

    def once() -> None:
        spread(job, tenant, inbox=inbox, queue=queue, clock=clock)

    threads = [threading.Thread(target=once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(inbox.older_than(TENANT, clock() + timedelta(seconds=1)))) == 9
    assert queue.profiles == ["a", "b", "c"]


# The sweep


def swept(inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock) -> None:
    sweep(SweepInbox(tenant=TENANT, accepted_at=clock()), tenant, inbox=inbox, queue=queue, clock=clock)


def test_what_has_waited_for_two_minutes_is_swept_once_an_hour(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    for event in events(clock, "a", "a", "b"):
        inbox.add(TENANT, ACCOUNT, event)
    clock.advance(120)
    swept(inbox, queue, tenant, clock)
    assert queue.profiles == []
    clock.advance(1)
    swept(inbox, queue, tenant, clock)
    clock.advance(300)
    swept(inbox, queue, tenant, clock)
    assert queue.profiles == ["a", "b"]
    clock.advance(3600)
    swept(inbox, queue, tenant, clock)
    assert queue.profiles == ["a", "a", "b", "b"]


def test_what_was_given_up_stays_for_the_dead_letter_desk(
    inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock
) -> None:
    for event in events(clock, "a"):
        inbox.add(TENANT, ACCOUNT, event)
    clock.advance(24 * 3600)
    swept(inbox, queue, tenant, clock)
    assert queue.profiles == []


def test_what_is_done_is_not_swept(inbox: Inbox, queue: Queue, tenant: Tenant, clock: Clock) -> None:
    for event in events(clock, "a"):
        inbox.add(TENANT, ACCOUNT, event)
    [entry] = inbox.open_of(TENANT, "a")
    inbox.close(TENANT, entry)
    clock.advance(600)
    swept(inbox, queue, tenant, clock)
    assert queue.profiles == []


@pytest.mark.parametrize(("profiles", "warnings"), [((), 0), (("a", "b"), 1)])
def test_a_sweep_that_finds_something_warns(
    inbox: Inbox,
    queue: Queue,
    tenant: Tenant,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    profiles: tuple[str, ...],
    warnings: int,
) -> None:
    logs.configure("p")
    for event in events(clock, *profiles):
        inbox.add(TENANT, ACCOUNT, event)
    clock.advance(600)
    swept(inbox, queue, tenant, clock)
    found = [line for line in lines(capsys.readouterr().out) if line["severity"] == "WARNING"]
    assert [line["swept"] for line in found] == [2] * warnings
