"""The install's pages and a browser before them, for the tests that install."""

import pytest
from flask import Flask

from tests.support.merchant import Merchant, pages_of
from tests.support.world import World


@pytest.fixture
def app(world: World) -> Flask:
    """Return the pages, with a tenant that has not installed yet."""
    world.tenant(installed=False)
    return pages_of(world)


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    return Merchant(app)
