"""The emulator's pure rules: back-off, giving up, token bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.tasks.backoff import interval, is_exhausted
from deploy.local.tasks.bucket import Bucket
from deploy.local.tasks.model import SECOND, RateLimits, RetryConfig

DOCUMENTED = RetryConfig(min_backoff=10 * SECOND, max_backoff=300 * SECOND, max_doublings=3)


def test_the_documented_example_of_a_backoff_comes_out_as_documented() -> None:
    waits = [interval(DOCUMENTED, attempts) / SECOND for attempts in range(1, 10)]

    assert waits == [10, 20, 40, 80, 160, 240, 300, 300, 300]


def test_without_doublings_the_wait_grows_by_the_minimum() -> None:
    config = RetryConfig(min_backoff=2 * SECOND, max_backoff=7 * SECOND, max_doublings=0)

    assert [interval(config, attempts) / SECOND for attempts in range(1, 6)] == [2, 4, 6, 7, 7]


def test_the_default_backoff_starts_at_a_tenth_of_a_second_and_ends_at_an_hour() -> None:
    assert [interval(RetryConfig(), attempts) for attempts in (1, 2, 3, 100)] == [
        SECOND // 10,
        SECOND // 5,
        4 * SECOND // 10,
        3600 * SECOND,
    ]


@given(
    st.integers(0, 10**13),
    st.integers(0, 10**13),
    st.integers(0, 2**31 - 1),
    st.integers(1, 10**7),
)
def test_a_backoff_never_shrinks_and_stays_within_its_bounds(
    one: int, other: int, doublings: int, attempts: int
) -> None:
    config = RetryConfig(min_backoff=min(one, other), max_backoff=max(one, other), max_doublings=doublings)

    first, second = interval(config, attempts), interval(config, attempts + 1)

    assert config.min_backoff <= first <= second <= config.max_backoff


@pytest.mark.parametrize(
    ("max_attempts", "max_seconds", "attempts", "seconds", "given_up"),
    [
        (3, 0, 2, 10**9, False),
        (3, 0, 3, 0, True),
        (3, 60, 3, 59, False),
        (3, 60, 2, 61, False),
        (3, 60, 3, 60, True),
        (-1, 60, 10**6, 59, False),
        (-1, 60, 1, 60, True),
        (-1, 0, 10**6, 10**9, False),
    ],
)
def test_a_task_is_given_up_when_every_limit_that_is_set_is_reached(
    max_attempts: int, max_seconds: int, attempts: int, seconds: int, given_up: bool
) -> None:
    config = RetryConfig(max_attempts=max_attempts, max_retry_duration=max_seconds * SECOND)

    assert is_exhausted(config, attempts=attempts, since_first=seconds * SECOND) is given_up


def test_a_bucket_refills_at_the_rate_and_never_above_the_burst() -> None:
    limits, bucket = RateLimits(max_dispatches_per_second=4), Bucket(0, 0)

    assert bucket.next_token(limits) == SECOND // 4
    bucket.refill(limits, SECOND // 2)
    assert bucket.tokens == 2
    assert bucket.next_token(limits) == SECOND // 2
    bucket.refill(limits, 60 * SECOND)
    assert bucket.tokens == limits.max_burst_size == 4


def test_a_clock_that_is_set_back_neither_fills_nor_empties_a_bucket() -> None:
    bucket = Bucket(1, 10 * SECOND)

    bucket.refill(RateLimits(max_dispatches_per_second=1), 5 * SECOND)

    assert bucket.tokens == 1


@pytest.mark.parametrize(("rate", "burst"), [(500, 500), (0.1, 1), (1.5, 2)])
def test_the_burst_is_at_least_the_rate_and_at_least_one(rate: float, burst: int) -> None:
    assert RateLimits(max_dispatches_per_second=rate).max_burst_size == burst
