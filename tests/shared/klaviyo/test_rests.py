"""Rests in both stores: who is refused first holds the others back, and none of them waits for a document."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from shared.errors import StoreUnavailableError
from shared.klaviyo.limits import Endpoint, Limit
from shared.klaviyo.rests import LONGEST, LONGEST_UNASKED, Rests
from shared.storage.documents import Documents
from tests.support.stores import Overtaken
from tests.support.through import READS, Through
from tests.support.world import TENANT, Clock

T = TypeVar("T")

EVENTS, TOKEN = "events", "token"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rests(documents: Documents, clock: Clock) -> Rests:
    return Rests(documents, clock)


class Counted(Through):
    """`documents`, which counts reads and writes."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)
        self.reads = self.writes = 0

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if operation in READS:
            self.reads += 1
        else:
            self.writes += 1
        return call()


class Away(Through):
    """`documents` that cannot answer while `is_away`."""

    is_away = True

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if self.is_away:
            raise StoreUnavailableError("away")
        return call()


def in_(clock: Clock, seconds: float) -> datetime:
    return clock() + timedelta(seconds=seconds)


def left(rests: Rests, clock: Clock, thing: str = EVENTS) -> float:
    until = rests.until(TENANT, thing)
    return 0.0 if until is None else (until - clock()).total_seconds()


def test_what_was_never_refused_may_be_called(rests: Rests) -> None:
    assert rests.until(TENANT, EVENTS) is None


def test_what_several_have_spent_is_added_up_until_the_end_of_a_span(
    rests: Rests, documents: Documents, clock: Clock
) -> None:
    other, end = Rests(documents, clock), in_(clock, 60)
    assert [one.spend(TENANT, "calls", 40, until=end) for one in (rests, other, rests)] == [40, 80, 120]
    assert rests.spend("beta", "calls", 40, until=end) == 40
    assert other.spend(TENANT, "calls", 40, until=in_(clock, 120)) == 40


def test_who_cannot_add_to_what_is_spent_counts_its_own(documents: Documents, clock: Clock) -> None:
    away = Away(documents)
    rests, end = Rests(away, clock), in_(clock, 60)
    assert rests.spend(TENANT, "calls", 40, until=end) == 40
    away.is_away = False
    assert rests.spend(TENANT, "calls", 40, until=end) == 40


def test_of_two_who_spend_at_one_moment_both_are_counted(documents: Documents, clock: Clock) -> None:
    end = in_(clock, 60)

    def other() -> None:
        Rests(documents, clock).spend(TENANT, "calls", 40, until=end)

    for first in (80, 160):
        overtaken = Rests(Overtaken(documents, other, ("create", "update")), clock)
        assert overtaken.spend(TENANT, "calls", 40, until=end) == first


def test_a_rest_is_of_one_thing_and_one_tenant_and_ends_by_itself(rests: Rests, clock: Clock) -> None:
    rests.rest(TENANT, EVENTS, in_(clock, 30))
    assert rests.until(TENANT, EVENTS) == in_(clock, 30)
    assert rests.until(TENANT, "bulk-events") is None
    assert rests.until("beta", EVENTS) is None
    clock.advance(30)
    assert rests.until(TENANT, EVENTS) is None


def test_another_instance_sees_it_a_second_later(documents: Documents, clock: Clock) -> None:
    first, second = Rests(documents, clock), Rests(documents, clock)
    assert second.until(TENANT, EVENTS) is None
    first.rest(TENANT, EVENTS, in_(clock, 30))
    assert first.until(TENANT, EVENTS) is not None
    assert second.until(TENANT, EVENTS) is None
    clock.advance(1)
    assert left(second, clock) == 29


def test_a_hundred_looks_in_a_second_read_once(documents: Documents, clock: Clock) -> None:
    counted = Counted(documents)
    rests = Rests(counted, clock)
    for n in range(100):
        assert rests.until(TENANT, f"thing-{n}") is None
    assert (counted.reads, counted.writes) == (1, 0)
    clock.advance(1)
    rests.until(TENANT, EVENTS)
    assert counted.reads == 2


def test_of_many_that_are_refused_one_writes(documents: Documents, clock: Clock) -> None:
    counted = Counted(documents)
    for _ in range(20):
        instance = Rests(counted, clock)
        clock.advance(0.01)
        instance.refused(TENANT, EVENTS, 30)
        assert instance.until(TENANT, EVENTS) is not None
    assert counted.writes == 1


def test_the_later_moment_stands_whoever_comes_first(documents: Documents, clock: Clock) -> None:
    first, second = Rests(documents, clock), Rests(documents, clock)
    first.rest(TENANT, EVENTS, in_(clock, 60))
    second.rest(TENANT, EVENTS, in_(clock, 5))
    assert left(second, clock) == 60
    second.rest(TENANT, EVENTS, in_(clock, 90))
    clock.advance(1)
    assert left(first, clock) == 89


@pytest.mark.parametrize("known", [None, 5.0], ids=["first of all", "a longer one"])
def test_somebody_who_is_faster_by_a_moment_is_not_overwritten(
    documents: Documents, clock: Clock, known: float | None
) -> None:
    if known:
        Rests(documents, clock).rest(TENANT, EVENTS, in_(clock, known))
    faster = Rests(documents, clock)
    overtaken = Overtaken(
        documents, lambda: faster.rest(TENANT, EVENTS, in_(clock, 60)), ("create", "update")
    )
    Rests(overtaken, clock).rest(TENANT, EVENTS, in_(clock, 20))
    assert left(Rests(documents, clock), clock) == 60


def test_where_klaviyo_names_no_time_the_rest_grows_with_each_refusal_in_a_row(
    rests: Rests, clock: Clock
) -> None:
    seconds = []
    for _ in range(9):
        rests.refused(TENANT, EVENTS, None)
        seconds.append(left(rests, clock))
        clock.advance(seconds[-1])
    assert seconds == [1, 2, 4, 8, 16, 32, LONGEST_UNASKED, LONGEST_UNASKED, LONGEST_UNASKED]
    clock.advance(180)
    rests.refused(TENANT, EVENTS, None)
    assert left(rests, clock) == 1


def test_refusals_of_one_moment_count_once(rests: Rests, clock: Clock) -> None:
    for _ in range(5):
        rests.refused(TENANT, TOKEN, None, at_least=5)
    assert left(rests, clock, TOKEN) == 5


def test_what_klaviyo_asks_for_is_what_counts_and_at_most_an_hour(rests: Rests, clock: Clock) -> None:
    rests.refused(TENANT, EVENTS, 17)
    assert left(rests, clock) == 17
    rests.refused(TENANT, EVENTS, 86400)
    assert left(rests, clock) == LONGEST


def test_a_rest_that_is_ended_ends_for_all(documents: Documents, clock: Clock) -> None:
    first, second = Rests(documents, clock), Rests(documents, clock)
    first.rest(TENANT, TOKEN, in_(clock, 60))
    second.end(TENANT, TOKEN)
    second.end(TENANT, TOKEN)  # nothing rests any more, and that is no error
    assert second.until(TENANT, TOKEN) is None
    clock.advance(1)
    assert first.until(TENANT, TOKEN) is None


def test_a_tenant_is_forgotten_with_all_its_rests(documents: Documents, clock: Clock) -> None:
    rests = Rests(documents, clock)
    rests.rest(TENANT, EVENTS, in_(clock, 60))
    rests.rest("beta", EVENTS, in_(clock, 60))
    rests.forget(TENANT)
    assert rests.until(TENANT, EVENTS) is None
    assert documents.find(f"tenants/{TENANT}/rests") == []
    assert rests.until("beta", EVENTS) is not None


@pytest.mark.parametrize("documents", ["memory"], indirect=True)
@pytest.mark.parametrize("ends", ["forget", "end"])
def test_whoever_waited_before_is_not_waited_for_when_a_rest_was_ended(
    documents: Documents, clock: Clock, ends: str
) -> None:
    rests, limit = Rests(documents, clock), Limit(1, 15)
    for tenant in (TENANT, "beta"):
        rests.rest(tenant, EVENTS, in_(clock, 60))
        for _ in range(30):
            rests.turn(tenant, EVENTS, limit)
    if ends == "forget":
        rests.learn(TENANT, Endpoint.EVENTS, limit)
        rests.forget(TENANT)
    else:
        rests.end(TENANT, EVENTS)
    for tenant in (TENANT, "beta"):
        rests.rest(tenant, EVENTS, in_(clock, 2))
    assert rests.turn(TENANT, EVENTS, limit) == in_(clock, 2)
    assert rests.turn("beta", EVENTS, limit) == in_(clock, 180)
    assert rests.limit(TENANT, Endpoint.EVENTS) == Endpoint.EVENTS.limit


def test_a_store_that_is_away_refuses_nobody_and_hides_nothing(documents: Documents, clock: Clock) -> None:
    away = Away(documents)
    rests = Rests(away, clock)
    assert rests.until(TENANT, EVENTS) is None
    rests.refused(TENANT, EVENTS, 30)
    assert left(rests, clock) == 30
    clock.advance(2)
    assert left(rests, clock) == 28
    away.is_away = False
    clock.advance(2)
    assert rests.until(TENANT, EVENTS) is None  # nobody else ever knew


@pytest.mark.parametrize("documents", ["memory"], indirect=True)
def test_what_is_known_of_a_thousand_tenants_does_not_grow(documents: Documents, clock: Clock) -> None:
    rests = Rests(documents, clock)
    for n in range(2500):
        rests.until(f"tenant-{n}", EVENTS)
    assert len(rests._known) <= 1000
