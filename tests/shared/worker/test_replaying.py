"""A run of replays, and a replayed job, whatever happens to the workers at it: done twice, at once, or dying halfway."""

from datetime import timedelta
from typing import Any

import pytest

from shared.direction import Direction
from shared.errors import StoreUnavailableError
from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import Delivery, Outcome, Provision, ReplayDeadJobs, SendMetric, read_job, write_job
from shared.jobs.replays import Replaying, Replays
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.wanted import Wanted
from shared.services import Services
from shared.worker.delivery import deliver
from shared.worker.replaying import replay_dead_jobs, try_held
from tests.support.desk import Desk
from tests.support.mortal import Fate, KilledError, WatchedDocuments
from tests.support.world import EMAIL, TENANT, World

MONTH = timedelta(days=30)


@pytest.fixture
def desk(world: World) -> Desk:
    """Return the desk of an installed tenant."""
    world.tenant()
    return Desk(world)


def store(services: Services) -> DeadJobStore:
    return DeadJobStore.of(services)


def an_event(id: str, world: World) -> SendMetric:
    event: dict[str, Any] = {
        "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
        "properties": {},
        "unique_id": id,
        "time": "2026-11-21T10:00:00+00:00",
    }
    return SendMetric(tenant=TENANT, id=id, accepted_at=world.clock(), event=event)


def bury(world: World, id: str, cause: Cause = Cause.REFUSED, **changes: Any) -> DeadJob:
    """Put an event on the desk as the worker does."""
    job = an_event(id, world)
    return world.bury(job, attempts=3, cause=cause, accepted_at=job.accepted_at, **changes)


def begin(world: World) -> ReplayDeadJobs:
    """Begin a run over all, and return its first job, which the queue does not deliver."""
    run = Replaying.of(world.services).begin(world.read(), Wanted())
    for direction in Direction:
        world.services.queue.purge(world.read(), direction)
    return ReplayDeadJobs(tenant=TENANT, accepted_at=world.clock(), run_id=run.id)


def settle(world: World) -> None:
    for _ in range(6):
        world.work(15)


def test_a_replayed_job_is_the_one_that_died_with_a_new_age(desk: Desk) -> None:
    dead = bury(desk.world, "one")
    before = read_job(dead.body)
    desk.world.clock.advance(100_000)
    desk.replay("one")
    (body,) = desk.world.queued(Direction.OUTBOUND)
    job = read_job(body)
    assert (job.attempts, job.replayed_at, job.dead_id) == (0, desk.world.clock(), "one")
    assert job.model_copy(update={"replay": "", "dead_id": "", "replayed_at": None}) == before


def test_the_first_step_taken_twice_at_once_replays_each_job_once(desk: Desk) -> None:
    world = desk.world
    for number in range(5):
        bury(world, f"job{number}")
    job = begin(world)
    replay_dead_jobs(job, world.read(), world.services)
    replay_dead_jobs(job, world.read(), world.services)
    settle(world)
    assert len(world.sandbox.klaviyo.calls.all()) == len(world.events()) == 5
    assert desk.page()["dead_jobs"] == []


def test_a_worker_that_dies_at_any_moment_of_a_step_loses_and_doubles_nothing(desk: Desk) -> None:
    world = desk.world
    moment, died = 0, True
    while died:
        for number in range(3):
            bury(world, f"{moment}-{number}")
        job = begin(world)
        died = _dies(world, job, moment)
        world.services.queue.put(job, world.read())  # the queue delivers again
        settle(world)
        assert desk.run(job.run_id)["state"] == "done"
        assert desk.page()["dead_jobs"] == []
        moment += 1
        assert len(world.events()) == 3 * moment
    assert moment > 8


def _dies(world: World, job: ReplayDeadJobs, moment: int) -> bool:
    """Take the step with a worker that dies at this moment; return whether it came so far."""
    services = world.services
    mortal = Services(services.settings, clock=services.clock, random=services.random, sleep=services.sleep)
    fate = Fate(moment, kills=True)
    mortal.__dict__["documents"] = WatchedDocuments(services.documents, fate)
    try:
        replay_dead_jobs(job, world.read(), mortal)
    except KilledError:
        return True
    return False


def test_a_step_of_long_ago_that_is_delivered_again_begins_nothing(desk: Desk) -> None:
    world = desk.world
    bury(world, "one")
    job = begin(world)
    replay_dead_jobs(job, world.read(), world.services)
    settle(world)
    bury(world, "two")
    replay_dead_jobs(job, world.read(), world.services)
    settle(world)
    assert [row["id"] for row in desk.rows()] == ["two"]


def test_a_worker_that_dies_before_the_row_is_taken_away_is_made_good_by_the_next_delivery(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = desk.world
    bury(world, "one")
    desk.replay("one")
    (body,) = world.queued(Direction.OUTBOUND)
    delivery = Delivery(Direction.OUTBOUND, body, "acme-klaviyo-outbound", "t", TENANT, 0)
    with monkeypatch.context() as broken:

        def fails(*args: object, **named: object) -> None:
            raise StoreUnavailableError("not now")

        broken.setattr(DeadJobStore, "end_replay", fails)
        with pytest.raises(StoreUnavailableError):
            deliver(delivery, world.services)
    assert [row["state"] for row in desk.rows()] == ["replayed"]
    assert deliver(delivery, world.services) == "done"
    assert (len(world.events()), desk.rows()) == (1, [])


def test_a_job_that_kills_the_worker_dies_again_as_the_same_row(desk: Desk) -> None:
    world = desk.world
    bury(world, "one")
    desk.replay("one")
    (body,) = world.queued(Direction.OUTBOUND)
    world.services.queue.purge(world.read(), Direction.OUTBOUND)
    assert deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, 200), world.services) == "dead"
    (dead,) = world.dead_jobs()
    assert (dead.id, dead.state, dead.deaths, dead.cause) == ("one", DeadJobState.DEAD, 2, Cause.UNREAD)
    desk.replay("one")
    settle(world)
    assert (len(world.events()), desk.rows()) == (1, [])


def test_a_replay_that_counts_no_more_is_no_row_of_its_own_when_nobody_can_read_it(desk: Desk) -> None:
    world = desk.world
    bury(world, "one")
    body = write_job(an_event("two", world).replayed(word="f00", dead_id="one", at=world.clock()))
    assert deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, 200), world.services) is Outcome.DONE
    assert [(dead.id, dead.deaths) for dead in world.dead_jobs()] == [("one", 1)]


def test_jobs_that_an_uninstall_left_over_go_on_with_the_next_install(desk: Desk) -> None:
    world = desk.world
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))
    world.services.tenant_cache.fresh(TENANT)
    world.services.queue.put(an_event("one", world), world.read())
    world.work()
    (held,) = desk.page()["held"]
    assert (held["cause"], held["goes_on_by_itself"]) == ("not-installed", True)
    tenant = world.install()
    Replaying.of(world.services).begin_held(tenant, Cause.NOT_INSTALLED)
    world.services.tenant_cache.fresh(TENANT)
    settle(world)
    assert (len(world.events()), desk.page()["count"]) == (1, 0)


def test_a_run_of_a_tenant_that_is_forgotten_meanwhile_ends(desk: Desk) -> None:
    world = desk.world
    bury(world, "one")
    job = begin(world)
    Replays.of(world.services).forget(TENANT)
    replay_dead_jobs(job, world.read(), world.services)
    assert [row["state"] for row in desk.rows()] == ["dead"]


def test_a_set_up_that_was_given_up_is_replayed_too(desk: Desk) -> None:
    world = desk.world
    job = Provision(tenant=TENANT, id="set-up", accepted_at=world.clock())
    world.bury(job, attempts=9, cause=Cause.NO_ANSWER, accepted_at=job.accepted_at)
    desk.replay("set-up")
    settle(world)
    assert desk.rows() == []
    assert world.read().provisions.webhook_id


def test_a_held_job_that_nobody_can_read_does_not_keep_the_others_from_being_tried(desk: Desk) -> None:
    world = desk.world
    bury(world, "a-sealed-one", Cause.PLAN)
    documents = world.services.documents
    documents.update(f"tenants/{TENANT}/dead_jobs", "a-sealed-one", {"body": "of a key that is lost"})
    unknown = DeadJob(
        id="a-strange-one", tenant=TENANT, kind="strange", reason="No.", body=b'{"kind": "strange"}', attempts=1,
        died_at=world.clock(), cause=Cause.PLAN,
    )  # fmt: skip
    store(world.services).add(unknown, keep=MONTH)
    for number in range(2):
        bury(world, f"held{number}", Cause.PLAN)
    world.clock.advance(3601)
    try_held(world.read(), world.services)
    settle(world)
    assert len(world.events()) == 2
    assert sorted(row["id"] for row in desk.rows(cause="plan")) == ["a-sealed-one", "a-strange-one"]
