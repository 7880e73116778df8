"""The backlog of syncs on both stores: one document a profile, in order, and nothing lost between two who write at once."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from shared.jobs.jobs import SyncProfile, read_job
from shared.profiles.backlog import SyncBacklog, WaitingSync, together
from shared.storage.documents import Documents
from tests.support.mortal import Fate, KilledError, WatchedDocuments
from tests.support.stores import Overtaken
from tests.support.world import TENANT

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_sync(profile: str = "jane", *, later: float = 0.0, **fields: object) -> SyncProfile:
    at = NOON + timedelta(seconds=later)
    whole = {"id": f"sync-{profile}", "accepted_at": at, "until": at + timedelta(seconds=10), **fields}
    return SyncProfile.model_validate({"tenant": TENANT, "profile_id": profile, **whole})


def jobs(backlog: SyncBacklog, most: int = 100) -> list[SyncProfile]:
    found = [read_job(sync.body) for sync in backlog.first(TENANT, most)]
    assert all(isinstance(job, SyncProfile) for job in found)
    return [job for job in found if isinstance(job, SyncProfile)]


@pytest.fixture
def backlog(documents: Documents) -> SyncBacklog:
    return SyncBacklog(documents)


def test_a_sync_comes_out_as_it_went_in(backlog: SyncBacklog) -> None:
    job = a_sync(attempts=3, last_failure="it waits", traceparent="00-1", leaves_undated=True)
    backlog.add(TENANT, job)
    assert jobs(backlog) == [job]


def test_syncs_come_out_in_the_order_in_which_they_were_accepted(backlog: SyncBacklog) -> None:
    for later, profile in ((3, "c"), (1, "a"), (2, "b")):
        backlog.add(TENANT, a_sync(profile, later=later))
    assert [job.profile_id for job in jobs(backlog)] == ["a", "b", "c"]
    assert [job.profile_id for job in jobs(backlog, most=2)] == ["a", "b"]
    assert backlog.count(TENANT) == 3


def test_many_calls_about_one_profile_are_one_sync_in_the_place_of_the_first(backlog: SyncBacklog) -> None:
    backlog.add(TENANT, a_sync("jane", traceparent="00-1"))
    backlog.add(TENANT, a_sync("joan", later=1))
    backlog.add(TENANT, a_sync("jane", later=60))
    first, second = jobs(backlog)
    assert (first.profile_id, second.profile_id) == ("jane", "joan")
    assert first.accepted_at == NOON
    assert first.until == NOON + timedelta(seconds=70)
    assert first.traceparent == "00-1"


@pytest.mark.parametrize(("waiting", "other", "both"), [(True, True, True), (True, False, False)])
def test_what_asks_for_everything_outdoes_what_leaves_something(
    waiting: bool, other: bool, both: bool
) -> None:
    first, second = a_sync(leaves_undated=waiting), a_sync(leaves_undated=other)
    assert together(first, second).leaves_undated is both
    assert together(second, first).leaves_undated is both


def test_what_was_given_back_is_out(backlog: SyncBacklog) -> None:
    backlog.add(TENANT, a_sync("jane"))
    backlog.add(TENANT, a_sync("joan", later=1))
    backlog.take_out(TENANT, backlog.first(TENANT, 1)[0])
    assert [job.profile_id for job in jobs(backlog)] == ["joan"]


def test_a_call_that_comes_while_the_sync_is_given_back_goes_on_waiting(backlog: SyncBacklog) -> None:
    backlog.add(TENANT, a_sync())
    (given_back,) = backlog.first(TENANT, 1)
    backlog.add(TENANT, a_sync(later=30))
    backlog.take_out(TENANT, given_back)
    assert [job.until for job in jobs(backlog)] == [NOON + timedelta(seconds=40)]


def test_a_call_that_comes_just_after_the_packer_is_kept(documents: Documents) -> None:
    backlog = SyncBacklog(documents)
    backlog.add(TENANT, a_sync())

    def given_back() -> None:
        backlog.take_out(TENANT, backlog.first(TENANT, 1)[0])

    SyncBacklog(Overtaken(documents, given_back)).add(TENANT, a_sync(later=30))
    assert [job.until for job in jobs(backlog)] == [NOON + timedelta(seconds=40)]


def test_two_calls_at_one_moment_lose_nothing_of_each_other(documents: Documents) -> None:
    backlog = SyncBacklog(documents)
    other = a_sync(until=NOON + timedelta(seconds=500))
    overtaken = Overtaken(documents, lambda: backlog.add(TENANT, other), ("create", "update"))
    SyncBacklog(overtaken).add(TENANT, a_sync())
    assert max(job.until for job in jobs(backlog)) == other.until


def test_a_profile_that_was_given_back_can_wait_again(backlog: SyncBacklog) -> None:
    for later in (0, 60, 120):
        backlog.add(TENANT, a_sync(later=later))
        (sync,) = backlog.first(TENANT, 2)
        backlog.take_out(TENANT, sync)
    assert jobs(backlog) == []
    assert backlog._documents.find(f"tenants/{TENANT}/waiting_sync_places") == []


def test_who_dies_before_the_place_is_noted_costs_a_sync_more_and_loses_none(documents: Documents) -> None:
    backlog = SyncBacklog(documents)
    fate = Fate(2, kills=True)  # the sync is written, and the place is not
    with pytest.raises(KilledError):
        SyncBacklog(WatchedDocuments(documents, fate)).add(TENANT, a_sync())
    backlog.add(TENANT, a_sync(later=30))
    assert [job.until for job in jobs(backlog)] == [
        NOON + timedelta(seconds=10),
        NOON + timedelta(seconds=40),
    ]


def test_a_delivery_after_one_that_died_at_any_moment_waits_as_one_sync(documents: Documents) -> None:
    backlog = SyncBacklog(documents)
    for moment in range(6):
        with contextlib.suppress(KilledError):
            SyncBacklog(WatchedDocuments(documents, Fate(moment, kills=True))).add(TENANT, a_sync())
        backlog.add(TENANT, a_sync())
        backlog.add(TENANT, a_sync(later=30))
        assert [job.until for job in jobs(backlog)] == [NOON + timedelta(seconds=40)]
        backlog.forget(TENANT)


def test_taking_out_what_is_out_already_is_no_error(backlog: SyncBacklog) -> None:
    backlog.add(TENANT, a_sync())
    (sync,) = backlog.first(TENANT, 1)
    for _ in range(2):
        backlog.take_out(TENANT, sync)
    assert jobs(backlog) == []
    assert isinstance(sync, WaitingSync)


def test_a_profile_and_a_tenant_are_forgotten(backlog: SyncBacklog) -> None:
    for profile in ("jane", "joan"):
        backlog.add(TENANT, a_sync(profile))
    backlog.add("beta", a_sync())
    assert backlog.forget_profile(TENANT, "jane") == 1
    assert backlog.forget_profile(TENANT, "jane") == 0
    assert [job.profile_id for job in jobs(backlog)] == ["joan"]
    backlog.forget(TENANT)
    assert (backlog.count(TENANT), backlog.count("beta")) == (0, 1)
