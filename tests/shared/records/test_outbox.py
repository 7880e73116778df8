"""The outbox in both stores: order, what was sent in part, a death between note and removal, secrecy."""

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import UndecryptableError
from shared.records.outbox import Outbox
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing, new_key
from tests.support.mortal import Fate, KilledError, WatchedDocuments
from tests.support.stores import Overtaken
from tests.support.world import TENANT, Clock

REWARDS, DATES = "Omneo Rewards", "Omneo Dates"
KEYS = KeyRing.parse(f"k1:{new_key()}")


@pytest.fixture
def outbox(documents: Documents) -> Outbox:
    return Outbox(documents, KEYS)


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": n, "email": "canary-jane@example.org"} for n in numbers]


def add(outbox: Outbox, *numbers: int, job: str = "j1", source: str = REWARDS, later: float = 0) -> None:
    accepted_at = Clock()() + timedelta(seconds=later)
    outbox.add(TENANT, source, numbered(*numbers), job=job, accepted_at=accepted_at)


def is_waiting(outbox: Outbox, tenant: str, source: str) -> bool:
    return any(outbox.waiting(tenant, source))


def left(outbox: Outbox, source: str = REWARDS) -> list[int]:
    return [record["n"] for parcel in outbox.waiting(TENANT, source) for record in parcel.left]


def test_records_come_out_in_the_order_in_which_their_calls_were_accepted(outbox: Outbox) -> None:
    add(outbox, 3, 4, job="a", later=1)
    add(outbox, 5, job="b", later=1.5)
    add(outbox, 1, 2, job="z")
    assert left(outbox) == [1, 2, 3, 4, 5]


def test_more_parcels_than_a_page_come_out_each_once(outbox: Outbox) -> None:
    for n in range(45):
        add(outbox, n, job=f"j{n}", later=n)
    assert left(outbox) == list(range(45))


def test_the_same_job_added_again_changes_nothing(outbox: Outbox) -> None:
    add(outbox, 1, 2)
    add(outbox, 1, 2)
    add(outbox, 2)  # what a second run of the job has left
    assert left(outbox) == [1, 2]


def test_data_sources_and_tenants_do_not_see_each_others(outbox: Outbox) -> None:
    add(outbox, 1)
    add(outbox, 2, source=DATES)
    outbox.add("other", REWARDS, numbered(3), job="j1", accepted_at=Clock()())
    assert left(outbox) == [1]
    assert left(outbox, DATES) == [2]
    assert is_waiting(outbox, "other", REWARDS)
    assert not is_waiting(outbox, "other", DATES)
    outbox.forget(TENANT)
    assert not is_waiting(outbox, TENANT, REWARDS)
    assert not is_waiting(outbox, TENANT, DATES)
    assert is_waiting(outbox, "other", REWARDS)


def test_what_was_sent_is_gone_and_the_rest_waits(outbox: Outbox) -> None:
    add(outbox, 1, 2, job="a")
    add(outbox, 3, 4, 5, job="b", later=1)
    first, second = outbox.waiting(TENANT, REWARDS)
    outbox.take_out(TENANT, REWARDS, {first.id: 2, second.id: 1})
    assert left(outbox) == [4, 5]
    (second,) = outbox.waiting(TENANT, REWARDS)
    outbox.take_out(TENANT, REWARDS, {second.id: 3})
    assert not is_waiting(outbox, TENANT, REWARDS)


def test_a_death_after_the_note_makes_no_copy(documents: Documents) -> None:
    """At every moment around every write of taking out: either nothing is noted, or the next run finds all of it gone."""
    outbox, moment = Outbox(documents, KEYS), 0
    while True:
        outbox.forget(TENANT)
        add(outbox, 1, 2, job="a")
        add(outbox, 3, 4, 5, job="b", later=1)
        first, second = outbox.waiting(TENANT, REWARDS)
        fate = Fate(moment, kills=True)
        try:
            mortal = Outbox(WatchedDocuments(documents, fate), KEYS)
            mortal.take_out(TENANT, REWARDS, {first.id: 2, second.id: 1})
        except KilledError:
            outbox.finish(TENANT, REWARDS)
            assert left(outbox) == ([1, 2, 3, 4, 5] if moment == 0 else [4, 5])
        else:
            break
        moment += 1
    assert moment == 8
    assert left(outbox) == [4, 5]


def test_who_takes_out_more_first_takes_out_what_a_dead_run_has_noted(documents: Documents) -> None:
    outbox = Outbox(documents, KEYS)
    for moment in range(8):
        outbox.forget(TENANT)
        for number, job in enumerate("abcd"):
            add(outbox, number, job=job, later=number)
        ids = [parcel.id for parcel in outbox.waiting(TENANT, REWARDS)]
        mortal = Outbox(WatchedDocuments(documents, Fate(moment, kills=True)), KEYS)
        with pytest.raises(KilledError):
            mortal.take_out(TENANT, REWARDS, dict.fromkeys(ids[:2], 1))
        outbox.take_out(TENANT, REWARDS, dict.fromkeys(ids[2:], 1))
        assert left(outbox) == ([0, 1] if moment == 0 else [])


def test_what_waits_of_a_job_is_known_by_the_job(outbox: Outbox) -> None:
    add(outbox, 1, job="a", source=DATES, later=7)
    add(outbox, 2, job="b")
    assert outbox.waits_of(TENANT, "a") == (DATES, Clock()() + timedelta(seconds=7))
    assert outbox.waits_of(TENANT, "c") is None
    assert outbox.waits_of("other", "a") is None


def test_records_that_do_not_compress_fit_the_store(outbox: Outbox) -> None:
    chance = random.Random(7)
    records = [{"n": n, "text": _noise(chance, 110_000)} for n in range(8)]
    outbox.add(TENANT, REWARDS, records, job="j1", accepted_at=Clock()())
    assert [record for parcel in outbox.waiting(TENANT, REWARDS) for record in parcel.left] == records


def test_the_store_holds_no_record_in_the_open(outbox: Outbox, stored_bytes: Callable[[], bytes]) -> None:
    add(outbox, 1)
    assert b"canary" not in stored_bytes()
    (parcel,) = outbox.waiting(TENANT, REWARDS)
    assert "canary" in json.dumps(parcel.records)


def test_a_new_key_takes_over_what_waits(documents: Documents, outbox: Outbox) -> None:
    for n in range(25):
        add(outbox, n, job=f"j{n}", later=n)
    newer = KeyRing({"k2": b"2" * 32, **KEYS.keys})
    renewed = Outbox(documents, newer)
    assert renewed.reencrypt(TENANT, dry_run=True) == 25
    assert renewed.reencrypt(TENANT) == 25
    assert renewed.reencrypt(TENANT, dry_run=True) == 0
    assert left(Outbox(documents, KeyRing({"k2": b"2" * 32}))) == list(range(25))
    with pytest.raises(UndecryptableError):
        left(outbox)


def test_a_parcel_that_nobody_can_read_keeps_no_other_from_a_new_key(
    documents: Documents, outbox: Outbox
) -> None:
    add(outbox, 1, job="j1")
    add(outbox, 2, job="j2", later=1)
    collection = f"tenants/{TENANT}/outbox"
    first = documents.find(collection, limit=1)[0]
    documents.update(collection, first.id, {"records": "v1.broken"}, version=first.version)
    with pytest.raises(UndecryptableError):
        Outbox(documents, KeyRing({"k2": b"2" * 32, **KEYS.keys})).reencrypt(TENANT)
    documents.delete(collection, first.id)
    assert left(Outbox(documents, KeyRing({"k2": b"2" * 32}))) == [2]


@pytest.mark.parametrize(("gone", "waits"), [(1, [2]), (2, [])], ids=["sent in part", "sent"])
def test_what_is_sent_while_a_new_key_takes_over_is_not_sent_again(
    documents: Documents, outbox: Outbox, gone: int, waits: list[int]
) -> None:
    add(outbox, 1, 2)
    (parcel,) = outbox.waiting(TENANT, REWARDS)
    overtaken = Overtaken(documents, lambda: outbox.take_out(TENANT, REWARDS, {parcel.id: gone}))
    Outbox(overtaken, KeyRing({"k2": b"2" * 32, **KEYS.keys})).reencrypt(TENANT)
    assert left(outbox) == waits


def _noise(chance: random.Random, length: int) -> str:
    return "".join(chance.choices("".join(map(chr, range(0x23, 0x7F))), k=length))
