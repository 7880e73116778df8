"""Leaving an account that another one has taken the place of: wherever that ends early, the next run finishes, and says nothing wrong."""

from typing import Any

import pytest
import requests

from shared.errors import WaitError
from shared.installation.connecting import connect, prepare_queues
from shared.installation.leaving import leave_former_accounts
from shared.installation.provision import LEASE, start_provision
from shared.installation.uninstall import uninstall
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.services import Services
from shared.settings import Settings
from tests.support.merchant import settle
from tests.support.mortal import Fate, KilledError, Meanwhile, WatchedDocuments, watched_connections
from tests.support.world import ACCOUNT, EVERYTHING, TENANT, World

NEW = "NewAcc"
REJECTED = {
    "errors": [{"code": "not_authenticated", "detail": "Authentication credentials were not provided."}]
}


def join(world: World, account: str) -> str:
    """Connect the tenant to an account, and return the access token. The set-up is not run."""
    tokens = world.sandbox.klaviyo.install(account)
    answer = TokenAnswer.model_validate(tokens.to_json())
    now = world.clock()
    connect(TENANT, answer, tenants=world.services.tenants, now=now, account=Account(id=account))
    return tokens.access_token


def in_place_of_another(world: World) -> str:
    """Install the tenant to the end, then connect another account; return the access token of the account before."""
    before = join(world, ACCOUNT)
    prepare_queues(world.read(), world.services.queue)
    start_provision(world.read(), world.services)
    settle(world, 4)
    assert len(world.sandbox.klaviyo.webhooks(ACCOUNT)) == 1
    join(world, NEW)
    world.clock.advance(60)
    return before


def honours(world: World, access_token: str) -> bool:
    """Return whether Klaviyo still accepts a token."""
    headers = {"Authorization": f"Bearer {access_token}", "revision": "2026-10-15"}
    answer = requests.get(f"{world.sandbox.klaviyo.url}/api/accounts", headers=headers, timeout=60)
    return answer.status_code != 401


def assert_left(world: World, access_token: str) -> None:
    assert world.sandbox.klaviyo.webhooks(ACCOUNT) == []
    assert not honours(world, access_token)
    assert (world.read().former_accounts, world.read().left_behind) == ((), ())


@pytest.fixture
def shop(world: World) -> World:
    world.tenant(installed=False)
    return world


def lives(world: World, fate: Fate) -> Services:
    """Return services of a process with this fate."""
    settings = Settings.from_env(world.environment, EVERYTHING)
    services = Services(settings, clock=world.clock, random=lambda: 0.0, sleep=world.clock.sleep)
    services.__dict__["_connections"] = watched_connections(fate)
    if fate.kills:
        services.__dict__["documents"] = WatchedDocuments(world.services.documents, fate)
    return services


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "an answer lost"])
def test_wherever_it_ends_early_the_next_run_finishes(shop: World, kills: bool) -> None:
    counted = Fate(-1, kills=kills)
    in_place_of_another(shop)
    leave_former_accounts(shop.read(), lives(shop, counted))
    assert counted.moment + 1 >= 6
    for at in range(counted.moment + 1):
        shop.clock.advance(60)
        token = in_place_of_another(shop)
        fate = Fate(at, kills=kills)
        try:
            leave_former_accounts(shop.read(), lives(shop, fate))
        except (KilledError, WaitError):
            shop.clock.advance(max(LEASE.total_seconds(), 60))
            leave_former_accounts(shop.read(), shop.services)
        assert fate.struck
        assert_left(shop, token)


def test_an_account_whose_access_token_has_expired_is_left_too(shop: World) -> None:
    token = in_place_of_another(shop)
    shop.clock.advance(7200)
    leave_former_accounts(shop.read(), shop.services)
    assert_left(shop, token)


def test_an_account_that_is_connected_again_is_not_left(shop: World) -> None:
    in_place_of_another(shop)
    again = join(shop, ACCOUNT)
    assert [one.connection.account_id for one in shop.read().former_accounts] == [NEW]
    leave_former_accounts(shop.read(), shop.services)
    assert honours(shop, again)
    assert len(shop.sandbox.klaviyo.webhooks(ACCOUNT)) == 1


def test_beside_a_set_up_it_waits(shop: World) -> None:
    in_place_of_another(shop)
    lease = shop.services.leases.acquire(shop.read().setup_lease, lasting=LEASE)
    assert lease is not None
    with pytest.raises(WaitError, match="another set-up is running"):
        leave_former_accounts(shop.read(), shop.services)
    assert len(shop.sandbox.klaviyo.webhooks(ACCOUNT)) == 1


@pytest.mark.parametrize("seconds", [61, LEASE.total_seconds() + 1], ids=["within the lease", "after it"])
def test_the_webhook_of_an_account_that_is_connected_again_meanwhile_stays(
    shop: World, seconds: float
) -> None:
    in_place_of_another(shop)

    def connected_again() -> None:
        shop.clock.advance(seconds)
        join(shop, ACCOUNT)
        start_provision(shop.read(), shop.services)
        shop.work(1)

    fate = Meanwhile("after GET /api/webhooks?include=webhook-topics", connected_again)
    leave_former_accounts(shop.read(), lives(shop, fate))
    assert fate.struck
    settle(shop, 8)
    (hook,) = shop.sandbox.klaviyo.webhooks(ACCOUNT)
    assert hook.id == shop.read().provisions.webhook_id
    assert shop.read().left_behind == ()


CALLS = ("GET /api/webhooks*", "DELETE /api/webhooks/*", "POST /oauth/revoke")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "9"}},
        {"status": 500},
        {"kind": "html403"},
        {"kind": "hang", "seconds": 0.05},
        {"kind": "reset"},
        {"status": 500, "takes_effect": True},
    ],
    ids=str,
)
def test_a_call_that_klaviyo_does_not_answer_is_made_again(
    shop: World, call: str, fault: dict[str, Any]
) -> None:
    token = in_place_of_another(shop)
    shop.sandbox.klaviyo.fail(match=call, **fault)
    with pytest.raises(WaitError):
        leave_former_accounts(shop.read(), shop.services)
    assert len(shop.read().former_accounts) == 1
    shop.clock.advance(60)
    leave_former_accounts(shop.read(), shop.services)
    assert_left(shop, token)


def tokens_asked_for(world: World) -> int:
    """Return how often the token endpoint was called."""
    return sum(call.path == "/oauth/token" for call in world.sandbox.klaviyo.calls.all())


def test_a_token_that_is_about_to_end_is_refreshed_first(shop: World) -> None:
    token = in_place_of_another(shop)
    (former,) = shop.read().former_accounts
    left = former.connection.expires_at - shop.clock()
    shop.clock.advance(left.total_seconds() - 20)
    before = tokens_asked_for(shop)
    leave_former_accounts(shop.read(), shop.services)
    assert tokens_asked_for(shop) == before + 1
    assert_left(shop, token)


def test_a_token_that_ends_early_is_refreshed_once(shop: World) -> None:
    token = in_place_of_another(shop)
    shop.sandbox.klaviyo.expire(token)
    before = tokens_asked_for(shop)
    leave_former_accounts(shop.read(), shop.services)
    assert tokens_asked_for(shop) == before + 1
    assert_left(shop, token)


def test_a_token_that_klaviyo_does_not_take_even_then_tells_that_the_account_was_disconnected(
    shop: World,
) -> None:
    in_place_of_another(shop)
    shop.sandbox.klaviyo.fail(next=4, match="GET /api/webhooks*", status=401, body=REJECTED)
    leave_former_accounts(shop.read(), shop.services)
    assert shop.read().former_accounts == ()
    assert shop.read().left_behind == (
        f"Klaviyo account {ACCOUNT} was disconnected before: it keeps our webhook, which the extension no longer answers.",
    )


def test_a_revoke_that_klaviyo_refuses_is_told_and_not_asked_for_again(shop: World) -> None:
    in_place_of_another(shop)
    refusal = {"error": "unsupported_token_type"}
    shop.sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=400, body=refusal)
    leave_former_accounts(shop.read(), shop.services)
    assert shop.read().former_accounts == ()
    assert shop.read().left_behind == (
        f"Klaviyo account {ACCOUNT} still shows the app as installed, because Klaviyo's revoke endpoint answered 400:"
        " unsupported_token_type. Remove the app there.",
    )
    assert shop.sandbox.klaviyo.webhooks(ACCOUNT) == []


def test_our_own_app_s_credentials_are_an_operator_s_to_mend(shop: World) -> None:
    token = in_place_of_another(shop)
    shop.sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=401, body={"error": "invalid_client"})
    with pytest.raises(WaitError, match="invalid_client"):
        leave_former_accounts(shop.read(), shop.services)
    shop.clock.advance(60)
    leave_former_accounts(shop.read(), shop.services)
    assert_left(shop, token)


def test_one_account_that_cannot_be_left_holds_up_no_other(shop: World) -> None:
    in_place_of_another(shop)
    second = shop.read().klaviyo
    assert second is not None
    join(shop, "Third1")
    shop.sandbox.klaviyo.fail(1, match="GET /api/webhooks*", status=503)
    with pytest.raises(WaitError):
        leave_former_accounts(shop.read(), shop.services)
    assert [one.connection.account_id for one in shop.read().former_accounts] == [ACCOUNT]
    assert not honours(shop, second.access_token.get_secret_value())
    shop.clock.advance(60)
    leave_former_accounts(shop.read(), shop.services)
    assert shop.read().former_accounts == ()


def test_an_uninstall_says_what_klaviyo_refuses_to_revoke(shop: World) -> None:
    join(shop, ACCOUNT)
    prepare_queues(shop.read(), shop.services.queue)
    refusal = {"error": "unsupported_token_type"}
    shop.sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=400, body=refusal)
    after = uninstall(shop.read(), shop.services)
    assert after.klaviyo is None
    assert any("unsupported_token_type" in line for line in after.left_behind)
