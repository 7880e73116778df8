"""Named tasks of the queue client, on the emulator: one of a name, when it is due, and a name that stays taken."""

import threading
from datetime import timedelta, timezone

import pytest

from shared.direction import Direction
from shared.errors import PayloadTooLargeError, QueueUnavailableError
from shared.jobs.cloud_tasks import CloudTasksQueue, tasks_client
from shared.jobs.jobs import FlushInbox, SendMetric
from shared.tenants.tenants import Tenant
from tests.support.consenting import an_installed_tenant
from tests.support.world import EMAIL, TENANT, World

NAME = "f" * 40


@pytest.fixture
def tenant(world: World) -> Tenant:
    return an_installed_tenant(world)


def a_flush(world: World) -> FlushInbox:
    return FlushInbox(tenant=TENANT, accepted_at=world.clock(), profile="01PROFILE")


def depth(world: World, tenant: Tenant) -> int:
    return world.services.queue.state(tenant, Direction.INBOUND).depth


def test_of_one_name_there_is_one_task(world: World, tenant: Tenant) -> None:
    queue, job = world.services.queue, a_flush(world)
    assert queue.put_named(job, tenant, name=NAME, delay=5.0) is True
    assert queue.put_named(job, tenant, name=NAME, delay=5.0) is False
    assert queue.put_named(job, tenant, name="e" * 40, delay=5.0) is True
    assert depth(world, tenant) == 2


def test_it_is_delivered_when_it_is_due_and_not_before(world: World, tenant: Tenant) -> None:
    world.services.queue.put_named(a_flush(world), tenant, name=NAME, delay=5.0)
    world.work(4.9)
    assert depth(world, tenant) == 1
    world.work(0.1)
    assert depth(world, tenant) == 0


def test_one_without_a_delay_is_due_at_once(world: World, tenant: Tenant) -> None:
    world.services.queue.put_named(a_flush(world), tenant, name=NAME, delay=0.0)
    world.work()
    assert depth(world, tenant) == 0


def test_a_name_stays_taken_when_its_task_is_done(world: World, tenant: Tenant) -> None:
    queue, job = world.services.queue, a_flush(world)
    queue.put_named(job, tenant, name=NAME, delay=0.0)
    world.work()
    assert queue.put_named(job, tenant, name=NAME, delay=0.0) is False
    world.work(60)
    assert depth(world, tenant) == 0


def test_of_any_number_who_put_one_name_at_once_one_is_told_it_was_new(world: World, tenant: Tenant) -> None:
    told: list[bool] = []
    barrier = threading.Barrier(6)

    def once() -> None:
        barrier.wait()
        told.append(world.services.queue.put_named(a_flush(world), tenant, name=NAME, delay=9.0))

    threads = [threading.Thread(target=once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 5 + [True]
    assert depth(world, tenant) == 1


def test_a_name_is_only_its_own_queues(world: World, tenant: Tenant) -> None:
    queue = world.services.queue
    metric = SendMetric(tenant=TENANT, accepted_at=world.clock(), event={"email": EMAIL})
    assert queue.put_named(a_flush(world), tenant, name=NAME, delay=9.0) is True
    assert queue.put_named(metric, tenant, name=NAME, delay=9.0) is True


def test_a_queue_that_is_not_there_is_an_error_and_no_taken_name(world: World, tenant: Tenant) -> None:
    other = tenant.model_copy(
        update={"settings": tenant.settings.model_copy(update={"task_queue_name": "never-made"})}
    )
    with pytest.raises(QueueUnavailableError):
        world.services.queue.put_named(a_flush(world), other, name=NAME, delay=0.0)


def test_a_name_that_the_service_refuses_is_an_error(world: World, tenant: Tenant) -> None:
    with pytest.raises(QueueUnavailableError):
        world.services.queue.put_named(a_flush(world), tenant, name="no spaces", delay=0.0)


def test_a_job_that_does_not_fit_a_task_is_refused_before_it_is_sent(world: World, tenant: Tenant) -> None:
    job = SendMetric(tenant=TENANT, accepted_at=world.clock(), event={"note": "x" * 900_000})
    with pytest.raises(PayloadTooLargeError):
        world.services.queue.put_named(job, tenant, name=NAME, delay=0.0)


def test_a_time_in_another_zone_is_the_same_moment(world: World, tenant: Tenant) -> None:
    settings = world.services.settings.queue
    assert settings is not None
    there = timezone(timedelta(hours=11))
    queue = CloudTasksQueue(settings, tasks_client(settings), lambda: world.clock().astimezone(there))
    queue.put_named(a_flush(world), tenant, name=NAME, delay=5.0)
    world.work(4)
    assert depth(world, tenant) == 1
    world.work(1)
    assert depth(world, tenant) == 0
