"""Every call that a bulk import of waiting syncs makes goes wrong, in every way: nobody's sync may be lost, and no older value may be the last."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.profiles.calls import sync_id
from shared.resync.sync_imports import SyncImports
from tests.support.bulk import change_all, pass_by, under_way, until_imported, waiting
from tests.support.resyncing import IMPORTS, PROFILES, Whole
from tests.support.world import ACCOUNT, TENANT

pytestmark = pytest.mark.usefixtures("few_are_many")

BEGIN, STATE, ERRORS = f"POST {IMPORTS}", f"GET {IMPORTS}/*", f"GET {IMPORTS}/*/import-errors*"
LOOK_UP, LOOK = f"GET {PROFILES}?*", f"GET {PROFILES}/*"
READ = f"GET /{TENANT}/api/v3/profiles/*"
CALLS = {
    "the import is asked for": BEGIN,
    "its state is read": STATE,
    "its errors are read": ERRORS,
    "profiles are looked up": LOOK_UP,
    "a profile is looked at": LOOK,
    "Omneo is read": READ,
}
LASTING: Mapping[str, dict[str, Any]] = {
    **{str(status): {"status": status} for status in (400, 401, 403, 404, 429, 503)},
    "a page with 200": {"status": 200, "body": "<html>canary</html>"},
    "half an answer": {"kind": "broken_json"},
}
PASSING: Mapping[str, dict[str, Any]] = {
    **{str(status): {"status": status} for status in (401, 413)},
    "an empty answer": {"kind": "empty"},
    "503 after it took effect": {"status": 503, "takes_effect": True},
}
# A sync alone needs these too, so they have to answer in the end.
NEEDED_ALONE = (LOOK_UP, LOOK, READ)


def something_goes_wrong(
    shop: Whole, ids: list[str], match: str, often: int, fault: Mapping[str, Any]
) -> None:
    """Let a call fail from the moment at which it is made; Klaviyo no longer has one of the people when the import lands."""
    change_all(shop, ids)
    if match in (BEGIN, LOOK_UP, READ):
        (shop.omneo if match == READ else shop.klaviyo).fail(often, match=match, **fault)
        pass_by(shop, 1)
        return
    until_imported(shop)
    account = shop.klaviyo._account(ACCOUNT)
    account.forget(account.profiles[shop.of(ids[1]).id])
    shop.klaviyo.fail(often, match=match, **fault)


def names(shop: Whole, ids: list[str]) -> list[str]:
    """Return everybody's name in Klaviyo, "dead" for those whose sync is on the desk."""
    dead = {row.id for row in shop.world.dead_jobs()}
    held = {one.attributes.get("external_id"): one.attributes for one in shop.klaviyo.profiles(ACCOUNT)}
    return ["dead" if sync_id(TENANT, id) in dead else str(held[id].get("first_name")) for id in ids]


@pytest.mark.parametrize(
    ("often", "fault"),
    [
        *(pytest.param(10_000, fault, id=f"always {name}") for name, fault in LASTING.items()),
        *(pytest.param(1, fault, id=f"once {name}") for name, fault in PASSING.items()),
    ],
)
@pytest.mark.parametrize("match", CALLS.values(), ids=CALLS)
def test_whatever_call_goes_wrong_everybody_gets_the_newest_values_or_dies_with_a_reason(
    shop: Whole, ids: list[str], match: str, often: int, fault: Mapping[str, Any]
) -> None:
    something_goes_wrong(shop, ids, match, often, fault)
    shop.change(ids[0], first_name="Janet")
    shop.world.work(15)
    pass_by(shop, 6)
    if match in NEEDED_ALONE:
        shop.klaviyo.faults.clear()
        shop.omneo.faults.clear()
    for _ in range(80):
        shop.world.work(30)
    for name, wanted in zip(names(shop, ids), ["Janet", *["Canary"] * 4], strict=True):
        assert name in (wanted, "dead")
    assert waiting(shop) == {}
    assert under_way(shop) == set() or match == STATE  # one that nobody can see is followed for a day
    assert not SyncImports.of(shop.world.services).is_any_waited_for(TENANT)
    assert {row.kind for row in shop.world.dead_jobs()} <= {"sync-profile"}
    assert all(row.reason for row in shop.world.dead_jobs())
