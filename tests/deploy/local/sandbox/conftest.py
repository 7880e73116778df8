"""The sandbox and the receiver that most of these tests use. A file whose sandbox is another one has a fixture of its own."""

from collections.abc import Iterator

import pytest

from deploy.local.sandbox import Sandbox
from tests.deploy.local.receiving import Receiver, receiving
from tests.deploy.local.sandbox.times import NOON


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, seed=1, token_prefix="canary-token") as sandbox:
        yield sandbox


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver
