"""The outbound worker's door: what Cloud Tasks is answered, so that it does the right thing."""

import pytest
from flask.testing import FlaskClient

from shared.jobs.jobs import SendMetric, write_job
from tests.support.loading import Load
from tests.support.world import EMAIL, TENANT, World

EVENT = {
    "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
    "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
    "properties": {},
    "unique_id": "reward-1",
    "time": "2026-11-21T10:00:00+00:00",
}


@pytest.fixture
def outbound_worker(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store."""
    world.tenant()
    return load("outbound_worker", world.environment)


def a_task(world: World) -> bytes:
    """Return the body of a task that sends one event."""
    return write_job(SendMetric(tenant=TENANT, accepted_at=world.clock(), event=dict(EVENT)))


def test_a_job_that_is_done_is_200(outbound_worker: FlaskClient, world: World) -> None:
    answer = outbound_worker.post("/tasks/outbound", data=a_task(world))
    assert (answer.status_code, answer.get_json()) == (200, {"outcome": "done"})
    assert [event.unique_id for event in world.events()] == ["reward-1"]


def test_the_same_task_twice_is_one_event(outbound_worker: FlaskClient, world: World) -> None:
    task = a_task(world)
    assert {outbound_worker.post("/tasks/outbound", data=task).status_code for _ in range(2)} == {200}
    assert len(world.events()) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/tasks/outbound"), ("POST", "/tasks/inbound"), ("POST", "/"), ("POST", "/tasks")],
)
def test_nothing_else_is_there(outbound_worker: FlaskClient, method: str, path: str) -> None:
    assert outbound_worker.open(path, method=method).status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"kind": "send-metric"}', b"\xff", b"[" * 100_000]
)
def test_what_can_never_be_read_is_200_and_stands_in_the_dead_letter_desk(
    outbound_worker: FlaskClient, world: World, body: bytes
) -> None:
    answer = outbound_worker.post("/tasks/outbound", data=body, headers={"X-Extension-Tenant": TENANT})
    assert (answer.status_code, answer.get_json()) == (200, {"outcome": "dead"})
    (dead,) = world.dead_jobs()
    assert dead.body == body
    assert dead.reason.startswith("It cannot be read")


def test_poison_is_set_aside_before_its_body_is_parsed(outbound_worker: FlaskClient, world: World) -> None:
    headers = {"X-Extension-Tenant": TENANT, "X-CloudTasks-TaskRetryCount": "200"}
    answer = outbound_worker.post("/tasks/outbound", data=a_task(world), headers=headers)
    assert (answer.status_code, answer.get_json()) == (200, {"outcome": "dead"})
    assert world.events() == []
    (dead,) = world.dead_jobs()
    assert "200 times" in dead.reason


def test_a_store_that_does_not_answer_is_503_so_that_the_queue_tries_again(world: World, load: Load) -> None:
    broken = {**world.environment, "STORE": "sqlite:/dev/null/documents.db"}
    answer = load("outbound_worker", broken).post("/tasks/outbound", data=a_task(world))
    assert answer.status_code == 503


def test_a_dead_record_that_cannot_be_written_is_503_and_not_forgotten(world: World, load: Load) -> None:
    broken = {**world.environment, "STORE": "sqlite:/dev/null/documents.db"}
    headers = {"X-Extension-Tenant": TENANT, "X-CloudTasks-TaskRetryCount": "200"}
    answer = load("outbound_worker", broken).post("/tasks/outbound", data=b"{", headers=headers)
    assert answer.status_code == 503


def test_a_job_of_a_deleted_tenant_is_dropped(outbound_worker: FlaskClient, world: World) -> None:
    world.services.tenants.delete(TENANT)
    answer = outbound_worker.post("/tasks/outbound", data=a_task(world))
    assert (answer.status_code, answer.get_json()) == (200, {"outcome": "gone"})
