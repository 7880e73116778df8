"""Acts that cannot be undone, and what they leave outside: delete, uninstall, tokens of a twin, keys that end. As an operator gives them."""

import json
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from click.testing import CliRunner, Result

from deploy.local.sandbox.klaviyo.oauth import Tokens
from deploy.tenants.commands import tenants
from shared.audit import Audit
from shared.consent.ledger import ConsentLedger, ConsentRecord, ensure_ledger_key
from shared.consent_events import Channel
from shared.direction import Direction
from shared.installation.giving_back import kept_for
from shared.installation.links import InstallLinks
from shared.installation.pending import PendingInstalls, Step
from shared.installation.provision import start_provision
from shared.jobs.jobs import Heal, read_job
from shared.jobs.rules.causes import Cause
from shared.services import Services
from shared.settings import Settings
from shared.storage.encryption import new_key
from shared.tenants.keys import id_of
from tests.shared.worker.test_replaying import bury
from tests.support.commands import without_acts
from tests.support.merchant import Merchant, pages_of, settle, title
from tests.support.world import ACCOUNT, EVERYTHING, TENANT, World

TWIN = "acme-stg"
Command = Callable[..., Result]


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that gives a command on the world's clock; while it waits the worker does what is queued."""
    ours = partial(Services, clock=world.clock, sleep=world.work)
    monkeypatch.setattr("deploy.tenants.running.Services", ours)

    def give(*words: str, said: str = "") -> Result:
        result = CliRunner().invoke(tenants, words, input=said, env=world.environment)
        assert "canary" not in result.output
        return result

    return give


def tokens_of(tokens: Tokens) -> str:
    """Return what Klaviyo's token endpoint has answered."""
    return json.dumps(tokens.to_json())


def install(world: World, command: Command, name: str = TENANT) -> str:
    """Install a tenant by hand, as `set klaviyo_tokens` does; return the access token."""
    given = world.sandbox.klaviyo.install(ACCOUNT)
    done = command("set", name, "klaviyo_tokens", said=tokens_of(given))
    assert done.exit_code == 0, done.output
    start_provision(world.read(name), world.services)
    settle(world, 6)
    world.clock.advance(60)
    return given.access_token


def honours(world: World, access_token: str) -> bool:
    """Return whether Klaviyo still accepts a token."""
    headers = {"Authorization": f"Bearer {access_token}", "revision": "2026-10-15"}
    answer = requests.get(f"{world.sandbox.klaviyo.url}/api/accounts", headers=headers, timeout=60)
    return answer.status_code != 401


@pytest.fixture
def shop(world: World, command: Command) -> World:
    """Return a world with one tenant, installed by hand to the end."""
    world.tenant(installed=False)
    install(world, command)
    return world


class TestDelete:
    def test_it_uninstalls_first(self, shop: World, command: Command) -> None:
        tenant = shop.read()
        assert tenant.klaviyo is not None
        access = tenant.klaviyo.access_token.get_secret_value()
        assert len(shop.sandbox.klaviyo.webhooks(ACCOUNT)) == 1
        refused = command("delete", TENANT)
        assert refused.exit_code == 1
        assert "Give --yes" in refused.output
        done = command("delete", TENANT, "--yes")
        assert (done.exit_code, done.stdout) == (0, f"Tenant {TENANT} is deleted.\n")
        assert "Left behind: The six data sources stay in Klaviyo" in done.stderr
        assert shop.sandbox.klaviyo.webhooks(ACCOUNT) == []
        assert shop.sandbox.omneo.webhooks(TENANT) == []
        assert not honours(shop, access)
        assert shop.services.tenants.find(TENANT) is None

    @pytest.mark.parametrize(
        ("service", "match"), [("klaviyo", "GET /api/webhooks"), ("omneo", "GET */webhooks")]
    )
    def test_while_a_service_is_down_nothing_is_deleted(
        self, shop: World, command: Command, service: str, match: str
    ) -> None:
        getattr(shop.sandbox, service).fail(1, match=match, status=503)
        failed = command("delete", TENANT, "--yes")
        assert failed.exit_code == 1
        assert "Nothing was deleted, because " in failed.output
        assert shop.read().is_connected
        shop.clock.advance(60)
        assert command("delete", TENANT, "--yes").exit_code == 0

    def test_the_ledger_is_kept_and_answers_when_the_tenant_is_made_again(
        self, world: World, command: Command
    ) -> None:
        world.tenant(installed=False)
        tenant = ensure_ledger_key(world.services.tenants, TENANT)
        ledger = ConsentLedger.of(world.services)
        record = ConsentRecord(world.clock(), Channel.EMAIL, "subscribed", "unsubscribed", "klaviyo", "e1")
        ledger.record(tenant, "O1", record)
        for _ in range(2):
            assert command("delete", TENANT, "--yes").exit_code == 0
            said = '{"omneo_token": "canary-a", "omneo_signing_secret": "canary-b"}'
            assert command("create", TENANT, said=said).exit_code == 0
            assert len(ledger.records_of(world.read(), "O1", 9)) == 1
        assert command("delete", TENANT, "--yes").exit_code == 0
        assert command("delete", TENANT, "--with-ledger").exit_code == 1
        assert command("delete", TENANT, "--with-ledger", "--yes").exit_code == 0
        assert world.services.documents.count(f"tenants/{TENANT}/consent_ledger") == 0
        assert world.services.former_tenants.ledger_key(TENANT) is None
        assert "There is no such tenant." in command("delete", TENANT, "--with-ledger", "--yes").output


class TestTokensOfATwin:
    def test_the_account_is_asked_for(self, shop: World) -> None:
        assert shop.read().klaviyo_account_id == ACCOUNT

    def test_an_uninstall_of_the_twin_leaves_production_connected(
        self, shop: World, command: Command
    ) -> None:
        shop.tenant(TWIN, installed=False)
        production = shop.read().klaviyo
        assert production is not None
        given = tokens_of(shop.sandbox.klaviyo.install(ACCOUNT))
        assert command("set", TWIN, "klaviyo_tokens", said=given).exit_code == 0
        assert command("uninstall", TWIN).exit_code == 1  # nobody can be asked
        done = command("uninstall", TWIN, "--yes")
        assert done.exit_code == 0
        assert f"because {TENANT} uses the same account" in done.stderr
        assert honours(shop, production.access_token.get_secret_value())
        assert shop.read(TWIN).klaviyo is None

    def test_while_it_is_unknown_which_account_a_tenant_has_no_grant_is_revoked(
        self, shop: World, command: Command
    ) -> None:
        shop.tenant(TWIN, installed=False)
        given = shop.sandbox.klaviyo.install(ACCOUNT)
        shop.sandbox.klaviyo.fail(1, match="GET /api/accounts", status=503)
        done = command("set", TWIN, "klaviyo_tokens", said=tokens_of(given))
        assert done.exit_code == 0
        assert "Which account it is could not be asked" in done.stderr
        assert shop.read(TWIN).klaviyo_account_id == ""
        assert TWIN in kept_for(TENANT, ACCOUNT, shop.services)
        assert command("uninstall", TENANT, "--yes").exit_code == 0
        assert honours(shop, given.access_token)
        (left, *_) = shop.read().left_behind
        assert left == (
            f"Klaviyo account {ACCOUNT} still shows the app as installed, because it is not known which account {TWIN} uses."
        )

    def test_an_uninstall_asks_which_account_it_is_where_that_is_not_known(
        self, shop: World, command: Command
    ) -> None:
        shop.tenant(TWIN)  # connected, and nobody has asked for its account
        assert shop.read(TWIN).klaviyo_account_id == ""
        production = shop.read().klaviyo
        assert production is not None
        assert command("uninstall", TWIN, "--yes").exit_code == 0
        assert honours(shop, production.access_token.get_secret_value())

    def test_a_repair_learns_which_account_it_is(self, shop: World, command: Command) -> None:
        shop.tenant(TWIN)
        assert command("doctor", TWIN, "--repair").exit_code == 0
        assert shop.read(TWIN).klaviyo_account_id == ACCOUNT

    def test_tokens_that_klaviyo_rejects_are_not_stored(self, shop: World, command: Command) -> None:
        before = shop.read()
        given = shop.sandbox.klaviyo.install("Other")
        shop.sandbox.klaviyo.uninstall("Other")
        refused = command("set", TENANT, "klaviyo_tokens", said=tokens_of(given))
        assert refused.exit_code == 1
        assert "klaviyo_tokens: Klaviyo rejects this access token." in refused.output
        assert shop.read() == before


class TestSet:
    """What CX Manager may not set, an operator may not either, and what follows from a change follows."""

    @pytest.mark.parametrize(
        ("key", "value", "why"),
        [
            ("master_list_id", "NOPE123", "Klaviyo has no list of this id in the connected account"),
            ("notify_url", "https://10.0.0.1/x", "must lead to public addresses"),
            ("identity_handle", "a/b", "must be the handle of an identity in Omneo"),
        ],
    )
    def test_a_value_that_http_refuses_is_refused(
        self, shop: World, command: Command, key: str, value: str, why: str
    ) -> None:
        assert command("notify-secret", TENANT).exit_code == 0
        before, acts = shop.read(), Audit.of(shop.services).acts(TENANT)
        refused = command("set", TENANT, key, said=value)
        assert refused.exit_code == 1
        assert refused.output.startswith(f"Error: {key}: {why}")
        assert shop.read() == before
        assert Audit.of(shop.services).acts(TENANT) == acts

    def test_jobs_that_a_list_has_held_go_on_once_it_is_set(self, shop: World, command: Command) -> None:
        for n in range(3):
            bury(shop, f"held{n}", Cause.MASTER_LIST)
        done = command("set", TENANT, "master_list_id", said="null")
        assert (done.exit_code, without_acts(done.stderr)[0]) == (0, "The jobs that it held go on.\n")
        for _ in range(6):
            shop.work(15)
        assert shop.dead_jobs() == []
        assert without_acts(command("set", TENANT, "master_list_id", said="null").stderr)[0] == ""

    def test_where_the_queue_is_not_known_the_operator_hears_what_to_do(
        self, shop: World, command: Command
    ) -> None:
        shop.environment["OUTBOUND_WORKER_URL"] = ""
        assert without_acts(command("set", TENANT, "master_list_id", said="null").stderr)[0] == ""
        bury(shop, "held", Cause.MASTER_LIST)
        done = command("set", TENANT, "master_list_id", said="null")
        assert (done.exit_code, done.stdout) == (0, f"master_list_id of {TENANT} is set.\n")
        assert f"run `dead replay {TENANT} --cause master-list` where the queue can be reached" in done.stderr

    def test_the_audit_says_what_was_done_and_nothing_of_what_was_not(
        self, shop: World, command: Command
    ) -> None:
        old = shop.read().omneo_signing_secrets[0].id
        began = len(Audit.of(shop.services).acts(TENANT))
        for words, said in (
            (("set", TENANT, "timezone"), "Europe/Vienna"),
            (("set", TENANT, "timezone"), "Europe/Vienna"),
            (("set", TENANT, "webhook_secret"), "canary-new-webhook-secret"),
            (("set", TENANT, "omneo_signing_secret"), "canary-new-signing-secret"),
            (("set", TENANT, "omneo_signing_secret"), "canary-new-signing-secret"),
            (("rotate", TENANT, "--omneo-signing-secret", "--finish"), ""),
            (("rotate", TENANT, "--omneo-signing-secret", "--finish"), ""),
            (("rotate", TENANT, "--installation-key", "--finish"), ""),
        ):
            assert command(*words, said=said).exit_code == 0
            shop.clock.advance(1)
        acts = Audit.of(shop.services).acts(TENANT)[::-1][began:]
        assert [(entry.act, entry.by, entry.about) for entry in acts] == [
            ("settings changed", "operator", "timezone"),
            ("secret added", "operator", "webhook_secret"),
            ("secret added", "operator", "omneo_signing_secret"),
            ("secret ended", "operator", f"omneo-signing-secret {old}"),
        ]


class TestLinks:
    def test_an_operator_needs_no_key_of_the_merchants(self, world: World, command: Command) -> None:
        world.tenant(installed=False)
        made = CliRunner().invoke(tenants, ["install-link", TENANT], env=world.environment)
        assert made.exit_code == 0
        url = made.stdout.strip()
        assert "Works once, until " in made.stderr
        browser = Merchant(pages_of(world))
        begun = browser.post("/klaviyo/install", link=parse_qs(urlsplit(url).query)["link"][0])
        assert begun.status_code == 302

    def test_a_link_ends_with_the_key_that_it_was_made_with(self, world: World, command: Command) -> None:
        tenant = world.tenant(installed=False)
        browser, links = Merchant(pages_of(world)), InstallLinks.of(world.services)
        old = links.make(TENANT, key=id_of(tenant.installation_keys[0].hash))
        operators = links.make(TENANT)
        assert (
            CliRunner()
            .invoke(tenants, ["rotate", TENANT, "--installation-key"], env=world.environment)
            .exit_code
            == 0
        )
        newer = links.make(TENANT, key=id_of(world.read().installation_keys[0].hash))
        assert browser.get("/klaviyo/install", link=old).status_code == 200
        assert command("rotate", TENANT, "--installation-key", "--finish").exit_code == 0
        for page in (browser.get("/klaviyo/install", link=old), browser.post("/klaviyo/install", link=old)):
            assert (page.status_code, title(page)) == (410, "This link is no longer valid")
        for link in (newer, operators):
            assert browser.post("/klaviyo/install", link=link).status_code == 302


class TestKeys:
    def test_reencrypt_counts_an_install_that_is_under_way(self, world: World, command: Command) -> None:
        world.tenant(installed=False)
        word = PendingInstalls.of(world.services).issue(
            Step.AUTHORIZE, TENANT, cookie="canary-c", kept={"verifier": "canary"}
        )
        old = world.environment["ENCRYPTION_KEYS"]
        new = f"k2:{new_key()}"
        world.environment["ENCRYPTION_KEYS"] = f"{new},{old}"
        assert command("reencrypt", "--dry-run").stdout == "4 secrets are sealed by an older key.\n"
        assert command("reencrypt").stdout.startswith("4 secrets were sealed again.")
        assert command("reencrypt", "--dry-run").stdout.startswith("0 ")
        world.environment["ENCRYPTION_KEYS"] = new
        alone = Services(Settings.from_env(world.environment, EVERYTHING), clock=world.clock)
        found = PendingInstalls.of(alone).consume(Step.AUTHORIZE, word)
        assert found is not None
        assert found.kept == {"verifier": "canary"}


class TestWithoutAKey:
    def test_a_heal_is_queued(self, shop: World, command: Command) -> None:
        done = command("heal", TENANT)
        (task,) = shop.queued(Direction.INBOUND)
        job = read_job(task)
        assert isinstance(job, Heal)
        assert (done.exit_code, done.stdout) == (0, f"The heal is queued: {job.id}\n")

    def test_status_shows_the_report_and_when_secrets_were_used(self, shop: World, command: Command) -> None:
        shown = command("status", TENANT)
        assert shown.exit_code == 0
        assert f"ok        klaviyo: Connected to Klaviyo account {ACCOUNT}; its token works." in shown.stdout
        assert f"webhook-secret {shop.read().webhook_secrets[0].id}: last used never" in shown.stdout
        assert (
            f"omneo-signing-secret {shop.read().omneo_signing_secrets[0].id}: last used never" in shown.stdout
        )
        assert '"state": ' in command("status", TENANT, "--json").stdout

    def test_set_lists_its_keys(self, command: Command) -> None:
        told = command("set", "--help").output
        assert all(key in told for key in ("omneo_token", "klaviyo_tokens", "timezone", "dead_job_days"))

    def test_a_run_of_a_disconnected_tenant_is_refused(self, shop: World, command: Command) -> None:
        shop.disconnect()
        for words in (("resync", TENANT), ("reconcile", TENANT)):
            refused = command(*words)
            assert refused.exit_code == 1
            assert "The Klaviyo account is disconnected: install the app again." in refused.output
