"""A run of bulk imports whose process stands still at some moment for minutes, while everybody else goes on; or to which the store once does not answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import StoreUnavailableError
from shared.profiles import packing
from shared.resync import syncs_in_bulk
from shared.services import Services
from tests.support.bulk import begin_anew, come_to_rest, name_of, run, under_way, waiting
from tests.support.mortal import Fate, WatchedDocuments, WatchedQueue, watched_everywhere
from tests.support.resyncing import Whole
from tests.support.world import TENANT

pytestmark = pytest.mark.usefixtures("few_are_many")

STALL = 200.0  # longer than the turns and the lease of a run


class _At(Fate):
    """A life in which something happens once, at moment number `at`."""

    def __init__(self, at: int, happens: Callable[[], object]) -> None:
        super().__init__(at, kills=False)
        self._happens = happens

    def pass_by(self, what: str) -> None:
        self.moment += 1
        if self.moment == self.at:
            self.struck = True
            self._happens()


def watched(services: Services, fate: Fate) -> Services:
    """Return services of another process: the fate may strike around its calls, its writes and its queue."""
    own = replace(services, _kept={})
    vars(own)["_connections"] = watched_everywhere(fate)
    vars(own)["documents"] = WatchedDocuments(services.documents, fate)
    vars(own)["queue"] = WatchedQueue(services.queue, fate)
    return own


BOTH = pytest.mark.parametrize("at_the_end", [False, True], ids=["when it begins", "when it ends"])


@BOTH
def test_at_whatever_moment_a_process_stands_still_the_newest_values_arrive(
    shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    monkeypatch.setattr(syncs_in_bulk, "THREADS", 1)
    shop.hush()
    at = 0

    def meanwhile() -> None:
        """The lease and the turns run out; somebody is changed and synced, and another run does what this one would."""
        shop.world.clock.advance(STALL)
        shop.change(ids[0], first_name=f"Janet {at}")
        shop.omneo.deliver(TENANT)
        packing.import_soon(shop.world.read(), shop.world.services)
        shop.world.work(15)
        shop.world.work(15)

    while True:
        begin_anew(shop, ids, f"Canary {at}", at_the_end=at_the_end)
        fate = _At(at, meanwhile)
        run(shop, watched(shop.world.services, fate))
        if not fate.struck:
            break
        come_to_rest(shop)
        assert [name_of(shop, id) for id in ids] == [f"Janet {at}", *[f"Canary {at}"] * 4], at
        assert (waiting(shop), under_way(shop)) == ({}, set()), at
        at += 1
    assert at > 40
    assert shop.world.dead_jobs() == []


@BOTH
def test_at_whatever_moment_the_store_or_the_queue_does_not_answer_the_next_run_does_the_rest(
    shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    monkeypatch.setattr(syncs_in_bulk, "THREADS", 1)
    shop.hush()
    at = 0

    def fails() -> None:
        raise StoreUnavailableError("it does not answer")

    while True:
        begin_anew(shop, ids, f"Canary {at}", at_the_end=at_the_end)
        fate = _At(at, fails)
        error: Any = None
        try:
            run(shop, watched(shop.world.services, fate))
        except StoreUnavailableError as raised:
            error = raised
        if not fate.struck:
            break
        shop.change(ids[0], first_name=f"Janet {at}")
        shop.omneo.deliver(TENANT)
        if error is not None:  # the queue delivers again
            packing.import_soon(shop.world.read(), shop.world.services)
        shop.world.work(15)
        come_to_rest(shop)
        assert [name_of(shop, id) for id in ids] == [f"Janet {at}", *[f"Canary {at}"] * 4], at
        assert (waiting(shop), under_way(shop)) == ({}, set()), at
        at += 1
    assert at > 40
    assert shop.world.dead_jobs() == []
