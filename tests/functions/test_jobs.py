"""What became of a call, from the outside: the id of its 202 leads to where its job is, whatever befalls it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from shared.direction import Direction
from shared.erasure.erase import erase
from shared.installation.provision import start_provision
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import Delivery, Outcome
from shared.jobs.rules.patience import POISON_RETRIES
from shared.receipts import KEPT_AFTER_A_WAIT, Receipts
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import HOUR, Traffic
from shared.worker.delivery import deliver
from tests.support.desk import FORBIDDEN, INVALID, Desk
from tests.support.loading import Load
from tests.support.recording import Shelf
from tests.support.syncing import Shop
from tests.support.world import ACCOUNT, EMAIL, INSTALLATION_KEY, TENANT, WEBHOOK_SECRET, World

BASE = f"/{TENANT}/api/v1"
METRIC = f"{BASE}/targets/klaviyo/metric?metric=Seen"
RECORDS = f"{BASE}/targets/klaviyo/data-source-record"
SYNC = f"{BASE}/targets/klaviyo/upsert-profile-data"
SECRET = {"x-omneo-secret": WEBHOOK_SECRET}
KEY = {"Authorization": f"Bearer {INSTALLATION_KEY}"}
ONE = "POST /api/data-source-record-create-jobs"
MANY = "POST /api/data-source-record-bulk-create-jobs"
EVENT: dict[str, Any] = {"profile": {"email": EMAIL}}
Ask = Callable[[str], dict[str, Any]]


@pytest.fixture
def targets(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store; the real time is the world's."""
    world.live()
    Shelf(world).set_up()
    key = SecretStr("canary-ledger")
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"ledger_key": key}))
    return load("targets", world.environment)


@pytest.fixture
def ask(world: World, load: Load) -> Ask:
    """Return what asks for the job with an id."""
    admin = load("admin", world.environment)

    def asking(id: str) -> dict[str, Any]:
        answer = admin.get(f"{BASE}/jobs/{id}", headers=KEY)
        assert "canary" not in answer.get_data(as_text=True)
        return {"status": answer.status_code, **answer.get_json()}

    return asking


def set_days(world: World, days: int) -> None:
    def edit(tenant: Any) -> Any:
        return tenant.model_copy(
            update={"settings": tenant.settings.model_copy(update={"receipt_days": days})}
        )

    world.services.tenants.change(TENANT, edit)
    world.services.tenant_cache.fresh(TENANT)


def accepted(targets: FlaskClient, path: str = METRIC, body: dict[str, Any] = EVENT) -> str:
    answer = targets.post(path, json=body, headers=SECRET)
    assert answer.status_code == 202
    return str(answer.get_json()["id"])


def receipts(world: World) -> int:
    return world.services.documents.count(f"tenants/{TENANT}/receipts")


def slow_down(world: World) -> None:
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=503, headers={"Retry-After": "30"})


def refuse(world: World, match: str = "POST /api/events") -> None:
    world.sandbox.klaviyo.fail(9, match=match, status=400, body={"errors": [{"code": "invalid"}]})


def dead(targets: FlaskClient, world: World) -> str:
    """Let an event die, and return its id."""
    id = accepted(targets)
    world.sandbox.klaviyo.fail(1, match="POST /api/events", status=400, body=INVALID)
    world.work(1)
    return id


class TestWithoutReceiptDays:
    def test_a_job_that_is_done_at_once_leaves_nothing_and_that_is_said(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        world.work(60)
        assert receipts(world) == 0
        told = ask(id)
        assert told["status"] == 404
        assert "receipt_days" in told["error"]["message"]

    def test_a_job_that_waits_says_why_and_when_it_is_tried_again(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        slow_down(world)
        world.work(1)
        told = ask(id)
        assert (told["state"], told["why"], told["attempts"]) == ("waiting", "Klaviyo answered 503", 1)
        assert (told["kind"], told["metric"]) == ("send-metric", "Seen")
        assert told["next_try_at"] >= (world.clock.now + timedelta(seconds=29)).isoformat()

    def test_a_job_that_stands_still_with_its_account_says_so_until_the_account_is_back(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        world.sandbox.klaviyo.uninstall(ACCOUNT)
        world.work(1)
        told = ask(id)
        assert (told["state"], told["attempts"], told["next_try_at"]) == ("waiting", 1, None)
        assert (
            told["why"] == "The Klaviyo account is disconnected. It goes on when the app is installed again."
        )
        world.install()
        assert ask(id)["next_try_at"] is not None
        world.work(60)
        assert ask(id)["state"] == "done"

    def test_a_job_that_had_to_wait_is_told_of_for_a_day(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        slow_down(world)
        world.work(1)
        world.work(60)
        told = ask(id)
        assert (told["state"], told["answered"][:20]) == ("done", "Klaviyo answered 202")
        world.clock.now += KEPT_AFTER_A_WAIT
        assert Receipts.of(world.services).find(TENANT, id) is None

    def test_a_dead_job_gives_its_row_on_the_desk_and_its_reason(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        refuse(world)
        world.work(1)
        told = ask(id)
        assert (told["state"], told["row"]) == ("dead", id)
        assert told["reason"].startswith("Klaviyo answered 400: invalid")
        assert DeadJobStore.of(world.services).find(TENANT, told["row"])

    def test_a_job_that_waits_and_then_dies_is_dead_alone(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        slow_down(world)
        world.work(1)
        refuse(world)
        world.work(60)
        assert ask(id)["state"] == "dead"
        assert receipts(world) == 0

    def test_records_wait_in_the_outbox(self, targets: FlaskClient, ask: Ask, world: World) -> None:
        id = accepted(targets, RECORDS, {"data_source": "rewards", "record": {"id": "r-1"}})
        told = ask(id)
        assert (told["state"], told["kind"], told["metric"]) == ("queued", "send-records", "Omneo Rewards")


class TestWithReceiptDays:
    def test_a_job_is_queued_and_then_done(self, targets: FlaskClient, ask: Ask, world: World) -> None:
        set_days(world, 7)
        id = accepted(targets)
        told = ask(id)
        assert (told["state"], told["kind"], told["metric"]) == ("queued", "send-metric", "Seen")
        world.work(60)
        told = ask(id)
        assert told["state"] == "done"
        assert told["answered"].startswith("Klaviyo answered 202 (")
        world.clock.now += timedelta(days=6, hours=23)
        assert Receipts.of(world.services).find(TENANT, id) is not None
        world.clock.now += timedelta(hours=1)
        assert Receipts.of(world.services).find(TENANT, id) is None

    def test_a_sync_has_the_id_that_its_call_was_answered_with(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        set_days(world, 1)
        profile = Shop(world).customer(tells=False)
        id = accepted(targets, SYNC, {"profile_id": profile})
        assert (ask(id)["state"], ask(id)["kind"]) == ("queued", "sync-profile")
        world.work(30)
        assert ask(id)["state"] == "done"
        persons = {"omneo_id": profile}
        assert [one.id for one in Receipts.of(world.services).of_person(world.read(), persons)] == [id]

    def test_records_are_done_when_klaviyo_has_them(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        set_days(world, 1)
        id = accepted(targets, RECORDS, {"data_source": "rewards", "record": {"n": 1}})
        assert ask(id)["state"] == "queued"
        Shelf(world).work_until_quiet()
        assert (ask(id)["state"], ask(id)["metric"]) == ("done", "Omneo Rewards")
        (call,) = [
            call for call in world.sandbox.klaviyo.calls.all() if call.path.endswith("record-create-jobs")
        ]
        assert ask(id)["answered"].startswith(f"Klaviyo answered {call.status}")

    def test_records_that_klaviyo_refuses_give_the_row_that_they_have_on_the_desk(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets, RECORDS, {"data_source": "rewards", "record": {"n": 1}})
        refuse(world, "POST /api/data-source-record-create-jobs")
        Shelf(world).work_until_quiet()
        told = ask(id)
        assert (told["state"], told["id"]) == ("dead", id)
        assert [dead.id for dead in world.dead_jobs()] == [told["row"]]

    def test_records_whose_row_is_no_longer_kept_were_given_up(
        self, targets: FlaskClient, ask: Ask, world: World, load: Load
    ) -> None:
        set_days(world, 7)
        records = [{"n": 1, "who": EMAIL}, {"n": 2, "who": EMAIL}]
        id = accepted(targets, RECORDS, {"data_source": "rewards", "records": records})
        world.sandbox.klaviyo.fail(1, match=ONE, status=400)
        Shelf(world).work_until_quiet()
        assert Shelf(world).arrived() == [2]
        erase(world.read(), EMAIL, world.services)
        assert world.dead_jobs() == []
        told = ask(id)
        assert (told["state"], "row" in told) == ("dead", False)
        assert "no longer kept" in told["reason"]

    def test_records_are_done_when_all_that_had_died_are_replayed_and_have_gone(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets, RECORDS, {"data_source": "rewards", "records": [{"n": 1}, {"n": 2}]})
        world.sandbox.klaviyo.fail(2, match=ONE, status=400)
        Shelf(world).work_until_quiet()
        desk, (first, second) = Desk(world), world.dead_jobs()
        desk.replay(second.id)
        assert (ask(id)["state"], ask(id)["row"]) == ("dead", first.id)
        Shelf(world).work_until_quiet()
        assert (ask(id)["state"], ask(id)["row"]) == ("dead", first.id)
        desk.replay(first.id)
        assert ask(id)["state"] == "queued"
        Shelf(world).work_until_quiet()
        assert (ask(id)["state"], sorted(Shelf(world).arrived())) == ("done", [1, 2])

    def test_a_record_that_dies_again_alone_keeps_its_call_dead(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        records = [{"n": n, "bad": True} if n == 3 else {"n": n} for n in range(30)]
        id = accepted(targets, RECORDS, {"data_source": "rewards", "records": records})
        world.sandbox.klaviyo.fail(1, match=MANY, status=403, body=FORBIDDEN)
        Shelf(world).work_until_quiet()
        (whole,) = world.dead_jobs()
        world.sandbox.klaviyo.unwanted_property = "bad"
        Desk(world).replay(whole.id)
        Shelf(world).work_until_quiet()
        (one,) = world.dead_jobs()
        assert one.id != whole.id
        assert (ask(id)["state"], ask(id)["row"]) == ("dead", one.id)
        world.sandbox.klaviyo.unwanted_property = ""
        Desk(world).replay(one.id)
        Shelf(world).work_until_quiet()
        assert (ask(id)["state"], len(Shelf(world).arrived())) == ("done", 30)

    def test_calls_whose_records_die_together_are_each_dead(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        set_days(world, 7)
        body = {"data_source": "rewards", "records": [{"n": n} for n in range(20)]}
        world.sandbox.klaviyo.fail(9, match=MANY, status=403, body=FORBIDDEN)
        ids = [accepted(targets, RECORDS, body) for _ in range(2)]
        Shelf(world).work_until_quiet()
        assert [ask(id)["state"] for id in ids] == ["dead", "dead"]
        assert len({ask(id)["row"] for id in ids}) == 2

    def test_a_heal_is_queued_and_done(
        self, targets: FlaskClient, ask: Ask, world: World, load: Load
    ) -> None:
        set_days(world, 1)
        id = load("admin", world.environment).post(f"{BASE}/heal", headers=KEY).get_json()["id"]
        assert (ask(id)["state"], ask(id)["kind"]) == ("queued", "heal")
        world.work(30)
        assert ask(id)["state"] == "done"

    def test_a_run_over_the_whole_base_is_known_by_its_id(
        self, targets: FlaskClient, ask: Ask, world: World, load: Load
    ) -> None:
        id = load("admin", world.environment).post(f"{BASE}/reconcile", headers=KEY).get_json()["id"]
        assert (ask(id)["state"], ask(id)["run"], ask(id)["kind"]) == ("queued", "running", "reconcile")
        load("admin", world.environment).post(f"{BASE}/resync/{id}/cancel", headers=KEY)
        assert (ask(id)["state"], ask(id)["run"]) == ("done", "cancelled")


class TestOfWhatStandsOnTheDesk:
    @pytest.mark.parametrize("days", [0, 7])
    def test_a_sync_that_died_is_done_when_a_later_one_of_the_profile_is(
        self, targets: FlaskClient, ask: Ask, world: World, days: int
    ) -> None:
        set_days(world, days)
        profile = Shop(world).customer(tells=False)
        id = accepted(targets, SYNC, {"profile_id": profile})
        (body,) = world.queued(Direction.OUTBOUND)
        world.sandbox.klaviyo.fail(1, match="POST /api/profiles", status=400, body=INVALID)
        world.work(30)
        assert ask(id)["state"] == "dead"
        world.clock.advance(60)
        later = Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, 0)
        assert deliver(later, world.services) is Outcome.DONE
        assert (ask(id)["state"], world.dead_jobs()) == ("done", [])

    def test_a_sync_that_began_before_the_death_settles_nothing(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        profile = Shop(world).customer(tells=False)
        id = accepted(targets, SYNC, {"profile_id": profile})
        (body,) = world.queued(Direction.OUTBOUND)
        world.sandbox.klaviyo.fail(1, match="POST /api/profiles", status=400, body=INVALID)
        world.work(30)
        (dead,) = world.dead_jobs()
        desk = DeadJobStore.of(world.services)
        assert desk.settle(TENANT, id, since=dead.died_at - timedelta(seconds=1)) is None
        assert ask(id)["state"] == "dead"
        desk.cut_down(TENANT, id, lambda _dead: None)
        later = Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, 0)
        assert deliver(later, world.services) is Outcome.DONE
        assert desk.settle(TENANT, id, since=world.clock()) is None

    def test_a_replay_that_waits_says_why_and_when_it_is_tried_again(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = dead(targets, world)
        Desk(world).replay(id)
        assert (ask(id)["state"], ask(id)["row"]) == ("queued", id)
        slow_down(world)
        world.work(1)
        told = ask(id)
        assert (told["state"], told["why"], told["row"]) == ("waiting", "Klaviyo answered 503", id)
        assert told["next_try_at"]

    def test_a_replay_that_succeeds_at_once_is_told_of_for_a_day(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = dead(targets, world)
        Desk(world).replay(id)
        world.work(1)
        assert world.dead_jobs() == []
        assert ask(id)["state"] == "done"
        world.clock.now += KEPT_AFTER_A_WAIT
        assert Receipts.of(world.services).find(TENANT, id) is None

    def test_a_run_of_replays_is_known_by_its_id(self, targets: FlaskClient, ask: Ask, world: World) -> None:
        dead(targets, world)
        id = Desk(world).replay_all(all=True)["id"]
        assert (ask(id)["state"], ask(id)["kind"]) == ("queued", "replay-dead-jobs")
        world.work(1)
        assert ask(id)["state"] == "done"

    def test_a_row_that_has_expired_is_told_no_more(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = dead(targets, world)
        desk = DeadJobStore.of(world.services)
        (row,) = world.dead_jobs()
        desk.cut_down(TENANT, id, lambda _dead: None)
        desk.add(row, keep=timedelta(hours=-1))
        assert ask(id)["status"] == 404

    def test_a_run_of_replays_whose_step_the_worker_cannot_take_has_failed_and_says_why(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        dead(targets, world)
        desk = Desk(world)
        id = desk.replay_all(all=True)["id"]
        (body,) = world.queued(Direction.INBOUND)
        world.services.queue.purge(world.read(), Direction.INBOUND)
        poisoned = Delivery(Direction.INBOUND, body, "q", "t", TENANT, POISON_RETRIES)
        assert deliver(poisoned, world.services) is Outcome.DEAD
        run = desk.run(id)
        assert (run["state"], run["replayed"]) == ("failed", 0)
        assert run["finished_at"]
        assert "200 times" in run["reason"]
        assert (ask(id)["state"], ask(id)["reason"]) == ("dead", run["reason"])
        # It goes on where it was when its step is replayed.
        (step,) = [row["id"] for row in desk.rows(kind="replay-dead-jobs")]
        desk.replay(step)
        world.work(1)
        assert (desk.run(id)["state"], desk.run(id)["reason"], ask(id)["state"]) == ("done", None, "done")
        world.work(1)
        assert world.dead_jobs() == []

    def test_a_step_that_was_overtaken_fails_no_run(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        dead(targets, world)
        id = Desk(world).replay_all(all=True)["id"]
        (body,) = world.queued(Direction.INBOUND)
        world.work(1)
        assert ask(id)["state"] == "done"
        deliver(Delivery(Direction.INBOUND, body, "q", "t", TENANT, POISON_RETRIES), world.services)
        assert ask(id)["state"] == "done"

    def test_a_run_over_the_base_whose_step_the_worker_cannot_take_has_failed(
        self, targets: FlaskClient, ask: Ask, world: World, load: Load
    ) -> None:
        id = load("admin", world.environment).post(f"{BASE}/resync", json={}, headers=KEY).get_json()["id"]
        (body,) = world.queued(Direction.OUTBOUND)
        deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, POISON_RETRIES), world.services)
        assert (ask(id)["state"], ask(id)["run"]) == ("dead", "failed")
        assert "200 times" in ask(id)["reason"]

    def test_a_replay_that_another_has_overtaken_is_no_new_row_even_if_nobody_can_read_it(
        self, targets: FlaskClient, world: World
    ) -> None:
        id = dead(targets, world)
        Desk(world).replay(id)
        (body,) = world.queued(Direction.OUTBOUND)
        world.work(1)
        poisoned = Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, POISON_RETRIES)
        assert deliver(poisoned, world.services) is Outcome.DONE
        assert world.dead_jobs() == []

    def test_a_replay_that_nobody_could_read_is_the_same_row_with_what_is_known_of_it(
        self, targets: FlaskClient, world: World
    ) -> None:
        id = dead(targets, world)
        (before,) = Desk(world).rows()
        world.clock.advance(60)
        Desk(world).replay(id)
        (body,) = world.queued(Direction.OUTBOUND)
        deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, POISON_RETRIES), world.services)
        (after,) = Desk(world).rows()
        changed = {name for name in before if before[name] != after[name]}
        assert {"deaths", "last_died_at", "reason", "cause"} <= changed
        assert not changed & {"id", "kind", "metric", "profiles", "first_died_at", "state"}
        world.services.queue.purge(world.read(), Direction.OUTBOUND)
        Desk(world).replay(id)
        world.work(1)
        assert world.dead_jobs() == []

    def test_a_job_that_the_worker_failed_on_too_often_is_dead_under_its_own_id(
        self, targets: FlaskClient, ask: Ask, world: World
    ) -> None:
        id = accepted(targets)
        slow_down(world)
        world.work(1)
        assert ask(id)["state"] == "waiting"
        (body,) = world.queued(Direction.OUTBOUND)
        # A caller's own words are not taken for those of a replay.
        body = body.replace(b'"properties":{', b'"properties":{"replay":"abc","dead_id":"def",')
        assert b'"abc"' in body
        world.clock.advance(11)  # counts are written then
        poisoned = Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, POISON_RETRIES)
        assert deliver(poisoned, world.services) is Outcome.DEAD
        told = ask(id)
        assert (told["state"], told["kind"], told["row"]) == ("dead", "send-metric", id)
        assert "200 times" in told["reason"]
        tables = [span.table for span in Traffic.of(world.services).spans(TENANT, world.clock() - HOUR)]
        assert Row("metric", What.DEAD) in {row for table in tables for row in table}


@pytest.mark.parametrize("kind", ["heal", "provision"])
def test_a_later_job_that_does_the_same_settles_what_had_died(
    targets: FlaskClient, world: World, load: Load, kind: str
) -> None:
    before = DeadJob(
        id="before",
        tenant=TENANT,
        kind=kind,
        reason="Klaviyo answered 400.",
        body=b"{}",
        attempts=0,
        died_at=world.clock(),
    )
    DeadJobStore.of(world.services).add(before, keep=timedelta(days=30))
    if kind == "heal":
        load("admin", world.environment).post(f"{BASE}/heal", headers=KEY)
    else:
        start_provision(world.read(), world.services)
    for _ in range(20):
        assert world.dead_jobs() or kind == "provision" or not world.queued(Direction.INBOUND)
        world.work(30)
    assert world.dead_jobs() == []


def test_a_heal_that_is_replayed_reads_all_its_pages(targets: FlaskClient, world: World, load: Load) -> None:
    world.sandbox.klaviyo.fail(1, match="GET /api/metrics*", status=400, body=INVALID)
    load("admin", world.environment).post(f"{BASE}/heal", headers=KEY)
    world.work(1)
    (dead,) = world.dead_jobs()
    before = world.read().heal_from
    world.clock.advance(100 * 3600)
    Desk(world).replay(dead.id)
    for _ in range(20):
        world.work(30)
    assert world.dead_jobs() == []
    assert world.read().heal_from != before


@pytest.mark.parametrize("days", [0, 1])
def test_a_heal_is_not_done_before_its_last_page_is(
    targets: FlaskClient, ask: Ask, world: World, load: Load, days: int
) -> None:
    set_days(world, days)
    id = load("admin", world.environment).post(f"{BASE}/heal", headers=KEY).get_json()["id"]
    states = []
    while tasks := [body for body in world.queued(Direction.INBOUND) if b'"heal"' in body]:
        world.services.queue.purge(world.read(), Direction.INBOUND)
        deliver(Delivery(Direction.INBOUND, tasks[0], "q", "t", TENANT, 0), world.services)
        states.append(ask(id).get("state"))
    assert len(states) > 1
    assert {*states[:-1]} == {"queued" if days else None}
    assert states[-1] == "done"


def test_a_job_that_dies_before_its_call_is_answered_is_dead(
    targets: FlaskClient, ask: Ask, world: World
) -> None:
    id = dead(targets, world)
    set_days(world, 1)
    Receipts.of(world.services).queued(world.read(), id, "send-metric")
    assert ask(id)["state"] == "dead"


@pytest.mark.parametrize("id", ["0" * 32, "%20", "a" * 65, "..", "__x__"])
def test_an_id_that_was_never_given_is_not_found(targets: FlaskClient, ask: Ask, id: str) -> None:
    assert ask(id)["status"] == 404


def test_another_tenants_job_is_not_found(targets: FlaskClient, ask: Ask, world: World) -> None:
    id = accepted(targets)
    slow_down(world)
    world.work(1)
    world.tenant("beta", installed=False)
    assert Receipts.of(world.services).find("beta", id) is None
    assert json.dumps(ask(id)).count("beta") == 0
