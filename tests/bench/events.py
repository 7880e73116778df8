"""One event through the worker: how long it takes, and every call it makes outside."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from shared.jobs.jobs import SendMetric
from shared.metrics.metrics import accept_metric
from shared.services import Services
from shared.tenants.cache import SECONDS
from tests.bench.counting import QUEUE_CALLS, READS, WRITES
from tests.bench.measures import Aim, Count, Finding, Note, Ratio, Spread
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant, addresses_of, an_event
from tests.bench.stage import REVISION, Stage, control
from tests.support.world import ACCOUNT, EMAIL, OMNEO_TOKEN, SIGNING_SECRET, TENANT

_EVENTS = 150
_BASELINE_ACCOUNT = "BaseAc"  # another account, so that the two share no rate limit
_KLAVIYO_ID = "01JD0000000000000000000001"
_JSON_API = "application/vnd.api+json"


@dataclass(frozen=True)
class _Variant:
    """A kind of event, and the Omneo calls it should cost."""

    name: str
    profile: dict[str, Any]
    with_token: bool
    omneo_calls: int


_VARIANTS = (
    _Variant("without a token", {"attributes": {"email": EMAIL}}, with_token=False, omneo_calls=0),
    _Variant("token, Klaviyo id", {"id": _KLAVIYO_ID}, with_token=True, omneo_calls=1),
    _Variant("token, email", {"attributes": {"email": EMAIL}}, with_token=True, omneo_calls=2),
)


@dataclass(frozen=True)
class _Accounts:
    """A stage with two Klaviyo accounts, ours and the baseline's."""

    stage: Stage
    baseline_token: str

    def calls(self) -> Counter[str]:
        """Return the number of our calls that each service has recorded, and the counts of the store and the queue."""
        ours = sum(call["account"] != _BASELINE_ACCOUNT for call in self.stage.klaviyo_calls())
        return Counter({**self.stage.counts, "Klaviyo": ours, "Omneo": len(self.stage.omneo_calls())})


def worker_event() -> Iterator[Finding]:
    """The worker's handlers with the real services, against one bare POST of the same event."""
    yield Note("the sandbox is a process of its own; the store is SQLite; log lines are written to memory")
    yield Note(f"the tenant is cached for {SECONDS:g} s, so that the store is read once in that time")
    with (
        tempfile.TemporaryDirectory() as place,
        addresses_of("deploy.local.sandbox") as sandbox,
        requests.Session() as bare,
    ):
        accounts = _accounts(Stage.on(Path(place), sandbox))
        for variant in _VARIANTS:
            yield from _measure(variant, accounts, bare)


def _accounts(stage: Stage) -> _Accounts:
    profiles = [{"account": account, "id": _KLAVIYO_ID} for account in (ACCOUNT, _BASELINE_ACCOUNT)]
    installs = [{"account": ACCOUNT}, {"account": _BASELINE_ACCOUNT}]
    seeded = control(f"{stage.klaviyo}/_sandbox/seed", installs=installs, profiles=profiles)
    ours, baseline = seeded["installs"]
    omneo_tenant = {"name": TENANT, "token": OMNEO_TOKEN, "signing_secret": SIGNING_SECRET}
    identity = {"handle": "klaviyo", "identifier": _KLAVIYO_ID}
    omneo_profile = {"tenant": TENANT, "email": EMAIL, "identities": [identity]}
    control(f"{stage.omneo}/_sandbox/seed", tenants=[omneo_tenant], profiles=[omneo_profile])
    stage.services.tenants.create(a_connected_tenant(ours["access_token"]))
    return _Accounts(stage, baseline["access_token"])


def _measure(variant: _Variant, accounts: _Accounts, bare: requests.Session) -> Iterator[Finding]:
    stage = accounts.stage
    jobs = [_accepted(variant, stage.services) for _ in range(_EVENTS + 1)]
    stage.hand_over(jobs[0])  # connections and imports
    before, ours, baseline = accounts.calls(), [], []
    for job in jobs[1:]:
        baseline.append(_post(job, accounts, bare))
        ours.append(stage.hand_over(job))
    made = accounts.calls()
    made.subtract(before)
    yield Ratio(
        f"one event {variant.name}, over one bare POST",
        Spread.of([seconds * 1000 for seconds in ours], "ms"),
        Spread.of([seconds * 1000 for seconds in baseline], "ms"),
    )
    aims = {"Klaviyo": Aim("=", 1), "Omneo": Aim("=", variant.omneo_calls)}
    for place in ("Klaviyo", "Omneo"):
        yield Count(f"  {place} calls per event", made[place] / _EVENTS, aims[place])
    others = ", ".join(f"{made[name] / _EVENTS:.3g} {name}" for name in (READS, WRITES, QUEUE_CALLS))
    yield Note(f"per event also: {others}")


def _accepted(variant: _Variant, services: Services) -> SendMetric:
    tenant = services.tenants.find(TENANT)
    if tenant is None:
        raise BenchmarkError("the tenant was not stored")
    return accept_metric(
        tenant,
        an_event(variant.profile),
        metric_name="",
        with_token=variant.with_token,
        queue=services.queue,
        now=services.clock(),
        new_id=services.new_id,
        traceparent="",
    )


def _post(job: SendMetric, accounts: _Accounts, bare: requests.Session) -> float:
    """Create the same event with only `requests`; return its time in seconds."""
    headers = {
        "Authorization": f"Bearer {accounts.baseline_token}",
        "revision": REVISION,
        "Content-Type": _JSON_API,
    }
    body = {"data": {"type": "event", "attributes": job.event}}
    began = time.perf_counter()
    answer = bare.post(f"{accounts.stage.klaviyo}/api/events", json=body, headers=headers, timeout=10)
    took = time.perf_counter() - began
    if answer.status_code != 202:
        raise BenchmarkError(f"the bare POST was answered {answer.status_code}")
    return took
