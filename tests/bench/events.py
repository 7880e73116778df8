"""One event through the worker: how long it takes, and every call it makes outside."""

import io
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from shared import logs
from shared.encryption import new_key
from shared.handlers.delivery import deliver
from shared.handlers.metrics import accept_metric
from shared.jobs import Delivery, Direction, Outcome, SendMetric, write_job
from shared.services import Services
from shared.settings import Needs, Settings
from shared.sqlite.documents import SqliteDocuments
from shared.tenant_cache import SECONDS
from tests.bench.counting import QUEUE_CALLS, READS, WRITES, CountingDocuments, CountingQueue
from tests.bench.measures import Aim, Count, Finding, Note, Ratio, Spread
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant, addresses_of, an_event
from tests.world import ACCOUNT, EMAIL, OMNEO_TOKEN, SIGNING_SECRET, TENANT

_EVENTS = 150
_BASELINE_ACCOUNT = "BaseAc"  # one of its own, so that the two share no rate limit
_KLAVIYO_ID = "01JD0000000000000000000001"
_REVISION = "2026-10-15"
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
class _Stage:
    """The services under measurement, what they called, and the sandbox they call."""

    services: Services
    klaviyo: str
    omneo: str
    baseline_token: str
    counts: Counter[str] = field(default_factory=Counter)

    def calls(self) -> Counter[str]:
        """Return how many calls each service has recorded of ours, with what the store and the queue counted."""
        klaviyo = _control(f"{self.klaviyo}/_sandbox/calls")["calls"]
        omneo = _control(f"{self.omneo}/_sandbox/calls")["calls"]
        ours = sum(call["account"] != _BASELINE_ACCOUNT for call in klaviyo)
        return Counter({**self.counts, "Klaviyo": ours, "Omneo": len(omneo)})


def worker_event() -> Iterator[Finding]:
    """The worker's handlers with the real services, against one bare POST of the same event."""
    yield Note("the sandbox is a process of its own; the store is SQLite; log lines are written to memory")
    yield Note(f"the tenant is cached for {SECONDS:g} s, so that the store is read once in that time")
    with (
        tempfile.TemporaryDirectory() as place,
        addresses_of("deploy.local.sandbox") as sandbox,
        requests.Session() as bare,
    ):
        stage = _stage(Path(place), sandbox)
        for variant in _VARIANTS:
            yield from _measure(variant, stage, bare)


def _stage(folder: Path, sandbox: dict[str, str]) -> _Stage:
    klaviyo, omneo = sandbox["klaviyo"], sandbox["omneo"].removesuffix("/{tenant}")
    profiles = [{"account": account, "id": _KLAVIYO_ID} for account in (ACCOUNT, _BASELINE_ACCOUNT)]
    installs = [{"account": ACCOUNT}, {"account": _BASELINE_ACCOUNT}]
    ours, baseline = _control(f"{klaviyo}/_sandbox/seed", installs=installs, profiles=profiles)["installs"]
    omneo_tenant = {"name": TENANT, "token": OMNEO_TOKEN, "signing_secret": SIGNING_SECRET}
    identity = {"handle": "klaviyo", "identifier": _KLAVIYO_ID}
    omneo_profile = {"tenant": TENANT, "email": EMAIL, "identities": [identity]}
    _control(f"{omneo}/_sandbox/seed", tenants=[omneo_tenant], profiles=[omneo_profile])
    environment = {
        "STORE": f"sqlite:{folder / 'documents.db'}", "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "KLAVIYO_API_URL": klaviyo, "OMNEO_API_URL": sandbox["omneo"], "KLAVIYO_REVISION": _REVISION,
        "KLAVIYO_CLIENT_ID": "unused", "KLAVIYO_CLIENT_SECRET": "unused",
    }  # fmt: skip
    services = Services(Settings.from_env(environment, Needs.STORE | Needs.KLAVIYO_APP))
    logs.configure("bench")
    stage = _Stage(services, klaviyo, omneo, baseline["access_token"])
    documents = SqliteDocuments(folder / "documents.db")
    vars(services)["documents"] = CountingDocuments(documents, stage.counts)
    vars(services)["queue"] = CountingQueue(stage.counts)
    services.tenants.create(a_connected_tenant(ours["access_token"]))
    return stage


def _measure(variant: _Variant, stage: _Stage, bare: requests.Session) -> Iterator[Finding]:
    jobs = [_accepted(variant, stage.services) for _ in range(_EVENTS + 1)]
    _deliver(jobs[0], stage.services)  # connections and imports
    before, ours, baseline = stage.calls(), [], []
    for job in jobs[1:]:
        baseline.append(_post(job, stage, bare))
        ours.append(_deliver(job, stage.services))
    made = stage.calls()
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


def _deliver(job: SendMetric, services: Services) -> float:
    """Hand the job over as Cloud Tasks would; return the seconds until it is done."""
    delivery = Delivery(Direction.OUTBOUND, write_job(job), "queue", "task", TENANT, 0)
    with redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        outcome = deliver(delivery, services)
        took = time.perf_counter() - began
    if outcome is not Outcome.DONE:
        raise BenchmarkError(f"an event came out as {outcome}")
    return took


def _post(job: SendMetric, stage: _Stage, bare: requests.Session) -> float:
    """Create the same event with nothing but `requests`; return the seconds it took."""
    headers = {
        "Authorization": f"Bearer {stage.baseline_token}",
        "revision": _REVISION,
        "Content-Type": _JSON_API,
    }
    body = {"data": {"type": "event", "attributes": job.event}}
    began = time.perf_counter()
    answer = bare.post(f"{stage.klaviyo}/api/events", json=body, headers=headers, timeout=10)
    took = time.perf_counter() - began
    if answer.status_code != 202:
        raise BenchmarkError(f"the bare POST was answered {answer.status_code}")
    return took


def _control(url: str, **fields: Any) -> Any:
    method = "POST" if fields else "GET"
    answer = requests.request(method, url, json=fields or None, timeout=10)
    answer.raise_for_status()
    return answer.json()
