"""When a secret was last used: noted rarely, told exactly enough, and never at the cost of a call."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import StoreUnavailableError
from shared.storage.documents import Document, Documents, Scalar, Value, Version
from shared.tenants.secret_uses import EXACT_TO, KEPT, SecretUses
from tests.support import stores
from tests.support.through import READS, Through
from tests.support.world import Clock

T = TypeVar("T")

documents = stores.documents


class Counting(Through):
    """`documents`, counting writes; while `is_down`, none of them works."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)
        self.writes = 0
        self.is_down = False

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if operation not in READS:
            self.writes += 1
            if self.is_down:
                raise StoreUnavailableError("the store cannot answer")
        return call()


def test_a_secret_that_was_never_used_is_not_told_of(documents: Documents, clock: Clock) -> None:
    assert SecretUses(documents, clock).last("acme") == {}


def test_the_last_use_of_each_is_told_by_its_id(documents: Documents, clock: Clock) -> None:
    uses = SecretUses(documents, clock)
    uses.note("acme", "one")
    first = clock()
    clock.advance(60)
    uses.note("acme", "two")
    assert uses.last("acme") == {"one": first, "two": first + timedelta(seconds=60)}


def test_tenants_do_not_see_each_others(documents: Documents, clock: Clock) -> None:
    uses = SecretUses(documents, clock)
    for tenant in ("acme", "acme-stg"):
        uses.note(tenant, tenant)
    assert list(uses.last("acme")) == ["acme"]
    assert list(uses.last("acme-stg")) == ["acme-stg"]
    uses.forget("acme")
    assert uses.last("acme") == {}
    assert list(uses.last("acme-stg")) == ["acme-stg"]


def test_a_thousand_uses_in_ten_minutes_are_written_once(documents: Documents, clock: Clock) -> None:
    counting = Counting(documents)
    uses = SecretUses(counting, clock)
    uses.note("acme", "one")
    first, began = counting.writes, clock()
    for _ in range(999):
        clock.advance(EXACT_TO.total_seconds() / 1000)
        uses.note("acme", "one")
    assert counting.writes == first
    assert uses.last("acme") == {"one": began}
    clock.advance(EXACT_TO.total_seconds() / 1000)
    uses.note("acme", "one")
    assert uses.last("acme") == {"one": clock()}


def test_what_another_instance_noted_is_told_and_overwritten(documents: Documents, clock: Clock) -> None:
    here, there = SecretUses(documents, clock), SecretUses(documents, clock)
    here.note("acme", "one")
    clock.advance(1)
    there.note("acme", "one")
    assert here.last("acme") == there.last("acme") == {"one": clock()}


def test_a_store_that_is_down_fails_no_call_and_the_use_is_noted_after_ten_minutes(
    documents: Documents, clock: Clock
) -> None:
    counting = Counting(documents)
    uses = SecretUses(counting, clock)
    counting.is_down = True
    uses.note("acme", "one")
    counting.is_down = False
    assert uses.last("acme") == {}
    clock.advance(EXACT_TO.total_seconds())
    uses.note("acme", "one")
    assert uses.last("acme") == {"one": clock()}


class Overtaken(Counting):
    """A store in which another instance is faster by a moment with every `create`."""

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        self.documents.create(collection, id, fields)
        super().create(collection, id, fields)


def test_two_instances_that_note_the_first_use_at_once_both_succeed(
    documents: Documents, clock: Clock
) -> None:
    uses = SecretUses(Overtaken(documents), clock)
    uses.note("acme", "one")
    assert uses.last("acme") == {"one": clock()}


def test_many_threads_at_once_note_a_use_once(documents: Documents, clock: Clock) -> None:
    counting = Counting(documents)
    uses = SecretUses(counting, clock)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: uses.note("acme", "one"), range(64)))
    assert counting.writes == 2  # an update that found nothing, and the create
    assert list(uses.last("acme")) == ["one"]


def test_more_secrets_than_a_page_of_the_store_holds_are_all_told_and_all_forgotten(
    documents: Documents, clock: Clock
) -> None:
    uses = SecretUses(documents, clock)
    ids = {f"{number:03}" for number in range(105)}
    for id in ids:
        uses.note("acme", id)
    assert uses.last("acme").keys() == ids
    uses.forget("acme")
    assert uses.last("acme") == {}


def test_memory_has_a_bound_and_full_memory_loses_no_use(clock: Clock) -> None:
    class Forgetful(Counting):
        def __init__(self) -> None:
            self.writes = 0

        def update(
            self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
        ) -> None:
            self.writes += 1

    written = Forgetful()
    uses = SecretUses(written, clock)
    for number in range(KEPT + 1):
        uses.note("acme", str(number))
    assert written.writes == KEPT + 1
    assert len(uses._noted) <= KEPT


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1500)), max_size=25))
def test_what_is_told_is_never_more_than_ten_minutes_too_early_and_never_late(
    clock: Clock, steps: list[tuple[str, float]]
) -> None:
    uses = SecretUses(InMemory(), clock)
    truth = {}
    for id, seconds in steps:
        clock.advance(seconds)
        uses.note("acme", id)
        truth[id] = clock()
        told = uses.last("acme")
        assert told.keys() == truth.keys()
        assert all(truth[id] - EXACT_TO < told[id] <= truth[id] for id in truth)


class InMemory(Counting):
    """Enough of a store for one property."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Value]] = {}

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        self.rows[id] = dict(fields)

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        later = sorted(id for id in self.rows if after is None or id > after)
        return [Document(id, self.rows[id], Version(0)) for id in later[:limit]]
