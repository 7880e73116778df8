"""Records of one object keep their order: the last one sent stands, whatever failed and however the queue delivers."""

import random
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from shared.direction import Direction
from shared.jobs.jobs import Delivery, read_job
from shared.records.packing import LEASE
from shared.worker.delivery import deliver
from tests.shared.installation.test_provision import together
from tests.support.mortal import Fate, KilledError
from tests.support.recording import BULK, REWARDS, SINGLE, Shelf, jobs_of, numbers_of
from tests.support.world import ACCOUNT, TENANT, World

FAULTS: list[dict[str, Any]] = [
    {"status": 503},
    {"status": 500},
    {"status": 429, "headers": {"Retry-After": "40"}},
    {"status": 401},
    {"kind": "reset"},
    {"kind": "html403"},
    {"kind": "reset", "takes_effect": True},
]


@pytest.fixture
def shelf(world: World) -> Shelf:
    return Shelf(world).set_up()


def balances(shelf: Shelf) -> list[int]:
    """Return the balances of the one object that Klaviyo got, in the order in which they came."""
    return [row.record["balance"] for row in shelf.world.sandbox.klaviyo.records(ACCOUNT)]


def is_in_order(balances: list[int]) -> bool:
    return all(first <= second for first, second in pairwise(balances))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("seconds", [0, 1, 20])
def test_a_record_that_meets_a_fault_is_not_overtaken_by_a_later_one_of_its_object(
    shelf: Shelf, fault: dict[str, Any], seconds: float
) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match="POST /api/data-source-record*", **fault)
    shelf.send(7, balance=10)
    shelf.world.work()
    shelf.world.clock.advance(seconds)
    shelf.send(7, balance=20)
    shelf.work_until_quiet()
    assert is_in_order(balances(shelf))
    assert set(balances(shelf)) == {10, 20}


@pytest.mark.parametrize("seed", range(8))
def test_however_the_queue_delivers_records_arrive_as_their_calls_were_accepted(
    shelf: Shelf, seed: int
) -> None:
    """Tasks come in any order, twice, and before or after the next call."""
    chance, world = random.Random(seed), shelf.world
    tasks: list[bytes] = []
    for balance in range(15):
        shelf.send(7, balance=balance)
        world.clock.advance(chance.choice([0, 0.2, 5]))
        tasks = world.queued(Direction.OUTBOUND)
        for body in chance.sample(tasks, min(len(tasks), chance.randrange(3))):
            deliver(Delivery(Direction.OUTBOUND, body, "", "", TENANT, 0), world.services)
    tasks = world.queued(Direction.OUTBOUND)
    for body in chance.sample(tasks, len(tasks)):
        deliver(Delivery(Direction.OUTBOUND, body, "", "", TENANT, 0), world.services)
    shelf.work_until_quiet()
    assert balances(shelf) == list(range(15))


def test_calls_that_come_while_their_packers_work_on_many_instances_arrive_in_order(shelf: Shelf) -> None:
    instances = [shelf.services() for _ in range(3)]
    for balance in range(12):
        shelf.accept(
            {"data_source": REWARDS, "record": {"n": 7, "balance": balance}},
            services=shelf.world.services,
        )
        jobs = [read_job(body) for body in shelf.world.queued(Direction.OUTBOUND)]
        together([partial(_run_all, jobs, shelf, own) for own in instances])
    shelf.work_until_quiet()
    assert balances(shelf) == list(range(12))


def _run_all(jobs: list[Any], shelf: Shelf, services: Any) -> None:
    from shared.worker.run import run

    for job in jobs:
        run(job, shelf.world.read(), services)


@pytest.mark.parametrize("status", [400, 413])
def test_what_klaviyo_refuses_once_is_dead_and_never_comes_behind_what_is_newer(
    shelf: Shelf, status: int
) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=status)
    shelf.send(7, balance=10)
    shelf.send(7, balance=20)
    shelf.work_until_quiet()
    assert balances(shelf) == [20]
    assert [numbers_of(job) for job in jobs_of(shelf.world.dead_jobs())] == [[7]]


def test_records_that_were_refused_together_are_taken_apart_in_their_order(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.unwanted_property = "bad"
    unnamed = {"errors": [{"code": "invalid", "detail": "no", "source": {"pointer": "/data"}}]}
    klaviyo.fail(3, match=f"POST {BULK}", status=400, body=unnamed)
    rows: list[dict[str, Any]] = [{"n": n % 3, "balance": n} for n in range(60)]
    rows[17]["bad"] = rows[42]["bad"] = True
    shelf.accept({"data_source": REWARDS, "records": rows})
    shelf.send(1, balance=100)
    shelf.work_until_quiet()
    assert balances(shelf) == [*(n for n in range(60) if n not in {17, 42}), 100]


def test_a_bulk_call_that_is_throttled_halfway_through_a_batch_goes_on_where_it_stopped(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.unwanted_property = "bad"
    rows: list[dict[str, Any]] = [{"n": 7, "balance": n} for n in range(60)]
    rows[30]["bad"] = True
    klaviyo.fail(
        2, match=f"POST {BULK}", kind="slow", seconds=0
    )  # all 60 together, then those before the bad one
    klaviyo.fail(1, match=f"POST {BULK}", status=429, headers={"Retry-After": "40"})
    shelf.accept({"data_source": REWARDS, "records": rows})
    shelf.world.work()
    assert balances(shelf) == list(range(30))
    shelf.send(7, balance=100)
    shelf.work_until_quiet()
    assert balances(shelf) == [*(n for n in range(60) if n != 30), 100]


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "an answer lost"])
def test_whatever_moment_a_packer_dies_the_newest_stands_and_none_comes_after_a_newer_one_for_good(
    shelf: Shelf, kills: bool
) -> None:
    moment = 0
    while True:
        klaviyo = shelf.world.sandbox.klaviyo
        klaviyo._accounts[ACCOUNT].records.clear()
        for balance in range(3):
            shelf.send(7, balance=balance)
        fate = Fate(moment, kills=kills)
        try:
            shelf.pack(fate)
        except KilledError:
            shelf.send(7, balance=3)
            shelf.world.clock.advance(LEASE.total_seconds())
        else:
            shelf.send(7, balance=3)
        shelf.work_until_quiet(step=10)
        arrived = balances(shelf)
        assert set(arrived) == {0, 1, 2, 3}
        # What a death has doubled comes again from there on, in order: the end is the newest, once it is there it stays.
        assert arrived[-1] == 3
        assert arrived.count(3) == 1
        shelf.world.clock.advance(60)
        if not fate.struck:
            break
        moment += 1
    assert moment > (8 if kills else 3)


def test_a_data_source_that_waits_holds_up_no_other_and_no_other_tenant(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=503, headers={"Retry-After": "600"})
    shelf.send(1)
    shelf.world.work()
    shelf.send(2, source="dates")
    shelf.world.work()
    assert shelf.arrived() == [2]


def test_a_throttle_is_of_the_endpoint_and_so_holds_up_all_data_sources(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=429, headers={"Retry-After": "60"})
    shelf.send(1)
    shelf.world.work()
    shelf.send(2, source="dates")
    shelf.world.work()
    assert shelf.arrived() == []
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == [1, 2]
    assert len(shelf.calls(SINGLE, status=429)) == 1


def test_while_klaviyo_asks_to_wait_nobody_calls_it_whatever_comes_in(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=429, headers={"Retry-After": "60"})
    for number in range(59):
        shelf.send(number)
        shelf.world.work(1)
    assert len(shelf.calls(SINGLE)) + len(shelf.calls(BULK)) == 1
    shelf.work_until_quiet()
    assert shelf.arrived() == list(range(59))
