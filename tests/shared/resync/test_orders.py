"""What a run may be asked to do: only to look, consent alone, what has changed since, repair, and what the clock asks for."""

from datetime import timedelta
from typing import Any

import pytest

from shared.resync.rules.run import Kind, State
from shared.resync.runs import Resyncs
from tests.support.resyncing import DAY, IMPORTS, Whole, opt_in, opt_out
from tests.support.world import ACCOUNT, TENANT


@pytest.mark.parametrize(
    ("kind", "order"),
    [(Kind.RESYNC, {"dry_run": True}), (Kind.RECONCILE, {}), (Kind.REPAIR, {"dry_run": True})],
)
def test_what_is_only_to_look_sends_nothing_at_all(shop: Whole, kind: Kind, order: dict[str, Any]) -> None:
    shop.base(60, comms=opt_in(shop))
    shop.base(60, email="canary-o{n}@example.org", comms=opt_out(shop))
    for n in range(30):
        held = shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
        shop.klaviyo.unsubscribe(ACCOUNT, held.id)
    shop.klaviyo._account(ACCOUNT).outbox.clear()
    run = shop.run(kind, **order)
    shop.world.work(60)
    assert run.state is State.DONE
    assert shop.writes() == []
    assert shop.waiting() == 0
    assert run.counts["email: pull_opt_out (klaviyo_opt_out_newer)"] == 30
    assert run.counts["email: subscribe (fills_never_subscribed)"] == 30
    assert run.counts["email: unsubscribe (opt_out_of_never_subscribed)"] == 60
    assert len(shop.told(run)) == 120


def test_consent_alone_sends_no_profile(shop: Whole) -> None:
    shop.base(3, first_name="Jane", comms=opt_in(shop))
    for n in range(3):
        shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
    shop.run(only_consent=True)
    assert shop.bodies(IMPORTS) == []
    assert [one.subscriptions.consents["email"].status for one in shop.klaviyo.profiles(ACCOUNT)] == [
        "SUBSCRIBED"
    ] * 3


def test_an_address_that_klaviyo_does_not_have_yet_makes_no_second_profile(shop: Whole) -> None:
    for n, comms in enumerate((opt_in(shop), opt_out(shop))):
        held = shop.klaviyo.profile(ACCOUNT, external_id=f"omneo-{n}", email=f"canary-old-{n}@example.org")
        if n:
            shop.klaviyo.subscribe(ACCOUNT, held.id, at=shop.world.clock.timestamp() - 9 * DAY)
        shop.customer(tells=False, id=f"omneo-{n}", email=f"canary-new-{n}@example.org", comms=comms)
    shop.hush()
    shop.world.clock.advance(3600)
    shop.run(only_consent=True)
    assert len(shop.klaviyo.profiles(ACCOUNT)) == 2
    assert [shop.consent_of(f"omneo-{n}") for n in range(2)] == ["SUBSCRIBED", "UNSUBSCRIBED"]


def test_since_leaves_out_what_omneo_has_not_changed(shop: Whole) -> None:
    shop.base(5)
    changed = shop.base(2, email="canary-c{n}@example.org")
    run = shop.run(since=shop.world.clock() - timedelta(hours=1))
    assert run.total == 2
    assert {one.attributes["external_id"] for one in shop.klaviyo.profiles(ACCOUNT)} == set(changed)


def test_a_reconcile_takes_up_where_the_last_one_began(shop: Whole) -> None:
    shop.base(5)
    shop.hush()
    shop.world.clock.advance(3600)
    first = shop.run(Kind.RECONCILE)
    shop.world.clock.advance(2 * DAY)
    shop.base(1, email="canary-new@example.org")
    second = shop.run(Kind.RECONCILE)
    assert second.options.since == first.started_at - timedelta(hours=1)
    assert second.read == 1


def test_repair_mends_what_reconcile_has_found(shop: Whole) -> None:
    shop.base(3, comms=opt_in(shop))
    for n in range(3):
        shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
    found = shop.run(Kind.RECONCILE)
    mended = shop.run(Kind.REPAIR)
    again = shop.run(Kind.RECONCILE, since=found.started_at - timedelta(days=9))
    drift = "email: subscribe (fills_never_subscribed)"
    assert (found.counts[drift], mended.counts[drift], again.counts[drift]) == (3, 3, 0)


def test_the_clock_begins_a_reconcile_for_every_tenant_unless_a_run_is_under_way(shop: Whole) -> None:
    from shared.direction import Direction
    from shared.jobs.jobs import Delivery, Outcome
    from shared.worker.delivery import deliver

    body = b'{"kind": "every-tenant", "run": "reconcile"}'
    told = Delivery(Direction.INBOUND, body, "queue", "task", "", 0)
    services = shop.world.services
    assert deliver(told, services) is Outcome.DONE
    run = Resyncs.of(services).under_way(TENANT)
    assert run is not None
    assert run.options.kind is Kind.RECONCILE
    assert deliver(told, services) is Outcome.DONE
    assert shop.end(run).state is State.DONE
