"""The consent ledger, on both stores: every decision once, nobody's name in it, and readable under every later key."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.consent.ledger import (
    KEPT,
    ConsentLedger,
    ConsentRecord,
    ensure_ledger_key,
    new_ledger_key,
)
from shared.consent_events import Channel
from shared.errors import DocumentMissingError
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing
from shared.tenants.tenants import Tenant, TenantStore
from tests.support import stores
from tests.support.world import Clock, a_tenant

documents = stores.documents
stored_bytes = stores.stored_bytes

A, B = b"a" * 32, b"b" * 32
NOW = Clock().now
ACME = a_tenant("acme", NOW, ledger_key=SecretStr("canary-ledger"))
STAGING = a_tenant("acme-stg", NOW, ledger_key=SecretStr("canary-staging"))
JANE = "canary-1b4e28ba-2fa1-11d2-883f-0016d3cca427"
COLLECTION = "tenants/acme/consent_ledger"
_examples = count(1)


@pytest.fixture
def ledger(documents: Documents, clock: Clock) -> ConsentLedger:
    """Return a ledger on the test's clock."""
    return ConsentLedger(documents, clock)


def a_record(event_id: str = "e1", **changes: Any) -> ConsentRecord:
    fields: dict[str, Any] = {
        "at": NOW - timedelta(minutes=1),
        "channel": "email",
        "before": "subscribed",
        "after": "unsubscribed",
        "source": "klaviyo:unsubscribed_from_email_marketing",
        "event_id": event_id,
    }
    return ConsentRecord(**{**fields, **changes})


def event_ids(records: list[ConsentRecord]) -> list[str]:
    return [record.event_id for record in records]


class TestRecording:
    def test_a_decision_comes_back_whole_with_the_time_it_was_recorded(
        self, ledger: ConsentLedger, clock: Clock
    ) -> None:
        ledger.record(ACME, JANE, a_record())
        assert ledger.records_of(ACME, JANE, 10) == [replace(a_record(), recorded_at=clock())]

    def test_recorded_again_the_first_stays(self, ledger: ConsentLedger, clock: Clock) -> None:
        ledger.record(ACME, JANE, a_record())
        first = clock()
        clock.advance(60)
        ledger.record(ACME, JANE, a_record(before="unset", at=clock()))
        assert ledger.records_of(ACME, JANE, 10) == [replace(a_record(), recorded_at=first)]

    @pytest.mark.parametrize(
        "other",
        [
            a_record("e2"),
            a_record(channel="sms"),
            a_record(source="omneo"),
            # Put together without care, these two would be the same act.
            a_record("d_from_email_marketinge1", source="klaviyo:unsubscribe"),
        ],
        ids=["event", "channel", "source", "border"],
    )
    def test_another_event_channel_or_source_is_another_decision(
        self, ledger: ConsentLedger, other: ConsentRecord
    ) -> None:
        for record in (a_record(), other):
            ledger.record(ACME, JANE, record)
        assert len(ledger.records_of(ACME, JANE, 10)) == 2

    def test_without_an_event_id_a_second_decision_would_be_lost_so_it_is_refused(
        self, ledger: ConsentLedger
    ) -> None:
        with pytest.raises(ValueError, match="event id"):
            ledger.record(ACME, JANE, a_record(""))
        assert ledger.records_of(ACME, JANE, 10) == []

    def test_a_tenant_without_a_key_is_refused(self, ledger: ConsentLedger) -> None:
        keyless = a_tenant("acme", NOW)
        with pytest.raises(ValueError, match="ledger key"):
            ledger.record(keyless, JANE, a_record())
        with pytest.raises(ValueError, match="ledger key"):
            ledger.records_of(keyless, JANE, 10)
        with pytest.raises(ValueError, match="ledger key"):
            ledger.forget_profile(keyless, JANE)

    def test_of_eight_who_record_the_same_decision_at_once_one_is_kept(
        self, ledger: ConsentLedger, documents: Documents
    ) -> None:
        start = threading.Barrier(8)

        def record(number: int) -> None:
            start.wait(timeout=60)
            ledger.record(ACME, JANE, a_record(f"e{number % 2}"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(record, range(8)))
        assert sorted(event_ids(ledger.records_of(ACME, JANE, 10))) == ["e0", "e1"]
        assert documents.count(COLLECTION) == 2

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        acts=st.lists(
            st.tuples(st.sampled_from(["e1", "e2", "e3"]), st.sampled_from(["email", "sms"])), max_size=10
        )
    )
    def test_decisions_recorded_any_number_of_times_in_any_order_stand_once_newest_first(
        self, ledger: ConsentLedger, acts: list[tuple[str, Channel]]
    ) -> None:
        tenant = a_tenant(f"example-{next(_examples)}", NOW, ledger_key=new_ledger_key())
        for event_id, channel in acts:
            at = NOW + timedelta(hours=int(event_id[1]), minutes=channel == "sms")
            ledger.record(tenant, JANE, a_record(event_id, channel=channel, at=at))
        told = [(record.event_id, record.channel) for record in ledger.records_of(tenant, JANE, 10)]
        assert told == sorted(set(acts), reverse=True)


class TestReading:
    def test_the_newest_decisions_come_first_and_no_more_than_asked_for(
        self, ledger: ConsentLedger, clock: Clock
    ) -> None:
        for hours in (2, 5, 1, 4, 3):
            ledger.record(ACME, JANE, a_record(f"e{hours}", at=NOW + timedelta(hours=hours)))
        clock.advance(1)
        ledger.record(ACME, JANE, a_record("later", at=NOW + timedelta(hours=2)))
        assert event_ids(ledger.records_of(ACME, JANE, 10)) == ["e5", "e4", "e3", "later", "e2", "e1"]
        assert event_ids(ledger.records_of(ACME, JANE, 2)) == ["e5", "e4"]

    def test_more_than_a_page_of_the_store_holds_are_all_looked_at(self, ledger: ConsentLedger) -> None:
        for number in range(105):
            ledger.record(ACME, JANE, a_record(f"{number:03}", at=NOW + timedelta(seconds=number)))
        assert event_ids(ledger.records_of(ACME, JANE, 200)) == [
            f"{number:03}" for number in reversed(range(105))
        ]
        assert event_ids(ledger.records_of(ACME, JANE, 1)) == ["104"]

    def test_profiles_and_tenants_do_not_meet(self, ledger: ConsentLedger) -> None:
        ledger.record(ACME, JANE, a_record("hers"))
        ledger.record(ACME, f"{JANE}0", a_record("his"))
        ledger.record(STAGING, JANE, a_record("staging"))
        assert event_ids(ledger.records_of(ACME, JANE, 10)) == ["hers"]
        assert event_ids(ledger.records_of(STAGING, JANE, 10)) == ["staging"]

    def test_a_record_is_kept_three_years_and_not_a_moment_longer(
        self, ledger: ConsentLedger, documents: Documents, clock: Clock
    ) -> None:
        ledger.record(ACME, JANE, a_record())
        (document,) = documents.find(COLLECTION)
        assert document.fields["expire_at"] == clock() + timedelta(days=1096)
        clock.advance(KEPT.total_seconds() - 1)
        assert event_ids(ledger.records_of(ACME, JANE, 10)) == ["e1"]
        clock.advance(1)
        assert ledger.records_of(ACME, JANE, 10) == []


class TestForgetting:
    def test_a_profile_is_forgotten_and_no_other(self, ledger: ConsentLedger) -> None:
        for number in range(103):
            ledger.record(ACME, JANE, a_record(str(number)))
        ledger.record(ACME, "another", a_record("his"))
        ledger.record(STAGING, JANE, a_record("staging"))
        ledger.forget_profile(ACME, JANE)
        assert ledger.records_of(ACME, JANE, 200) == []
        assert event_ids(ledger.records_of(ACME, "another", 10)) == ["his"]
        assert event_ids(ledger.records_of(STAGING, JANE, 10)) == ["staging"]

    def test_a_tenant_is_forgotten_and_no_other(self, ledger: ConsentLedger, documents: Documents) -> None:
        for number in range(103):
            ledger.record(ACME, str(number), a_record())
        ledger.record(STAGING, JANE, a_record("staging"))
        ledger.forget("acme")
        assert documents.count(COLLECTION) == 0
        assert event_ids(ledger.records_of(STAGING, JANE, 10)) == ["staging"]


class TestSecrecy:
    def test_the_store_does_not_hold_the_profile(
        self, ledger: ConsentLedger, stored_bytes: Callable[[], bytes]
    ) -> None:
        ledger.record(ACME, JANE, a_record())
        lying_there = stored_bytes()
        assert b"klaviyo:unsubscribed_from_email_marketing" in lying_there
        assert b"canary" not in lying_there
        assert JANE.removeprefix("canary-").encode() not in lying_there

    def test_a_profile_looks_different_with_every_tenant(
        self, ledger: ConsentLedger, documents: Documents
    ) -> None:
        for tenant in (ACME, STAGING):
            ledger.record(tenant, JANE, a_record())
        (one,) = documents.find(COLLECTION)
        (other,) = documents.find("tenants/acme-stg/consent_ledger")
        assert one.fields["profile"] != other.fields["profile"]
        assert one.id != other.id

    def test_a_new_key_is_long_and_never_the_same(self) -> None:
        made = {new_ledger_key().get_secret_value() for _ in range(50)}
        assert (len(made), {len(key) for key in made}) == (50, {64})


class TestKeys:
    def test_a_tenant_from_before_there_were_keys_gets_one_that_stays(self, documents: Documents) -> None:
        tenants = TenantStore(documents, KeyRing({"a": A}))
        tenants.create(a_tenant("acme", NOW))
        made = ensure_ledger_key(tenants, "acme")
        assert made.ledger_key is not None
        assert ensure_ledger_key(tenants, "acme") == made == tenants.find("acme")

    def test_one_stored_before_the_field_was_known_gets_one_too(
        self, documents: Documents, ledger: ConsentLedger
    ) -> None:
        tenants = TenantStore(documents, KeyRing({"a": A}))
        tenants.create(a_tenant("acme", NOW))
        stored = documents.get("tenants", "acme")
        assert stored is not None
        documents.delete("tenants", "acme")
        old = {name: value for name, value in stored.fields.items() if name != "ledger_key"}
        documents.create("tenants", "acme", old)
        ledger.record(ensure_ledger_key(tenants, "acme"), JANE, a_record())
        assert event_ids(ledger.records_of(ensure_ledger_key(tenants, "acme"), JANE, 10)) == ["e1"]

    def test_of_a_tenant_that_does_not_exist_none_is_made(self, documents: Documents) -> None:
        tenants = TenantStore(documents, KeyRing({"a": A}))
        with pytest.raises(DocumentMissingError):
            ensure_ledger_key(tenants, "acme")
        assert tenants.find("acme") is None

    def test_any_number_who_need_one_at_once_end_with_one(self, documents: Documents) -> None:
        tenants = TenantStore(documents, KeyRing({"a": A}))
        tenants.create(a_tenant("acme", NOW))
        start = threading.Barrier(8)

        def ensure(_: int) -> Tenant:
            start.wait(timeout=60)
            return ensure_ledger_key(tenants, "acme")

        with ThreadPoolExecutor(8) as pool:
            keys = [tenant.ledger_key for tenant in pool.map(ensure, range(8))]
        stored = tenants.find("acme")
        assert stored is not None
        assert stored.ledger_key is not None
        assert keys == [stored.ledger_key] * 8

    def test_records_are_found_after_the_encryption_key_was_changed_and_the_old_one_dropped(
        self, documents: Documents, ledger: ConsentLedger
    ) -> None:
        old = TenantStore(documents, KeyRing({"a": A}))
        old.create(a_tenant("acme", NOW))
        ledger.record(ensure_ledger_key(old, "acme"), JANE, a_record("before"))
        due = TenantStore(documents, KeyRing({"b": B, "a": A})).reencrypt("acme")
        assert due == 4, "the token, two secrets and the ledger key"
        new = TenantStore(documents, KeyRing({"b": B}))
        ledger.record(ensure_ledger_key(new, "acme"), JANE, a_record("after"))
        tenant = new.find("acme")
        assert tenant is not None
        assert sorted(event_ids(ledger.records_of(tenant, JANE, 10))) == ["after", "before"]

    def test_the_store_does_not_hold_the_key(
        self, documents: Documents, stored_bytes: Callable[[], bytes]
    ) -> None:
        TenantStore(documents, KeyRing({"a": A})).create(ACME)
        assert b"ledger_key" in stored_bytes()
        assert b"canary" not in stored_bytes()
