"""An opt-out that a sync found in Klaviyo reaches Omneo, unless Omneo knows better by then."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.consent.ledger import ConsentLedger
from shared.consent_events import Channel
from shared.errors import WaitError
from shared.jobs.jobs import PullOptOut
from shared.profiles.opt_outs import pull_opt_out
from tests.support.mortal import Fate, KilledError, mortal_services
from tests.support.syncing import Shop
from tests.support.world import TENANT, World


def a_job(world: World, id: str, at: datetime | None, channel: Channel = Channel.EMAIL) -> PullOptOut:
    return PullOptOut(tenant=TENANT, accepted_at=world.clock(), profile_id=id, channel=channel, at=at)


def pulled(shop: Shop, comms: dict[str, Any], at: datetime | None) -> dict[str, Any]:
    """Return the consents after an opt-out of that time was pulled."""
    id = shop.customer(comms=comms, tells=False)
    pull_opt_out(a_job(shop.world, id, at), shop.world.read(), shop.world.services)
    return shop.comms(id)


@pytest.mark.parametrize(
    ("stamped", "at", "promo"),
    [
        (-60, 0, False),
        (0, 0, False),  # at the same second an opt-out wins
        (1, 0, True),
        (None, 0, False),
        (None, None, False),
        (-60, None, False),  # which came first nobody can tell, and so it is an opt-out
    ],
)
def test_only_an_opt_out_that_is_no_older_than_omneos_decision_is_written(
    shop: Shop, stamped: float | None, at: float | None, promo: bool
) -> None:
    moment = shop.world.clock()
    when = None if at is None else moment + timedelta(seconds=at)
    before = None if stamped is None else shop.now(stamped)
    after = pulled(shop, {"email_promo": True, "email_consent_updated_at": before}, when)
    assert after["email_promo"] is promo
    expected = shop.now(at or 0) if not promo else before
    assert after.get("email_consent_updated_at") == expected


def test_an_opt_out_that_omneo_has_already_is_not_written_again(shop: Shop) -> None:
    before = {"email_promo": False, "email_consent_updated_at": shop.now(-60)}
    assert pulled(shop, before, shop.world.clock()) == before
    assert [call.method for call in shop.omneo_calls()] == ["GET"]


def test_a_profile_that_is_gone_is_nothing_to_do(shop: Shop) -> None:
    job = a_job(shop.world, "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11", None)
    pull_opt_out(job, shop.world.read(), shop.world.services)
    assert shop.world.dead_jobs() == []


def test_it_waits_while_a_flush_is_at_the_profile(shop: Shop) -> None:
    id = shop.customer(comms={"sms_promo": True}, tells=False)
    services = shop.world.services
    turn = services.leases.acquire(f"consent {TENANT} {id}", lasting=timedelta(minutes=5))
    assert turn is not None
    job = a_job(shop.world, id, shop.world.clock(), Channel.SMS)
    with pytest.raises(WaitError):
        pull_opt_out(job, shop.world.read(), services)
    assert shop.comms(id) == {"sms_promo": True}
    services.leases.release(turn)
    pull_opt_out(job, shop.world.read(), services)
    assert shop.comms(id)["sms_promo"] is False


@pytest.mark.parametrize("at", range(10))
def test_it_dies_at_any_moment_and_is_finished_with_one_record(shop: Shop, at: int) -> None:
    id = shop.customer(comms={"email_promo": True, "email_consent_updated_at": shop.now(-60)}, tells=False)
    job = a_job(shop.world, id, shop.world.clock())
    try:
        pull_opt_out(job, shop.world.read(), mortal_services(shop.world.services, Fate(at, kills=True)))
    except KilledError:
        shop.world.clock.advance(400)
    pull_opt_out(job, shop.world.read(), shop.world.services)
    assert shop.comms(id)["email_promo"] is False
    record, _ = ConsentLedger.of(shop.world.services).records_of(shop.world.read(), id, 5)
    assert (record.before, record.after, record.source) == ("subscribed", "unsubscribed", "klaviyo:profile")


@pytest.mark.parametrize("at", range(14))
def test_anothers_opt_out_comes_to_klaviyo_wherever_the_process_dies(shop: Shop, at: int) -> None:
    """Klaviyo holds it of another's profile: what was written to Omneo alone would leave this one subscribed."""
    stamped = {"email_promo": True, "email_consent_updated_at": shop.now(-60)}
    id = shop.customer(email="canary@example.org", comms=stamped)
    shop.settle()
    assert shop.consent() == "SUBSCRIBED"
    shop.world.clock.advance(900)
    job = a_job(shop.world, id, shop.world.clock()).model_copy(update={"is_anothers": True})
    try:
        pull_opt_out(job, shop.world.read(), mortal_services(shop.world.services, Fate(at, kills=True)))
    except KilledError:
        shop.world.clock.advance(400)
    pull_opt_out(job, shop.world.read(), shop.world.services)
    shop.settle()
    assert (shop.comms(id)["email_promo"], shop.consent()) == (False, "UNSUBSCRIBED")
