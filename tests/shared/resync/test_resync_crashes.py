"""A run whose worker dies, or loses an answer, at every moment there is, and goes on: what stands at the end."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.consent.ledger import ConsentLedger
from shared.consent.memories import ConsentMemories
from shared.errors import WaitError
from shared.jobs.jobs import PullOptOut, Resync
from shared.profiles.synced import SyncedProfiles
from shared.resync.rules.run import Kind, State
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from tests.support.consenting import Inflow, ListedQueue
from tests.support.mortal import Fate, KilledError, watched_everywhere
from tests.support.resyncing import Whole, a_base, opt_in, opt_out
from tests.support.world import ACCOUNT, TENANT, World

LONG = 301  # a dead worker's lease has run out


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages be small, and everything happen in one order."""
    monkeypatch.setattr("shared.resync.rules.place.PAGE_SIZE", 4)
    monkeypatch.setattr("shared.resync.stretch.PAGES_COMPARED", 1)
    monkeypatch.setattr("shared.resync.rules.packing.MOST_PROFILES", 6)
    monkeypatch.setattr("shared.resync.stretch.THREADS", 1)


@pytest.fixture
def shop(world: World) -> Iterator[Whole]:
    with a_base(world) as shop:
        both = {**opt_in(shop, days=2), **opt_out(shop, "sms", days=2)}
        shop.base(2, comms=both, mobile_phone_e164="+614120{n:05}")
        shop.base(2, email="canary-o{n}@example.org", comms=opt_out(shop))
        shop.base(1, email="canary-x@example.com")
        shop.base(1, email="canary-undated@example.org", comms={"email_promo": True})
        shop.base(2, email="canary-left-{n}@example.org", comms=opt_in(shop, days=5))
        yield shop


def anew(shop: Whole) -> None:
    """Let there have been no run yet; two people have left in Klaviyo, and Omneo has not heard of it."""
    services, account = shop.world.services, shop.klaviyo._account(ACCOUNT)
    for store in (
        SyncedProfiles.of(services),
        Resyncs.of(services),
        ConsentMemories.of(services),
        ConsentLedger.of(services),
    ):
        store.forget(TENANT)
    for profile in shop.klaviyo.profiles(ACCOUNT):
        account.forget(account.profiles[profile.id])
    for number in range(2):
        held = shop.klaviyo.profile(ACCOUNT, email=f"canary-left-{number}@example.org")
        shop.klaviyo.unsubscribe(ACCOUNT, held.id)
    account.outbox.clear()
    shop.world.clock.advance(600)


def live(shop: Whole, run: Run, queue: ListedQueue, fate: Fate | None = None) -> None:
    """Do what the queue holds until the run is over. What dies stays in the queue."""
    # Only calls are lost; the store and the queue are there, or all of it has died.
    flow = Inflow.of(shop.world, fate if fate is not None and fate.kills else None, queue)
    if fate is not None:
        flow.services.__dict__["_connections"] = watched_everywhere(fate)
    for _ in range(100):
        jobs = [job for job in queue.jobs if isinstance(job, Resync)]
        if not jobs:
            return
        shop.world.clock.advance(10)
        try:
            flow.run(jobs[0])
        except WaitError:
            continue
        queue.jobs.remove(jobs[0])
    raise AssertionError("it never ends")


def state(shop: Whole, run: Run) -> Any:
    """Return what stands in Klaviyo, who was to be pulled, and what is told of the run."""
    profiles = sorted(
        (
            str(one.attributes.get("external_id") or one.attributes.get("email")),
            one.attributes,
            one.properties,
            {name: consent.status for name, consent in one.subscriptions.consents.items()},
        )
        for one in shop.klaviyo.profiles(ACCOUNT)
    )
    now = shop.now_of(run)
    told = {profile: sorted(what) for profile, what in shop.told(run).items()}
    return profiles, now.state, now.read, dict(now.counts), told


def begun(shop: Whole, queue: ListedQueue, kind: Kind = Kind.RESYNC) -> Run:
    """Begin a run whose jobs wait in the queue of the test."""
    from shared.resync.orders import Order, begin

    return begin(shop.world.read(), kind, Order(), Inflow.of(shop.world, None, queue).services)


@pytest.mark.parametrize("kills", [True, False], ids=["dies", "loses an answer"])
def test_whenever_it_happens_the_run_ends_as_if_nothing_had(shop: Whole, *, kills: bool) -> None:
    anew(shop)
    queue = ListedQueue()
    run = begun(shop, queue)
    live(shop, run, queue)
    wanted = state(shop, run)
    assert wanted[1:3] == (State.DONE, 8)
    assert wanted[3]["email: pull_opt_out (klaviyo_opt_out_newer)"] == 2
    assert wanted[3]["profiles imported"] == 7
    moment = 0
    while True:
        anew(shop)
        queue = ListedQueue()
        run = begun(shop, queue)
        fate = Fate(moment, kills=kills)
        try:
            live(shop, run, queue, fate)
        except KilledError:
            shop.world.clock.advance(LONG)
            live(shop, run, queue)
        assert state(shop, run) == wanted, f"moment {moment}"
        pulled = {job.profile_id for job in queue.jobs if isinstance(job, PullOptOut)}
        assert len(pulled) == 2
        if not fate.struck:
            break
        moment += 1
    assert moment > (130 if kills else 30)


def test_a_run_whose_job_is_lost_goes_on_when_it_is_resumed(shop: Whole) -> None:
    anew(shop)
    queue = ListedQueue()
    run = begun(shop, queue)
    queue.jobs.clear()
    run = shop.order(run, State.RUNNING)
    assert shop.end(run).state is State.DONE


def test_a_job_of_a_chain_that_was_taken_over_leaves_the_run_alone(shop: Whole) -> None:
    anew(shop)
    queue = ListedQueue()
    run = begun(shop, queue)
    (old,) = queue.jobs
    shop.order(run, State.RUNNING)
    shop.forget_calls()
    flow = Inflow.of(shop.world, None, queue)
    flow.run(old)
    assert shop.klaviyo_calls() == []
    assert queue.jobs == [old]  # and begot no other


def test_two_workers_at_once_are_one_at_work_and_one_that_waits(shop: Whole) -> None:
    anew(shop)
    queue = ListedQueue()
    begun(shop, queue)
    (job,) = queue.jobs
    lease = shop.world.services.leases.acquire(f"resync {TENANT}", lasting=timedelta(days=1))
    assert lease is not None
    with pytest.raises(WaitError, match="another worker"):
        Inflow.of(shop.world, None, queue).run(job)
    shop.world.services.leases.release(lease)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_run_that_is_paused_anywhere_goes_on_to_the_same_end(shop: Whole, at: int) -> None:
    anew(shop)
    whole = begun(shop, queue := ListedQueue())
    live(shop, whole, queue)
    wanted = state(shop, whole)
    anew(shop)
    run = begun(shop, queue := ListedQueue())
    flow = Inflow.of(shop.world, None, queue)
    calls = iter(range(1000))
    services = flow.services
    real = services.omneo

    class Pausing:
        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        def profiles_page(self, number: int, **named: Any) -> Any:
            if next(calls) == at:
                shop.order(run, State.PAUSED)
            return self._client.profiles_page(number, **named)

    services.__dict__["omneo"] = lambda tenant: Pausing(real(tenant))
    while [job for job in queue.jobs if isinstance(job, Resync)] and shop.now_of(run).state is State.RUNNING:
        shop.world.clock.advance(10)
        job = next(job for job in queue.jobs if isinstance(job, Resync))
        flow.run(job)
        queue.jobs.remove(job)
    if at < 6:
        assert shop.now_of(run).state is State.PAUSED
        assert not [job for job in queue.jobs if isinstance(job, Resync)]
    if shop.now_of(run).state is State.PAUSED:
        from shared.resync.orders import change_state

        change_state(shop.world.read(), run.id, State.RUNNING, Inflow.of(shop.world, None, queue).services)
        live(shop, run, queue)
    assert state(shop, run) == wanted


def test_a_run_that_is_cancelled_sends_nothing_more_and_makes_room_for_another(shop: Whole) -> None:
    anew(shop)
    shop.klaviyo.consent.job_seconds = 60.0
    run = shop.begin()
    shop.world.work(1)
    shop.order(run, State.CANCELLED)
    shop.forget_calls()
    for _ in range(10):
        shop.world.work(10)
    assert shop.writes() == []
    assert shop.now_of(run).state is State.CANCELLED
    assert shop.run().state is State.DONE
