"""The dead-letter desk, on both stores: a dead job comes back byte for byte, and lies there unreadable."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import UndecryptableError
from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import TASK_BYTES
from shared.jobs.rules.causes import Cause
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing
from tests.support import stores

documents = stores.documents
stored_bytes = stores.stored_bytes

A, B = b"a" * 32, b"b" * 32
HOUR, MONTH = timedelta(hours=1), timedelta(days=30)
DIED = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
COLLECTION = "tenants/acme/dead_jobs"


def desk(documents: Documents, **keys: bytes) -> DeadJobStore:
    return DeadJobStore(documents, KeyRing(keys or {"a": A}))


def a_dead_job(id: str = "job-1", **changes: Any) -> DeadJob:
    fields: dict[str, Any] = {
        "id": id,
        "tenant": "acme",
        "kind": "send-metric",
        "reason": "Klaviyo refuses it.",
        "detail": "the profile canary-jane@example.org is suppressed",
        "body": b'{"kind":"send-metric","event":{"email":"canary-jane@example.org"}}',
        "attempts": 7,
        "died_at": DIED,
        "expire_at": DIED + MONTH,
    }
    return DeadJob(**{**fields, **changes})


def ids(found: list[DeadJob]) -> list[str]:
    return [dead.id for dead in found]


class TestKeeping:
    def test_a_dead_job_comes_back_whole(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        assert desk(documents).page("acme") == [a_dead_job()]

    def test_a_dead_job_is_found_by_its_id_in_its_own_tenant_alone(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        assert desk(documents).find("acme", "job-1") == a_dead_job()
        assert desk(documents).find("acme", "job-2") is None
        assert desk(documents).find("acme-stg", "job-1") is None

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
    @given(body=st.binary(), detail=st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_body_and_any_answer_come_back(self, documents: Documents, body: bytes, detail: str) -> None:
        desk(documents).delete_all("acme")
        dead = a_dead_job(body=body, detail=detail)
        desk(documents).add(dead, keep=MONTH)
        assert desk(documents).page("acme") == [dead]

    def test_recording_it_again_changes_nothing(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        before = documents.get(COLLECTION, "job-1")
        later = a_dead_job(reason="another", died_at=DIED + MONTH, attempts=99, body=b"{}")
        desk(documents, b=B).add(later, keep=MONTH)
        assert documents.get(COLLECTION, "job-1") == before

    def test_it_says_when_it_may_be_removed(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=timedelta(days=3))
        document = documents.get(COLLECTION, "job-1")
        assert document is not None
        assert document.fields["expire_at"] == DIED + timedelta(days=3)

    @pytest.mark.parametrize(
        ("lowest", "highest"),
        [(0x20, 0x7E), (0x80, 0x7FF), (0x800, 0xD7FF), (0x10000, 0x10FFFF)],
        ids=["ascii", "two bytes", "three bytes", "four bytes"],
    )
    def test_the_largest_body_that_a_task_holds_fits(
        self, documents: Documents, lowest: int, highest: int
    ) -> None:
        chance = random.Random(1)
        size = len(chr(lowest).encode())
        body = "".join(chr(chance.randint(lowest, highest)) for _ in range(TASK_BYTES // size)).encode()
        desk(documents).add(a_dead_job(body=body, detail="d" * 2000), keep=MONTH)
        (dead,) = desk(documents).page("acme")
        assert dead.body == body

    def test_a_document_that_a_newer_revision_wrote_is_read(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        documents.update(
            COLLECTION, "job-1", {"noted_at": DIED, "note": "new", "cause": "of-a-newer-revision"}
        )
        assert desk(documents).page("acme") == [a_dead_job()]


ACCEPTED = DIED - timedelta(days=1)


class TestDyingAgain:
    def test_a_newer_job_of_the_same_id_is_the_same_row_newer(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(accepted_at=ACCEPTED), keep=MONTH)
        newer = a_dead_job(accepted_at=DIED, died_at=DIED + HOUR, reason="Another.", body=b"{}")
        desk(documents).add(newer, keep=MONTH)
        (dead,) = desk(documents).page("acme")
        assert (dead.reason, dead.body, dead.deaths) == ("Another.", b"{}", 2)
        assert (dead.first_died_at, dead.died_at) == (DIED, DIED + HOUR)

    def test_an_older_one_that_dies_later_changes_nothing(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(accepted_at=ACCEPTED), keep=MONTH)
        desk(documents).add(a_dead_job(accepted_at=ACCEPTED - MONTH, reason="Older."), keep=MONTH)
        (dead,) = desk(documents).page("acme")
        assert (dead.reason, dead.deaths) == ("Klaviyo refuses it.", 1)

    def test_a_row_that_an_earlier_revision_wrote_dies_again(self, documents: Documents) -> None:
        store = desk(documents)
        store.add(a_dead_job(), keep=MONTH)
        document = documents.get(COLLECTION, "job-1")
        assert document is not None
        documents.delete(COLLECTION, "job-1")
        known = ("kind", "reason", "detail", "body", "attempts", "died_at", "expire_at")
        documents.create(COLLECTION, "job-1", {name: document.fields[name] for name in known})
        assert (store.count("acme"), store.counts("acme")) == (1, {Cause.OTHER: 1})
        assert store.begin_replay("acme", "job-1", replay="r1", run="", now=DIED, keep=MONTH)
        assert store.is_meant("acme", "job-1", "r1")
        store.add(a_dead_job(accepted_at=ACCEPTED, replay="r1"), keep=MONTH)
        (dead,) = store.page("acme")
        assert (dead.deaths, dead.state) == (2, DeadJobState.DEAD)


class TestReplays:
    def test_a_replay_that_dies_is_recorded_once_and_only_the_last_replay_counts(
        self, documents: Documents
    ) -> None:
        store = desk(documents)
        store.add(a_dead_job(accepted_at=ACCEPTED), keep=MONTH)
        for word in ("r1", "r2"):
            assert store.begin_replay("acme", "job-1", replay=word, run="run", now=DIED, keep=MONTH)
        assert [store.is_meant("acme", "job-1", word) for word in ("r1", "r2", "")] == [False, True, False]
        assert store.count("acme") == 0
        for word in ("r1", "r2", "r2"):
            store.add(a_dead_job(accepted_at=ACCEPTED, replay=word, died_at=DIED + HOUR), keep=MONTH)
        (dead,) = store.page("acme")
        assert (dead.deaths, dead.state, dead.run, dead.died_at) == (2, DeadJobState.DEAD, "run", DIED + HOUR)
        assert store.count_of_run("acme", "run", DeadJobState.DEAD) == 1

    def test_the_row_goes_with_the_last_replay_alone(self, documents: Documents) -> None:
        store = desk(documents)
        store.add(a_dead_job(accepted_at=ACCEPTED), keep=MONTH)
        store.begin_replay("acme", "job-1", replay="r2", run="", now=DIED, keep=MONTH)
        assert store.end_replay("acme", "job-1", "r1") is None
        assert ids(store.page("acme")) == ["job-1"]
        ended = store.end_replay("acme", "job-1", "r2")
        assert ended is not None
        assert store.page("acme") == []
        assert store.end_replay("acme", "job-1", "r2") is None

    def test_a_replay_that_dies_after_its_row_was_erased_makes_none(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(accepted_at=ACCEPTED, replay="r1"), keep=MONTH)
        assert desk(documents).page("acme") == []

    def test_a_row_that_dies_anew_while_its_replay_succeeds_stays(self, documents: Documents) -> None:
        store = desk(documents)
        store.add(a_dead_job(accepted_at=ACCEPTED), keep=MONTH)
        store.begin_replay("acme", "job-1", replay="r1", run="", now=DIED, keep=MONTH)
        newer = a_dead_job(accepted_at=DIED, died_at=DIED + HOUR)
        overtaken = stores.Overtaken(documents, lambda: store.add(newer, keep=MONTH), before=("delete",))
        desk(overtaken).end_replay("acme", "job-1", "r1")
        (dead,) = store.page("acme")
        assert (dead.deaths, dead.state) == (2, DeadJobState.DEAD)

    def test_two_that_die_at_the_same_time_are_counted_once(self, documents: Documents) -> None:
        store = desk(documents)
        store.add(a_dead_job(accepted_at=ACCEPTED), keep=MONTH)
        store.begin_replay("acme", "job-1", replay="r1", run="", now=DIED, keep=MONTH)
        again = a_dead_job(accepted_at=ACCEPTED, replay="r1", died_at=DIED + HOUR)
        overtaken = stores.Overtaken(documents, lambda: store.add(again, keep=MONTH), before=("update",))
        desk(overtaken).add(again, keep=MONTH)
        assert [dead.deaths for dead in store.page("acme")] == [2]


class TestCauses:
    def test_they_are_counted_and_what_they_hold_is_noted_once_a_minute(self, documents: Documents) -> None:
        store = desk(documents)
        for number, minutes in enumerate((0, 0.5, 2)):
            at = DIED + timedelta(minutes=minutes)
            store.add(a_dead_job(f"job-{number}", cause=Cause.SCOPE, died_at=at), keep=MONTH)
        store.add(a_dead_job("refused", cause=Cause.REFUSED), keep=MONTH)
        assert store.counts("acme") == {Cause.SCOPE: 3, Cause.REFUSED: 1}
        (held,) = store.causes.held("acme")
        assert (held.cause, held.first_at, held.last_at) == (Cause.SCOPE, DIED, DIED + timedelta(minutes=2))
        store.causes.note_try("acme", Cause.SCOPE, now=DIED + HOUR)
        assert [one.tried_at for one in store.causes.held("acme")] == [DIED + HOUR]
        store.causes.forget("acme", Cause.SCOPE)
        store.causes.note_try("acme", Cause.SCOPE, now=DIED + HOUR)
        assert store.causes.held("acme") == []


class TestPages:
    def test_they_are_in_the_order_of_ids_and_follow_each_other(self, documents: Documents) -> None:
        names = [f"job-{number:02}" for number in range(25)]
        for name in reversed(names):
            desk(documents).add(a_dead_job(name, body=b"{}"), keep=MONTH)
        pages, after = [], None
        while page := ids(desk(documents).page("acme", after=after, limit=10)):
            pages.append(page)
            after = page[-1]
        assert pages == [names[:10], names[10:20], names[20:]]

    def test_no_tenant_sees_anothers(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        desk(documents).add(a_dead_job("job-2", tenant="acme-stg"), keep=MONTH)
        assert ids(desk(documents).page("acme")) == ["job-1"]
        assert ids(desk(documents).page("acme-stg")) == ["job-2"]
        assert desk(documents).page("acm") == []

    def test_forgetting_all_of_one_tenant_leaves_the_others(self, documents: Documents) -> None:
        for number in range(45):
            desk(documents).add(a_dead_job(f"job-{number}", body=b"{}"), keep=MONTH)
        desk(documents).add(a_dead_job(tenant="acme-stg"), keep=MONTH)
        desk(documents).delete_all("acme")
        assert desk(documents).page("acme") == []
        assert ids(desk(documents).page("acme-stg")) == ["job-1"]


class TestSecrecy:
    def test_the_store_holds_nothing_readable(
        self, documents: Documents, stored_bytes: Callable[[], bytes]
    ) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        lying_there = stored_bytes()
        assert b"Klaviyo refuses it." in lying_there
        for readable in (b"canary", b"example.org", b"suppressed", b'"event"', b"Y2FuYXJ5"):
            assert readable not in lying_there

    def test_a_job_moved_to_another_tenant_does_not_open(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        stolen = documents.get(COLLECTION, "job-1")
        assert stolen is not None
        documents.create("tenants/evil/dead_jobs", "job-1", stolen.fields)
        with pytest.raises(UndecryptableError):
            desk(documents).page("evil")

    def test_body_and_detail_cannot_be_exchanged(self, documents: Documents) -> None:
        desk(documents).add(a_dead_job(), keep=MONTH)
        document = documents.get(COLLECTION, "job-1")
        assert document is not None
        documents.update(COLLECTION, "job-1", {"detail": document.fields["body"]})
        with pytest.raises(UndecryptableError) as refused:
            desk(documents).page("acme")
        assert "canary" not in str(refused.value)


class TestNewKeys:
    def test_after_resealing_the_old_key_can_go(self, documents: Documents) -> None:
        for number in range(45):
            desk(documents, a=A).add(a_dead_job(f"job-{number:02}"), keep=MONTH)
        desk(documents, b=B).add(a_dead_job("newer"), keep=MONTH)
        both = desk(documents, b=B, a=A)
        assert both.reencrypt("acme", dry_run=True) == 45
        assert both.reencrypt("acme") == 45
        assert both.reencrypt("acme") == 0
        left = desk(documents, b=B).page("acme")
        assert left == [*(a_dead_job(f"job-{number:02}") for number in range(45)), a_dead_job("newer")]

    def test_counting_changes_nothing(self, documents: Documents, stored_bytes: Callable[[], bytes]) -> None:
        desk(documents, a=A).add(a_dead_job(), keep=MONTH)
        before = documents.get(COLLECTION, "job-1")
        assert desk(documents, b=B, a=A).reencrypt("acme", dry_run=True) == 1
        assert documents.get(COLLECTION, "job-1") == before

    def test_everything_else_of_the_job_stays(self, documents: Documents) -> None:
        desk(documents, a=A).add(a_dead_job(), keep=MONTH)
        documents.update(COLLECTION, "job-1", {"note": "of a newer revision"})
        desk(documents, b=B, a=A).reencrypt("acme")
        document = documents.get(COLLECTION, "job-1")
        assert document is not None
        assert document.fields["note"] == "of a newer revision"
        assert document.fields["expire_at"] == DIED + MONTH

    @pytest.mark.parametrize("meanwhile", ["replayed", "replayed and dead again"])
    def test_a_job_that_changes_during_resealing_is_left_alone(
        self, documents: Documents, meanwhile: str
    ) -> None:
        desk(documents, a=A).add(a_dead_job(), keep=MONTH)
        again = a_dead_job(attempts=8, body=b"{}")

        def replay() -> None:
            documents.delete(COLLECTION, "job-1")
            if meanwhile != "replayed":
                desk(documents, b=B).add(again, keep=MONTH)

        overtaken = stores.Overtaken(documents, replay)
        desk(overtaken, b=B, a=A).reencrypt("acme")
        assert desk(documents, b=B).page("acme") == ([] if meanwhile == "replayed" else [again])

    def test_one_that_cannot_be_read_does_not_hold_up_the_others(self, documents: Documents) -> None:
        for name in ("job-1", "job-2", "job-3"):
            desk(documents, a=A).add(a_dead_job(name), keep=MONTH)
        documents.update(COLLECTION, "job-1", {"body": "a.AAAA"})
        with pytest.raises(UndecryptableError):
            desk(documents, b=B, a=A).reencrypt("acme")
        assert ids(desk(documents, b=B).page("acme", after="job-1")) == ["job-2", "job-3"]
