"""Many waiting syncs: how fast they drain in bulk imports, and the wait of a live event behind them and a backlog of
events. The clock is stepped, as in `backlog.py`. The steps of a run of bulk imports take the times below, which its
threads share; everything else goes on meanwhile. The next run begins only after that time. Klaviyo carries an import
out in `_LANDS` seconds.
"""

import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.sandbox import Sandbox
from shared import logs
from shared.consent.ledger import new_ledger_key
from shared.jobs.jobs import AnyJob, ImportSyncs, SendMetric, SyncProfile
from shared.klaviyo.limits import Endpoint
from shared.metrics.lane import set_aside
from shared.profiles.backlog import SyncBacklog
from shared.profiles.calls import sync_id
from shared.profiles.packing import SHARE, pack_soon
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.waiting import hashes
from shared.resync.syncs_in_bulk import THREADS
from shared.services import Services
from shared.storage.documents import Documents
from shared.tenants.settings import Unset
from shared.tenants.tenants import Tenant
from tests.bench.backlog import Event, Working, dispatched
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import BenchmarkError
from tests.bench.setting import a_connected_tenant
from tests.bench.timetable import Timetable, worker_services
from tests.support.memory_documents import MemoryDocuments
from tests.support.mortal import Fate, watched_everywhere
from tests.support.through import Through
from tests.support.world import ACCOUNT, OMNEO_TOKEN, SIGNING_SECRET, TENANT, Clock

T = TypeVar("T")
_DRAINED, _SYNCS, _EVENTS, _LIVE = 20_000, 50_000, 100_000, 20
_LIVE_EVERY = 7.0
_LANDS = 60.0
_HALF_A_CALL, _DOCUMENT = 0.15, 0.02
_IMPORTS = "/api/profile-bulk-import-jobs"


def syncs_backlog() -> Iterator[Finding]:
    """20,000 syncs that wait, in bulk against single syncs; then 50,000 beside 100,000 waiting events, and a live event now and then."""
    yield from drained(_DRAINED)
    yield from live_behind(_SYNCS, _EVENTS)


def drained(many: int) -> Iterator[Finding]:
    """Let so many syncs wait, and work until all are done."""
    with tempfile.TemporaryDirectory() as place, _Shop.opened(Path(place)) as shop:
        shop.let_wait(many)
        began, started = shop.clock.now, time.perf_counter()
        shop.work([], until=lambda: False)
        real, profiles = time.perf_counter() - started, shop.sandbox.klaviyo.profiles(ACCOUNT)
        if {profile.attributes.get("first_name") for profile in profiles} != {"Canary"}:
            raise BenchmarkError("not every profile has its new name")
        seconds = max(profile.updated_at for profile in profiles) - began.timestamp()
        alone = many / (SHARE * Endpoint.PROFILE_IMPORT.limit.a_minute) * 60
        yield Count(f"{many:,} syncs, times faster than single syncs", alone / seconds, Aim(">=", 3))
        calls = shop.calls()
        yield Count(
            "share of bulk imports that are refused", calls[_IMPORTS, 429] / calls.total(), Aim("<=", 0.01)
        )
        yield Note(
            f"{seconds:.0f} s against {alone:.0f}; {calls[_IMPORTS, 202]} imports, {calls['/api/profile-import', 200]} single syncs"
        )
        yield Note(f"worked off by this machine in {real:.0f} s: {many / real:.0f} syncs a second, in memory")


def live_behind(syncs: int, events: int) -> Iterator[Finding]:
    """Let so many syncs wait and so many events come at once, and bring a live event every few seconds."""
    with tempfile.TemporaryDirectory() as place, _Shop.opened(Path(place)) as shop:
        shop.let_wait(syncs)
        live = [Event(number * _LIVE_EVERY, is_live=True) for number in range(1, _LIVE + 1)]
        coming = sorted([Event(0.0)] * events + live, key=lambda event: event.at)
        began, whole = shop.clock.now.timestamp(), len(coming)
        shop.work(coming, until=lambda: len(shop.sandbox.klaviyo.events(ACCOUNT)) >= whole)
        there = {
            event.properties["n"]: event.received_at - began for event in shop.sandbox.klaviyo.events(ACCOUNT)
        }
        ages = [there[number] - event.at for number, event in enumerate(coming) if event.is_live]
        yield Count(
            f"{syncs:,} syncs and {events:,} events waiting: seconds until a live event is at Klaviyo",
            max(ages),
            Aim("<=", 5),
        )
        left = SyncBacklog(shop.documents).count(TENANT)
        yield Note(
            f"all waiting events are there after {max(there.values()):.0f} s; {left:,} syncs wait still"
        )


class _Shop:
    """A tenant whose customers have changed their name since the last sync; Klaviyo has them as that sync wrote them."""

    def __init__(self, folder: Path, sandbox: Sandbox, clock: Clock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.documents = MemoryDocuments()
        self.services = worker_services(folder, sandbox, clock)
        self.queue = Timetable(clock, Counter(), a_second=dispatched())
        vars(self.services)["documents"] = self.documents
        vars(self.services)["queue"] = self.queue
        sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
        sandbox.klaviyo.consent.job_seconds = _LANDS
        made = a_connected_tenant(sandbox.klaviyo.install(ACCOUNT).access_token)
        hours = timedelta(hours=12)
        klaviyo = made.klaviyo and made.klaviyo.model_copy(update={"expires_at": clock() + hours})
        settings = made.settings.model_copy(
            update={"email_consent_unset": Unset.LEAVE, "sms_consent_unset": Unset.LEAVE}
        )
        changes = {"ledger_key": new_ledger_key(), "klaviyo": klaviyo, "settings": settings}
        self.tenant = made.model_copy(update=changes)
        self.services.tenants.create(self.tenant)

    @classmethod
    def opened(cls, folder: Path) -> "_Opened":
        """Return it, to be closed again."""
        return _Opened(folder)

    def let_wait(self, many: int) -> None:
        """Let so many syncs wait."""
        backlog, synced = SyncBacklog(self.documents), SyncedProfiles(self.documents, self.clock)
        for number in range(many):
            email, id = f"canary-{number}@example.org", f"{number:08x}-0000-4000-8000-000000000000"
            klaviyo_id = self.sandbox.klaviyo.profile(ACCOUNT, email=email, external_id=id).id
            identity = {"handle": "klaviyo", "identifier": klaviyo_id}
            self.sandbox.omneo.profile(TENANT, id=id, email=email, first_name="Canary", identities=[identity])
            left = hashes(self.tenant, {"external_id": id, "email": email})
            filled = frozenset({"first_name", "email"})
            before = self.clock() - timedelta(days=1)
            synced.keep(TENANT, id, SyncedProfile(ACCOUNT, klaviyo_id, filled, left, read_at=before))
            at = self.clock() + timedelta(microseconds=number - many)
            backlog.add(
                TENANT,
                SyncProfile(
                    tenant=TENANT,
                    id=sync_id(TENANT, id),
                    accepted_at=at,
                    profile_id=id,
                    until=at,
                    has_waited=True,
                ),
            )
        pack_soon(self.tenant, self.services)

    def calls(self) -> Counter[tuple[str, int | None]]:
        """Return how Klaviyo has answered the calls of each path."""
        made = self.sandbox.klaviyo.calls.all()
        return Counter((call.path, call.status) for call in made if call.method == "POST")

    def work(self, events: list[Event], until: Callable[[], bool]) -> None:
        """Do the due work, until the condition holds."""
        working = _WorkingInBulk(events, self.clock.now, self.tenant, self.services, self.queue)
        logs.configure("bench")
        with redirect_stdout(io.StringIO()):
            working.work_until(until)


class _Opened:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        clock = Clock(now=datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1))
        self._sandbox, self._clock = Sandbox(clock=clock.timestamp), clock

    def __enter__(self) -> _Shop:
        return _Shop(self._folder, self._sandbox.__enter__(), self._clock)

    def __exit__(self, *error: Any) -> None:
        self._sandbox.__exit__(*error)


class _WorkingInBulk(Working):
    """The workers, where a run of bulk imports takes its time."""

    def __init__(
        self, events: list[Event], began: datetime, tenant: Tenant, services: Services, queue: Timetable
    ) -> None:
        super().__init__(events, began, tenant, services, queue)
        self._owed = 0.0
        self._busy_until = self._clock.now
        self._in_bulk = replace(services, _kept=dict(services._kept))
        vars(self._in_bulk)["documents"] = _Owing(services.documents, self.owe)
        vars(self._in_bulk)["_connections"] = watched_everywhere(_OwingCalls(self.owe))
        vars(self._in_bulk)["queue"] = queue
        vars(self._in_bulk)["rests"] = services.rests

    def owe(self, seconds: float) -> None:
        """Add to the time that a run takes; its threads share it."""
        self._owed += seconds / THREADS

    def work_until(self, is_over: Callable[[], bool]) -> None:
        """Do the due work until it is over; check once a second."""
        asked = self._clock.now
        while self._clock.now < asked + timedelta(seconds=1) or not is_over():
            if self._clock.now >= asked + timedelta(seconds=1):
                asked = self._clock.now
            if not self._step(None):
                return

    def _to_be_queued(self, job: SendMetric, event: Event) -> SendMetric | None:
        """Let all but live events wait in the backlog from the start."""
        if event.is_live:
            return super()._to_be_queued(job, event)
        set_aside(job, self._tenant, self._services)
        return None

    def _do(self, job: AnyJob) -> None:
        if not isinstance(job, ImportSyncs):
            super()._do(job)
            return
        if self._clock.now < self._busy_until:
            self._queue.put(job, self._tenant, delay=(self._busy_until - self._clock.now).total_seconds())
            return
        self._deliver(job, self._in_bulk)
        self._busy_until, self._owed = self._clock.now + timedelta(seconds=self._owed), 0.0


class _Owing(Through):
    """The store as a run finds it."""

    def __init__(self, documents: Documents, owe: Callable[[float], None]) -> None:
        super().__init__(documents)
        self._owe = owe

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        """Take a while."""
        self._owe(_DOCUMENT)
        return call()


class _OwingCalls(Fate):
    """Klaviyo and Omneo as a run finds them."""

    def __init__(self, owe: Callable[[float], None]) -> None:
        super().__init__(-1, kills=False)
        self._owe = owe

    def pass_by(self, what: str) -> None:
        """Take a while."""
        self._owe(_HALF_A_CALL)
