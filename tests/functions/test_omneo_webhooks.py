"""The function that Omneo's webhooks call, and the target beside it: who is let in, what is queued, and what is refused."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.direction import Direction
from shared.jobs.jobs import DeleteProfile, SyncProfile, read_job
from tests.support.loading import Load
from tests.support.world import EMAIL, SIGNING_SECRET, TENANT, WEBHOOK_SECRET, World, lines

PATH = f"/{TENANT}/api/v1/webhooks/omneo"
TARGET = f"/{TENANT}/api/v1/targets/klaviyo/upsert-profile-data"
ID = "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11"
KLAVIYO_ID = "01HXCANARYKLAVIYO"
PROFILE: dict[str, Any] = {
    "id": ID,
    "email": EMAIL,
    "identities": [{"handle": "klaviyo", "identifier": KLAVIYO_ID}],
}


@pytest.fixture
def webhooks(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store."""
    world.tenant()
    return load("omneo_webhooks", world.environment)


def headers(body: bytes, event: str = "profile.updated", secret: str = SIGNING_SECRET) -> dict[str, str]:
    """Return what Omneo sends with a body."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    named = {"X-Omneo-Event": event} if event else {}
    return {"X-Omneo-Hmac-SHA256": signature, "Content-Type": "application/json", **named}


def send(client: FlaskClient, body: Any = PROFILE, event: str = "profile.updated") -> tuple[int, Any]:
    """Send an event as Omneo would."""
    raw = json.dumps(body).encode()
    answer = client.post(PATH, data=raw, headers=headers(raw, event))
    return answer.status_code, answer.get_json()


def waiting(world: World) -> list[Any]:
    """Return the jobs that wait for the outbound worker."""
    from google.cloud import tasks_v2

    client = world.services.queue._client  # type: ignore[attr-defined]  # no method of the queue shows a task's body
    name = f"projects/local/locations/local/queues/{world.read().queue_name(Direction.OUTBOUND)}"
    view = tasks_v2.Task.View.FULL
    rows = client.list_tasks(request=tasks_v2.ListTasksRequest(parent=name, response_view=view))
    return [read_job(row.http_request.body) for row in rows]


@pytest.mark.parametrize("event", ["profile.created", "profile.updated"])
def test_a_change_is_queued_once_and_carries_the_id_alone(
    webhooks: FlaskClient, world: World, event: str
) -> None:
    status, answer = send(webhooks, event=event)
    assert (status, answer["status"]) == (202, "queued")
    assert send(webhooks, event=event) == (202, answer)
    jobs = waiting(world)
    assert {job.profile_id for job in jobs} == {ID}
    assert all(isinstance(job, SyncProfile) and job.id == answer["id"] for job in jobs)
    assert len(jobs) <= 2  # the clock is the function's own: the second may fall into the next window
    assert "canary" not in jobs[0].model_dump_json()


def test_a_deletion_is_queued_with_the_identity_and_no_address(webhooks: FlaskClient, world: World) -> None:
    status, answer = send(webhooks, event="profile.deleted")
    (job,) = waiting(world)
    assert (status, answer) == (202, {"status": "queued", "id": job.id})
    assert isinstance(job, DeleteProfile)
    assert (job.profile_id, job.klaviyo_id) == (ID, KLAVIYO_ID)
    assert EMAIL not in job.model_dump_json()


@pytest.mark.parametrize("identities", [None, [], "canary", [7], [{"handle": "klaviyo", "identifier": 7}]])
def test_a_deletion_without_an_identity_is_queued_all_the_same(
    webhooks: FlaskClient, world: World, identities: Any
) -> None:
    assert send(webhooks, {"id": ID, "identities": identities}, "profile.deleted")[0] == 202
    (job,) = waiting(world)
    assert job.klaviyo_id == ""


@pytest.mark.parametrize("event", ["reward.created", "profile.merged", "PROFILE.UPDATED"])
def test_another_event_is_accepted_and_ignored(webhooks: FlaskClient, world: World, event: str) -> None:
    assert send(webhooks, {"anything": 1}, event) == (202, {"status": "ignored"})
    assert waiting(world) == []


def test_a_tenant_without_an_install_ignores_what_comes(
    world: World, load: Load, capfd: pytest.CaptureFixture[str]
) -> None:
    world.tenant(installed=False)
    assert send(load("omneo_webhooks", world.environment)) == (202, {"status": "ignored"})
    logged = [line for line in lines(capfd.readouterr().out) if line["message"] == "webhook ignored"]
    assert [line["reason"] for line in logged] == ["not installed"]


@pytest.mark.parametrize(
    ("body", "given", "status", "code"),
    [
        (b"{}", {"X-Omneo-Hmac-SHA256": ""}, 401, "unauthorized"),
        (b"{}", {"X-Omneo-Hmac-SHA256": "", "x-omneo-secret": WEBHOOK_SECRET}, 401, "unauthorized"),
        (b"{}", {"X-Omneo-Event": ""}, 400, "invalid_payload"),
        (b"", {}, 400, "invalid_payload"),
        (b"[]", {}, 400, "invalid_payload"),
        (b'"canary"', {}, 400, "invalid_payload"),
        (b"{}", {}, 400, "invalid_payload"),
        (b'{"id": 7}', {}, 400, "invalid_payload"),
        (b'{"id": "../canary"}', {}, 400, "invalid_payload"),
        (b'{"id": null}', {}, 400, "invalid_payload"),
        (b'{"id": ', {}, 400, "invalid_payload"),
        (b"[" * 50_000, {}, 400, "invalid_payload"),
        (b'{"id": "a"}', {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b" " * 1_000_001, {}, 413, "payload_too_large"),
    ],
)
def test_what_is_wrong_is_refused_and_queues_nothing(
    webhooks: FlaskClient, world: World, body: bytes, given: dict[str, str], status: int, code: str
) -> None:
    for event in ("profile.updated", "profile.deleted"):
        answer = webhooks.post(PATH, data=body, headers={**headers(body, event), **given})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
        assert "canary" not in answer.get_data(as_text=True)
    assert waiting(world) == []


def test_the_signature_of_another_tenant_or_secret_lets_nobody_in(
    webhooks: FlaskClient, world: World
) -> None:
    body = json.dumps(PROFILE).encode()
    for path, secret in ((PATH, "canary-wrong"), (PATH.replace(TENANT, "nobody"), SIGNING_SECRET)):
        assert webhooks.post(path, data=body, headers=headers(body, secret=secret)).status_code == 401
    assert waiting(world) == []


def test_other_methods_and_paths_are_none_of_its(webhooks: FlaskClient) -> None:
    assert webhooks.get(PATH).status_code == 405
    assert webhooks.post(f"{PATH}/more").status_code == 404


def test_a_queue_that_does_not_answer_is_503_so_that_omneo_calls_again(world: World, load: Load) -> None:
    world.tenant()
    world.tasks.stop()
    environment = {**world.environment, "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9"}
    raw = json.dumps(PROFILE).encode()
    answer = load("omneo_webhooks", environment).post(PATH, data=raw, headers=headers(raw))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "body",
    [
        {"profile_id": ID},
        {"profile_id": ID.upper()},
        {"profile": {"id": ID, "email": EMAIL}, "id": 7, "value_initial": 10},
        {"id": "9", "profile": {"id": ID}},
        {"id": ID, "email": EMAIL},
        {"id": 12, "profile_id": ID, "total": 9.5},
    ],
)
def test_the_target_takes_every_context_that_has_a_profile(
    world: World, load: Load, body: dict[str, Any]
) -> None:
    world.tenant()
    targets = load("targets", world.environment)
    answer = targets.post(TARGET, json=body, headers={"x-omneo-secret": WEBHOOK_SECRET})
    assert (answer.status_code, answer.get_json()["status"]) == (202, "queued")
    (job,) = waiting(world)
    assert (job.kind, job.profile_id) == ("sync-profile", ID)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        7,
        {"profile_id": ""},
        {"profile_id": "a b"},
        {"id": "9"},
        {"id": 7},
        {"profile": []},
        {"profile": {}},
    ],
)
def test_the_target_refuses_what_names_no_profile(world: World, load: Load, body: Any) -> None:
    world.tenant()
    targets = load("targets", world.environment)
    answer = targets.post(TARGET, json=body, headers={"x-omneo-secret": WEBHOOK_SECRET})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_payload")
    assert waiting(world) == []


def test_the_target_answers_409_before_an_install(world: World, load: Load) -> None:
    world.tenant(installed=False)
    targets = load("targets", world.environment)
    answer = targets.post(TARGET, json={"profile_id": ID}, headers={"x-omneo-secret": WEBHOOK_SECRET})
    assert answer.status_code == 409
