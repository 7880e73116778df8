"""The whole base from Omneo to Klaviyo, through the real queue and worker on a clock that stands still."""

from collections.abc import Iterator

import pytest

from shared.domain.resyncs import Kind, State
from tests.resyncing import IMPORTS, PROFILES, Whole, a_base
from tests.syncing import IMPORT, PHONE, SUBSCRIBE, UNSUBSCRIBE
from tests.world import ACCOUNT, EMAIL, TENANT, Clock, World

DAY = 86_400.0


@pytest.fixture
def shop(world: World) -> Iterator[Whole]:
    with a_base(world) as shop:
        yield shop


def opt_in(shop: Whole, *channels: str, days: float = 1) -> dict[str, object]:
    """Return the consents of somebody who opted in some days ago."""
    at = shop.now(-days * DAY)
    return {
        key: value
        for channel in channels or ("email",)
        for key, value in ((f"{channel}_promo", True), (f"{channel}_consent_updated_at", at))
    }


def opt_out(shop: Whole, *channels: str, days: float = 1) -> dict[str, object]:
    """Return the consents of somebody who opted out some days ago."""
    return {
        key: False if key.endswith("_promo") else value
        for key, value in opt_in(shop, *channels, days=days).items()
    }


def test_a_new_base_arrives_in_one_import_and_one_subscribe(shop: Whole) -> None:
    ids = shop.base(250, comms=opt_in(shop), tier_handle="gold")
    run = shop.run()
    assert (run.state, run.read, run.total) == (State.DONE, 250, 250)
    assert run.counts["profiles imported"] == 250
    assert run.counts["email: subscribe (fills_never_subscribed)"] == 250
    assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}
    assert shop.of(ids[7]).properties["omneo_tier_handle"] == "gold"
    assert len(shop.bodies(IMPORTS)) == 1
    (subscribe,) = shop.bodies(SUBSCRIBE)
    assert subscribe["attributes"]["historical_import"] is True
    assert shop.klaviyo_calls(IMPORT) == []
    assert len(shop.klaviyo_calls(PROFILES)) == 3  # by external_id, a hundred a call
    consent = shop.of(ids[0]).subscriptions.consents["email"]
    assert consent.at == Clock().timestamp() - DAY  # the decision's own time


def test_an_opt_out_of_somebody_new_to_klaviyo_is_given_once_klaviyo_has_them(shop: Whole) -> None:
    shop.klaviyo.consent.job_seconds = 45.0
    ids = shop.base(30, comms=opt_out(shop, "email", "sms"), mobile_phone_e164="+614123456{n}")
    ids += shop.base(0)
    run = shop.run()
    assert run.state is State.DONE
    shop.world.work(60)
    assert {shop.consent_of(id) for id in ids} == {"UNSUBSCRIBED"}


def test_nobody_at_all_is_a_run_that_ends(shop: Whole) -> None:
    assert shop.run().state is State.DONE
    assert shop.run(Kind.RECONCILE).state is State.DONE
    assert shop.writes() == []
