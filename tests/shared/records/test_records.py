"""Records on their way to Klaviyo: at once, packed in a backlog, taken apart when refused, and none lost."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.direction import Direction
from shared.errors import DisconnectedError
from shared.installation.uninstall import uninstall
from shared.jobs.jobs import Delivery, SendRecords, SweepOutbox
from shared.jobs.replays import Replaying
from shared.jobs.rules.causes import Cause
from shared.records.outbox import Outbox
from shared.records.packing import LEASE, SWEPT_AFTER, WORKS_FOR, pack_records, sweep_outbox
from shared.records.records import send_records
from shared.records.rules.record import RECORD_ID
from shared.traffic.rules.counts import What
from shared.traffic.traffic import Traffic
from shared.worker.delivery import deliver
from tests.shared.installation.test_provision import together
from tests.support.desk import Desk
from tests.support.mortal import Fate, KilledError, Meanwhile
from tests.support.recording import BULK, REWARDS, SINGLE, Shelf, jobs_of, numbers_of
from tests.support.world import ACCOUNT, TENANT, World

DAY = 24 * 3600.0
SOURCES = "/api/data-sources"


@pytest.fixture
def shelf(world: World) -> Shelf:
    return Shelf(world).set_up()


# At once


def test_a_lone_record_goes_at_once_with_its_id_to_the_data_source_named(shelf: Shelf) -> None:
    id = shelf.send(7)
    shelf.world.work()
    (kept,) = shelf.world.sandbox.klaviyo.records(ACCOUNT)
    assert (kept.title, kept.bulk, kept.record["n"], kept.record[RECORD_ID]) == (REWARDS, False, 7, id)
    assert shelf.calls(BULK) == []


def test_a_few_records_go_one_by_one_and_many_in_one_call(shelf: Shelf) -> None:
    shelf.send(*range(10))
    shelf.world.work()
    assert (len(shelf.calls(SINGLE)), len(shelf.calls(BULK))) == (10, 0)
    shelf.send(*range(10, 510))
    shelf.world.work(12)
    assert (len(shelf.calls(SINGLE)), len(shelf.calls(BULK))) == (10, 1)
    assert shelf.arrived() == list(range(510))


def test_a_list_too_long_for_a_task_is_split_and_arrives_whole(shelf: Shelf) -> None:
    shelf.send(*range(12), text="x" * 70_000)
    shelf.world.work(1)
    assert sorted(shelf.arrived()) == list(range(12))
    assert len({kept.record[RECORD_ID] for kept in shelf.world.sandbox.klaviyo.records(ACCOUNT)}) == 12


def test_the_data_source_is_always_named(shelf: Shelf) -> None:
    shelf.send(1)
    shelf.send(*range(20), source="dates")
    shelf.world.work()
    named = [json.loads(call.body)["data"]["relationships"]["data-source"]["data"] for call in
             (*shelf.calls(SINGLE), *shelf.calls(BULK))]  # fmt: skip
    assert named == [
        {"type": "data-source", "id": shelf.source_ids()[0]},
        {"type": "data-source", "id": shelf.source_ids("Omneo Dates")[0]},
    ]


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"kind": "reset"}, {"kind": "html403"}, {"kind": "truncated"}],
    ids=str,
)
@pytest.mark.parametrize(("path", "count"), [(SINGLE, 1), (BULK, 20)])
def test_a_passing_fault_delays_records_and_neither_loses_nor_doubles_them(
    shelf: Shelf, fault: dict[str, Any], path: str, count: int
) -> None:
    shelf.world.sandbox.klaviyo.fail(3, match=f"POST {path}", **fault)
    shelf.send(*range(count))
    shelf.work_until_quiet(step=10)
    assert shelf.arrived() == list(range(count))
    assert shelf.world.dead_jobs() == []


def test_what_was_sent_of_a_few_is_not_sent_again_when_one_has_to_wait(shelf: Shelf) -> None:
    shelf.shelve(*range(10))
    shelf.pack(Fate(8, kills=False))  # two moments a call: the fifth does not reach Klaviyo
    assert shelf.arrived() == [0, 1, 2, 3]
    shelf.work_until_quiet()
    assert shelf.arrived() == list(range(10))
    assert (len(shelf.calls(SINGLE)), len(shelf.calls(BULK))) == (10, 0)


# Backlogs


@pytest.mark.parametrize(("calls", "each"), [(100, 50), (1000, 5)])
def test_five_thousand_records_arrive_once_each_in_few_bulk_calls(
    shelf: Shelf, calls: int, each: int
) -> None:
    for number in range(calls):
        shelf.send(*range(number * each, (number + 1) * each))
    seconds = shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == list(range(5000))
    assert shelf.world.dead_jobs() == []
    records = shelf.world.sandbox.klaviyo.records(ACCOUNT)
    packed = sum(record.bulk for record in records)
    bulk_calls = len(shelf.calls(BULK, status=204))
    windows = seconds // 10 + 1  # a window's last call may be half full
    assert bulk_calls <= -(-packed // 500) + windows + 3  # three that went at once before anything waited
    assert seconds <= 120
    refused = len(shelf.calls(BULK, status=429)) + len(shelf.calls(SINGLE, status=429))
    assert refused <= 100


def test_records_that_come_while_others_wait_join_them_and_go_at_once_again_afterwards(
    shelf: Shelf,
) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=429, headers={"Retry-After": "1"})
    shelf.send(1)
    shelf.world.work()
    shelf.world.clock.advance(1)
    shelf.send(2)
    shelf.world.work()
    assert shelf.arrived() == []
    assert shelf.is_waiting(REWARDS)
    shelf.world.work(15)
    assert shelf.arrived() == [1, 2]
    assert len(shelf.calls(SINGLE)) == 3
    shelf.send(3)
    shelf.world.work()
    assert shelf.arrived() == [1, 2, 3]


def test_a_backlog_of_one_data_source_holds_up_no_other(shelf: Shelf) -> None:
    shelf.shelve(1)
    shelf.send(2, source="dates")
    shelf.world.work()
    assert shelf.arrived() == [2]


def test_a_throttled_packer_waits_as_long_as_klaviyo_asks(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=429, headers={"Retry-After": "40"})
    shelf.shelve(*range(20))
    shelf.pack()
    shelf.world.work(39)
    assert len(shelf.calls(BULK)) == 1
    shelf.world.work(15)
    assert shelf.arrived() == list(range(20))


@pytest.mark.parametrize(("asked", "waits"), [("40", 40), ("999999", 3600)])
def test_a_throttled_bulk_job_is_packed_after_the_wait_that_klaviyo_asked_for_but_within_an_hour(
    shelf: Shelf, asked: str, waits: float
) -> None:
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=429, headers={"Retry-After": asked})
    shelf.send(*range(20))
    shelf.world.work()
    shelf.world.work(waits - 1)
    assert len(shelf.calls(BULK)) == 1
    shelf.world.work(15)
    assert shelf.arrived() == list(range(20))


def test_a_packer_that_is_turned_away_again_waits_twice_as_long_each_time(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(5, match=f"POST {BULK}", status=503)
    shelf.shelve(*range(20))
    shelf.pack()
    waits = []
    for _ in range(5):
        now = shelf.world.clock()
        until = Outbox.of(shelf.world.services).rests_until(TENANT, REWARDS, now)
        assert until is not None
        waits.append((until - now).total_seconds())
        shelf.world.work(waits[-1] + 12)
    assert waits == [1, 2, 4, 8, 16]
    assert shelf.arrived() == list(range(20))


def test_a_packer_begins_no_call_when_its_time_is_over_and_another_goes_on(shelf: Shelf) -> None:
    shelf.shelve(1, 2, 3)
    over = WORKS_FOR.total_seconds() + 1
    shelf.pack(Meanwhile(f"after POST {SINGLE}", lambda: shelf.world.clock.advance(over)))
    assert shelf.arrived() == [1]
    shelf.world.work(12)
    assert shelf.arrived() == [1, 2, 3]


class TestChance:
    """What was throttled together does not come back together."""

    @pytest.fixture
    def chance(self) -> Callable[[], float]:
        return lambda: 1.0

    def test_a_throttled_packer_waits_up_to_a_half_longer(self, shelf: Shelf) -> None:
        shelf.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=429, headers={"Retry-After": "40"})
        shelf.shelve(*range(20))
        shelf.pack()
        shelf.world.work(59)
        assert len(shelf.calls(BULK)) == 1
        shelf.world.work(15)
        assert shelf.arrived() == list(range(20))


def test_half_a_parcel_is_sent_with_the_one_before_and_the_rest_with_the_next(shelf: Shelf) -> None:
    for number in range(4):
        shelf.shelve(*range(number * 300, (number + 1) * 300), job=f"j{number}")
    shelf.pack()
    assert shelf.arrived() == list(range(1200))
    sizes = [len(_records_in(call)) for call in shelf.calls(BULK)]
    assert sizes == [500, 500, 200]


def test_a_bulk_job_stays_below_4_mb(shelf: Shelf) -> None:
    for number in range(60):
        shelf.shelve(number, job=f"j{number:02}", text="x" * 100_000)
    shelf.pack()
    assert shelf.arrived() == list(range(60))
    assert [len(_records_in(call)) for call in shelf.calls(BULK)] == [39, 21]
    assert shelf.world.dead_jobs() == []


def _records_in(call: Any) -> list[Any]:
    return list(json.loads(call.body)["data"]["attributes"]["data-source-records"]["data"])


# Two at once, and deaths


def test_two_packers_at_once_send_each_record_once(shelf: Shelf) -> None:
    for number in range(6):
        shelf.shelve(*range(number * 200, (number + 1) * 200), job=f"j{number}")
    packers = [shelf.services() for _ in range(4)]

    def run(services: Any) -> Any:
        return lambda: pack_records(shelf.packing(), shelf.world.read(), services)

    together([run(services) for services in packers])
    shelf.work_until_quiet()
    assert shelf.arrived() == list(range(1200))


def test_what_comes_in_while_a_packer_is_at_work_is_sent_by_it(shelf: Shelf) -> None:
    shelf.shelve(1)
    shelf.pack(Meanwhile(f"after POST {SINGLE}", lambda: shelf.shelve(2, job="k")))
    assert shelf.arrived() == [1, 2]


def test_a_packer_that_was_turned_away_comes_again(shelf: Shelf) -> None:
    """The one at work has read the outbox for the last time before this record was written."""
    leases = shelf.world.services.leases
    lease = leases.acquire(f"pack {TENANT} {REWARDS}", lasting=LEASE)
    assert lease is not None
    shelf.shelve(1)
    shelf.pack()
    assert shelf.arrived() == []
    leases.release(lease)
    shelf.work_until_quiet()
    assert shelf.arrived() == [1]


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "answer lost"])
def test_a_packer_that_breaks_off_at_any_moment_loses_nothing_and_doubles_only_what_no_note_names(
    shelf: Shelf, kills: bool
) -> None:
    moment, doubled = 0, []
    while True:
        shelf.world.sandbox.klaviyo._accounts[ACCOUNT].records.clear()
        for number in range(3):
            shelf.shelve(*range(number * 250, (number + 1) * 250), job=f"j{number}")
        fate = Fate(moment, kills=kills)
        try:
            shelf.pack(fate)
        except KilledError:
            shelf.world.clock.advance(LEASE.total_seconds())  # nobody gave the lease back
            shelf.pack()  # the queue delivers again
        shelf.work_until_quiet(step=10)
        arrived = shelf.arrived()
        assert set(arrived) == set(range(750))
        if len(arrived) > 750:
            doubled.append(moment)
        shelf.world.clock.advance(60)
        if not fate.struck:
            break
        moment += 1
    # Two calls; each is doubled by a death right after it or right before its note, or by its answer's loss.
    assert len(doubled) == (4 if kills else 2)
    assert moment > (15 if kills else 3)


def test_a_job_that_dies_at_any_moment_of_its_way_into_the_outbox_is_finished_when_delivered_again(
    shelf: Shelf,
) -> None:
    moment = 0
    while True:
        shelf.world.sandbox.klaviyo._accounts[ACCOUNT].records.clear()
        shelf.world.sandbox.klaviyo.faults.clear()
        shelf.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=429, headers={"Retry-After": "1"})
        job = SendRecords(
            tenant=TENANT,
            accepted_at=shelf.world.clock(),
            data_source=REWARDS,
            records=tuple({"n": n, RECORD_ID: f"r-{n}"} for n in range(20)),
        )
        fate = Fate(moment, kills=True)
        try:
            send_records(job, shelf.world.read(), shelf.services(fate))
        except KilledError:
            send_records(job, shelf.world.read(), shelf.services())
        shelf.work_until_quiet(step=5)
        assert sorted(shelf.arrived()) == list(range(20))
        shelf.world.clock.advance(60)
        if not fate.struck:
            break
        moment += 1
    assert moment >= 6


# Refusals


@pytest.mark.parametrize("count", [5, 60])
def test_a_bad_record_in_the_middle_dies_alone_with_its_reason_and_its_neighbours_arrive(
    shelf: Shelf, count: int
) -> None:
    shelf.world.sandbox.klaviyo.unwanted_property = "bad"
    _send_with_bad(shelf, count, bad={2})
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == [n for n in range(count) if n != 2]
    (dead,) = shelf.world.dead_jobs()
    assert dead.kind == "send-records"
    assert dead.reason.startswith("Klaviyo answered 400: invalid at /data/attributes/data-source-record/")
    assert [numbers_of(job) for job in jobs_of([dead])] == [[2]]


@pytest.mark.parametrize(("refused", "what"), [(0, What.DELIVERED), (1, What.DEAD)])
def test_what_became_of_the_records_of_a_backlog_is_counted(shelf: Shelf, refused: int, what: What) -> None:
    shelf.world.sandbox.klaviyo.fail(refused, match=f"POST {BULK}", status=403)
    shelf.shelve(*range(20))
    shelf.pack()
    (span,) = Traffic.of(shelf.world.services).spans(TENANT, shelf.world.clock())
    assert {row.what: tally.count for row, tally in span.table.items()} == {what: 20}


def test_bad_records_in_a_backlog_die_alone(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.unwanted_property = "bad"
    for n in range(700):
        if n in (3, 499, 650):
            shelf.shelve(n, job=f"j{n:03}", bad=True)
        else:
            shelf.shelve(n, job=f"j{n:03}")
    shelf.pack()
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == [n for n in range(700) if n not in (3, 499, 650)]
    assert dead_numbers(shelf) == [3, 499, 650]


def test_a_refusal_that_names_no_record_is_narrowed_down(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.unwanted_property = "bad"
    unnamed = {"errors": [{"code": "invalid", "detail": "no", "source": {"pointer": "/data"}}]}
    klaviyo.fail(1, match=f"POST {BULK}", status=400, body=unnamed)
    _send_with_bad(shelf, 40, bad={11})
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == [n for n in range(40) if n != 11]
    assert [numbers_of(job) for job in jobs_of(shelf.world.dead_jobs())] == [[11]]


def test_a_refusal_that_never_names_a_record_ends_with_each_alone(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(10_000, match="POST /api/data-source-record*", status=400)
    shelf.send(*range(20))
    shelf.work_until_quiet()
    assert shelf.arrived() == []
    assert dead_numbers(shelf) == list(range(20))


def test_a_missing_scope_kills_a_job_whole_and_says_to_install_again(shelf: Shelf) -> None:
    forbidden = {"errors": [{"code": "permission_denied", "detail": "no"}]}
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=403, body=forbidden)
    shelf.send(*range(20))
    shelf.work_until_quiet()
    (dead,) = shelf.world.dead_jobs()
    assert "install again" in dead.reason
    assert [numbers_of(job) for job in jobs_of([dead])] == [list(range(20))]


def test_a_dead_record_that_is_replayed_keeps_its_id(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.unwanted_property = "bad"
    id = shelf.send(1, bad=True)
    shelf.world.work()
    (job,) = jobs_of(shelf.world.dead_jobs())
    klaviyo.unwanted_property = ""
    shelf.world.services.queue.put(job, shelf.world.read())
    shelf.work_until_quiet()
    assert [kept.record[RECORD_ID] for kept in klaviyo.records(ACCOUNT)] == [id]


def test_a_record_that_is_replayed_after_days_waits_as_long_as_a_new_one_and_leaves_the_desk(
    shelf: Shelf,
) -> None:
    klaviyo, desk = shelf.world.sandbox.klaviyo, Desk(shelf.world)
    klaviyo.unwanted_property = "bad"
    shelf.send(1, bad=True)
    shelf.world.work()
    (row,) = desk.rows()
    assert "newer record of the same object" in row["what_to_do"]
    klaviyo.unwanted_property = ""
    shelf.world.clock.advance(3 * 86_400)
    klaviyo.fail(2, match="POST /api/data-source-record*", status=429)
    desk.replay(row["id"])
    shelf.world.work()
    assert [row["state"] for row in desk.rows()] == ["replayed"]
    shelf.work_until_quiet()
    assert shelf.arrived() == [1]
    assert desk.rows() == []


def test_a_replayed_record_that_is_refused_again_is_the_same_row_newer(shelf: Shelf) -> None:
    desk = Desk(shelf.world)
    shelf.world.sandbox.klaviyo.unwanted_property = "bad"
    shelf.send(1, bad=True)
    shelf.world.work()
    (row,) = desk.rows()
    for _ in range(2):
        desk.replay(row["id"])
    shelf.work_until_quiet()
    (again,) = desk.rows()
    assert (again["id"], again["state"], again["deaths"]) == (row["id"], "dead", 2)
    shelf.world.sandbox.klaviyo.unwanted_property = ""
    desk.replay(row["id"])
    shelf.work_until_quiet()
    assert (shelf.arrived(), desk.rows()) == ([1], [])


def test_dead_records_are_found_by_their_data_source_as_traffic_names_it(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.unwanted_property = "bad"
    _send_with_bad(shelf, 1, bad={0})
    shelf.work_until_quiet()
    desk = Desk(shelf.world)
    assert [row["metric"] for row in desk.rows(metric="Omneo Rewards")] == ["Omneo Rewards"]
    assert desk.rows(metric="Omneo Dates") == []


def test_records_of_a_missing_scope_are_replayed_by_hand_alone(shelf: Shelf) -> None:
    forbidden = {"errors": [{"code": "permission_denied", "detail": "no scope"}]}
    shelf.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=403, body=forbidden)
    shelf.send(*range(20))
    shelf.work_until_quiet()
    (row,) = Desk(shelf.world).rows(cause="scope")
    assert not row["goes_on_by_itself"]
    Replaying.of(shelf.world.services).begin_held(shelf.world.read(), Cause.SCOPE)
    shelf.work_until_quiet()
    assert shelf.arrived() == []
    Desk(shelf.world).replay_all(cause="scope")
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == list(range(20))
    assert Desk(shelf.world).page()["count"] == 0


def dead_numbers(shelf: Shelf) -> list[int]:
    return sorted(n for job in jobs_of(shelf.world.dead_jobs()) for n in numbers_of(job))


def _send_with_bad(shelf: Shelf, count: int, *, bad: set[int]) -> None:
    rows = [{"n": n, **({"bad": True} if n in bad else {})} for n in range(count)]
    shelf.accept({"data_source": "rewards", "records": rows})


# Data sources that are gone


@pytest.mark.parametrize("status", [404, 400])
@pytest.mark.parametrize("count", [1, 20])
def test_a_data_source_that_was_deleted_is_made_again_once_and_the_records_arrive(
    shelf: Shelf, count: int, status: int
) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.unknown_data_source_status = status
    (old,) = shelf.source_ids()
    klaviyo.delete_data_source(ACCOUNT, old)
    shelf.send(*range(count))
    shelf.send(100)
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == [*range(count), 100]
    (new,) = shelf.source_ids()
    assert new != old
    assert shelf.world.read().provisions.data_sources[REWARDS] == new
    assert len(shelf.calls(SOURCES, status=201)) == 1
    assert shelf.world.dead_jobs() == []


def test_a_backlog_whose_data_source_was_deleted_arrives_in_the_new_one(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.delete_data_source(ACCOUNT, shelf.source_ids()[0])
    shelf.shelve(*range(30))
    shelf.pack()
    assert shelf.arrived() == list(range(30))
    assert len(shelf.source_ids()) == 1


def test_many_jobs_at_once_make_a_deleted_data_source_again_once(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.delete_data_source(ACCOUNT, shelf.source_ids()[0])
    for n in range(30):
        shelf.send(n)
    shelf.work_until_quiet()
    assert sorted(shelf.arrived()) == list(range(30))
    assert len(shelf.calls(SOURCES, status=201)) == 1


def test_one_that_another_made_again_by_the_same_title_is_used(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.delete_data_source(ACCOUNT, shelf.source_ids()[0])
    other = klaviyo.data_source(ACCOUNT, REWARDS).id
    shelf.send(1)
    shelf.work_until_quiet()
    assert shelf.arrived() == [1]
    assert shelf.source_ids() == [other]
    assert shelf.world.read().provisions.data_sources[REWARDS] == other


def test_one_that_is_deleted_again_is_not_made_a_third_time_within_a_day(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    for n in range(4):
        klaviyo.delete_data_source(ACCOUNT, shelf.source_ids()[0]) if shelf.source_ids() else None
        shelf.send(n)
        shelf.world.work(30)
    assert shelf.arrived() == [0]
    assert len(shelf.calls(SOURCES, status=201)) == 1
    reasons = {dead.reason for dead in shelf.world.dead_jobs()}
    assert len(reasons) == 1
    assert "deleted in Klaviyo again" in reasons.pop()
    shelf.world.work(DAY)
    shelf.send(9)
    shelf.work_until_quiet()
    assert shelf.arrived() == [0, 9]


def test_one_that_klaviyo_lists_but_does_not_know_is_not_made_twice(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(10_000, match=f"POST {SINGLE}", status=404)
    shelf.send(1)
    shelf.work_until_quiet()
    (dead,) = shelf.world.dead_jobs()
    assert "although it lists it" in dead.reason
    assert len(shelf.calls(SINGLE)) == 1
    assert shelf.calls(SOURCES, status=201) == []


def test_one_that_is_refused_right_after_it_was_made_again_kills_the_job(shelf: Shelf) -> None:
    klaviyo = shelf.world.sandbox.klaviyo
    klaviyo.delete_data_source(ACCOUNT, shelf.source_ids()[0])
    klaviyo.fail(10_000, match=f"POST {BULK}", status=404)
    shelf.send(*range(20))
    shelf.work_until_quiet()
    (dead,) = shelf.world.dead_jobs()
    assert "a moment ago" in dead.reason
    assert len(shelf.calls(BULK)) == 2
    assert len(shelf.calls(SOURCES, status=201)) == 1


def test_one_that_the_set_up_has_not_made_yet_is_made_for_the_first_record(world: World) -> None:
    world.tenant()
    shelf = Shelf(world)
    shelf.send(1)
    shelf.work_until_quiet()
    assert shelf.arrived() == [1]
    assert shelf.source_ids() == [world.read().provisions.data_sources[REWARDS]]
    assert world.read().provisions.remade_at == {}


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "answer lost"])
def test_making_one_again_may_break_off_at_any_moment(shelf: Shelf, kills: bool) -> None:
    moment = 0
    while True:
        shelf.world.sandbox.klaviyo._accounts[ACCOUNT].records.clear()
        (old,) = shelf.source_ids()
        shelf.world.sandbox.klaviyo.delete_data_source(ACCOUNT, old)
        shelf.shelve(1)
        fate = Fate(moment, kills=kills)
        try:
            shelf.pack(fate)
        except KilledError:
            shelf.world.clock.advance(LEASE.total_seconds())
            shelf.pack()
        shelf.work_until_quiet(step=10)
        assert set(shelf.arrived()) == {1}
        (new,) = shelf.source_ids()
        assert shelf.world.read().provisions.data_sources[REWARDS] == new != old
        shelf.world.clock.advance(DAY)
        if not fate.struck:
            break
        moment += 1
    assert moment > (20 if kills else 5)


# Long waits


def test_records_are_given_up_after_a_day_of_trying_and_stand_in_the_desk(shelf: Shelf) -> None:
    shelf.world.sandbox.klaviyo.fail(100_000, match="POST /api/data-source-record*", status=503)
    shelf.shelve(*range(30))
    shelf.pack()
    for _ in range(23):
        shelf.world.work(3600)
    assert shelf.world.dead_jobs() == []
    for _ in range(3):
        shelf.world.work(3600)
    (dead,) = shelf.world.dead_jobs()
    assert dead.reason.startswith("Given up after 24 hours of trying. Last answer: Klaviyo answered 503")
    assert [numbers_of(job) for job in jobs_of([dead])] == [list(range(30))]
    assert not shelf.is_waiting()


def test_records_wait_through_a_disconnection_and_arrive_after_the_next_install(shelf: Shelf) -> None:
    shelf.shelve(*range(20))
    shelf.world.sandbox.klaviyo.uninstall(ACCOUNT)
    shelf.send(20)  # joins the others; its packer finds the account gone
    shelf.world.work()
    shelf.world.work(20)
    assert not shelf.world.read().is_connected
    shelf.world.work(2 * DAY)
    assert shelf.world.dead_jobs() == []
    shelf.world.install()
    shelf.world.sandbox.klaviyo.fail(3, match="POST /api/data-source-record*", status=503)
    shelf.work_until_quiet(step=60)
    assert sorted(shelf.arrived()) == list(range(21))
    assert shelf.world.dead_jobs() == []  # the time without an account is no time of trying


def test_what_no_packer_knows_of_is_packed_by_the_sweep_after_minutes(shelf: Shelf) -> None:
    shelf.shelve(1)
    sweep = b'{"kind": "every-tenant", "run": "sweep-outbox"}'
    order = Delivery(Direction.INBOUND, sweep, "", "", "", 0)
    shelf.world.clock.advance(SWEPT_AFTER.total_seconds() - 1)
    deliver(order, shelf.world.services)
    shelf.world.work(0.5)
    shelf.world.work(30)
    assert shelf.arrived() == []
    deliver(order, shelf.world.services)
    shelf.world.work()
    shelf.work_until_quiet()
    assert shelf.arrived() == [1]


def test_the_sweep_leaves_a_disconnected_tenant_alone(shelf: Shelf) -> None:
    shelf.shelve(1)
    shelf.world.clock.advance(DAY)
    shelf.world.sandbox.klaviyo.uninstall(ACCOUNT)
    with pytest.raises(DisconnectedError):
        shelf.world.services.klaviyo(shelf.world.read()).account()
    job = SweepOutbox(tenant=TENANT, accepted_at=shelf.world.clock())
    sweep_outbox(job, shelf.world.read(), shelf.world.services)
    assert shelf.jobs() == 0


def test_an_uninstall_forgets_what_waits(shelf: Shelf) -> None:
    shelf.shelve(1)
    uninstall(shelf.world.read(), shelf.world.services)
    assert not shelf.is_waiting()


def test_the_age_of_a_record_is_that_of_its_call(shelf: Shelf) -> None:
    shelf.shelve(1)
    (parcel,) = Outbox.of(shelf.world.services).waiting(TENANT, REWARDS)
    assert shelf.world.clock() - parcel.accepted_at == timedelta(0)
