"""The dead-letter desk, on both stores: a dead job comes back byte for byte, and lies there unreadable."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import UndecryptableError
from shared.jobs.dead_jobs import DeadJob, DeadJobStore
from shared.jobs.jobs import TASK_BYTES
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing
from tests.support import stores

documents = stores.documents
stored_bytes = stores.stored_bytes

A, B = b"a" * 32, b"b" * 32
MONTH = timedelta(days=30)
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
        documents.update(COLLECTION, "job-1", {"noted_at": DIED, "note": "new"})
        assert desk(documents).page("acme") == [a_dead_job()]


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
