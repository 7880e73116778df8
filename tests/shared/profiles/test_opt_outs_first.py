"""Whatever keeps the rest of a sync back: what the person has opted out of is asked for all the same."""

from collections.abc import Callable

import pytest

from tests.support.syncing import OTHERS_EMAIL, PHONE, PROFILES, UNSUBSCRIBE, Shop
from tests.support.world import ACCOUNT, TENANT

OPTED_IN = {"email_promo": True, "sms_promo": True}
BROKEN = {">": [{"+": [{"var": "first_name"}, 1]}, 2]}


def refuses_the_import(shop: Shop, id: str) -> None:
    shop.klaviyo.fail(9, match="* /api/profile-import", status=400)


def refuses_a_look_up(shop: Shop, id: str) -> None:
    shop.change(id, email=OTHERS_EMAIL)
    shop.klaviyo.fail(9, match=f"GET {PROFILES}", status=403)


def has_a_broken_logic(shop: Shop, id: str) -> None:
    tenants = shop.world.services.tenants
    tenants.change(
        TENANT,
        lambda now: now.model_copy(
            update={"settings": now.settings.model_copy(update={"profile_exclude_logic": BROKEN})}
        ),
    )
    shop.world.services.tenant_cache.fresh(TENANT)


def refuses_a_merge(shop: Shop, id: str) -> None:
    # Somebody whom Omneo does not know has her new email.
    shop.klaviyo.profile(ACCOUNT, email=OTHERS_EMAIL)
    shop.change(id, email=OTHERS_EMAIL)
    shop.klaviyo.fail(9, match="POST /api/profile-merge", status=400)


@pytest.mark.parametrize(
    "hinders", [refuses_the_import, refuses_a_look_up, has_a_broken_logic, refuses_a_merge]
)
def test_an_opt_out_is_asked_for_though(shop: Shop, hinders: Callable[[Shop, str], None]) -> None:
    id = shop.customer(mobile_phone_e164=PHONE, comms=OPTED_IN)
    shop.settle()
    shop.world.clock.advance(600)
    hinders(shop, id)
    shop.change(id, attributes={"comms": {"email_promo": False, "sms_promo": False}})
    shop.settle()
    assert len(shop.world.dead_jobs()) == 1
    assert shop.klaviyo_calls(UNSUBSCRIBE) != []
    [hers] = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.attributes.get("external_id") == id]
    consents = hers.subscriptions.consents
    assert [consents[channel].status for channel in ("email", "sms")] == ["UNSUBSCRIBED", "UNSUBSCRIBED"]
