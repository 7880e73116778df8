"""The inbox, on both stores: one entry an event however often it comes, and none lost between two who write."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.consent.inbox import REMEMBERED, Entry, Inbox, Receipt, entry_id
from shared.consent_events import SystemEvent
from shared.errors import DocumentMissingError, StoreUnavailableError
from shared.storage.documents import Documents
from tests.support import stores
from tests.support.through import Through
from tests.support.world import ACCOUNT, Clock

documents = stores.documents
stored_bytes = stores.stored_bytes

AT = Clock().now - timedelta(minutes=1)
COLLECTION = "tenants/acme/inbox"
_examples = count(1)


@pytest.fixture
def inbox(documents: Documents, clock: Clock) -> Inbox:
    """Return an inbox on the test's clock."""
    return Inbox(documents, clock)


def event(id: str = "e1", **changes: Any) -> SystemEvent:
    fields = {
        "id": id,
        "topic": "bounced_email",
        "profile": "P1",
        "at": AT,
        "bounce": "hard",
        "method": "other",
    }
    return SystemEvent.model_validate({**fields, **changes})


def added(inbox: Inbox, id: str = "e1", **changes: Any) -> Entry:
    """Add an event and return its entry."""
    assert inbox.add("acme", ACCOUNT, event(id, **changes)) is Receipt.ADDED
    entry = inbox.get("acme", entry_id(ACCOUNT, id))
    assert entry is not None
    return entry


def ids(entries: list[Entry]) -> list[str]:
    return [entry.event_id for entry in entries]


class TestAdding:
    def test_an_event_becomes_an_entry_that_waits_to_be_handled(self, inbox: Inbox, clock: Clock) -> None:
        assert added(inbox) == Entry(
            id=entry_id(ACCOUNT, "e1"),
            event_id="e1",
            topic="bounced_email",
            profile="P1",
            at=AT,
            bounce="hard",
            method="other",
            received_at=clock(),
            open=True,
        )

    def test_one_that_came_before_stays_as_it_is_and_says_how_far_it_has_come(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        entry = added(inbox)
        clock.advance(60)
        again = event(profile="P2", at=clock())
        assert inbox.add("acme", ACCOUNT, again) is Receipt.OPEN
        inbox.close("acme", entry)
        assert inbox.add("acme", ACCOUNT, again) is Receipt.HANDLED
        assert inbox.get("acme", entry.id) == replace(entry, open=False)

    def test_one_id_under_two_topics_is_two_events(self, inbox: Inbox) -> None:
        first, second = event(), event(topic="dropped_email")
        for _ in range(2):
            for one in (first, second):
                inbox.add("acme", ACCOUNT, one)
        found = inbox.open_of("acme", "P1")
        assert sorted(entry.topic for entry in found) == ["bounced_email", "dropped_email"]
        for entry in found:
            inbox.close("acme", entry)
        receipts = [inbox.add("acme", ACCOUNT, one) for one in (second, first)]
        assert receipts == [Receipt.HANDLED, Receipt.HANDLED]

    def test_events_of_two_accounts_or_tenants_do_not_meet(self, inbox: Inbox) -> None:
        for tenant in ("acme", "acme-stg"):
            for account in ("AcmeAc", "Other"):
                assert inbox.add(tenant, account, event()) is Receipt.ADDED
        assert len(inbox.open_of("acme", "P1")) == 2

    def test_it_expires_so_that_the_store_can_remove_it(
        self, inbox: Inbox, documents: Documents, clock: Clock
    ) -> None:
        document = documents.get(COLLECTION, added(inbox).id)
        assert document is not None
        assert document.fields["expire_at"] == clock() + timedelta(days=30)

    def test_after_thirty_days_it_is_forgotten_although_the_store_still_has_it(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        entry = added(inbox)
        inbox.close("acme", entry)
        clock.advance(REMEMBERED.total_seconds() - 1)
        assert inbox.add("acme", ACCOUNT, event()) is Receipt.HANDLED
        assert inbox.get("acme", entry.id) == replace(entry, open=False)
        clock.advance(1)
        assert inbox.get("acme", entry.id) is None
        fresh = added(inbox)
        assert inbox.open_of("acme", "P1") == [fresh]
        clock.advance(REMEMBERED.total_seconds() - 1)
        assert inbox.add("acme", ACCOUNT, event()) is Receipt.OPEN

    def test_one_that_is_still_open_is_given_out_however_old_it_is(self, inbox: Inbox, clock: Clock) -> None:
        entry = added(inbox)
        clock.advance(REMEMBERED.total_seconds() + 1)
        assert inbox.get("acme", entry.id) == entry
        assert inbox.open_of("acme", "P1") == [entry]
        assert list(inbox.older_than("acme", clock())) == [entry]

    @pytest.mark.parametrize("before", ["nothing", "an expired entry"])
    def test_of_eight_who_add_the_same_event_at_once_one_is_told_that_it_is_new(
        self, inbox: Inbox, clock: Clock, before: str
    ) -> None:
        if before == "an expired entry":
            inbox.close("acme", added(inbox))
            clock.advance(REMEMBERED.total_seconds())
        start = threading.Barrier(8)

        def add(_: int) -> Receipt:
            start.wait(timeout=60)
            return inbox.add("acme", ACCOUNT, event())

        with ThreadPoolExecutor(8) as pool:
            receipts = sorted(pool.map(add, range(8)))
        assert receipts == [Receipt.ADDED] + [Receipt.OPEN] * 7
        assert ids(inbox.open_of("acme", "P1")) == ["e1"]

    def test_who_is_overtaken_while_replacing_an_expired_entry_leaves_the_faster_ones(
        self, inbox: Inbox, documents: Documents, clock: Clock
    ) -> None:
        added(inbox)
        clock.advance(REMEMBERED.total_seconds())
        overtaken = stores.Overtaken(documents, lambda: added(inbox, profile="P2"))
        assert Inbox(overtaken, clock).add("acme", ACCOUNT, event()) is Receipt.OPEN
        assert inbox.open_of("acme", "P1") == []

    def test_one_that_is_removed_between_two_looks_at_it_is_added(
        self, inbox: Inbox, documents: Documents, clock: Clock
    ) -> None:
        class Removing(Through):
            def passing(self, operation: str, call: Callable[[], Any]) -> Any:
                if operation == "get":
                    inbox.forget("acme")
                return call()

        added(inbox)
        assert Inbox(Removing(documents), clock).add("acme", ACCOUNT, event()) is Receipt.ADDED
        assert ids(inbox.open_of("acme", "P1")) == ["e1"]

    def test_an_entry_that_never_stands_still_is_an_error_and_no_endless_loop(
        self, inbox: Inbox, documents: Documents, clock: Clock
    ) -> None:
        class Restless(Through):
            def passing(self, operation: str, call: Callable[[], Any]) -> Any:
                if operation == "get":
                    return None
                return call()

        added(inbox)
        with pytest.raises(StoreUnavailableError):
            Inbox(Restless(documents), clock).add("acme", ACCOUNT, event())

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
    def test_an_event_that_comes_any_number_of_times_in_any_order_is_one_entry(
        self, inbox: Inbox, steps: list[tuple[str, bool]]
    ) -> None:
        tenant, truth = f"example-{next(_examples)}", dict[str, Receipt]()
        for id, is_handled in steps:
            assert inbox.add(tenant, ACCOUNT, event(id)) is truth.get(id, Receipt.ADDED)
            truth.setdefault(id, Receipt.OPEN)
            entry = inbox.get(tenant, entry_id(ACCOUNT, id))
            assert entry is not None
            if is_handled:
                inbox.close(tenant, entry)
                truth[id] = Receipt.HANDLED
        waiting = sorted(id for id, receipt in truth.items() if receipt is Receipt.OPEN)
        assert ids(inbox.open_of(tenant, "P1")) == waiting


class TestGivingOut:
    def test_open_entries_of_a_profile_come_in_the_order_of_their_events(self, inbox: Inbox) -> None:
        for id, seconds in (("e3", 3), ("e1", 1), ("e2", 2), ("e2b", 2)):
            added(inbox, id, at=AT + timedelta(seconds=seconds))
        inbox.close("acme", added(inbox, "handled"))
        added(inbox, "hers", profile="P2")
        assert ids(inbox.open_of("acme", "P1")) == ["e1", "e2", "e2b", "e3"]
        assert ids(inbox.open_of("acme", "P2")) == ["hers"]
        assert inbox.open_of("acme-stg", "P1") == inbox.open_of("acme", "P") == []

    def test_more_than_a_page_of_the_store_holds_is_given_whole(self, inbox: Inbox, clock: Clock) -> None:
        many = [f"{number:03}" for number in range(205)]
        for id in many:
            added(inbox, id)
        clock.advance(1)
        assert ids(inbox.open_of("acme", "P1")) == many
        swept = []
        for entry in inbox.older_than("acme", clock()):
            inbox.close("acme", entry)
            swept.append(entry.event_id)
        assert sorted(swept) == many, "handling them while they are given out passes over none"
        assert list(inbox.older_than("acme", clock())) == []
        inbox.forget("acme")
        assert inbox.get("acme", entry_id(ACCOUNT, "000")) is None

    def test_the_sweep_is_given_open_entries_received_before_a_moment(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        added(inbox, "old")
        inbox.close("acme", added(inbox, "handled"))
        clock.advance(60)
        moment = clock()
        added(inbox, "just", at=AT - timedelta(days=3))
        assert [entry.event_id for entry in inbox.older_than("acme", moment)] == ["old"]
        assert list(inbox.older_than("acme-stg", moment)) == []

    def test_the_sweep_does_not_load_all_at_once(
        self, inbox: Inbox, documents: Documents, clock: Clock
    ) -> None:
        class Counting(Through):
            reads = 0

            def passing(self, operation: str, call: Callable[[], Any]) -> Any:
                self.reads += 1
                return call()

        for number in range(101):
            added(inbox, str(number))
        clock.advance(1)
        counting = Counting(documents)
        entries = Inbox(counting, clock).older_than("acme", clock())
        next(entries)
        assert counting.reads == 1


class TestClosing:
    def test_an_entry_that_is_gone_does_not_come_back(self, inbox: Inbox) -> None:
        entry = added(inbox)
        inbox.forget("acme")
        with pytest.raises(DocumentMissingError):
            inbox.close("acme", entry)
        assert inbox.get("acme", entry.id) is None


class TestBesideAnotherRevision:
    def test_a_field_that_only_a_newer_one_knows_is_passed_over_and_stays(
        self, inbox: Inbox, documents: Documents
    ) -> None:
        entry = added(inbox)
        documents.update(COLLECTION, entry.id, {"later": [1]})
        assert inbox.get("acme", entry.id) == entry
        inbox.close("acme", entry)
        document = documents.get(COLLECTION, entry.id)
        assert document is not None
        assert document.fields["later"] == [1]


def test_a_tenants_entries_are_forgotten_and_no_others(inbox: Inbox) -> None:
    added(inbox)
    inbox.add("acme-stg", ACCOUNT, event())
    inbox.forget("acme")
    assert inbox.open_of("acme", "P1") == []
    assert ids(inbox.open_of("acme-stg", "P1")) == ["e1"]


def test_times_are_stored_as_times(inbox: Inbox, documents: Documents) -> None:
    document = documents.get(COLLECTION, added(inbox).id)
    assert document is not None
    times = {name for name, value in document.fields.items() if isinstance(value, datetime)}
    assert times == {"at", "received_at", "expire_at"}


def test_an_events_id_is_no_path(inbox: Inbox, stored_bytes: Callable[[], bytes]) -> None:
    for id in ("a/b", "..", "__x__", "x" * 3000):
        added(inbox, id)
    assert b"a/b" in stored_bytes()
    assert len(inbox.open_of("acme", "P1")) == 4


def test_an_event_has_the_id_that_earlier_releases_gave_it_since_its_entry_may_be_stored() -> None:
    assert entry_id("WBhXHN", "e1") == "8379db8fc1869a33429598ef2339625e"
