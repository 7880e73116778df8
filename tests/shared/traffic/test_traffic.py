"""Counting by many instances without a hot document: what is written when, what adds up, and what a death loses."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from shared.errors import StoreUnavailableError
from shared.storage.documents import Documents
from shared.traffic.rules.counts import Row, What, merged
from shared.traffic.traffic import KEPT, WRITES_EVERY, Traffic
from tests.support.through import READS, Through
from tests.support.world import Clock

T = TypeVar("T")
SEEN = Row("metric", What.ACCEPTED, "Seen")
LATER = WRITES_EVERY.total_seconds()


class Writes(Through):
    """Counts what is written, and fails while it `is_down`."""

    count_ = 0
    is_down = False

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if self.is_down:
            raise StoreUnavailableError("down")
        result = call()
        self.count_ += operation not in READS
        return result


class Instances:
    """Makes instances that share a store and a clock."""

    def __init__(self, documents: Documents) -> None:
        self.store = Writes(documents)
        self.clock = Clock()
        self._names = itertools.count()

    def start(self) -> Traffic:
        return Traffic(lambda: self.store, self.clock, lambda: f"i{next(self._names)}")

    def told(self, tenant: str = "acme", days: int = 30) -> dict[Row, int]:
        spans = self.start().spans(tenant, self.clock.now - timedelta(days=days))
        return {row: tally.count for row, tally in merged(span.table for span in spans).items()}


@pytest.fixture
def instances(documents: Documents) -> Instances:
    return Instances(documents)


def test_the_first_count_is_seen_at_once(instances: Instances) -> None:
    instances.start().count("acme", SEEN)
    assert instances.told() == {SEEN: 1}


def test_a_busy_instance_writes_once_in_ten_seconds(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    written = instances.store.count_
    for _ in range(50):
        one.count("acme", SEEN)
    assert instances.store.count_ == written
    instances.clock.advance(LATER)
    one.count("acme", SEEN)
    assert instances.store.count_ == written + 1
    assert instances.told() == {SEEN: 52}


def test_what_a_killed_instance_has_not_written_is_lost_and_no_more(instances: Instances) -> None:
    killed = instances.start()
    killed.count("acme", SEEN)
    killed.count("acme", SEEN, 5)
    instances.start().count("acme", SEEN, 100)
    assert instances.told() == {SEEN: 101}


def test_all_instances_add_up(instances: Instances) -> None:
    for instance in [instances.start() for _ in range(7)]:
        instance.count("acme", SEEN)
    assert instances.told() == {SEEN: 7}


def test_tenants_count_apart(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    one.count("beta", SEEN, 3)
    assert (instances.told("acme"), instances.told("beta")) == ({SEEN: 1}, {SEEN: 3})


def test_what_a_quiet_tenant_has_left_goes_along_with_anothers_call(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    one.count("acme", SEEN)
    instances.clock.advance(LATER)
    one.count("beta", SEEN)
    assert instances.told("acme") == {SEEN: 2}


def test_a_store_that_cannot_answer_fails_nobody_and_loses_nothing(instances: Instances) -> None:
    one = instances.start()
    instances.store.is_down = True
    one.count("acme", SEEN)
    instances.clock.advance(LATER)
    one.count("acme", SEEN)
    instances.store.is_down = False
    one.count("acme", SEEN)  # not yet: a store that is down is asked once in ten seconds
    assert instances.told() == {}
    instances.clock.advance(LATER)
    one.count("acme", SEEN)
    assert instances.told() == {SEEN: 4}


class LosesAnswers(Through):
    """Writes, and says that it could not."""

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        result = call()
        if operation not in READS:
            raise StoreUnavailableError("written, but nobody heard")
        return result


def test_a_write_whose_answer_is_lost_counts_once(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    sound, instances.store.documents = instances.store.documents, LosesAnswers(instances.store.documents)
    instances.clock.advance(LATER)
    one.count("acme", SEEN)
    instances.store.documents = sound
    instances.clock.advance(LATER)
    one.count("acme", SEEN)
    assert instances.told() == {SEEN: 3}


def test_an_hour_is_told_by_itself(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    instances.clock.advance(3600)
    one.count("acme", SEEN, 2)
    spans = one.spans("acme", instances.clock.now - timedelta(days=1))
    assert [(f"{span.at:%H}", span.table[SEEN].count, span.is_day) for span in spans] == [
        ("10", 1, False),
        ("11", 2, False),
    ]
    assert [f"{span.at:%H}" for span in one.spans("acme", instances.clock.now)] == ["11"]


def test_counts_that_come_with_the_next_hours_call_stay_in_their_hour(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    one.count("acme", SEEN)
    instances.clock.advance(3600)
    one.count("acme", SEEN)
    spans = one.spans("acme", instances.clock.now - timedelta(days=1))
    assert [span.table[SEEN].count for span in spans] == [2, 1]


def a_busy_week(instances: Instances) -> None:
    one = instances.start()
    for _ in range(7 * 4):
        one.count("acme", SEEN)
        instances.start().count("acme", SEEN)
        instances.clock.advance(6 * 3600)


def test_folding_days_changes_no_number(instances: Instances) -> None:
    a_busy_week(instances)
    before = instances.told()
    instances.start().fold("acme")
    assert instances.told() == before == {SEEN: 56}
    spans = instances.start().spans("acme", instances.clock.now - timedelta(days=30))
    assert [span.is_day for span in spans] == [True] * 6 + [False] * (len(spans) - 6)
    assert len(instances.store.find("tenants/acme/traffic")) < 56


def test_folding_again_changes_nothing(instances: Instances) -> None:
    a_busy_week(instances)
    instances.start().fold("acme")
    written = instances.store.count_
    instances.start().fold("acme")
    assert instances.store.count_ == written


@pytest.mark.parametrize("survives", range(6))
def test_a_death_while_folding_counts_nothing_twice(instances: Instances, survives: int) -> None:
    a_busy_week(instances)

    class Dies(Through):
        left = survives

        def passing(self, operation: str, call: Callable[[], T]) -> T:
            if operation not in READS:
                if not self.left:
                    raise StoreUnavailableError("dead")
                self.left -= 1
            return call()

    sound, instances.store.documents = instances.store.documents, Dies(instances.store.documents)
    with pytest.raises(StoreUnavailableError):
        instances.start().fold("acme")
    instances.store.documents = sound
    assert instances.told() == {SEEN: 56}
    instances.start().fold("acme")
    assert instances.told() == {SEEN: 56}


def test_two_who_fold_at_once_count_nothing_twice(instances: Instances) -> None:
    a_busy_week(instances)
    folding = [False]

    class Overtaken(Through):
        def passing(self, operation: str, call: Callable[[], T]) -> T:
            if operation in ("create", "update") and not folding[0]:
                folding[0] = True
                instances.start().fold("acme")
            return call()

    instances.store.documents = Overtaken(instances.store.documents)
    instances.start().fold("acme")
    assert instances.told() == {SEEN: 56}


def test_an_instance_that_wakes_after_its_day_was_folded_counts_nothing_twice(instances: Instances) -> None:
    one = instances.start()
    one.count("acme", SEEN)
    one.count("acme", SEEN)
    instances.clock.advance(3 * 24 * 3600)
    instances.start().fold("acme")
    one.count("acme", SEEN)
    assert instances.told() == {SEEN: 2}  # one of the first hour came too late, one is of now


def test_counts_are_given_an_end(instances: Instances) -> None:
    a_busy_week(instances)
    instances.start().fold("acme")
    kept = [
        document.fields["expire_at"]
        for name in ("traffic", "traffic_days")
        for document in instances.store.find(f"tenants/acme/{name}")
    ]
    now = instances.clock.now
    assert all(now < end <= now + KEPT + timedelta(days=1) for end in kept)  # type: ignore[operator]  # times all


def test_a_tenant_that_is_deleted_is_forgotten(instances: Instances) -> None:
    a_busy_week(instances)
    instances.start().fold("acme")
    instances.start().forget("acme")
    assert instances.told() == {}
