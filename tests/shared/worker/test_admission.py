"""One refusal is enough: what a tenant's jobs share and Klaviyo has refused is not asked for again by the next job."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.jobs.jobs import CompareConsent, SendMetric
from shared.klaviyo.limits import Endpoint
from shared.metrics.metrics import accept_metric
from shared.metrics.rules.bulk import LARGEST_EVENT
from shared.receipts import Receipts
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

HOUR = 3600.0


def accept(world: World, number: int = 0, *, with_token: bool = False) -> None:
    """Accept an event as the targets function does, one that is too large to go in bulk when single calls rest."""
    body = {
        "attributes": {
            "metric": {"data": {"attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"attributes": {"email": EMAIL}}},
            "unique_id": f"event-{number}",
            "properties": {"text": "x" * LARGEST_EVENT},
        }
    }
    accept_metric(
        world.read(),
        body,
        metric_name="",
        with_token=with_token,
        queue=world.services.queue,
        now=world.clock(),
        new_id=world.services.new_id,
        traceparent="",
    )


def tried(world: World, path: str) -> list[int | None]:
    """Return how Klaviyo answered the calls of an endpoint."""
    return [call.status for call in world.sandbox.klaviyo.calls.all() if call.path == path]


@pytest.fixture(autouse=True)
def _installed(world: World) -> None:
    world.tenant()


def test_of_thirty_events_one_is_refused_and_all_arrive_when_the_rest_is_over(world: World) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=429, headers={"Retry-After": "30"})
    accept(world, 0)
    world.work()
    for number in range(1, 30):
        accept(world, number)
    for _ in range(29):
        world.work(1)
    assert tried(world, "/api/events") == [429]
    world.work(1)
    world.work(1)
    assert len(world.events()) == 30
    assert tried(world, "/api/events") == [429] + 30 * [202]


def test_a_job_that_only_waits_is_not_put_off_further_each_time(world: World) -> None:
    rests = world.services.rests
    accept(world)
    for _ in range(12):  # somebody else is refused again and again
        rests.rest(TENANT, Endpoint.EVENTS, world.clock() + timedelta(seconds=12))
        world.work(10)
    assert tried(world, "/api/events") == []
    world.work(2)
    world.work(1)
    assert tried(world, "/api/events") == [202]


def test_a_job_that_only_waited_was_not_tried_and_is_no_nearer_to_being_given_up(world: World) -> None:
    world.services.rests.rest(TENANT, Endpoint.EVENTS, world.clock() + timedelta(seconds=30))
    event = {
        "profile": {"data": {"type": "profile", "attributes": {}}},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
        "unique_id": "e1",
    }
    job = {"tenant": TENANT, "id": "e1", "accepted_at": world.clock(), "event": event}
    unknown = SendMetric.model_validate(job | {"omneo_profile_id": "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11"})
    world.services.queue.put(unknown, world.read())
    world.work()
    receipt = Receipts.of(world.services).find(TENANT, "e1")
    assert receipt is not None
    assert "is not called again yet" in receipt.why
    world.work(31)
    assert world.dead_jobs() == []  # Omneo may only be late: it is asked once more before that
    world.work(60)
    assert len(world.dead_jobs()) == 1


def test_an_event_that_wants_a_token_of_omneos_asks_for_none_before_it_may_be_sent(world: World) -> None:
    world.services.rests.rest(TENANT, Endpoint.EVENTS, world.clock() + timedelta(seconds=30))
    accept(world, with_token=True)
    world.work()
    assert world.sandbox.omneo.calls.all() == []


@pytest.mark.parametrize("ids", [("canary-1",), ("canary-1", "canary-2")], ids=["one profile", "many"])
def test_a_comparison_waits_for_the_endpoint_that_it_reads(world: World, ids: tuple[str, ...]) -> None:
    endpoint = Endpoint.READ_PROFILES if len(ids) > 1 else Endpoint.READ_PROFILE
    world.services.rests.rest(TENANT, endpoint, world.clock() + timedelta(seconds=30))
    job = CompareConsent(tenant=TENANT, accepted_at=world.clock(), profile_ids=ids)
    world.services.queue.put(job, world.read())
    world.work()
    assert world.sandbox.omneo.calls.all() == []
    world.work(31)
    assert world.dead_jobs() == []


class TestToken:
    """A token endpoint that fails, whatever it answers."""

    @pytest.mark.parametrize("status", [429, 503, 401])
    def test_thirty_waiting_jobs_ask_it_a_few_times(self, world: World, status: int) -> None:
        world.sandbox.klaviyo.fail(999, match="POST /oauth/token", status=status)
        world.clock.advance(HOUR)
        for number in range(30):
            accept(world, number)
        for _ in range(40):
            world.work(1)
        assert len(tried(world, "/oauth/token")) <= 4  # of about ten a minute
        world.sandbox.klaviyo.faults.clear()
        for _ in range(12):
            world.work(10)
        assert len(world.events()) == 30
        assert world.dead_jobs() == []

    def test_an_install_ends_the_rest(self, world: World) -> None:
        world.services.rests.rest(TENANT, Endpoint.TOKEN, world.clock() + timedelta(seconds=30))
        world.services.rests.forget(TENANT)
        world.install()
        accept(world)
        world.work()
        assert len(world.events()) == 1


def test_where_a_person_waits_for_the_answer_the_call_is_made_all_the_same(world: World) -> None:
    world.services.rests.rest(TENANT, Endpoint.READ_ACCOUNT, world.clock() + timedelta(seconds=30))
    patient = replace(world.services, short_waits=3)
    assert patient.klaviyo(world.read()).account().id == ACCOUNT
