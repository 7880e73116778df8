"""Tasks of the Cloud Tasks emulator, through the real client: what is taken, what is refused, what a name blocks."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from google.cloud.tasks_v2 import HttpMethod, Task

from tests.deploy.local.tasks.cloud_tasks import (
    LOCATION,
    NOON,
    QUEUE,
    TASK,
    Reply,
    World,
    a_world,
    tasks_client,
)


def is_free(world: World, name: str) -> bool:
    try:
        world.add(name=name)
    except AlreadyExists:
        return False
    return True


def test_a_task_without_a_name_is_given_one_of_its_own(world: World) -> None:
    names = {world.add().name for _ in range(20)}

    assert len(names) == 20
    assert all(name.startswith(f"{TASK}/") for name in names)


def test_a_task_comes_back_as_it_was_created(world: World) -> None:
    created = world.client.create_task(
        request={
            "parent": QUEUE,
            "response_view": Task.View.FULL,
            "task": {
                "name": f"{TASK}/flush-1",
                "schedule_time": NOON + timedelta(hours=1),
                "dispatch_deadline": timedelta(seconds=20),
                "http_request": {
                    "url": world.worker.url("/a b?ü=1"),
                    "http_method": HttpMethod.PUT,
                    "headers": {"Content-Type": "application/json"},
                    "body": b"{}",
                    "oidc_token": {"service_account_email": "tasks@example.com", "audience": "us"},
                },
            },
        }
    )

    assert world.client.get_task(request={"name": created.name, "response_view": Task.View.FULL}) == created
    assert created.name == f"{TASK}/flush-1"
    assert created.http_request.url == world.worker.url("/a%20b?%C3%BC=1")
    assert created.http_request.http_method == HttpMethod.PUT
    assert created.http_request.body == b"{}"
    assert created.http_request.oidc_token.audience == "us"
    assert created.schedule_time == NOON + timedelta(hours=1)
    assert created.create_time == NOON.replace(microsecond=0)
    assert created.dispatch_deadline == timedelta(seconds=20)


def test_the_basic_view_leaves_the_body_out(world: World) -> None:
    created = world.add(http_request={"body": b"secret"})

    assert created.http_request.body == b""
    assert created.view == Task.View.BASIC
    assert world.client.get_task(name=created.name).http_request.body == b""


def test_a_schedule_time_that_is_missing_or_past_becomes_now(world: World) -> None:
    assert world.add().schedule_time == NOON
    assert world.add(schedule_time=NOON - timedelta(days=1)).schedule_time == NOON


def test_a_missing_deadline_is_ten_minutes(world: World) -> None:
    assert world.add().dispatch_deadline == timedelta(minutes=10)


def test_a_named_task_is_created_once(world: World) -> None:
    assert is_free(world, f"{TASK}/flush-1")
    assert not is_free(world, f"{TASK}/flush-1")


def test_sixteen_callers_with_one_name_create_one_task(world: World) -> None:
    for round in range(5):
        together = Barrier(16)

        def create(_: int, name: str = f"{TASK}/flush-{round}", together: Barrier = together) -> bool:
            together.wait(60)
            return is_free(world, name)

        with ThreadPoolExecutor(16) as callers:
            assert sum(callers.map(create, range(16))) == 1


def test_the_name_of_a_task_that_ran_stays_blocked_for_a_day(world: World) -> None:
    world.add(name=f"{TASK}/flush-1")
    world.clock.advance(hours=5)
    world.step()
    assert world.left() == []

    world.clock.advance(hours=24, microseconds=-1)
    assert not is_free(world, f"{TASK}/flush-1")
    world.clock.advance(microseconds=1)
    assert is_free(world, f"{TASK}/flush-1")


def test_the_names_of_deleted_purged_and_given_up_tasks_stay_blocked_for_a_day(world: World) -> None:
    world.queue(retry_config={"max_attempts": 1})
    world.worker.replies = [Reply(500)]
    world.add(name=f"{TASK}/given-up")
    world.step()
    world.add(name=f"{TASK}/deleted")
    world.client.delete_task(name=f"{TASK}/deleted")
    world.add(name=f"{TASK}/purged")
    world.client.purge_queue(name=QUEUE)
    names = [f"{TASK}/given-up", f"{TASK}/deleted", f"{TASK}/purged"]

    assert world.left() == []
    world.clock.advance(hours=23.9)
    assert [is_free(world, name) for name in names] == [False, False, False]
    world.clock.advance(hours=0.1)
    assert [is_free(world, name) for name in names] == [True, True, True]


def test_a_purge_does_not_free_the_names_of_tasks_that_ran_before(world: World) -> None:
    world.add(name=f"{TASK}/flush-1")
    world.step()

    world.client.purge_queue(name=QUEUE)

    assert not is_free(world, f"{TASK}/flush-1")


def test_a_name_is_blocked_in_its_own_queue_only(world: World) -> None:
    other = world.queue(f"{LOCATION}/queues/other").name
    world.add(name=f"{TASK}/flush-1")

    assert world.add(queue=other, name=f"{other}/tasks/flush-1").name == f"{other}/tasks/flush-1"


def test_blocked_names_outlive_a_restart(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.add(name=f"{TASK}/flush-1")
        world.step()
        world.client.delete_queue(name=world.queue(f"{LOCATION}/queues/other").name)
        world.emulator.stop()
        world.emulator.start()

        with tasks_client(world.emulator.grpc_address) as client:
            with pytest.raises(AlreadyExists):
                client.create_task(
                    parent=QUEUE,
                    task={"name": f"{TASK}/flush-1", "http_request": {"url": "http://127.0.0.1/"}},
                )
            with pytest.raises(FailedPrecondition):
                client.create_queue(parent=LOCATION, queue={"name": f"{LOCATION}/queues/other"})


@pytest.mark.parametrize("id", ["", "a b", "a.b", "ü", "a/b", "x" * 501])
def test_a_task_id_that_breaks_the_format_is_refused(world: World, id: str) -> None:
    with pytest.raises(InvalidArgument, match="TASK_ID"):
        world.add(name=f"{TASK}/{id}")


def test_the_longest_task_id_is_taken(world: World) -> None:
    name = f"{TASK}/{'_-aZ9' * 100}"

    assert world.add(name=name).name == name


def test_a_task_must_be_named_after_the_queue_it_is_put_into(world: World) -> None:
    with pytest.raises(InvalidArgument, match="parent"):
        world.add(name=f"{LOCATION}/queues/other/tasks/1")


def test_a_task_of_one_mebibyte_is_taken_and_a_larger_one_refused(world: World) -> None:
    def task(body: int) -> Task:
        return Task(http_request={"url": world.worker.url(), "body": b"x" * body})

    fitting = 1024 * 1024 - (len(Task.serialize(task(1_000_000))) - 1_000_000)
    assert len(Task.serialize(task(fitting))) == 1024 * 1024

    world.client.create_task(parent=QUEUE, task=task(fitting))
    with pytest.raises(InvalidArgument, match="1 MiB"):
        world.client.create_task(parent=QUEUE, task=task(fitting + 1))
    world.step()
    assert [len(request.body) for request in world.worker.received] == [fitting]


@pytest.mark.parametrize(("seconds", "taken"), [(14.999, False), (15, True), (1800, True), (1800.001, False)])
def test_a_deadline_lies_between_fifteen_seconds_and_thirty_minutes(
    world: World, seconds: float, taken: bool
) -> None:
    if taken:
        assert (
            world.add(dispatch_deadline=timedelta(seconds=seconds)).dispatch_deadline.total_seconds()
            == seconds
        )
    else:
        with pytest.raises(InvalidArgument, match="dispatch_deadline"):
            world.add(dispatch_deadline=timedelta(seconds=seconds))


def test_a_task_is_scheduled_at_most_thirty_days_ahead(world: World) -> None:
    world.add(schedule_time=NOON + timedelta(days=30))
    with pytest.raises(InvalidArgument, match="schedule_time"):
        world.add(schedule_time=NOON + timedelta(days=30, microseconds=1))


def test_a_url_has_at_most_2083_characters_once_it_is_encoded(world: World) -> None:
    room = 2083 - len(world.worker.url("/"))

    assert len(world.add("/" + "x" * room).http_request.url) == 2083
    with pytest.raises(InvalidArgument, match="2083"):
        world.add("/" + "x" * (room + 1))
    with pytest.raises(InvalidArgument, match="2083"):
        world.add("/" + "ü" * (room // 6 + 1))


@pytest.mark.parametrize(
    "url", ["", "ftp://127.0.0.1/", "127.0.0.1:80/", "/tasks", "http://", "http:///x", "http://x:y/"]
)
def test_a_url_without_scheme_or_host_is_refused(world: World, url: str) -> None:
    with pytest.raises(InvalidArgument, match="url"):
        world.add(http_request={"url": url})


def test_headers_are_smaller_than_80_kilobytes_together(world: World) -> None:
    fitting = {"X-A": "x" * 40_000, "X-B": "x" * (81_920 - 40_000 - 6 - 1)}

    world.add(http_request={"headers": fitting})
    with pytest.raises(InvalidArgument, match="80 KB"):
        world.add(http_request={"headers": fitting | {"X-C": ""}})


@pytest.mark.parametrize(
    "headers", [{"X A": "1"}, {"": "1"}, {"X-A:": "1"}, {"X-A": "1\r\nX-B: 2"}, {"X-A": "\0"}]
)
def test_headers_that_http_does_not_allow_are_refused(world: World, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="headers"):
        world.add(http_request={"headers": headers})


@pytest.mark.parametrize("method", [HttpMethod.GET, HttpMethod.HEAD, HttpMethod.DELETE, HttpMethod.OPTIONS])
def test_a_body_is_refused_with_a_method_that_has_none(world: World, method: HttpMethod) -> None:
    with pytest.raises(InvalidArgument, match="body"):
        world.add(http_request={"http_method": method, "body": b"x"})


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"http_request": {"url": "http://127.0.0.1/", "http_method": 99}},
        {"http_request": {"url": "http://127.0.0.1/", "oidc_token": {"audience": "us"}}},
        {"http_request": {"url": "http://127.0.0.1/"}, "retry_config": {"max_attempts": -2}},
    ],
)
def test_an_incomplete_task_is_refused(world: World, task: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        world.client.create_task(parent=QUEUE, task=task)


def test_a_refused_task_leaves_nothing_behind(world: World) -> None:
    with pytest.raises(InvalidArgument):
        world.add(name=f"{TASK}/flush-1", dispatch_deadline=timedelta(seconds=1))

    assert world.left() == []
    assert is_free(world, f"{TASK}/flush-1")


def test_tasks_are_listed_page_by_page_oldest_first(world: World) -> None:
    names = [world.add().name for _ in range(5)]

    pages = list(world.client.list_tasks(request={"parent": QUEUE, "page_size": 2}).pages)

    assert [[task.name for task in page.tasks] for page in pages] == [names[:2], names[2:4], names[4:]]


def test_tasks_with_large_bodies_are_all_listed_in_full(world: World) -> None:
    for _ in range(6):
        world.add(http_request={"body": b"x" * 1_000_000})

    listed = world.client.list_tasks(request={"parent": QUEUE, "response_view": Task.View.FULL})

    assert [len(task.http_request.body) for task in listed] == [1_000_000] * 6


def test_a_page_token_that_was_never_given_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        world.client.list_tasks(request={"parent": QUEUE, "page_token": "x"})
    with pytest.raises(InvalidArgument, match="page_size"):
        world.client.list_tasks(request={"parent": QUEUE, "page_size": -1})


def test_a_task_that_is_gone_can_be_neither_read_nor_deleted_nor_run(world: World) -> None:
    name = world.add().name
    world.client.delete_task(name=name)

    for call in (world.client.get_task, world.client.delete_task, world.client.run_task):
        with pytest.raises(NotFound):
            call(name=name)
    world.step()
    assert world.worker.received == []


def test_a_task_past_its_retention_of_31_days_is_deleted_unsent(world: World) -> None:
    world.client.pause_queue(name=QUEUE)
    world.add()

    world.step(days=31, microseconds=-1)
    assert len(world.left()) == 1
    world.step(hours=1)
    assert world.left() == []
    assert world.worker.received == []
