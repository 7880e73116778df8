"""Queues of the Cloud Tasks emulator, through the real client."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
)
from google.cloud.tasks_v2 import Queue

from tests.deploy.local.tasks.cloud_tasks import LOCATION, NOON, QUEUE, World

OTHER = f"{LOCATION}/queues/other"


def test_a_new_queue_has_the_documented_defaults(world: World) -> None:
    queue = world.client.get_queue(name=QUEUE)

    assert queue.state == Queue.State.RUNNING
    assert queue.rate_limits.max_dispatches_per_second == 500
    assert queue.rate_limits.max_concurrent_dispatches == 1000
    assert queue.rate_limits.max_burst_size == 500
    assert queue.retry_config.max_attempts == 100
    assert queue.retry_config.min_backoff == timedelta(seconds=0.1)
    assert queue.retry_config.max_backoff == timedelta(hours=1)
    assert queue.retry_config.max_doublings == 16
    assert not queue.retry_config.max_retry_duration
    assert queue.purge_time is None


def test_the_settings_of_a_queue_are_kept(world: World) -> None:
    created = world.client.create_queue(
        parent=LOCATION,
        queue={
            "name": OTHER,
            "rate_limits": {"max_dispatches_per_second": 12.5, "max_concurrent_dispatches": 7},
            "retry_config": {
                "max_attempts": -1,
                "max_retry_duration": timedelta(hours=2, milliseconds=900),
                "min_backoff": timedelta(seconds=1),
                "max_backoff": timedelta(minutes=10),
                "max_doublings": 5,
            },
            "stackdriver_logging_config": {"sampling_ratio": 0.5},
        },
    )

    assert world.client.get_queue(name=OTHER) == created
    assert (created.rate_limits.max_dispatches_per_second, created.rate_limits.max_concurrent_dispatches) == (
        12.5,
        7,
    )
    assert (created.retry_config.max_attempts, created.retry_config.max_doublings) == (-1, 5)
    assert created.retry_config.max_retry_duration == timedelta(hours=2)
    assert created.stackdriver_logging_config.sampling_ratio == 0.5


@pytest.mark.parametrize("id", ["", "under_score", "ü", "a/b", "dot.dot", "x" * 101])
def test_a_queue_id_that_breaks_the_format_is_refused(world: World, id: str) -> None:
    with pytest.raises(InvalidArgument, match="QUEUE_ID"):
        world.client.create_queue(parent=LOCATION, queue={"name": f"{LOCATION}/queues/{id}"})


def test_the_longest_queue_id_is_taken(world: World) -> None:
    name = f"{LOCATION}/queues/{'x' * 100}"

    assert world.client.create_queue(parent=LOCATION, queue={"name": name}).name == name


def test_a_queue_must_lie_in_the_location_it_is_created_in(world: World) -> None:
    with pytest.raises(InvalidArgument, match="parent"):
        world.client.create_queue(parent="projects/demo/locations/there", queue={"name": OTHER})
    with pytest.raises(InvalidArgument, match="parent"):
        world.client.create_queue(parent="here", queue={"name": OTHER})


def test_a_queue_that_exists_is_not_created_again(world: World) -> None:
    with pytest.raises(AlreadyExists):
        world.client.create_queue(parent=LOCATION, queue={"name": QUEUE})


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_queue(name=OTHER),
        lambda client: client.pause_queue(name=OTHER),
        lambda client: client.resume_queue(name=OTHER),
        lambda client: client.purge_queue(name=OTHER),
        lambda client: client.delete_queue(name=OTHER),
        lambda client: client.list_tasks(parent=OTHER),
        lambda client: client.create_task(parent=OTHER, task={"http_request": {"url": "http://127.0.0.1/"}}),
        lambda client: client.get_task(name=f"{OTHER}/tasks/1"),
        lambda client: client.delete_task(name=f"{OTHER}/tasks/1"),
        lambda client: client.run_task(name=f"{OTHER}/tasks/1"),
    ],
)
def test_a_missing_queue_is_not_found(world: World, call: Callable[[Any], object]) -> None:
    with pytest.raises(NotFound):
        call(world.client)


def test_the_name_of_a_deleted_queue_stays_blocked_for_three_days(world: World) -> None:
    world.client.delete_queue(name=QUEUE)

    world.clock.advance(days=3, microseconds=-1)
    with pytest.raises(FailedPrecondition):
        world.client.create_queue(parent=LOCATION, queue={"name": QUEUE})
    with pytest.raises(FailedPrecondition):
        world.client.update_queue(queue={"name": QUEUE})

    world.clock.advance(microseconds=1)
    assert world.client.create_queue(parent=LOCATION, queue={"name": QUEUE}).name == QUEUE


def test_a_deleted_queue_takes_its_tasks_along(world: World) -> None:
    world.add()

    world.client.delete_queue(name=QUEUE)
    world.clock.advance(days=3)
    world.client.create_queue(parent=LOCATION, queue={"name": QUEUE})
    world.step()

    assert world.left() == []
    assert world.worker.received == []


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limits": {"max_dispatches_per_second": 500.1}},
        {"rate_limits": {"max_dispatches_per_second": -1}},
        {"rate_limits": {"max_dispatches_per_second": float("nan")}},
        {"rate_limits": {"max_concurrent_dispatches": 5001}},
        {"rate_limits": {"max_concurrent_dispatches": -1}},
        {"retry_config": {"max_attempts": -2}},
        {"retry_config": {"max_doublings": -1}},
        {"retry_config": {"min_backoff": timedelta(seconds=-1)}},
        {"retry_config": {"max_retry_duration": timedelta(seconds=-1)}},
        {"retry_config": {"min_backoff": timedelta(seconds=2), "max_backoff": timedelta(seconds=1)}},
        {"stackdriver_logging_config": {"sampling_ratio": 1.1}},
    ],
)
def test_settings_beyond_the_documented_limits_are_refused(world: World, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        world.client.create_queue(parent=LOCATION, queue={"name": OTHER, **settings})
    with pytest.raises(InvalidArgument):
        world.client.update_queue(queue={"name": QUEUE, **settings})


def test_settings_at_the_documented_limits_are_taken(world: World) -> None:
    queue = world.queue(rate_limits={"max_dispatches_per_second": 500, "max_concurrent_dispatches": 5000})

    assert queue.rate_limits.max_concurrent_dispatches == 5000


def test_an_update_with_a_mask_changes_what_the_mask_names_and_nothing_else(world: World) -> None:
    world.queue(
        rate_limits={"max_dispatches_per_second": 5, "max_concurrent_dispatches": 3},
        retry_config={"max_attempts": 9, "max_doublings": 2},
    )

    changed = world.client.update_queue(
        queue={
            "name": QUEUE,
            "rate_limits": {"max_dispatches_per_second": 50, "max_concurrent_dispatches": 30},
            "retry_config": {"max_attempts": 90, "max_doublings": 0},
        },
        update_mask={
            "paths": ["rate_limits.max_dispatches_per_second", "retry_config.max_doublings", "state"]
        },
    )

    assert changed == world.client.get_queue(name=QUEUE)
    assert changed.rate_limits.max_dispatches_per_second == 50
    assert changed.rate_limits.max_burst_size == 50
    assert changed.rate_limits.max_concurrent_dispatches == 3
    assert (changed.retry_config.max_attempts, changed.retry_config.max_doublings) == (9, 0)
    assert changed.state == Queue.State.RUNNING


def test_an_update_without_a_mask_sets_what_is_missing_back_to_the_defaults(world: World) -> None:
    world.queue(rate_limits={"max_dispatches_per_second": 5, "max_concurrent_dispatches": 3})

    changed = world.queue(rate_limits={"max_concurrent_dispatches": 4})

    assert changed.rate_limits.max_dispatches_per_second == 500
    assert changed.rate_limits.max_concurrent_dispatches == 4


def test_a_mask_that_names_no_field_of_a_queue_is_refused(world: World) -> None:
    for path in ("rate_limits.speed", "colour"):
        with pytest.raises(InvalidArgument, match="update_mask"):
            world.client.update_queue(queue={"name": QUEUE}, update_mask={"paths": [path]})


def test_an_update_creates_a_queue_that_is_not_there(world: World) -> None:
    world.client.update_queue(queue={"name": OTHER, "rate_limits": {"max_concurrent_dispatches": 2}})

    assert world.client.get_queue(name=OTHER).rate_limits.max_concurrent_dispatches == 2


def test_an_update_leaves_a_paused_queue_paused(world: World) -> None:
    world.client.pause_queue(name=QUEUE)

    assert world.queue().state == Queue.State.PAUSED
    assert world.client.resume_queue(name=QUEUE).state == Queue.State.RUNNING


def test_queues_are_listed_by_name_page_by_page_within_their_location(world: World) -> None:
    names = [f"{LOCATION}/queues/q{number}" for number in (3, 1, 2)]
    for name in names:
        world.queue(name)
    world.queue("projects/demo/locations/here2/queues/elsewhere")

    pages = list(world.client.list_queues(request={"parent": LOCATION, "page_size": 2}).pages)

    assert [[queue.name for queue in page.queues] for page in pages if page.queues] == [
        [QUEUE, names[1]],
        [names[2], names[0]],
    ]


def test_a_purge_is_remembered_with_its_time(world: World) -> None:
    world.add()

    assert world.client.purge_queue(name=QUEUE).purge_time == NOON
    assert world.left() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_iam_policy(request={"resource": QUEUE}),
        lambda client: client.batch_delete_tasks(request={"parent": QUEUE, "names": []}),
        lambda client: client.list_queues(request={"parent": LOCATION, "filter": "state: PAUSED"}),
        lambda client: client.update_queue(
            queue={"name": QUEUE, "http_target": {"uri_override": {"host": "localhost"}}}
        ),
        lambda client: client.create_task(
            parent=QUEUE, task={"app_engine_http_request": {"relative_uri": "/"}}
        ),
        lambda client: client.create_task(
            parent=QUEUE,
            task={
                "http_request": {
                    "url": "http://127.0.0.1/",
                    "oauth_token": {"service_account_email": "tasks@example.com"},
                }
            },
        ),
    ],
)
def test_what_is_not_emulated_says_so(world: World, call: Callable[[Any], object]) -> None:
    with pytest.raises(MethodNotImplemented):
        call(world.client)
