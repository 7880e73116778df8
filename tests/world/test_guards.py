"""The world is tested: whoever takes out a guard is found out by chance, within a stated number of histories, or by a named story."""

import pytest

from tests.world.guards import GUARDS, Guard, taken_out
from tests.world.history import live
from tests.world.plans import Plan, drawn
from tests.world.test_stories import STORIES


@pytest.mark.parametrize("name", GUARDS)
def test_the_world_misses_a_guard(name: str) -> None:
    guard = GUARDS[name]
    plans = [STORIES[guard.story]] if guard.story else map(drawn, range(guard.within))
    assert any(is_missed(guard, plan) for plan in plans)


def is_missed(guard: Guard, plan: Plan) -> bool:
    """Return whether a history ends well with the guard, and not without."""
    if not guard.among(plan):
        return False
    with taken_out(guard):
        went_wrong = live(plan).went_wrong
    return went_wrong and not live(plan).went_wrong
