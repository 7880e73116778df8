"""The backlog in both stores: order, doubles, secrecy, new keys."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.errors import DocumentExistsError, UndecryptableError
from shared.jobs.jobs import SendMetric
from shared.jobs.rules.windows import Window
from shared.metrics.backlog import Backlog
from shared.storage.documents import Documents, Write
from shared.storage.encryption import KeyRing, new_key
from tests.support.backlogs import number_of
from tests.support.stores import Overtaken
from tests.support.world import TENANT, Clock

KEYS = KeyRing.parse(f"k1:{new_key()}")


@pytest.fixture
def backlog(documents: Documents) -> Backlog:
    return Backlog(documents, KEYS)


def a_job(number: int, *, later: float = 0, id: str = "") -> SendMetric:
    accepted_at = Clock()() + timedelta(seconds=later)
    event = {
        "profile": {"data": {"attributes": {"email": "canary-jane@example.org"}}},
        "properties": {"n": number},
    }
    named = {"tenant": TENANT, "id": id or f"j{number}", "accepted_at": accepted_at, "event": event}
    return SendMetric.model_validate(named)


def add(backlog: Backlog, *numbers: int, at: float = 0, tenant: str = TENANT) -> None:
    for number in numbers:
        backlog.add(tenant, a_job(number, later=number), at=Clock()() + timedelta(seconds=at))


def left(backlog: Backlog, tenant: str = TENANT) -> list[int]:
    return [number_of(waiting.job) for waiting in backlog.waiting(tenant)]


def test_events_come_out_in_the_order_in_which_they_were_accepted(backlog: Backlog) -> None:
    add(backlog, 3, 1, 2)
    assert left(backlog) == [1, 2, 3]
    first = backlog.first(TENANT)
    assert first is not None
    assert number_of(first.job) == 1


def test_the_same_job_added_again_changes_nothing(backlog: Backlog) -> None:
    add(backlog, 1)
    add(backlog, 1, at=40)
    assert left(backlog) == [1]
    assert backlog.count_of(TENANT, Window.at(Clock()()).number) == 1


def test_what_came_in_a_window_is_counted(backlog: Backlog) -> None:
    add(backlog, 1, 2)
    add(backlog, 3, at=10)
    window = Window.at(Clock()()).number
    assert [backlog.count_of(TENANT, window + n) for n in (-1, 0, 1)] == [0, 2, 1]
    assert backlog.count(TENANT) == 3


def test_tenants_do_not_see_each_others(backlog: Backlog) -> None:
    add(backlog, 1)
    add(backlog, 2, tenant="other")
    backlog.note_try("other", ["x"])
    assert left(backlog) == [1]
    assert backlog.tried(TENANT) is None
    backlog.forget(TENANT)
    assert (left(backlog), left(backlog, "other")) == ([], [2])
    backlog.forget("other")
    assert (left(backlog, "other"), backlog.tried("other")) == ([], None)


def test_what_waits_of_a_job_is_known_by_the_job(backlog: Backlog) -> None:
    add(backlog, 1, 2)
    found = backlog.waits_of(TENANT, "j2")
    assert found == a_job(2, later=2)
    assert backlog.waits_of(TENANT, "j3") is None
    assert backlog.holds(TENANT, a_job(1, later=1))
    assert not backlog.holds(TENANT, a_job(3, later=3))


def test_a_bulk_call_is_noted_once_until_it_is_over(backlog: Backlog) -> None:
    assert backlog.tried(TENANT) is None
    backlog.note_try(TENANT, ["a", "b"])
    with pytest.raises(DocumentExistsError):
        backlog.note_try(TENANT, ["c"])
    assert backlog.tried(TENANT) == frozenset({"a", "b"})
    backlog.end_try(TENANT, ["c"])
    assert backlog.tried(TENANT) == frozenset({"a", "b"})
    backlog.end_try(TENANT, ["b", "a"])
    backlog.end_try(TENANT, ["b", "a"])
    assert backlog.tried(TENANT) is None


def test_more_than_the_store_takes_at_once_is_taken_out_with_what_is_written_beside(
    documents: Documents, backlog: Backlog
) -> None:
    add(backlog, *range(1100))
    ids = [waiting.id for waiting in backlog.waiting(TENANT)]
    backlog.take_out(TENANT, ids[:1050], also=[Write("beside", f"{n}", {"n": n}) for n in range(5)])
    assert left(backlog) == list(range(1050, 1100))
    assert documents.count("beside") == 5


def test_those_that_are_meant_are_forgotten(backlog: Backlog) -> None:
    add(backlog, *range(10))
    assert backlog.forget_those(TENANT, lambda job: number_of(job) % 2 == 0) == 5
    assert left(backlog) == [1, 3, 5, 7, 9]


def test_what_nobody_can_read_keeps_no_other_from_being_forgotten_or_sealed_anew(
    documents: Documents, backlog: Backlog
) -> None:
    add(backlog, *range(4))
    collection = f"tenants/{TENANT}/event_backlog"
    first = documents.find(collection, limit=1)[0]
    documents.update(collection, first.id, {"event": "v1.broken"}, version=first.version)
    with pytest.raises(UndecryptableError):
        backlog.forget_those(TENANT, lambda job: number_of(job) == 2)
    renewed = Backlog(documents, KeyRing({"k2": b"2" * 32, **KEYS.keys}))
    with pytest.raises(UndecryptableError):
        renewed.reencrypt(TENANT)
    newest = Backlog(documents, KeyRing({"k2": b"2" * 32}))
    assert [number_of(waiting.job) for waiting in newest.waiting(TENANT, after=first.id)] == [1, 3]


def test_the_store_holds_no_event_in_the_open(backlog: Backlog, stored_bytes: Callable[[], bytes]) -> None:
    add(backlog, 1)
    assert b"canary" not in stored_bytes()
    assert left(backlog) == [1]


def test_a_new_key_takes_over_what_waits(documents: Documents, backlog: Backlog) -> None:
    add(backlog, *range(25))
    renewed = Backlog(documents, KeyRing({"k2": b"2" * 32, **KEYS.keys}))
    assert [renewed.reencrypt(TENANT, dry_run=True), renewed.reencrypt(TENANT)] == [25, 25]
    assert renewed.reencrypt(TENANT, dry_run=True) == 0
    assert left(Backlog(documents, KeyRing({"k2": b"2" * 32}))) == list(range(25))
    with pytest.raises(UndecryptableError):
        left(backlog)


def test_what_is_sent_while_a_new_key_takes_over_does_not_come_back(
    documents: Documents, backlog: Backlog
) -> None:
    add(backlog, 1)
    (waiting,) = backlog.waiting(TENANT)
    overtaken = Overtaken(documents, lambda: backlog.take_out(TENANT, [waiting.id]))
    Backlog(overtaken, KeyRing({"k2": b"2" * 32, **KEYS.keys})).reencrypt(TENANT)
    assert left(backlog) == []
