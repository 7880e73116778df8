"""The emulator of Cloud Tasks with a clock, a worker and a client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.local.tasks.cloud_tasks import World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return an emulator with a queue, whose clock the test sets."""
    with a_world(tmp_path) as world:
        yield world
