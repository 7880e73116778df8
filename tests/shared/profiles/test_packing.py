"""The lane of syncs, at the wire: while Klaviyo takes no more they wait in the store, and live events and opt-outs pass them."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.direction import Direction
from shared.jobs.jobs import PackEvents, PackSyncs, SendMetric, SweepOutbox, SyncProfile, read_job
from shared.klaviyo.limits import Endpoint, Limit
from shared.metrics.packing import pack_events
from shared.profiles.backlog import SyncBacklog
from shared.profiles.packing import LEASE, SHARE, SWEPT_AFTER, lease_name, may_wait, pack_syncs, sweep_backlog
from shared.receipts import Receipts
from shared.services import Services
from tests.support.mortal import Fate, KilledError, mortal_services
from tests.support.syncing import IMPORT, UNSUBSCRIBE, Shop
from tests.support.world import ACCOUNT, EMAIL, TENANT

A_WINDOW = int(SHARE * Endpoint.PROFILE_IMPORT.limit.a_minute / 6)


def settled(shop: Shop, count: int = 1, **fields: Any) -> list[str]:
    """Make customers whom Klaviyo has, and return their ids."""
    ids = [
        shop.customer(email=f"canary-{n}@example.org", comms={"email_promo": True}, **fields)
        for n in range(count)
    ]
    shop.settle()
    return ids


def rest(shop: Shop, seconds: float = 60, endpoint: Endpoint = Endpoint.PROFILE_IMPORT) -> None:
    shop.world.services.rests.rest(TENANT, endpoint, shop.world.clock() + timedelta(seconds=seconds))


def waiting(shop: Shop) -> list[SyncProfile]:
    found = [read_job(sync.body) for sync in SyncBacklog.of(shop.world.services).first(TENANT, 1000)]
    return [job for job in found if isinstance(job, SyncProfile)]


def in_the_queue(shop: Shop, kind: type) -> list[Any]:
    jobs = map(read_job, shop.world.queued(Direction.OUTBOUND))
    return [job for job in jobs if isinstance(job, kind)]


def consent_of(shop: Shop, id: str) -> str | None:
    found = next(p for p in shop.klaviyo.profiles(ACCOUNT) if p.attributes["external_id"] == id)
    return found.subscriptions.consents["email"].status


def names(shop: Shop) -> set[str]:
    return {str(profile.attributes.get("first_name")) for profile in shop.klaviyo.profiles(ACCOUNT)}


def test_a_change_waits_in_the_store_while_imports_rest_and_arrives_after_it(shop: Shop) -> None:
    (id,) = settled(shop)
    rest(shop)
    before = len(shop.klaviyo_calls())
    shop.change(id, first_name="Canary")
    shop.sync()
    assert [job.profile_id for job in waiting(shop)] == [id]
    assert in_the_queue(shop, SyncProfile) == []
    assert len(shop.klaviyo_calls()) == before
    for _ in range(6):
        shop.world.work(15)
    assert waiting(shop) == []
    assert names(shop) == {"Canary"}
    assert shop.world.dead_jobs() == []


def test_many_changes_of_a_profile_are_one_sync_as_old_as_the_first(shop: Shop) -> None:
    (id,) = settled(shop)
    rest(shop, 300)
    began = shop.world.clock()
    for number in range(4):
        shop.change(id, first_name=f"Canary {number}")
        shop.world.work(15)
    (job,) = waiting(shop)
    assert job.accepted_at == began
    before = len(shop.klaviyo_calls(IMPORT))
    for _ in range(22):
        shop.world.work(15)
    assert names(shop) == {"Canary 3"}
    assert len(shop.klaviyo_calls(IMPORT)) == before + 1


def test_omneo_is_asked_twice_however_often_a_sync_has_to_wait(shop: Shop) -> None:
    (id,) = settled(shop)
    rest(shop)
    shop.omneo.calls.clear()
    shop.change(id, first_name="Canary")
    shop.sync()
    for _ in range(3):
        give_back_and_rest(shop)
        assert [job.profile_id for job in waiting(shop)] == [id]
    for _ in range(6):
        shop.world.work(15)
    assert names(shop) == {"Canary"}
    assert [call.path for call in shop.omneo.calls.all()] == [f"/{TENANT}/api/v3/profiles/{id}"] * 2


def give_back_and_rest(shop: Shop) -> None:
    """Let the packer give back what waits, and Klaviyo take no more before it has its turn."""
    shop.world.clock.advance(120)
    pack_syncs(
        PackSyncs(tenant=TENANT, accepted_at=shop.world.clock()), shop.world.read(), shop.world.services
    )
    assert waiting(shop) == []
    rest(shop)
    shop.world.work()


class TestOptOuts:
    """What brings an opt-out never stands behind syncs that wait."""

    def test_an_opt_out_goes_as_soon_as_the_rest_is_over_whoever_waits(self, shop: Shop) -> None:
        ids = settled(shop, 4)
        rest(shop)
        for id in ids[1:]:
            shop.change(id, first_name="Canary")
        shop.sync()
        shop.change(ids[0], comms={"email_promo": False})
        shop.sync()
        assert len(waiting(shop)) == 3
        (urgent,) = in_the_queue(shop, SyncProfile)
        assert urgent.profile_id == ids[0]
        shop.world.work(32)
        first = next(p for p in shop.klaviyo.profiles(ACCOUNT) if p.attributes["external_id"] == ids[0])
        assert first.subscriptions.consents["email"].status == "UNSUBSCRIBED"

    def test_an_opt_out_does_not_even_wait_for_the_end_of_the_rest(self, shop: Shop) -> None:
        (id,) = settled(shop)
        rest(shop)
        imports = len(shop.klaviyo_calls(IMPORT))
        shop.change(id, comms={"email_promo": False}, first_name="Canary")
        shop.sync()
        shop.world.work(5)
        assert consent_of(shop, id) == "UNSUBSCRIBED"
        assert len(shop.klaviyo_calls(IMPORT)) == imports
        shop.world.work(60)
        shop.settle()
        assert len(shop.klaviyo_calls(UNSUBSCRIBE)) == 1
        assert names(shop) == {"Canary"}

    def test_an_opt_out_does_not_wait_where_its_own_import_is_the_first_to_be_refused(
        self, shop: Shop
    ) -> None:
        (id,) = settled(shop)
        shop.klaviyo.fail(1, match=f"POST {IMPORT}", status=429, headers={"Retry-After": "60"})
        shop.change(id, comms={"email_promo": False}, first_name="Canary")
        shop.sync()
        shop.world.work(5)
        assert consent_of(shop, id) == "UNSUBSCRIBED"
        shop.world.work(60)
        shop.settle()
        assert len(shop.klaviyo_calls(UNSUBSCRIBE)) == 1
        assert names(shop) == {"Canary"}

    @pytest.mark.parametrize("status", [429, 503, 400])
    def test_an_opt_out_that_klaviyo_does_not_take_meanwhile_is_left_to_the_sync(
        self, shop: Shop, status: int
    ) -> None:
        (id,) = settled(shop)
        rest(shop)
        shop.klaviyo.fail(1, match=f"POST {UNSUBSCRIBE}", status=status)
        shop.change(id, comms={"email_promo": False})
        shop.sync()
        assert [job.attempts for job in in_the_queue(shop, SyncProfile)] == [0]
        shop.world.work(61)
        shop.settle()
        assert shop.world.dead_jobs() == []
        assert consent_of(shop, id) == "UNSUBSCRIBED"

    def test_an_opt_in_waits_with_its_profile(self, shop: Shop) -> None:
        (id,) = settled(shop)
        rest(shop)
        now = shop.world.clock()
        shop.change(id, comms={"email_promo": True, "sms_promo": True})
        before = len(shop.klaviyo.calls.all())
        job = SyncProfile(tenant=TENANT, id="s1", accepted_at=now, profile_id=id, until=now, may_wait=False)
        shop.world.services.queue.put(job, shop.world.read())
        shop.world.work()
        made = [call.method for call in shop.klaviyo.calls.all()[before:]]
        assert set(made) <= {"GET"}

    def test_an_opt_out_that_was_dealt_with_does_not_make_the_next_change_urgent(self, shop: Shop) -> None:
        (id,) = settled(shop)
        shop.change(id, comms={"email_promo": False})
        shop.settle()
        rest(shop)
        shop.change(id, first_name="Canary")
        shop.sync()
        assert [job.profile_id for job in waiting(shop)] == [id]

    def test_a_sync_of_which_omneo_cannot_tell_now_waits_for_omneo(self, shop: Shop) -> None:
        (id,) = settled(shop)
        rest(shop)
        shop.change(id, first_name="Canary")
        shop.omneo.fail(1, match=f"GET *profiles/{id}*", status=503)
        shop.sync()
        assert waiting(shop) == []
        assert [job.profile_id for job in in_the_queue(shop, SyncProfile)] == [id]

    def test_syncs_that_omneo_cannot_tell_of_take_no_turn_before_an_opt_out(self, shop: Shop) -> None:
        ids = settled(shop, 16)
        shop.world.services.rests.learn(TENANT, Endpoint.PROFILE_IMPORT, Limit(1, 15))
        rest(shop, 60)
        shop.omneo.fail(15, match="GET *profiles/*", status=503)
        for id in ids[1:]:
            shop.change(id, first_name="Canary")
        shop.sync()
        shop.change(ids[0], comms={"email_promo": False})
        shop.sync()
        shop.world.work(32)
        first = next(p for p in shop.klaviyo.profiles(ACCOUNT) if p.attributes["external_id"] == ids[0])
        assert first.subscriptions.consents["email"].status == "UNSUBSCRIBED"

    def test_a_sync_for_an_opt_outs_sake_does_not_wait(self, shop: Shop) -> None:
        (id,) = settled(shop)
        rest(shop)
        now = shop.world.clock()
        job = SyncProfile(tenant=TENANT, id="s1", accepted_at=now, profile_id=id, until=now, may_wait=False)
        shop.world.services.queue.put(job, shop.world.read())
        shop.world.work()
        assert waiting(shop) == []
        assert len(in_the_queue(shop, SyncProfile)) == 1


def test_an_event_that_comes_while_hundreds_of_syncs_wait_is_sent_at_once(shop: Shop) -> None:
    backlog, now = SyncBacklog.of(shop.world.services), shop.world.clock()
    for n in range(3 * A_WINDOW):
        backlog.add(
            TENANT,
            SyncProfile(tenant=TENANT, id=f"s{n}", accepted_at=now, profile_id=f"gone-{n}", until=now),
        )
    pack_syncs(PackSyncs(tenant=TENANT, accepted_at=now), shop.world.read(), shop.world.services)
    assert len(in_the_queue(shop, SyncProfile)) == A_WINDOW
    event = {
        "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
        "unique_id": "e1",
        "time": now.isoformat(),
        "properties": {},
    }
    job = SendMetric.model_validate({"tenant": TENANT, "id": "e1", "accepted_at": now, "event": event})
    shop.world.services.queue.put(job, shop.world.read())
    shop.world.work(1)
    assert [event.metric for event in shop.klaviyo.events(ACCOUNT)] == ["Reward Issued"]
    assert len(in_the_queue(shop, SyncProfile)) > A_WINDOW / 2


class TestPacker:
    """How fast, one at a time, and whatever happens to it."""

    def fill(self, shop: Shop, count: int) -> None:
        now = shop.world.clock()
        for n in range(count):
            job = SyncProfile(
                tenant=TENANT, id=f"s{n}", accepted_at=now, profile_id=f"gone-{n:04}", until=now
            )
            SyncBacklog.of(shop.world.services).add(TENANT, job)

    def pack(self, shop: Shop, services: Services | None = None) -> None:
        job = PackSyncs(tenant=TENANT, accepted_at=shop.world.clock())
        pack_syncs(job, shop.world.read(), services or shop.world.services)

    def test_two_runs_at_one_moment_give_back_no_more_than_one(self, shop: Shop) -> None:
        self.fill(shop, 2 * A_WINDOW)
        self.pack(shop)
        self.pack(shop)
        assert len(in_the_queue(shop, SyncProfile)) == A_WINDOW
        assert len(in_the_queue(shop, PackSyncs)) == 1

    def test_a_run_beside_another_leaves_it_the_work(self, shop: Shop) -> None:
        self.fill(shop, 1)
        services = shop.world.services
        assert services.leases.acquire(lease_name(TENANT), lasting=timedelta(minutes=5))
        self.pack(shop)
        assert len(waiting(shop)) == 1
        assert len(in_the_queue(shop, PackSyncs)) == 1

    def test_a_run_that_takes_longer_than_its_lease_leaves_the_rest_to_another(self, shop: Shop) -> None:
        self.fill(shop, A_WINDOW)
        clock, services = shop.world.clock, shop.world.services
        queue, taken = services.queue, []

        class Slow:
            def __getattr__(self, name: str) -> Any:
                if name == "put_back":
                    clock.advance(LEASE.total_seconds() / 10)
                    taken.append(services.leases.acquire(lease_name(TENANT), lasting=LEASE))
                return getattr(queue, name)

        slow = mortal_services(services, Fate(-1, kills=False))
        vars(slow)["queue"] = Slow()
        self.pack(shop, slow)
        assert taken.count(None) < len(taken) < A_WINDOW
        assert len(waiting(shop)) == A_WINDOW - len(taken)
        assert len(in_the_queue(shop, PackSyncs)) == 1

    def test_the_packer_of_one_tenants_events_holds_up_no_other_tenants_syncs(self, shop: Shop) -> None:
        syncs, events = (shop.world.tenant(name) for name in ("syncs", "events"))
        services, now = shop.world.services, shop.world.clock()
        sync = SyncProfile(tenant=events.name, id="s", accepted_at=now, profile_id="gone", until=now)
        SyncBacklog.of(services).add(events.name, sync)

        def meanwhile() -> Callable[[SendMetric], bool]:
            pack_syncs(PackSyncs(tenant=events.name, accepted_at=now), events, services)
            return lambda _job: False

        pack_events(PackEvents(tenant=syncs.name, accepted_at=now), syncs, services, dropping=meanwhile)
        assert SyncBacklog.of(services).count(events.name) == 0

    def test_they_are_given_back_a_window_after_the_other_until_none_waits(self, shop: Shop) -> None:
        self.fill(shop, 2 * A_WINDOW + 1)
        self.pack(shop)
        left = []
        for _ in range(20):
            left.append(len(waiting(shop)))
            shop.world.work(2)
        assert list(dict.fromkeys(left)) == [A_WINDOW + 1, 1, 0]
        assert left.count(1) == 5  # ten seconds after ten seconds
        assert in_the_queue(shop, PackSyncs) == []

    def test_while_klaviyo_takes_none_nothing_is_given_back(self, shop: Shop) -> None:
        self.fill(shop, 3)
        rest(shop, 60, Endpoint.READ_PROFILES)
        self.pack(shop)
        assert in_the_queue(shop, SyncProfile) == []
        assert len(in_the_queue(shop, PackSyncs)) == 1

    @pytest.mark.parametrize("kills", [True, False])
    def test_wherever_it_dies_each_sync_is_given_back(self, shop: Shop, kills: bool) -> None:
        world = shop.world

        for at in range(60):
            world.services.queue.purge(world.read(), Direction.OUTBOUND)
            world.clock.advance(400)
            self.fill(shop, 3)
            fate = Fate(at, kills=kills)
            with contextlib.suppress(KilledError):
                self.pack(shop, mortal_services(world.services, fate))
            if not fate.struck:
                break
            world.clock.advance(400)  # its lease has run out, and the queue delivers again
            self.pack(shop)
            given_back = {job.profile_id for job in in_the_queue(shop, SyncProfile)}
            assert given_back == {f"gone-{n:04}" for n in range(3)}
            assert waiting(shop) == []
        assert not fate.struck

    def test_a_packer_that_was_lost_is_made_up_for(self, shop: Shop) -> None:
        self.fill(shop, 1)
        sweep = SweepOutbox(tenant=TENANT, accepted_at=shop.world.clock())
        sweep_backlog(sweep, shop.world.read(), shop.world.services)
        assert in_the_queue(shop, PackSyncs) == []
        shop.world.clock.advance(SWEPT_AFTER.total_seconds())
        sweep_backlog(sweep, shop.world.read(), shop.world.services)
        assert len(in_the_queue(shop, PackSyncs)) == 1


def test_a_receipt_says_that_it_waits_and_why_and_later_that_it_is_done(shop: Shop) -> None:
    (id,) = settled(shop)
    rest(shop)
    shop.change(id, first_name="Canary")
    shop.sync()
    (job,) = waiting(shop)
    receipt = Receipts.of(shop.world.services).find(TENANT, job.id)
    assert receipt is not None
    assert (receipt.state, receipt.attempts) == ("waiting", 1)
    assert "takes no more profiles" in receipt.why
    assert receipt.next_try_at is not None
    for _ in range(6):
        shop.world.work(15)
    receipt = Receipts.of(shop.world.services).find(TENANT, job.id)
    assert receipt is not None
    assert receipt.state == "done"


def test_a_sync_that_waits_a_day_is_dead_with_the_reason(shop: Shop) -> None:
    (id,) = settled(shop)
    shop.change(id, first_name="Canary")
    for _ in range(25):
        rest(shop, 3600)
        shop.world.work(3599)
    (dead,) = shop.world.dead_jobs()
    assert "takes no more profiles" in dead.reason
    assert waiting(shop) == []


def test_a_replay_does_not_wait_behind_others(shop: Shop) -> None:
    (id,) = settled(shop)
    now = shop.world.clock()
    job = SyncProfile(tenant=TENANT, id="s1", accepted_at=now, profile_id=id, until=now)
    assert may_wait(job, shop.world.read(), shop.world.services)
    replayed = job.replayed(word="w1", dead_id="s1", at=now)
    assert not may_wait(replayed, shop.world.read(), shop.world.services)


def test_an_expired_token_that_cannot_be_renewed_lets_syncs_wait_there_too(shop: Shop) -> None:
    (id,) = settled(shop)
    shop.change(id, first_name="Canary")
    shop.world.clock.advance(3600)
    rest(shop, 60, Endpoint.TOKEN)
    shop.sync()
    assert [job.profile_id for job in waiting(shop)] == [id]
