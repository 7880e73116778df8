"""The result of a run: the services' journals, compared with the answers to callers.

Each sentence is a broken promise.
"""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.faults.people import IN, METRIC, OBJECTS, Journal
from tests.faults.shop import PEOPLE, Shop, Tenant


def broken_promises(shop: Shop, tenant: Tenant, journal: Journal) -> Iterator[str]:
    """Yield the broken promises of a tenant."""
    dead = _dead(shop, tenant)
    yield from _events(shop, tenant, journal, dead)
    yield from _rewards(shop, tenant, journal)
    yield from _records(shop, tenant, journal, dead)
    yield from _consents(shop, tenant, journal)
    yield from (f"a dead job without a reason: {row['kind']}" for row in dead if not row["reason"])


def _dead(shop: Shop, tenant: Tenant) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        request = urllib.request.Request(
            f"{shop.bundle.url}/{tenant.name}/api/v1/dead-jobs{after}",
            headers={"Authorization": f"Bearer {tenant.key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = json.load(answer)
        rows += page["dead_jobs"]
        if not page.get("next"):
            return rows
        after = f"?after={page['next']}"


def _events(shop: Shop, tenant: Tenant, journal: Journal, dead: list[dict[str, Any]]) -> Iterator[str]:
    ours = [event for event in shop.sandbox.klaviyo.events(tenant.name) if event.metric == METRIC]
    sent = Counter(str(event.unique_id) for event in ours)
    twice = [unique for unique, count in sent.items() if count > 1]
    if twice:
        yield f"{len(twice)} events are twice in Klaviyo"
    missing = journal.events - sent.keys()
    given_up = sum(row["kind"] == "send-metric" for row in dead)
    if len(missing) > given_up:
        yield f"{len(missing) - given_up} of {len(journal.events)} accepted events are nowhere"


def _rewards(shop: Shop, tenant: Tenant, journal: Journal) -> Iterator[str]:
    made = Counter(
        (str(row["profile_id"]), str(row["external_id"])) for row in shop.sandbox.omneo.rewards(tenant.name)
    )
    twice = [key for key, count in made.items() if count > 1]
    if twice:
        yield f"{len(twice)} rewards were issued twice"
    missing = journal.rewards.keys() - made.keys()
    if missing:
        yield f"{len(missing)} of {len(journal.rewards)} rewards that were answered with 200 are nowhere"


def _records(shop: Shop, tenant: Tenant, journal: Journal, dead: list[dict[str, Any]]) -> Iterator[str]:
    last: dict[str, int] = {}
    for kept in shop.sandbox.klaviyo.records(tenant.name):
        last[str(kept.record["id"])] = int(kept.record["n"])
    given_up = sum(row["kind"] == "send-records" for row in dead)
    wrong = [
        name
        for name, n in journal.records.items()
        # One that nobody was answered for may have arrived or not.
        if last.get(name) not in {n, journal.maybe_records[name]}
    ]
    if len(wrong) > given_up * OBJECTS:
        told = ", ".join(f"{last.get(name)} for {journal.records[name]}" for name in wrong)
        yield f"{len(wrong)} of {len(journal.records)} objects do not end as they were last sent: {told}"


def _consents(shop: Shop, tenant: Tenant, journal: Journal) -> Iterator[str]:
    klaviyo = {profile.id: profile for profile in shop.sandbox.klaviyo.profiles(tenant.name)}
    if len(klaviyo) != PEOPLE:
        yield f"{PEOPLE} people are {len(klaviyo)} profiles in Klaviyo"
    for omneo_id, klaviyo_id in tenant.people:
        way = journal.consents.get(omneo_id)
        if way is None:
            continue
        comms = shop.sandbox.omneo.comms(tenant.name, omneo_id)
        in_omneo = comms.get("email_promo") is not False and comms.get("email_optout") is not True
        in_klaviyo = klaviyo[klaviyo_id].subscriptions.consents["email"].status == "SUBSCRIBED"
        if (in_omneo, in_klaviyo) != (way == IN, way == IN):
            yield (f"somebody decided {way} last; Omneo says {_said(in_omneo)}, Klaviyo {_said(in_klaviyo)}")


def _said(is_in: bool) -> str:
    return "in" if is_in else "out"
