"""A run whose job dies has failed, with its reason, and is in nobody's way."""

from collections.abc import Callable

import pytest

from shared.admin.settings import change_settings
from shared.errors import ConflictError, QueueUnavailableError
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import AnyJob, read_job
from shared.jobs.rules.causes import Cause
from shared.resync.orders import summary
from shared.resync.rules.run import Kind, State
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from shared.tenants.tenants import Tenant
from tests.support.resyncing import IMPORTS, Whole, listed, opt_in
from tests.support.world import ACCOUNT, TENANT, World


def replayed(world: World) -> None:
    """Put the one dead job back, as an operator does."""
    (dead,) = world.dead_jobs()
    job = read_job(dead.body).model_copy(update={"accepted_at": world.clock()})
    DeadJobStore.of(world.services).delete_all(TENANT)
    world.services.queue.put(job, world.read())


def killed(shop: Whole, world: World) -> Run:
    """Return a run whose job has died: the master list is gone."""
    listed(shop, world)
    shop.klaviyo._account(ACCOUNT).lists.clear()
    run = shop.begin()
    for _ in range(5):
        world.work(10)
    return shop.now_of(run)


def test_a_run_whose_job_is_dead_has_failed_with_its_reason_and_is_free(shop: Whole, world: World) -> None:
    shop.base(3, comms=opt_in(shop))
    run = killed(shop, world)
    (dead,) = world.dead_jobs()
    assert "master_list_id" in dead.reason
    assert (run.state, run.reason) == (State.FAILED, dead.reason)
    assert summary(run)["reason"] == dead.reason
    assert run.finished_at is not None
    assert shop.run(Kind.RECONCILE).state is State.DONE


def queueless(shop: Whole, world: World) -> Run:
    """Return a run whose first job was never queued: the queue was missing."""
    here = world.read().settings

    def in_namespace(name: str) -> Callable[[Tenant], Tenant]:
        return lambda tenant: tenant.model_copy(
            update={"settings": here.model_copy(update={"namespace": name})}
        )

    world.services.tenants.change(TENANT, in_namespace("nowhere"))
    with pytest.raises(QueueUnavailableError):
        shop.begin()
    with pytest.raises(QueueUnavailableError):
        shop.begin()
    world.services.tenants.change(TENANT, in_namespace(here.namespace))
    run = Resyncs.of(world.services).under_way(TENANT)
    assert run is not None
    return run


def test_an_order_again_is_refused_and_lets_the_run_begin_whose_first_job_was_never_queued(
    shop: Whole, world: World
) -> None:
    shop.base(3)
    run = queueless(shop, world)
    with pytest.raises(ConflictError, match=run.id):
        shop.begin(only_consent=True)
    assert shop.end(run).state is State.DONE
    assert shop.begin().id != run.id


def test_an_order_again_queues_no_second_job(shop: Whole, world: World) -> None:
    shop.base(3)
    run = shop.begin()
    waiting = shop.waiting()
    for _ in range(2):
        with pytest.raises(ConflictError, match=run.id):
            shop.begin()
        assert shop.waiting() == waiting
    assert shop.end(run).state is State.DONE


@pytest.mark.parametrize("to", [State.PAUSED, State.CANCELLED])
def test_an_order_again_lets_no_run_go_on_that_is_stopped_in_that_moment(
    shop: Whole, world: World, monkeypatch: pytest.MonkeyPatch, to: State
) -> None:
    shop.base(3)
    run = queueless(shop, world)
    put = world.services.queue.put_named

    def put_after_the_stop(job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        shop.order(run, to)
        return put(job, tenant, name=name, delay=delay)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(world.services.queue, "put_named", put_after_the_stop)
        with pytest.raises(ConflictError, match=run.id):
            shop.begin()
    world.work(60)
    assert (shop.now_of(run).state, shop.klaviyo.profiles(ACCOUNT)) == (to, [])


def test_a_run_that_waits_for_longer_than_a_job_may_has_failed(shop: Whole, world: World) -> None:
    shop.base(3)
    shop.klaviyo.faults.fail(10_000, match=f"POST {IMPORTS}", status=503)
    run = shop.begin()
    for _ in range(60):
        world.work(1800)
        if shop.now_of(run).state is State.FAILED:
            break
    assert shop.now_of(run).reason.startswith("Given up after 24 hours of trying.")
    shop.klaviyo.faults.clear()
    assert shop.run().state is State.DONE


def test_a_run_that_has_failed_goes_on_when_it_is_resumed(shop: Whole, world: World) -> None:
    ids = shop.base(3, comms=opt_in(shop))
    run = killed(shop, world)
    shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
    assert shop.end(shop.order(run, State.RUNNING)).state is State.DONE
    assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}


def test_a_run_that_has_failed_goes_on_when_its_job_is_replayed(shop: Whole, world: World) -> None:
    ids = shop.base(3, comms=opt_in(shop))
    run = killed(shop, world)
    shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
    replayed(world)
    world.work(10)
    done = shop.end(run)
    assert (done.state, done.reason) == (State.DONE, "")
    assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}


def test_a_run_that_a_missing_list_has_failed_goes_on_by_itself_when_the_setting_is_right(
    shop: Whole, world: World
) -> None:
    ids = shop.base(3, comms=opt_in(shop))
    run = killed(shop, world)
    (dead,) = world.dead_jobs()
    assert dead.cause is Cause.MASTER_LIST
    shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST2")
    change_settings(TENANT, {"master_list_id": "LIST2"}, world.services)
    world.services.tenant_cache.fresh(TENANT)
    world.work(60)
    assert shop.end(run).state is State.DONE
    assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}
    assert world.dead_jobs() == []


def test_a_job_that_is_replayed_beside_another_run_is_dead_again_and_that_run_goes_on(
    shop: Whole, world: World
) -> None:
    shop.base(3, comms=opt_in(shop))
    run = killed(shop, world)
    other = shop.order(shop.begin(Kind.RECONCILE), State.PAUSED)
    replayed(world)
    world.work(10)
    assert other.id in world.dead_jobs()[0].reason
    assert shop.now_of(run).state is State.FAILED
    assert shop.now_of(other).state is State.PAUSED
    with pytest.raises(ConflictError, match=other.id):
        shop.order(run, State.RUNNING)


@pytest.mark.parametrize("to", [State.PAUSED, State.CANCELLED])
def test_a_run_that_has_failed_is_neither_paused_nor_cancelled(shop: Whole, world: World, to: State) -> None:
    shop.base(1, comms=opt_in(shop))
    run = killed(shop, world)
    with pytest.raises(ConflictError, match="failed"):
        shop.order(run, to)
