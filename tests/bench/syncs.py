"""Profile sync: every call that one sync costs, the first of a profile and those after."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.jobs.jobs import SyncProfile
from shared.tenants.tenants import Tenant
from tests.bench.counting import READS, WRITES
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant, addresses_of
from tests.bench.stage import Stage, control
from tests.support.world import ACCOUNT, OMNEO_TOKEN, SIGNING_SECRET, TENANT

_PROFILES = 50


@dataclass(frozen=True)
class _Round:
    """A sync of every profile, after something has changed in each.

    The aims are DESIGN's: two calls on each side, and three look-ups more where an identifier is new or has changed.
    """

    name: str
    change: dict[str, Any]
    klaviyo: float
    omneo: float


_ROUNDS = (
    _Round("the first sync: looked up, made, subscribed, its id written back", {}, klaviyo=2 + 3, omneo=2),
    _Round("nothing has changed", {}, klaviyo=1, omneo=1),
    _Round("a name has changed", {"first_name": "Canary"}, klaviyo=1, omneo=1),
    _Round("an opt-out", {"comms": {"email_promo": False}}, klaviyo=2, omneo=1),
)


def sync_calls() -> Iterator[Finding]:
    """The calls of a profile sync, counted where they arrive."""
    yield Note(
        "the sandbox is a process of its own, its limits hold and its clock is moved on; the store is SQLite"
    )
    with tempfile.TemporaryDirectory() as place, addresses_of("deploy.local.sandbox") as sandbox:
        stage = Stage.on(Path(place), sandbox)
        ids = _seed(stage)
        for number, round in enumerate(_ROUNDS):
            yield from _measure(round, number, ids, stage)


def _seed(stage: Stage) -> list[str]:
    seeded = control(f"{stage.klaviyo}/_sandbox/seed", installs=[{"account": ACCOUNT}])
    control(
        f"{stage.omneo}/_sandbox/seed",
        tenants=[{"name": TENANT, "token": OMNEO_TOKEN, "signing_secret": SIGNING_SECRET}],
        profiles=[
            {"tenant": TENANT, "email": f"canary-{n}@example.org", "comms": {"email_promo": True}}
            for n in range(_PROFILES)
        ],
    )
    stage.services.tenants.create(a_connected_tenant(seeded["installs"][0]["access_token"]))
    found = control(f"{stage.omneo}/_sandbox/profiles?tenant={TENANT}")["profiles"]
    return [profile["id"] for profile in found]


def _measure(round: _Round, number: int, ids: list[str], stage: Stage) -> Iterator[Finding]:
    tenant = stage.services.tenant_cache.fresh(TENANT)
    if tenant is None:
        raise BenchmarkError("the tenant was not stored")
    for id in ids if round.change else ():
        control(f"{stage.omneo}/_sandbox/change-profile", tenant=TENANT, id=id, **round.change)
    before, counted = _calls(stage), stage.counts.copy()
    for place, id in enumerate(ids):
        stage.hand_over(_job(id, f"{number}-{place}", tenant, stage))
        control(f"{stage.klaviyo}/_sandbox/clock", advance=1)
    made, stored = _calls(stage) - before, stage.counts - counted
    yield Note(round.name)
    yield Count("  Klaviyo calls per sync", made["Klaviyo"] / len(ids), Aim("<=", round.klaviyo))
    yield Count("  Omneo calls per sync", made["Omneo"] / len(ids), Aim("<=", round.omneo))
    yield Note(
        "per sync also: " + ", ".join(f"{stored[name] / len(ids):.3g} {name}" for name in (READS, WRITES))
    )


def _job(profile_id: str, id: str, tenant: Tenant, stage: Stage) -> SyncProfile:
    now = stage.services.clock()
    return SyncProfile(tenant=tenant.name, id=id, accepted_at=now, profile_id=profile_id, until=now)


def _calls(stage: Stage) -> Counter[str]:
    refused = [
        call for call in (*stage.klaviyo_calls(), *stage.omneo_calls()) if (call["status"] or 500) >= 400
    ]
    if refused:
        raise BenchmarkError(
            f"{refused[0]['method']} {refused[0]['path']} was answered {refused[0]['status']}"
        )
    return Counter({"Klaviyo": len(stage.klaviyo_calls()), "Omneo": len(stage.omneo_calls())})
