"""Histories in which Klaviyo throttles syncs, so that those that wait go in bulk imports, and all else happens that happens elsewhere."""

from collections import Counter

import pytest

from tests.world.history import live
from tests.world.open_seeds import OPEN
from tests.world.plans import drawn, in_bulk
from tests.world.shrink import shrunk_story

BATCHES, EACH, QUICK = 12, 15, 1
NUMBERS = [
    pytest.param(batch, marks=[pytest.mark.histories] if batch >= QUICK else []) for batch in range(BATCHES)
]


@pytest.mark.parametrize("batch", NUMBERS)
def test_no_law_is_broken_while_syncs_go_in_bulk(batch: int) -> None:
    fired = Counter[str]()
    for seed in range(batch * EACH, (batch + 1) * EACH):
        lived = live(in_bulk(drawn(seed), seed))
        fired += lived.fired
        if lived.went_wrong and seed not in OPEN:
            pytest.fail(f"seed {seed}: {shrunk_story(lived)}", pytrace=False)
    assert fired["syncs in bulk"]
