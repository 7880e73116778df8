"""Receipts: what is kept of a job, of whom, for how long, and what it costs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
from pydantic import SecretStr

from shared.errors import StoreUnavailableError
from shared.receipts import KEPT_AFTER_A_WAIT, Fate, Receipt, Receipts
from shared.storage.documents import Documents
from shared.tenants.tenants import Tenant
from tests.support.through import Through
from tests.support.world import Clock, a_tenant

T = TypeVar("T")
JANE = {"email": "canary-jane@example.org", "omneo_id": "canary-1", "klaviyo_id": ""}


def tenant_with(days: int, name: str = "acme") -> Tenant:
    tenant = a_tenant(name, Clock().now, ledger_key=SecretStr("canary-ledger"))
    return tenant.model_copy(update={"settings": tenant.settings.model_copy(update={"receipt_days": days})})


OFF, ON = tenant_with(0), tenant_with(7)


class Kept:
    """A store of receipts and its clock."""

    def __init__(self, documents: Documents) -> None:
        self.clock = Clock()
        self.documents = documents
        self.receipts = Receipts(documents, self.clock)

    def receipt(self, state: Fate = Fate.DONE, *, attempts: int = 0, id: str = "j-1") -> Receipt:
        return Receipt(id, "send-metric", state, self.clock.now, "Seen", attempts)

    @property
    def count(self) -> int:
        return self.documents.count("tenants/acme/receipts")


@pytest.fixture
def kept(documents: Documents) -> Kept:
    return Kept(documents)


def test_where_receipts_are_off_a_job_that_is_done_at_once_costs_no_write(kept: Kept) -> None:
    kept.receipts.queued(OFF, "j-1", "send-metric")
    kept.receipts.is_done(OFF, kept.receipt(), JANE)
    kept.receipts.has_died(OFF, kept.receipt(Fate.DEAD))
    assert kept.count == 0


def test_a_receipt_comes_back_as_it_was_kept(kept: Kept) -> None:
    whole = replace(
        kept.receipt(Fate.WAITING, attempts=3), why="Klaviyo answered 429", next_try_at=kept.clock.now
    )
    kept.receipts.waits(OFF, whole, JANE)
    assert kept.receipts.find("acme", "j-1") == whole
    assert kept.receipts.find("acme", "j-2") is None


def test_what_comes_later_stands(kept: Kept) -> None:
    kept.receipts.queued(ON, "j-1", "send-metric", "Seen")
    kept.receipts.waits(ON, kept.receipt(Fate.WAITING, attempts=1), JANE)
    done = kept.receipt(attempts=1)
    kept.receipts.is_done(ON, done, JANE)
    assert kept.receipts.find("acme", "j-1") == done


def test_a_job_that_is_done_before_its_call_is_answered_stays_done(kept: Kept) -> None:
    kept.receipts.is_done(ON, kept.receipt(), JANE)
    kept.receipts.queued(ON, "j-1", "send-metric")
    found = kept.receipts.find("acme", "j-1")
    assert found is not None
    assert found.state is Fate.DONE


@pytest.mark.parametrize(("tenant", "life"), [(OFF, KEPT_AFTER_A_WAIT), (ON, timedelta(days=7))])
def test_a_job_that_is_done_is_told_of_for_as_long_as_is_set(
    kept: Kept, tenant: Tenant, life: timedelta
) -> None:
    kept.receipts.is_done(tenant, kept.receipt(attempts=1), JANE)
    kept.clock.now += life - timedelta(seconds=1)
    assert kept.receipts.find("acme", "j-1") is not None
    kept.clock.advance(1)
    assert kept.receipts.find("acme", "j-1") is None
    assert kept.receipts.of_person(tenant, JANE) == []


def test_a_death_leaves_the_word_to_the_desk(kept: Kept) -> None:
    kept.receipts.waits(OFF, kept.receipt(Fate.WAITING, attempts=1), JANE)
    kept.receipts.has_died(OFF, kept.receipt(Fate.DEAD, attempts=1))
    assert kept.count == 0


@pytest.mark.parametrize("tenant", [OFF, ON])
def test_a_call_of_which_records_have_died_is_done_when_all_of_them_have_gone(
    kept: Kept, tenant: Tenant
) -> None:
    def found() -> tuple[Fate, tuple[str, ...]]:
        receipt = kept.receipts.find("acme", "j-1")
        assert receipt is not None
        return receipt.state, receipt.rows

    for row in ("row-1", "row-2", "row-2"):  # the process died, and the next wrote it again
        kept.receipts.records_have_died(tenant, kept.receipt(Fate.DEAD), row=row)
    assert found() == (Fate.DEAD, ("row-1", "row-2"))
    kept.receipts.records_have_gone(tenant, kept.receipt(), row="row-2")
    kept.receipts.records_have_gone(tenant, kept.receipt())  # those of it that have not died
    assert found() == (Fate.DEAD, ("row-1",))
    kept.receipts.records_have_gone(tenant, kept.receipt(), row="row-1")
    assert found() == (Fate.DONE, ())


def test_where_receipts_are_off_records_that_go_at_once_cost_no_write(kept: Kept) -> None:
    kept.receipts.records_have_gone(OFF, kept.receipt())
    assert kept.count == 0


@pytest.mark.parametrize("name", ["email", "omneo_id"])
def test_a_person_is_found_by_each_name_in_any_case(kept: Kept, name: str) -> None:
    kept.receipts.is_done(ON, kept.receipt(), JANE)
    kept.receipts.is_done(ON, kept.receipt(id="j-2"), {"email": "canary-joe@example.org"})
    found = kept.receipts.of_person(ON, {name: f" {JANE[name].upper()} "})
    assert [receipt.id for receipt in found] == ["j-1"]


def test_a_persons_receipts_come_newest_first_and_each_once(kept: Kept) -> None:
    for id in ("j-2", "j-3", "j-1"):
        kept.receipts.is_done(ON, kept.receipt(id=id), JANE)
        kept.clock.advance(1)
    assert [receipt.id for receipt in kept.receipts.of_person(ON, JANE)] == ["j-1", "j-3", "j-2"]


def test_a_person_who_is_forgotten_leaves_nothing(kept: Kept) -> None:
    kept.receipts.is_done(ON, kept.receipt(), JANE)
    kept.receipts.is_done(ON, kept.receipt(id="j-2"), {"email": "canary-joe@example.org"})
    assert kept.receipts.forget_person(ON, JANE) == 1
    assert [document.id for document in kept.documents.find("tenants/acme/receipts")] == ["j-2"]


def test_nobody_is_found_by_no_name(kept: Kept) -> None:
    kept.receipts.is_done(ON, kept.receipt(), {"email": " "})
    assert kept.receipts.of_person(ON, {"email": ""}) == []


def test_the_store_alone_says_nothing_of_whom_it_is(kept: Kept, stored_bytes: Callable[[], bytes]) -> None:
    kept.receipts.is_done(ON, kept.receipt(), JANE)
    assert b"j-1" in stored_bytes()
    assert b"canary" not in stored_bytes()


def test_two_tenants_hash_one_person_differently(kept: Kept) -> None:
    other = ON.model_copy(update={"ledger_key": SecretStr("canary-other")})
    kept.receipts.is_done(ON, kept.receipt(), JANE)
    assert kept.receipts.of_person(other, JANE) == []


def test_a_tenant_that_is_deleted_is_forgotten(kept: Kept) -> None:
    kept.receipts.is_done(ON, kept.receipt(), JANE)
    kept.receipts.forget("acme")
    assert kept.count == 0


class _Down(Through):
    def passing(self, operation: str, call: Callable[[], T]) -> T:
        raise StoreUnavailableError("down")


def test_a_receipt_that_cannot_be_written_fails_no_job(kept: Kept) -> None:
    down = Receipts(_Down(kept.documents), kept.clock)
    down.queued(ON, "j-1", "send-metric")
    down.waits(ON, kept.receipt(Fate.WAITING, attempts=1), JANE)
    down.is_done(ON, kept.receipt(), JANE)
    down.has_died(ON, kept.receipt(Fate.DEAD, attempts=1))
    with pytest.raises(StoreUnavailableError):
        down.find("acme", "j-1")
