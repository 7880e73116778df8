"""Every call that a bulk import of waiting syncs makes goes wrong, in every way; the sync of nobody may be lost, and no older value may be the last."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.jobs.dead_jobs import DeadJobStore
from shared.profiles.calls import sync_id
from tests.support.bulk import change_all, name_of, pass_by, under_way, until_imported, waiting
from tests.support.resyncing import IMPORTS, PROFILES, Whole
from tests.support.world import ACCOUNT, TENANT

pytestmark = pytest.mark.usefixtures("few_are_many")

BEGIN, POLL, ERRORS = f"POST {IMPORTS}", f"GET {IMPORTS}/*", f"GET {IMPORTS}/*/import-errors*"
LOOK_UP, LOOK = f"GET {PROFILES}?*", f"GET {PROFILES}/*"
READ = f"GET /{TENANT}/api/v3/profiles/*"
CALLS = {
    "the import is asked for": BEGIN,
    "its state is read": POLL,
    "its errors are read": ERRORS,
    "profiles are looked up": LOOK_UP,
    "a profile is looked at": LOOK,
    "Omneo is read": READ,
}
STATUSES = (400, 401, 403, 404, 409, 410, 413, 429, 500, 503)
FAULTS: Mapping[str, dict[str, Any]] = {
    **{str(status): {"status": status} for status in STATUSES},
    "a page with 200": {"status": 200, "body": "<html>canary</html>"},
    "an empty answer": {"kind": "empty"},
    "half an answer": {"kind": "broken_json"},
    "a broken connection": {"kind": "reset"},
    "the edge's page": {"kind": "html403"},
    "503 after it took effect": {"status": 503, "takes_effect": True},
}


def broken(shop: Whole, ids: list[str]) -> None:
    """Let one of them have gone from Klaviyo, and another be another's there, so that an import has errors and looks at profiles."""
    account = shop.klaviyo._account(ACCOUNT)
    account.forget(account.profiles[shop.of(ids[1]).id])


def all_is_well(shop: Whole, ids: list[str]) -> None:
    """Check that each sync took effect, or stands among the dead jobs."""
    desk = DeadJobStore(shop.world.services.documents, shop.world.services.keys)
    want = ["Janet", *["Canary"] * (len(ids) - 1)]
    for id, name in zip(ids, want, strict=True):
        assert name_of(shop, id) == name or desk.has(TENANT, sync_id(TENANT, id)), ids.index(id)
    assert (waiting(shop), under_way(shop)) == ({}, set())
    assert {dead.kind for dead in shop.world.dead_jobs()} <= {"sync-profile"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("match", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("often", [1, 4, 10_000], ids=["once", "four times", "always"])
def test_whatever_call_goes_wrong_everybody_has_the_newest_values(
    shop: Whole, ids: list[str], match: str, fault: Mapping[str, Any], often: int
) -> None:
    change_all(shop, ids)
    if match in (BEGIN, READ, LOOK_UP):
        shop.klaviyo.fail(often, match=match, **fault) if match != READ else shop.omneo.fail(
            often, match=match, **fault
        )
        pass_by(shop, 1)
    else:
        until_imported(shop)
        broken(shop, ids)
        shop.klaviyo.fail(often, match=match, **fault)
    shop.change(ids[0], first_name="Janet")
    shop.world.work(15)
    pass_by(shop, 8)
    if match in (READ, LOOK_UP, LOOK):
        shop.klaviyo.faults.clear()
        shop.omneo.faults.clear()
    pass_by(shop, 40)
    all_is_well(shop, ids)
