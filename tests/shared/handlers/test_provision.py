"""The set-up after an install: exactly one of everything, however often it runs, wherever it dies, whoever was there before."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from shared.domain.provisions import DATA_SOURCES, OMNEO_TRIGGERS, SYSTEM_TOPICS
from shared.encryption import KeyRing
from shared.errors import WaitError
from shared.handlers.install import connect
from shared.handlers.provision import LEASE, WEBHOOK, again, provision, steps_of
from shared.http import HttpClient
from shared.jobs import Provision
from shared.klaviyo.client import Account, FixedToken, KlaviyoClient
from shared.klaviyo.client import read_problem as klaviyo_problem
from shared.klaviyo.oauth import TokenAnswer
from shared.leases import Leases
from shared.omneo.client import OmneoClient, base_url
from shared.omneo.client import read_problem as omneo_problem
from shared.tenants import StoredSecret, Tenant, TenantStore
from tests.mortal import Fate, KilledError, Meanwhile, WatchedDocuments, watched_connections
from tests.world import ACCOUNT, EXTENSION_URL, TENANT, WEBHOOK_SECRET, World

TITLES = sorted(DATA_SOURCES)
OLD_URL = f"https://old.example.org/{TENANT}/api/v1/webhooks/omneo"
URL = f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/omneo"


@dataclass
class Shop:
    """A tenant with its Klaviyo account, connected as an install leaves it, and the set-up to be run for it."""

    world: World
    name: str = TENANT
    account: str = ACCOUNT

    def connect(self) -> Tenant:
        """Connect the account, as every install does."""
        tokens = TokenAnswer.model_validate(self.world.sandbox.klaviyo.install(self.account).to_json())
        tenant = connect(
            self.name,
            tokens,
            tenants=self.world.services.tenants,
            now=self.world.clock(),
            account=Account(id=self.account),
        )
        self.world.services.queue.ensure(tenant)
        return tenant

    def install(self) -> None:
        """Connect, and let the queue do the set-up."""
        tenant = self.connect()
        job = Provision(tenant=self.name, accepted_at=self.world.clock())
        self.world.services.queue.put(job, tenant)
        for _ in range(20):
            self.world.work(1)

    def run(self, fate: Fate | None = None) -> None:
        """Run the set-up once, outside the queue, in a process with this fate."""
        fate = fate or Fate(-1, kills=True)
        settings = self.world.services.settings
        documents: Any = self.world.services.documents
        if fate.kills:
            documents = WatchedDocuments(documents, fate)
        connections = watched_connections(fate)
        tenant = self.world.read(self.name)
        assert tenant.klaviyo is not None
        provision(
            tenant,
            klaviyo=KlaviyoClient(
                HttpClient("Klaviyo", settings.klaviyo_api_url, klaviyo_problem, connections),
                FixedToken(tenant.klaviyo.access_token),
                settings.klaviyo_revision,
            ),
            omneo=OmneoClient(
                HttpClient("Omneo", base_url(settings.omneo_api_url, self.name), omneo_problem, connections),
                tenant.omneo_token,
            ),
            tenants=TenantStore(documents, keys(self.world)),
            leases=Leases(documents, self.world.clock, self.world.services.new_id),
            public_url=EXTENSION_URL,
        )

    def run_until_done(self) -> None:
        """Run the set-up as often as it asks to be run again."""
        for _ in range(40):
            try:
                self.run()
            except WaitError as error:
                self.world.clock.advance(error.retry_after or 1)
            else:
                return
        raise AssertionError("the set-up never ended")

    def states(self) -> set[str]:
        return {step["state"] for step in steps_of(self.world.read(self.name))}

    def reasons(self) -> list[str]:
        return [step["reason"] for step in steps_of(self.world.read(self.name)) if step["state"] == "failed"]


def keys(world: World) -> KeyRing:
    store = world.services.settings.store
    assert store is not None
    return store.keys


@pytest.fixture
def shop(world: World) -> Shop:
    world.tenant(installed=False)
    return Shop(world)


def assert_one_of_everything(shop: Shop) -> None:
    klaviyo, omneo = shop.world.sandbox.klaviyo, shop.world.sandbox.omneo
    assert sorted(source.title for source in klaviyo.data_sources(shop.account)) == TITLES
    (webhook,) = klaviyo.webhooks(shop.account)
    assert (webhook.enabled, webhook.secret_key) == (True, WEBHOOK_SECRET)
    assert set(webhook.topics) == SYSTEM_TOPICS
    assert sorted(row["trigger"] for row in omneo.webhooks(shop.name)) == sorted(OMNEO_TRIGGERS)
    made = shop.world.read(shop.name).provisions
    assert made.webhook_id == webhook.id
    assert made.data_sources == {source.title: source.id for source in klaviyo.data_sources(shop.account)}
    assert shop.states() == {"done"}


def test_ten_installs_in_a_row_leave_one_of_everything(shop: Shop) -> None:
    for _ in range(10):
        shop.install()
        shop.world.clock.advance(60)
        assert_one_of_everything(shop)
    assert shop.world.dead_jobs() == []


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "answer lost"])
def test_an_install_that_breaks_off_at_any_moment_is_finished_by_the_next_run(
    world: World, kills: bool
) -> None:
    """At every moment before and after every call, and if killed, every write; each time with a new tenant and account."""
    moment = 0
    while True:
        shop = Shop(world, f"shop-{moment}", f"Acc{moment}")
        world.tenant(shop.name, installed=False)
        shop.connect()
        fate = Fate(moment, kills=kills)
        broken_off = run_with(shop, fate)
        shop.run_until_done()
        assert_one_of_everything(shop)
        if not broken_off:
            break
        moment += 1
    assert moment > (50 if kills else 30)  # it broke off everywhere, not just at the beginning


def run_with(shop: Shop, fate: Fate) -> bool:
    """Run the set-up, waiting where it is asked to, until it is done or the fate has struck; return whether it has."""
    for _ in range(20):
        try:
            shop.run(fate)
        except KilledError:
            shop.world.clock.advance(LEASE.total_seconds())  # nobody gave the lease back
            return True
        except WaitError as error:
            shop.world.clock.advance(error.retry_after or 1)
        if fate.struck:
            return True
        if shop.states() == {"done"}:
            return False
    raise AssertionError("the set-up never ended")


def test_a_second_run_waits_for_the_first(shop: Shop) -> None:
    shop.connect()
    with pytest.raises(KilledError):
        shop.run(Fate(6, kills=True))
    with pytest.raises(WaitError, match="another set-up is running"):
        shop.run()
    shop.world.clock.advance(LEASE.total_seconds() - 1)
    with pytest.raises(WaitError):
        shop.run()
    shop.world.clock.advance(1)
    shop.run_until_done()
    assert_one_of_everything(shop)


def test_two_set_ups_at_once_make_one_of_everything(shop: Shop) -> None:
    shop.connect()
    together([shop.run] * 4)
    shop.run_until_done()
    assert_one_of_everything(shop)


def test_two_tenants_of_one_account_that_install_at_once_share_its_data_sources(
    shop: Shop, world: World
) -> None:
    world.tenant("acme-stg", installed=False)
    twin = Shop(world, "acme-stg")
    for one in (shop, twin):
        one.connect()
    for _ in range(15):
        together([shop.run, twin.run])
        world.clock.advance(1)
    assert shop.states() == twin.states() == {"done"}
    assert sorted(source.title for source in world.sandbox.klaviyo.data_sources(ACCOUNT)) == TITLES
    names = sorted(webhook.name for webhook in world.sandbox.klaviyo.webhooks(ACCOUNT))
    assert names == ["Omneo acme", "Omneo acme-stg"]


def together(runs: list[Callable[[], None]]) -> None:
    """Run them in threads, all at once. Being asked to wait is no failure."""
    ready = threading.Barrier(len(runs))
    failures: list[Exception] = []

    def work(run: Callable[[], None]) -> None:
        ready.wait()
        try:
            run()
        except WaitError:
            pass
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("status", [409, 400])
def test_a_data_source_that_another_made_a_moment_ago_is_used(shop: Shop, status: int) -> None:
    klaviyo = shop.world.sandbox.klaviyo
    klaviyo.duplicate_title_status = status
    shop.connect()
    klaviyo.data_source(ACCOUNT, "Omneo Dates")
    # The list that the first step looks at is from before.
    klaviyo.fail(1, match="GET /api/data-sources", status=200, body={"data": [], "links": {"next": None}})
    shop.run_until_done()
    assert_one_of_everything(shop)


def test_an_account_with_hundreds_of_data_sources_is_read_to_the_end(shop: Shop) -> None:
    for number in range(250):
        shop.world.sandbox.klaviyo.data_source(ACCOUNT, f"Other {number}")
    first = [shop.world.sandbox.klaviyo.data_source(ACCOUNT, title) for title in DATA_SOURCES]
    shop.connect()
    shop.run_until_done()
    assert set(shop.world.read().provisions.data_sources.values()) == {source.id for source in first}
    assert len(shop.world.sandbox.klaviyo.data_sources(ACCOUNT)) == 256


# Klaviyo's webhook.


def webhook_of(shop: Shop) -> Any:
    (webhook,) = shop.world.sandbox.klaviyo.webhooks(ACCOUNT)
    return webhook


def test_a_webhook_that_klaviyo_disabled_is_enabled_again(shop: Shop) -> None:
    shop.install()
    shop.world.sandbox.klaviyo.disable_webhook(ACCOUNT, webhook_of(shop).id)
    shop.world.clock.advance(60)
    shop.install()
    assert_one_of_everything(shop)


def another(shop: Shop, name: str) -> Any:
    return shop.world.sandbox.klaviyo.webhook(
        ACCOUNT,
        name,
        endpoint_url="https://other.example.org/hook",
        secret_key="canary-of-another-app",
        topics=["event:klaviyo.opened_email"],
    )


def test_a_webhook_is_found_by_its_id_after_somebody_renamed_it(shop: Shop) -> None:
    shop.install()
    id = webhook_of(shop).id
    klaviyo = shop.world.services.klaviyo(shop.world.read())
    secret = shop.world.read().webhook_secrets[0].value
    klaviyo.update_webhook(id, "renamed", "https://x.example.org", secret, ["event:klaviyo.opened_email"])
    shop.world.clock.advance(60)
    shop.install()
    assert (webhook_of(shop).id, webhook_of(shop).name) == (id, f"Omneo {TENANT}")
    assert webhook_of(shop).endpoint_url == f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/klaviyo/system"
    assert_one_of_everything(shop)


def test_a_webhook_is_found_by_its_name_after_its_id_was_lost(shop: Shop) -> None:
    ours = another(shop, f"Omneo {TENANT}")
    shop.install()
    assert webhook_of(shop).id == ours.id
    assert_one_of_everything(shop)


@pytest.mark.parametrize("known", [True, False])
def test_surplus_webhooks_of_ours_are_removed_and_those_of_others_left_alone(shop: Shop, known: bool) -> None:
    others = [
        another(shop, name) for name in ("Omneo", "Omneo acme-stg", "omneo acme", "Omneo acme ", "shipping")
    ]
    if known:
        shop.install()
        shop.world.clock.advance(60)
    kept = shop.world.read().provisions.webhook_id
    surplus = [another(shop, f"Omneo {TENANT}") for _ in range(3)]
    shop.install()
    left = {webhook.id: webhook for webhook in shop.world.sandbox.klaviyo.webhooks(ACCOUNT)}
    ours = shop.world.read().provisions.webhook_id
    assert ours == (kept if known else surplus[0].id)
    assert left.keys() == {ours, *(other.id for other in others)}
    assert all(left[other.id] == other for other in others)
    assert shop.states() == {"done"}


def test_a_webhook_removed_between_the_look_and_the_change_is_made_anew(shop: Shop) -> None:
    shop.install()
    shop.world.clock.advance(60)
    shop.world.sandbox.klaviyo.fail(1, match="PATCH /api/webhooks/*", status=404)
    gone = another(shop, f"Omneo {TENANT}")
    shop.world.sandbox.klaviyo.fail(1, match="DELETE /api/webhooks/*", status=404)
    shop.install()
    names = [hook.name for hook in shop.world.sandbox.klaviyo.webhooks(ACCOUNT)]
    assert names == [f"Omneo {TENANT}"] * 3  # the sandbox only said that two of them were gone
    assert shop.world.read().provisions.webhook_id not in ("", gone.id)
    assert shop.states() == {"done"}


def test_only_topics_that_the_account_offers_are_asked_for(shop: Shop) -> None:
    offered = ["event:klaviyo.bounced_email", "event:klaviyo.opened_email", "event:api.viewed_product"]
    shop.world.sandbox.klaviyo.account(ACCOUNT, topics=offered)
    shop.install()
    assert webhook_of(shop).topics == ["event:klaviyo.bounced_email"]
    shop.world.sandbox.klaviyo.account(ACCOUNT, topics=[*offered, "event:klaviyo.subscribed_to_list"])
    shop.world.clock.advance(60)
    shop.install()
    assert sorted(webhook_of(shop).topics) == [
        "event:klaviyo.bounced_email",
        "event:klaviyo.subscribed_to_list",
    ]
    assert shop.states() == {"done"}


def test_an_account_that_offers_no_consent_events_is_a_step_that_failed_and_says_so(shop: Shop) -> None:
    shop.world.sandbox.klaviyo.account(ACCOUNT, topics=["event:klaviyo.opened_email"])
    shop.install()
    (reason,) = shop.reasons()
    assert reason.startswith("The Klaviyo account offers no consent events.")
    assert shop.world.sandbox.klaviyo.webhooks(ACCOUNT) == []


def test_a_new_webhook_secret_reaches_klaviyo_with_the_next_install(shop: Shop) -> None:
    shop.install()
    new = shop.world.read().webhook_secrets[0].model_copy(update={"id": "new"})
    shop.world.services.tenants.change(
        TENANT, lambda t: t.model_copy(update={"webhook_secrets": (new, *t.webhook_secrets)})
    )
    shop.world.clock.advance(60)
    shop.install()
    assert webhook_of(shop).secret_key == new.value.get_secret_value()


def test_a_webhook_secret_changed_while_the_old_one_is_on_its_way_still_reaches_klaviyo(shop: Shop) -> None:
    new = StoredSecret(
        id="new", value=SecretStr("canary-newer-webhook-secret"), created_at=shop.world.clock()
    )

    def change() -> None:
        shop.world.services.tenants.change(
            TENANT,
            lambda t: again(t.model_copy(update={"webhook_secrets": (new, *t.webhook_secrets)}), WEBHOOK),
        )

    shop.connect()
    with pytest.raises(WaitError, match="429"):  # Klaviyo takes three data sources a second
        shop.run()
    shop.world.clock.advance(1)
    with pytest.raises(WaitError, match="was changed meanwhile"):
        shop.run(Meanwhile("after POST /api/webhooks", change))
    shop.world.clock.advance(1)
    shop.run_until_done()
    assert webhook_of(shop).secret_key == "canary-newer-webhook-secret"
    assert shop.states() == {"done"}


# Omneo's webhooks.


def hook(shop: Shop, trigger: str, **changes: Any) -> Any:
    fields = {"trigger": trigger, "url": URL, "namespace": "klaviyo", "is_active": False}
    return shop.world.sandbox.omneo.webhook(TENANT, **{**fields, **changes})


def test_an_omneo_webhook_that_a_person_enabled_stays_enabled(shop: Shop) -> None:
    hook(shop, "profile.updated", is_active=True)
    shop.install()
    rows = {row["trigger"]: row["is_active"] for row in shop.world.sandbox.omneo.webhooks(TENANT)}
    assert rows == {"profile.created": False, "profile.updated": True, "profile.deleted": False}


def test_an_omneo_webhook_at_an_old_address_is_pointed_here_and_nothing_else_of_it_changes(
    shop: Shop,
) -> None:
    before = hook(
        shop,
        "profile.updated",
        url=OLD_URL,
        is_active=True,
        queue="high",
        retry_daily=True,
        condition={"==": [1, 1]},
    )
    shop.install()
    after = next(r for r in shop.world.sandbox.omneo.webhooks(TENANT) if r["id"] == before["id"])
    times = {"updated_at": after["updated_at"]}
    assert after == {**before, "url": URL, **times}
    (change,) = [call for call in shop.world.sandbox.omneo.calls.all() if call.method == "PUT"]
    assert change.body == f'{{"url": "{URL}"}}'.encode()
    assert_one_of_everything(shop)


def test_an_omneo_webhook_that_is_right_is_not_touched_though_an_old_one_stands_beside_it(shop: Shop) -> None:
    hook(shop, "profile.updated", url=OLD_URL)
    hook(shop, "profile.updated")
    shop.install()
    assert [call.method for call in shop.world.sandbox.omneo.calls.all()].count("PUT") == 0
    assert shop.states() == {"done"}


def test_omneo_webhooks_of_others_are_left_alone(shop: Shop) -> None:
    theirs = [
        hook(shop, "profile.updated", namespace="erp", url="https://erp.example.org"),
        hook(shop, "order.created", url="https://shop.example.org"),
    ]
    shop.install()
    rows = shop.world.sandbox.omneo.webhooks(TENANT)
    assert rows[:2] == theirs
    assert len(rows) == 5


def test_omneo_webhooks_beyond_the_first_page_are_found(shop: Shop) -> None:
    for number in range(130):
        hook(shop, f"custom.{number}")
    hook(shop, "profile.updated", is_active=True)
    shop.install()
    assert len(shop.world.sandbox.omneo.webhooks(TENANT)) == 133
    assert shop.states() == {"done"}


# Refusals and outages.


def test_an_account_without_data_sources_gets_everything_else_and_a_plain_reason(shop: Shop) -> None:
    shop.world.sandbox.klaviyo.fail(50, match="POST /api/data-sources", status=403)
    shop.install()
    reasons = shop.reasons()
    assert len(reasons) == 6
    assert set(reasons) == {
        "Klaviyo does not allow it. Check that the account's plan includes it, then install again."
    }
    assert webhook_of(shop).enabled
    assert len(shop.world.sandbox.omneo.webhooks(TENANT)) == 3
    assert shop.world.dead_jobs() == []
    shop.world.sandbox.klaviyo.faults.clear()
    shop.world.clock.advance(60)
    shop.install()
    assert_one_of_everything(shop)


def test_a_refusal_names_no_value_and_says_what_to_do(shop: Shop) -> None:
    body = {"message": "canary", "errors": {"url": ["canary is not reachable"]}}
    shop.world.sandbox.omneo.fail(1, match="POST */api/v3/webhooks", status=422, body=body)
    shop.install()
    (reason,) = shop.reasons()
    assert reason == (
        "Omneo answered 422: invalid at url. Installing again may help; if it does not, ask your Omneo contact."
    )


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"kind": "reset"}, {"status": 429}, {"kind": "html403"}], ids=str
)
def test_an_outage_of_omneo_delays_the_set_up_and_does_not_hold_up_klaviyos_part(
    shop: Shop, fault: dict[str, Any]
) -> None:
    shop.world.sandbox.omneo.fail(10_000, **fault)
    shop.install()
    assert webhook_of(shop).enabled
    assert shop.states() == {"done", "waiting"}
    shop.world.clock.advance(3600)
    shop.world.sandbox.omneo.faults.clear()
    for _ in range(5):
        shop.world.work(600)
    assert_one_of_everything(shop)
    assert shop.world.dead_jobs() == []


def test_an_omneo_token_that_is_not_accepted_waits_for_a_better_one(shop: Shop) -> None:
    shop.world.sandbox.omneo.expire(TENANT)
    shop.install()
    assert shop.states() == {"done", "waiting"}
    shop.world.sandbox.omneo.tenant(TENANT, token=shop.world.read().omneo_token.get_secret_value())
    for _ in range(5):
        shop.world.work(600)
    assert_one_of_everything(shop)


def test_the_set_up_stays_inside_klaviyos_limits(shop: Shop) -> None:
    """15 calls a minute and one a second on webhooks, three a second on data sources: throttled twice at most, and then it waits."""
    for _ in range(3):
        shop.install()
        throttled = [call for call in shop.world.sandbox.klaviyo.calls.all() if call.status == 429]
        assert len(throttled) <= 2
        shop.world.sandbox.klaviyo.calls.clear()


def test_a_run_that_finds_everything_done_calls_nobody(shop: Shop) -> None:
    shop.install()
    shop.world.sandbox.klaviyo.calls.clear()
    shop.world.sandbox.omneo.calls.clear()
    shop.run()
    assert shop.world.sandbox.klaviyo.calls.all() == []
    assert shop.world.sandbox.omneo.calls.all() == []


# Another account, meanwhile.


def test_what_was_made_in_the_account_before_never_passes_for_something_the_new_one_has(shop: Shop) -> None:
    shop.connect()
    new = Shop(shop.world, TENANT, "NewAcc")
    with pytest.raises(WaitError, match="was changed meanwhile"):
        shop.run(Meanwhile("after POST /api/data-sources", new.connect))
    assert new.states() == {"waiting"}
    assert shop.world.read().provisions.data_sources == {}
    new.run_until_done()
    assert_one_of_everything(new)
