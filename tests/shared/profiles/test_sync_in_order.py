"""Whatever order things come in, and wherever a process dies: the person's newest decision stands on both sides, and it comes to rest."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.consent.ledger import ConsentLedger
from shared.errors import WaitError
from shared.jobs.jobs import DeleteProfile, SyncProfile
from shared.jobs.rules.windows import Window
from shared.profiles.calls import accept_upsert
from shared.profiles.deleted import delete_profile
from shared.profiles.sync import sync_profile
from shared.services import Services
from tests.support.mortal import Fate, KilledError, mortal_services
from tests.support.syncing import IMPORT, PHONE, PROFILES, SUBSCRIBE, UNSUBSCRIBE, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

TURN = timedelta(seconds=1)


def a_sync(world: World, id: str) -> SyncProfile:
    until = Window.at(world.clock()).end
    return SyncProfile(tenant=TENANT, id="sync", accepted_at=world.clock(), profile_id=id, until=until)


def run_through(
    world: World, work: Callable[[Services], None], *, kills: bool, again: Callable[[], None]
) -> int:
    """Let the fate strike at every moment of a life, each in a world as `again` makes it; return how many there were."""
    for at in range(200):
        again()
        fate = Fate(at, kills=kills)
        with contextlib.suppress(KilledError, WaitError):
            work(mortal_services(world.services, fate))
        if not fate.struck:
            return at
        world.clock.advance(400)  # what the dead one held has run out
        work(world.services)  # the queue delivers again
    raise AssertionError("it goes on for ever")


@pytest.mark.parametrize("kills", [True, False])
def test_a_sync_that_dies_at_any_moment_is_finished_by_the_next_delivery(world: World, kills: bool) -> None:
    with a_shop(world) as shop:
        made: list[str] = []

        def check() -> None:
            (profile,) = shop.klaviyo.profiles(ACCOUNT)
            assert shop.identities(made[-1]) == [profile.id]
            assert profile.subscriptions.consents["email"].status == "SUBSCRIBED"
            assert profile.subscriptions.consents["sms"].status == "UNSUBSCRIBED"
            assert len(ConsentLedger.of(world.services).records_of(world.read(), made[-1], 10)) == 2
            assert world.services.leases.acquire(f"sync {TENANT} {made[-1]}", lasting=TURN) is not None

        def again() -> None:
            if made:
                check()
                shop.klaviyo.delete_profile(ACCOUNT, shop.profile().id)
                shop.omneo.delete_profile(TENANT, made[-1], tells=False)
            comms = {"email_promo": True, "sms_promo": False}
            made.append(shop.customer(mobile_phone_e164=PHONE, comms=comms, tells=False))
            shop.omneo._tenants[TENANT].happened.clear()

        moments = run_through(
            world,
            lambda services: sync_profile(a_sync(world, made[-1]), world.read(), services),
            kills=kills,
            again=again,
        )
        check()
        assert moments > 8


def test_a_deletion_that_dies_at_any_moment_is_finished_by_the_next_delivery(world: World) -> None:
    with a_shop(world) as shop:
        made: list[str] = []

        def again() -> None:
            if made:
                assert shop.profile().subscriptions.is_suppressed("USER_SUPPRESSED")
                assert shop.consent("sms") == "UNSUBSCRIBED"
                shop.klaviyo.delete_profile(ACCOUNT, shop.profile().id)
            made.append(shop.customer(mobile_phone_e164=PHONE, tells=False))
            sync_profile(a_sync(world, made[-1]), world.read(), world.services)
            shop.omneo.delete_profile(TENANT, made[-1], tells=False)
            shop.omneo._tenants[TENANT].happened.clear()

        def work(services: Services) -> None:
            job = DeleteProfile(
                tenant=TENANT, id="delete", accepted_at=world.clock(), profile_id=made[-1], klaviyo_id=""
            )
            delete_profile(job, world.read(), services)

        assert run_through(world, work, kills=True, again=again) > 8


@pytest.mark.parametrize("kills", [True, False])
def test_who_gives_up_an_email_and_dies_at_any_moment_has_those_synced_who_wait_for_it(
    world: World, kills: bool
) -> None:
    with a_shop(world) as shop:
        first = shop.customer()
        shop.settle()
        people = [first]

        def again() -> None:
            """Let the email be the last one's in Omneo, and its former owner's sync be still to come."""
            if len(people) > 1:
                shop.settle(200)
                (owner,) = [
                    one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes.get("email") == EMAIL
                ]
                assert owner.attributes["external_id"] == people[-1]
            assert len(shop.klaviyo.profiles(ACCOUNT)) == len(people)
            shop.omneo.change_profile(TENANT, people[-1], tells=False, email=None)
            people.append(shop.customer(tells=False))
            with contextlib.suppress(WaitError):
                sync_profile(a_sync(world, people[-1]), world.read(), world.services)
            shop.omneo._tenants[TENANT].happened.clear()

        def work(services: Services) -> None:
            sync_profile(a_sync(world, people[-2]), world.read(), services)

        assert run_through(world, work, kills=kills, again=again) > 4


def test_two_at_once_make_one_profile_and_end_in_the_newest_state(world: World) -> None:
    with a_shop(world) as shop:
        for _ in range(5):
            id = shop.customer(tells=False)
            world.clock.advance(1)
            threads = [threading.Thread(target=try_once, args=(world, id)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            world.clock.advance(20)
            sync_profile(a_sync(world, id), world.read(), world.services)
            assert shop.identities(id) == [shop.profile().id]
            assert len(shop.klaviyo_calls(SUBSCRIBE)) == 1
            shop.klaviyo.delete_profile(ACCOUNT, shop.profile().id)
            shop.omneo.delete_profile(TENANT, id, tells=False)
            shop.forget_calls()


def try_once(world: World, id: str) -> None:
    """Sync, unless somebody else is at it."""
    try:
        sync_profile(a_sync(world, id), world.read(), world.services)
    except WaitError:
        return


def test_a_sync_waits_while_another_has_the_turn(world: World) -> None:
    with a_shop(world) as shop:
        id = shop.customer()
        turn = world.services.leases.acquire(f"sync {TENANT} {id}", lasting=10 * TURN)
        assert turn is not None
        with pytest.raises(WaitError):
            sync_profile(a_sync(world, id), world.read(), world.services)
        assert shop.klaviyo_calls(IMPORT) == []
        world.services.leases.release(turn)
        shop.settle()
        assert shop.profile().attributes["email"] == EMAIL


def test_who_has_waited_for_a_killed_syncs_turn_waits_no_longer_after_a_failure_than_another(
    world: World,
) -> None:
    with a_shop(world) as shop:
        id = shop.customer()
        assert world.services.leases.acquire(f"sync {TENANT} {id}", lasting=timedelta(minutes=5))
        for _ in range(29):
            world.work(10)
        assert shop.klaviyo.calls.all() == []
        shop.klaviyo.fail(1, match=f"POST {PROFILES}", status=503)
        for _ in range(4):
            world.work(10)
        assert shop.profile().attributes["email"] == EMAIL


# Everything that can happen to the consent of one channel of one customer.


@dataclass(frozen=True)
class Step:
    """Something that happens, how many seconds later, and whether the queue has delivered what was due by then."""

    act: str
    after: float
    works: bool = True


ACTS = (
    "omneo in",
    "omneo out",
    "omneo in, untold",
    "omneo out, untold",
    "klaviyo in",
    "klaviyo out",
    "klaviyo out, untold",
    "sync",
    "deliver",
)
STEPS = st.lists(
    st.builds(Step, st.sampled_from(ACTS), st.sampled_from((1, 20, 40, 95, 700, 90_000)), st.booleans()),
    max_size=14,
)
# What was hardest to get right: a change of mind while Klaviyo still works on our last call, and an event that never came.
IN_BETWEEN = [
    [Step("omneo out", 1), Step("sync", 20), Step("omneo in", 20), Step("sync", 95)],
    [Step("omneo out", 1), Step("sync", 95), Step("omneo in", 20), Step("omneo out", 20), Step("sync", 95)],
    [Step("klaviyo out, untold", 90_000), Step("sync", 20)],
    [Step("omneo in", 1, False), Step("omneo out", 1, False), Step("sync", 15), Step("klaviyo in", 1)],
    [Step("omneo in", 1, False), Step("klaviyo out, untold", 1, False), Step("klaviyo in", 20)],
    # A sign-up of hers is not the landing of a call that Klaviyo shows no more.
    [
        Step("klaviyo out, untold", 1, False),
        Step("omneo in", 1, False),
        Step("klaviyo out", 95),
        Step("omneo in", 20, False),
        Step("omneo out, untold", 95, False),
        Step("klaviyo in", 40, False),
    ],
]


class History:
    """What the person decided, newest last, and how the two sides were told."""

    def __init__(self, shop: Shop, channel: str) -> None:
        self.shop = shop
        self.channel = channel
        self.id = shop.customer(mobile_phone_e164=PHONE, comms={f"{channel}_promo": None}, tells=False)
        for _ in range(2):
            shop.settle()
            shop.world.clock.advance(100)
        self.decide("SUBSCRIBED")  # what was never recorded means yes

    def may_end(self) -> set[str]:
        """Return how it may end: with the newest decision, and, where an unsubscribe of ours may have landed after it, opted out.

        Klaviyo does not tell whose such an opt-out is, and so it is hers. Nor does it tell whose an opt-in by text message is: soon after
        a subscribe of ours it is not hers.
        """
        asked = [call.received_at for call in self.shop.klaviyo_calls(UNSUBSCRIBE)]
        is_known = not any(at <= self.newest_at + 1 and self.newest_at <= at + 60 for at in asked)
        subscribed = [call.received_at for call in self.shop.klaviyo_calls(SUBSCRIBE)]
        if self.channel == "sms" and any(at <= self.newest_at <= at + 180 for at in subscribed):
            is_known = False
        return {self.newest} if is_known else {self.newest, "UNSUBSCRIBED"}

    def take(self, step: Step) -> None:
        """Let it happen."""
        world, shop = self.shop.world, self.shop
        world.clock.advance(step.after)
        if step.works:
            world.work()
        match step.act.split(", ")[0].split():
            case ["omneo", direction]:
                self._decide_in_omneo(direction == "in", tells="untold" not in step.act)
            case ["klaviyo", "in"] if shop.consent(self.channel) != "SUBSCRIBED":
                shop.klaviyo.subscribe(ACCOUNT, shop.profile().id, channel=self.channel)
                self.decide("SUBSCRIBED")
            case ["klaviyo", "out"] if shop.consent(self.channel) == "SUBSCRIBED":
                self._leave_in_klaviyo(tells="untold" not in step.act)
            case ["sync"]:
                body = {"profile_id": self.id}
                accept_upsert(
                    world.read(), body, queue=world.services.queue, clock=world.clock, traceparent=""
                )
            case ["deliver"]:
                shop.klaviyo.deliver(ACCOUNT, seed=1)
                shop.omneo.deliver(TENANT)
            case _:
                pass  # nobody can leave what she is not in

    def decide(self, consent: str) -> None:
        """Note the newest decision."""
        self.newest, self.newest_at = consent, self.shop.world.clock.timestamp()

    def _leave_in_klaviyo(self, *, tells: bool) -> None:
        klaviyo, before = self.shop.klaviyo, list(self.shop.klaviyo._account(ACCOUNT).outbox)
        klaviyo.unsubscribe(ACCOUNT, self.shop.profile().id, channel=self.channel)
        if not tells:  # its webhook never comes
            klaviyo._account(ACCOUNT).outbox[:] = before
        self.decide("UNSUBSCRIBED")

    def _decide_in_omneo(self, opts_in: bool, *, tells: bool) -> None:
        shop, name = self.shop, self.channel
        promo = {f"{name}_promo": opts_in, f"{name}_consent_updated_at": shop.now()}
        if opts_in:
            promo[f"{name}_optout"] = False
        shop.omneo.change_profile(TENANT, self.id, comms=promo, tells=tells)
        self.decide("SUBSCRIBED" if opts_in else "UNSUBSCRIBED")


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("returns_own_changes", [False, True])
def test_in_any_order_the_newest_decision_stands_on_both_sides_and_it_comes_to_rest(
    tmp_path_factory: pytest.TempPathFactory,
    make_world: Callable[[Any], Any],
    channel: str,
    returns_own_changes: bool,
) -> None:
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @example(IN_BETWEEN[0], 45.0)
    @example(IN_BETWEEN[1], 45.0)
    @example(IN_BETWEEN[2], 0.0)
    @example(IN_BETWEEN[3], 0.0)
    @example(IN_BETWEEN[5], 0.0)
    @given(STEPS, st.sampled_from((0.0, 45.0)))
    def holds(steps: list[Step], job_seconds: float) -> None:
        with make_world(tmp_path_factory.mktemp("order")) as world, a_shop(world) as shop:
            shop.omneo.returns_own_changes = returns_own_changes
            shop.klaviyo.consent.job_seconds = job_seconds
            history = History(shop, channel)
            for step in steps:
                history.take(step)
            for _ in range(3):
                shop.settle()
                history.take(Step("sync", 100))
            shop.settle()
            omneo = shop.comms(history.id).get(f"{channel}_promo")
            said = "UNSUBSCRIBED" if omneo is False else "SUBSCRIBED"
            assert shop.consent(channel) == said
            assert said in history.may_end()
            shop.forget_calls()
            history.take(Step("sync", 100))
            shop.settle()
            assert [call.path for call in shop.klaviyo_calls()] == [IMPORT]
            assert [call.method for call in shop.omneo_calls()] == ["GET"]

    holds()
