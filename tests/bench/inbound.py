"""Inbound consent: every call that Klaviyo's events cost, from the door's hand-over of a delivery to the last job that follows."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.consent.webhook import accept_delivery
from shared.tenants.tenants import Tenant
from tests.bench.counting import QUEUE_CALLS, READS, WRITES
from tests.bench.deliveries import OPT_IN, TOPICS, WEBHOOK_ID, Happening, a_body, profile_id
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant, addresses_of
from tests.bench.stage import Stage, control
from tests.support.world import ACCOUNT, OMNEO_TOKEN, SIGNING_SECRET, TENANT

_LIST = "MaLi01"
_OMNEO_READ, _OMNEO_WRITE, _INTERACTION = "Omneo reads", "Omneo writes", "Omneo interactions"
_KLAVIYO_READ, _KLAVIYO_WRITE = "Klaviyo reads", "Klaviyo writes"
# Klaviyo takes 700 reads of profiles a minute. Its clock is moved forward: this counts calls, not waiting time.
_JOBS_BETWEEN, _SECONDS_ON = 50, 10


@dataclass(frozen=True)
class _Case:
    """A delivery of `events`, spread over `profiles` that no other case has: those from number `first` on."""

    name: str
    events: int
    profiles: int
    first: int
    topics: tuple[str, ...] = (OPT_IN,)
    master_list: bool = False

    def happenings(self, now: datetime) -> list[Happening]:
        """Return the events, a second apart for each profile, the last at `now`."""
        return [
            Happening(
                id=f"4L3cw{self.first:04d}{number:06d}",
                topic=self.topics[number % len(self.topics)],
                profile=profile_id(self.first + number % self.profiles),
                at=now - timedelta(seconds=(self.events - 1 - number) // self.profiles),
            )
            for number in range(self.events)
        ]


_CASES = (
    _Case("a single opt-in", 1, 1, first=0),
    _Case("50 events of one profile", 50, 1, first=1, topics=TOPICS),
    _Case("1,000 opt-ins of as many profiles", 1000, 1000, first=2),
    _Case("a single opt-in, with a master list", 1, 1, first=1002, master_list=True),
)


def inbound_calls() -> Iterator[Finding]:
    """The calls of inbound consent, counted where they arrive."""
    yield Note(
        "the sandbox is a process of its own, its limits hold and its clock is moved on; the store is SQLite"
    )
    yield Note(
        "every profile is known to Omneo by its Klaviyo id; the door's own authentication is not counted"
    )
    with tempfile.TemporaryDirectory() as place, addresses_of("deploy.local.sandbox") as sandbox:
        stage = Stage.on(Path(place), sandbox)
        _seed(stage, sum(case.profiles for case in _CASES))
        for case in _CASES:
            yield from _measure(case, stage)


def _seed(stage: Stage, profiles: int) -> None:
    ids = [profile_id(number) for number in range(profiles)]
    emails = {id: f"canary-{id.lower()}@example.org" for id in ids}
    seeded = control(
        f"{stage.klaviyo}/_sandbox/seed",
        installs=[{"account": ACCOUNT}],
        lists=[{"account": ACCOUNT, "name": "Newsletter", "id": _LIST}],
        profiles=[{"account": ACCOUNT, "id": id, "email": emails[id]} for id in ids],
    )
    for case in _CASES:
        if case.master_list:
            control(f"{stage.klaviyo}/_sandbox/subscribe", account=ACCOUNT, profile=profile_id(case.first))
    control(
        f"{stage.omneo}/_sandbox/seed",
        tenants=[{"name": TENANT, "token": OMNEO_TOKEN, "signing_secret": SIGNING_SECRET}],
        profiles=[
            {"tenant": TENANT, "email": emails[id], "identities": [{"handle": "klaviyo", "identifier": id}]}
            for id in ids
        ],
    )
    stage.services.tenants.create(a_connected_tenant(seeded["installs"][0]["access_token"]))


def _measure(case: _Case, stage: Stage) -> Iterator[Finding]:
    tenant = _tenant(case, stage)
    before, counted = _newest(stage), stage.counts.copy()
    _deliver(case, tenant, stage)
    made = _calls(stage, since=before)
    stored = stage.counts - counted
    klaviyo_reads = 3 if case.master_list else 1
    yield Note(case.name)
    for kind, per, of, aim in (
        (_OMNEO_READ, "profile", case.profiles, Aim("=", 1)),
        (_OMNEO_WRITE, "profile", case.profiles, Aim("<=", 1)),
        (_INTERACTION, "event", case.events, Aim("=", 1)),
        (_KLAVIYO_READ, "profile", case.profiles, Aim("<=", klaviyo_reads)),
        (_KLAVIYO_WRITE, "profile", case.profiles, Aim("<=", klaviyo_reads // 3)),
    ):
        yield Count(f"  {kind} per {per}", made[kind] / of, aim)
    others = ", ".join(f"{stored[name] / case.events:.3g} {name}" for name in (READS, WRITES, QUEUE_CALLS))
    yield Note(f"per event also: {others}")


def _tenant(case: _Case, stage: Stage) -> Tenant:
    """Return the tenant, with a master list or without; the worker has it in its cache."""

    def change(tenant: Tenant) -> Tenant:
        list_id = _LIST if case.master_list else None
        settings = tenant.settings.model_copy(update={"master_list_id": list_id})
        return tenant.model_copy(update={"settings": settings})

    stage.services.tenants.change(TENANT, change)
    tenant = stage.services.tenant_cache.fresh(TENANT)
    if tenant is None:
        raise BenchmarkError("the tenant was not stored")
    return tenant


def _deliver(case: _Case, tenant: Tenant, stage: Stage) -> None:
    """Queue the delivery and do every job that follows, as if the windows ended at once."""
    now = datetime.now(UTC)
    queue = stage.queue
    taken = accept_delivery(
        tenant,
        a_body(case.happenings(now), now),
        webhook_id=WEBHOOK_ID,
        queue=stage.services.queue,
        now=now,
        traceparent="",
    )
    if taken["events"] != case.events:
        raise BenchmarkError(f"of {case.events} events only {taken['events']} were taken")
    done = 0
    while queue.jobs:
        stage.hand_over(queue.jobs.pop(0))
        done += 1
        if done % _JOBS_BETWEEN == 0:
            control(f"{stage.klaviyo}/_sandbox/clock", advance=_SECONDS_ON)


def _newest(stage: Stage) -> tuple[int, int]:
    """Return the numbers of the newest calls, Klaviyo's and Omneo's."""
    klaviyo, omneo = (_last(calls) for calls in (stage.klaviyo_calls(), stage.omneo_calls()))
    return klaviyo, omneo


def _last(calls: Iterable[dict[str, Any]]) -> int:
    return max((int(call["number"]) for call in calls), default=0)


def _calls(stage: Stage, *, since: tuple[int, int]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for calls, newest, kind in zip(
        (stage.klaviyo_calls(), stage.omneo_calls()), since, (_klaviyo_kind, _omneo_kind), strict=True
    ):
        counted.update(_kinds(calls, newest, kind))
    return counted


def _kinds(calls: Iterable[dict[str, Any]], newest: int, kind: Callable[[str, str], str]) -> Iterator[str]:
    for call in calls:
        if call["number"] > newest:
            if call["status"] is None or call["status"] >= 400:
                raise BenchmarkError(f"{call['method']} {call['path']} was answered {call['status']}")
            yield kind(call["method"], call["path"])


def _klaviyo_kind(method: str, _path: str) -> str:
    return _KLAVIYO_READ if method == "GET" else _KLAVIYO_WRITE


def _omneo_kind(method: str, path: str) -> str:
    if path.endswith("/interactions") and method == "POST":
        return _INTERACTION
    return _OMNEO_READ if method == "GET" or path.endswith("/profiles/search-id") else _OMNEO_WRITE
