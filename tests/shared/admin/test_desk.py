"""The desk: what became of a job that was given up, who it was about, what mends it, and that a replay is one effect."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from shared.consent.ledger import new_ledger_key
from shared.direction import Direction
from shared.errors import ConflictError, InvalidPayloadError, QueueUnavailableError, UnknownPathError
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SendMetric
from shared.jobs.rules.causes import Cause
from shared.metrics.metrics import accept_metric
from tests.support.desk import FORBIDDEN, INVALID, Desk
from tests.support.world import EMAIL, TENANT, World

EVENTS = "POST /api/events"
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def desk(world: World) -> Desk:
    """Return the desk of an installed tenant."""
    world.tenant(ledger_key=new_ledger_key())
    return Desk(world)


def accept(desk: Desk, *, metric: str = "Seen", email: str = EMAIL, **properties: Any) -> SendMetric:
    """Accept a metric as the targets function does."""
    services = desk.world.services
    return accept_metric(
        desk.world.read(),
        {"profile": {"email": email}, **properties},
        metric_name=metric,
        with_token=False,
        queue=services.queue,
        now=desk.world.clock(),
        new_id=services.new_id,
        traceparent="",
    )


def die(desk: Desk, *, status: int = 400, body: object = INVALID, **event: Any) -> SendMetric:
    """Accept a metric, and let Klaviyo refuse it."""
    desk.world.sandbox.klaviyo.fail(1, match=EVENTS, status=status, body=body)
    job = accept(desk, **event)
    desk.world.work()
    return job


def told(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a line of the log."""
    return dict(record.fields)  # type: ignore[attr-defined]  # put there by logs.write


def work_until_quiet(desk: Desk) -> None:
    for _ in range(8):
        desk.world.work(30)


class TestWhatStandsThere:
    def test_a_refused_job_says_which_why_when_and_what_to_do(self, desk: Desk) -> None:
        job = die(desk)
        (row,) = desk.rows()
        assert (row["id"], row["tenant"], row["kind"], row["metric"]) == (
            job.id,
            TENANT,
            "send-metric",
            "Seen",
        )
        assert (row["state"], row["cause"], row["deaths"], row["attempts"]) == ("dead", "refused", 1, 1)
        assert row["reason"].startswith("Klaviyo answered 400")
        assert row["what_to_do"].endswith(f"python -m deploy.tenants dead replay {TENANT} {job.id}")
        assert row["first_died_at"] == row["last_died_at"] == "2026-11-21T10:00:00+00:00"
        assert row["request_id"]
        assert row["expires_at"] == "2026-12-21T10:00:00+00:00"

    def test_the_body_is_masked_and_its_structure_is_kept(self, desk: Desk) -> None:
        job = die(desk, basket=[{"what": "canary-shoes", "price": 7}], is_member=True)
        row = desk.show(job.id)
        assert (row["revealed"], row["detail"]) == (False, "<text>")
        assert (row["body"]["id"], row["body"]["kind"]) == (job.id, "send-metric")
        properties = row["body"]["event"]["properties"]
        assert properties["basket"] == [{"what": "<text>", "price": "<number>"}]
        assert properties["is_member"] is True
        assert row["body"]["event"]["profile"]["data"]["attributes"]["email"] == "<text>"
        assert "canary" not in json.dumps(row)

    def test_what_is_revealed_is_logged_and_what_is_not_is_not(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = die(desk)
        whole = desk.show(job.id, reveal="true")
        assert whole["body"]["event"] == job.event
        assert whole["detail"] == INVALID["errors"][0]["detail"]
        desk.show(job.id, reveal="false")
        shown = [told(record) for record in caplog.records if "were shown" in record.getMessage()]
        assert [(line["kind"], line["job"]) for line in shown] == [("dead-job", job.id)]

    def test_reveal_is_true_or_false(self, desk: Desk) -> None:
        job = die(desk)
        with pytest.raises(InvalidPayloadError, match="reveal must be true or false"):
            desk.show(job.id, reveal="yes")

    @pytest.mark.parametrize("id", ["nobody", "..", ".", "__x__", "a b", "", "x" * 300])
    def test_what_is_not_there_is_not_found(self, desk: Desk, id: str) -> None:
        for ask in (desk.show, desk.replay, desk.run):
            with pytest.raises(UnknownPathError):
                ask(id)

    def test_what_has_expired_is_there_no_more_even_before_the_store_removes_it(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.clock.advance(30 * DAY)
        assert desk.rows() == []
        with pytest.raises(UnknownPathError):
            desk.show(job.id)

    def test_a_tenants_desk_shows_its_own_jobs_alone(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.tenant("acme-stg", installed=False)
        other = Desk(desk.world, "acme-stg")
        assert other.page()["count"] == 0
        with pytest.raises(UnknownPathError):
            other.replay(job.id)


class TestFilters:
    def test_each_finds_what_it_names(self, desk: Desk) -> None:
        first = die(desk, metric="Seen")
        desk.world.clock.advance(HOUR)
        second = die(desk, metric="Bought", status=409)
        for query, found in {
            ("metric", "Seen"): [first],
            ("metric", "Nothing"): [],
            ("kind", "send-metric"): [first, second],
            ("kind", "sync-profile"): [],
            ("cause", "refused"): [first, second],
            ("cause", "no-answer"): [],
            ("reason", "answered 409"): [second],
            ("reason", "ANSWERED"): [first, second],
            ("since", "2026-11-21T10:30:00Z"): [second],
            ("since", "2026-11-21T11:00:00"): [second],
            ("since", "2026-11-21T21:30:00 11:00"): [second],  # a plus that nobody has written as %2B
            ("since", "2026-11-22"): [],
            ("until", "2026-11-21T11:00:00+00:00"): [first],
            ("until", "2026-11-21T12:00:00+01:00"): [first],
        }.items():
            ids = {row["id"] for row in desk.rows(**dict([query]))}
            assert (query, ids) == (query, {job.id for job in found})

    def test_a_person_is_found_by_an_id_or_a_hash_and_an_address_has_no_place_in_a_url(
        self, desk: Desk
    ) -> None:
        job = die(desk, profile={"id": "01CUSTOMER", "email": EMAIL})
        die(desk, email="canary-john@example.org")
        (row,) = desk.rows(profile="01CUSTOMER")
        assert row["id"] == job.id
        for hash in row["profiles"]:
            assert job.id in {found["id"] for found in desk.rows(profile=hash)}
        assert desk.rows(profile="01NOBODY") == []
        with pytest.raises(InvalidPayloadError, match="must not stand in a URL"):
            desk.page(profile=EMAIL)

    def test_an_address_in_a_body_is_read_as_any_other_reader_would(self, desk: Desk) -> None:
        die(desk)
        die(desk, email="canary-john@example.org")
        assert desk.replay_all(profile=f" {EMAIL.upper()} ")["total"] is None
        work_until_quiet(desk)
        assert [email_of(event) for event in desk.world.events()] == [EMAIL]

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ({"kinds": "send-metric"}, "kind, cause, reason, metric, profile, since, until, after, limit"),
            ({"Kind": "send-metric"}, "not known"),
            ({"kind": "send-metrics"}, "kind must be one of"),
            ({"cause": "plans"}, "cause must be one of: data-source"),
            ({"since": "yesterday"}, "since must be a date"),
            ({"until": "2026-13-01"}, "until must be a date"),
            ({"since": "0001-01-01T00:00:00+23:59"}, "since must be a date"),
            ({"metric": " "}, "metric must be a text"),
            ({"limit": "0"}, "limit must be"),
            ({"limit": "201"}, "limit must be"),
            ({"limit": "-1"}, "limit must be"),
            ({"limit": "²"}, "limit must be"),
            ({"after": "a/b"}, "after must be"),
            ({"after": ".."}, "after must be"),
        ],
        ids=str,
    )
    def test_what_is_not_known_is_refused_and_what_is_known_is_named(
        self, desk: Desk, query: dict[str, str], words: str
    ) -> None:
        with pytest.raises(InvalidPayloadError, match=words):
            desk.page(**query)

    @pytest.mark.parametrize(
        "order",
        [{}, {"all": False}, {"all": 1}, {"all": True, "kind": "send-metric"}, {"kinds": "x"}, {"kind": 7}],
        ids=str,
    )
    def test_a_replay_of_many_says_which_and_a_misspelt_filter_replays_nothing(
        self, desk: Desk, order: dict[str, object]
    ) -> None:
        die(desk)
        with pytest.raises(InvalidPayloadError):
            desk.replay_all(**order)
        work_until_quiet(desk)
        assert desk.world.events() == []

    def test_pages_follow_each_other_and_hold_each_job_once(self, desk: Desk) -> None:
        jobs = {die(desk).id for _ in range(5)}
        seen: list[str] = []
        query: dict[str, str] = {"limit": "2"}
        while True:
            page = desk.page(**query)
            assert len(page["dead_jobs"]) <= 2
            seen += [row["id"] for row in page["dead_jobs"]]
            if page["next"] is None:
                break
            query["after"] = page["next"]
        assert seen == sorted(jobs)


def email_of(event: Any) -> str:
    """Return the address that an event was sent with."""
    return str(event.sent["profile"]["data"]["attributes"]["email"])


class TestReplay:
    def test_it_arrives_once_as_it_was_and_then_stands_there_no_more(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.clock.advance(3 * DAY)
        desk.replay(job.id)
        (row,) = desk.rows()
        assert (row["state"], row["replayed_at"]) == ("replayed", "2026-11-24T10:00:00+00:00")
        work_until_quiet(desk)
        (event,) = desk.world.events()
        assert event.time == job.accepted_at.timestamp()
        assert desk.page() == {"dead_jobs": [], "next": None, "count": 0, "held": []}

    def test_its_age_begins_anew_so_that_a_throttled_one_waits_and_is_not_given_up(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.clock.advance(20 * DAY)
        desk.world.sandbox.klaviyo.fail(3, match=EVENTS, status=429)
        desk.replay(job.id)
        work_until_quiet(desk)
        assert len(desk.world.events()) == 1
        assert desk.rows() == []

    def test_one_that_dies_again_is_the_same_row_newer(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.clock.advance(HOUR)
        desk.world.sandbox.klaviyo.fail(1, match=EVENTS, status=409, body=INVALID)
        desk.replay(job.id)
        desk.world.work()
        (row,) = desk.rows()
        assert (row["id"], row["state"], row["deaths"]) == (job.id, "dead", 2)
        assert (row["first_died_at"], row["last_died_at"]) == (
            "2026-11-21T10:00:00+00:00",
            "2026-11-21T11:00:00+00:00",
        )
        assert row["reason"].startswith("Klaviyo answered 409")
        desk.replay(job.id)
        work_until_quiet(desk)
        assert (len(desk.world.events()), desk.rows()) == (1, [])

    def test_twice_at_once_is_done_once_and_the_first_one_is_dropped(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        job = die(desk)
        desk.replay(job.id)
        desk.replay(job.id)
        assert len(desk.world.queued(Direction.OUTBOUND)) == 2
        before = len(desk.world.sandbox.klaviyo.calls.all())
        work_until_quiet(desk)
        assert len(desk.world.sandbox.klaviyo.calls.all()) - before == 1
        assert (len(desk.world.events()), desk.rows()) == (1, [])
        dropped = [record for record in caplog.records if record.getMessage().startswith("replay dropped")]
        assert len(dropped) == 1

    def test_the_second_of_two_that_succeeds_first_is_the_only_one(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.sandbox.klaviyo.fail(1, match=EVENTS, status=503, headers={"Retry-After": "600"})
        desk.replay(job.id)
        desk.world.work()
        desk.replay(job.id)
        desk.world.work()
        assert (len(desk.world.events()), desk.rows()) == (1, [])
        desk.world.work(HOUR)
        assert (len(desk.world.events()), desk.page()["count"]) == (1, 0)

    def test_while_it_waits_it_is_not_counted_as_dead_and_still_stands_there(self, desk: Desk) -> None:
        job = die(desk)
        desk.world.sandbox.klaviyo.fail(1, match=EVENTS, status=429, headers={"Retry-After": "600"})
        desk.replay(job.id)
        desk.world.work()
        assert desk.page()["count"] == 0
        assert [row["state"] for row in desk.rows()] == ["replayed"]

    def test_its_row_outlives_its_days_while_it_waits(self, desk: Desk) -> None:
        services = desk.world.services
        services.tenants.change(
            TENANT,
            lambda tenant: tenant.model_copy(
                update={"settings": tenant.settings.model_copy(update={"dead_job_days": 1})}
            ),
        )
        job = die(desk)
        desk.world.clock.advance(23 * HOUR)
        desk.world.sandbox.klaviyo.fail(10_000, match=EVENTS, status=429, headers={"Retry-After": "3600"})
        desk.replay(job.id)
        for _ in range(22):
            desk.world.work(HOUR)
        assert [row["state"] for row in desk.rows()] == ["replayed"]
        desk.world.sandbox.klaviyo.faults.clear()
        desk.world.work(HOUR)
        assert (len(desk.world.events()), desk.rows()) == (1, [])

    def test_a_queue_that_does_not_answer_loses_nothing_and_it_may_be_asked_again(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = die(desk)
        with monkeypatch.context() as broken:

            def refuse(*args: object, **named: object) -> None:
                raise QueueUnavailableError("The queue did not take the task.")

            broken.setattr(desk.world.services.queue, "put_back", refuse)
            with pytest.raises(QueueUnavailableError):
                desk.replay(job.id)
        assert [row["id"] for row in desk.rows()] == [job.id]
        desk.replay(job.id)
        work_until_quiet(desk)
        assert (len(desk.world.events()), desk.rows()) == (1, [])

    def test_what_this_release_cannot_read_is_said_and_stays(self, desk: Desk) -> None:
        services = desk.world.services
        dead = DeadJob(
            id="f00", tenant=TENANT, kind="unread", reason="It cannot be read.", body=b"canary{",
            attempts=0, died_at=desk.world.clock(), cause=Cause.UNREAD,
        )  # fmt: skip
        DeadJobStore.of(services).add(dead, keep=timedelta(days=30))
        with pytest.raises(ConflictError, match="cannot read the job"):
            desk.replay("f00")
        assert desk.show("f00")["body"] == "<text>"
        assert desk.show("f00", reveal="true")["body"] == "canary{"
        run = desk.replay_all(all=True)
        work_until_quiet(desk)
        assert (desk.run(run["id"])["unreadable"], desk.rows()[0]["state"]) == (1, "dead")


class TestReplayOfMany:
    def test_its_progress_says_how_many_are_done_wait_and_have_died_again(self, desk: Desk) -> None:
        jobs = [die(desk, metric=f"Seen {number}") for number in range(4)]
        desk.world.sandbox.klaviyo.fail(1, match=EVENTS, status=409, body=INVALID)
        run = desk.replay_all(all=True)
        assert (run["state"], run["total"], run["replayed"]) == ("running", 4, 0)
        work_until_quiet(desk)
        now = desk.run(run["id"])
        counts = ("total", "replayed", "waiting", "died_again", "succeeded", "unreadable")
        assert [now[name] for name in counts] == [4, 4, 0, 1, 3, 0]
        assert (now["state"], now["asked_by"], now["filters"]) == ("done", "call", {})
        assert len(desk.world.events()) == len(jobs) - 1
        assert [row["deaths"] for row in desk.rows()] == [2]

    def test_a_filter_leaves_the_others_alone(self, desk: Desk) -> None:
        die(desk, metric="Seen")
        other = die(desk, metric="Bought")
        run = desk.replay_all(metric="Seen")
        work_until_quiet(desk)
        assert desk.run(run["id"])["filters"] == {"metric": "Seen"}
        assert [event.metric for event in desk.world.events()] == ["Seen"]
        assert [row["id"] for row in desk.rows()] == [other.id]

    def test_many_go_some_at_a_time_so_that_live_work_does_not_wait_behind_them(self, desk: Desk) -> None:
        services = desk.world.services
        for number in range(230):
            bury_one(desk, f"job{number:03}")
        run = desk.replay_all(all=True)
        desk.world.work()
        assert desk.run(run["id"])["replayed"] == 100
        live = accept(desk, metric="Live")
        for _ in range(5):
            desk.world.work(1)
        assert live.event["unique_id"] in {event.unique_id for event in desk.world.events()}
        work_until_quiet(desk)
        now = desk.run(run["id"])
        assert (now["state"], now["replayed"], now["succeeded"]) == ("done", 230, 230)
        assert len(desk.world.events()) == 231
        assert services.queue.state(desk.world.read(), Direction.INBOUND).depth == 0


def bury_one(desk: Desk, id: str) -> None:
    """Put an event on the desk as the worker does."""
    job = accept_nothing(desk, id)
    desk.world.bury(job, attempts=0, cause=Cause.REFUSED, accepted_at=job.accepted_at)


def accept_nothing(desk: Desk, id: str) -> SendMetric:
    return SendMetric(
        tenant=TENANT,
        id=id,
        accepted_at=desk.world.clock(),
        event={
            "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
            "properties": {},
            "unique_id": id,
            "time": "2026-11-21T10:00:00+00:00",
        },
    )


class TestOneCauseOfMany:
    def test_what_one_cause_kills_is_one_row_with_a_count_and_is_shown_by_that_cause(
        self, desk: Desk
    ) -> None:
        jobs = [die(desk, status=403, body=FORBIDDEN) for _ in range(3)]
        page = desk.page()
        assert (page["dead_jobs"], page["count"]) == ([], 3)
        (row,) = page["held"]
        assert (row["cause"], row["count"], row["goes_on_by_itself"]) == ("scope", 3, True)
        assert row["what_to_do"].startswith("Install the app again")
        assert {row["id"] for row in desk.rows(cause="scope")} == {job.id for job in jobs}

    def test_a_reinstall_mends_a_missing_scope_and_all_go_on_by_themselves(self, desk: Desk) -> None:
        for _ in range(3):
            die(desk, status=403, body=FORBIDDEN)
        (row,) = desk.rows(cause="scope", limit="1")
        assert row["goes_on_by_itself"]
        reinstall(desk)
        work_until_quiet(desk)
        assert len(desk.world.events()) == 3
        assert (desk.page()["count"], desk.page()["held"]) == (0, [])

    def test_one_is_tried_every_hour_and_when_it_succeeds_the_others_follow(self, desk: Desk) -> None:
        plan = {"errors": [{"code": "permission_denied", "detail": "Your plan lacks it."}]}
        for _ in range(3):
            die(desk, status=403, body=plan)
        assert desk.page()["held"][0]["cause"] == "plan"
        for _ in range(2):
            desk.world.sandbox.klaviyo.fail(1, match=EVENTS, status=403, body=plan)
            desk.world.clock.advance(HOUR)
            sweep(desk)
        assert (desk.world.events(), desk.page()["held"][0]["count"]) == ([], 3)
        sweep(desk)  # within the hour nothing is tried
        assert desk.world.events() == []
        desk.world.clock.advance(HOUR)
        sweep(desk)
        work_until_quiet(desk)
        assert len(desk.world.events()) == 3
        assert desk.page()["count"] == 0

    def test_a_cause_that_holds_nothing_any_more_is_forgotten(self, desk: Desk) -> None:
        job = die(desk, status=403, body=FORBIDDEN)
        desk.replay(job.id)
        work_until_quiet(desk)
        desk.world.clock.advance(HOUR)
        sweep(desk)
        services = desk.world.services
        assert DeadJobStore.of(services).causes.held(TENANT) == []


def sweep(desk: Desk) -> None:
    """Let the schedule's every-five-minutes job run."""
    from shared.jobs.jobs import EveryTenant
    from shared.worker.schedule import every_tenant

    every_tenant(EveryTenant(run="sweep-outbox", accepted_at=desk.world.clock()), desk.world.services)
    desk.world.work()


def reinstall(desk: Desk) -> None:
    from shared.jobs.replays import Replaying
    from shared.jobs.rules.causes import MENDED_BY_INSTALL

    tenant = desk.world.install()
    for cause in MENDED_BY_INSTALL:
        Replaying.of(desk.world.services).begin_held(tenant, cause)
