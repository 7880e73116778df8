"""The packer of events: batches, what is refused, lost or throttled, and a death at every moment."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.admin.jobs import job as job_told
from shared.direction import Direction
from shared.errors import DisconnectedError
from shared.installation.uninstall import uninstall
from shared.jobs.jobs import Outcome, SweepOutbox
from shared.metrics.lane import pack_soon
from shared.metrics.packing import ALONE, LEASE, MANY_IN_A_WINDOW, sweep_events
from shared.receipts import Receipts
from shared.tenants.tenants import Tenant
from shared.traffic.traffic import Traffic
from tests.support.backlogs import BULK, SINGLE, Rush, number_of
from tests.support.mortal import Fate, KilledError, Meanwhile
from tests.support.world import ACCOUNT, TENANT, World


@pytest.fixture
def rush(world: World) -> Rush:
    return Rush(world).set_up()


def test_a_thousand_events_go_in_one_call_in_the_order_of_acceptance(rush: Rush) -> None:
    rush.set_aside(*range(1000))
    rush.pack()
    assert (rush.calls(BULK), rush.calls(SINGLE)) == ([202], [])
    assert sorted(rush.arrived()) == list(range(1000))
    assert rush.queued() == []


def test_what_does_not_fill_another_job_waits_for_more_and_goes_when_none_comes(rush: Rush) -> None:
    rush.set_aside(*range(1300))
    rush.pack()
    assert (rush.calls(BULK), len(rush.waiting())) == ([202], 300)
    rush.work_until_quiet()
    assert (rush.calls(BULK), len(set(rush.arrived()))) == ([202, 202], 1300)


def test_what_comes_in_the_present_window_is_left_to_its_own_run(rush: Rush) -> None:
    rush.set_aside(1)
    rush.backlog.add(TENANT, rush.job(2), at=rush.world.clock())
    rush.pack()
    assert (rush.arrived(), rush.waiting()) == ([1], [2])
    assert [job.kind for job in rush.queued()] == ["pack-events"]
    rush.work_until_quiet()
    assert rush.arrived() == [1, 2]


def test_an_event_that_stands_there_twice_goes_once_in_bulk_and_once_singly(rush: Rush) -> None:
    first, second = rush.job(1), rush.job(1).model_copy(update={"id": "again"})
    for job in (first, second, rush.job(2)):
        rush.backlog.add(TENANT, job, at=rush.world.clock() - timedelta(seconds=10))
    rush.pack()
    (alone,) = rush.queued("send-metric")
    assert alone.alone
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(BULK), rush.calls(SINGLE)) == ([1, 2], [202], [202])


def test_an_event_that_stands_in_an_earlier_job_of_the_run_goes_singly(rush: Rush) -> None:
    again = rush.job(5).model_copy(update={"id": "z-again"})
    rush.set_aside(*range(1500))
    rush.backlog.add(TENANT, again, at=rush.world.clock() - timedelta(seconds=10))
    rush.pack()
    assert [job.id for job in rush.queued("send-metric")] == ["z-again"]
    rush.work_until_quiet()
    assert (rush.calls(BULK), sorted(rush.arrived())) == ([202, 202], list(range(1500)))


def test_a_phone_number_is_put_right_or_left_out_as_by_a_single_call(rush: Rush) -> None:
    for number, phone in enumerate(("0412 345 678", "7"), 1):
        job = rush.job(number)
        profile: Any = job.event["profile"]
        profile["data"]["attributes"]["phone_number"] = phone
        rush.backlog.add(TENANT, job, at=rush.world.clock() - timedelta(seconds=10))
    tenant = rush.world.read()
    settings = tenant.settings.model_copy(update={"default_region": "AU"})
    rush.world.services.tenants.change(
        TENANT, lambda stored: stored.model_copy(update={"settings": settings})
    )
    rush.pack()
    phones = [one.attributes.get("phone_number") for one in rush.world.sandbox.klaviyo.profiles(ACCOUNT)]
    assert (rush.calls(BULK), phones) == ([202], ["+61412345678", None])


def test_a_throttled_job_goes_again_in_bulk_when_klaviyo_allows(rush: Rush) -> None:
    rush.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=429)
    rush.set_aside(1, 2)
    rush.pack()
    assert (rush.waiting(), rush.backlog.tried(TENANT)) == ([1, 2], None)
    rush.pack()  # while it rests, no call is made
    rush.work_until_quiet()
    assert (rush.calls(BULK), rush.calls(SINGLE)) == ([429, 202], [])


def test_runs_that_found_klaviyo_at_rest_make_the_wait_after_a_refusal_no_longer(rush: Rush) -> None:
    """An account with a low limit rests after nearly every call."""
    rush.set_aside(1)
    pack_soon(rush.world.read(), rush.world.services)
    for _ in range(15):
        rush.world.services.rests.end(TENANT, "bulk-events")
        rush.world.services.rests.rest(TENANT, "bulk-events", rush.world.clock() + timedelta(seconds=14))
        rush.world.work(13)
    rush.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=429)
    assert rush.work_until_quiet() < 60
    assert (rush.calls(BULK), rush.arrived()) == ([429, 202], [1])


@pytest.mark.parametrize("status", [500, 503, 400, 403, 404])
def test_a_job_that_was_not_accepted_goes_singly_and_never_in_bulk_again(rush: Rush, status: int) -> None:
    rush.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=status)
    rush.set_aside(1, 2, 3)
    rush.pack()
    assert (rush.waiting(), rush.backlog.tried(TENANT)) == ([], None)
    assert [job.alone for job in rush.queued("send-metric")] == [True] * 3
    rush.throttle(5)
    rush.work_until_quiet()
    assert (rush.statuses(BULK)[202], sorted(rush.arrived())) == (0, [1, 2, 3])


def test_one_event_that_klaviyo_refuses_leads_all_the_singles_way_and_is_sent_without_its_fault(
    rush: Rush,
) -> None:
    bad = rush.job(2)
    profile: Any = bad.event["profile"]
    profile["data"]["attributes"]["location"] = {"zip": 7}
    jobs = [rush.job(1), bad, rush.job(3)]
    for job in jobs:
        rush.backlog.add(TENANT, job, at=rush.world.clock() - timedelta(seconds=10))
    rush.pack()
    rush.work_until_quiet()
    assert (rush.calls(BULK), rush.statuses(SINGLE)) == ([400], {202: 3, 400: 1})
    assert sorted(rush.arrived()) == [1, 2, 3]


def test_an_event_that_klaviyo_has_already_leads_all_the_singles_way_and_is_kept_once(rush: Rush) -> None:
    rush.deliver(rush.job(1))
    rush.set_aside(1, 2)
    rush.pack()
    rush.work_until_quiet()
    assert (rush.calls(BULK), sorted(rush.arrived())) == ([400], [1, 2])


def test_the_other_batches_of_a_run_still_go_in_bulk_where_one_was_refused(rush: Rush) -> None:
    rush.deliver(rush.job(1))
    rush.set_aside(*range(1, 2001))
    rush.pack()
    assert rush.calls(BULK) == [400, 202]
    assert len(rush.queued("send-metric")) == 1000


@pytest.mark.parametrize("kills", [True, False], ids=["the process dies", "an answer or a call is lost"])
def test_whatever_happens_at_whatever_moment_every_event_arrives_once(
    make_world: Callable[[Path], AbstractContextManager[World]], tmp_path: Path, kills: bool
) -> None:
    moment = 0
    while True:
        folder = tmp_path / f"{moment}"
        folder.mkdir()
        with make_world(folder) as world:
            rush = Rush(world).set_up()
            rush.set_aside(1, 2)
            fate = Fate(moment, kills=kills)
            try:
                rush.pack(fate)
            except (KilledError, Exception):  # noqa: BLE001 - whatever it is, the rest must be right
                assert fate.struck
            world.clock.advance(301)  # what the dead process held is free
            sweep(rush)
            rush.work_until_quiet()
            assert sorted(rush.arrived()) == [1, 2], moment
            assert rush.backlog.tried(TENANT) is None
            assert world.dead_jobs() == []
            if not fate.struck:
                break
        moment += 1
    assert moment >= (14 if kills else 2)


def sweep(rush: Rush) -> None:
    job = SweepOutbox(tenant=TENANT, accepted_at=rush.world.clock())
    sweep_events(job, rush.world.read(), rush.world.services)


def test_a_lost_batch_is_sent_singly_also_where_it_was_accepted(rush: Rush) -> None:
    """A process that dies after Klaviyo's answer leaves what looks like a call whose outcome nobody knows."""
    rush.set_aside(1, 2)
    rush.backlog.note_try(TENANT, [waiting.id for waiting in rush.backlog.waiting(TENANT)])
    rush.set_aside(3)
    rush.pack()
    assert sorted(number_of(job) for job in rush.queued("send-metric")) == [1, 2]
    rush.work_until_quiet()
    assert (sorted(rush.arrived()), rush.calls(BULK)) == ([1, 2, 3], [202])


def test_a_lost_run_is_made_up_for_by_the_sweep(rush: Rush, caplog: pytest.LogCaptureFixture) -> None:
    rush.set_aside(1)
    sweep(rush)
    assert rush.queued() == []
    rush.world.clock.advance(150)
    sweep(rush)
    assert "events have waited for minutes" in caplog.messages
    rush.work_until_quiet()
    assert rush.arrived() == [1]


def test_the_packer_does_not_stand_behind_the_events_that_are_queued(rush: Rush) -> None:
    rush.set_aside(1)
    rush.accept(2)
    rush.world.services.queue.pause(rush.world.read(), Direction.OUTBOUND)
    pack_soon(rush.world.read(), rush.world.services)
    rush.world.work(20)
    assert (rush.arrived(), [job.kind for job in rush.queued()]) == ([1], ["send-metric"])


def test_one_packer_works_at_a_time(rush: Rush) -> None:
    rush.set_aside(1)
    lease = rush.world.services.leases.acquire(f"pack {TENANT} events", lasting=timedelta(minutes=5))
    assert lease is not None
    rush.pack()
    assert (rush.arrived(), [job.kind for job in rush.queued()]) == ([], ["pack-events"])
    rush.world.services.leases.release(lease)
    rush.work_until_quiet()
    assert rush.arrived() == [1]


class Slow(Fate):
    """A life in which each bulk call takes so many seconds, and something is looked at right after it."""

    def __init__(self, rush: Rush, seconds: float, look: Callable[[], object]) -> None:
        super().__init__(-1, kills=False)
        self.rush, self.seconds, self.look = rush, seconds, look

    def pass_by(self, what: str) -> None:
        if what == f"after POST {BULK}":
            self.rush.world.clock.advance(self.seconds)
            self.look()


def another_packer(rush: Rush) -> object:
    return rush.world.services.leases.acquire(f"pack {TENANT} events", lasting=LEASE)


def test_a_packer_that_works_for_longer_than_its_lease_keeps_it(rush: Rush) -> None:
    rush.set_aside(*range(3000))
    found: list[object] = []
    rush.pack(Slow(rush, LEASE.total_seconds() * 0.6, lambda: found.append(another_packer(rush))))
    assert (found, rush.statuses(BULK)) == ([None] * 3, {202: 3})


def test_a_packer_whose_lease_another_has_taken_sends_no_more(rush: Rush) -> None:
    rush.set_aside(*range(3000))
    found: list[object] = []
    rush.pack(Slow(rush, LEASE.total_seconds(), lambda: found.append(another_packer(rush))))
    assert (len(found), rush.statuses(BULK)) == (1, {202: 1})
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == list(range(3000))


def test_a_packer_that_comes_back_too_late_leaves_what_another_has_noted(rush: Rush) -> None:
    """The other has died after its call: without its note, the same events would go in bulk again, and be refused."""

    def dies() -> None:
        raise KilledError

    def another_takes_over() -> None:
        rush.set_aside(3, 4)
        with pytest.raises(KilledError):
            rush.pack(Meanwhile(f"after POST {BULK}", dies))

    rush.set_aside(1, 2)
    rush.pack(Slow(rush, LEASE.total_seconds(), another_takes_over))
    rush.work_until_quiet()
    assert (sorted(rush.arrived()), rush.statuses(BULK)) == ([1, 2, 3, 4], {202: 2})


def test_what_a_killed_packer_has_left_is_sent_within_two_minutes(rush: Rush) -> None:
    rush.set_aside(*range(20))

    def dies() -> None:
        raise KilledError

    with pytest.raises(KilledError):
        rush.pack(Meanwhile(f"before POST {BULK}", dies))
    pack_soon(rush.world.read(), rush.world.services)  # the queue delivers again
    assert rush.work_until_quiet() < 120
    assert sorted(rush.arrived()) == list(range(20))


def test_an_event_that_has_waited_for_a_day_goes_singly_where_it_is_given_up_for_the_true_reason(
    rush: Rush,
) -> None:
    rush.set_aside(1)
    rush.world.clock.advance(24 * 3600)
    rush.set_aside(2)
    rush.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=503)
    rush.pack()
    rush.world.work()
    (dead,) = rush.world.dead_jobs()
    assert (dead.id, dead.reason) == (
        "job1",
        "Given up after 24 hours of trying. Last answer: Klaviyo answered 503.",
    )
    assert rush.arrived() == [2]


def test_time_in_which_the_account_was_disconnected_does_not_count(rush: Rush) -> None:
    rush.world.disconnect()
    rush.set_aside(1)
    rush.world.clock.advance(48 * 3600)
    rush.world.install()
    rush.pack()
    assert (rush.calls(BULK), rush.arrived()) == ([202], [1])


def test_a_disconnected_account_keeps_what_waits(rush: Rush) -> None:
    rush.set_aside(1)
    rush.world.services.tenants.change(TENANT, _with_an_expired_token)
    rush.world.sandbox.klaviyo.uninstall(ACCOUNT)
    with pytest.raises(DisconnectedError):
        rush.pack()
    assert (rush.waiting(), rush.backlog.tried(TENANT)) == ([1], None)


@pytest.mark.parametrize("status", [429, 503])
def test_events_for_which_no_token_can_be_had_now_stay_where_they_are(rush: Rush, status: int) -> None:
    rush.set_aside(1, 2)
    rush.world.services.tenants.change(TENANT, _with_an_expired_token)
    rush.world.sandbox.klaviyo.fail(1, match="POST /oauth/token", status=status)
    rush.pack()
    assert (rush.waiting(), rush.backlog.tried(TENANT), rush.queued("send-metric")) == ([1, 2], None, [])
    rush.work_until_quiet()
    assert (rush.calls(BULK), rush.calls(SINGLE), rush.arrived()) == ([202], [], [1, 2])


def _with_an_expired_token(tenant: Tenant) -> Tenant:
    assert tenant.klaviyo is not None
    old = tenant.klaviyo.model_copy(update={"expires_at": tenant.klaviyo.connected_at})
    return tenant.model_copy(update={"klaviyo": old})


def test_the_event_of_an_erased_person_is_dropped(rush: Rush) -> None:
    rush.set_aside(1, 2)
    rush.pack(is_dropped=lambda job: number_of(job) == 1)
    assert (rush.arrived(), rush.waiting(), rush.queued()) == ([2], [], [])


def test_whoever_is_erased_while_the_job_before_is_sent_is_not_sent_any_more(rush: Rush) -> None:
    rush.set_aside(*range(1001))
    rush.world.clock.advance(10)
    last, erased = rush.waiting()[-1], list[int]()
    sent = Meanwhile(f"after POST {BULK}", lambda: erased.append(last))
    rush.pack(sent, is_dropped=lambda job: number_of(job) in erased)
    assert (rush.calls(BULK), len(rush.arrived()), rush.waiting()) == ([202], 1000, [])
    assert last not in rush.arrived()


def test_what_an_uninstall_has_left_in_the_queue_ends_quietly(rush: Rush) -> None:
    rush.throttle()
    rush.accept(1)
    rush.world.work()
    assert [job.kind for job in rush.queued()] == ["pack-events"]
    uninstall(rush.world.read(), rush.world.services)
    rush.world.work(15)
    assert (rush.queued(), rush.world.dead_jobs(), rush.waiting()) == ([], [], [])


def test_an_event_that_nobody_can_read_keeps_no_other_and_stays(rush: Rush) -> None:
    rush.set_aside(1, 2, 3)
    documents, collection = rush.world.services.documents, f"tenants/{TENANT}/event_backlog"
    first = documents.find(collection, limit=1)[0]
    documents.update(collection, first.id, {"event": "v1.broken"}, version=first.version)
    rush.backlog.note_try(TENANT, [first.id])
    rush.pack()
    for _ in range(4):
        rush.world.work(10)
    assert (rush.arrived(), rush.backlog.count(TENANT), rush.queued()) == ([2, 3], 1, [])
    documents.update(collection, first.id, {"event": first.fields["event"]})
    rush.world.clock.advance(120)
    sweep_events(
        SweepOutbox(tenant=TENANT, accepted_at=rush.world.clock()), rush.world.read(), rush.world.services
    )
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == [1, 2, 3]


def test_while_more_come_than_single_calls_bring_all_that_may_goes_in_bulk(rush: Rush) -> None:
    rush.set_aside(*range(MANY_IN_A_WINDOW))
    rush.pack()
    rush.deliver_many(5000)
    few = rush.statuses(SINGLE)[202]
    assert rush.deliver(rush.job(6000)) is Outcome.WAITING
    assert rush.waiting()[-1] == 6000
    rush.deliver(rush.job(6001, alone=True))
    assert rush.statuses(SINGLE)[202] == few + 1  # of the one that may go in no other way
    rush.world.clock.advance(30)
    rush.deliver_many(7000)
    rush.deliver(rush.job(6002))
    assert 6002 in rush.arrived()


def test_a_backlog_that_grows_no_more_keeps_no_live_event(rush: Rush) -> None:
    rush.set_aside(*range(MANY_IN_A_WINDOW))
    rush.world.clock.advance(10)
    rush.pack()
    rush.accept(5000)
    rush.world.work()
    assert rush.calls(SINGLE) == [202]


def test_what_goes_singly_after_a_refused_job_is_told_as_waiting_and_then_as_done(rush: Rush) -> None:
    rush.world.sandbox.klaviyo.fail(1, match=f"POST {BULK}", status=400)
    rush.set_aside(1)
    rush.pack()
    told = job_told(rush.world.read(), "job1", rush.world.services)
    assert (told["state"], told["why"], told["metric"]) == ("waiting", ALONE, "Points Expire")
    rush.work_until_quiet()
    assert job_told(rush.world.read(), "job1", rush.world.services)["state"] == "done"


def test_delivered_events_are_counted_by_metric_and_leave_receipts(rush: Rush) -> None:
    rush.set_aside(1, 2, 3)
    rush.pack()
    receipt = Receipts.of(rush.world.services).find(TENANT, "job3")
    assert receipt is not None
    assert (receipt.state, receipt.metric, receipt.answered) == (
        "done",
        "Points Expire",
        "Klaviyo answered 202",
    )
    since = rush.world.clock() - timedelta(hours=1)
    rush.world.clock.advance(30)
    rush.set_aside(4)
    rush.pack()
    (span,) = Traffic.of(rush.world.services).spans(TENANT, since)
    counted = {(row.target, row.what.value, row.metric): tally.count for row, tally in span.table.items()}
    assert counted == {("metric", "delivered", "Points Expire"): 4}
