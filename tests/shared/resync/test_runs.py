"""Runs over a whole base, on both stores: one at a time, changed by several at once, and what is told of profiles."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import ConflictError, DocumentMissingError
from shared.resync.rules.place import START, Place
from shared.resync.rules.run import Import, Kind, Options, State, Undated
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from shared.storage.documents import Documents
from tests.support.stores import Overtaken
from tests.support.world import TENANT, Clock

SINCE = datetime(2026, 1, 2, tzinfo=UTC)
ROW = {"profile": "p1", "what": "email: no consent date"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resyncs(documents: Documents, clock: Clock) -> Resyncs:
    return Resyncs(documents, clock)


def test_a_run_comes_back_as_it_was_kept(resyncs: Resyncs, clock: Clock) -> None:
    options = Options(Kind.REPAIR, SINCE, only_consent=True, dry_run=True, undated=Undated.JOINED_DATE)
    run = resyncs.begin(TENANT, "r1", options)
    assert run == Run("r1", options, clock(), clock(), chain="r1")
    assert resyncs.get(TENANT, "r1") == run
    changed = resyncs.update(
        TENANT,
        run,
        sent=Place(SINCE, 4, ("a", "b")),
        compared=Place(None, 2, ("c",), is_over=True),
        closed=Place(SINCE, 11),
        imports=(Import("j1", START), Import("j2", Place(SINCE, 3))),
        counts=Counter({"profiles sent": 3, "failed: it. And/or $that": 1}),
        worked=timedelta(seconds=1.5),
        total=9,
        read=7,
        finished_at=clock(),
        state=State.DONE,
    )
    assert resyncs.get(TENANT, "r1") == changed
    assert resyncs.get("another", "r1") is None


def test_there_is_one_run_at_a_time_until_it_is_over(resyncs: Resyncs) -> None:
    first = resyncs.begin(TENANT, "r1", Options())
    for state in (State.RUNNING, State.PAUSED):
        resyncs.update(TENANT, first, state=state)
        with pytest.raises(ConflictError, match="r1"):
            resyncs.begin(TENANT, "r2", Options())
        assert resyncs.get(TENANT, "r2") is None
    assert resyncs.under_way(TENANT) == resyncs.get(TENANT, "r1")
    for number, state in enumerate((State.CANCELLED, State.DONE)):
        run = resyncs.under_way(TENANT)
        assert run is not None
        resyncs.update(TENANT, run, state=state)
        assert resyncs.under_way(TENANT) is None
        resyncs.begin(TENANT, f"next{number}", Options())
    resyncs.begin("another", "r1", Options())


@pytest.mark.parametrize("after_another", [False, True])
def test_of_two_that_begin_at_once_one_wins(resyncs: Resyncs, *, after_another: bool) -> None:
    if after_another:
        resyncs.update(TENANT, resyncs.begin(TENANT, "r0", Options()), state=State.DONE)

    def begin(id: str) -> str:
        try:
            return resyncs.begin(TENANT, id, Options()).id
        except ConflictError:
            return ""

    with ThreadPoolExecutor(8) as callers:
        won = [id for id in callers.map(begin, [f"r{n}" for n in range(1, 9)]) if id]
    assert len(won) == 1
    under_way = resyncs.under_way(TENANT)
    assert under_way is not None
    assert under_way.id == won[0]


def test_pausing_beside_a_checkpoint_loses_neither(resyncs: Resyncs) -> None:
    read = resyncs.begin(TENANT, "r1", Options())
    resyncs.update(TENANT, read, state=State.PAUSED)  # by whoever read it as running
    resyncs.update(TENANT, read, compared=Place(SINCE, 5), read=400, counts=Counter(x=1))
    found = resyncs.get(TENANT, "r1")
    assert found is not None
    assert (found.state, found.compared.count, found.read) == (State.PAUSED, 5, 400)


def test_a_run_that_is_gone_is_not_made_again_by_its_worker(resyncs: Resyncs) -> None:
    run = resyncs.begin(TENANT, "r1", Options())
    resyncs.tell(TENANT, "r1", "a", [ROW])
    resyncs.keep_sent(TENANT, "r1", "j1", ["p1"])
    resyncs.forget(TENANT)
    with pytest.raises(DocumentMissingError):
        resyncs.update(TENANT, run, read=1)
    assert resyncs.get(TENANT, "r1") is None
    assert list(resyncs.rows(TENANT, "r1")) == []
    assert resyncs.sent(TENANT, "r1", "j1") == []
    assert resyncs.under_way(TENANT) is None


def test_what_is_told_again_is_told_once_and_nothing_told_before_is_lost(resyncs: Resyncs) -> None:
    resyncs.begin(TENANT, "r1", Options())
    other = {**ROW, "profile": "p2"}
    assert resyncs.tell(TENANT, "r1", "a", []) == []
    assert resyncs.tell(TENANT, "r1", "a", [ROW]) == [ROW]
    assert resyncs.tell(TENANT, "r1", "a", [other, ROW]) == [ROW, other]
    assert resyncs.tell(TENANT, "r1", "a", []) == [ROW, other]
    assert list(resyncs.rows(TENANT, "r1")) == [ROW, other]


def test_what_two_tell_at_once_is_all_told(documents: Documents, clock: Clock) -> None:
    plain = Resyncs(documents, clock)
    plain.begin(TENANT, "r1", Options())
    plain.tell(TENANT, "r1", "a", [{**ROW, "profile": "p0"}])
    hurried = Resyncs(
        Overtaken(documents, lambda: plain.tell(TENANT, "r1", "a", [{**ROW, "profile": "p2"}])), clock
    )
    hurried.tell(TENANT, "r1", "a", [ROW])
    assert [row["profile"] for row in plain.rows(TENANT, "r1")] == ["p0", "p2", "p1"]


def test_everything_told_comes_in_the_order_of_its_parts(resyncs: Resyncs) -> None:
    resyncs.begin(TENANT, "r1", Options())
    for number in reversed(range(130)):
        resyncs.tell(TENANT, "r1", f"compared-{number:09}", [{**ROW, "profile": f"p{number}"}])
    assert [row["profile"] for row in resyncs.rows(TENANT, "r1")] == [f"p{n}" for n in range(130)]


def test_the_last_run_is_the_newest_of_its_kind_that_is_done(resyncs: Resyncs, clock: Clock) -> None:
    assert resyncs.last(TENANT, Kind.RECONCILE) is None
    for id, kind, state in (
        ("z-old", Kind.RECONCILE, State.DONE),
        ("a-new", Kind.RECONCILE, State.DONE),
        ("other", Kind.RESYNC, State.DONE),
        ("given-up", Kind.RECONCILE, State.CANCELLED),
    ):
        clock.advance(60)
        resyncs.update(TENANT, resyncs.begin(TENANT, id, Options(kind)), state=state)
    last = resyncs.last(TENANT, Kind.RECONCILE)
    assert last is not None
    assert last.id == "a-new"


def test_who_is_in_an_import_is_known_until_it_is_dropped(resyncs: Resyncs) -> None:
    resyncs.begin(TENANT, "r1", Options())
    ids = [f"{number:036}" for number in range(10_000)]
    resyncs.keep_sent(TENANT, "r1", "j1", ids)
    resyncs.keep_sent(TENANT, "r1", "j1", ids)
    assert resyncs.sent(TENANT, "r1", "j1") == ids
    assert resyncs.sent(TENANT, "r1", "j2") == []
    resyncs.drop_sent(TENANT, "r1", "j1")
    assert resyncs.sent(TENANT, "r1", "j1") == []


def test_a_thousand_profiles_with_three_things_to_tell_of_each_fit(
    resyncs: Resyncs, stored_bytes: Callable[[], bytes]
) -> None:
    resyncs.begin(TENANT, "r1", Options())
    rows = [
        {"profile": f"{n:036}", "what": f"{consent}: unsubscribe (opt_out_of_never_subscribed)"}
        for n in range(1000)
        for consent in ("email", "sms", "sms_transactional")
    ]
    resyncs.tell(TENANT, "r1", "compared-000000000", rows)
    assert list(resyncs.rows(TENANT, "r1")) == rows
    assert b"sms_transactional" in stored_bytes()


def test_a_run_that_has_failed_says_why_and_makes_room(resyncs: Resyncs) -> None:
    run = resyncs.begin(TENANT, "r1", Options())
    resyncs.fail(TENANT, "r1", "another chain", "not this one")
    assert resyncs.get(TENANT, "r1") == run
    resyncs.fail(TENANT, "r1", run.chain, "Its job is dead.")
    failed = resyncs.get(TENANT, "r1")
    assert failed is not None
    assert (failed.state, failed.reason) == (State.FAILED, "Its job is dead.")
    assert resyncs.under_way(TENANT) is None
    resyncs.begin(TENANT, "r2", Options())
    with pytest.raises(ConflictError, match="r2"):
        resyncs.reopen(TENANT, failed, "c2")
    kept = resyncs.get(TENANT, "r1")
    assert kept is not None
    assert (kept.state, kept.reason) == (State.FAILED, "Its job is dead.")


def test_a_run_that_has_failed_goes_on_from_where_it_was(resyncs: Resyncs) -> None:
    run = resyncs.begin(TENANT, "r1", Options())
    run = resyncs.update(TENANT, run, compared=Place(SINCE, 5, ("a",)), read=400, counts=Counter(x=1))
    resyncs.fail(TENANT, "r1", run.chain, "Its job is dead.")
    failed = resyncs.get(TENANT, "r1")
    assert failed is not None
    reopened = resyncs.reopen(TENANT, failed, "c2")
    assert resyncs.under_way(TENANT) == resyncs.get(TENANT, "r1")
    assert (reopened.state, reopened.reason, reopened.chain) == (State.RUNNING, "", "c2")
    assert (reopened.compared, reopened.read, reopened.counts) == (run.compared, 400, Counter(x=1))


def test_a_run_that_was_not_heard_of_for_hours_gives_way_and_one_that_was_does_not(
    resyncs: Resyncs, clock: Clock
) -> None:
    lost = resyncs.begin(TENANT, "r1", Options())
    clock.advance(5 * 3600)
    with pytest.raises(ConflictError, match="r1"):
        resyncs.begin(TENANT, "r2", Options())
    resyncs.update(TENANT, lost)
    clock.advance(5 * 3600)
    with pytest.raises(ConflictError, match="r1"):
        resyncs.begin(TENANT, "r2", Options())
    clock.advance(2 * 3600)
    resyncs.begin(TENANT, "r2", Options())
    found = resyncs.get(TENANT, "r1")
    assert found is not None
    assert (found.state, found.reason.partition(":")[0]) == (
        State.FAILED,
        "Nothing was heard of it for hours",
    )


def test_a_run_that_is_paused_may_be_silent(resyncs: Resyncs, clock: Clock) -> None:
    resyncs.update(TENANT, resyncs.begin(TENANT, "r1", Options()), state=State.PAUSED)
    clock.advance(40 * 86_400)
    with pytest.raises(ConflictError, match="paused"):
        resyncs.begin(TENANT, "r2", Options())


def of_an_earlier_release(documents: Documents, state: State, started_at: datetime) -> None:
    """Keep a run as earlier releases kept it: by numbers of pages."""
    place: dict[str, Any] = {"page": 7, "seen": ["a", "b"], "is_over": False}
    documents.create(
        f"tenants/{TENANT}/resyncs",
        "old",
        {
            "kind": "resync", "since": None, "only_consent": False, "dry_run": False, "undated": "leave",
            "started_at": started_at, "state": state.value, "chain": "old", "sent": place, "compared": place,
            "imports": [{"job": "j1", "page": 3}], "total": 900, "read": 600, "counts": {"x": 2},
            "worked": 3.0, "tail_page": 1, "settles_at": None, "finished_at": None,
        },
    )  # fmt: skip
    documents.create(f"tenants/{TENANT}/resync_slot", "slot", {"run": "old"})


@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED])
def test_a_run_that_an_earlier_release_began_has_failed_and_begins_again_when_it_is_resumed(
    resyncs: Resyncs, documents: Documents, clock: Clock, state: State
) -> None:
    of_an_earlier_release(documents, state, clock())
    assert resyncs.under_way(TENANT) is None
    old = resyncs.get(TENANT, "old")
    assert old is not None
    assert old.state is State.FAILED
    assert "An earlier release" in old.reason
    resyncs.reopen(TENANT, old, "c2")
    again = resyncs.under_way(TENANT)
    assert again is not None
    assert (again.state, again.sent, again.compared, again.read) == (State.RUNNING, START, START, 0)
    assert again.counts == Counter()


def test_a_run_that_an_earlier_release_ended_is_shown_as_it_was(
    resyncs: Resyncs, documents: Documents, clock: Clock
) -> None:
    of_an_earlier_release(documents, State.DONE, clock())
    old = resyncs.get(TENANT, "old")
    assert old is not None
    assert (old.state, old.reason, old.read, old.counts) == (State.DONE, "", 600, Counter(x=2))
    resyncs.begin(TENANT, "r2", Options())
