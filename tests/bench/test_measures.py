"""The output names the measured values."""

import pytest

from tests.bench.measures import Aim, Count, Ratio, Spread, percentile

TENTH = Spread.of([0.1], "s")


def test_a_ratio_is_of_medians_so_that_one_slow_repetition_does_not_count() -> None:
    ratio = Ratio("start", Spread.of([0.2, 0.2, 5.0], "s"), TENTH, Aim("<=", 2.0))
    assert ratio.value == pytest.approx(2.0)
    assert str(ratio).endswith(" 0.200 (0.200..5.00) s against 0.100 (0.100..0.100) s")


@pytest.mark.parametrize(
    ("seconds", "aim", "verdict"),
    [
        (0.15, Aim("<=", 1.5), "met"),
        (0.1501, Aim("<=", 1.5), "MISSED"),  # rounded it would pass
        (0.05, Aim(">=", 0.5), "met"),
        (0.0499, Aim(">=", 0.5), "MISSED"),
    ],
)
def test_an_aim_is_judged_by_the_unrounded_ratio(seconds: float, aim: Aim, verdict: str) -> None:
    assert f": {verdict} " in str(Ratio("start", Spread.of([seconds], "s"), TENTH, aim))


def test_a_call_too_many_misses_its_aim() -> None:
    assert str(Count("calls", 1.01, Aim("=", 1))).endswith("MISSED")


def test_what_has_no_aim_has_no_verdict() -> None:
    assert "aim" not in str(Ratio("start", TENTH, TENTH))


def test_the_99th_percentile_of_a_hundred_is_the_second_slowest() -> None:
    assert percentile(sorted(range(100)), 0.99) == 98
