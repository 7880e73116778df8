"""The life of an access token among several workers, on both stores: who refreshes, who waits, and what is never lost.

Deaths and reinstalls are let happen before every single operation on the store, one run for each.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.errors import DisconnectedError, ExtensionError, RestingError, StoreUnavailableError, WaitError
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.installation.connecting import connect
from shared.klaviyo.oauth import KlaviyoApp, KlaviyoOAuth, TokenAnswer, read_problem
from shared.klaviyo.rests import Rests
from shared.klaviyo.tokens import LEASE, REFRESH_AHEAD, REST_SECONDS, SECOND_LOOK_SECONDS, TenantTokens
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing, new_key
from shared.storage.leases import Leases
from shared.storage.sqlite import SqliteDocuments
from shared.tenants.tenants import KlaviyoConnection, Tenant, TenantStore
from tests.support import stores
from tests.support.through import Through
from tests.support.world import ACCOUNT, TENANT, Clock, a_tenant

T = TypeVar("T")

documents = stores.documents

HOUR = 3600.0
OPERATIONS = 10  # one more than the longest way through has
BODY = {"error": "invalid_grant", "error_description": "canary"}


class Killed(BaseException):
    """The process is gone. No handler of ours catches this."""


class Watched(Through):
    """The real store, with something that happens before each operation."""

    def __init__(self, documents: Documents, before: Callable[[int], None]) -> None:
        super().__init__(documents)
        self._before = before
        self._calls = 0

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        number, self._calls = self._calls, self._calls + 1
        self._before(number)
        return call()


@dataclass
class Shop:
    """A tenant whose app is installed, and as many workers as a test wants."""

    clock: Clock
    sandbox: Sandbox
    documents: Documents
    keys: KeyRing
    store: TenantStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = TenantStore(self.documents, self.keys)
        self.store.create(a_tenant(TENANT, self.clock()))
        self.install()

    def install(self) -> Tenant:
        answer = TokenAnswer.model_validate(self.sandbox.klaviyo.install(ACCOUNT).to_json())
        return connect(TENANT, answer, tenants=self.store, now=self.clock())

    def read(self) -> Tenant:
        tenant = self.store.find(TENANT)
        assert tenant is not None
        return tenant

    def connection(self) -> KlaviyoConnection:
        connection = self.read().klaviyo
        assert connection is not None
        return connection

    def access(self) -> str:
        return self.connection().access_token.get_secret_value()

    def worker(
        self,
        *,
        tenant: Tenant | None = None,
        before: Callable[[int], None] | None = None,
        sleep: Callable[[float], None] | None = None,
        secret: str | None = None,
    ) -> TenantTokens:
        """Return a worker that has read the tenant, as stored now unless one is given."""
        documents: Documents = Watched(self.documents, before) if before else self.documents
        oauth = self.sandbox.klaviyo.oauth
        app = KlaviyoApp(oauth.client_id, SecretStr(secret or oauth.client_secret))
        return TenantTokens(
            tenant or self.read(),
            tenants=TenantStore(documents, self.keys),
            leases=Leases(documents, self.clock, lambda: uuid.uuid4().hex),
            rests=Rests(self.documents, self.clock),
            oauth=KlaviyoOAuth(
                HttpClient("Klaviyo", self.sandbox.klaviyo.url, read_problem, Connections()), app
            ),
            clock=self.clock,
            sleep=sleep or self.clock.sleep,
        )

    def refreshes(self) -> list[int | None]:
        """Return the statuses of the token calls so far."""
        return [call.status for call in self.sandbox.klaviyo.calls.all() if call.path == "/oauth/token"]

    def works(self, token: str) -> bool:
        return self.sandbox.klaviyo.oauth.holder(token) is not None

    def revoke(self) -> None:
        self.sandbox.klaviyo.revoke(self.connection().refresh_token.get_secret_value())

    def refuse_grants(self, times: int) -> None:
        self.sandbox.klaviyo.fail(times, match="POST /oauth/token", status=400, body=BODY)

    def check_usable(self) -> None:
        """Hold that what is stored works, now and for another refresh, and that no outage is open."""
        assert not self.connection().disconnected
        assert all(outage.ended for outage in self.read().outages)
        assert self.works(self.worker().current())
        self.clock.advance(HOUR)
        assert self.works(self.worker().current())


@pytest.fixture
def sqlite_shop(clock: Clock, sandbox: Sandbox, tmp_path: Path) -> Iterator[Shop]:
    """Return a shop on SQLite alone, for what is run very often and rests on the store's contract only."""
    store = SqliteDocuments(tmp_path / "documents.db")
    yield Shop(clock, sandbox, store, KeyRing.parse(f"k1:{new_key()}"))
    store.close()


@pytest.fixture
def shop(clock: Clock, sandbox: Sandbox, documents: Documents) -> Shop:
    return Shop(clock, sandbox, documents, KeyRing.parse(f"k1:{new_key()}"))


def at(operation: int, do: Callable[[], object]) -> Callable[[int], None]:
    """Return what does something once, before that operation."""

    def before(count: int) -> None:
        if count == operation:
            do()

    return before


def dying(operation: int) -> Callable[[int], None]:
    """Return what kills the process before that operation; a dead process does nothing more, not even tidy up."""

    def before(count: int) -> None:
        if count >= operation:
            raise Killed

    return before


def outcome(call: Callable[[], str]) -> str | ExtensionError:
    try:
        return call()
    except ExtensionError as error:
        return error


def check_says_nothing_secret(error: BaseException | None) -> None:
    while error is not None:
        assert "canary" not in f"{error} {error!r}"
        error = error.__cause__


# When to refresh


def test_a_token_with_time_left_is_used_without_asking_store_or_klaviyo(shop: Shop) -> None:
    def down(count: int) -> None:
        raise StoreUnavailableError("down")

    worker = shop.worker(before=down)
    token = shop.access()
    shop.clock.advance(HOUR - REFRESH_AHEAD.total_seconds() - 1)
    assert worker.current() == token
    assert shop.refreshes() == []


def test_a_token_about_to_expire_is_refreshed_and_the_whole_answer_stored(shop: Shop) -> None:
    shop.sandbox.klaviyo.oauth.rotates = True
    worker, before = shop.worker(), shop.connection()
    shop.clock.advance(HOUR - REFRESH_AHEAD.total_seconds())
    token = worker.current()
    after = shop.connection()
    assert token == after.access_token.get_secret_value() != before.access_token.get_secret_value()
    assert after.refresh_token != before.refresh_token
    assert after.expires_at == shop.clock() + timedelta(hours=1)
    assert (after.scope, after.connected_at) == (before.scope, before.connected_at)
    assert shop.works(token)
    shop.check_usable()


def test_a_refresh_that_another_worker_has_done_is_used(shop: Shop) -> None:
    early, late = shop.worker(), shop.worker()
    shop.clock.advance(HOUR)
    assert early.current() == late.current()
    assert shop.refreshes() == [200]


def test_a_refresh_that_another_worker_does_just_before_the_lease_is_taken_is_used(shop: Shop) -> None:
    faster = shop.worker()
    slower = shop.worker(before=at(1, faster.current))
    shop.clock.advance(HOUR)
    assert slower.current() == shop.access()
    assert shop.refreshes() == [200]


def test_a_rejected_token_is_replaced_by_the_stored_one_if_that_is_another(shop: Shop) -> None:
    worker, first = shop.worker(), shop.access()
    shop.install()
    assert worker.instead_of(first) == shop.access() != first
    assert shop.refreshes() == []


def test_a_rejected_token_is_refreshed_if_it_is_the_stored_one(shop: Shop) -> None:
    worker, first = shop.worker(), shop.access()
    token = worker.instead_of(first)
    assert token == shop.access() != first
    assert shop.works(token)
    assert shop.refreshes() == [200]


def test_a_rejected_token_is_not_replaced_by_a_stored_one_that_has_expired(shop: Shop) -> None:
    worker, first = shop.worker(), shop.access()
    shop.install()
    shop.clock.advance(HOUR)
    token = worker.instead_of(first)
    assert shop.works(token)
    assert shop.refreshes() == [200]


def test_a_token_shorter_than_the_time_we_refresh_ahead_is_used_all_the_same(shop: Shop) -> None:
    shop.sandbox.klaviyo.oauth.access_token_seconds = 60
    shop.clock.advance(HOUR)
    worker = shop.worker()
    first = worker.current()
    assert shop.works(first)
    assert shop.works(shop.worker().current())
    assert shop.refreshes() == [200, 200]


@pytest.mark.parametrize("rotates", [False, True])
def test_many_refreshes_in_a_row_leave_a_working_installation(shop: Shop, rotates: bool) -> None:
    shop.sandbox.klaviyo.oauth.rotates = rotates
    for _ in range(5):
        shop.clock.advance(HOUR)
        assert shop.works(shop.worker().current())
    shop.check_usable()


# Several workers


def test_of_eight_workers_one_refreshes_and_the_others_use_the_old_token(shop: Shop) -> None:
    old = shop.access()
    shop.clock.advance(HOUR - 240)
    workers = [shop.worker() for _ in range(8)]
    shop.sandbox.klaviyo.fail(kind="slow", seconds=0.4, match="POST /oauth/token")
    start = threading.Barrier(8)

    def current(worker: TenantTokens) -> str:
        start.wait(60)
        return worker.current()

    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(current, workers))
    assert shop.refreshes() == [200]
    assert set(tokens) == {old, shop.access()}
    assert tokens.count(shop.access()) == 1
    assert all(map(shop.works, tokens))


def test_of_eight_workers_with_an_expired_token_one_refreshes_and_the_others_wait(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    workers = [shop.worker() for _ in range(8)]
    shop.sandbox.klaviyo.fail(kind="slow", seconds=0.4, match="POST /oauth/token")
    start = threading.Barrier(8)

    def current(worker: TenantTokens) -> str | ExtensionError:
        start.wait(60)
        return outcome(worker.current)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(current, workers))
    assert shop.refreshes() == [200]
    waiting = [one for one in found if isinstance(one, WaitError)]
    assert len(waiting) == 7
    assert {one.retry_after for one in waiting} == {5.0}
    assert [one for one in found if isinstance(one, str)] == [shop.access()]


@pytest.mark.parametrize(("left", "uses_the_old"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_while_another_refreshes_the_old_token_is_used_to_its_last_second(
    shop: Shop, left: float, uses_the_old: bool
) -> None:
    old = shop.access()
    shop.clock.advance(HOUR - left)
    with pytest.raises(Killed):  # a holder that never comes back
        shop.worker(before=dying(2)).current()
    found = outcome(shop.worker().current)
    assert found == old if uses_the_old else isinstance(found, WaitError)
    assert shop.refreshes() == []


def test_while_another_refreshes_a_rejected_token_is_not_given_out_again(shop: Shop) -> None:
    shop.clock.advance(HOUR - 100)
    with pytest.raises(Killed):
        shop.worker(before=dying(2)).current()
    with pytest.raises(WaitError) as waiting:
        shop.worker().instead_of(shop.access())
    assert waiting.value.retry_after == 5.0


# A holder that dies


@pytest.mark.parametrize("operation", range(OPERATIONS))
def test_wherever_a_worker_dies_the_next_one_has_a_working_token_when_the_lease_is_over(
    shop: Shop, operation: int
) -> None:
    shop.clock.advance(HOUR)
    try:
        died = not shop.worker(before=dying(operation)).current()
    except Killed:
        died = True
    assert died is (operation < 7)  # read, lease, read, refresh, read and write, release: seven operations
    if not died:
        return
    shop.clock.advance(LEASE.total_seconds())
    token = shop.worker().current()
    assert shop.works(token)
    assert token == shop.access()
    assert len(shop.refreshes()) <= 2
    shop.check_usable()


def test_a_rotated_token_that_died_with_its_worker_ends_in_a_plain_disconnection(shop: Shop) -> None:
    # Klaviyo does not rotate today. If it did, an answer that no one could store would leave only a dead refresh token.
    shop.sandbox.klaviyo.oauth.rotates = True
    shop.clock.advance(HOUR)
    with pytest.raises(Killed):
        shop.worker(before=dying(3)).current()
    assert shop.refreshes() == [200]
    shop.clock.advance(LEASE.total_seconds())
    with pytest.raises(DisconnectedError):
        shop.worker().current()
    assert shop.connection().disconnected_reason == "invalid_grant"
    assert shop.read().outages[-1].ended is None
    shop.install()
    shop.check_usable()


def test_the_lease_of_a_dead_holder_is_respected_until_it_ends(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    with pytest.raises(Killed):
        shop.worker(before=dying(2)).current()
    shop.clock.advance(LEASE.total_seconds() - 1)
    with pytest.raises(WaitError):
        shop.worker().current()
    shop.clock.advance(1)
    assert shop.works(shop.worker().current())


def test_a_store_that_fails_right_after_the_token_call_gives_no_token_out(shop: Shop) -> None:
    def down() -> None:
        raise StoreUnavailableError("down")

    shop.clock.advance(HOUR)
    before = shop.connection()
    with pytest.raises(StoreUnavailableError):
        shop.worker(before=at(3, down)).current()
    assert shop.refreshes() == [200]
    assert shop.connection() == before
    assert shop.works(shop.worker().current())  # the lease was given back


# Klaviyo cannot at the moment


@pytest.mark.parametrize("status", [429, 500, 503, 403])
def test_while_the_token_endpoint_fails_the_old_token_is_used_for_as_long_as_it_lives(
    shop: Shop, status: int
) -> None:
    old = shop.access()
    shop.sandbox.klaviyo.fail(9, match="POST /oauth/token", status=status)
    shop.clock.advance(HOUR - 1)
    assert shop.worker().current() == old
    shop.clock.advance(1)
    with pytest.raises(WaitError) as waiting:
        shop.worker().current()
    assert waiting.value.retry_after == REST_SECONDS - 1
    assert not shop.connection().disconnected
    check_says_nothing_secret(waiting.value)
    shop.sandbox.klaviyo.faults.clear()
    shop.clock.advance(REST_SECONDS)
    assert shop.works(shop.worker().current())  # the lease was given back


@pytest.mark.parametrize("status", [429, 500, 403])
def test_thirty_workers_ask_a_failing_token_endpoint_a_few_times_in_forty_seconds(
    sqlite_shop: Shop, status: int
) -> None:
    shop = sqlite_shop
    shop.clock.advance(HOUR)
    shop.sandbox.klaviyo.fail(999, match="POST /oauth/token", status=status)
    workers = [shop.worker() for _ in range(30)]
    for _ in range(40):
        for worker in workers:
            with pytest.raises(WaitError):
                worker.current()
        shop.clock.advance(1)
    assert len(shop.refreshes()) <= 4
    shop.sandbox.klaviyo.faults.clear()
    shop.clock.advance(60)
    assert {worker.current() for worker in workers} == {shop.access()}
    assert shop.refreshes()[-2:] == [status, 200]


def test_a_worker_that_is_told_to_wait_for_the_token_takes_no_lease(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    shop.sandbox.klaviyo.fail(match="POST /oauth/token", status=503)
    with pytest.raises(WaitError):
        shop.worker().current()
    with pytest.raises(RestingError) as resting:
        shop.worker().current()
    assert resting.value.retry_after == REST_SECONDS
    assert shop.documents.find("leases") == []


def test_a_reinstall_needs_no_refresh_and_so_waits_for_no_rest(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    shop.sandbox.klaviyo.fail(match="POST /oauth/token", status=503)
    with pytest.raises(WaitError):
        shop.worker().current()
    shop.install()
    assert shop.works(shop.worker().current())


def test_a_rejected_token_is_not_given_out_again_because_the_token_endpoint_fails(shop: Shop) -> None:
    shop.sandbox.klaviyo.fail(match="POST /oauth/token", kind="reset")
    with pytest.raises(WaitError):
        shop.worker().instead_of(shop.access())


def test_our_own_credentials_being_wrong_disconnects_nobody(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    with pytest.raises(WaitError, match="invalid_client"):
        shop.worker(secret="canary-wrong").current()
    assert not shop.connection().disconnected
    assert shop.clock.slept == []


# A grant that is refused


@pytest.mark.parametrize(("docs_spelling", "code"), [(False, "invalid_grant"), (True, "invalid_grant_type")])
def test_a_grant_refused_twice_disconnects_with_a_reason_and_an_open_outage(
    shop: Shop, docs_spelling: bool, code: str
) -> None:
    shop.sandbox.klaviyo.oauth.docs_spelling = docs_spelling
    shop.revoke()
    shop.clock.advance(HOUR)
    before = shop.connection()
    with pytest.raises(DisconnectedError) as gone:
        shop.worker().current()
    assert shop.clock.slept == [SECOND_LOOK_SECONDS]
    assert shop.refreshes() == [400, 400]
    after = shop.connection()
    assert after.disconnected_reason == code
    assert after.model_copy(update={"disconnected_reason": ""}) == before  # nothing is deleted
    [outage] = shop.read().outages
    assert (outage.began, outage.ended) == (shop.clock(), None)
    check_says_nothing_secret(gone.value)


def test_a_disconnected_tenant_costs_no_further_token_call(shop: Shop) -> None:
    shop.revoke()
    shop.clock.advance(HOUR)
    stale = shop.worker()
    for worker in (shop.worker(), shop.worker(), stale):
        with pytest.raises(DisconnectedError):
            worker.current()
    with pytest.raises(DisconnectedError):
        shop.worker().instead_of("canary-any")
    assert shop.refreshes() == [400, 400]
    assert len(shop.read().outages) == 1


def test_a_tenant_that_was_never_installed_is_not_connected(shop: Shop) -> None:
    with pytest.raises(DisconnectedError):
        shop.worker(tenant=a_tenant(TENANT, shop.clock())).current()


def test_a_refusal_that_passes_within_half_a_minute_disconnects_nobody(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    shop.refuse_grants(1)
    assert shop.works(shop.worker().current())
    assert shop.clock.slept == [SECOND_LOOK_SECONDS]
    assert shop.refreshes() == [400, 200]
    shop.check_usable()


def test_a_refusal_followed_by_an_outage_disconnects_nobody(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    shop.refuse_grants(1)
    shop.sandbox.klaviyo.fail(match="POST /oauth/token", status=503)
    with pytest.raises(WaitError):
        shop.worker().current()
    shop.clock.advance(REST_SECONDS)
    shop.check_usable()


def test_the_second_look_happens_under_the_lease(shop: Shop) -> None:
    shop.clock.advance(HOUR - 100)
    shop.refuse_grants(1)
    old = shop.access()
    seen: list[str | ExtensionError] = []

    def sleep(seconds: float) -> None:
        shop.clock.sleep(seconds)
        seen.append(outcome(shop.worker().current))
        seen.append(outcome(lambda: shop.worker().instead_of(old)))

    token = shop.worker(sleep=sleep).current()
    assert shop.works(token)
    assert seen[0] == old
    assert isinstance(seen[1], WaitError)
    assert shop.refreshes() == [400, 200]


def test_two_token_calls_and_the_wait_between_them_fit_into_the_lease() -> None:
    from shared.http.client import Limits

    one_call = Limits().connect + Limits().total
    assert 2 * one_call + SECOND_LOOK_SECONDS < LEASE.total_seconds()


def test_a_holder_whose_lease_ran_out_takes_what_its_successor_has_stored(shop: Shop) -> None:
    shop.sandbox.klaviyo.oauth.rotates = True
    shop.clock.advance(HOUR)
    shop.refuse_grants(1)
    successors: list[str] = []

    def oversleep(seconds: float) -> None:
        shop.clock.sleep(seconds)
        shop.clock.advance(LEASE.total_seconds())
        successors.append(shop.worker().current())

    assert [shop.worker(sleep=oversleep).current()] == successors
    assert shop.refreshes() == [400, 200]
    shop.check_usable()


def test_a_holder_whose_lease_ran_out_leaves_its_successors_lease_alone(shop: Shop) -> None:
    shop.clock.advance(HOUR)
    shop.refuse_grants(1)

    def oversleep(seconds: float) -> None:
        shop.clock.sleep(seconds)
        shop.clock.advance(LEASE.total_seconds())
        with pytest.raises(Killed):  # the successor is still at it
            shop.worker(before=dying(4)).current()

    shop.worker(sleep=oversleep).current()
    shop.clock.advance(HOUR - 1)
    assert shop.works(shop.worker().current())


# Something happens in the middle, before each operation in turn


@pytest.mark.parametrize("operation", range(OPERATIONS))
@pytest.mark.parametrize("refused", [False, True])
def test_a_reinstall_in_the_middle_is_never_overwritten(shop: Shop, operation: int, refused: bool) -> None:
    shop.clock.advance(HOUR)
    if refused:
        shop.revoke()
    installed: list[Tenant] = []
    worker = shop.worker(before=at(operation, lambda: installed.append(shop.install())))
    found = outcome(worker.current)
    if not installed:
        installed.append(shop.install())
    [reinstalled] = installed
    assert reinstalled.klaviyo is not None
    stored = shop.connection()
    assert stored.refresh_token == reinstalled.klaviyo.refresh_token
    assert not stored.disconnected
    if isinstance(found, str):
        assert shop.works(found)
    else:
        # Only a reinstall after the tenant was marked comes too late for this very call.
        assert refused
        assert isinstance(found, DisconnectedError)
        assert operation >= 7
    shop.check_usable()


@pytest.mark.parametrize("slept", [False, True])
def test_a_reinstall_during_the_second_look_is_used(shop: Shop, slept: bool) -> None:
    shop.clock.advance(HOUR)
    shop.revoke()

    def sleep(seconds: float) -> None:
        if not slept:
            shop.install()
        shop.clock.sleep(seconds)
        if slept:
            shop.install()

    assert shop.worker(sleep=sleep).current() == shop.access()
    assert shop.refreshes() == [400]
    shop.check_usable()


@pytest.mark.parametrize("operation", range(OPERATIONS))
def test_a_second_disconnection_in_the_middle_counts_no_time_twice(sqlite_shop: Shop, operation: int) -> None:
    shop = sqlite_shop
    shop.clock.advance(HOUR)
    shop.revoke()

    def after_the_lease() -> None:
        shop.clock.advance(LEASE.total_seconds())
        outcome(shop.worker().current)

    outcome(shop.worker(before=at(operation, after_the_lease)).current)
    tenant = shop.read()
    assert [outage.ended for outage in tenant.outages] == [None]
    assert tenant.klaviyo is not None
    assert tenant.klaviyo.disconnected


@pytest.mark.parametrize("operation", range(OPERATIONS))
@pytest.mark.parametrize("refused", [False, True])
def test_what_somebody_else_changes_in_the_middle_is_kept(
    sqlite_shop: Shop, operation: int, refused: bool
) -> None:
    shop = sqlite_shop

    def set_days(tenant: Tenant) -> Tenant:
        return tenant.model_copy(update={"settings": tenant.settings.model_copy(update={"dead_job_days": 7})})

    shop.clock.advance(HOUR)
    if refused:
        shop.revoke()
    changed: list[Any] = []
    worker = shop.worker(before=at(operation, lambda: changed.append(shop.store.change(TENANT, set_days))))
    found = outcome(worker.current)
    assert isinstance(found, DisconnectedError if refused else str)
    assert shop.connection().disconnected is refused
    assert shop.read().settings.dead_job_days == (7 if changed else 30)


@pytest.mark.parametrize("operation", range(OPERATIONS))
@pytest.mark.parametrize("refused", [False, True])
def test_a_tenant_deleted_in_the_middle_is_never_brought_back(
    sqlite_shop: Shop, operation: int, refused: bool
) -> None:
    shop = sqlite_shop
    shop.clock.advance(HOUR)
    if refused:
        shop.revoke()
    found = outcome(shop.worker(before=at(operation, lambda: shop.store.delete(TENANT))).current)
    shop.store.delete(TENANT)
    assert shop.store.find(TENANT) is None
    assert isinstance(found, str | DisconnectedError)
