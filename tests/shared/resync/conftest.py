"""The shop whose whole base a run sends."""

from collections.abc import Iterator

import pytest

from tests.support.resyncing import Whole, a_base
from tests.support.world import World


@pytest.fixture
def shop(world: World) -> Iterator[Whole]:
    """Return a shop with nobody in it yet."""
    with a_base(world) as shop:
        yield shop
