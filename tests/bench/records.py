"""A backlog of records, sent by the worker and, as the baseline, one by one: Klaviyo's calls, and the time its limits take."""

import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from deploy.local.sandbox import Sandbox
from shared import logs
from shared.direction import Direction
from shared.jobs.jobs import Delivery, Outcome, write_job
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.records import accept_records
from shared.services import Services
from shared.storage.sqlite import SqliteDocuments
from shared.tenants.tenants import Provisions, Tenant
from shared.worker.delivery import deliver
from tests.bench.counting import QUEUE_CALLS, READS, WRITES, CountingDocuments
from tests.bench.measures import Aim, Count, Finding, Note, Ratio, Spread
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant
from tests.bench.timetable import REVISION, Timetable, worker_services
from tests.support.world import ACCOUNT, EMAIL, TENANT, Clock

_RECORDS = 5000
_BASELINE_ACCOUNT = "BaseAc"  # another account, so that the two share no rate limit
_SINGLE = "/api/data-source-record-create-jobs"


def records_backlog() -> Iterator[Finding]:
    """5,000 lone records at once through the worker, against one call each; time is that of a stepped clock."""
    clock = Clock(now=datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1))
    with tempfile.TemporaryDirectory() as place, Sandbox(clock=clock.timestamp) as sandbox:
        began = clock.now
        counts = _send_by_the_worker(Path(place), sandbox, clock)
        ours, clock.now = clock.now - began, clock.now + timedelta(minutes=2)
        began = clock.now
        _send_one_by_one(sandbox, clock)
        baseline = clock.now - began
        calls = Counter(call.account for call in sandbox.klaviyo.calls.all() if call.status == 204)
    yield Count("Klaviyo calls per record, in a backlog", calls[ACCOUNT] / _RECORDS, Aim("<=", 0.025))
    yield Count("Klaviyo calls per record, one by one", calls[_BASELINE_ACCOUNT] / _RECORDS)
    yield Ratio(
        "time until all have arrived, over one by one",
        Spread.of([ours.total_seconds()], "s"),
        Spread.of([baseline.total_seconds()], "s"),
        Aim("<=", 0.25),
    )
    others = ", ".join(f"{counts[name] / _RECORDS:.3g} {name}" for name in (READS, WRITES, QUEUE_CALLS))
    yield Note(f"per record also: {others}")


def _send_by_the_worker(folder: Path, sandbox: Sandbox, clock: Clock) -> Counter[str]:
    counts: Counter[str] = Counter()
    services = worker_services(folder, sandbox, clock)
    vars(services)["documents"] = CountingDocuments(SqliteDocuments(folder / "documents.db"), counts)
    queue = Timetable(clock, counts)
    vars(services)["queue"] = queue
    made = {title: sandbox.klaviyo.data_source(ACCOUNT, title).id for title in DATA_SOURCES}
    tenant = a_connected_tenant(sandbox.klaviyo.install(ACCOUNT).access_token)
    tenant = tenant.model_copy(update={"provisions": Provisions(data_sources=made)})
    services.tenants.create(tenant)
    logs.configure("bench")
    for number in range(_RECORDS):
        _accept(number, tenant, services)
    with redirect_stdout(io.StringIO()):
        while (job := queue.take()) is not None:
            delivery = Delivery(Direction.OUTBOUND, write_job(job), "queue", "task", TENANT, 0)
            if deliver(delivery, services) is not Outcome.DONE:
                raise BenchmarkError("a job was not done")
    arrived = {row.record["n"] for row in sandbox.klaviyo.records(ACCOUNT)}
    if len(arrived) != _RECORDS:
        raise BenchmarkError(f"only {len(arrived)} records arrived")
    return counts


def _accept(number: int, tenant: Tenant, services: Services) -> None:
    accept_records(
        tenant,
        {"data_source": "rewards", "record": _a_record(number)},
        id=services.new_id(),
        at=services.clock(),
        is_stored=False,
        services=services,
        traceparent="",
    )


def _send_one_by_one(sandbox: Sandbox, clock: Clock) -> None:
    """Send the same records with only `requests`, and wait as long as Klaviyo asks."""
    source = sandbox.klaviyo.data_source(_BASELINE_ACCOUNT, "Omneo Rewards").id
    token = sandbox.klaviyo.install(_BASELINE_ACCOUNT).access_token
    headers = {
        "Authorization": f"Bearer {token}",
        "revision": REVISION,
        "Content-Type": "application/vnd.api+json",
    }
    with requests.Session() as session:
        for number in range(_RECORDS):
            body = json.dumps(_a_job(source, _a_record(number)))
            while True:
                answer = session.post(sandbox.klaviyo.url + _SINGLE, data=body, headers=headers, timeout=10)
                if answer.status_code != 429:
                    break
                clock.advance(float(answer.headers["Retry-After"]))
            if answer.status_code != 204:
                raise BenchmarkError(f"the bare POST was answered {answer.status_code}")


def _a_job(source: str, record: dict[str, Any]) -> dict[str, Any]:
    item = {"type": "data-source-record", "attributes": {"record": record}}
    return {
        "data": {
            "type": "data-source-record-create-job",
            "attributes": {"data-source-record": {"data": item}},
            "relationships": {"data-source": {"data": {"type": "data-source", "id": source}}},
        }
    }


def _a_record(number: int) -> dict[str, Any]:
    return {"n": number, "email": EMAIL, "reward": "Birthday reward", "amount": 20, "currency": "AUD"}
