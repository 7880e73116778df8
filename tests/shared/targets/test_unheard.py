"""A caller's repeat: where our answer may not have reached it, an equal call is the same call; else it is a call of its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import QueueUnavailableError, StoreUnavailableError
from shared.records.rules.record import RECORD_ID
from shared.services import Services
from shared.storage.documents import Documents
from shared.targets.routes import TargetCall, target_named
from shared.targets.unheard import Acceptance, Moments, UnheardCalls, in_common
from tests.support import stores
from tests.support.recording import REWARDS, Shelf
from tests.support.through import Through
from tests.support.world import ACCOUNT, EMAIL, TENANT, Clock, World

documents = stores.documents
stored_bytes = stores.stored_bytes

EVENT = {"profile": {"email": EMAIL}, "reward_amount": 20}
RECORD = {"data_source": REWARDS, "record": {"n": 7, "balance": 10}}
TARGETS = [("metric", EVENT), ("data-source-record", RECORD)]
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class LosingQueue:
    """A queue that takes every task, and whose answer is lost, or late, as often as a test says."""

    def __init__(self, queue: Any, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self.lost = 0
        self.late = 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            result = getattr(self._queue, name)(*args, **named)
            self._clock.advance(self.late)
            if self.lost:
                self.lost -= 1
                raise QueueUnavailableError("The queue did not take the task (DeadlineExceeded).")
            return result

        return call


@pytest.fixture
def queue(world: World) -> LosingQueue:
    return LosingQueue(world.services.queue, world.clock)


@pytest.fixture
def call(world: World, queue: LosingQueue) -> Callable[..., str]:
    """Return a function that calls a target as main.py does; each call comes to another instance."""
    Shelf(world).set_up()

    def call(target: str, body: object, **query: str) -> str:
        services = replace(world.services, _kept={})
        vars(services)["queue"] = queue
        named = {"metric": "Reward Issued", **query} if target == "metric" else query
        _, answer = target_named(target).answer(TargetCall(world.read(), body, named, ""), services)
        return str(answer["id"])

    return call


def arrived(world: World) -> list[str]:
    """Return the ids of all events and records that Klaviyo has, copies included."""
    Shelf(world).work_until_quiet()
    records = world.sandbox.klaviyo.records(ACCOUNT)
    return [*(event.unique_id for event in world.events()), *(row.record[RECORD_ID] for row in records)]


@pytest.mark.parametrize(("target", "body"), TARGETS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_call_that_the_queue_took_without_our_knowing_and_its_repeats_are_one(
    world: World, queue: LosingQueue, call: Callable[..., str], target: str, body: object, times: int
) -> None:
    for _ in range(times):
        queue.lost = 1
        with pytest.raises(QueueUnavailableError):
            call(target, body)
        world.work(5)
    id = call(target, body)
    assert arrived(world) == [id]


@pytest.mark.parametrize(("target", "body"), TARGETS)
def test_a_repeat_of_an_answer_that_came_late_is_the_same_call(
    world: World, queue: LosingQueue, call: Callable[..., str], target: str, body: object
) -> None:
    queue.late = 5.1
    first = call(target, body)
    queue.late = 0
    world.work(5)
    assert call(target, body) == first
    assert arrived(world) == [first]


@pytest.mark.parametrize(("target", "body"), TARGETS)
def test_two_equal_calls_that_were_answered_in_time_are_two(
    world: World, call: Callable[..., str], target: str, body: object
) -> None:
    ids = [call(target, body) for _ in range(2)]
    assert sorted(arrived(world)) == sorted(ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize(("target", "body"), TARGETS)
def test_once_a_repeat_is_answered_the_next_equal_call_is_one_of_its_own(
    world: World, queue: LosingQueue, call: Callable[..., str], target: str, body: object
) -> None:
    queue.lost = 1
    with pytest.raises(QueueUnavailableError):
        call(target, body)
    ids = [call(target, body) for _ in range(2)]
    assert len(set(ids)) == 2
    assert sorted(arrived(world)) == sorted(ids)


@pytest.mark.parametrize(
    ("target", "body", "query"),
    [
        ("metric", {**EVENT, "reward_amount": 21}, {}),
        ("metric", EVENT, {"metric": "Reward Expired"}),
        ("metric", EVENT, {"withToken": "false"}),
    ],
)
def test_another_call_is_never_taken_for_the_repeat(
    queue: LosingQueue, call: Callable[..., str], target: str, body: object, query: dict[str, str]
) -> None:
    queue.lost = 1
    with pytest.raises(QueueUnavailableError):
        call("metric", EVENT)
    assert call(target, body, **query) != call("metric", EVENT)


@pytest.mark.parametrize(("seconds", "is_same"), [(3599, True), (3600, False)])
def test_a_repeat_may_come_within_the_hour(
    world: World, queue: LosingQueue, call: Callable[..., str], seconds: float, is_same: bool
) -> None:
    queue.lost = 1
    with pytest.raises(QueueUnavailableError):
        call("metric", EVENT)
    world.work()
    (event,) = world.events()
    world.clock.advance(seconds)
    assert (call("metric", EVENT) == event.unique_id) is is_same


def test_the_repeat_of_a_record_does_not_come_behind_a_newer_one_of_its_object(
    world: World, queue: LosingQueue, call: Callable[..., str]
) -> None:
    queue.lost = 1
    with pytest.raises(QueueUnavailableError):
        call("data-source-record", RECORD)
    world.work(20)
    call("data-source-record", {"data_source": REWARDS, "record": {"n": 7, "balance": 20}})
    world.work(20)
    call("data-source-record", RECORD)
    assert len(arrived(world)) == 2
    rows = world.sandbox.klaviyo.records(ACCOUNT)
    assert [row.record["balance"] for row in rows] == [10, 20]


def test_the_time_of_an_event_is_that_of_the_first_call(
    world: World, queue: LosingQueue, call: Callable[..., str]
) -> None:
    queue.lost = 1
    with pytest.raises(QueueUnavailableError):
        call("metric", EVENT)
    world.clock.advance(600)
    call("metric", EVENT)
    bodies = [json.loads(call.body) for call in _event_calls(world)]
    assert len({body["data"]["attributes"]["time"] for body in bodies}) == 1


def _event_calls(world: World) -> list[Any]:
    world.work()
    return [call for call in world.sandbox.klaviyo.calls.all() if call.path == "/api/events"]


class _Gone(Through):
    def passing(self, operation: str, call: Any) -> Any:
        raise StoreUnavailableError("gone")


def test_a_metric_is_accepted_though_the_store_cannot_say_whether_it_is_a_repeat(world: World) -> None:
    tenant = world.tenant()
    services: Services = replace(world.services)
    vars(services)["documents"] = _Gone(world.services.documents)
    call = TargetCall(tenant, EVENT, {"metric": "Reward Issued"}, "")
    _, answer = target_named("metric").answer(call, services)
    assert arrived(world) == [answer["id"]]


class _LosesAnAnswer(Through):
    """A store that writes a document and does not say so, once."""

    def passing(self, operation: str, call: Any) -> Any:
        result = call()
        if operation == "create" and "lost" not in vars(self):
            vars(self)["lost"] = True
            raise StoreUnavailableError("It took longer than it may.")
        return result


@pytest.mark.parametrize("records", [1, 20])
def test_records_that_the_store_took_without_our_knowing_and_their_repeat_are_known_for_one(
    world: World, call: Callable[..., str], records: int
) -> None:
    rows = [{"n": n, "text": "x" * 90_000} for n in range(records)]  # of twenty, a second parcel is missing
    body = {"data_source": "rewards", "records": rows}
    services: Services = replace(world.services)
    vars(services)["documents"] = _LosesAnAnswer(world.services.documents)
    with pytest.raises(StoreUnavailableError):
        target_named("data-source-record").answer(TargetCall(world.read(), body, {}, ""), services)
    id = call("data-source-record", body)
    known = arrived(world)
    assert len(set(known)) == len(known) == records
    assert all(one.startswith(id) for one in known)


class TestNotes:
    def test_a_note_is_found_for_an_hour_and_then_replaced(self, documents: Documents, clock: Clock) -> None:
        unheard = UnheardCalls(documents, clock)
        unheard.note(TENANT, "call", Acceptance("first", NOW))
        assert unheard.find(TENANT, "call") == Acceptance("first", NOW, is_repeat=True)
        assert unheard.find("acme-stg", "call") is None
        clock.advance(3600)
        assert unheard.find(TENANT, "call") is None
        unheard.note(TENANT, "call", Acceptance("second", NOW))
        assert unheard.find(TENANT, "call") == Acceptance("second", NOW, is_repeat=True)

    def test_what_is_heard_or_forgotten_is_not_found(self, documents: Documents, clock: Clock) -> None:
        unheard = UnheardCalls(documents, clock)
        for tenant, call in ((TENANT, "a"), (TENANT, "b"), ("acme-stg", "b")):
            unheard.note(tenant, call, Acceptance("id", NOW))
        unheard.heard(TENANT, "a")
        assert unheard.find(TENANT, "a") is None
        unheard.forget(TENANT)
        assert (unheard.find(TENANT, "b"), unheard.find("acme-stg", "b") is None) == (None, False)

    def test_nothing_of_the_body_is_stored(
        self, documents: Documents, clock: Clock, stored_bytes: Callable[[], bytes]
    ) -> None:
        UnheardCalls(documents, clock).note(
            TENANT, in_common("metric", {"metric": "canary"}, EVENT), Acceptance("the-id", NOW)
        )
        assert b"the-id" in stored_bytes()
        assert b"canary" not in stored_bytes()

    def test_a_store_that_is_gone_hides_no_other_trouble(self, documents: Documents, clock: Clock) -> None:
        unheard = UnheardCalls(_Gone(documents), clock)
        unheard.note(TENANT, "call", Acceptance("id", NOW))
        unheard.heard(TENANT, "call")
        assert unheard.find(TENANT, "call") is None


def test_the_order_of_names_in_a_body_makes_no_other_call() -> None:
    turned = dict(reversed(EVENT.items()))
    assert in_common("metric", {}, EVENT) == in_common("metric", {}, turned)
    assert in_common("metric", {}, EVENT) != in_common("data-source-record", {}, EVENT)


def test_each_moment_is_later_than_the_one_before_though_the_clock_stands_or_steps_back() -> None:
    times = iter([NOW, NOW, NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)])
    moments = Moments(lambda: next(times))
    got = [moments.next() for _ in range(4)]
    assert got == [
        NOW,
        NOW + timedelta(microseconds=1),
        NOW + timedelta(microseconds=2),
        NOW + timedelta(seconds=1),
    ]
