"""Which way an event goes: singly while that is allowed, else into the backlog, if it may."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.sandbox.klaviyo.endpoints import ENDPOINTS
from deploy.local.sandbox.stage.windows import Window
from shared.jobs.jobs import Outcome, SendMetric
from shared.metrics.singles import UNTRIED
from tests.support.backlogs import BULK, SINGLE, Rush
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

OMNEO_ID = "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11"


@pytest.fixture
def rush(world: World) -> Rush:
    return Rush(world).set_up()


def test_a_live_event_goes_singly_and_at_once_whatever_waits_in_the_backlog(rush: Rush) -> None:
    rush.set_aside(*range(100, 130))
    rush.accept(1)
    rush.world.work()
    assert rush.arrived() == [1]
    assert len(rush.waiting()) == 30


def test_an_event_that_comes_while_single_calls_rest_waits_for_a_bulk_job_and_costs_no_call(
    rush: Rush,
) -> None:
    rush.throttle()
    rush.accept(1)
    rush.world.work()
    assert (rush.waiting(), rush.calls(SINGLE)) == ([1], [])
    assert [job.kind for job in rush.queued()] == ["pack-events"]
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(SINGLE), rush.calls(BULK)) == ([1], [], [202])


def test_an_event_that_is_refused_for_the_number_of_calls_waits_for_a_bulk_job(rush: Rush) -> None:
    rush.world.sandbox.klaviyo.fail(1, match=f"POST {SINGLE}", status=429)
    rush.accept(1)
    rush.world.work()
    assert rush.waiting() == [1]
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(SINGLE), rush.calls(BULK)) == ([1], [429], [202])


def test_single_calls_go_on_when_their_rest_is_over(rush: Rush) -> None:
    rush.throttle(30)
    rush.accept(1)
    rush.world.work()
    rush.world.work(31)
    rush.accept(2)
    rush.world.work()
    assert rush.calls(SINGLE) == [202]
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == [1, 2]


def untried_rest(rush: Rush, seconds: float = 20) -> None:
    until = rush.world.clock() + timedelta(seconds=seconds)
    rush.world.services.rests.rest(TENANT, UNTRIED, until)


def another_metric(rush: Rush, number: int) -> SendMetric:
    job = rush.job(number)
    metric = {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}}
    return job.model_copy(update={"event": {**job.event, "metric": metric}})


def test_in_a_rush_a_live_event_of_another_metric_goes_singly_and_at_once(rush: Rush) -> None:
    untried_rest(rush)
    outcomes = rush.deliver_many(100)
    assert outcomes[-1] is Outcome.WAITING
    assert rush.deliver(another_metric(rush, 1)) is Outcome.DONE
    assert rush.arrived()[-1] == 1


def test_when_a_rush_is_over_a_live_event_of_its_metric_goes_singly_and_at_once(rush: Rush) -> None:
    untried_rest(rush)
    rush.deliver_many(100)
    rush.world.clock.advance(2)
    assert rush.deliver(rush.job(1)) is Outcome.DONE
    assert rush.waiting()


def test_a_live_event_waits_in_the_queue_for_a_rest_that_is_soon_over(rush: Rush) -> None:
    rush.throttle(3)
    rush.accept(1)
    rush.world.work()
    assert (rush.waiting(), rush.calls(SINGLE)) == ([], [])
    assert rush.work_until_quiet() <= 5
    assert (rush.arrived(), rush.calls(BULK)) == ([1], [])


def test_all_the_others_go_in_bulk_that_come_in_such_a_rest(rush: Rush) -> None:
    rush.throttle(3)
    outcomes = rush.deliver_many(100, 30)
    assert set(outcomes) == {Outcome.WAITING}
    assert 0 < len(rush.waiting()) < 30
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == list(range(100, 130))


@pytest.fixture
def a_minute(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let Klaviyo take fewer single calls than it documents, and return how many it takes in a minute."""
    path = SINGLE.removeprefix("/")
    fewer = replace(ENDPOINTS[path]["POST"], windows=[Window(1, 100), Window(60, 200)])
    monkeypatch.setitem(ENDPOINTS, path, {**ENDPOINTS[path], "POST": fewer})
    return 200


def test_once_four_fifths_of_a_minutes_calls_are_spent_many_go_in_bulk_and_a_live_one_singly(
    rush: Rush, a_minute: int
) -> None:
    """Three instances spend them together, and none asks another."""
    instances, outcomes = [rush.services() for _ in range(3)], []
    for number in range(100, 360):
        outcomes.append(rush.deliver(rush.job(number), services=instances[number % 3]))
        rush.world.clock.advance(0.05)
    singly = outcomes.count(Outcome.DONE)
    assert 0.8 * a_minute <= singly < a_minute
    assert rush.deliver(another_metric(rush, 1), services=instances[0]) is Outcome.DONE
    assert rush.statuses(SINGLE) == {202: singly + 1}
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == [1, *range(100, 360)]


@pytest.mark.usefixtures("a_minute")
def test_the_calls_of_a_minute_that_is_over_are_spent_no_more(rush: Rush) -> None:
    for first in (100, 300, 500):
        assert set(rush.deliver_many(first, 90)) == {Outcome.DONE}
        rush.world.clock.advance(60)


NOT_IN_BULK: list[tuple[str, dict[str, Any]]] = [
    ("was put back before", {"attempts": 1}),
    ("was in a bulk job before", {"alone": True}),
    ("is replayed", {"replay": "w", "dead_id": "d"}),
    ("asks for a token", {"with_token": True}),
    (
        "names only an Omneo profile",
        {
            "omneo_profile_id": OMNEO_ID,
            "event": {
                "metric": {"data": {"attributes": {"name": "Points Expire"}}},
                "profile": {"data": {"attributes": {"external_id": OMNEO_ID}}},
                "properties": {"n": 1},
                "unique_id": "u",
            },
        },
    ),
]


@pytest.mark.parametrize(
    "changes", [changes for _, changes in NOT_IN_BULK], ids=[why for why, _ in NOT_IN_BULK]
)
def test_an_event_never_goes_in_bulk_that(rush: Rush, changes: dict[str, Any]) -> None:
    from shared.metrics.lane import may_go_in_bulk

    assert may_go_in_bulk(rush.job())
    assert not may_go_in_bulk(rush.job(**changes))


def test_a_large_event_goes_singly(rush: Rush) -> None:
    rush.throttle(30)
    rush.accept(1, properties={"n": 1, "text": "x" * 16_000})
    rush.world.work()
    assert rush.waiting() == []
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(BULK)) == ([1], [])


def test_an_event_by_klaviyos_id_goes_in_bulk(rush: Rush) -> None:
    jane = rush.world.sandbox.klaviyo.profile(ACCOUNT, email=EMAIL)
    rush.throttle()
    rush.accept(1, profile={"id": jane.id, "attributes": {}})
    rush.work_until_quiet()
    assert (rush.arrived(), rush.calls(BULK)) == ([1], [202])


def test_a_job_that_is_delivered_twice_waits_once(rush: Rush) -> None:
    rush.throttle()
    job = rush.job()
    assert [rush.deliver(job) for _ in range(2)] == [Outcome.WAITING] * 2
    assert rush.waiting() == [1]


def test_a_delivery_that_is_repeated_goes_singly_unless_its_event_waits_already(rush: Rush) -> None:
    """The one before it may have called Klaviyo, or put the event into the backlog, and died before it could say so."""
    rush.throttle()
    waits, unknown = rush.set_aside(1)[0], rush.job(2)
    assert rush.deliver(waits, retries=1) is Outcome.WAITING
    assert rush.waiting() == [1]
    rush.deliver(unknown, retries=1)
    assert rush.waiting() == [1]
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == [1, 2]
    assert rush.statuses(SINGLE)[202] == 1


def test_a_delivery_that_is_repeated_is_not_taken_for_untried_after_it_has_waited(rush: Rush) -> None:
    tried = rush.job(1)
    rush.deliver(tried)  # and the process dies before it says so
    rush.throttle(30)
    rush.deliver(tried, retries=1)
    rush.world.work(29)
    rush.throttle(60)
    rush.accept(2)
    rush.work_until_quiet()
    assert (sorted(rush.arrived()), rush.calls(BULK)) == ([1, 2], [202])


def test_of_many_events_in_a_window_the_queue_is_asked_for_the_packer_once(rush: Rush) -> None:
    rush.throttle()
    rush.world.clock.advance(1)
    services = rush.services()
    asked: list[str] = []
    queue = services.queue

    class Noting:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(queue, name)

    vars(services)["queue"] = Noting()
    for number in range(20):
        rush.deliver(rush.job(number), services=services)
    assert asked == ["put_named"]
    rush.world.clock.advance(6)  # another machine's clock may say that the window is over
    rush.deliver(rush.job(21), services=services)
    assert asked.count("put_named") > 1
    rush.work_until_quiet()
    assert sorted(rush.arrived()) == [*range(20), 21]


def test_what_waits_is_told_by_the_id_of_its_call(rush: Rush) -> None:
    from shared.admin.jobs import job as told

    rush.throttle()
    accepted = rush.accept(1)
    rush.world.work()
    answer = told(rush.world.read(), accepted.id, rush.world.services)
    assert (answer["state"], answer["kind"], answer["metric"]) == ("waiting", "send-metric", "Points Expire")
    assert "bulk" in answer["why"]


def test_a_disconnected_account_puts_nothing_into_the_backlog(rush: Rush) -> None:
    rush.throttle()
    rush.world.disconnect()
    rush.world.services.tenant_cache.fresh(TENANT)
    rush.accept(1)
    rush.world.work()
    assert rush.waiting() == []
    assert [job.kind for job in rush.queued()] == ["send-metric"]
