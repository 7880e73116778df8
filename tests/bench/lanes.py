"""The lane of profile syncs: the wait of a live event behind 50,000 syncs, the cost of 3,000 at once, and a token
endpoint that is down. The clock is stepped. A worker gets 20 ms for each job: a measured worker needed that for a sync.
"""

import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.endpoints import ENDPOINTS
from deploy.local.sandbox.stage.windows import Window
from shared import logs
from shared.consent.ledger import new_ledger_key
from shared.direction import Direction
from shared.installation.connecting import connect
from shared.jobs.jobs import Delivery, SendMetric, SyncProfile, write_job
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.profiles.backlog import SyncBacklog
from shared.profiles.packing import pack_soon
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.waiting import hashes
from shared.storage.sqlite import SqliteDocuments
from shared.tenants.settings import TenantSettings, Unset
from shared.worker.delivery import deliver
from tests.bench.counting import READS, WRITES, CountingDocuments
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import BenchmarkError
from tests.bench.timetable import Timetable, worker_services
from tests.support.world import ACCOUNT, EMAIL, OMNEO_TOKEN, SIGNING_SECRET, TENANT, Clock, a_tenant

_WAITING = 50_000
_AT_ONCE = 3_000
_EVENTS = 30
_A_JOB = 0.02  # seconds
_IMPORT = "/api/profile-import"
_TOKEN = "/oauth/token"


class _Stage:
    """A worker with the real services, on sandboxes that keep their limits and a clock that its queue moves."""

    def __init__(self, folder: Path, sandbox: Sandbox, clock: Clock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.services = worker_services(folder, sandbox, clock)
        self.documents = SqliteDocuments(folder / "documents.db", clock=clock)
        self.queue = Timetable(clock, self.counts)
        vars(self.services)["documents"] = CountingDocuments(self.documents, self.counts)
        vars(self.services)["queue"] = self.queue
        sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
        # Nobody is asked for a consent: some minutes after such a call a look reads Omneo too, throttled or not.
        settings = TenantSettings(
            task_queue_name=TENANT, email_consent_unset=Unset.LEAVE, sms_consent_unset=Unset.LEAVE
        )
        made = a_tenant(TENANT, clock(), ledger_key=new_ledger_key(), settings=settings)
        self.services.tenants.create(made)
        tokens = TokenAnswer.model_validate(sandbox.klaviyo.install(ACCOUNT).to_json())
        account = Account(id=ACCOUNT)
        self.tenant = connect(TENANT, tokens, tenants=self.services.tenants, now=clock(), account=account)

    def work(self, until: datetime | None = None) -> None:
        """Do the jobs as they are due, all of them or until a moment."""
        with redirect_stdout(io.StringIO()):
            while (until is None or self.clock() < until) and (job := self.queue.take()) is not None:
                self.clock.advance(_A_JOB)
                deliver(
                    Delivery(Direction.OUTBOUND, write_job(job), "queue", "task", TENANT, 0), self.services
                )

    def calls(self, path: str) -> Counter[int | None]:
        """Return how Klaviyo has answered the calls of a path."""
        return Counter(call.status for call in self.sandbox.klaviyo.calls.all() if call.path == path)


@contextmanager
def _stage() -> Iterator[_Stage]:
    clock = Clock(now=datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1))
    with tempfile.TemporaryDirectory() as place, Sandbox(clock=clock.timestamp) as sandbox:
        logs.configure("bench")
        yield _Stage(Path(place), sandbox, clock)


def lanes() -> Iterator[Finding]:
    """A live event behind 50,000 syncs, 3,000 syncs at once, and 30 jobs whose token cannot be renewed."""
    with _stage() as stage:
        yield from _behind(stage)
    with _stage() as stage:
        yield from _at_once(stage, _AT_ONCE)
    with _stage() as stage, _limits_over(5):
        yield Note("with a fifth of Klaviyo's limits:")
        yield from _at_once(stage, _AT_ONCE // 5)
    with _stage() as stage:
        yield from _without_token(stage)


def _behind(stage: _Stage) -> Iterator[Finding]:
    backlog, now = SyncBacklog(stage.documents), stage.clock()
    for number in range(_WAITING):
        at = now + timedelta(microseconds=number)
        backlog.add(TENANT, _sync(f"gone-{number}", at))
    pack_soon(stage.tenant, stage.services)
    took = []
    for number in range(20):
        stage.work(stage.clock() + timedelta(seconds=3))
        began = stage.clock()
        stage.queue.put(_event(number, began), stage.tenant)
        while len(stage.sandbox.klaviyo.events(ACCOUNT)) <= number:
            stage.work(stage.clock() + timedelta(seconds=0.01))
        took.append((stage.clock() - began).total_seconds())
    left = backlog.count(TENANT)
    yield Count(
        "seconds until a live event is at Klaviyo, 50,000 syncs waiting, at most", max(took), Aim("<=", 5)
    )
    yield Note(
        f"20 events in turn; {left} syncs wait still. In one queue 50,000 would take {_WAITING * _A_JOB:.0f} s"
    )


@contextmanager
def _limits_over(divisor: int) -> Iterator[None]:
    """Let the sandbox's Klaviyo take so many times fewer calls than it documents."""
    fewer = {
        path: {
            method: replace(
                endpoint,
                windows=[Window(one.seconds, max(1, one.calls // divisor)) for one in endpoint.windows],
            )
            for method, endpoint in methods.items()
        }
        for path, methods in ENDPOINTS.items()
    }
    with patch.dict(ENDPOINTS, fewer):
        yield


def _at_once(stage: _Stage, many: int) -> Iterator[Finding]:
    began = stage.clock()
    for number in range(many):
        stage.queue.put(_sync(_customer(number, stage), began), stage.tenant)
    stage.counts.clear()
    stage.work()
    calls = stage.calls(_IMPORT)
    done = sum(count for status, count in calls.items() if status in (200, 201))
    if done < many:
        raise BenchmarkError(f"only {done} profiles were imported")
    yield Count(f"imports of {many} syncs at once, for each", sum(calls.values()) / many, Aim("<=", 1.05))
    yield Count("of them 429, for each call", calls[429] / sum(calls.values()), Aim("<=", 0.01))
    omneo = len(stage.sandbox.omneo.calls.all()) / many
    yield Count("Omneo calls for each", omneo, Aim("<=", 2))
    minutes = (stage.clock() - began).total_seconds() / 60
    stored = ", ".join(f"{stage.counts[name] / many:.3g} {name}" for name in (READS, WRITES))
    yield Note(f"all in {minutes:.1f} minutes, of which Klaviyo's limit takes 4; for each also {stored}")


def _without_token(stage: _Stage) -> Iterator[Finding]:
    stage.clock.advance(3700)
    stage.sandbox.klaviyo.fail(10_000, match=f"POST {_TOKEN}", status=503)
    began = stage.clock()
    for number in range(_EVENTS):
        stage.queue.put(_event(number, began), stage.tenant)
    stage.work(began + timedelta(seconds=40))
    asked = stage.calls(_TOKEN)[503]
    yield Count("refresh calls of 30 waiting jobs in 40 s", asked, Aim("<=", 7))
    stage.sandbox.klaviyo.faults.clear()
    stage.work()
    if len(stage.sandbox.klaviyo.events(ACCOUNT)) < _EVENTS:
        raise BenchmarkError("not all events arrived after the outage")


def _customer(number: int, stage: _Stage) -> str:
    """Make a customer whose Klaviyo profile is unchanged since her last sync, and return her id."""
    email, id = f"canary-{number}@example.org", f"omneo-{number}"
    klaviyo_id = stage.sandbox.klaviyo.profile(ACCOUNT, email=email, external_id=id).id
    identity = {"handle": "klaviyo", "identifier": klaviyo_id}
    stage.sandbox.omneo.profile(TENANT, id=id, email=email, identities=[identity])
    left = hashes(stage.tenant, {"external_id": id, "email": email})
    synced = SyncedProfile(ACCOUNT, klaviyo_id, left=left, read_at=stage.clock() - timedelta(days=1))
    SyncedProfiles(stage.documents, stage.clock).keep(TENANT, id, synced)
    return id


def _sync(profile_id: str, at: datetime) -> SyncProfile:
    return SyncProfile(
        tenant=TENANT, id=f"sync-{profile_id}", accepted_at=at, profile_id=profile_id, until=at
    )


def _event(number: int, at: datetime) -> SendMetric:
    event: dict[str, Any] = {
        "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
        "unique_id": f"event-{number}", "time": at.isoformat(), "properties": {},
    }  # fmt: skip
    return SendMetric(tenant=TENANT, id=f"event-{number}", accepted_at=at, event=event)
