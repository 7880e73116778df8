"""Syncs that wait in number: a shop whose customers change while Klaviyo takes no syncs, and what is under way and waits."""

import json
from datetime import timedelta
from typing import Any

from deploy.local.sandbox.klaviyo.accounts import Profile
from shared.erasure.dropping import dropping
from shared.jobs.jobs import ImportSyncs, SweepOutbox, SyncProfile
from shared.klaviyo.limits import Endpoint
from shared.profiles import packing
from shared.profiles.backlog import SyncBacklog
from shared.profiles.calls import sync_id
from shared.resync.sync_imports import SyncImports
from shared.resync.syncs_in_bulk import import_syncs, sweep_imports
from shared.services import Services
from tests.support.resyncing import IMPORTS, Whole
from tests.support.syncing import IMPORT
from tests.support.world import TENANT

JOB_SECONDS = 40.0  # of an import


def customer(shop: Whole, n: int, **fields: Any) -> str:
    comms = fields.pop("comms", {"email_promo": True})
    whole = {"email": f"canary-{n}@example.org", "first_name": "Jane", "comms": comms, **fields}
    return shop.customer(mobile_phone_e164=f"+614120{n:05}", **whole)


def rest(shop: Whole, seconds: float = 20, endpoint: Endpoint = Endpoint.PROFILE_IMPORT) -> None:
    shop.world.services.rests.rest(TENANT, endpoint, shop.world.clock() + timedelta(seconds=seconds))


def change_all(shop: Whole, ids: list[str], **fields: Any) -> None:
    """Change everybody while Klaviyo takes no syncs, so that all of them wait."""
    rest(shop)
    for id in ids:
        shop.change(id, **{"first_name": "Canary", **fields})
    shop.sync()


def until_imported(shop: Whole) -> None:
    """Let time pass until Klaviyo has been asked for a bulk import."""
    for _ in range(40):
        if shop.klaviyo_calls(IMPORTS):
            return
        shop.world.work(2)
    raise AssertionError("no import was asked for")


def under_way(shop: Whole) -> set[str]:
    found = SyncImports.of(shop.world.services).all(TENANT)
    return {row.profile_id for one in found for row in one.rows}


def waiting(shop: Whole) -> dict[str, SyncProfile]:
    found = [sync.job for sync in SyncBacklog.of(shop.world.services).first(TENANT, 100)]
    return {job.profile_id: job for job in found}


def pass_by(shop: Whole, minutes: float = 3) -> None:
    for _ in range(int(minutes * 6)):
        shop.world.work(10)


def rows(shop: Whole) -> list[dict[str, Any]]:
    bodies = [json.loads(call.body)["data"] for call in shop.klaviyo_calls(IMPORTS) if call.method == "POST"]
    return [row for body in bodies for row in body["attributes"]["profiles"]["data"]]


def singles(shop: Whole) -> int:
    return len(shop.klaviyo_calls(IMPORT))


def name_of(shop: Whole, id: str) -> str:
    return str(shop.of(id).attributes.get("first_name"))


def run(shop: Whole, services: Services | None = None) -> None:
    """Let one run be done, as the worker lets it."""
    services = services or shop.world.services
    job = ImportSyncs(tenant=TENANT, accepted_at=shop.world.clock())
    import_syncs(job, services, known=shop.world.read, dropping=lambda: dropping(shop.world.read(), services))


def a_sync(shop: Whole, id: str) -> SyncProfile:
    now, name = shop.world.clock(), sync_id(TENANT, id)
    return SyncProfile(tenant=TENANT, id=name, accepted_at=now, profile_id=id, until=now, has_waited=True)


def begin_anew(shop: Whole, ids: list[str], word: str, *, at_the_end: bool) -> None:
    """Let everybody wait with a new name, and let an import of them be over if a run is to end one."""
    for id in ids:
        shop.omneo.change_profile(TENANT, id, tells=False, first_name=word)
        SyncBacklog.of(shop.world.services).add(TENANT, a_sync(shop, id))
    shop.world.clock.advance(1)
    if at_the_end:
        run(shop)
        shop.world.clock.advance(JOB_SECONDS + 1)


def come_to_rest(shop: Whole) -> None:
    """Let the packer and the sweep of imports begin, and time pass until nobody waits."""
    tenant, services = shop.world.read(), shop.world.services
    packing.pack_soon(tenant, services)
    sweep_imports(SweepOutbox(tenant=TENANT, accepted_at=shop.world.clock()), tenant, services)
    pass_by(shop, 4)
    if under_way(shop) or waiting(shop):
        pass_by(shop, 16)


def taken_over(shop: Whole, former: str, *, heir_named: str = "Jane", **shown: Any) -> tuple[Profile, str]:
    """Let another person have the Klaviyo profile and the email of `former` by now; return that profile, which shows `shown` too, and the
    person's Omneo id. Nothing tells of it.
    """
    held, heir = shop.of(former), customer(shop, 9, tells=False, first_name=heir_named)
    shop.omneo.change_profile(TENANT, former, tells=False, email="canary-else@example.org")
    held.attributes |= {"external_id": heir, **shown}
    shop.omneo.change_profile(TENANT, heir, tells=False, email="canary-0@example.org")
    shop.hush()
    return held, heir
