"""The shop that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.syncing import Shop, a_shop
from tests.support.world import World


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with a_shop(world) as shop:
        yield shop
