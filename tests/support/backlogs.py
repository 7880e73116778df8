"""A tenant with more events than single calls can carry: they wait in the backlog.

The packer runs by the queue or by hand, with a fate.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.direction import Direction
from shared.jobs.jobs import Delivery, Outcome, PackEvents, SendMetric, read_job, write_job
from shared.metrics.backlog import Backlog
from shared.metrics.metrics import accept_metric
from shared.metrics.packing import pack_events
from shared.services import Services
from shared.worker.delivery import deliver
from tests.support.mortal import Fate, another_instance
from tests.support.world import ACCOUNT, TENANT, World

SINGLE = "/api/events"
BULK = "/api/event-bulk-create-jobs"


@dataclass
class Rush:
    """An installed tenant with many events, and those that Klaviyo has."""

    world: World

    def set_up(self) -> "Rush":
        self.world.tenant()
        return self

    @property
    def backlog(self) -> Backlog:
        return Backlog.of(self.world.services)

    def accept(self, number: int = 1, *, with_token: bool = False, **more: Any) -> SendMetric:
        """Accept a call, as the targets function does. Each number is an event of another person."""
        profile = more.pop("profile", {"attributes": {"email": f"canary-{number}@example.org"}})
        attributes = {
            "metric": {"data": {"attributes": {"name": more.pop("metric", "Points Expire")}}},
            "profile": {"data": profile},
            "properties": {"n": number},
            **more,
        }
        return accept_metric(
            self.world.read(),
            {"attributes": attributes},
            metric_name="",
            with_token=with_token,
            queue=self.world.services.queue,
            now=self.world.clock(),
            new_id=self.world.services.new_id,
            traceparent="",
        )

    def job(self, number: int = 1, **changes: Any) -> SendMetric:
        """Return the job of an event, which no queue knows."""
        event = {
            "metric": {"data": {"type": "metric", "attributes": {"name": "Points Expire"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": f"canary-{number}@example.org"}}},
            "properties": {"n": number},
            "unique_id": f"u-{number}",
            "time": self.world.clock().isoformat(),
        }
        named = {"tenant": TENANT, "id": f"job{number}", "accepted_at": self.world.clock(), "event": event}
        return SendMetric.model_validate({**named, **changes})

    def set_aside(self, *numbers: int, **changes: Any) -> list[SendMetric]:
        """Put events into the backlog, of which no packer knows, in a window that is over."""
        jobs = [self.job(number, **changes) for number in numbers]
        for job in jobs:
            self.backlog.add(TENANT, job, at=self.world.clock() - timedelta(seconds=10))
        return jobs

    def throttle(self, seconds: float = 30) -> None:
        """Let single calls rest, as after a refusal."""
        until = self.world.clock() + timedelta(seconds=seconds)
        self.world.services.rests.rest(TENANT, "events", until)

    def deliver(self, job: SendMetric, *, retries: int = 0, services: Services | None = None) -> Outcome:
        """Deliver a job as a queue does, outside of ours."""
        delivery = Delivery(Direction.OUTBOUND, write_job(job), "queue", "task", TENANT, retries)
        return deliver(delivery, services or self.world.services)

    def deliver_many(self, first: int, many: int = 15) -> list[Outcome]:
        """Deliver so many at one moment that the last of them no longer count as few."""
        return [self.deliver(self.job(number)) for number in range(first, first + many)]

    def pack(
        self, fate: Fate | None = None, *, is_dropped: Callable[[SendMetric], bool] = lambda _: False
    ) -> None:
        """Run the packer once, outside the queue, in a process with this fate."""
        job = PackEvents(tenant=TENANT, accepted_at=self.world.clock())
        pack_events(job, self.world.read(), self.services(fate), dropping=lambda: is_dropped)

    def services(self, fate: Fate | None = None) -> Services:
        """Return services of their own, as another instance has; with a fate, all that they do passes by it."""
        return another_instance(self.world.services, fate)

    def work_until_quiet(self, *, step: float = 1, most: int = 400) -> float:
        """Let time pass until nothing is queued and nothing waits; return the seconds that took."""
        for number in range(most):
            self.world.work(step if number else 0)
            if not self.queued() and not self.backlog.count(TENANT):
                return number * step
        raise AssertionError("it never came to rest")

    def queued(self, kind: str = "") -> list[Any]:
        """Return the jobs that are queued, of one kind if it is named."""
        jobs = [read_job(body) for direction in Direction for body in self.world.queued(direction)]
        return [job for job in jobs if kind in ("", job.kind)]

    def waiting(self) -> list[int]:
        """Return the numbers of the events in the backlog, in its order."""
        return [number_of(waiting.job) for waiting in self.backlog.waiting(TENANT)]

    def arrived(self) -> list[int]:
        """Return the numbers of the events that Klaviyo has, in the order in which they came."""
        return [event.properties["n"] for event in self.world.sandbox.klaviyo.events(ACCOUNT)]

    def calls(self, path: str) -> list[int | None]:
        """Return the statuses of the calls of a path."""
        return [call.status for call in self.world.sandbox.klaviyo.calls.all() if call.path == path]

    def statuses(self, path: str) -> Counter[int | None]:
        return Counter(self.calls(path))


def number_of(job: SendMetric) -> int:
    number = job.event["properties"]
    assert isinstance(number, dict)
    return int(str(number["n"]))
