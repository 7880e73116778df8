"""The set-up after an install: exactly one of everything, however often it runs, wherever it dies, whoever was there before."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import WaitError
from shared.installation.provision import LEASE
from shared.klaviyo.resources import DATA_SOURCES
from tests.support.mortal import Fate, KilledError, Meanwhile
from tests.support.provisioning import TITLES, Shop, assert_one_of_everything, webhook_of
from tests.support.world import ACCOUNT, TENANT, World


@pytest.fixture
def shop(world: World) -> Shop:
    world.tenant(installed=False)
    return Shop(world)


def test_ten_installs_in_a_row_leave_one_of_everything(shop: Shop) -> None:
    for _ in range(10):
        shop.install()
        shop.world.clock.advance(60)
        assert_one_of_everything(shop)
    assert shop.world.dead_jobs() == []


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "answer lost"])
def test_an_install_that_breaks_off_at_any_moment_is_finished_by_the_next_run(
    world: World, kills: bool
) -> None:
    """At every moment before and after every call, and if killed, every write; each time with a new tenant and account."""
    moment = 0
    while True:
        shop = Shop(world, f"shop-{moment}", f"Acc{moment}")
        world.tenant(shop.name, installed=False)
        shop.connect()
        fate = Fate(moment, kills=kills)
        broken_off = run_with(shop, fate)
        shop.run_until_done()
        assert_one_of_everything(shop)
        if not broken_off:
            break
        moment += 1
    assert moment > (50 if kills else 30)  # it broke off everywhere, not just at the beginning


def run_with(shop: Shop, fate: Fate) -> bool:
    """Run the set-up, waiting where it is asked to, until it is done or the fate has struck; return whether it has."""
    for _ in range(20):
        try:
            shop.run(fate)
        except KilledError:
            shop.world.clock.advance(LEASE.total_seconds())  # nobody gave the lease back
            return True
        except WaitError as error:
            shop.world.clock.advance(error.retry_after or 1)
        if fate.struck:
            return True
        if shop.states() == {"done"}:
            return False
    raise AssertionError("the set-up never ended")


def test_a_second_run_waits_for_the_first(shop: Shop) -> None:
    shop.connect()
    with pytest.raises(KilledError):
        shop.run(Fate(6, kills=True))
    with pytest.raises(WaitError, match="another set-up is running"):
        shop.run()
    shop.world.clock.advance(LEASE.total_seconds() - 1)
    with pytest.raises(WaitError):
        shop.run()
    shop.world.clock.advance(1)
    shop.run_until_done()
    assert_one_of_everything(shop)


def test_two_set_ups_at_once_make_one_of_everything(shop: Shop) -> None:
    shop.connect()
    together([shop.run] * 4)
    shop.run_until_done()
    assert_one_of_everything(shop)


def test_two_tenants_of_one_account_that_install_at_once_share_its_data_sources(
    shop: Shop, world: World
) -> None:
    world.tenant("acme-stg", installed=False)
    twin = Shop(world, "acme-stg")
    for one in (shop, twin):
        one.connect()
    for _ in range(15):
        together([shop.run, twin.run])
        world.clock.advance(1)
    assert shop.states() == twin.states() == {"done"}
    assert sorted(source.title for source in world.sandbox.klaviyo.data_sources(ACCOUNT)) == TITLES
    names = sorted(webhook.name for webhook in world.sandbox.klaviyo.webhooks(ACCOUNT))
    assert names == ["Omneo acme", "Omneo acme-stg"]


def together(runs: list[Callable[[], None]]) -> None:
    """Run them in threads, all at once. Being asked to wait is no failure."""
    ready = threading.Barrier(len(runs))
    failures: list[Exception] = []

    def work(run: Callable[[], None]) -> None:
        ready.wait()
        try:
            run()
        except WaitError:
            pass
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("status", [409, 400])
def test_a_data_source_that_another_made_a_moment_ago_is_used(shop: Shop, status: int) -> None:
    klaviyo = shop.world.sandbox.klaviyo
    klaviyo.duplicate_title_status = status
    shop.connect()
    klaviyo.data_source(ACCOUNT, "Omneo Dates")
    # The list that the first step looks at is from before.
    klaviyo.fail(1, match="GET /api/data-sources", status=200, body={"data": [], "links": {"next": None}})
    shop.run_until_done()
    assert_one_of_everything(shop)


def test_an_account_with_hundreds_of_data_sources_is_read_to_the_end(shop: Shop) -> None:
    for number in range(250):
        shop.world.sandbox.klaviyo.data_source(ACCOUNT, f"Other {number}")
    first = [shop.world.sandbox.klaviyo.data_source(ACCOUNT, title) for title in DATA_SOURCES]
    shop.connect()
    shop.run_until_done()
    assert set(shop.world.read().provisions.data_sources.values()) == {source.id for source in first}
    assert len(shop.world.sandbox.klaviyo.data_sources(ACCOUNT)) == 256


# Refusals and outages.


def test_an_account_without_data_sources_gets_everything_else_and_a_plain_reason(shop: Shop) -> None:
    detail = "You must have Advanced KDP enabled to access this endpoint."
    refusal = {"errors": [{"code": "permission_denied", "detail": detail}]}
    shop.world.sandbox.klaviyo.fail(50, match="POST /api/data-sources", status=403, body=refusal)
    shop.install()
    reasons = shop.reasons()
    assert len(reasons) == 6
    assert set(reasons) == {
        f"Klaviyo does not allow it. {detail}"
        " Klaviyo's words name what the account lacks: change its plan or its settings in Klaviyo."
    }
    assert webhook_of(shop).enabled
    assert len(shop.world.sandbox.omneo.webhooks(TENANT)) == 3
    assert shop.world.dead_jobs() == []
    shop.world.sandbox.klaviyo.faults.clear()
    shop.world.clock.advance(60)
    shop.install()
    assert_one_of_everything(shop)


def test_a_refusal_names_no_value_and_says_what_to_do(shop: Shop) -> None:
    body = {"message": "canary", "errors": {"url": ["canary is not reachable"]}}
    shop.world.sandbox.omneo.fail(1, match="POST */api/v3/webhooks", status=422, body=body)
    shop.install()
    (reason,) = shop.reasons()
    assert reason == (
        "Omneo answered 422: invalid at url. Installing again may help; if it does not, ask your Omneo contact."
    )


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"kind": "reset"}, {"status": 429}, {"kind": "html403"}], ids=str
)
def test_an_outage_of_omneo_delays_the_set_up_and_does_not_hold_up_klaviyos_part(
    shop: Shop, fault: dict[str, Any]
) -> None:
    shop.world.sandbox.omneo.fail(10_000, **fault)
    shop.install()
    assert webhook_of(shop).enabled
    assert shop.states() == {"done", "waiting"}
    shop.world.clock.advance(3600)
    shop.world.sandbox.omneo.faults.clear()
    for _ in range(5):
        shop.world.work(600)
    assert_one_of_everything(shop)
    assert shop.world.dead_jobs() == []


def test_an_omneo_token_that_is_not_accepted_waits_for_a_better_one(shop: Shop) -> None:
    shop.world.sandbox.omneo.expire(TENANT)
    shop.install()
    assert shop.states() == {"done", "waiting"}
    shop.world.sandbox.omneo.tenant(TENANT, token=shop.world.read().omneo_token.get_secret_value())
    for _ in range(5):
        shop.world.work(600)
    assert_one_of_everything(shop)


def test_the_set_up_stays_inside_klaviyos_limits(shop: Shop) -> None:
    """15 calls a minute and one a second on webhooks, three a second on data sources: throttled twice at most, and then it waits."""
    for _ in range(3):
        shop.install()
        throttled = [call for call in shop.world.sandbox.klaviyo.calls.all() if call.status == 429]
        assert len(throttled) <= 2
        shop.world.sandbox.klaviyo.calls.clear()


def test_a_run_that_finds_everything_done_calls_nobody(shop: Shop) -> None:
    shop.install()
    shop.world.sandbox.klaviyo.calls.clear()
    shop.world.sandbox.omneo.calls.clear()
    shop.run()
    assert shop.world.sandbox.klaviyo.calls.all() == []
    assert shop.world.sandbox.omneo.calls.all() == []


# Another account, meanwhile.


def test_what_was_made_in_the_account_before_never_passes_for_something_the_new_one_has(shop: Shop) -> None:
    shop.connect()
    new = Shop(shop.world, TENANT, "NewAcc")
    with pytest.raises(WaitError, match="was changed meanwhile"):
        shop.run(Meanwhile("after POST /api/data-sources", new.connect))
    assert new.states() == {"waiting"}
    assert shop.world.read().provisions.data_sources == {}
    new.run_until_done()
    assert_one_of_everything(new)
