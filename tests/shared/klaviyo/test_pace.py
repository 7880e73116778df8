"""The pace of calls at the wire: after a refusal nothing is called, until the endpoint may be, and then one behind the other."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.sandbox.sandbox import Sandbox
from shared.errors import RestingError, WaitError
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from shared.klaviyo.limits import Endpoint, Limit
from shared.klaviyo.pace import TenantPace
from shared.klaviyo.rests import Rests
from tests.support.memory_documents import MemoryDocuments
from tests.support.world import TENANT, Clock

ACCOUNT = "acc-acme"


class Shop:
    """A tenant, whose instances share a store."""

    def __init__(self, sandbox: Sandbox, clock: Clock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.documents = MemoryDocuments()
        self.token = sandbox.klaviyo.install(ACCOUNT).access_token
        self.here = self.instance()

    def instance(self) -> KlaviyoClient:
        http = HttpClient("Klaviyo", self.sandbox.klaviyo.url, read_problem, Connections())
        pace = TenantPace(TENANT, Rests(self.documents, self.clock), self.clock)
        return KlaviyoClient(http, FixedToken(SecretStr(self.token)), "2026-10-15", pace)

    def throttle(self, retry_after: str = "20", *, times: int = 1) -> None:
        headers = {"Retry-After": retry_after}
        self.sandbox.klaviyo.fail(times, match="GET /api/metrics", status=429, headers=headers)

    def waits(self, client: KlaviyoClient | None = None) -> float | None:
        """Return how long the look at the metrics has to wait, None if it was made."""
        try:
            (client or self.here).metrics()
        except WaitError as error:
            return error.retry_after or 0.0
        return None

    def statuses(self) -> Counter[int | None]:
        return Counter(call.status for call in self.sandbox.klaviyo.calls.all())

    def called(self) -> int:
        return len(self.sandbox.klaviyo.calls.all())


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    return Shop(sandbox, Clock())


@pytest.fixture
def timed(sandbox: Sandbox, clock: Clock) -> Shop:
    """One that has the clock of its Klaviyo."""
    return Shop(sandbox, clock)


def test_after_a_refusal_nothing_is_called_until_the_time_is_over(shop: Shop) -> None:
    shop.throttle()
    assert shop.waits() == 20
    shop.clock.advance(5)
    with pytest.raises(RestingError) as resting:
        shop.here.metrics()
    assert resting.value.status == 429
    assert resting.value.retry_after == 15
    assert shop.called() == 1
    shop.clock.advance(15)
    assert shop.waits() is None
    assert shop.called() == 2


def test_another_endpoint_is_called_meanwhile(shop: Shop) -> None:
    shop.throttle()
    shop.waits()
    assert shop.here.account().id == ACCOUNT


def test_another_instance_does_not_ask_again(shop: Shop) -> None:
    shop.throttle()
    shop.waits()
    assert shop.waits(shop.instance()) == 20
    assert shop.called() == 1


def test_without_a_time_it_is_asked_again_after_a_second_and_then_ever_later(shop: Shop) -> None:
    shop.throttle("soon", times=3)
    seconds = 0
    while shop.waits() is not None:
        shop.clock.advance(1)
        seconds += 1
    assert shop.called() == 4
    assert seconds == 1 + 2 + 4


def test_those_who_wait_come_back_as_fast_as_the_limit_allows(shop: Shop) -> None:
    shop.throttle()
    shop.waits()
    limit = Endpoint.READ_METRICS.limit
    assert limit == Limit(a_second=10, a_minute=150)
    told = [shop.waits() or 0.0 for _ in range(400)]
    assert told == sorted(told)
    for begin in told:
        assert sum(begin <= one < begin + 1 - 1e-9 for one in told) <= limit.a_second
        assert sum(begin <= one < begin + 60 for one in told) <= limit.a_minute
    assert told[149] < 20 + 15
    assert told[399] < 20 + 2 * 60 + 10


def test_who_comes_after_the_rest_is_over_waits_for_nobody(shop: Shop) -> None:
    shop.throttle()
    for _ in range(400):
        shop.waits()
    shop.clock.advance(20)
    assert shop.waits() is None


def test_a_later_rest_puts_nobody_before_those_who_wait_already(shop: Shop) -> None:
    rests, limit = Rests(shop.documents, shop.clock), Limit(a_second=1, a_minute=10)
    rests.rest(TENANT, "events", shop.clock() + timedelta(seconds=5))
    first = [rests.turn(TENANT, "events", limit) for _ in range(3)]
    rests.rest(TENANT, "events", shop.clock() + timedelta(seconds=7))
    later = rests.turn(TENANT, "events", limit)
    assert [turn and (turn - shop.clock()).total_seconds() for turn in (*first, later)] == [5, 6, 7, 8]


def test_a_throttled_token_endpoint_lets_no_other_endpoint_rest(shop: Shop) -> None:
    class Throttled:
        def current(self) -> str:
            raise WaitError("Klaviyo answered 429", service="Klaviyo", status=429, retry_after=30)

        def instead_of(self, rejected: str) -> str:
            raise AssertionError

    rests = Rests(shop.documents, shop.clock)
    http: Any = None
    client = KlaviyoClient(http, Throttled(), "2026-10-15", TenantPace(TENANT, rests, shop.clock))
    with pytest.raises(WaitError):
        client.metrics()
    assert rests.until(TENANT, Endpoint.READ_METRICS) is None


def test_an_accounts_own_limit_is_learned_from_its_answers(shop: Shop) -> None:
    rests = Rests(shop.documents, shop.clock)
    pace = TenantPace(TENANT, rests, shop.clock)
    assert rests.limit(TENANT, Endpoint.EVENTS) == Endpoint.EVENTS.limit
    pace.answered(Endpoint.EVENTS, {"RateLimit-Limit": "70, 70;w=1, 700;w=60"})
    pace.answered(Endpoint.EVENTS, {})
    assert rests.limit(TENANT, Endpoint.EVENTS) == Limit(a_second=70, a_minute=700)
    assert rests.limit("beta", Endpoint.EVENTS) == Endpoint.EVENTS.limit


class Hears(TenantPace):
    """A pace that keeps what it hears."""

    def __init__(self, rests: Rests, clock: Clock) -> None:
        super().__init__(TENANT, rests, clock)
        self.heard: list[tuple[Endpoint, Limit | None]] = []

    def answered(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self.heard.append((endpoint, Limit.read(headers.get("RateLimit-Limit", ""))))


def test_the_pace_hears_the_headers_of_each_call(shop: Shop) -> None:
    http = HttpClient("Klaviyo", shop.sandbox.klaviyo.url, read_problem, Connections())
    pace = Hears(Rests(shop.documents, shop.clock), shop.clock)
    KlaviyoClient(http, FixedToken(SecretStr(shop.token)), "2026-10-15", pace).metrics()
    assert pace.heard == [(Endpoint.READ_METRICS, Endpoint.READ_METRICS.limit)]


def test_the_last_call_that_klaviyo_takes_in_a_second_is_the_last_that_is_made_in_it(timed: Shop) -> None:
    a_second = Endpoint.READ_METRICS.limit.a_second
    for second in range(3):
        waits = [timed.waits() for _ in range(a_second + 5)]
        assert waits[:a_second] == [None] * a_second, second
        assert all(1 <= (wait or 0) < 2 for wait in waits[a_second:])  # one behind the other
        timed.clock.advance(1)
    assert timed.statuses() == {200: 3 * a_second}


def test_a_second_that_is_spent_ends_no_longer_rest(timed: Shop) -> None:
    for _ in range(Endpoint.READ_METRICS.limit.a_second - 1):
        timed.waits()
    timed.throttle()
    assert timed.waits() == 20
    timed.clock.advance(1)
    assert timed.waits() == 19
