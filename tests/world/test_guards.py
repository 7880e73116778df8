"""The world itself is tested: if a guard is missing, chance finds it within a stated number of histories, or a named
story finds it.

Guards that only rare histories need take minutes: `python -m pytest -m guards tests/world` plays those.
"""

import pytest

from tests.world.guards import GUARDS, Guard, taken_out
from tests.world.history import live
from tests.world.plans import Plan, drawn
from tests.world.test_stories import STORIES

QUICK = 300
NAMES = [
    pytest.param(name, marks=[pytest.mark.guards] if guard.within > QUICK else [])
    for name, guard in GUARDS.items()
]


@pytest.mark.parametrize("name", NAMES)
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
