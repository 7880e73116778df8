"""Tenants, on both stores: nothing readable in them, nothing lost between two editors, no key needed for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from shared.direction import Direction
from shared.errors import DocumentExistsError, DocumentMissingError, UndecryptableError
from shared.storage.documents import Documents, Value
from shared.storage.encryption import KeyRing
from shared.tenants.former import FormerTenants
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import (
    COLLECTION,
    FormerAccount,
    InstallationKey,
    KlaviyoConnection,
    Outage,
    StoredSecret,
    Tenant,
    TenantStore,
    is_tenant_name,
    new_webhook_secret,
)
from tests.support import stores
from tests.support.world import Clock, a_tenant

documents = stores.documents
stored_bytes = stores.stored_bytes

A, B = b"a" * 32, b"b" * 32
NOW = Clock().now
CONNECTION = KlaviyoConnection(
    access_token=SecretStr("canary-access"),
    refresh_token=SecretStr("canary-refresh"),
    expires_at=NOW + timedelta(hours=1),
    scope="events:write",
    account_id="AcmeAc",
    connected_at=NOW,
)
OUTAGES = (Outage(began=NOW, ended=NOW + timedelta(hours=1)), Outage(began=NOW + timedelta(hours=3)))


def store(documents: Documents, **keys: bytes) -> TenantStore:
    return TenantStore(documents, KeyRing(keys or {"a": A}))


def whole(name: str = "acme", **changes: Any) -> Tenant:
    """Return a tenant with everything in it."""
    kept = {
        "omneo_signing_secrets": (secret("canary-signing"),),
        "webhook_secrets": (secret("canary-webhook"),),
        "klaviyo": CONNECTION,
        "outages": OUTAGES,
    }
    return a_tenant(name, NOW, **{**kept, **changes})


def raw(documents: Documents, name: str = "acme") -> dict[str, Value]:
    document = documents.get(COLLECTION, name)
    assert document is not None
    return document.fields


def secret(value: str) -> StoredSecret:
    return StoredSecret(id="s1", value=SecretStr(value), created_at=NOW)


def setting(**changes: Any) -> Callable[[Tenant], Tenant]:
    return lambda tenant: tenant.model_copy(update={"settings": tenant.settings.model_copy(update=changes)})


def token(value: str) -> Callable[[Tenant], Tenant]:
    return lambda tenant: tenant.model_copy(update={"omneo_token": SecretStr(value)})


def added_webhook_secret(value: str) -> Callable[[Tenant], Tenant]:
    return lambda tenant: tenant.model_copy(
        update={"webhook_secrets": (secret(value), *tenant.webhook_secrets)}
    )


class TestKeeping:
    @pytest.mark.parametrize("tenant", [a_tenant("acme", NOW), whole()], ids=["new", "installed"])
    def test_a_tenant_comes_back_whole(self, documents: Documents, tenant: Tenant) -> None:
        store(documents).create(tenant)
        assert store(documents).find("acme") == tenant

    def test_a_tenant_that_does_not_exist_is_none(self, documents: Documents) -> None:
        assert store(documents).find("acme") is None

    def test_a_name_is_taken_once(self, documents: Documents) -> None:
        store(documents).create(whole())
        with pytest.raises(DocumentExistsError):
            store(documents).create(a_tenant("acme", NOW))
        assert store(documents).find("acme") == whole()

    def test_names_come_in_order_however_many(self, documents: Documents) -> None:
        names = sorted(f"t{number:03}" for number in range(103))
        for name in reversed(names):
            documents.create(COLLECTION, name, {"any": 1})
        assert list(store(documents).names()) == names

    def test_a_deleted_tenant_is_gone(self, documents: Documents) -> None:
        store(documents).create(whole())
        store(documents).delete("acme")
        store(documents).delete("acme")
        assert store(documents).find("acme") is None


class TestSecrecy:
    def test_the_store_holds_no_secret_in_any_form(
        self, documents: Documents, stored_bytes: Callable[[], bytes]
    ) -> None:
        store(documents).create(whole())
        store(documents).change("acme", lambda tenant: tenant.model_copy(update={"klaviyo": None}))
        store(documents).change("acme", lambda tenant: tenant.model_copy(update={"klaviyo": CONNECTION}))
        lying_there = stored_bytes()
        assert b"AcmeAc" in lying_there
        for readable in (b"canary", "canary".encode("utf-16-le"), b"Y2FuYXJ5", b"NhbmFye", b"jYW5hcn"):
            assert readable not in lying_there

    def test_a_secret_copied_to_another_tenant_does_not_open(self, documents: Documents) -> None:
        store(documents).create(whole())
        documents.create(COLLECTION, "evil", {**raw(documents), "name": "evil"})
        with pytest.raises(UndecryptableError) as refused:
            store(documents).find("evil")
        assert "canary" not in str(refused.value)

    def test_one_secret_in_the_place_of_another_does_not_open(self, documents: Documents) -> None:
        store(documents).create(whole())
        klaviyo = raw(documents)["klaviyo"]
        assert isinstance(klaviyo, dict)
        documents.update(COLLECTION, "acme", {"omneo_token": klaviyo["access_token"]})
        with pytest.raises(UndecryptableError):
            store(documents).find("acme")

    def test_a_key_that_is_not_there_is_an_error_of_its_own(self, documents: Documents) -> None:
        store(documents).create(whole())
        with pytest.raises(UndecryptableError, match="of acme was written with a key that ENCRYPTION_KEYS"):
            store(documents, b=B).find("acme")

    def test_printing_a_tenant_shows_no_secret(self) -> None:
        assert "canary" not in repr(whole()) + str(whole())

    def test_a_new_webhook_secret_is_long_and_never_the_same(self) -> None:
        made = {new_webhook_secret(NOW).value.get_secret_value() for _ in range(50)}
        assert len(made) == 50
        assert min(map(len, made)) >= 43


class TestChanging:
    def test_only_what_differs_is_written(self, documents: Documents) -> None:
        store(documents).create(whole())
        before = raw(documents)
        changed = store(documents).change("acme", setting(dead_job_days=7))
        after = raw(documents)
        assert changed.settings.dead_job_days == 7
        assert store(documents).find("acme") == changed
        assert {name for name in before if before[name] != after[name]} == {"settings"}

    def test_an_edit_that_changes_nothing_writes_nothing(self, documents: Documents) -> None:
        store(documents).create(whole())
        before = documents.get(COLLECTION, "acme")
        assert store(documents).change("acme", lambda tenant: tenant.model_copy()) == whole()
        assert documents.get(COLLECTION, "acme") == before

    def test_a_tenant_that_does_not_exist_cannot_be_changed(self, documents: Documents) -> None:
        with pytest.raises(DocumentMissingError):
            store(documents).change("acme", setting(dead_job_days=7))
        assert store(documents).find("acme") is None

    def test_an_edit_that_fails_changes_nothing(self, documents: Documents) -> None:
        store(documents).create(whole())

        def fail(_: Tenant) -> Tenant:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store(documents).change("acme", fail)
        assert store(documents).find("acme") == whole()

    def test_an_edit_is_asked_again_when_somebody_else_was_faster(self, documents: Documents) -> None:
        store(documents).create(whole())
        seen: list[int] = []

        def edit(tenant: Tenant) -> Tenant:
            seen.append(tenant.settings.dead_job_days)
            if len(seen) == 1:
                store(documents).change("acme", setting(dead_job_days=7, identity_handle="other"))
            return setting(dead_job_days=tenant.settings.dead_job_days + 1)(tenant)

        changed = store(documents).change("acme", edit)
        assert seen == [30, 7]
        assert (changed.settings.dead_job_days, changed.settings.identity_handle) == (8, "other")
        assert store(documents).find("acme") == changed

    def test_a_tenant_deleted_meanwhile_does_not_come_back(self, documents: Documents) -> None:
        store(documents).create(whole())

        def edit(tenant: Tenant) -> Tenant:
            store(documents).delete("acme")
            return setting(dead_job_days=7)(tenant)

        with pytest.raises(DocumentMissingError):
            store(documents).change("acme", edit)
        assert store(documents).find("acme") is None

    def test_two_who_edit_different_fields_at_once_lose_nothing(self, documents: Documents) -> None:
        store(documents).create(whole())
        start = threading.Barrier(2)

        def rotate() -> None:
            start.wait(timeout=60)
            for number in range(8):
                store(documents).change("acme", added_webhook_secret(f"canary-{number}"))

        def refresh() -> None:
            start.wait(timeout=60)
            for number in range(8):
                store(documents).change("acme", token(f"canary-token-{number}"))

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(rotate), pool.submit(refresh)]:
                done.result(30)
        tenant = store(documents).find("acme")
        assert tenant is not None
        assert len(tenant.webhook_secrets) == 9
        assert tenant.omneo_token.get_secret_value() == "canary-token-7"

    def test_eight_who_edit_the_same_field_at_once_lose_nothing(self, documents: Documents) -> None:
        store(documents).create(whole(installation_keys=()))
        start = threading.Barrier(8)

        def add(number: int) -> None:
            key = InstallationKey(hash=f"{number}", created_at=NOW)
            start.wait(timeout=60)
            store(documents).change(
                "acme",
                lambda tenant: tenant.model_copy(
                    update={"installation_keys": (key, *tenant.installation_keys)}
                ),
            )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(8)))
        tenant = store(documents).find("acme")
        assert tenant is not None
        assert sorted(key.hash for key in tenant.installation_keys) == [f"{number}" for number in range(8)]


class TestBesideANewerRevision:
    """While a deploy is under way, two revisions read and write the same tenants."""

    @pytest.fixture(autouse=True)
    def _written_by_a_newer_revision(self, documents: Documents) -> None:
        store(documents).create(whole())
        fields = raw(documents)
        settings, klaviyo = fields["settings"], fields["klaviyo"]
        assert isinstance(settings, dict)
        assert isinstance(klaviyo, dict)
        sealed = KeyRing({"a": A}).encrypt("canary-new", tenant="acme", field="klaviyo.webhook_key")
        documents.update(
            COLLECTION,
            "acme",
            {
                "region": {"at": NOW},
                "settings": settings | {"later_mappings": {"a.b": ["x"]}},
                "klaviyo": klaviyo | {"webhook_id": "w1", "webhook_key": {"$sealed": sealed}},
            },
        )

    def test_its_fields_are_no_error(self, documents: Documents) -> None:
        tenant = store(documents).find("acme")
        assert tenant is not None
        assert tenant.omneo_token == whole().omneo_token
        assert "canary" not in repr(tenant)

    def test_its_fields_stay_also_beside_what_is_changed(self, documents: Documents) -> None:
        store(documents).change("acme", setting(dead_job_days=7))
        store(documents).change(
            "acme",
            lambda tenant: tenant.model_copy(
                update={"klaviyo": tenant.klaviyo and tenant.klaviyo.model_copy(update={"scope": "all"})}
            ),
        )
        fields = raw(documents)
        settings, klaviyo = fields["settings"], fields["klaviyo"]
        assert isinstance(settings, dict)
        assert isinstance(klaviyo, dict)
        assert fields["region"] == {"at": NOW}
        assert (settings["later_mappings"], settings["dead_job_days"]) == ({"a.b": ["x"]}, 7)
        assert (klaviyo["webhook_id"], klaviyo["scope"]) == ("w1", "all")
        assert self.webhook_key(documents, a=A) == "canary-new"

    def test_its_secrets_are_sealed_again_too(self, documents: Documents) -> None:
        both = store(documents, b=B, a=A)
        due = both.reencrypt("acme")
        assert due == 6
        assert both.reencrypt("acme") == 0
        assert self.webhook_key(documents, b=B) == "canary-new"
        assert raw(documents)["region"] == {"at": NOW}

    def test_a_secret_at_the_top_that_only_it_knows_is_sealed_again(self, documents: Documents) -> None:
        sealed = KeyRing({"a": A}).encrypt("canary-top", tenant="acme", field="api_key")
        documents.update(COLLECTION, "acme", {"api_key": {"$sealed": sealed}})
        assert store(documents, b=B, a=A).reencrypt("acme") == 7
        assert store(documents, b=B, a=A).reencrypt("acme", dry_run=True) == 0

    @staticmethod
    def webhook_key(documents: Documents, **keys: bytes) -> str:
        match raw(documents)["klaviyo"]:
            case {"webhook_key": {"$sealed": str(sealed)}}:
                return KeyRing(keys).decrypt(sealed, tenant="acme", field="klaviyo.webhook_key")
            case _:
                pass
        pytest.fail("the newer revision's secret is lost")


class TestNewKeys:
    def test_after_resealing_the_old_key_can_go(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        both = store(documents, b=B, a=A)
        assert both.reencrypt("acme", dry_run=True) == 5
        assert both.reencrypt("acme") == 5
        assert both.reencrypt("acme") == 0
        assert store(documents, b=B).find("acme") == whole()
        with pytest.raises(UndecryptableError):
            store(documents, a=A).find("acme")

    def test_counting_changes_nothing(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        before = documents.get(COLLECTION, "acme")
        store(documents, b=B, a=A).reencrypt("acme", dry_run=True)
        assert documents.get(COLLECTION, "acme") == before

    def test_a_run_that_was_stopped_is_finished_by_the_next(self, documents: Documents) -> None:
        for name in ("acme", "beta", "gamma"):
            store(documents, a=A).create(whole(name))
        both = store(documents, b=B, a=A)
        both.reencrypt("acme")
        assert [both.reencrypt(name) for name in both.names()] == [0, 5, 5]
        assert [store(documents, b=B).find(name) for name in both.names()] == [
            whole(name) for name in ("acme", "beta", "gamma")
        ]

    def test_what_is_changed_by_the_new_key_only_leaves_less_to_do(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        both = store(documents, b=B, a=A)
        both.change("acme", token("canary-newer"))
        assert both.reencrypt("acme") == 4

    def test_a_tenant_that_is_gone_has_nothing_to_do(self, documents: Documents) -> None:
        assert store(documents, b=B, a=A).reencrypt("acme") == 0

    def test_old_and_new_revisions_read_each_other_at_every_step_of_a_rotation(
        self, documents: Documents
    ) -> None:
        only_a, a_first = {"a": A}, {"a": A, "b": B}
        b_first, only_b = {"b": B, "a": A}, {"b": B}
        store(documents, **only_a).create(whole())
        number = 0
        for earlier, later in ((only_a, a_first), (a_first, b_first)):
            for writer, reader in ((earlier, later), (later, earlier)):
                number += 1
                changed = store(documents, **writer).change("acme", token(f"canary-{number}"))
                assert store(documents, **reader).find("acme") == changed
        store(documents, **b_first).reencrypt("acme")
        assert store(documents, **only_b).find("acme") == changed

    def test_a_secret_that_is_changed_during_resealing_is_not_overwritten(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        overtaken = stores.Overtaken(
            documents, lambda: store(documents, a=A, b=B).change("acme", token("canary-newer"))
        )
        assert TenantStore(overtaken, KeyRing({"b": B, "a": A})).reencrypt("acme") == 5
        assert store(documents, b=B).find("acme") == token("canary-newer")(whole())

    def test_a_tenant_that_is_deleted_during_resealing_stays_deleted(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        overtaken = stores.Overtaken(documents, lambda: store(documents).delete("acme"))
        assert TenantStore(overtaken, KeyRing({"b": B, "a": A})).reencrypt("acme") == 0
        assert store(documents).find("acme") is None

    def test_resealing_beside_a_busy_editor_loses_nothing(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        start = threading.Barrier(2)

        def refresh() -> None:
            start.wait(timeout=60)
            for number in range(10):
                store(documents, a=A, b=B).change("acme", token(f"canary-{number}"))

        def reseal() -> None:
            start.wait(timeout=60)
            for _ in range(10):
                store(documents, b=B, a=A).reencrypt("acme")

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(refresh), pool.submit(reseal)]:
                done.result(30)
        store(documents, b=B, a=A).reencrypt("acme")
        tenant = store(documents, b=B).find("acme")
        assert tenant == whole(omneo_token=SecretStr("canary-9"))

    def test_a_secret_that_cannot_be_read_is_said_and_left(self, documents: Documents) -> None:
        store(documents, a=A).create(whole())
        before = documents.get(COLLECTION, "acme")
        with pytest.raises(UndecryptableError):
            store(documents, b=B).reencrypt("acme")
        assert documents.get(COLLECTION, "acme") == before


class TestTimeDisconnected:
    moments = st.integers(0, 40).map(lambda minutes: NOW + timedelta(minutes=minutes))

    @given(
        outages=st.lists(st.builds(Outage, began=moments, ended=moments | st.none()), max_size=6),
        since=moments,
        now=moments,
    )
    def test_it_counts_every_disconnected_minute_once(
        self, outages: list[Outage], since: datetime, now: datetime
    ) -> None:
        tenant = a_tenant("acme", NOW, outages=tuple(outages))
        minutes = (since + timedelta(minutes=number) for number in range(41))
        expected = sum(
            any(
                outage.began <= minute and (outage.ended is None or minute < outage.ended)
                for outage in outages
            )
            for minute in minutes
            if minute < now
        )
        assert tenant.time_disconnected(since, now) == timedelta(minutes=expected)

    def test_other_time_zones_make_no_difference(self) -> None:
        outage = Outage(
            began=datetime.fromisoformat("2026-11-21T20:00:00+10:00"),
            ended=datetime.fromisoformat("2026-11-21T06:00:00-05:00"),
        )
        tenant = a_tenant("acme", NOW, outages=(outage,))
        day = datetime(2026, 11, 21, tzinfo=UTC)
        assert tenant.time_disconnected(day, day + timedelta(days=1)) == timedelta(hours=1)


class TestNames:
    @pytest.mark.parametrize("name", ["a", "0", "acme", "acme-stg", "a--b", "a" * 40, "1-2"])
    def test_a_tenant_may_be_called(self, name: str) -> None:
        assert is_tenant_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            "", "-", "a-", "-a", "A", "a_b", "a.b", "a/b", "a" * 41, "acme\n", " acme", "ácme", "a\x00", "\u0661", "..",
        ],
    )  # fmt: skip
    def test_a_tenant_may_not_be_called(self, name: str) -> None:
        assert not is_tenant_name(name)

    def test_queues_are_named_by_what_is_set_and_by_direction(self) -> None:
        settings = TenantSettings(task_queue_name="shop-au-stg", namespace="kl2")
        tenant = a_tenant("acme", NOW, settings=settings)
        assert tenant.queue_name(Direction.INBOUND) == "shop-au-stg-kl2-inbound"
        assert tenant.queue_name(Direction.OUTBOUND) == "shop-au-stg-kl2-outbound"

    def test_the_longest_queue_name_is_one_that_cloud_tasks_takes(self) -> None:
        settings = TenantSettings(task_queue_name="q" * 40, namespace="n" * 40)
        assert len(a_tenant("acme", NOW, settings=settings).queue_name(Direction.OUTBOUND)) <= 100

    @pytest.mark.parametrize("part", ["", "-a", "a-", "a_b", "a.b", "a/b", "a b", "a" * 41, "é", "a\n"])
    def test_a_queue_name_that_cloud_tasks_would_refuse_is_refused(self, part: str) -> None:
        for field in ("task_queue_name", "namespace"):
            with pytest.raises(ValidationError, match=field):
                TenantSettings.model_validate({"task_queue_name": "acme", field: part})


def test_every_tenant_that_holds_an_account_is_named_however_many_there_are(documents: Documents) -> None:
    tenants = store(documents)
    shared, unknown = [f"shop-{number:03}" for number in range(103)], ["twin", "zwilling"]
    for name in shared:
        tenants.create(whole(name, klaviyo_account_id="AcmeAc"))
    for name in unknown:
        tenants.create(whole(name))
    tenants.create(whole("never-installed", klaviyo=None))
    assert tenants.holding("AcmeAc") == shared
    assert tenants.of_unknown_account() == unknown


def test_the_key_of_a_ledger_outlives_its_tenant_and_every_encryption_key(
    documents: Documents, stored_bytes: Callable[[], bytes]
) -> None:
    def former(**keys: bytes) -> FormerTenants:
        return FormerTenants(documents, KeyRing(keys))

    key = SecretStr("canary-ledger-key")
    for _ in range(2):
        former(a=A).keep("acme", key, NOW + timedelta(days=1))
    assert b"canary" not in stored_bytes()
    assert list(former(a=A).names()) == ["acme"]
    newer = former(b=B, a=A)
    assert newer.reencrypt("acme", dry_run=True) == newer.reencrypt("acme") == 1
    assert newer.reencrypt("acme") == newer.reencrypt("beta") == 0
    assert former(b=B).ledger_key("acme") == key
    former(b=B).forget("acme")
    assert (former(b=B).ledger_key("acme"), list(former(b=B).names())) == (None, [])


def test_an_account_that_is_to_be_left_is_stored_with_nothing_readable(
    documents: Documents, stored_bytes: Callable[[], bytes]
) -> None:
    tenants = store(documents)
    former = (FormerAccount(connection=CONNECTION, webhook_id="w1"),)
    tenants.create(whole(former_accounts=former))
    found = tenants.find("acme")
    assert found is not None
    assert found.former_accounts == former
    assert b"canary" not in stored_bytes()
