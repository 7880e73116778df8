"""Processes that die at every moment of a delivery's way, answers that are lost, and flushes that meet: what stands at the end."""

from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.consent.spreading import flush_soon
from shared.consent.to_omneo import TURN
from shared.direction import Direction
from shared.errors import WaitError
from shared.jobs.jobs import Delivery, FlushInbox, Outcome, SweepInbox, write_job
from shared.worker.delivery import deliver
from tests.support.consenting import (
    Inflow,
    ListedQueue,
    Person,
    Retailer,
    an_event,
    an_installed_tenant,
    remember_a_call,
)
from tests.support.mortal import Fate, KilledError, Meanwhile
from tests.support.world import TENANT, Clock, World

OPT_IN = "subscribed_to_email_marketing"
OPT_OUT = "unsubscribed_from_email_marketing"
SMS_OUT = "unsubscribed_from_sms_marketing"
LONG = int(TURN.total_seconds()) + 1


@pytest.fixture
def shop(world: World) -> Retailer:
    """Return a tenant whose events are handed in without a door."""
    an_installed_tenant(world)
    return Retailer(world)


def history(shop: Retailer, person: Person) -> list[Any]:
    """Return three events, the last of which is an opt-out, and a twin."""
    start = shop.world.clock() - timedelta(seconds=60)
    told = [(OPT_IN, 0), ("bounced_email", 5), (OPT_OUT, 10), (SMS_OUT, 10)]
    events = [an_event(person, topic, start + timedelta(seconds=after)) for topic, after in told]
    return [*events, an_event(person, "unsubscribed_from_text_messaging_marketing", events[-1].at)]


def outcome(shop: Retailer, person: Person) -> tuple[dict[str, Any], set[tuple[str, int]], list[str]]:
    """Return what stands in Omneo, times apart, and which decisions the ledger has."""
    comms = {name: value for name, value in shop.comms(person).items() if not name.endswith("_at")}
    return comms, set(shop.interactions(person)), sorted(source for _, _, source in shop.ledger(person))


def copies(shop: Retailer, person: Person) -> list[int]:
    """Return how often each event's interaction was made."""
    rows = [row for row in shop.omneo.interactions(TENANT) if row["profile_id"] == person.omneo]
    return sorted(Counter(row["meta"]["event_id"] for row in rows).values())


def live(shop: Retailer, events: list[Any], queue: ListedQueue, fate: Fate | None = None) -> None:
    """Live one life: take in the delivery and do all work there is."""
    inflow = Inflow.of(shop.world, fate, queue)
    inflow.spread(*events)
    inflow.work()


def go_on(shop: Retailer, events: list[Any], queue: ListedQueue) -> None:
    """Let the queue deliver again what was not done, and the sweep find what nobody is at."""
    shop.world.clock.advance(LONG)
    inflow = Inflow.of(shop.world, None, queue)
    inflow.spread(*events)
    inflow.work()
    if shop.open():
        inflow.run(SweepInbox(tenant=TENANT, accepted_at=shop.world.clock()))
        inflow.work()


def test_a_death_at_any_moment_loses_nothing_and_repeats_at_most_one_interaction(shop: Retailer) -> None:
    whole = shop.person()
    live(shop, history(shop, whole), ListedQueue())
    wanted = outcome(shop, whole)
    assert wanted[0]["email_promo"] is False
    assert len(wanted[1]) == 4
    doubled = 0
    moment = 0
    while True:
        jane, queue, fate = shop.person(), ListedQueue(), Fate(moment, kills=True)
        events = history(shop, jane)
        shop.world.services.klaviyo(shop.world.read()).profile(jane.klaviyo)  # no life begins with a refresh
        try:
            live(shop, events, queue, fate)
        except KilledError:
            pass
        else:
            break
        go_on(shop, events, queue)
        assert (outcome(shop, jane), shop.open()) == (wanted, 0), f"died at moment {moment}"
        made = copies(shop, jane)
        assert made in ([1, 1, 1, 1], [1, 1, 1, 2]), f"died at moment {moment}"
        doubled += made[-1] - 1
        moment += 1
    assert moment > 50
    # Only between Omneo's answer and our note of it: the answer's own moment, and that before the note.
    assert doubled == 2 * 4


def test_a_call_or_an_answer_that_is_lost_repeats_at_most_that_call(shop: Retailer) -> None:
    whole = shop.person()
    live(shop, history(shop, whole), ListedQueue())
    wanted = outcome(shop, whole)
    moment = 0
    while True:
        jane, queue, fate = shop.person(), ListedQueue(), _LostOnTheWire(moment)
        events = history(shop, jane)
        with suppress(WaitError):
            live(shop, events, queue, fate)
        if not fate.struck:
            break
        go_on(shop, events, queue)
        assert (outcome(shop, jane), shop.open()) == (wanted, 0), f"lost at moment {moment}"
        assert copies(shop, jane) in ([1, 1, 1, 1], [1, 1, 1, 2])
        moment += 1
    assert moment == 2 * (1 + 1 + 1 + 4)


class _LostOnTheWire(Fate):
    """Loses a call or an answer; documents and the queue are always there."""

    def __init__(self, at: int) -> None:
        super().__init__(at, kills=False)

    def pass_by(self, what: str) -> None:
        if "/" in what:
            super().pass_by(what)


def test_a_death_while_an_echo_turns_out_to_be_none_loses_no_opt_out(shop: Retailer) -> None:
    moment, died = 0, True
    while died:
        jane, fate = shop.person(), Fate(moment, kills=True)
        remember_a_call(shop, jane, "out")
        opted_in = shop.world.clock() + timedelta(minutes=1)
        shop.world.clock.advance(3 * 3600)
        first = Inflow.of(shop.world)
        first.spread(an_event(jane, OPT_OUT, opted_in + timedelta(minutes=1)))
        first.flush(jane.klaviyo)
        assert shop.interactions(jane) == []
        first.spread(an_event(jane, OPT_IN, opted_in))
        shop.world.clock.advance(60)
        with suppress(KilledError):
            Inflow.of(shop.world, fate).flush(jane.klaviyo)
        died = fate.struck
        assert shop.comms(jane).get("email_promo") is not True, f"died at moment {moment}"
        shop.world.clock.advance(LONG)
        Inflow.of(shop.world).flush(jane.klaviyo)
        assert shop.comms(jane)["email_promo"] is False, f"died at moment {moment}"
        assert copies(shop, jane) in ([1, 1], [1, 2])
        assert shop.open() == 0
        moment += 1
    assert moment > 20


# Two at once

MOMENTS = [
    "before POST /acme/api/v3/profiles/search-id",
    "after POST /acme/api/v3/profiles/search-id",
    "before PUT",
    "after PUT",
    "before POST /acme/api/v3/interactions",
    "after POST /acme/api/v3/interactions",
]


class _At(Meanwhile):
    """As Meanwhile, the id of the profile left out of the moment."""

    def pass_by(self, what: str) -> None:
        super().pass_by(what.partition(" /acme/api/v3/profiles/")[0] if " PUT " in what else what)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("newer", ["the one that waits", "the one that comes in between"])
@pytest.mark.parametrize("others", [False, True], ids=["one Klaviyo profile", "two Klaviyo profiles"])
def test_of_two_flushes_of_one_omneo_profile_the_newer_decision_stands(
    shop: Retailer, moment: str, newer: str, others: bool
) -> None:
    jane = shop.person()
    joined = Person(
        shop.klaviyo.profile("AcmeAc", email="canary-second@example.org", external_id=jane.omneo).id,
        jane.omneo,
    )
    second = joined if others else jane
    opted_in = shop.world.clock() - timedelta(seconds=60)
    opt_in, opt_out = (OPT_IN, opted_in), (OPT_OUT, opted_in + timedelta(seconds=1))
    first, then = (opt_out, opt_in) if newer == "the one that waits" else (opt_in, opt_out)
    late = Inflow.of(shop.world)

    def meanwhile() -> None:
        late.spread(an_event(second, *then))
        late.queue.jobs.clear()
        try:
            late.flush(second.klaviyo)
        except WaitError:
            late.queue.jobs.append(
                FlushInbox(tenant=TENANT, accepted_at=shop.world.clock(), profile=second.klaviyo)
            )

    fate = _At(moment, meanwhile)
    inflow = Inflow.of(shop.world, fate)
    inflow.spread(an_event(jane, *first))
    inflow.flush(jane.klaviyo)
    assert fate.struck
    shop.world.clock.advance(3)
    late.work()
    late.flush(jane.klaviyo)
    held = shop.comms(jane)
    assert (held["email_promo"], held["email_optout"]) == (False, False)
    assert held["email_consent_updated_at"] == f"{opt_out[1]:%Y-%m-%d %H:%M:%S}"
    assert copies(shop, jane) == [1, 1]
    assert shop.open() == 0


def test_a_flush_that_meets_another_waits_a_little(shop: Retailer) -> None:
    jane = shop.person()
    Inflow.of(shop.world).spread(an_event(jane, OPT_OUT, shop.world.clock()))
    turn = shop.world.services.leases.acquire(f"consent {TENANT} {jane.omneo}", lasting=TURN)
    assert turn is not None
    job = FlushInbox(tenant=TENANT, accepted_at=shop.world.clock(), profile=jane.klaviyo)
    given = Delivery(Direction.INBOUND, write_job(job), "q", "t", TENANT, 0)
    assert deliver(given, shop.world.services) is Outcome.WAITING
    shop.world.services.leases.release(turn)
    shop.world.work(4)
    assert shop.comms(jane)["email_promo"] is False


def test_flushes_behind_a_dead_one_ask_nobody_but_once_until_its_turn_ends(shop: Retailer) -> None:
    """Each looks again every few seconds for minutes, and an act brings several."""
    jane = shop.person()
    Inflow.of(shop.world).spread(an_event(jane, OPT_OUT, shop.world.clock()))
    dead = shop.world.services.leases.acquire(f"consent {TENANT} {jane.omneo}", lasting=TURN)
    assert dead is not None
    job = FlushInbox(tenant=TENANT, accepted_at=shop.world.clock(), profile=jane.klaviyo)
    for _ in range(3):
        shop.world.services.queue.put(job, shop.world.read())
    shop.world.work(20)
    assert len(shop.calls()) == 3
    for _ in range(13):
        shop.world.work(20)
    assert shop.calls() + shop.calls("klaviyo") == []
    assert "email_promo" not in shop.comms(jane)
    shop.world.work(40)
    shop.settle()
    assert shop.comms(jane)["email_promo"] is False
    assert copies(shop, jane) == [1]
    assert shop.open() == 0


# The protocol of windows


def test_what_arrives_while_a_flush_runs_is_flushed_by_the_next_window(shop: Retailer) -> None:
    """The flush has read the inbox, and its name is a tombstone: a write now must not rely on it."""
    jane = shop.person()
    first = an_event(jane, OPT_IN, shop.world.clock() - timedelta(seconds=9))
    real = Inflow.of(shop.world)
    real.services.__dict__["queue"] = shop.world.services.queue
    real.spread(first)

    def meanwhile() -> None:
        real.spread(an_event(jane, OPT_OUT, first.at + timedelta(seconds=1)))

    shop.world.clock.advance(12)  # of its window: what is due now
    running = Inflow.of(shop.world, Meanwhile("after POST /acme/api/v3/profiles/search-id", meanwhile))
    running.flush(jane.klaviyo)
    shop.world.work(13)
    assert shop.comms(jane)["email_promo"] is False
    assert shop.open() == 0


@pytest.mark.parametrize("behind", [-3, 0, 3])
def test_no_write_is_left_to_a_flush_that_has_run_whatever_the_clocks(shop: Retailer, behind: int) -> None:
    """One machine queues a flush, the queue runs it on time, and another, its clock off, writes at any second."""
    queue, tenant = shop.world.services.queue, shop.world.read()
    off = _Off(shop.world.clock, timedelta(seconds=behind))
    for second in range(0, 21):
        jane = shop.person()
        flush_soon(tenant, jane.klaviyo, queue=queue, clock=shop.world.clock)
        shop.world.work(second)
        Inflow.of(shop.world).spread(an_event(jane, OPT_OUT, shop.world.clock() - timedelta(hours=1)))
        flush_soon(tenant, jane.klaviyo, queue=queue, clock=off)
        shop.world.work(12)
        shop.world.work(12)
        assert shop.open() == 0, f"written at second {second}"
        shop.world.clock.advance(7)  # another second of a window


class _Off:
    def __init__(self, clock: Clock, by: timedelta) -> None:
        self._clock, self._by = clock, by

    def __call__(self) -> datetime:
        return self._clock() + self._by


def test_a_flush_that_died_halfway_is_finished_by_the_sweep(shop: Retailer) -> None:
    jane, inflow = shop.person(), Inflow.of(shop.world, _At("after PUT", _die))
    inflow.spread(*history(shop, jane))
    with pytest.raises(KilledError):
        inflow.flush(jane.klaviyo)
    assert (shop.open(), shop.interactions(jane)) == (5, [])
    shop.world.clock.advance(LONG)
    shop.world.services.queue.put(
        SweepInbox(tenant=TENANT, accepted_at=shop.world.clock()), shop.world.read()
    )
    shop.world.work()
    shop.world.work(1)
    assert (shop.open(), len(shop.interactions(jane))) == (0, 4)


def _die() -> None:
    raise KilledError("in the middle")
