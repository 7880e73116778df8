"""What happens to people, their Klaviyo profiles and the account while a bulk import of their waiting syncs is under way."""

import threading
from typing import Any

import pytest

from deploy.local.sandbox.klaviyo.merging import merge
from shared.errors import StoreUnavailableError
from shared.installation.uninstall import uninstall
from shared.profiles.calls import sync_soon
from tests.support.bulk import (
    JOB_SECONDS,
    change_all,
    pass_by,
    rest,
    rows,
    run,
    under_way,
    until_imported,
    waiting,
)
from tests.support.resyncing import Whole
from tests.support.world import ACCOUNT

pytestmark = pytest.mark.usefixtures("few_are_many")


@pytest.fixture
def named(shop: Whole, ids: list[str]) -> dict[str, str]:
    """Return the customers with a name each, which all go in an import."""
    names = {id: f"Canary-{number}" for number, id in enumerate(ids)}
    rest(shop)
    for id, name in names.items():
        shop.change(id, first_name=name, last_name=f"{name}-Last")
    shop.sync()
    until_imported(shop)
    assert under_way(shop) == {*ids}
    return names


def held(shop: Whole) -> dict[str, dict[str, Any]]:
    """Return Klaviyo's attributes of each Omneo profile."""
    found = shop.klaviyo.profiles(ACCOUNT)
    return {str(one.attributes["external_id"]): one.attributes for one in found}


def check(shop: Whole, names: dict[str, str]) -> None:
    """Check that nothing waits any more, and that everybody has their own name."""
    assert (waiting(shop), under_way(shop)) == ({}, set())
    found = held(shop)
    assert {id: found[id].get("first_name") for id in names} == names
    assert {id: found[id].get("last_name") for id in names} == {
        id: f"{name}-Last" for id, name in names.items()
    }


def test_who_gets_another_email_meanwhile_has_it_and_the_newest_name(
    shop: Whole, named: dict[str, str]
) -> None:
    id = next(iter(named))
    shop.change(id, email="canary-new@example.org", first_name="Canary-Janet")
    shop.world.work(15)
    pass_by(shop)
    shop.settle()
    check(shop, {other: name for other, name in named.items() if other != id})
    assert (held(shop)[id]["email"], held(shop)[id]["first_name"]) == (
        "canary-new@example.org",
        "Canary-Janet",
    )


def test_who_is_excluded_meanwhile_waits_for_nothing(shop: Whole, named: dict[str, str]) -> None:
    id, *others = named
    shop.change(id, profile_type="connection", first_name="Canary-Hidden")
    shop.world.work(15)
    pass_by(shop)
    shop.settle()
    check(shop, {other: named[other] for other in others})
    assert held(shop)[id]["first_name"] != "Canary-Hidden"
    assert shop.world.dead_jobs() == []


def test_two_who_swap_their_klaviyo_profiles_meanwhile_keep_their_names(
    shop: Whole, named: dict[str, str]
) -> None:
    one, other, *_ = named
    first, second = shop.of(one), shop.of(other)
    account, names = shop.klaviyo._account(ACCOUNT), ("external_id", "email", "phone_number")
    theirs = [{name: profile.attributes[name] for name in names} for profile in (second, first)]
    for profile in (first, second):
        account._clear(profile, names)
    for profile, identifiers in zip((first, second), theirs, strict=True):
        account._identify(profile, identifiers)
    pass_by(shop, 8)
    shop.settle()
    check(shop, named)


@pytest.mark.parametrize("after", [0.0, JOB_SECONDS], ids=["before it lands", "after it lands"])
def test_when_klaviyo_profiles_are_merged_meanwhile_no_profile_keeps_the_values_of_two_people(
    shop: Whole, named: dict[str, str], after: float
) -> None:
    gone, kept, *others = named
    source, destination, account = shop.of(gone), shop.of(kept), shop.klaviyo._account(ACCOUNT)
    shop.world.clock.advance(after)
    shop.klaviyo.run_jobs()
    merge(account, source, destination, shop.klaviyo.consent, shop.world.clock.timestamp())
    pass_by(shop, 8)
    shop.settle()
    check(shop, {id: named[id] for id in others})
    assert {id: attributes["first_name"] for id, attributes in held(shop).items()}.items() <= named.items()
    assert {dead.kind for dead in shop.world.dead_jobs()} <= {"sync-profile"}


def test_who_opts_out_in_klaviyo_meanwhile_is_opted_out_on_both_sides(
    shop: Whole, named: dict[str, str]
) -> None:
    id = next(iter(named))
    shop.klaviyo.unsubscribe(ACCOUNT, shop.of(id).id)
    shop.world.work(1)
    pass_by(shop)
    shop.settle()
    check(shop, named)
    assert shop.consent_of(id) == "UNSUBSCRIBED"
    assert shop.comms(id)["email_promo"] is False


def test_a_merchant_who_comes_back_after_days_finds_everybody_synced(
    shop: Whole, named: dict[str, str]
) -> None:
    shop.klaviyo._account(ACCOUNT).jobs.clear()  # by then, Klaviyo no longer shows the import
    shop.klaviyo.consent.job_seconds = 1e9
    shop.klaviyo.uninstall(ACCOUNT)
    pass_by(shop, 3)
    id = next(iter(named))
    shop.change(id, first_name="Canary-Janet")
    for _ in range(4 * 24):
        shop.world.work(3600)
    assert under_way(shop) == {*named}
    shop.world.install()
    shop.klaviyo.consent.job_seconds = JOB_SECONDS
    pass_by(shop, 20)
    shop.settle()
    assert (waiting(shop), under_way(shop)) == ({}, set())
    assert {one: held(shop)[one]["first_name"] for one in named} == {**named, id: "Canary-Janet"}
    assert shop.world.dead_jobs() == []


def test_an_uninstall_while_it_is_under_way_leaves_nothing_that_a_new_install_trips_over(
    shop: Whole, named: dict[str, str]
) -> None:
    uninstall(shop.world.read(), shop.world.services)
    pass_by(shop, 2)
    shop.world.install()
    id = next(iter(named))
    shop.change_quietly(id, first_name="Canary-Janet", last_name="Canary-Janet-Last")  # its webhooks are gone
    sync_soon(shop.world.read(), id, queue=shop.world.services.queue, clock=shop.world.clock)
    pass_by(shop, 3)
    shop.settle()
    check(shop, {**named, id: "Canary-Janet"})
    assert shop.world.dead_jobs() == []


def test_two_runs_in_the_same_moment_send_everybody_once(shop: Whole, ids: list[str]) -> None:
    change_all(shop, ids)
    together, errors = threading.Barrier(3), list[BaseException]()

    def one() -> None:
        together.wait()
        try:
            run(shop)
        except StoreUnavailableError as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pass_by(shop)
    assert errors == []
    assert len(rows(shop)) == 5
    assert (waiting(shop), under_way(shop)) == ({}, set())
