"""What becomes of a job: done, waiting or dead, whatever Klaviyo, Omneo, the store and the queue do meanwhile."""

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.direction import Direction
from shared.jobs.jobs import Delivery, SendMetric, SyncProfile, write_job
from shared.jobs.rules.patience import LONGEST_WAIT
from shared.metrics.metrics import accept_metric
from shared.metrics.rules.bulk import LARGEST_EVENT
from shared.tenants.tenants import Tenant
from shared.worker.delivery import deliver
from tests.support.world import ACCOUNT, EMAIL, TENANT, World, lines

HOUR = 3600.0
OMNEO_ID = "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11"


def a_body(**profile: Any) -> dict[str, Any]:
    """Return the body of a metric call for this profile, Jane's email if none is given."""
    data = profile or {"attributes": {"email": EMAIL}}
    return {
        "attributes": {
            "metric": {"data": {"attributes": {"name": "Reward Issued"}}},
            "profile": {"data": data},
            "properties": {"amount": 20},
        }
    }


def a_large_body() -> dict[str, Any]:
    """Return the body of a call that is too large to go in bulk when single calls are throttled: it waits for its turn."""
    body = a_body()
    body["attributes"]["properties"]["text"] = "x" * LARGEST_EVENT
    return body


def accept(
    world: World, body: dict[str, Any] | None = None, *, with_token: bool = False, name: str = ""
) -> SendMetric:
    """Accept a metric as the targets function does."""
    return accept_metric(
        world.read(),
        body or a_body(),
        metric_name=name,
        with_token=with_token,
        queue=world.services.queue,
        now=world.clock(),
        new_id=world.services.new_id,
        traceparent="",
    )


def delivery_of(job: SendMetric | SyncProfile) -> Delivery:
    """Return a delivery of the job, as made outside the queue."""
    return Delivery(Direction.OUTBOUND, write_job(job), "acme-klaviyo-outbound", "t", job.tenant, 0)


@pytest.fixture(autouse=True)
def _installed(world: World) -> None:
    world.tenant()


def test_an_accepted_metric_becomes_one_event_at_the_time_it_was_accepted(world: World) -> None:
    accept(world)
    world.work(90)
    (event,) = world.events()
    assert event.metric == "Reward Issued"
    assert event.time == world.clock.timestamp() - 90


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "30"}},
        {"status": 500},
        {"status": 503},
        {"status": 408},
        {"kind": "reset"},
        {"kind": "html403"},
        {"kind": "truncated"},
        {"kind": "reset", "takes_effect": True},
        {"kind": "truncated", "takes_effect": True},
        {"status": 504, "takes_effect": True},
    ],
    ids=str,
)
def test_a_passing_fault_delays_the_event_and_neither_loses_nor_doubles_it(
    world: World, fault: dict[str, Any]
) -> None:
    world.sandbox.klaviyo.fail(3, match="POST /api/events", **fault)
    accept(world)
    for _ in range(6):
        world.work(40)
    assert len(world.events()) == 1
    assert world.dead_jobs() == []


def test_a_throttled_job_waits_as_long_as_klaviyo_asks(world: World) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=429, headers={"Retry-After": "30"})
    accept(world, a_large_body())
    world.work()
    world.work(29)
    assert len(world.sandbox.klaviyo.calls.all()) == 1
    world.work(1)
    assert len(world.events()) == 1


class TestChance:
    """What was throttled together does not come back together."""

    @pytest.fixture
    def chance(self) -> Callable[[], float]:
        return lambda: 1.0

    def test_a_throttled_job_waits_up_to_a_half_longer(self, world: World) -> None:
        world.sandbox.klaviyo.fail(1, match="POST /api/events", status=429, headers={"Retry-After": "30"})
        accept(world, a_large_body())
        world.work()
        world.work(44)
        assert len(world.sandbox.klaviyo.calls.all()) == 1
        world.work(1)
        assert len(world.events()) == 1


def test_an_absurd_wait_is_cut_to_an_hour(world: World) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=429, headers={"Retry-After": "999999"})
    accept(world, a_large_body())
    world.work()
    world.work(LONGEST_WAIT)
    assert len(world.events()) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
def test_a_refusal_is_final_and_stands_in_the_dead_letter_desk_with_a_plain_reason(
    world: World, status: int
) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=status)
    job = accept(world)
    world.work()
    world.work(HOUR)
    assert world.events() == []
    (dead,) = world.dead_jobs()
    assert (dead.id, dead.kind, dead.attempts) == (job.id, "send-metric", 1)
    assert dead.reason.startswith(f"Klaviyo answered {status}")
    assert json.loads(dead.body)["event"] == job.event


def test_what_klaviyo_says_about_a_person_is_kept_but_not_in_the_reason(world: World) -> None:
    body = {
        "errors": [
            {"code": "invalid", "detail": f"{EMAIL} is no email", "source": {"pointer": "/data/email"}}
        ]
    }
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=400, body=body)
    accept(world)
    world.work()
    (dead,) = world.dead_jobs()
    assert dead.reason.startswith("Klaviyo answered 400: invalid at /data/email.")
    assert dead.detail == f"{EMAIL} is no email"


EDGES = [400, 401, 402, 403, 404, 405, 409, 410, 413, 414, 415, 422, 451]


@pytest.mark.parametrize("body", ["", "<html>canary</html>", "{}", {"message": "Not Found"}], ids=str)
@pytest.mark.parametrize("status", EDGES)
def test_what_an_edge_of_klaviyos_answers_delays_the_event_and_kills_it_not(
    world: World, status: int, body: object
) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=status, body=body)
    job = accept(world)
    assert deliver(delivery_of(job), world.services) == "waiting"
    assert world.read().is_connected
    world.work(10)
    assert len(world.events()) == 1
    assert world.dead_jobs() == []


@pytest.mark.parametrize("kind", ["empty", "broken_json"])
def test_an_event_whose_answer_is_not_klaviyos_is_sent_again(world: World, kind: Any) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", kind=kind)
    accept(world)
    world.work()
    world.work(10)
    assert len(world.events()) == 1


@pytest.mark.parametrize("body", ["", "<html>canary</html>", {"errors": [{"code": "x"}]}], ids=str)
@pytest.mark.parametrize("status", EDGES)
def test_what_an_edge_of_omneos_answers_delays_an_event_that_asked_for_a_token(
    world: World, status: int, body: object
) -> None:
    world.sandbox.omneo.profile(TENANT, email=EMAIL)
    world.sandbox.omneo.fail(2, status=status, body=body)
    accept(world, with_token=True)
    for _ in range(3):
        world.work(10)
    assert len(world.events()) == 1
    assert world.dead_jobs() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_an_edge_of_the_token_endpoint_answers_disconnects_nobody(world: World, status: int) -> None:
    world.sandbox.klaviyo.fail(3, match="POST /oauth/token", status=status, body="<html>invalid_grant</html>")
    world.clock.advance(2 * HOUR)
    accept(world)
    for _ in range(6):
        world.work(60)
    assert world.read().is_connected
    assert len(world.events()) == 1


def test_a_job_waits_longer_each_time_although_klaviyo_asks_for_no_wait_at_all(world: World) -> None:
    world.sandbox.klaviyo.fail(10_000, match="POST /api/events", status=503, headers={"Retry-After": "0"})
    accept(world)
    for _ in range(60):
        world.work(60)
    assert len(world.sandbox.klaviyo.calls.all()) < 20


def test_what_a_plan_lacks_stands_in_the_reason_in_klaviyos_words_without_a_value(world: World) -> None:
    detail = f"You must have Advanced KDP enabled to access this endpoint. {EMAIL} +61412345678"
    body = {"errors": [{"code": "permission_denied", "detail": detail}]}
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=403, body=body)
    accept(world)
    world.work()
    (dead,) = world.dead_jobs()
    assert "You must have Advanced KDP enabled to access this endpoint." in dead.reason
    assert "change its plan" in dead.reason
    assert "install again" not in dead.reason
    assert "canary" not in dead.reason
    assert "61412345678" not in dead.reason
    assert dead.detail == detail


def test_the_service_names_the_request_that_it_refused(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    from shared import logs

    logs.configure("project")
    body = {"errors": [{"id": "req-1", "code": "invalid"}]}
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=503, headers={"X-Klaviyo-Req-Id": "req-0"})
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=400, body=body, headers={})
    accept(world)
    world.work()
    world.work(10)
    (dead,) = world.dead_jobs()
    assert dead.request_id == "req-1"
    told = [line for line in lines(capfd.readouterr().out) if "outcome" in line]
    assert [(line["outcome"], line["request"]) for line in told] == [("waiting", "req-0"), ("dead", "req-1")]


def test_a_missing_scope_says_to_install_again(world: World) -> None:
    tokens = world.sandbox.klaviyo.install(ACCOUNT, scopes="profiles:read")
    world.services.tenants.change(
        TENANT, lambda t: t.model_copy(update={"klaviyo": _with_access(t.klaviyo, tokens.access_token)})
    )
    accept(world)
    world.work()
    (dead,) = world.dead_jobs()
    assert "install again" in dead.reason


def _with_access(connection: Any, token: str) -> Any:
    from pydantic import SecretStr

    return connection.model_copy(update={"access_token": SecretStr(token)})


def test_a_job_is_given_up_after_a_day_of_trying_and_not_before(world: World) -> None:
    world.sandbox.klaviyo.fail(10_000, match="POST /api/events", status=503)
    job = accept(world)
    for _ in range(23):
        world.work(HOUR)
    world.clock.advance(HOUR - 0.001)
    assert deliver(delivery_of(job), world.services) == "waiting"
    assert world.dead_jobs() == []
    world.clock.advance(0.001)
    world.work()
    (dead,) = world.dead_jobs()
    assert dead.reason == "Given up after 24 hours of trying. Last answer: Klaviyo answered 503."
    assert dead.attempts > 20
    world.work(24 * HOUR)
    assert len(world.dead_jobs()) == 1


def test_an_expired_token_is_renewed_before_the_event_is_sent(world: World) -> None:
    world.clock.advance(2 * HOUR)
    accept(world)
    world.work()
    assert len(world.events()) == 1
    assert [call.path for call in world.sandbox.klaviyo.calls.all()] == ["/oauth/token", "/api/events"]


def test_a_token_that_klaviyo_ended_early_is_renewed_once(world: World) -> None:
    connection = world.read().klaviyo
    assert connection is not None
    world.sandbox.klaviyo.expire(connection.access_token.get_secret_value())
    accept(world)
    world.work()
    assert len(world.events()) == 1


def test_an_uninstalled_account_pauses_the_queue_and_a_reinstall_lets_the_jobs_go_on(world: World) -> None:
    world.sandbox.klaviyo.uninstall(ACCOUNT)
    accept(world)
    world.work()
    connection = world.read().klaviyo
    assert connection is not None
    assert connection.disconnected_reason == "invalid_grant"
    assert world.clock.slept == [30.0]
    accept(world)  # still accepted: nothing is lost
    assert world.services.queue.state(world.read(), Direction.OUTBOUND).paused is True
    assert world.services.queue.state(world.read(), Direction.INBOUND).paused is False
    refused = len(world.sandbox.klaviyo.calls.all())
    for _ in range(30):
        world.work(HOUR)
    assert len(world.sandbox.klaviyo.calls.all()) == refused
    world.install()
    assert world.services.queue.state(world.read(), Direction.OUTBOUND).paused is False
    world.work(HOUR)
    world.work(60)  # one of the two may have waited for the other's new token
    assert len(world.events()) == 2
    assert world.dead_jobs() == []


def test_an_install_just_before_the_queue_is_paused_does_not_leave_it_paused(world: World) -> None:
    job = accept(world)
    gone = world.read().klaviyo
    assert gone is not None
    gone = gone.model_copy(update={"disconnected_reason": "invalid_grant"})
    world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"klaviyo": gone}))
    late = replace(world.services)
    vars(late)["queue"] = _InstallsBeforePausing(world)
    assert deliver(delivery_of(job), late) == "waiting"
    assert world.services.queue.state(world.read(), Direction.OUTBOUND).paused is False
    world.work(5)
    assert len(world.events()) == 1


class _InstallsBeforePausing:
    """The real queue, but the install is through between the worker's look at the tenant and its pause."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.services.queue, name)

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        self._world.install()
        self._world.services.queue.pause(tenant, direction)


def test_a_queue_that_does_not_take_a_waiting_job_back_leaves_it_with_the_queue_that_has_it(
    world: World,
) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=503)
    accept(world)
    _rename_queue(world, "elsewhere")  # the queue the worker would put it on does not exist
    world.work()
    assert world.answers == [503]  # so the queue keeps it
    assert world.events() == []
    _rename_queue(world, TENANT)
    world.work(60)
    assert len(world.events()) == 1


def _rename_queue(world: World, name: str) -> None:
    world.services.tenants.change(
        TENANT,
        lambda t: t.model_copy(update={"settings": t.settings.model_copy(update={"task_queue_name": name})}),
    )
    world.services.tenant_cache.fresh(TENANT)


def test_the_same_job_delivered_eight_times_at_once_is_one_event(world: World) -> None:
    job = accept(world)
    outcomes: list[str] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(deliver(delivery_of(job), world.services)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["done"] * 8
    world.work()
    assert len(world.events()) == 1


def test_a_dead_job_delivered_again_is_recorded_once(world: World) -> None:
    world.sandbox.klaviyo.fail(2, match="POST /api/events", status=400)
    job = accept(world)
    assert [deliver(delivery_of(job), world.services) for _ in range(2)] == ["dead", "dead"]
    assert len(world.dead_jobs()) == 1


def test_a_job_of_a_kind_from_a_newer_revision_waits_and_then_dies_with_a_reason(world: World) -> None:
    accepted = world.clock().isoformat()
    body = json.dumps(
        {"kind": "from-the-future", "tenant": TENANT, "id": "1", "accepted_at": accepted}
    ).encode()
    delivery = Delivery(Direction.OUTBOUND, body, "acme-klaviyo-outbound", "t", TENANT, 0)
    world.services.queue.put_back(
        "acme-klaviyo-outbound", body, tenant=TENANT, direction=Direction.OUTBOUND, delay=0
    )
    for _ in range(23):
        world.work(HOUR)
    world.clock.advance(HOUR - 0.001)
    assert deliver(delivery, world.services) == "waiting"
    assert world.dead_jobs() == []
    world.clock.advance(0.001)
    world.work()
    (dead,) = world.dead_jobs()
    assert "No revision" in dead.reason
    assert json.loads(dead.body)["attempts"] > 20


def test_a_job_of_a_kind_from_a_newer_revision_waits_longer_each_time(world: World) -> None:
    unknown = {"kind": "from-the-future", "tenant": TENANT, "accepted_at": world.clock().isoformat()}
    delays: list[float] = []
    for attempts in (None, 0, 1, 5, 50, "many", -3):
        body = json.dumps({**unknown, "attempts": attempts}).encode()
        delivery = Delivery(Direction.OUTBOUND, body, "acme-klaviyo-outbound", "t", TENANT, 0)
        services = replace(world.services, random=lambda: 1.0)
        vars(services)["queue"] = recording = _NotesDelays(world)
        assert deliver(delivery, services) == "waiting"
        delays += recording.delays
    assert delays == [1.5, 1.5, 3.0, 48.0, 900.0, 1.5, 1.5]


class _NotesDelays:
    """The real queue, which also notes after how long a body is to come back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.delays: list[float] = []

    def put_back(self, *args: Any, delay: float, **named: Any) -> None:
        self.delays.append(delay)
        self._world.services.queue.put_back(*args, delay=delay, **named)


# ID tokens


def test_an_event_gets_a_token_for_the_profile_with_its_klaviyo_id(world: World) -> None:
    identity = {"handle": "klaviyo", "identifier": "01HCANARYKLAVIYOPROFILE000"}
    omneo = world.sandbox.omneo.profile(TENANT, email=EMAIL, identities=[identity])
    world.sandbox.klaviyo.profile(ACCOUNT, id=identity["identifier"], email=EMAIL)
    accept(world, a_body(id=identity["identifier"]), with_token=True)
    world.work()
    _assert_token_of(world, omneo["id"])


def test_an_event_with_only_an_email_gets_the_token_of_the_profile_with_that_email(world: World) -> None:
    world.sandbox.omneo.profile(TENANT, email="canary-somebody-else@example.org")
    omneo = world.sandbox.omneo.profile(TENANT, email=EMAIL.title())
    accept(world, with_token=True)
    world.work()
    _assert_token_of(world, omneo["id"])


def test_an_event_from_an_omneo_context_gets_the_token_of_its_profile_without_a_look_up(world: World) -> None:
    omneo = world.sandbox.omneo.profile(TENANT, id=OMNEO_ID, email=EMAIL)
    body = {"profile": {"id": OMNEO_ID, "email": EMAIL}, "reward": {"id": 1}}
    accept(world, body, name="Reward Issued", with_token=True)
    world.work()
    _assert_token_of(world, omneo["id"])
    assert [call.path for call in world.sandbox.omneo.calls.all()] == [f"/{TENANT}/id/api/v1/auth/token"]


def _assert_token_of(world: World, omneo_id: str) -> None:
    (event,) = world.events()
    token = base64.b64decode(event.properties["IDToken"], validate=True).decode()
    claims = token.split(".")[1]
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert said["pid"] == omneo_id
    assert event.properties["IDTokenExpiry"] == said["exp"]


def test_the_token_is_minted_when_the_event_is_sent_not_when_it_is_queued(world: World) -> None:
    world.sandbox.omneo.profile(TENANT, email=EMAIL)
    accept(world, with_token=True)
    assert world.sandbox.omneo.calls.all() == []
    world.work(HOUR)
    (event,) = world.events()
    assert event.properties["IDTokenExpiry"] > world.clock.timestamp()


def test_an_event_that_asked_for_a_token_is_never_sent_without_one(world: World) -> None:
    accept(world, with_token=True)
    world.work()
    assert world.events() == []
    (dead,) = world.dead_jobs()
    assert "ID token" in dead.reason
    assert "not sent without" in dead.reason


def test_omneo_being_down_delays_an_event_that_asked_for_a_token(world: World) -> None:
    world.sandbox.omneo.profile(TENANT, email=EMAIL)
    world.sandbox.omneo.fail(2, status=502)
    accept(world, with_token=True)
    world.work()
    world.work(60)
    world.work(60)
    assert len(world.events()) == 1


def test_a_rejected_omneo_token_waits_for_an_operator(world: World) -> None:
    world.sandbox.omneo.profile(TENANT, email=EMAIL)
    world.sandbox.omneo.fail(1, status=401)
    job = accept(world, with_token=True)
    assert deliver(delivery_of(job), world.services) == "waiting"  # not 500: that would slow the whole queue
    assert world.dead_jobs() == []
    world.work(60)
    assert len(world.events()) == 1


def test_a_token_that_klaviyo_rejects_twice_waits(world: World) -> None:
    world.sandbox.klaviyo.fail(2, match="POST /api/events", status=401)
    job = accept(world)
    assert deliver(delivery_of(job), world.services) == "waiting"
    assert world.read().is_connected
    assert world.dead_jobs() == []


def test_every_outcome_is_one_log_line_with_tenant_job_and_kind(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    from shared import logs

    logs.configure("project")
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=503)
    job = accept(world)
    world.work()
    world.work(60)
    outcomes = [line for line in lines(capfd.readouterr().out) if "outcome" in line]
    assert [line["outcome"] for line in outcomes] == ["waiting", "done"]
    for line in outcomes:
        assert (line["tenant"], line["job"], line["kind"]) == (TENANT, job.id, "send-metric")


def test_who_meets_another_at_the_profile_looks_again_within_seconds_however_often(world: World) -> None:
    """One that was killed holds its turn for five minutes, and an opt-out waits behind it."""
    now = world.clock()
    job = SyncProfile(tenant=TENANT, accepted_at=now, until=now, profile_id="canary-1")
    world.clock.advance(240)
    taken = world.services.leases.acquire(f"sync {TENANT} canary-1", lasting=timedelta(minutes=5))
    assert taken is not None
    services = replace(world.services, random=lambda: 1.0)
    vars(services)["queue"] = recording = _NotesDelays(world)
    assert deliver(delivery_of(job), services) == "waiting"
    assert recording.delays == [15.0]
