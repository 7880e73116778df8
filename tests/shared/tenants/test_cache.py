"""The cache of tenants: how old what it gives may be, and how much it may keep."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import StoreUnavailableError
from shared.tenants.cache import SECONDS, TENANTS, TenantCache
from shared.tenants.tenants import Tenant
from tests.support.world import Clock, a_tenant


class Store:
    """Tenants that can be changed, and a monotonic clock to move."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.now = 1000.0
        self.reads = 0
        self.down = False

    def find(self, name: str) -> Tenant | None:
        self.reads += 1
        if self.down:
            raise StoreUnavailableError("down")
        return self.tenants.get(name)

    def add(self, name: str) -> Tenant:
        self.tenants[name] = a_tenant(name, Clock().now)
        return self.tenants[name]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def cache(store: Store) -> TenantCache:
    return TenantCache(store.find, lambda: store.now)


def test_a_tenant_is_given_from_memory_for_some_seconds_and_then_not(
    store: Store, cache: TenantCache
) -> None:
    acme = store.add("acme")
    assert cache.get("acme") is None
    assert cache.fresh("acme") is acme
    store.now += SECONDS
    assert cache.get("acme") is acme
    store.now += 0.001
    assert cache.get("acme") is None
    assert store.reads == 1


def test_being_asked_for_does_not_keep_a_tenant_longer(store: Store, cache: TenantCache) -> None:
    store.add("acme")
    cache.fresh("acme")
    for _ in range(20):
        store.now += SECONDS / 10
        cache.get("acme")
    assert cache.get("acme") is None


def test_a_fresh_read_is_always_a_read(store: Store, cache: TenantCache) -> None:
    store.add("acme")
    cache.fresh("acme")
    changed = store.add("acme")
    assert cache.fresh("acme") is changed
    assert cache.get("acme") is changed


def test_a_deleted_tenant_is_forgotten_by_the_first_fresh_read(store: Store, cache: TenantCache) -> None:
    store.add("acme")
    cache.fresh("acme")
    del store.tenants["acme"]
    assert cache.fresh("acme") is None
    assert cache.get("acme") is None


def test_guessed_names_take_no_memory_and_push_nobody_out(store: Store, cache: TenantCache) -> None:
    acme = store.add("acme")
    cache.fresh("acme")
    for number in range(TENANTS * 2):
        assert cache.fresh(f"guess-{number}") is None
    assert cache.get("acme") is acme


def test_of_too_many_tenants_the_longest_unused_goes(store: Store, cache: TenantCache) -> None:
    names = [f"t{number}" for number in range(TENANTS)]
    tenant = a_tenant("any", Clock().now)
    store.tenants = dict.fromkeys([*names, "one-more"], tenant)
    for name in names:
        cache.fresh(name)
    cache.get("t0")
    cache.fresh("one-more")
    assert [name for name in (*names, "one-more") if cache.get(name) is None] == ["t1"]


def test_a_store_that_cannot_answer_is_not_an_absent_tenant(store: Store, cache: TenantCache) -> None:
    acme = store.add("acme")
    cache.fresh("acme")
    store.down = True
    with pytest.raises(StoreUnavailableError):
        cache.fresh("acme")
    assert cache.get("acme") is acme


def test_a_slow_read_does_not_put_an_older_tenant_over_a_newer(store: Store) -> None:
    old, new = store.add("acme"), store.add("acme")
    began, may_end = threading.Event(), threading.Event()
    answers = iter([old, new])

    def find(_name: str) -> Tenant:
        answer = next(answers)
        if answer is old:
            began.set()
            may_end.wait(60)
        return answer

    cache = TenantCache(find, lambda: store.now)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.fresh, "acme")
        assert began.wait(60)
        store.now += 1
        assert cache.fresh("acme") is new
        may_end.set()
        assert slow.result(10) is old
    assert cache.get("acme") is new


def test_the_age_counts_from_before_the_read(store: Store) -> None:
    acme = store.add("acme")

    def slow_find(_name: str) -> Tenant:
        store.now += SECONDS + 1
        return acme

    cache = TenantCache(slow_find, lambda: store.now)
    assert cache.fresh("acme") is acme
    assert cache.get("acme") is None


def test_many_threads_may_use_it_at_once(store: Store, cache: TenantCache) -> None:
    tenant = a_tenant("any", Clock().now)
    store.tenants = {f"t{number}": tenant for number in range(TENANTS + 50)}

    def use(thread: int) -> int:
        return sum(
            (cache.get(f"t{number}") or cache.fresh(f"t{number}")) is tenant
            for number in range(thread % 3, TENANTS + 50, 3)
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(6))) == 2 * (TENANTS + 50)
