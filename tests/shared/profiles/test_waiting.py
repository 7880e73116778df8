"""Who waits for what, on both stores."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from shared.profiles.synced import SyncedProfiles
from shared.profiles.waiting import Waiting, hashes
from shared.storage.documents import Documents
from tests.support.world import EMAIL, a_tenant

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def waiting(documents: Documents) -> Waiting:
    return Waiting(documents, lambda: NOON)


def test_who_waits_is_told_until_that_ends(waiting: Waiting) -> None:
    for profile in ("jane", "joan"):
        waiting.note("acme", "5d1f", profile)
    waiting.note("acme", "6a3e", "jane")
    waiting.note("acme-stg", "5d1f", "june")
    assert sorted(waiting.those_for("acme", "5d1f")) == ["jane", "joan"]
    waiting.end("acme", "5d1f")
    assert waiting.those_for("acme", "5d1f") == []
    assert (waiting.those_for("acme", "6a3e"), waiting.those_for("acme-stg", "5d1f")) == (["jane"], ["june"])


def test_the_owner_is_to_be_synced_until_that_is_noted_and_again_after_the_next_wait(
    waiting: Waiting,
) -> None:
    assert waiting.note("acme", "5d1f", "jane")
    assert waiting.note("acme", "5d1f", "jane")  # died before the owner's sync was queued
    waiting.told("acme", "5d1f", "jane")
    assert not waiting.note("acme", "5d1f", "jane")
    waiting.end("acme", "5d1f")
    waiting.told("acme", "5d1f", "jane")
    assert waiting.note("acme", "5d1f", "jane")


def test_a_tenant_is_forgotten_with_who_waits(waiting: Waiting, documents: Documents) -> None:
    waiting.note("acme", "5d1f", "jane")
    SyncedProfiles(documents, lambda: NOON).forget("acme")
    assert waiting.those_for("acme", "5d1f") == []


def test_no_address_is_in_the_store_and_nobody_can_try_one_out(
    waiting: Waiting, stored_bytes: Callable[[], bytes]
) -> None:
    from shared.consent.ledger import new_ledger_key

    tenant, other = (a_tenant("acme", NOON, ledger_key=new_ledger_key()) for _ in range(2))
    found = hashes(tenant, {"email": EMAIL, "phone_number": ""})
    assert found == hashes(tenant, {"email": EMAIL.upper()})
    assert found != hashes(other, {"email": EMAIL})
    assert found["email"] != hashes(tenant, {"external_id": EMAIL})["external_id"]
    waiting.note("acme", found["email"], "jane")
    assert b"canary" not in stored_bytes()
    with pytest.raises(ValueError, match="no ledger key"):
        hashes(a_tenant("acme", NOON), {"email": EMAIL})
