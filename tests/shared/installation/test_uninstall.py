"""Uninstall: what the install has made is gone, what is others' stays, and wherever it ends early, the next call finishes."""

from dataclasses import replace
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from deploy.local.sandbox.stage.faults import Kind
from shared.admin.status import status
from shared.direction import Direction
from shared.errors import ConflictError, QueueUnavailableError, WaitError
from shared.installation.connecting import connect, prepare_queues
from shared.installation.provision import LEASE as SET_UP_LEASE
from shared.installation.provision import start_provision, steps_of
from shared.installation.uninstall import DATA_SOURCES_STAY, DISCONNECTED_BEFORE, LEASE, uninstall
from shared.jobs.jobs import SendMetric
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.klaviyo.resources import OMNEO_TRIGGERS, SCOPES, webhook_name
from shared.metrics.backlog import Backlog
from shared.services import Services
from shared.settings import Settings
from shared.tenants.tenants import Provisions, Tenant
from tests.support.events import attributes
from tests.support.merchant import settle
from tests.support.mortal import Fate, KilledError, Meanwhile, WatchedDocuments, watched_connections
from tests.support.world import ACCOUNT, EVERYTHING, EXTENSION_URL, TENANT, World

TWIN = "acme-stg"


def install(world: World, name: str = TENANT, *, scopes: str = " ".join(SCOPES)) -> None:
    """Install the app for a tenant, to the end."""
    tokens = world.sandbox.klaviyo.install(ACCOUNT, scopes=scopes)
    answer = TokenAnswer.model_validate(tokens.to_json())
    now = world.clock()
    tenant = connect(name, answer, tenants=world.services.tenants, now=now, account=Account(id=ACCOUNT))
    prepare_queues(tenant, world.services.queue)
    start_provision(tenant, world.services)
    settle(world, 4)
    world.clock.advance(60)


@pytest.fixture
def shop(world: World) -> World:
    """Return a world in which the tenant is installed, and the account and Omneo hold what is others' too."""
    world.tenant(installed=False)
    world.sandbox.klaviyo.webhook(
        ACCOUNT,
        "Somebody else's",
        endpoint_url="https://elsewhere.example.org",
        secret_key="canary-of-another",
        topics=["event:klaviyo.bounced_email"],
    )
    ours = f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/omneo"
    for trigger, namespace, url in (
        ("order.created", "klaviyo", "https://elsewhere.example.org/hook"),
        ("profile.merged", "klaviyo", ours.replace(TENANT, TWIN)),
        ("order.created", "another", ours),
    ):
        world.sandbox.omneo.webhook(TENANT, trigger=trigger, url=url, namespace=namespace)
    install(world)
    return world


def klaviyo_hooks(world: World) -> list[str]:
    return sorted(hook.name for hook in world.sandbox.klaviyo.webhooks(ACCOUNT))


def our_omneo_hooks(world: World) -> list[str]:
    url = f"{EXTENSION_URL}/{TENANT}/api/v1/webhooks/omneo"
    return sorted(
        hook["trigger"]
        for hook in world.sandbox.omneo.webhooks(TENANT)
        if (hook["url"], hook["namespace"]) == (url, "klaviyo")
    )


def honours(world: World, access_token: SecretStr) -> bool:
    """Return whether Klaviyo still accepts a token."""
    headers = {"Authorization": f"Bearer {access_token.get_secret_value()}", "revision": "2026-10-15"}
    answer = requests.get(f"{world.sandbox.klaviyo.url}/api/accounts", headers=headers, timeout=60)
    return answer.status_code != 401


def token_of(tenant: Tenant) -> SecretStr:
    assert tenant.klaviyo is not None
    return tenant.klaviyo.access_token


def depth(world: World, direction: Direction = Direction.OUTBOUND) -> int:
    return world.services.queue.state(world.read(), direction).depth


def queue_an_event(world: World, name: str = TENANT) -> None:
    job = SendMetric(tenant=name, accepted_at=world.clock(), event={"email": "canary"})
    world.services.queue.put(job, world.read(name), delay=600)
    Backlog.of(world.services).add(name, job, at=world.clock())


def assert_gone(world: World, *, revoked: SecretStr | None = None) -> None:
    """Check that nothing of the install is left, and everything of others."""
    assert klaviyo_hooks(world) == ["Somebody else's"]
    assert our_omneo_hooks(world) == []
    assert len(world.sandbox.omneo.webhooks(TENANT)) == 3
    assert (depth(world), Backlog.of(world.services).count(TENANT)) == (0, 0)
    tenant = world.read()
    assert (tenant.klaviyo, tenant.klaviyo_account_id, tenant.provisions) == (None, "", Provisions())
    if revoked is not None:
        assert not honours(world, revoked)


class TestWhatIsTakenAway:
    def test_both_services_the_queue_and_the_tokens_forget_the_install(self, shop: World) -> None:
        assert our_omneo_hooks(shop) == sorted(OMNEO_TRIGGERS)
        assert klaviyo_hooks(shop) == ["Omneo acme", "Somebody else's"]
        queue_an_event(shop)
        before = shop.read()
        after = uninstall(before, shop.services)
        assert after == shop.read()
        assert after.left_behind == (DATA_SOURCES_STAY,)
        assert_gone(shop, revoked=token_of(before))
        assert len(shop.sandbox.klaviyo.data_sources(ACCOUNT)) == 6

    def test_settings_and_secrets_of_the_tenant_stay(self, shop: World) -> None:
        before = shop.read()
        after = uninstall(before, shop.services)
        for kept in (
            "settings",
            "webhook_secrets",
            "omneo_token",
            "omneo_signing_secrets",
            "installation_keys",
        ):
            assert getattr(after, kept) == getattr(before, kept)

    def test_the_inbound_queue_is_left_to_drain(self, shop: World) -> None:
        queue: Any = shop.services.queue
        queue._workers[Direction.INBOUND] = "http://127.0.0.1:1"  # there is no inbound worker yet
        queue.put_back("acme-klaviyo-inbound", b"{}", tenant=TENANT, direction=Direction.INBOUND, delay=600)
        queue_an_event(shop)
        uninstall(shop.read(), shop.services)
        assert (depth(shop, Direction.INBOUND), depth(shop)) == (1, 0)
        assert shop.services.queue.state(shop.read(), Direction.INBOUND).paused is False

    def test_a_webhook_that_was_renamed_is_found_by_its_id(self, shop: World) -> None:
        hook = shop.sandbox.klaviyo._account(ACCOUNT).webhooks[shop.read().provisions.webhook_id]
        hook.name = "Renamed"
        uninstall(shop.read(), shop.services)
        assert klaviyo_hooks(shop) == ["Somebody else's"]

    def test_a_job_that_still_arrives_ends_in_the_dead_letter_desk(self, shop: World) -> None:
        uninstall(shop.read(), shop.services)
        job = SendMetric(tenant=TENANT, accepted_at=shop.clock(), event=attributes())
        shop.services.queue.put(job, shop.read())
        shop.work(60)
        (dead,) = shop.dead_jobs()
        assert (dead.id, dead.reason) == (
            job.id,
            "The tenant has no Klaviyo account. Once one is installed, this job goes on by itself.",
        )

    def test_what_is_left_stands_in_the_status(self, shop: World) -> None:
        uninstall(shop.read(), shop.services)
        report = status(shop.read(), shop.services)
        assert report["left_behind"] == [DATA_SOURCES_STAY]
        assert report["klaviyo"] == {
            "connected": False,
            "account_id": "",
            "account_name": "",
            "connected_at": None,
        }

    def test_an_install_afterwards_works_and_nothing_is_left_behind_any_more(self, shop: World) -> None:
        uninstall(shop.read(), shop.services)
        shop.clock.advance(60)
        install(shop)
        assert our_omneo_hooks(shop) == sorted(OMNEO_TRIGGERS)
        assert klaviyo_hooks(shop) == ["Omneo acme", "Somebody else's"]
        assert len(shop.sandbox.klaviyo.data_sources(ACCOUNT)) == 6
        report = status(shop.read(), shop.services)
        assert report["left_behind"] == []
        assert {step["state"] for step in report["steps"]} == {"done"}


class TestSharedAccounts:
    def test_while_another_tenant_holds_the_account_its_tokens_are_not_revoked_and_that_is_said(
        self, shop: World
    ) -> None:
        shop.tenant(TWIN, installed=False)
        install(shop, TWIN)
        before = shop.read()
        after = uninstall(before, shop.services)
        assert klaviyo_hooks(shop) == ["Omneo acme-stg", "Somebody else's"]
        assert honours(shop, token_of(shop.read(TWIN)))
        assert shop.read(TWIN).is_connected
        assert after.klaviyo is None
        assert after.left_behind == (
            "Klaviyo still shows the app as installed, because acme-stg uses the same account.",
            DATA_SOURCES_STAY,
        )

    def test_the_last_tenant_of_the_account_ends_it(self, shop: World) -> None:
        shop.tenant(TWIN, installed=False)
        install(shop, TWIN)
        token = token_of(shop.read(TWIN))
        uninstall(shop.read(), shop.services)
        shop.clock.advance(60)
        after = uninstall(shop.read(TWIN), shop.services)
        assert after.left_behind == (DATA_SOURCES_STAY,)
        assert not honours(shop, token)
        assert klaviyo_hooks(shop) == ["Somebody else's"]


class TestAgain:
    def test_a_second_uninstall_is_harmless_and_says_the_same(self, shop: World) -> None:
        first = uninstall(shop.read(), shop.services)
        shop.sandbox.klaviyo.calls.clear()
        assert uninstall(shop.read(), shop.services) == first
        assert shop.sandbox.klaviyo.calls.all() == []
        assert_gone(shop)

    def test_a_second_one_does_not_forget_what_the_first_left(self, shop: World) -> None:
        shop.services.tenants.change(TENANT, disconnected)
        first = uninstall(shop.read(), shop.services)
        assert first.left_behind == (DISCONNECTED_BEFORE, DATA_SOURCES_STAY)
        assert uninstall(shop.read(), shop.services).left_behind == first.left_behind

    def test_a_second_one_tries_omneo_again(self, shop: World) -> None:
        shop.sandbox.omneo.fail(1, match="GET */webhooks", status=401)
        first = uninstall(shop.read(), shop.services)
        assert first.left_behind == (
            "Omneo's webhooks may still be there, because Omneo answered 401. Remove them in CX Manager.",
            DATA_SOURCES_STAY,
        )
        assert len(our_omneo_hooks(shop)) == 3
        assert uninstall(shop.read(), shop.services).left_behind == (DATA_SOURCES_STAY,)
        assert_gone(shop)

    def test_a_tenant_that_was_never_installed_has_nothing_to_leave(self, world: World) -> None:
        before = world.tenant(installed=False)
        assert uninstall(before, world.services) == before
        assert world.sandbox.klaviyo.calls.all() == []

    def test_while_a_set_up_runs_it_waits_and_it_never_runs_beside_one(self, shop: World) -> None:
        lease = shop.services.leases.acquire(f"provision {TENANT}", lasting=SET_UP_LEASE)
        assert lease is not None
        with pytest.raises(WaitError, match="a set-up is running"):
            uninstall(shop.read(), shop.services)
        assert shop.read().is_connected
        assert len(our_omneo_hooks(shop)) == 3
        shop.services.leases.release(lease)
        uninstall(shop.read(), shop.services)
        assert_gone(shop)


def disconnected(tenant: Tenant) -> Tenant:
    assert tenant.klaviyo is not None
    gone = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
    return tenant.model_copy(update={"klaviyo": gone})


class TestWhatCannotBeReached:
    def test_of_a_disconnected_account_it_is_said_what_is_left(self, shop: World) -> None:
        shop.services.tenants.change(TENANT, disconnected)
        after = uninstall(shop.read(), shop.services)
        assert after.left_behind == (DISCONNECTED_BEFORE, DATA_SOURCES_STAY)
        assert after.klaviyo is None
        assert our_omneo_hooks(shop) == []

    def test_an_app_that_was_removed_in_klaviyo_is_the_same(self, shop: World) -> None:
        shop.sandbox.klaviyo.uninstall(ACCOUNT)
        after = uninstall(shop.read(), shop.services)
        assert after.left_behind == (DISCONNECTED_BEFORE, DATA_SOURCES_STAY)
        assert after.klaviyo is None

    def test_without_the_permission_for_webhooks_the_tokens_are_revoked_all_the_same(
        self, shop: World
    ) -> None:
        install(shop, scopes=" ".join(scope for scope in SCOPES if not scope.startswith("webhooks")))
        token = token_of(shop.read())
        after = uninstall(shop.read(), shop.services)
        assert after.left_behind == (
            "Klaviyo's webhook may still be there, because Klaviyo answered 403: permission_denied (Missing scopes: webhooks:read). Remove it in Klaviyo.",
            DATA_SOURCES_STAY,
        )
        assert not honours(shop, token)
        assert after.klaviyo is None

    @pytest.mark.parametrize("kind", ["status", "reset", "html403"])
    @pytest.mark.parametrize(
        ("service", "match"),
        [
            ("klaviyo", "GET /api/webhooks"),
            ("klaviyo", "DELETE /api/webhooks/*"),
            ("klaviyo", "POST /oauth/revoke"),
            ("omneo", "GET */webhooks"),
            ("omneo", "DELETE */webhooks/*"),
        ],
    )
    def test_while_a_service_is_down_nothing_is_forgotten_and_the_next_call_finishes(
        self, shop: World, service: str, match: str, kind: Kind
    ) -> None:
        before = shop.read()
        getattr(shop.sandbox, service).fail(1, match=match, kind=kind)
        with pytest.raises(WaitError):
            uninstall(before, shop.services)
        tenant = shop.read()
        assert (tenant.klaviyo, tenant.klaviyo_account_id) == (before.klaviyo, ACCOUNT)
        shop.clock.advance(60)
        assert uninstall(tenant, shop.services).left_behind == (DATA_SOURCES_STAY,)
        assert_gone(shop, revoked=token_of(before))

    def test_while_the_queue_cannot_be_purged_nothing_is_forgotten(self, shop: World) -> None:
        before = shop.read()
        odd = {**shop.environment, "GOOGLE_CLOUD_REGION": "no/where"}
        with pytest.raises(QueueUnavailableError):
            uninstall(
                before, Services(Settings.from_env(odd, EVERYTHING), clock=shop.clock, sleep=shop.clock.sleep)
            )
        assert shop.read().klaviyo == before.klaviyo
        shop.clock.advance(60)
        assert uninstall(shop.read(), shop.services).left_behind == (DATA_SOURCES_STAY,)
        assert_gone(shop, revoked=token_of(before))


@pytest.mark.parametrize(
    "moment", ["before GET /api/webhooks?include=webhook-topics", "after DELETE /api/webhooks/HOOK"]
)
@pytest.mark.parametrize("account", [ACCOUNT, "OtherAc"])
def test_an_install_that_comes_in_the_middle_of_it_from_another_tab_stays(
    shop: World, moment: str, account: str
) -> None:
    (hook,) = [hook for hook in shop.sandbox.klaviyo.webhooks(ACCOUNT) if hook.name == webhook_name(TENANT)]
    tokens = shop.sandbox.klaviyo.install(account, scopes=" ".join(SCOPES))
    queue_an_event(shop)

    def again() -> None:
        shop.clock.advance(1)
        answer, now = TokenAnswer.model_validate(tokens.to_json()), shop.clock()
        connect(TENANT, answer, tenants=shop.services.tenants, now=now, account=Account(id=account))
        start_provision(shop.read(), shop.services)

    fate = Meanwhile(moment.replace("HOOK", hook.id), again)
    with pytest.raises(ConflictError, match="installed again meanwhile"):
        uninstall(shop.read(), lives(shop, fate))
    settle(shop, 15)
    tenant = shop.read()
    assert (tenant.is_connected, tenant.klaviyo_account_id) == (True, account)
    assert {step["state"] for step in steps_of(tenant)} == {"done"}
    assert shop.services.queue.state(tenant, Direction.OUTBOUND).depth == 1
    assert shop.dead_jobs() == []
    assert uninstall(tenant, shop.services).klaviyo is None


def test_an_install_whose_set_up_was_purged_with_the_queue_is_set_up(shop: World) -> None:
    """It came after the last look: nothing else would queue its set-up again."""
    services = lives(shop, Fate(-1, kills=False))

    class InTheMiddle:
        def __getattr__(self, name: str) -> Any:
            if name == "purge":
                shop.clock.advance(1)
                tokens = shop.sandbox.klaviyo.install(ACCOUNT, scopes=" ".join(SCOPES))
                answer, now = TokenAnswer.model_validate(tokens.to_json()), shop.clock()
                connect(TENANT, answer, tenants=shop.services.tenants, now=now, account=Account(id=ACCOUNT))
                start_provision(shop.read(), shop.services)
            return getattr(shop.services.queue, name)

    vars(services)["queue"] = InTheMiddle()
    with pytest.raises(ConflictError, match="installed again meanwhile"):
        uninstall(shop.read(), services)
    settle(shop, 15)
    assert {step["state"] for step in steps_of(shop.read())} == {"done"}


def lives(world: World, fate: Fate) -> Services:
    """Return services of a process with this fate."""
    settings = Settings.from_env(world.environment, EVERYTHING)
    services = Services(settings, clock=world.clock, random=lambda: 0.0, sleep=world.clock.sleep)
    services.__dict__["_connections"] = watched_connections(fate)
    if fate.kills:
        services.__dict__["documents"] = WatchedDocuments(world.services.documents, fate)
    return services


def moments(world: World, *, kills: bool) -> int:
    """Return how many moments an uninstall has, by living one through."""
    fate = Fate(-1, kills=kills)
    uninstall(world.read(), lives(world, fate))
    return fate.moment + 1


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "an answer lost"])
def test_wherever_it_ends_early_the_next_call_finishes(shop: World, kills: bool) -> None:
    shop.services.rests.forget(TENANT)  # the first set-up was throttled, the later ones are not
    count = moments(shop, kills=kills)
    assert count > 12
    for at in range(count):
        shop.clock.advance(60)
        install(shop)
        queue_an_event(shop)
        before = shop.read()
        fate = Fate(at, kills=kills)
        ended_early = False
        try:
            uninstall(before, lives(shop, fate))
        except (KilledError, WaitError):
            ended_early = True
        assert fate.struck
        assert ended_early or not kills
        shop.clock.advance(max(LEASE.total_seconds(), 60))
        after = uninstall(shop.read(), shop.services)
        assert after.left_behind == (DATA_SOURCES_STAY,), at
        assert_gone(shop, revoked=token_of(before))


def test_where_a_person_waits_a_short_throttle_is_waited_out_and_nothing_else(shop: World) -> None:
    patient = replace(shop.services, short_waits=3)
    shop.sandbox.klaviyo.fail(2, match="GET /api/webhooks", status=429, headers={"Retry-After": "1"})
    assert uninstall(shop.read(), patient).klaviyo is None
    assert shop.clock.slept == [1.0, 1.0]


@pytest.mark.parametrize(
    "fault",
    [
        {"next": 1, "status": 429, "headers": {"Retry-After": "60"}},
        {"next": 4, "status": 429, "headers": {"Retry-After": "1"}},
        {"next": 1, "status": 503, "headers": {"Retry-After": "1"}},
    ],
    ids=str,
)
def test_a_long_or_repeated_throttle_and_an_outage_are_told_and_not_waited_out(
    shop: World, fault: dict[str, Any]
) -> None:
    patient = replace(shop.services, short_waits=3)
    shop.sandbox.klaviyo.fail(match="GET /api/webhooks", **fault)
    with pytest.raises(WaitError):
        uninstall(shop.read(), patient)
    assert len(shop.clock.slept) <= 3
    assert shop.read().klaviyo is not None
