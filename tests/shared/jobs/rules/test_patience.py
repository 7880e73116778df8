"""How long a job waits: as long as it is asked to, longer each time, and not in step with others."""

from datetime import timedelta

import pytest

from shared.jobs.rules.patience import LONGEST_WAIT, POISON_RETRIES, is_given_up, seconds_to_wait


@pytest.mark.parametrize("asked", [None, 0.0, 1.0, 17.0])
def test_the_wait_grows_with_every_attempt_whatever_the_service_asks_for(asked: float | None) -> None:
    waits = [seconds_to_wait(attempts, asked, 0.0) for attempts in range(40)]
    assert waits == sorted(waits)
    assert waits[0] == max(1.0, asked or 0.0)
    assert waits[4] == max(16.0, asked or 0.0)
    assert waits[-1] == 600.0


@pytest.mark.parametrize("attempts", [0, 5, 40, 10_000])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("asked", [30.0, 900.0, 3600.0, 999_999_999.0])
def test_no_job_comes_back_before_the_time_it_was_asked_for_and_none_stays_away_for_long(
    attempts: int, jitter: float, asked: float
) -> None:
    wait = seconds_to_wait(attempts, asked, jitter)
    assert min(asked, LONGEST_WAIT) <= wait <= LONGEST_WAIT * 1.5


@pytest.mark.parametrize(
    ("attempts", "asked"), [(0, None), (5, None), (20, None), (0, 60.0), (0, 3600.0), (8, 0.0)]
)
def test_the_jitter_is_up_to_half_of_the_wait(attempts: int, asked: float | None) -> None:
    shortest = seconds_to_wait(attempts, asked, 0.0)
    assert seconds_to_wait(attempts, asked, 0.5) == 1.25 * shortest
    assert seconds_to_wait(attempts, asked, 1.0) == 1.5 * shortest


def test_a_job_is_given_up_at_an_age_of_exactly_a_day() -> None:
    assert not is_given_up(timedelta(hours=24) - timedelta(microseconds=1))
    assert is_given_up(timedelta(hours=24))


def test_the_longest_wait_is_an_hour_and_a_job_that_kills_workers_has_two_hundred_deliveries() -> None:
    assert seconds_to_wait(0, 999_999.0, 0.0) == LONGEST_WAIT == 3600.0
    assert POISON_RETRIES == 200
