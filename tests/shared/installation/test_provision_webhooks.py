"""The webhooks that the set-up finds, mends or makes, in Klaviyo and in Omneo, and those that it leaves alone."""

from typing import Any

import pytest
from pydantic import SecretStr

from shared.errors import WaitError
from shared.installation.provision import WEBHOOK, again
from shared.tenants.tenants import StoredSecret
from tests.support.mortal import Meanwhile
from tests.support.provisioning import Shop, assert_one_of_everything, webhook_of
from tests.support.world import ACCOUNT, EXTENSION_URL, TENANT, World

OLD_URL = f"https://old.example.org/{TENANT}/api/v1/webhooks/omneo"
URL = f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/omneo"


@pytest.fixture
def shop(world: World) -> Shop:
    world.tenant(installed=False)
    return Shop(world)


# Klaviyo's webhook.


def test_a_webhook_that_klaviyo_disabled_is_enabled_again(shop: Shop) -> None:
    shop.install()
    shop.world.sandbox.klaviyo.disable_webhook(ACCOUNT, webhook_of(shop).id)
    shop.world.clock.advance(60)
    shop.install()
    assert_one_of_everything(shop)


def another(shop: Shop, name: str) -> Any:
    return shop.world.sandbox.klaviyo.webhook(
        ACCOUNT,
        name,
        endpoint_url="https://other.example.org/hook",
        secret_key="canary-of-another-app",
        topics=["event:klaviyo.opened_email"],
    )


def test_a_webhook_is_found_by_its_id_after_somebody_renamed_it(shop: Shop) -> None:
    shop.install()
    id = webhook_of(shop).id
    klaviyo = shop.world.services.klaviyo(shop.world.read())
    secret = shop.world.read().webhook_secrets[0].value
    klaviyo.update_webhook(id, "renamed", "https://x.example.org", secret, ["event:klaviyo.opened_email"])
    shop.world.clock.advance(60)
    shop.install()
    assert (webhook_of(shop).id, webhook_of(shop).name) == (id, f"Omneo {TENANT}")
    assert webhook_of(shop).endpoint_url == f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/klaviyo/system"
    assert_one_of_everything(shop)


def test_a_webhook_is_found_by_its_name_after_its_id_was_lost(shop: Shop) -> None:
    ours = another(shop, f"Omneo {TENANT}")
    shop.install()
    assert webhook_of(shop).id == ours.id
    assert_one_of_everything(shop)


@pytest.mark.parametrize("known", [True, False])
def test_surplus_webhooks_of_ours_are_removed_and_those_of_others_left_alone(shop: Shop, known: bool) -> None:
    others = [
        another(shop, name) for name in ("Omneo", "Omneo acme-stg", "omneo acme", "Omneo acme ", "shipping")
    ]
    if known:
        shop.install()
        shop.world.clock.advance(60)
    kept = shop.world.read().provisions.webhook_id
    surplus = [another(shop, f"Omneo {TENANT}") for _ in range(3)]
    shop.install()
    left = {webhook.id: webhook for webhook in shop.world.sandbox.klaviyo.webhooks(ACCOUNT)}
    ours = shop.world.read().provisions.webhook_id
    assert ours == (kept if known else surplus[0].id)
    assert left.keys() == {ours, *(other.id for other in others)}
    assert all(left[other.id] == other for other in others)
    assert shop.states() == {"done"}


def test_a_webhook_removed_between_the_look_and_the_change_is_made_anew(shop: Shop) -> None:
    shop.install()
    shop.world.clock.advance(60)
    shop.world.sandbox.klaviyo.fail(1, match="PATCH /api/webhooks/*", status=404)
    gone = another(shop, f"Omneo {TENANT}")
    shop.world.sandbox.klaviyo.fail(1, match="DELETE /api/webhooks/*", status=404)
    shop.install()
    names = [hook.name for hook in shop.world.sandbox.klaviyo.webhooks(ACCOUNT)]
    assert names == [f"Omneo {TENANT}"] * 3  # the sandbox only said that two of them were gone
    assert shop.world.read().provisions.webhook_id not in ("", gone.id)
    assert shop.states() == {"done"}


def test_only_topics_that_the_account_offers_are_asked_for(shop: Shop) -> None:
    offered = ["event:klaviyo.bounced_email", "event:klaviyo.opened_email", "event:api.viewed_product"]
    shop.world.sandbox.klaviyo.account(ACCOUNT, topics=offered)
    shop.install()
    assert webhook_of(shop).topics == ["event:klaviyo.bounced_email"]
    shop.world.sandbox.klaviyo.account(ACCOUNT, topics=[*offered, "event:klaviyo.subscribed_to_list"])
    shop.world.clock.advance(60)
    shop.install()
    assert sorted(webhook_of(shop).topics) == [
        "event:klaviyo.bounced_email",
        "event:klaviyo.subscribed_to_list",
    ]
    assert shop.states() == {"done"}


def test_an_account_that_offers_no_consent_events_is_a_step_that_failed_and_says_so(shop: Shop) -> None:
    shop.world.sandbox.klaviyo.account(ACCOUNT, topics=["event:klaviyo.opened_email"])
    shop.install()
    (reason,) = shop.reasons()
    assert reason.startswith("The Klaviyo account offers no consent events.")
    assert shop.world.sandbox.klaviyo.webhooks(ACCOUNT) == []


def test_a_new_webhook_secret_reaches_klaviyo_with_the_next_install(shop: Shop) -> None:
    shop.install()
    new = shop.world.read().webhook_secrets[0].model_copy(update={"id": "new"})
    shop.world.services.tenants.change(
        TENANT, lambda t: t.model_copy(update={"webhook_secrets": (new, *t.webhook_secrets)})
    )
    shop.world.clock.advance(60)
    shop.install()
    assert webhook_of(shop).secret_key == new.value.get_secret_value()


def test_a_webhook_secret_changed_while_the_old_one_is_on_its_way_still_reaches_klaviyo(shop: Shop) -> None:
    new = StoredSecret(
        id="new", value=SecretStr("canary-newer-webhook-secret"), created_at=shop.world.clock()
    )

    def change() -> None:
        shop.world.services.tenants.change(
            TENANT,
            lambda t: again(t.model_copy(update={"webhook_secrets": (new, *t.webhook_secrets)}), WEBHOOK),
        )

    shop.connect()
    with pytest.raises(WaitError, match="429"):  # Klaviyo takes three data sources a second
        shop.run()
    shop.world.clock.advance(1)
    with pytest.raises(WaitError, match="was changed meanwhile"):
        shop.run(Meanwhile("after POST /api/webhooks", change))
    shop.world.clock.advance(1)
    shop.run_until_done()
    assert webhook_of(shop).secret_key == "canary-newer-webhook-secret"
    assert shop.states() == {"done"}


# Omneo's webhooks.


def hook(shop: Shop, trigger: str, **changes: Any) -> Any:
    fields = {"trigger": trigger, "url": URL, "namespace": "klaviyo", "is_active": False}
    return shop.world.sandbox.omneo.webhook(TENANT, **{**fields, **changes})


def test_an_omneo_webhook_that_a_person_enabled_stays_enabled(shop: Shop) -> None:
    hook(shop, "profile.updated", is_active=True)
    shop.install()
    rows = {row["trigger"]: row["is_active"] for row in shop.world.sandbox.omneo.webhooks(TENANT)}
    assert rows == {"profile.created": False, "profile.updated": True, "profile.deleted": False}


def test_an_omneo_webhook_at_an_old_address_is_pointed_here_and_nothing_else_of_it_changes(
    shop: Shop,
) -> None:
    before = hook(
        shop,
        "profile.updated",
        url=OLD_URL,
        is_active=True,
        queue="high",
        retry_daily=True,
        condition={"==": [1, 1]},
    )
    shop.install()
    after = next(r for r in shop.world.sandbox.omneo.webhooks(TENANT) if r["id"] == before["id"])
    times = {"updated_at": after["updated_at"]}
    assert after == {**before, "url": URL, **times}
    (change,) = [call for call in shop.world.sandbox.omneo.calls.all() if call.method == "PUT"]
    assert change.body == f'{{"url": "{URL}"}}'.encode()
    assert_one_of_everything(shop)


def test_an_omneo_webhook_that_is_right_is_not_touched_though_an_old_one_stands_beside_it(shop: Shop) -> None:
    hook(shop, "profile.updated", url=OLD_URL)
    hook(shop, "profile.updated")
    shop.install()
    assert [call.method for call in shop.world.sandbox.omneo.calls.all()].count("PUT") == 0
    assert shop.states() == {"done"}


def test_omneo_webhooks_of_others_are_left_alone(shop: Shop) -> None:
    theirs = [
        hook(shop, "profile.updated", namespace="erp", url="https://erp.example.org"),
        hook(shop, "order.created", url="https://shop.example.org"),
    ]
    shop.install()
    rows = shop.world.sandbox.omneo.webhooks(TENANT)
    assert rows[:2] == theirs
    assert len(rows) == 5


def test_omneo_webhooks_beyond_the_first_page_are_found(shop: Shop) -> None:
    for number in range(130):
        hook(shop, f"custom.{number}")
    hook(shop, "profile.updated", is_active=True)
    shop.install()
    assert len(shop.world.sandbox.omneo.webhooks(TENANT)) == 133
    assert shop.states() == {"done"}
