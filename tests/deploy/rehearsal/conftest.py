"""The staging twin that the tests of the rehearsal use."""

import pytest

from tests.deploy.rehearsal.stages import Twin, a_twin
from tests.support.world import World


@pytest.fixture
def twin(world: World) -> Twin:
    """Return a staging twin that is connected."""
    return a_twin(world)
