"""Everybody is read in an order in which nobody who is read tells of what is missing."""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.console.story import Filter
from deploy.local.console.watching import Watching
from deploy.local.exchange import Exchange
from deploy.local.logs import Follower
from deploy.local.sandbox import Sandbox

PATH = "/demo/api/v1/targets/klaviyo/metric"


class Exchanges(deque[Exchange]):
    """What the gateway has seen. As soon as nothing is left of it something happens, once."""

    happens: Callable[[], object] | None = None

    def __len__(self) -> int:
        left = super().__len__()
        if not left and self.happens:
            happens, self.happens = self.happens, None
            happens()
        return left


@pytest.fixture
def exchanges() -> Exchanges:
    return Exchanges()


@pytest.fixture
def watching(sandbox: Sandbox, exchanges: Exchanges, tmp_path: Path) -> Iterator[Watching]:
    sandbox.omneo.tenant("demo")
    watching = Watching(sandbox, exchanges, lambda _after: [], Follower(tmp_path), [])
    yield watching
    watching.stop()


def test_a_target_that_is_called_while_all_are_read_is_one_story(
    sandbox: Sandbox, exchanges: Exchanges, watching: Watching
) -> None:
    def called() -> None:
        (delivery,) = sandbox.omneo.try_target(
            "demo", trigger="reward.created", handle="reward", url=sandbox.omneo.url + PATH, template="{}", context={}
        )  # fmt: skip
        assert delivery.sent_at is not None
        exchanges.append(Exchange(delivery.sent_at, "POST", PATH, [], delivery.body, 202))

    exchanges.happens = called
    watching._read()
    assert watching.book.total == 0  # only the target's half of it could be there
    watching._read()
    (story,) = watching.book.newest(Filter(), 10)
    assert [step.place for step in story.in_order()] == ["Omneo", "Extension"]
