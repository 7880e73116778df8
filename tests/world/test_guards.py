"""The world is tested: whoever takes out a guard is found out by chance, within a stated number of histories."""

import pytest

from tests.world.guards import GUARDS, Guard, taken_out
from tests.world.history import live
from tests.world.plans import drawn


@pytest.mark.parametrize("name", GUARDS)
def test_the_world_misses_a_guard(name: str) -> None:
    guard = GUARDS[name]
    assert any(is_missed(guard, seed) for seed in range(guard.within))


def is_missed(guard: Guard, seed: int) -> bool:
    """Return whether the history of a seed ends well with the guard, and not without."""
    plan = drawn(seed)
    if not guard.among(plan):
        return False
    with taken_out(guard):
        went_wrong = live(plan).went_wrong
    return went_wrong and not live(plan).went_wrong
