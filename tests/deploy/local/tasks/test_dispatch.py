"""When the Cloud Tasks emulator sends: schedule, order, rate, concurrency, pause, purge, forced runs."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.tasks import TasksEmulator
from tests.deploy.local.tasks.cloud_tasks import (
    LOCATION,
    NOON,
    PATIENCE,
    QUEUE,
    TASK,
    MovableClock,
    Reply,
    World,
    a_world,
    eventually,
)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path, stepped=False) as world:
        yield world


def test_a_task_is_not_sent_before_its_schedule_time(world: World) -> None:
    world.add(schedule_time=NOON + timedelta(minutes=5))

    world.step(minutes=5, microseconds=-1)
    assert world.worker.received == []
    world.step(microseconds=1)
    assert len(world.worker.received) == 1


def test_tasks_go_out_by_schedule_time_and_then_in_order_of_creation(world: World) -> None:
    world.queue(rate_limits={"max_concurrent_dispatches": 1})
    world.add("/3", schedule_time=NOON + timedelta(seconds=2))
    world.add("/1", schedule_time=NOON + timedelta(seconds=1))
    world.add("/4", schedule_time=NOON + timedelta(seconds=2))
    world.add("/2", schedule_time=NOON + timedelta(seconds=1))

    world.step(seconds=2)

    assert world.worker.targets() == ["/1", "/2", "/3", "/4"]


def test_a_queue_sends_its_burst_at_once_and_then_at_its_rate(world: World) -> None:
    world.queue(rate_limits={"max_dispatches_per_second": 4})
    for _ in range(12):
        world.add()
    sent = []

    for seconds in (0, 0.2, 0.05, 0.5, 0.25, 60):
        world.step(seconds=seconds)
        sent.append(len(world.worker.received))

    assert sent == [4, 4, 5, 7, 8, 12]


def test_retries_count_towards_the_rate(world: World) -> None:
    world.queue(rate_limits={"max_dispatches_per_second": 2})
    world.worker.replies = [Reply(500)] * 4
    for _ in range(2):
        world.add()

    world.step()
    world.step(seconds=0.2)
    assert len(world.worker.received) == 2
    world.step(seconds=0.8)
    assert len(world.worker.received) == 4


def test_one_queue_that_is_throttled_does_not_slow_another(world: World) -> None:
    other = world.queue(f"{LOCATION}/queues/other").name
    world.queue(rate_limits={"max_dispatches_per_second": 0.001})
    for _ in range(3):
        world.add("/slow")
        world.add("/fast", queue=other)

    world.step()

    assert sorted(world.worker.targets()) == ["/fast", "/fast", "/fast", "/slow"]


def test_no_more_attempts_run_at_once_than_a_queue_allows(live: World) -> None:
    live.queue(rate_limits={"max_concurrent_dispatches": 3})
    live.worker.hold.clear()
    live.client.pause_queue(name=QUEUE)
    for _ in range(10):
        live.add()

    live.client.resume_queue(name=QUEUE)
    live.worker.wait_for(3)
    assert len(live.left()) == 10
    assert len(live.worker.received) == 3
    live.worker.hold.set()
    live.worker.wait_for(10)
    eventually(lambda: live.left() == [])
    assert live.worker.busiest <= 3


def test_a_paused_queue_takes_tasks_and_sends_none(world: World) -> None:
    world.client.pause_queue(name=QUEUE)
    world.add()

    world.step(hours=1)
    assert world.worker.received == []
    world.client.resume_queue(name=QUEUE)
    world.step()
    assert len(world.worker.received) == 1


def test_a_pause_lets_running_attempts_finish(live: World) -> None:
    live.worker.hold.clear()
    live.add()
    live.worker.wait_for(1)

    live.client.pause_queue(name=QUEUE)
    live.add()
    live.worker.hold.set()

    eventually(lambda: len(live.left()) == 1)
    assert len(live.worker.received) == 1
    live.client.resume_queue(name=QUEUE)
    eventually(lambda: live.left() == [])


def test_a_purge_deletes_what_waits_and_spares_what_comes_later(world: World) -> None:
    world.add("/before")
    world.add("/before", schedule_time=NOON + timedelta(hours=1))

    world.client.purge_queue(name=QUEUE)
    world.add("/after")
    world.step(hours=2)

    assert world.worker.targets() == ["/after"]


def test_an_attempt_at_a_task_that_was_deleted_meanwhile_is_only_logged(live: World) -> None:
    live.worker.hold.clear()
    live.worker.replies = [Reply(500)]
    live.add(name=f"{TASK}/flush-1")
    live.worker.wait_for(1)

    live.client.delete_task(name=f"{TASK}/flush-1")
    live.worker.hold.set()

    eventually(lambda: live.attempts("task=flush-1")[0]["status"] == 500)
    assert live.left() == []


def test_a_forced_run_ignores_schedule_pause_and_rate(world: World) -> None:
    world.queue(rate_limits={"max_dispatches_per_second": 0.001})
    world.client.pause_queue(name=QUEUE)
    names = [world.add(schedule_time=NOON + timedelta(hours=1)).name for _ in range(3)]

    for name in names:
        assert world.client.run_task(name=name).name == name
    world.step()

    assert len(world.worker.received) == 3
    assert world.left() == []


def test_a_forced_run_that_fails_puts_the_task_back_a_backoff_after_the_call(world: World) -> None:
    world.queue(retry_config={"min_backoff": timedelta(seconds=10)})
    world.worker.replies = [Reply(500)]
    name = world.add(schedule_time=NOON + timedelta(hours=1)).name

    world.worker.hold.clear()
    world.client.run_task(name=name)
    world.worker.wait_for(1)
    world.clock.advance(seconds=3)
    world.worker.hold.set()
    world.step()

    assert world.client.get_task(name=name).schedule_time == NOON + timedelta(seconds=10)


def test_a_task_that_runs_already_can_be_forced_to_run_again(live: World) -> None:
    live.worker.hold.clear()
    name = live.add().name
    live.worker.wait_for(1)

    live.client.run_task(name=name)
    live.worker.wait_for(2)
    live.worker.hold.set()

    eventually(lambda: [attempt["status"] for attempt in live.attempts()] == [204, 204])
    assert live.left() == []


def test_no_task_is_sent_before_it_is_due(live: World) -> None:
    for number in range(9):
        due = datetime.now(UTC) + timedelta(seconds=0.05 if number % 2 else 0)
        live.add(schedule_time=due)
        live.worker.wait_for(number + 1)
        assert live.worker.received[-1].at >= due.timestamp()


def test_it_sleeps_until_the_moment_at_which_the_next_task_is_due_and_sends_it_then(tmp_path: Path) -> None:
    clock = MovableClock()
    with a_world(tmp_path, stepped=False, clock=clock) as world:
        dispatcher = world.emulator._dispatcher
        assert dispatcher is not None

        def sleeps() -> float:
            with dispatcher._changed:
                return dispatcher._seconds_until_next()

        world.add("/later", schedule_time=NOON + timedelta(minutes=5))
        eventually(lambda: sleeps() == 300)
        world.add("/soon", schedule_time=NOON + timedelta(seconds=0.05))
        eventually(lambda: sleeps() == 0.05)
        assert world.worker.received == []

        clock.advance(seconds=0.05)
        world.worker.wait_for(1)
        assert world.worker.targets() == ["/soon"]
        eventually(lambda: sleeps() == 299.95)


def test_a_backlog_is_worked_off_without_a_gap(live: World) -> None:
    live.client.pause_queue(name=QUEUE)
    for number in range(200):
        live.add(f"/{number}")

    live.client.resume_queue(name=QUEUE)
    live.worker.wait_for(200)

    assert sorted(live.worker.targets()) == sorted(f"/{number}" for number in range(200))
    eventually(lambda: live.left() == [])


def test_stopping_does_not_wait_for_a_worker_and_keeps_its_task(tmp_path: Path) -> None:
    with a_world(tmp_path, stepped=False) as live:
        live.worker.hold.clear()
        live.add(name=f"{TASK}/flush-1")
        live.worker.wait_for(1)
        begun = time.monotonic()
        live.emulator.stop()
        assert time.monotonic() - begun < PATIENCE  # the worker holds it twice as long

    with a_world(tmp_path) as later:
        assert later.left() == [f"{TASK}/flush-1"]
        assert later.attempts()[0]["failure"] == "interrupted"


def test_only_a_stepped_emulator_is_stepped(live: World) -> None:
    with pytest.raises(RuntimeError, match="stepped"):
        live.emulator.step()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", ""])  # noqa: S104 - it is refused
def test_the_emulator_binds_to_loopback_only(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="127"):
        TasksEmulator(tmp_path / "tasks.db", host=host)


def test_the_emulator_serves_ipv6_loopback_too(tmp_path: Path) -> None:
    with a_world(tmp_path, host="::1") as world:
        world.add()
        world.step()

        assert world.emulator.grpc_address.startswith("[::1]:")
        assert [attempt["status"] for attempt in world.attempts()] == [204]
