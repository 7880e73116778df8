"""How far a run is said to be, and what it sends."""

from datetime import timedelta

import pytest

from shared.resync.rules.run import Kind, Options, in_parts, progress


def test_the_time_left_is_told_once_there_is_a_speed() -> None:
    assert progress(0, 1000, timedelta()).left is None
    assert progress(250, 1000, timedelta(minutes=1)).per_minute == 250
    assert progress(250, 1000, timedelta(minutes=1)).left == timedelta(minutes=3)
    assert progress(1100, 1000, timedelta(minutes=1)).left == timedelta()


@pytest.mark.parametrize(
    ("options", "sends", "sends_profiles"),
    [
        (Options(), True, True),
        (Options(only_consent=True), True, False),
        (Options(dry_run=True), False, False),
        (Options(kind=Kind.RECONCILE), False, False),
        (Options(kind=Kind.REPAIR), True, False),
        (Options(kind=Kind.REPAIR, dry_run=True), False, False),
    ],
)
def test_what_a_run_sends(options: Options, *, sends: bool, sends_profiles: bool) -> None:
    assert (options.sends, options.sends_profiles) == (sends, sends_profiles)


def test_parts_are_full_but_for_the_last() -> None:
    assert in_parts(range(5), 2) == [[0, 1], [2, 3], [4]]
    assert in_parts([], 2) == []
