"""Leases, on both stores: never two holders at once, and no lease that outlives its holder for good."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest

from shared.storage.documents import Documents
from shared.storage.leases import COLLECTION, Lease, Leases, id_of
from tests.support import stores
from tests.support.world import Clock

documents = stores.documents
stored_bytes = stores.stored_bytes

MINUTE = timedelta(minutes=1)
NAME = "klaviyo token acme"


@pytest.fixture
def leases(documents: Documents, clock: Clock) -> Leases:
    ids, lock = count(1), threading.Lock()

    def new_id() -> str:
        with lock:
            return f"holder-{next(ids)}"

    return Leases(documents, clock, new_id)


def held(leases: Leases, name: str = NAME) -> Lease:
    lease = leases.acquire(name, lasting=MINUTE)
    assert lease is not None
    return lease


def winners(leases: Leases, callers: int) -> list[Lease]:
    """Return the leases that so many callers got, all asking at the same moment."""
    start = threading.Barrier(callers)

    def ask(_: int) -> Lease | None:
        start.wait(timeout=60)
        return leases.acquire(NAME, lasting=MINUTE)

    with ThreadPoolExecutor(callers) as pool:
        return [lease for lease in pool.map(ask, range(callers)) if lease is not None]


def test_of_sixteen_who_ask_at_once_one_holds(leases: Leases) -> None:
    assert len(winners(leases, 16)) == 1


def test_whether_somebody_holds_it_is_seen_without_taking_it(leases: Leases, clock: Clock) -> None:
    id = id_of(NAME)
    assert not leases.is_held(id)
    lease = held(leases)
    assert lease.id == id
    assert leases.is_held(id)
    leases.release(lease, trace=MINUTE)
    assert not leases.is_held(id)
    held(leases)
    assert leases.is_held(id)
    clock.advance(60)
    assert not leases.is_held(id)


def test_while_one_holds_it_nobody_else_gets_it(leases: Leases, clock: Clock) -> None:
    held(leases)
    clock.advance(59.999)
    assert leases.acquire(NAME, lasting=MINUTE) is None


def test_a_holder_cannot_take_its_own_lease_twice(leases: Leases) -> None:
    held(leases)
    assert leases.acquire(NAME, lasting=MINUTE) is None


def test_a_lease_that_is_renewed_lasts_from_then_on(leases: Leases, clock: Clock) -> None:
    lease = held(leases)
    clock.advance(50)
    assert leases.renew(Lease.of(NAME, lease.holder), lasting=MINUTE)
    clock.advance(50)
    assert leases.acquire(NAME, lasting=MINUTE) is None
    clock.advance(10)
    assert leases.acquire(NAME, lasting=MINUTE) is not None


def test_who_renews_late_leaves_the_new_holder_alone(leases: Leases, clock: Clock) -> None:
    late = held(leases)
    clock.advance(60)
    held(leases)
    assert not leases.renew(late, lasting=100 * MINUTE)
    assert not leases.renew(Lease.of("never held", "nobody"), lasting=MINUTE)
    clock.advance(60)
    assert leases.acquire(NAME, lasting=MINUTE) is not None


def test_leases_of_different_names_do_not_meet(leases: Leases) -> None:
    names = ("klaviyo token acme", "klaviyo token acme-stg", "klaviyo token", "a/b", "..", "")
    assert len({held(leases, name).id for name in names}) == len(names)


def test_once_given_back_it_can_be_taken(leases: Leases) -> None:
    leases.release(held(leases))
    assert leases.acquire(NAME, lasting=MINUTE) is not None


def test_a_holder_that_died_is_followed_when_its_lease_expires(leases: Leases, clock: Clock) -> None:
    dead = held(leases)
    clock.advance(60)
    follower = held(leases)
    assert follower.holder != dead.holder
    clock.advance(59)
    assert leases.acquire(NAME, lasting=MINUTE) is None


@pytest.mark.parametrize("round", range(3))
def test_of_sixteen_who_follow_a_dead_holder_at_once_one_holds(
    leases: Leases, clock: Clock, round: int
) -> None:
    held(leases)
    clock.advance(60 + round)
    assert len(winners(leases, 16)) == 1


def test_who_comes_back_late_leaves_the_new_holder_alone(leases: Leases, clock: Clock) -> None:
    late = held(leases)
    clock.advance(61)
    held(leases)
    leases.release(late)
    assert leases.acquire(NAME, lasting=MINUTE) is None


def test_giving_back_late_what_nobody_took_frees_it(leases: Leases, clock: Clock) -> None:
    late = held(leases)
    clock.advance(61)
    leases.release(late)
    assert leases.acquire(NAME, lasting=MINUTE) is not None


def test_giving_back_twice_or_what_was_never_held_is_no_error(leases: Leases) -> None:
    lease = held(leases)
    leases.release(lease)
    leases.release(lease)
    other = held(leases)
    leases.release(Lease(other.id, "nobody"))
    assert leases.acquire(NAME, lasting=MINUTE) is None


def test_who_gives_back_in_the_moment_of_a_take_over_leaves_the_new_holder_alone(
    leases: Leases, documents: Documents, clock: Clock
) -> None:
    late = held(leases)
    clock.advance(61)
    overtaken = stores.Overtaken(documents, lambda: held(leases))
    Leases(overtaken, clock, lambda: "any").release(late)
    assert leases.acquire(NAME, lasting=MINUTE) is None


@pytest.mark.parametrize("trace", [None, MINUTE], ids=["without a trace", "with a trace"])
@pytest.mark.parametrize("act", ["renews", "gives back"])
def test_what_is_given_back_between_a_look_and_a_write_stays_given_back(
    leases: Leases, documents: Documents, clock: Clock, act: str, trace: timedelta | None
) -> None:
    lease = held(leases)
    overtaken = Leases(
        stores.Overtaken(documents, lambda: leases.release(lease, trace=trace)), clock, lambda: "any"
    )
    if act == "renews":
        overtaken.renew(lease, lasting=MINUTE)
    else:
        overtaken.release(lease, trace=MINUTE)
    assert held(leases).holder != lease.holder


def test_who_renews_in_the_moment_of_a_take_over_leaves_the_new_holder_alone(
    leases: Leases, documents: Documents, clock: Clock
) -> None:
    late = held(leases)
    clock.advance(60)
    overtaken = stores.Overtaken(documents, lambda: held(leases))
    assert not Leases(overtaken, clock, lambda: "any").renew(late, lasting=100 * MINUTE)
    clock.advance(60)
    assert leases.acquire(NAME, lasting=MINUTE) is not None


@pytest.mark.parametrize("first", ["taken over", "given back"])
def test_who_comes_second_to_an_expired_lease_does_not_get_it(
    leases: Leases, documents: Documents, clock: Clock, first: str
) -> None:
    late = held(leases)
    clock.advance(61)
    overtaken = stores.Overtaken(
        documents, (lambda: held(leases)) if first == "taken over" else (lambda: leases.release(late))
    )
    assert Leases(overtaken, clock, lambda: "second").acquire(NAME, lasting=MINUTE) is None
    assert (leases.acquire(NAME, lasting=MINUTE) is None) == (first == "taken over")


def test_a_lease_document_that_makes_no_sense_can_be_taken_over(leases: Leases, documents: Documents) -> None:
    lease = held(leases)
    documents.update(COLLECTION, lease.id, {"expire_at": "tomorrow"})
    assert held(leases).holder != lease.holder


def test_only_one_works_at_a_time_however_many_want_to(leases: Leases) -> None:
    busy, worked, most = [0], [0], [0]

    def work(_: int) -> None:
        while (lease := leases.acquire(NAME, lasting=MINUTE)) is None:
            pass
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        time.sleep(0.002)  # long enough for another to come in, if the lease let it
        worked[0] += 1
        busy[0] -= 1
        leases.release(lease)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert (worked, most) == ([8], [1])


def test_the_name_is_not_stored(leases: Leases, stored_bytes: Callable[[], bytes]) -> None:
    held(leases, "canary-jane@example.org")
    assert b"holder-1" in stored_bytes()
    assert b"canary" not in stored_bytes()


class TestTraces:
    """Who takes a lease may have to know whether somebody else held it a moment ago."""

    def test_of_a_name_that_nobody_held_nothing_is_known(self, leases: Leases) -> None:
        assert held(leases).before is None

    def test_given_back_without_a_trace_it_leaves_none(
        self, leases: Leases, documents: Documents, clock: Clock
    ) -> None:
        lease = held(leases)
        leases.release(lease)
        assert documents.get(COLLECTION, lease.id) is None
        clock.advance(1)
        assert held(leases).before is None

    def test_given_back_with_a_trace_it_can_be_taken_at_once_and_tells_when(
        self, leases: Leases, clock: Clock
    ) -> None:
        first = held(leases)
        clock.advance(5)
        given_back = clock()
        leases.release(first, trace=MINUTE)
        assert held(leases).before == given_back
        assert leases.acquire(NAME, lasting=MINUTE) is None

    def test_one_taken_later_tells_the_same_moment_even_if_the_store_removes_late(
        self, leases: Leases, clock: Clock
    ) -> None:
        leases.release(held(leases), trace=MINUTE)
        given_back = clock()
        clock.advance(3600)
        assert held(leases).before == given_back

    def test_a_trace_expires_so_that_the_store_can_remove_it(
        self, leases: Leases, documents: Documents, clock: Clock
    ) -> None:
        lease = held(leases)
        clock.advance(5)
        leases.release(lease, trace=timedelta(minutes=10))
        document = documents.get(COLLECTION, lease.id)
        assert document is not None
        assert document.fields["released_at"] == clock()
        assert document.fields["expire_at"] == clock() + timedelta(minutes=10)

    def test_of_a_holder_that_died_the_end_of_its_lease_is_told(self, leases: Leases, clock: Clock) -> None:
        held(leases)
        ran_out = clock() + MINUTE
        clock.advance(90)
        assert held(leases).before == ran_out

    def test_of_one_that_died_after_taking_a_trace_the_end_is_told_not_the_older_trace(
        self, leases: Leases, clock: Clock
    ) -> None:
        leases.release(held(leases), trace=MINUTE)
        held(leases)
        ran_out = clock() + MINUTE
        clock.advance(59)
        assert leases.acquire(NAME, lasting=MINUTE) is None
        clock.advance(1)
        assert held(leases).before == ran_out

    def test_each_holder_leaves_its_own_moment(self, leases: Leases, clock: Clock) -> None:
        for _ in range(3):
            lease = held(leases)
            clock.advance(7)
            leases.release(lease, trace=MINUTE)
            given_back = clock()
            clock.advance(1)
            lease = held(leases)
            assert lease.before == given_back
            leases.release(lease, trace=MINUTE)

    def test_giving_back_twice_moves_and_removes_no_trace(self, leases: Leases, clock: Clock) -> None:
        lease = held(leases)
        leases.release(lease, trace=MINUTE)
        given_back = clock()
        clock.advance(1)
        leases.release(lease, trace=MINUTE)
        leases.release(lease)
        assert held(leases).before == given_back

    def test_who_comes_back_late_leaves_the_new_holder_alone(self, leases: Leases, clock: Clock) -> None:
        late = held(leases)
        clock.advance(61)
        held(leases)
        leases.release(late, trace=MINUTE)
        assert leases.acquire(NAME, lasting=MINUTE) is None

    def test_who_leaves_a_trace_in_the_moment_of_a_take_over_leaves_the_new_holder_alone(
        self, leases: Leases, documents: Documents, clock: Clock
    ) -> None:
        late = held(leases)
        clock.advance(61)
        overtaken = stores.Overtaken(documents, lambda: held(leases))
        Leases(overtaken, clock, lambda: "any").release(late, trace=MINUTE)
        assert leases.acquire(NAME, lasting=MINUTE) is None

    def test_who_comes_second_to_a_trace_does_not_get_the_lease(
        self, leases: Leases, documents: Documents, clock: Clock
    ) -> None:
        leases.release(held(leases), trace=MINUTE)
        overtaken = stores.Overtaken(documents, lambda: held(leases))
        assert Leases(overtaken, clock, lambda: "second").acquire(NAME, lasting=MINUTE) is None

    @pytest.mark.parametrize("round", range(3))
    def test_of_sixteen_who_take_a_freed_lease_at_once_one_holds_and_knows(
        self, leases: Leases, clock: Clock, round: int
    ) -> None:
        clock.advance(round)
        leases.release(held(leases), trace=MINUTE)
        assert [lease.before for lease in winners(leases, 16)] == [clock()]

    def test_a_document_that_makes_no_sense_tells_nothing(self, leases: Leases, documents: Documents) -> None:
        lease = held(leases)
        documents.update(COLLECTION, lease.id, {"expire_at": "tomorrow"})
        assert held(leases).before is None

    def test_only_one_works_at_a_time_and_each_knows_of_the_one_before(
        self, leases: Leases, clock: Clock
    ) -> None:
        busy, most = [0], [0]
        known: list[bool] = []

        def work(_: int) -> None:
            while (lease := leases.acquire(NAME, lasting=MINUTE)) is None:
                pass
            busy[0] += 1
            most[0] = max(most[0], busy[0])
            known.append(lease.before is not None)
            time.sleep(0.002)
            busy[0] -= 1
            leases.release(lease, trace=MINUTE)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(8)))
        assert most == [1]
        assert known == [False] + [True] * 7
