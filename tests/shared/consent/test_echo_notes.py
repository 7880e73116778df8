"""Echo notes, on both stores: each stands for 72 hours, and none is lost between two who write."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.consent.echo_notes import STANDING, EchoNotes, Key
from shared.consent_events import Channel
from shared.errors import DocumentChangedError, StoreUnavailableError
from shared.storage.documents import Documents
from tests.support import stores
from tests.support.through import READS, Through
from tests.support.world import Clock

documents = stores.documents

COLLECTION = "tenants/acme/echo_notes"
IN: Key = (Channel.EMAIL, "in")
OUT: Key = (Channel.EMAIL, "out")
SMS: Key = (Channel.SMS, "out")
KEYS: list[Key] = [IN, OUT, (Channel.SMS, "in"), SMS]
_examples = count(1)

keys = st.sampled_from(KEYS)
seconds = st.integers(0, int(STANDING.total_seconds()))


@pytest.fixture
def notes(documents: Documents, clock: Clock) -> EchoNotes:
    """Return notes on the test's clock."""
    return EchoNotes(documents, clock)


class Counting(Through):
    """`documents`, counting reads and writes."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)
        self.reads = self.writes = 0

    def passing(self, operation: str, call: Any) -> Any:
        if operation in READS:
            self.reads += 1
        else:
            self.writes += 1
        return call()


def test_of_a_profile_to_which_nothing_was_sent_there_are_none(notes: EchoNotes) -> None:
    assert notes.notes_of("acme", "P1") == {}
    notes.end("acme", "P1", Channel.EMAIL, "out", before=Clock().now)
    assert notes.notes_of("acme", "P1") == {}


def test_each_tells_when_it_was_made(notes: EchoNotes, clock: Clock) -> None:
    truth = {}
    for key in KEYS:
        notes.note("acme", "P1", *key)
        truth[key] = clock()
        clock.advance(60)
    assert notes.notes_of("acme", "P1") == truth


def test_tenants_and_profiles_do_not_meet(notes: EchoNotes, clock: Clock) -> None:
    whose = list(product(("acme", "acme-stg"), ("P1", "P10", "a/b", "..", "")))
    truth = {}
    for tenant, profile in whose:
        notes.note(tenant, profile, *OUT)
        truth[tenant, profile] = {OUT: clock()}
        clock.advance(1)
    assert {(tenant, profile): notes.notes_of(tenant, profile) for tenant, profile in whose} == truth
    notes.forget("acme")
    assert notes.notes_of("acme", "P1") == {}
    assert notes.notes_of("acme-stg", "P1") == truth["acme-stg", "P1"]


def test_a_note_stands_for_72_hours_and_not_a_moment_longer(notes: EchoNotes, clock: Clock) -> None:
    notes.note("acme", "P1", *OUT)
    made = clock()
    clock.advance(STANDING.total_seconds() - 0.001)
    assert notes.notes_of("acme", "P1") == {OUT: made}
    clock.advance(0.001)
    assert notes.notes_of("acme", "P1") == {}


def test_a_note_made_again_stands_from_then(notes: EchoNotes, clock: Clock) -> None:
    notes.note("acme", "P1", *OUT)
    clock.advance(STANDING.total_seconds() - 1)
    notes.note("acme", "P1", *OUT)
    again = clock()
    clock.advance(STANDING.total_seconds() - 1)
    assert notes.notes_of("acme", "P1") == {OUT: again}


def test_renewing_one_does_not_renew_the_others(notes: EchoNotes, clock: Clock) -> None:
    notes.note("acme", "P1", *IN)
    clock.advance(STANDING.total_seconds())
    notes.note("acme", "P1", *OUT)
    assert notes.notes_of("acme", "P1") == {OUT: clock()}


def test_the_store_can_remove_them_once_the_last_has_ended(
    notes: EchoNotes, documents: Documents, clock: Clock
) -> None:
    notes.note("acme", "P1", *OUT)
    clock.advance(60)
    notes.note("acme", "P1", *IN)
    made = clock()
    clock.advance(60)
    (document,) = documents.find(COLLECTION)
    assert document.fields["expire_at"] == made + timedelta(hours=72)


def test_ended_is_what_was_made_before_and_nothing_else(notes: EchoNotes, clock: Clock) -> None:
    for key in KEYS:
        notes.note("acme", "P1", *key)
    made = clock()
    notes.end("acme", "P1", *OUT, before=made)
    assert notes.notes_of("acme", "P1") == dict.fromkeys(KEYS, made)
    notes.end("acme", "P1", *OUT, before=made + timedelta(microseconds=1))
    assert notes.notes_of("acme", "P1") == {key: made for key in KEYS if key != OUT}


def test_when_the_last_is_ended_nothing_is_left(notes: EchoNotes, documents: Documents, clock: Clock) -> None:
    notes.note("acme", "P1", *OUT)
    notes.end("acme", "P1", *OUT, before=clock() + timedelta(seconds=1))
    assert documents.find(COLLECTION) == []


def test_all_four_are_told_by_one_read(documents: Documents, clock: Clock) -> None:
    counting = Counting(documents)
    notes = EchoNotes(counting, clock)
    for key in KEYS:
        notes.note("acme", "P1", *key)
    counting.reads = 0
    assert len(notes.notes_of("acme", "P1")) == 4
    assert counting.reads == 1


def test_ending_what_does_not_stand_writes_nothing(documents: Documents, clock: Clock) -> None:
    counting = Counting(documents)
    notes = EchoNotes(counting, clock)
    notes.note("acme", "P1", *OUT)
    notes.end("acme", "P1", *IN, before=clock() + timedelta(seconds=1))
    assert counting.writes == 1


@pytest.mark.parametrize("before", ["nothing", "a note", "an expired note"])
def test_any_number_who_note_at_once_lose_nothing(
    notes: EchoNotes, documents: Documents, clock: Clock, before: str
) -> None:
    if before != "nothing":
        notes.note("acme", "P1", *OUT)
    if before == "an expired note":
        clock.advance(STANDING.total_seconds())
    start = threading.Barrier(8)

    def note(number: int) -> None:
        start.wait(timeout=20)
        EchoNotes(documents, clock).note("acme", "P1", *KEYS[number % 4])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(8)))
    assert notes.notes_of("acme", "P1") == dict.fromkeys(KEYS, clock())


def test_two_who_note_and_end_at_once_lose_nothing(
    notes: EchoNotes, documents: Documents, clock: Clock
) -> None:
    for round in range(5):
        profile = f"P{round}"
        notes.note("acme", profile, *OUT)
        ended = clock() + timedelta(seconds=1)
        clock.advance(2)
        start = threading.Barrier(2)

        def end(profile: str = profile, start: threading.Barrier = start, ended: datetime = ended) -> None:
            start.wait(timeout=20)
            notes.end("acme", profile, *OUT, before=ended)

        def note(profile: str = profile, start: threading.Barrier = start) -> None:
            start.wait(timeout=20)
            notes.note("acme", profile, *SMS)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(end), pool.submit(note)]:
                done.result(30)
        assert notes.notes_of("acme", profile) == {SMS: clock()}


def test_a_note_renewed_in_the_moment_of_its_end_stands(
    notes: EchoNotes, documents: Documents, clock: Clock
) -> None:
    notes.note("acme", "P1", *OUT)
    ended = clock() + timedelta(seconds=1)
    clock.advance(2)
    overtaken = stores.Overtaken(documents, lambda: notes.note("acme", "P1", *OUT))
    EchoNotes(overtaken, clock).end("acme", "P1", *OUT, before=ended)
    assert notes.notes_of("acme", "P1") == {OUT: clock()}


def test_a_store_in_which_somebody_else_is_always_faster_is_an_error_and_no_endless_loop(
    notes: EchoNotes, documents: Documents, clock: Clock
) -> None:
    class Restless(Through):
        def passing(self, operation: str, call: Any) -> Any:
            if operation == "update":
                raise DocumentChangedError("somebody else was faster")
            return call()

    notes.note("acme", "P1", *OUT)
    clock.advance(1)
    with pytest.raises(StoreUnavailableError):
        EchoNotes(Restless(documents), clock).note("acme", "P1", *OUT)


def test_more_profiles_than_a_page_of_the_store_holds_are_all_forgotten(
    notes: EchoNotes, documents: Documents
) -> None:
    for number in range(103):
        notes.note("acme", str(number), *OUT)
    notes.forget("acme")
    assert documents.count(COLLECTION) == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(st.tuples(keys, seconds), max_size=10), data=st.data())
def test_notes_that_several_instances_renew_in_any_order_are_told_by_their_newest(
    documents: Documents, made: list[tuple[Key, int]], data: st.DataObject
) -> None:
    tenant, began = f"example-{next(_examples)}", Clock().now
    for key, after in data.draw(st.permutations(made)):
        EchoNotes(documents, Clock(began + timedelta(seconds=after))).note(tenant, "P1", *key)
    newest = {
        key: began + timedelta(seconds=max(after for other, after in made if other == key)) for key, _ in made
    }
    # The clock that reads is not behind any that noted.
    now = max(newest.values(), default=began)
    standing = {key: moment for key, moment in newest.items() if now - moment < STANDING}
    assert EchoNotes(documents, Clock(now)).notes_of(tenant, "P1") == standing


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from(["note", "end"]), keys, st.integers(0, 100_000)), max_size=10)
)
def test_what_stands_is_what_was_noted_since_and_not_ended(
    documents: Documents, steps: list[tuple[str, Key, int]]
) -> None:
    tenant, clock, truth = f"example-{next(_examples)}", Clock(), dict[Key, datetime]()
    notes = EchoNotes(documents, clock)
    for verb, key, passed in steps:
        clock.advance(passed)
        if verb == "note":
            notes.note(tenant, "P1", *key)
            truth[key] = clock()
        else:
            before = clock() - timedelta(seconds=50_000)
            notes.end(tenant, "P1", *key, before=before)
            truth = {one: made for one, made in truth.items() if one != key or made >= before}
        standing = {one: made for one, made in truth.items() if clock() - made < STANDING}
        assert notes.notes_of(tenant, "P1") == standing
