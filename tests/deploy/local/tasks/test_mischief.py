"""What the emulator does on demand and Cloud Tasks at times by itself: it doubles, reorders and slows down, and never loses."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.local.tasks.cloud_tasks import PATIENCE, QUEUE, Reply, World, a_world, record


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        world.queue(rate_limits={"max_concurrent_dispatches": 1})
        yield world


def order(world: World, body: bytes | dict[str, Any], path: str = "/control") -> tuple[int, Any]:
    """Send an order to the emulator, and return the status and what it says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            f"http://{world.emulator.http_address}{path}", data, timeout=PATIENCE
        ) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def add(world: World, count: int) -> list[str]:
    """Create tasks and return their targets, in the order of creation."""
    targets = [f"/tasks/{number:02}" for number in range(count)]
    for target in targets:
        world.add(target)
    return targets


def test_the_next_deliveries_are_made_twice_and_then_none_is(world: World) -> None:
    assert order(world, {"doubles": 2}) == (
        200,
        {"doubles": 2, "order": "due", "dispatches_per_second": None},
    )
    add(world, 3)
    world.step()
    assert world.worker.targets() == ["/tasks/00", "/tasks/00", "/tasks/01", "/tasks/01", "/tasks/02"]
    assert world.left() == []
    assert record(world.emulator.http_address, "/control")["doubles"] == 0


def test_a_delivery_made_twice_counts_as_its_second_went(world: World) -> None:
    world.emulator.mischief.change(doubles=1)
    world.worker.replies = [Reply(200), Reply(503)]
    add(world, 1)
    world.step()
    assert len(world.left()) == 1
    world.step(minutes=1)
    assert (len(world.worker.received), world.left()) == (3, [])
    assert world.worker.header("x-cloudtasks-taskretrycount") == ["0", "0", "1"]


def test_the_newest_task_goes_first(world: World) -> None:
    order(world, {"order": "newest"})
    targets = add(world, 6)
    world.step()
    assert world.worker.targets() == targets[::-1]


def test_shuffled_tasks_all_arrive_in_another_order_and_the_same_one_each_time(tmp_path: Path) -> None:
    orders = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        with a_world(tmp_path / str(number)) as world:
            world.queue(rate_limits={"max_concurrent_dispatches": 1})
            world.emulator.mischief.change(order="shuffled")
            targets = add(world, 12)
            world.step()
            orders.append(world.worker.targets())
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == targets
    assert orders[0] not in (targets, targets[::-1])


def test_the_brake_slows_every_queue_and_comes_off_again(world: World) -> None:
    order(world, {"dispatches_per_second": 0.5})
    add(world, 5)
    sent = []
    for seconds in (0, 1, 1, 2, 0.5):
        world.step(seconds=seconds)
        sent.append(len(world.worker.received))
    assert sent == [1, 1, 2, 3, 3]
    order(world, {"dispatches_per_second": 0})
    world.emulator.step()
    world.step(seconds=1)
    assert len(world.worker.received) == 5


def test_a_queue_that_is_slower_than_the_brake_stays_as_slow(world: World) -> None:
    world.queue(QUEUE, rate_limits={"max_dispatches_per_second": 0.1})
    order(world, {"dispatches_per_second": 400})
    add(world, 3)
    world.step()
    world.step(seconds=5)
    assert len(world.worker.received) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", {"doubles": -1}, {"doubles": "2"}, {"doubles": True}, {"order": "oldest"}, {"order": 7},
        {"dispatches_per_second": -1}, {"dispatches_per_second": "fast"}, {"dispatches_per_second": True}, {"speed": 1},
        b'{"dispatches_per_second": NaN}', b"\xff",
    ],
    ids=str,
)  # fmt: skip
def test_an_order_that_cannot_be_carried_out_is_refused_and_changes_nothing(
    world: World, body: bytes | dict[str, Any]
) -> None:
    status, said = order(world, body)
    assert status == 400
    assert "send an object" in said["error"]
    assert record(world.emulator.http_address, "/control") == {
        "doubles": 0,
        "order": "due",
        "dispatches_per_second": None,
    }


def test_nothing_else_takes_orders(world: World) -> None:
    assert order(world, {"doubles": 1}, "/queues")[0] == 404
