"""What a tenant's own address is told: signed, once for a cause and an hour, tried again through the queue, and never at a private address."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.admin.settings import change_settings, read_settings
from shared.audit import Act, Audit
from shared.consent.heal import start_heal
from shared.direction import Direction
from shared.errors import ConflictError, InvalidPayloadError, WaitError
from shared.http.outward import AddressRefusedError, Outward
from shared.installation.provision import start_provision
from shared.installation.uninstall import uninstall
from shared.jobs.jobs import Delivery, EveryTenant, Notify, SendMetric, write_job
from shared.jobs.replays import Replaying
from shared.jobs.rules.patience import POISON_RETRIES
from shared.notify.secret import new_notify_secret
from shared.notify.telling import Cause, tell
from shared.resync.orders import Order, begin, change_state
from shared.resync.rules.run import Kind, State
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import Traffic
from shared.worker.delivery import deliver
from shared.worker.schedule import every_tenant
from shared.worker.telling import tell_of_traffic
from tests.shared.notify.receiver import HOST, Receiver, Script, receiving
from tests.support.desk import Desk
from tests.support.events import attributes
from tests.support.merchant import settle
from tests.support.recording import Shelf
from tests.support.world import ACCOUNT, TENANT, World


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Run a receiver."""
    with receiving(tmp_path) as running:
        yield running


class Names:
    """What names lead to, as long as a test says nothing else."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self.public = {"127.0.0.1"}
        self.are_known = True

    def __call__(self, host: str, port: int) -> list[str]:
        if not self.are_known:
            raise OSError
        return [self.address]


@pytest.fixture
def names() -> Names:
    """Return the names, under which loopback passes for public."""
    return Names()


@pytest.fixture
def told(world: World, receiver: Receiver, names: Names) -> World:
    """Return a world whose tenant has named the receiver; its secret is in the tenant."""
    world.live()
    world.tenant()
    outward = Outward(resolve=names, is_public=lambda ip: ip in names.public, ca_file=receiver.ca_file)
    world.services.kept(Outward, lambda: outward)
    new_notify_secret(world.services.tenants, TENANT, world.clock())
    change_settings(TENANT, {"notify_url": receiver.url}, world.services)
    world.services.tenant_cache.fresh(TENANT)
    return world


def secrets_of(world: World) -> list[str]:
    return [secret.value.get_secret_value() for secret in world.read().notify_secrets]


def messages(receiver: Receiver) -> list[Any]:
    """Return the bodies of what was told."""
    return [json.loads(body) for _, _, body in receiver.told]


class TestOneMessage:
    def test_it_is_signed_as_standard_webhooks_says(self, told: World, receiver: Receiver) -> None:
        tell(told.read(), Cause.JOBS_DIED, told.services, kind="send-metric")
        told.work(1)
        ((path, headers, body),) = receiver.told
        (secret,) = secrets_of(told)
        assert secret.startswith("whsec_")
        assert Webhook(secret).verify(body, headers) == json.loads(body)
        assert path == "/hook?a=b"
        assert headers["Host"] == f"{HOST}:{receiver.port}"
        said = json.loads(body)
        assert said["type"] == "jobs.died"
        assert datetime.fromisoformat(said["timestamp"]).tzinfo == UTC
        assert said["data"] == {"tenant": TENANT, "kind": "send-metric"}

    def test_another_secret_does_not_open_it(self, told: World, receiver: Receiver) -> None:
        tell(told.read(), Cause.JOBS_DIED, told.services)
        told.work(1)
        ((_, headers, body),) = receiver.told
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "Y2FuYXJ5" * 4).verify(body, headers)

    def test_while_one_secret_replaces_another_both_open_it(self, told: World, receiver: Receiver) -> None:
        (old,) = secrets_of(told)
        new = new_notify_secret(told.services.tenants, TENANT, told.clock())
        told.services.tenant_cache.fresh(TENANT)
        tell(told.read(), Cause.JOBS_DIED, told.services)
        told.work(1)
        ((_, headers, body),) = receiver.told
        for secret in (old, new):
            Webhook(secret).verify(body, headers)
        newest = new_notify_secret(told.services.tenants, TENANT, told.clock())
        assert secrets_of(told) == [newest, new]

    def test_one_goes_out_for_a_cause_and_an_hour(self, told: World, receiver: Receiver) -> None:
        told.clock.now = told.clock.now.replace(minute=10)
        for _ in range(3):
            for cause, key in ((Cause.JOBS_DIED, "a"), (Cause.JOBS_DIED, "b"), (Cause.RUN_ENDED, "a")):
                tell(told.read(), cause, told.services, key=key)
            told.work(1)
        assert len(receiver.told) == 3
        told.clock.advance(3600)
        tell(told.read(), Cause.JOBS_DIED, told.services, key="a")
        told.work(1)
        assert len(receiver.told) == 4

    def test_what_is_not_taken_comes_again_with_the_same_id(self, told: World, receiver: Receiver) -> None:
        receiver.answers = [500, 429]
        tell(told.read(), Cause.JOBS_DIED, told.services)
        for _ in range(8):
            told.work(60)
        assert len(receiver.told) == 3
        assert len({headers["webhook-id"] for _, headers, _ in receiver.told}) == 1
        assert told.dead_jobs() == []

    @pytest.mark.parametrize(("status", "says"), [(302, "redirect"), (307, "redirect"), (410, "no more")])
    def test_a_redirect_is_not_followed_and_a_farewell_is_heard(
        self, told: World, receiver: Receiver, status: int, says: str
    ) -> None:
        receiver.answers = [status]
        tell(told.read(), Cause.JOBS_DIED, told.services)
        for _ in range(3):
            told.work(60)
        assert len(receiver.told) == 1  # nor is anybody told that telling failed
        (dead,) = told.dead_jobs()
        assert says in dead.reason

    def test_a_message_that_was_replayed_is_told_and_that_it_was_is_not(
        self, told: World, receiver: Receiver
    ) -> None:
        receiver.answers = [302]
        tell(told.read(), Cause.JOBS_DIED, told.services, kind="heal")
        told.work(1)
        (dead,) = told.dead_jobs()
        Replaying.of(told.services).one(told.read(), dead)
        for _ in range(3):
            told.work(1)
        assert [message["type"] for message in messages(receiver)] == ["jobs.died"] * 2
        assert told.dead_jobs() == []

    def test_a_host_that_cannot_prove_its_name_is_told_nothing(self, told: World, receiver: Receiver) -> None:
        url = receiver.url.replace(HOST, "other.example.org")
        change_settings(TENANT, {"notify_url": url}, told.services)
        told.services.tenant_cache.fresh(TENANT)
        tell(told.read(), Cause.JOBS_DIED, told.services)
        told.work(1)
        assert receiver.told == []
        assert told.services.queue.state(told.read(), Direction.INBOUND).depth == 1

    def test_a_tenant_without_an_address_costs_nothing(self, world: World) -> None:
        tenant = world.tenant()
        tell(tenant, Cause.JOBS_DIED, world.services)
        assert world.queued(Direction.INBOUND) == []

    def test_an_address_that_was_taken_back_is_told_nothing(self, told: World, receiver: Receiver) -> None:
        tell(told.read(), Cause.JOBS_DIED, told.services)
        change_settings(TENANT, {"notify_url": None}, told.services)
        told.services.tenant_cache.fresh(TENANT)
        told.work(1)
        assert receiver.told == []
        assert told.dead_jobs() == []


def silence(write: Callable[[bytes], object]) -> None:
    time.sleep(60)


def dripping_headers(write: Callable[[bytes], object]) -> None:
    write(b"HTTP/1.1 204 No Content\r\nX-Long: ")
    for _ in range(600):
        write(b"a")
        time.sleep(0.1)


def endless_continue(write: Callable[[bytes], object]) -> None:
    for _ in range(600):
        write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


def garbage(write: Callable[[bytes], object]) -> None:
    write(b"\x00\xff canary\r\n\r\n")


def nothing(write: Callable[[bytes], object]) -> None:
    """Hang up."""


class TestBadReceivers:
    @pytest.mark.parametrize("answer", [silence, dripping_headers, endless_continue, garbage, nothing])
    def test_one_that_does_not_answer_is_given_up_in_time_and_told_again(
        self, told: World, receiver: Receiver, answer: Script
    ) -> None:
        patient = told.services.kept(Outward, Outward)
        outward = replace(patient, seconds=0.5)
        receiver.answers = [answer]
        began = time.monotonic()
        with pytest.raises(WaitError, match="did not answer"):
            outward.post(receiver.url, b"{}", {})
        assert time.monotonic() - began < 30  # they would keep us waiting for a minute
        assert patient.post(receiver.url, b"{}", {}) == 204

    def test_a_name_that_is_not_known_at_the_time_of_the_call_is_called_later(
        self, told: World, receiver: Receiver, names: Names
    ) -> None:
        tell(told.read(), Cause.JOBS_DIED, told.services)
        names.are_known = False
        told.work(1)
        assert receiver.told == []
        assert told.dead_jobs() == []
        names.are_known = True
        for _ in range(3):
            told.work(60)
        assert len(receiver.told) == 1

    def test_a_job_that_runs_twice_at_once_tells_one_message(self, told: World, receiver: Receiver) -> None:
        now = told.clock()
        job = Notify(tenant=TENANT, id="n1", accepted_at=now, cause=Cause.JOBS_DIED.value, about={})
        task = Delivery(Direction.INBOUND, write_job(job), "q", "t", TENANT, 0)
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda _: deliver(task, told.services), range(2)))
        assert len(receiver.told) == 2
        assert {headers["webhook-id"] for _, headers, _ in receiver.told} == {"n1"}
        assert len({body for _, _, body in receiver.told}) == 1
        assert told.dead_jobs() == []


class TestWhoMayBeCalled:
    @pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example.org", "a\0b", "\u3042" * 64])
    def test_a_name_that_no_host_can_have_is_refused(self, world: World, host: str) -> None:
        world.tenant()
        new_notify_secret(world.services.tenants, TENANT, world.clock())
        with pytest.raises(InvalidPayloadError, match=r"^notify_url: "):
            change_settings(TENANT, {"notify_url": f"https://{host}/"}, world.services)
        assert world.read().settings.notify_url is None

    def test_a_name_in_other_letters_is_called_by_its_name_on_the_wire(
        self, told: World, receiver: Receiver
    ) -> None:
        outward = told.services.kept(Outward, Outward)
        looked_up = []

        def resolve(host: str, port: int) -> list[str]:
            looked_up.append(host)
            raise OSError

        with pytest.raises(WaitError, match="no address"):
            replace(outward, resolve=resolve).post("https://\u4f8b\u3048.example/hook", b"{}", {})
        assert looked_up == ["xn--r8jz45g.example"]

    @pytest.mark.parametrize(
        "host",
        [
            *(
                "127.0.0.1",
                "localhost",
                "10.1.2.3",
                "172.16.0.1",
                "192.168.1.1",
                "169.254.169.254",
                "0.0.0.0",  # noqa: S104 - nothing is bound to it
            ),
            *("100.64.0.1", "224.0.0.1", "2130706433", "0x7f.1", "017700000001"),
        ],
    )
    def test_a_private_address_is_refused_in_whatever_spelling(self, world: World, host: str) -> None:
        world.tenant()
        new_notify_secret(world.services.tenants, TENANT, world.clock())
        before = world.read()
        with pytest.raises(
            InvalidPayloadError, match=r"^notify_url: must lead to public addresses"
        ) as caught:
            change_settings(TENANT, {"notify_url": f"https://{host}/hook"}, world.services)
        assert host not in str(caught.value)
        assert world.read() == before

    def test_what_was_read_may_be_sent_back_while_the_address_leads_nowhere(
        self, told: World, names: Names
    ) -> None:
        before = told.read()
        names.public = set()
        change_settings(TENANT, read_settings(before, told.services), told.services)
        assert told.read() == before
        with pytest.raises(InvalidPayloadError, match=r"^notify_url: "):
            change_settings(TENANT, {"notify_url": f"{before.settings.notify_url}/new"}, told.services)

    def test_a_name_that_leads_nowhere_is_refused(self, world: World) -> None:
        def nowhere(host: str, port: int) -> list[str]:
            raise OSError

        with pytest.raises(AddressRefusedError, match="no address"):
            Outward(resolve=nowhere).check("https://example.com")

    @pytest.mark.parametrize(
        "address",
        [
            *("::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
            *("::127.0.0.1", "fec0::1", "5f00::1", "4000::1"),
        ],
    )
    def test_one_private_address_among_public_ones_is_enough(self, address: str) -> None:
        with pytest.raises(AddressRefusedError, match="public"):
            Outward(resolve=lambda host, port: ["1.1.1.1", address]).check("https://example.com")

    @pytest.mark.parametrize(
        "url", ["http://example.com", "https://jane@example.com", "https://example.com:99999", "https:///x"]
    )
    def test_other_schemes_and_names_in_front_are_refused(self, url: str) -> None:
        with pytest.raises(AddressRefusedError):
            Outward(resolve=lambda host, port: ["1.1.1.1"]).check(url)

    def test_a_name_that_leads_to_a_private_address_by_the_time_of_the_call_is_not_called(
        self, told: World, receiver: Receiver, names: Names
    ) -> None:
        tell(told.read(), Cause.JOBS_DIED, told.services)
        names.public = set()
        told.work(1)
        assert receiver.told == []
        (dead,) = told.dead_jobs()
        assert "public" in dead.reason
        assert HOST not in dead.reason

    def test_without_a_secret_no_address_is_taken(self, world: World) -> None:
        world.tenant()
        with pytest.raises(ConflictError, match="make a secret first"):
            change_settings(TENANT, {"notify_url": "https://1.1.1.1/"}, world.services)

    def test_the_secret_is_shown_once(self, told: World) -> None:
        shown = json.dumps(read_settings(told.read(), told.services))
        assert all(secret not in shown for secret in secrets_of(told))


class TestWhatIsTold:
    def test_that_the_account_is_disconnected_and_that_it_is_back(
        self, told: World, receiver: Receiver
    ) -> None:
        told.disconnect()
        told.services.tenant_cache.fresh(TENANT)
        event = attributes()
        told.services.queue.put(SendMetric(tenant=TENANT, accepted_at=told.clock(), event=event), told.read())
        told.work(1)
        told.work(1)
        assert [one["type"] for one in messages(receiver)] == ["account.disconnected"]
        told.install()
        told.services.tenant_cache.fresh(TENANT)
        start_provision(told.read(), told.services)
        settle(told, 15)
        (message,) = [one for one in messages(receiver) if one["type"] == "account.connected"]
        assert message["data"]["tenant"] == TENANT

    def test_that_the_account_is_disconnected_by_the_very_job_that_finds_it_out(
        self, told: World, receiver: Receiver
    ) -> None:
        told.sandbox.klaviyo.uninstall(ACCOUNT)
        event = attributes()
        told.services.queue.put(SendMetric(tenant=TENANT, accepted_at=told.clock(), event=event), told.read())
        told.work(1)
        assert told.services.queue.state(told.read(), Direction.OUTBOUND).paused is True
        told.work(1)
        (message,) = messages(receiver)
        assert message["type"] == "account.disconnected"
        assert message["data"] == {"tenant": TENANT, "reason": "invalid_grant"}

    def test_that_the_account_is_back_once_though_its_set_up_runs_again_within_the_hour(
        self, told: World, receiver: Receiver
    ) -> None:
        told.clock.advance(50 * 60)
        told.install()
        for _ in range(2):
            told.services.tenant_cache.fresh(TENANT)
            start_provision(told.read(), told.services)
            settle(told, 15)
            told.clock.advance(20 * 60)  # into the next hour
        assert [one["type"] for one in messages(receiver)] == ["account.connected"]

    def test_that_jobs_die_and_why(self, told: World, receiver: Receiver) -> None:
        settings = told.read().settings.model_copy(update={"master_list_id": "Y6nRLr"})
        told.services.tenants.change(TENANT, lambda t: t.model_copy(update={"klaviyo": None}))
        told.services.tenants.change(TENANT, lambda t: t.model_copy(update={"settings": settings}))
        told.services.tenant_cache.fresh(TENANT)
        event = attributes()
        told.services.queue.put(SendMetric(tenant=TENANT, accepted_at=told.clock(), event=event), told.read())
        told.work(1)
        told.work(1)
        (dead,) = told.dead_jobs()
        (message,) = messages(receiver)
        assert message["type"] == "jobs.died"
        assert message["data"] == {"tenant": TENANT, "kind": "send-metric", "reason": dead.reason}

    def test_that_a_job_which_had_died_is_done_after_all(self, told: World, receiver: Receiver) -> None:
        told.sandbox.klaviyo.fail(1, match="POST /api/events", status=400)
        event = attributes()
        job = SendMetric(tenant=TENANT, accepted_at=told.clock(), event=event)
        told.services.queue.put(job, told.read())
        told.work(1)
        (row,) = told.dead_jobs()
        replays = Replaying.of(told.services)
        dead = replays.desk.find(TENANT, row.id)
        assert dead is not None
        assert replays.one(told.read(), dead)
        told.work(1)
        told.work(1)
        assert told.dead_jobs() == []
        assert [one["type"] for one in messages(receiver)] == ["jobs.died", "jobs.mended"]

    def test_that_records_which_had_died_have_gone_after_all(self, told: World, receiver: Receiver) -> None:
        shelf = Shelf(told)
        told.sandbox.klaviyo.fail(1, match="POST /api/data-source-record-create-jobs", status=400)
        shelf.send(1)
        shelf.work_until_quiet()
        (row,) = Desk(told).rows()
        Desk(told).replay(row["id"])
        shelf.work_until_quiet()
        assert shelf.arrived() == [1]
        died, mended = messages(receiver)
        assert (died["type"], mended["type"]) == ("jobs.died", "jobs.mended")
        assert died["data"] == mended["data"]

    def test_that_calls_are_refused_and_how_many(self, told: World, receiver: Receiver) -> None:
        refused = Row("metric", What.REFUSED, reason="401, x-omneo-secret is wrong")
        for _ in range(2):
            Traffic.of(told.services).count(TENANT, refused, 6)
            told.clock.advance(20)
        told.clock.now = told.clock.now.replace(minute=7)
        tell_of_traffic(told.read(), told.services)
        told.work(1)
        assert messages(receiver) == []  # the sweep of the hour's beginning looks, and no other
        told.clock.now = told.clock.now.replace(minute=4) + timedelta(hours=1)
        tell_of_traffic(told.read(), told.services)
        told.work(1)
        (message,) = messages(receiver)
        assert message["type"] == "traffic.refused"
        assert message["data"]["target"] == "metric"
        assert "12 refused" in message["data"]["reason"]

    @pytest.mark.parametrize(
        "minute", [30, 2]
    )  # of an accepted call: at 2, the looks of two hours are near enough
    def test_that_a_target_has_fallen_silent_once_a_day_and_the_audit_shows_it(
        self, told: World, receiver: Receiver, minute: int
    ) -> None:
        told.clock.now = told.clock.now.replace(hour=9, minute=minute)
        counts = Traffic.of(told.services)
        for _ in range(4):
            counts.count(TENANT, Row("metric", What.ACCEPTED, metric="Seen"))
            told.clock.advance(24 * 3600)
        told.clock.advance(1800 - 24 * 3600)
        for _ in range(3 * 24 + 1):
            for look in (0, 4, 5):
                told.clock.now = told.clock.now.replace(minute=look, second=0)
                every_tenant(EveryTenant(accepted_at=told.clock(), run="sweep-inbox"), told.services)
                told.work(1)
            told.clock.now = told.clock.now.replace(minute=0) + timedelta(hours=1)
        first, second = receiver.told  # after 48 hours and after 72
        (secret,) = secrets_of(told)
        signed_at = datetime.fromtimestamp(int(first[1]["webhook-timestamp"]), UTC)  # not now, for `verify`
        assert (
            Webhook(secret).sign(first[1]["webhook-id"], signed_at, first[2])
            == (first[1]["webhook-signature"])
        )
        assert first[1]["webhook-id"] != second[1]["webhook-id"]
        assert [message["type"] for message in messages(receiver)] == ["traffic.silent"] * 2
        assert messages(receiver)[0]["data"] == {
            "tenant": TENANT,
            "target": "metric",
            "reason": "No call of metric accepted for 2 days.",
        }
        acts = [entry.about for entry in Audit.of(told.services).acts(TENANT) if entry.act == Act.TOLD]
        assert acts == ["traffic.silent"] * 2

    def test_that_the_worker_failed_on_a_job_too_often(self, told: World, receiver: Receiver) -> None:
        job = SendMetric(tenant=TENANT, accepted_at=told.clock(), event=attributes())
        poisoned = Delivery(Direction.OUTBOUND, write_job(job), "q", "t", TENANT, POISON_RETRIES)
        deliver(poisoned, told.services)
        told.work(1)
        (message,) = messages(receiver)
        assert (message["type"], message["data"]["kind"]) == ("jobs.died", "send-metric")
        assert [dead.id for dead in told.dead_jobs()] == [job.id]

    def test_what_is_counted_is_folded_before_it_is_read(self, told: World) -> None:
        told.clock.now = told.clock.now.replace(minute=1)
        traffic = Traffic.of(told.services)
        for _ in range(5):
            traffic.count(TENANT, Row("metric", What.ACCEPTED))
            told.clock.advance(3600)
        told.clock.now += timedelta(days=3)
        tell_of_traffic(told.read(), told.services)
        assert told.services.documents.count(f"tenants/{TENANT}/traffic") == 0
        assert told.services.documents.count(f"tenants/{TENANT}/traffic_days") > 0

    def test_that_a_run_is_done(self, told: World, receiver: Receiver) -> None:
        run = begin(told.read(), Kind.RECONCILE, Order(), told.services)
        for _ in range(20):
            told.work(60)
        (message,) = messages(receiver)
        assert message["type"] == "run.ended"
        assert message["data"] == {
            "tenant": TENANT,
            "run": run.id,
            "kind": "reconcile",
            "state": "done",
            "reason": "",
        }

    def test_that_a_run_has_failed_and_within_the_hour_that_it_is_done_after_all(
        self, told: World, receiver: Receiver
    ) -> None:
        told.clock.now = told.clock.now.replace(minute=0)
        run = begin(told.read(), Kind.RECONCILE, Order(), told.services)
        (body,) = told.queued(Direction.OUTBOUND)
        told.services.queue.purge(told.read(), Direction.OUTBOUND)
        deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, POISON_RETRIES), told.services)
        told.work(1)
        change_state(told.read(), run.id, State.RUNNING, told.services)
        for _ in range(20):
            told.work(60)
        ended = [message["data"] for message in messages(receiver) if message["type"] == "run.ended"]
        assert [(one["run"], one["kind"], one["state"]) for one in ended] == [
            (run.id, "reconcile", "failed"),
            (run.id, "reconcile", "done"),
        ]

    def test_that_a_run_was_cancelled(self, told: World, receiver: Receiver) -> None:
        run = begin(told.read(), Kind.RESYNC, Order(), told.services)
        change_state(told.read(), run.id, State.PAUSED, told.services)
        change_state(told.read(), run.id, State.CANCELLED, told.services)
        change_state(told.read(), run.id, State.CANCELLED, told.services)
        told.work(1)
        (message,) = messages(receiver)
        assert (message["type"], message["data"]["state"]) == ("run.ended", "cancelled")

    def test_that_a_run_ended_with_the_install(self, told: World, receiver: Receiver) -> None:
        begin(told.read(), Kind.RESYNC, Order(), told.services)
        uninstall(told.read(), told.services)
        told.work(1)
        (message,) = messages(receiver)
        assert (message["type"], message["data"]["state"]) == ("run.ended", "cancelled")

    def test_that_a_heal_is_over(self, told: World, receiver: Receiver) -> None:
        heal = start_heal(told.read(), told.services)
        for _ in range(6):
            told.work(5)
        (message,) = messages(receiver)
        assert message["type"] == "run.ended"
        assert message["data"] == {
            "tenant": TENANT,
            "run": heal.id,
            "kind": "heal",
            "state": "done",
            "reason": "",
        }

    def test_that_a_heal_has_failed(self, told: World, receiver: Receiver) -> None:
        told.sandbox.klaviyo.fail(1, match="GET /api/metrics", status=400)
        start_heal(told.read(), told.services)
        told.work(1)
        told.work(1)
        died, ended = sorted(messages(receiver), key=lambda message: str(message["type"]))
        assert (died["type"], died["data"]["kind"]) == ("jobs.died", "heal")
        assert (ended["type"], ended["data"]["state"]) == ("run.ended", "failed")
        assert ended["data"]["reason"] == died["data"]["reason"]
