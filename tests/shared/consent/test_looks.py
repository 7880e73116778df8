"""When both sides of a consent are looked at: which job is queued, for which moment, and for how many who ask."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.consent.looks import look_after_a_call, look_at, look_where_undone
from shared.consent.rules import calls, learning
from shared.consent.rules.decisions import Decided
from shared.consent.rules.memory import LANDING, Call, Memory
from shared.consent_events import Channel, Consent, Decision
from shared.jobs.jobs import AnyJob, CompareConsent
from shared.services import Services
from shared.tenants.tenants import KlaviyoConnection, Tenant
from tests.support.consenting import ListedQueue
from tests.support.world import ACCOUNT, TENANT, Clock, a_tenant

NOW = Clock().now
JANE = "5d1f6a3e"
A_WINDOW = timedelta(seconds=12)  # no look is later than this, and none is earlier than asked for


@dataclass
class TimedQueue(ListedQueue):
    """A queue that notes what a task's delay is."""

    delays: list[float] = field(default_factory=list)

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        is_new = super().put_named(job, tenant, name=name, delay=delay)
        self.delays += [delay] * is_new
        return is_new

    @property
    def looks(self) -> list[tuple[tuple[str, ...], bool]]:
        """Return whom each look is at, and whether it is one that no other follows."""
        return [(job.profile_ids, job.again) for job in self.jobs if isinstance(job, CompareConsent)]


@pytest.fixture
def queue(store_services: Services) -> TimedQueue:
    """Return the queue of the services."""
    queue = TimedQueue()
    store_services.__dict__["queue"] = queue
    return queue


def a_connected_tenant() -> Tenant:
    tokens = {"access_token": "canary-access", "refresh_token": "canary-refresh", "expires_at": NOW}
    known = {"account_id": ACCOUNT, "connected_at": NOW}
    return a_tenant(TENANT, NOW, klaviyo=KlaviyoConnection.model_validate({**tokens, **known}))


def undone(seconds: float) -> dict[Channel, Memory]:
    """Return memories in which she opted out of email this long after she was asked for in Klaviyo."""
    asked = NOW - timedelta(seconds=10)
    call = Call(Consent.EMAIL, "in", "01HX", asked, asked, asked)
    email = calls.accepted(calls.with_call(Memory(Channel.EMAIL), call), Consent.EMAIL, "in", "01HX")
    out = Decided(
        "e1",
        "unsubscribed_from_email_marketing",
        "01HX",
        asked + timedelta(seconds=seconds),
        Decision.OPT_OUT,
    )
    return {Channel.EMAIL: learning.with_events(email, [out]), Channel.SMS: Memory(Channel.SMS)}


def is_due(queue: TimedQueue, moment: datetime) -> bool:
    """Return whether the one look comes at that moment or soon after."""
    (delay,) = queue.delays
    return moment <= NOW + timedelta(seconds=delay) <= moment + A_WINDOW


def test_a_look_after_a_call_comes_when_the_call_must_have_landed(
    store_services: Services, queue: TimedQueue
) -> None:
    look_after_a_call(a_connected_tenant(), JANE, store_services)
    assert queue.looks == [((JANE,), False)]
    assert is_due(queue, NOW + LANDING)


def test_who_asks_for_a_look_at_a_past_moment_has_it_in_this_window(
    store_services: Services, queue: TimedQueue
) -> None:
    look_at(a_connected_tenant(), JANE, NOW - timedelta(days=1), store_services)
    assert queue.delays == [12.0]


def test_however_many_ask_for_a_look_in_one_window_it_is_one_and_the_last_look_is_another(
    store_services: Services, queue: TimedQueue
) -> None:
    for _ in range(2):
        look_at(a_connected_tenant(), JANE, NOW, store_services)
        look_at(a_connected_tenant(), JANE, NOW, store_services, again=True)
    look_at(a_connected_tenant(), "joe", NOW, store_services)
    assert queue.looks == [((JANE,), False), ((JANE,), True), (("joe",), False)]
    ids = [job.id for job in queue.jobs]
    assert ids[0] == ids[1] != ids[2]  # given up both, they are one dead job


def test_where_our_opt_in_may_land_after_her_opt_out_both_sides_are_looked_at_when_it_has(
    store_services: Services, queue: TimedQueue
) -> None:
    look_where_undone(undone(5), JANE, a_connected_tenant(), store_services)
    assert queue.looks == [((JANE,), False)]
    assert is_due(queue, NOW - timedelta(seconds=10) + LANDING)


def test_where_nothing_can_be_undone_or_nothing_is_connected_nobody_looks(
    store_services: Services, queue: TimedQueue
) -> None:
    nothing = {channel: Memory(channel) for channel in Channel}
    look_where_undone(nothing, JANE, a_connected_tenant(), store_services)
    look_where_undone(undone(5), JANE, a_tenant(TENANT, NOW), store_services)
    assert queue.looks == []
