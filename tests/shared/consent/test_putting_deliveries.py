"""Klaviyo waits five seconds for a delivery to be queued whole: its jobs are put some at once, and one that fails fails all."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.consent.webhook import PUT_AT_ONCE, accept_delivery
from shared.errors import QueueUnavailableError
from shared.jobs.jobs import AnyJob, SpreadEvents
from shared.tenants.tenants import KlaviyoConnection, Tenant
from tests.bench.deliveries import WEBHOOK_ID, Happening, a_body, profile_id
from tests.support.world import ACCOUNT, TENANT, a_tenant

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class Queue:
    """Keeps jobs; takes none before as many have come at once as `together`, and fails at the one with event `refused`."""

    def __init__(self, *, together: int = 1, refused: str = "") -> None:
        self.jobs: list[SpreadEvents] = []
        self._together = threading.Barrier(together)
        self._refused = refused

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        self._together.wait(timeout=60)
        assert isinstance(job, SpreadEvents)
        if any(event.id == self._refused for event in job.events):
            raise QueueUnavailableError("The queue did not take the task.")
        self.jobs.append(job)


def deliver(queue: Any, events: int) -> dict[str, Any]:
    """Have a delivery of so many events, each of a profile of its own, accepted."""
    connection = KlaviyoConnection(
        access_token="canary-access", refresh_token="canary-refresh", expires_at=NOW, connected_at=NOW
    )
    tenant = a_tenant(TENANT, NOW, klaviyo=connection, klaviyo_account_id=ACCOUNT)
    happenings = [
        Happening(f"event-{number}", "subscribed_to_email_marketing", profile_id(number), NOW)
        for number in range(events)
    ]
    body = a_body(happenings, NOW)
    return accept_delivery(tenant, body, webhook_id=WEBHOOK_ID, queue=queue, now=NOW, traceparent="")


def test_the_jobs_of_a_large_delivery_do_not_wait_for_one_another() -> None:
    queue = Queue(together=PUT_AT_ONCE)
    assert deliver(queue, 1000)["events"] == 1000
    assert {event.id for job in queue.jobs for event in job.events} == {
        f"event-{number}" for number in range(1000)
    }


@pytest.mark.parametrize("number", [0, 500, 999])
def test_a_delivery_of_which_one_job_was_not_taken_is_not_acknowledged(number: int) -> None:
    with pytest.raises(QueueUnavailableError):
        deliver(Queue(refused=f"event-{number}"), 1000)


def test_a_delivery_without_events_for_us_queues_nothing() -> None:
    queue = Queue()
    assert deliver(queue, 0)["events"] == 0
    assert queue.jobs == []
