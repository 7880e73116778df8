"""The inbound worker's door: what Cloud Tasks and Cloud Scheduler are answered, and whose trouble stops what."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.consent.inbox import Inbox
from shared.consent_events import SystemEvent
from shared.direction import Direction
from shared.jobs.jobs import FlushInbox, Heal, SpreadEvents, SweepInbox, read_job, write_job
from shared.tenants.tenants import COLLECTION, Tenant
from tests.support.loading import Load
from tests.support.merchant import settle
from tests.support.world import ACCOUNT, TENANT, World, lines

PATH = "/tasks/inbound"


@pytest.fixture
def inbound_worker(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store; it goes by the real time, and so does the world."""
    world.live()
    world.tenant()
    return load("inbound_worker", world.environment)


def a_task(
    world: World, *topics: str, tenant: str = TENANT, profile: str = "01PROFILE", **event: Any
) -> bytes:
    """Return the body of a task that spreads one event for each topic."""
    named = topics or ("unsubscribed_from_email_marketing",)
    events = tuple(
        SystemEvent(id=f"event-{number}", topic=topic, profile=profile, at=world.clock(), **event)
        for number, topic in enumerate(named)
    )
    job = SpreadEvents(tenant=tenant, accepted_at=world.clock(), account=ACCOUNT, events=events)
    return write_job(job)


def jane(world: World, tenant: str = TENANT) -> dict[str, Any]:
    """Return a person whom Omneo knows by the id of her Klaviyo profile."""
    known = [{"handle": "klaviyo", "identifier": "01PROFILE"}]
    return world.sandbox.omneo.profile(tenant, email="canary-jane@example.org", identities=known)


def scheduled(client: FlaskClient, run: str) -> tuple[int, Any]:
    """Send what the schedule sends."""
    answer = client.post(PATH, json={"kind": "every-tenant", "run": run})
    return answer.status_code, answer.get_json()


def kinds(world: World, tenant: str = TENANT) -> list[str]:
    """Return the kinds of the jobs on the tenant's inbound queue."""
    return [json.loads(body)["kind"] for body in world.queued(Direction.INBOUND, tenant)]


class TestAJob:
    def test_one_that_is_done_is_200(self, inbound_worker: FlaskClient, world: World) -> None:
        answer = inbound_worker.post(PATH, data=a_task(world))
        assert (answer.status_code, answer.get_json()) == (200, {"outcome": "done"})
        (task,) = world.queued(Direction.INBOUND)
        assert isinstance(read_job(task), FlushInbox)

    def test_the_same_task_twice_is_one_change_of_consent_and_one_interaction(
        self, inbound_worker: FlaskClient, world: World
    ) -> None:
        known, task = jane(world), a_task(world)
        assert {inbound_worker.post(PATH, data=task).status_code for _ in range(2)} == {200}
        settle(world, 20)
        assert world.sandbox.omneo.comms(TENANT, known["id"])["email_promo"] is False
        assert len(world.sandbox.omneo.interactions(TENANT)) == 1
        assert inbound_worker.post(PATH, data=task).status_code == 200
        settle(world, 20)
        assert len(world.sandbox.omneo.interactions(TENANT)) == 1

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", PATH), ("POST", "/tasks/outbound"), ("POST", "/"), ("POST", "/tasks"), ("POST", f"/acme{PATH}")],
    )  # fmt: skip
    def test_nothing_else_is_there(self, inbound_worker: FlaskClient, method: str, path: str) -> None:
        assert inbound_worker.open(path, method=method).status_code == 404

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"kind": "spread-events"}',
            b'{"kind": "every-tenant"}',
            b'{"kind": "every-tenant", "run": "drop-everything"}',
            b"\xff",
            b"[" * 100_000,
        ],
        ids=range(9),
    )
    def test_what_can_never_be_read_is_200_and_stands_in_the_dead_letter_desk(
        self, inbound_worker: FlaskClient, world: World, body: bytes
    ) -> None:
        answer = inbound_worker.post(PATH, data=body, headers={"X-Extension-Tenant": TENANT})
        assert (answer.status_code, answer.get_json()) == (200, {"outcome": "dead"})
        (dead,) = world.dead_jobs()
        assert dead.body == body
        assert dead.reason.startswith("It cannot be read")

    def test_poison_is_set_aside_before_its_body_is_parsed(
        self, inbound_worker: FlaskClient, world: World
    ) -> None:
        headers = {"X-Extension-Tenant": TENANT, "X-CloudTasks-TaskRetryCount": "200"}
        answer = inbound_worker.post(PATH, data=a_task(world), headers=headers)
        assert (answer.status_code, answer.get_json()) == (200, {"outcome": "dead"})
        assert kinds(world) == []
        (dead,) = world.dead_jobs()
        assert "200 times" in dead.reason

    def test_a_store_that_does_not_answer_is_503_so_that_the_queue_tries_again(
        self, world: World, load: Load
    ) -> None:
        broken = load("inbound_worker", {**world.environment, "STORE": "sqlite:/dev/null/documents.db"})
        assert broken.post(PATH, data=a_task(world)).status_code == 503
        assert scheduled(broken, "sweep-inbox")[0] == 503

    def test_one_of_a_deleted_tenant_is_dropped(self, inbound_worker: FlaskClient, world: World) -> None:
        world.services.tenants.delete(TENANT)
        answer = inbound_worker.post(PATH, data=a_task(world))
        assert (answer.status_code, answer.get_json()) == (200, {"outcome": "gone"})

    def test_a_kind_that_only_a_newer_revision_knows_waits(
        self, inbound_worker: FlaskClient, world: World
    ) -> None:
        newer = {"kind": "send-postcard", "tenant": TENANT, "accepted_at": world.clock().isoformat()}
        queue = world.read().queue_name(Direction.INBOUND)
        headers = {"X-Extension-Tenant": TENANT, "X-CloudTasks-QueueName": queue}
        answer = inbound_worker.post(PATH, json=newer, headers=headers)
        assert (answer.status_code, answer.get_json()) == (200, {"outcome": "waiting"})
        (task,) = world.queued(Direction.INBOUND)
        assert json.loads(task) == {**newer, "attempts": 1}


class TestADisconnectedTenant:
    def test_what_needs_only_omneo_goes_on(self, inbound_worker: FlaskClient, world: World) -> None:
        known = jane(world)
        world.disconnect()
        assert inbound_worker.post(PATH, data=a_task(world)).get_json() == {"outcome": "done"}
        settle(world, 20)
        assert world.sandbox.omneo.comms(TENANT, known["id"])["email_promo"] is False

    def test_what_needs_klaviyo_waits_and_pauses_neither_queue(
        self, inbound_worker: FlaskClient, world: World
    ) -> None:
        known = jane(world)
        inbound_worker.post(PATH, data=a_task(world, "subscribed_to_email_marketing"))
        world.disconnect()
        settle(world, 30)
        assert kinds(world) == ["flush-inbox"]
        assert world.sandbox.omneo.comms(TENANT, known["id"])["email_promo"] is None
        assert json.loads(world.queued(Direction.INBOUND)[0])["attempts"] == 1
        tenant = world.read()
        assert [world.services.queue.state(tenant, way).paused for way in Direction] == [False, False]
        assert world.dead_jobs() == []

    def test_it_may_be_disconnected_for_days(self, inbound_worker: FlaskClient, world: World) -> None:
        jane(world)
        inbound_worker.post(PATH, data=a_task(world, "subscribed_to_email_marketing"))
        world.disconnect()
        for _ in range(60):
            world.work(3600)
        assert world.dead_jobs() == []
        assert kinds(world) == ["flush-inbox"]
        assert json.loads(world.queued(Direction.INBOUND)[0])["attempts"] > 24


class TestTheSchedule:
    def test_a_sweep_and_a_heal_are_queued_for_every_installed_tenant(
        self, inbound_worker: FlaskClient, world: World
    ) -> None:
        world.tenant("acme-stg")
        world.tenant("newcomer", installed=False)
        for run in ("sweep-inbox", "heal"):
            assert scheduled(inbound_worker, run) == (200, {"outcome": "done"})
        for name in (TENANT, "acme-stg"):
            sweep, heal = (read_job(body) for body in world.queued(Direction.INBOUND, name))
            assert isinstance(sweep, SweepInbox)
            assert isinstance(heal, Heal)
            assert (sweep.tenant, heal.tenant, heal.began_at) == (name, name, None)
            assert sweep.id != heal.id
        assert world.services.queue.state(world.read("newcomer"), Direction.INBOUND).exists is False

    def test_a_disconnected_tenant_is_swept_too(self, inbound_worker: FlaskClient, world: World) -> None:
        world.disconnect()
        assert scheduled(inbound_worker, "sweep-inbox")[0] == 200
        assert kinds(world) == ["sweep-inbox"]

    def test_a_tenant_whose_queue_is_missing_is_not_the_others_trouble(
        self, inbound_worker: FlaskClient, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        world.tenant("zebra")

        def moved(tenant: Tenant) -> Tenant:
            queues = tenant.settings.model_copy(update={"namespace": "nowhere"})
            return tenant.model_copy(update={"settings": queues})

        world.services.tenants.change(TENANT, moved)
        capsys.readouterr()
        assert scheduled(inbound_worker, "sweep-inbox") == (200, {"outcome": "done"})
        assert kinds(world, "zebra") == ["sweep-inbox"]
        (failed,) = [line for line in lines(capsys.readouterr().out) if line["severity"] == "ERROR"]
        assert (failed["tenant"], failed["reason"]) == (TENANT, "QueueUnavailableError")

    @pytest.mark.parametrize(
        "spoiled",
        [
            {"settings": "spoiled"},
            {"installation_keys": [{"hash": 7}]},
            {"omneo_token": {"$sealed": "spoiled"}},
        ],
        ids=["settings", "key", "secret"],
    )
    def test_nor_is_one_that_cannot_be_read(
        self, inbound_worker: FlaskClient, world: World, spoiled: dict[str, Any]
    ) -> None:
        world.tenant("zebra")
        world.services.documents.update(COLLECTION, TENANT, spoiled)
        assert scheduled(inbound_worker, "sweep-inbox") == (200, {"outcome": "done"})
        assert kinds(world, "zebra") == ["sweep-inbox"]

    def test_a_sweep_flushes_what_nothing_else_will(self, inbound_worker: FlaskClient, world: World) -> None:
        known = jane(world)
        event = SystemEvent(
            id="event-1", topic="unsubscribed_from_email_marketing", profile="01PROFILE", at=world.clock()
        )
        Inbox.of(world.services).add(TENANT, ACCOUNT, event)
        world.clock.advance(timedelta(minutes=3).total_seconds())
        assert scheduled(inbound_worker, "sweep-inbox")[0] == 200
        settle(world)
        assert world.sandbox.omneo.comms(TENANT, known["id"])["email_promo"] is False

    def test_it_needs_no_tenant_at_all(self, world: World, load: Load) -> None:
        assert scheduled(load("inbound_worker", world.environment), "heal") == (200, {"outcome": "done"})
