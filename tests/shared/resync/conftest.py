"""The shop whose whole base a run sends."""

from collections.abc import Iterator

import pytest

from shared.profiles import packing
from tests.support.bulk import JOB_SECONDS, customer
from tests.support.resyncing import Whole, a_base
from tests.support.world import World


@pytest.fixture
def shop(world: World) -> Iterator[Whole]:
    """Return a shop with nobody in it yet."""
    with a_base(world) as shop:
        yield shop


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three that wait be many."""
    monkeypatch.setattr(packing, "MANY", 3)


@pytest.fixture
def ids(shop: Whole) -> list[str]:
    """Return customers whom both sides have, and let imports take a while from now on."""
    found = [customer(shop, n) for n in range(5)]
    shop.settle()
    shop.klaviyo.consent.job_seconds = JOB_SECONDS
    return found
