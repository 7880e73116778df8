"""A tenant with its six data sources, records on their way to them, and the arrived records; run by the queue or by hand, with a fate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.jobs.jobs import AnyJob, PackRecords, SendRecords
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.outbox import Outbox
from shared.records.packing import pack_records
from shared.records.rules.record import RECORD_ID
from shared.services import Services
from shared.targets.routes import TargetCall, target_named
from shared.tenants.tenants import Tenant
from tests.support.mortal import Fate, another_instance
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

REWARDS = "Omneo Rewards"
SINGLE = "/api/data-source-record-create-jobs"
BULK = "/api/data-source-record-bulk-create-jobs"


@dataclass
class Shelf:
    """An installed tenant whose data sources are made, and its records in Klaviyo."""

    world: World

    def set_up(self) -> "Shelf":
        """Make the six data sources, as the install does."""
        self.world.tenant()
        klaviyo = self.world.sandbox.klaviyo
        made = {title: klaviyo.data_source(ACCOUNT, title).id for title in DATA_SOURCES}

        def edit(tenant: Tenant) -> Tenant:
            return tenant.model_copy(
                update={"provisions": tenant.provisions.model_copy(update={"data_sources": made})}
            )

        self.world.services.tenants.change(TENANT, edit)
        self.world.services.tenant_cache.fresh(TENANT)
        return self

    def send(self, *numbers: int, source: str = REWARDS, **more: Any) -> str:
        """Accept a call with these records, as the targets function does."""
        rows = [{"n": n, "email": EMAIL, **more} for n in numbers]
        body = {"data_source": source, **({"record": rows[0]} if len(rows) == 1 else {"records": rows})}
        return self.accept(body)

    def accept(self, body: dict[str, Any], *, services: Services | None = None) -> str:
        """Accept a call, as the targets function does."""
        call = TargetCall(self.world.read(), body, {}, "")
        _, answer = target_named("data-source-record").answer(call, services or self.world.services)
        return str(answer["id"])

    def shelve(self, *numbers: int, job: str = "j", source: str = REWARDS, **more: Any) -> None:
        """Put records into the outbox, of which no packer knows."""
        rows = [{"n": n, "email": EMAIL, RECORD_ID: f"r-{n}", **more} for n in numbers]
        Outbox.of(self.world.services).add(
            TENANT, source, rows, job=job, accepted_at=self.world.services.clock()
        )

    def pack(self, fate: Fate | None = None, *, source: str = REWARDS) -> None:
        """Run the packer once, outside the queue, in a process with this fate."""
        pack_records(self.packing(source), self.world.read(), self.services(fate))

    def packing(self, source: str = REWARDS) -> PackRecords:
        return PackRecords(tenant=TENANT, accepted_at=self.world.clock(), data_source=source)

    def services(self, fate: Fate | None = None) -> Services:
        """Return services of their own, as another instance has; with a fate, all that they do passes by it."""
        return another_instance(self.world.services, fate)

    def work_until_quiet(self, *, step: float = 1, most: int = 400) -> float:
        """Let time pass until nothing is queued and nothing waits; return the seconds that took."""
        for number in range(most):
            self.world.work(step if number else 0)
            if not self.jobs() and not any(self.is_waiting(title) for title in DATA_SOURCES):
                return number * step
        raise AssertionError("it never came to rest")

    def jobs(self) -> int:
        from shared.direction import Direction

        return self.world.services.queue.state(self.world.read(), Direction.OUTBOUND).depth

    def is_waiting(self, source: str = REWARDS) -> bool:
        return any(Outbox.of(self.world.services).waiting(TENANT, source))

    def arrived(self) -> list[int]:
        """Return the numbers of the records that Klaviyo has, in the order in which they came."""
        return [row.record["n"] for row in self.world.sandbox.klaviyo.records(ACCOUNT)]

    def calls(self, path: str, *, status: int | None = None) -> list[Any]:
        """Return the calls of a path, those answered with a status if one is given."""
        calls = [call for call in self.world.sandbox.klaviyo.calls.all() if call.path == path]
        return [call for call in calls if status in (None, call.status)]

    def source_ids(self, title: str = REWARDS) -> list[str]:
        """Return the ids of the data sources with a title."""
        sources = self.world.sandbox.klaviyo.data_sources(ACCOUNT)
        return [source.id for source in sources if source.title == title]


def jobs_of(dead: list[Any]) -> Iterator[AnyJob]:
    """Yield the jobs that dead jobs keep."""
    from shared.jobs.jobs import read_job

    return (read_job(one.body) for one in dead)


def numbers_of(job: AnyJob) -> list[Any]:
    """Return the numbers of the records in a job."""
    assert isinstance(job, SendRecords)
    return [record["n"] for record in job.records]
