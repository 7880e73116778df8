"""Where an accepted event waits: in the queue, or in a rush at once in the backlog, so that nothing stands before what comes later."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import QueueUnavailableError, StoreUnavailableError
from shared.jobs.jobs import SweepOutbox
from shared.metrics.few import Few
from shared.metrics.packing import sweep_events
from shared.metrics.singles import UNTRIED
from shared.services import Services
from shared.targets.routes import TargetCall, target_named
from tests.support.backlogs import BULK, SINGLE, Rush
from tests.support.through import Through
from tests.support.world import TENANT, World

MANY = 30


class Targets:
    """An instance of the function that takes calls."""

    def __init__(self, rush: Rush) -> None:
        self.rush = rush
        self.services: Services = replace(rush.world.services, _kept={})
        vars(self.services)["queue"] = rush.world.services.queue

    def call(self, number: int, *, metric: str = "Points Expire", **query: str) -> str:
        """Call the target of events, and return the id of the answer."""
        profile = {"data": {"attributes": {"email": f"canary-{number}@example.org"}}}
        body = {"attributes": {"profile": profile, "properties": {"n": number}}}
        call = TargetCall(self.rush.world.read(), body, {"metric": metric, **query}, "")
        status, answer = target_named("metric").answer(call, self.services)
        assert status == 202
        return str(answer["id"])


@pytest.fixture
def rush(world: World) -> Rush:
    return Rush(world).set_up()


@pytest.fixture
def targets(rush: Rush) -> Targets:
    return Targets(rush)


def keep_to_bulk(rush: Rush, seconds: float = 20) -> None:
    until = rush.world.clock() + timedelta(seconds=seconds)
    rush.world.services.rests.rest(TENANT, UNTRIED, until)


def test_without_a_rush_events_are_queued_however_many_they_are(rush: Rush, targets: Targets) -> None:
    for number in range(MANY):
        targets.call(number)
    assert (len(rush.queued("send-metric")), rush.waiting()) == (MANY, [])


def test_in_a_rush_what_is_none_of_few_waits_in_the_backlog_and_stands_before_nothing(
    rush: Rush, targets: Targets
) -> None:
    keep_to_bulk(rush)
    for number in range(MANY):
        targets.call(number)
    queued = len(rush.queued("send-metric"))
    assert queued + len(rush.waiting()) == MANY
    assert 0 < queued < MANY / 2
    targets.call(100, metric="Reward Issued")
    rush.world.work()
    assert 100 in rush.arrived()
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == [*range(MANY), 100]
    assert set(rush.statuses(BULK)) == {202}


def test_what_may_not_go_in_bulk_is_queued_in_a_rush_too(rush: Rush, targets: Targets) -> None:
    keep_to_bulk(rush)
    for number in range(MANY):
        targets.call(number, withToken="true")
    assert (len(rush.queued("send-metric")), rush.waiting()) == (MANY, [])


def test_an_event_that_waits_from_the_start_is_told_of_by_its_id(rush: Rush, targets: Targets) -> None:
    from shared.admin.jobs import job as told

    keep_to_bulk(rush)
    ids = [targets.call(number) for number in range(MANY)]
    answer = told(rush.world.read(), ids[-1], rush.world.services)
    assert (answer["state"], answer["kind"]) == ("waiting", "send-metric")


def test_a_repeat_of_a_call_whose_event_waits_already_waits_once(rush: Rush, targets: Targets) -> None:
    """The event was safe in the backlog; what could not be queued was the packer."""
    keep_to_bulk(rush)
    queue = vars(targets.services)["queue"]
    few = Few.of(targets.services)
    while few.has(rush.job()):
        pass
    vars(targets.services)["queue"] = Away()
    with pytest.raises(QueueUnavailableError):
        targets.call(1)
    assert rush.waiting() == [1]
    vars(targets.services)["queue"] = queue
    targets.call(1)
    assert [job.kind for job in rush.queued()] == ["pack-events"]
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(BULK), rush.calls(SINGLE)) == ([1], [202], [])


def test_a_repeat_whose_first_call_may_have_been_sent_never_goes_in_bulk(
    rush: Rush, targets: Targets
) -> None:
    """The queue took the first one, and its answer was lost."""
    vars(targets.services)["queue"] = Losing(vars(targets.services)["queue"])
    with pytest.raises(QueueUnavailableError):
        targets.call(1)
    rush.world.work()
    assert rush.arrived() == [1]
    vars(targets.services)["queue"] = rush.world.services.queue
    rush.throttle(30)
    targets.call(1)
    rush.world.work()
    assert rush.waiting() == []
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(BULK)) == ([1], [])


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_event_goes_by_the_queue_where_the_store_does_not_say_that_it_took_it(
    rush: Rush, targets: Targets, *, is_stored: bool
) -> None:
    """A store that is away can take no note of the call either, and the caller's repeat would be a second event."""
    keep_to_bulk(rush)
    few = Few.of(targets.services)
    while few.has(rush.job()):
        pass
    targets.services.rests.until(TENANT, UNTRIED)
    vars(targets.services)["documents"] = Silent(rush.world.services.documents, is_stored=is_stored)
    targets.call(1)
    assert rush.waiting() == ([1] if is_stored else [])
    rush.world.work()
    rush.world.clock.advance(180)
    sweep_events(
        SweepOutbox(tenant=TENANT, accepted_at=rush.world.clock()), rush.world.read(), rush.world.services
    )
    rush.work_until_quiet()
    assert (rush.arrived(), rush.world.dead_jobs()) == ([1], [])


class Silent(Through):
    """A store that answers nothing any more; it may take what it is given."""

    def __init__(self, documents: Any, *, is_stored: bool) -> None:
        super().__init__(documents)
        self.is_stored = is_stored

    def passing(self, operation: str, call: Any) -> Any:
        if operation == "create" and self.is_stored:
            call()
        raise StoreUnavailableError("It took longer than it may.")


class Away:
    """A queue that nobody reaches."""

    def __getattr__(self, name: str) -> Any:
        raise QueueUnavailableError("The queue did not take the task.")


class Losing:
    """A queue that takes every task, and whose answer is lost."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            getattr(self._queue, name)(*args, **named)
            raise QueueUnavailableError("The queue did not take the task (DeadlineExceeded).")

        return call
