"""A grant that a merchant is being asked about: whose it is, while two windows are open and after nobody has answered."""

import pytest
import requests
from google.cloud.tasks_v2 import Queue

from shared.admin.doctor import examine
from shared.installation.pending import KEPT_UNANSWERED, LIFE, PendingInstalls, Step
from shared.jobs.cloud_tasks import tasks_client
from shared.jobs.jobs import EveryTenant
from shared.worker.schedule import every_tenant
from tests.support.merchant import Merchant, field, settle, title
from tests.support.world import ACCOUNT, TENANT, World

NEW = "NewAcc"
OVER = LIFE.total_seconds() + 61  # seconds until a question is surely nobody's any more
LOCATION = "projects/local/locations/local"


def ask(merchant: Merchant, world: World, account: str) -> str:
    """Open a window in which the merchant is asked about this account, and return what its answer needs."""
    world.clock.advance(60)  # Klaviyo tells of an account once a second
    world.sandbox.klaviyo.account(account)
    world.sandbox.klaviyo.oauth.consent_account = account
    return field(merchant.come_back(merchant.begin()), "confirmation")


def revokes(world: World) -> int:
    """Return how often Klaviyo was asked to end a grant."""
    return sum(call.path == "/oauth/revoke" for call in world.sandbox.klaviyo.calls.all())


def is_honoured(world: World, name: str = TENANT) -> bool:
    """Return whether Klaviyo still accepts the tenant's token."""
    connection = world.read(name).klaviyo
    assert connection is not None
    token = connection.access_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}", "revision": "2026-10-15"}
    answer = requests.get(f"{world.sandbox.klaviyo.url}/api/accounts", headers=headers, timeout=60)
    return answer.status_code != 401


def sweep(world: World) -> None:
    """Run what the schedule runs every five minutes."""
    every_tenant(EveryTenant(tenant="", accepted_at=world.clock(), run="sweep-outbox"), world.services)


def test_an_account_that_is_left_keeps_its_grant_while_another_window_asks_about_it(
    merchant: Merchant, world: World
) -> None:
    merchant.confirm(ask(merchant, world, ACCOUNT))
    settle(world)
    merchant.confirm(ask(merchant, world, NEW))
    again = ask(merchant, world, ACCOUNT)
    settle(world)  # the account before is left
    assert world.sandbox.klaviyo.webhooks(ACCOUNT) == []
    assert (world.read().former_accounts, revokes(world)) == ((), 0)
    assert title(merchant.confirm(again)) == "Klaviyo is connected"
    settle(world)
    assert (world.read().klaviyo_account_id, is_honoured(world)) == (ACCOUNT, True)
    assert len(world.sandbox.klaviyo.webhooks(ACCOUNT)) == 1


def test_cancel_keeps_the_grant_that_another_window_asks_about(merchant: Merchant, world: World) -> None:
    first, second = ask(merchant, world, ACCOUNT), ask(merchant, world, ACCOUNT)
    merchant.confirm(first, decision="cancel")
    assert revokes(world) == 0
    assert title(merchant.confirm(second)) == "Klaviyo is connected"
    assert is_honoured(world)


def test_the_last_of_two_windows_that_cancel_gives_it_back(merchant: Merchant, world: World) -> None:
    words = [ask(merchant, world, ACCOUNT) for _ in range(2)]
    for word in words:
        merchant.confirm(word, decision="cancel")
    assert (revokes(world), world.read().left_behind) == (1, ())


def test_a_grant_that_has_gone_meanwhile_is_not_connected(merchant: Merchant, world: World) -> None:
    word = ask(merchant, world, ACCOUNT)
    world.sandbox.klaviyo.uninstall(ACCOUNT)
    stopped = merchant.confirm(word)
    assert (stopped.status_code, title(stopped)) == (400, "The permission was taken back meanwhile")
    assert world.read().klaviyo is None


@pytest.mark.parametrize("status", [403, 503])
def test_a_klaviyo_that_does_not_answer_then_stops_no_install(
    merchant: Merchant, world: World, status: int
) -> None:
    word = ask(merchant, world, ACCOUNT)
    world.sandbox.klaviyo.fail(1, match="GET /api/accounts*", status=status)
    assert title(merchant.confirm(word)) == "Klaviyo is connected"


def test_a_grant_is_given_back_if_the_queues_cannot_be_made(merchant: Merchant, world: World) -> None:
    word = ask(merchant, world, ACCOUNT)
    settings = world.services.settings.queue
    assert settings is not None
    name = f"{LOCATION}/queues/{TENANT}-klaviyo-outbound"
    tasks_client(settings).create_queue(parent=LOCATION, queue=Queue(name=name))
    tasks_client(settings).delete_queue(name=name)  # its name stays blocked for days
    assert merchant.confirm(word).status_code == 503
    assert (world.read().klaviyo, revokes(world)) == (None, 1)


def test_a_grant_for_a_tenant_that_was_deleted_meanwhile_is_given_back(
    merchant: Merchant, world: World
) -> None:
    word = ask(merchant, world, ACCOUNT)
    world.services.tenants.delete(TENANT)
    assert title(merchant.confirm(word)) == "This step has expired"
    assert revokes(world) == 1


def test_a_tenant_that_never_had_an_account_was_never_installed_whatever_was_left_behind(
    merchant: Merchant, world: World
) -> None:
    refusal = {"error": "unsupported_token_type"}
    word = ask(merchant, world, ACCOUNT)
    world.sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=400, body=refusal)
    merchant.confirm(word, decision="cancel")
    report = examine(world.read(), world.services)
    assert len(report["left_behind"]) == 1
    assert "has never been installed" in report["findings"][0]["message"]


class TestNobodyAnswers:
    def test_the_grant_is_given_back_when_the_question_has_expired(
        self, merchant: Merchant, world: World
    ) -> None:
        word = ask(merchant, world, ACCOUNT)
        world.clock.advance(LIFE.total_seconds() - 1)
        sweep(world)
        assert revokes(world) == 0
        world.clock.advance(2)
        assert title(merchant.confirm(word)) == "This step has expired"
        sweep(world)
        assert revokes(world) == 0  # who answered at the last moment is still at it
        world.clock.advance(60)
        sweep(world)
        assert (revokes(world), world.read().left_behind) == (1, ())
        sweep(world)
        assert revokes(world) == 1

    def test_not_while_a_tenant_holds_the_account(self, merchant: Merchant, world: World) -> None:
        merchant.confirm(ask(merchant, world, ACCOUNT))
        world.tenant("acme-stg", installed=False)
        world.clock.advance(60)
        world.sandbox.klaviyo.oauth.consent_account = ACCOUNT
        assert field(merchant.come_back(merchant.begin("acme-stg")), "confirmation")
        world.clock.advance(OVER)
        sweep(world)
        assert revokes(world) == 0
        assert is_honoured(world)

    @pytest.mark.parametrize("status", [400, 503])
    def test_what_klaviyo_does_not_give_back_stands_in_left_behind(
        self, merchant: Merchant, world: World, status: int
    ) -> None:
        ask(merchant, world, ACCOUNT)
        world.clock.advance(OVER)
        refusal = {"error": "unsupported_token_type"}
        world.sandbox.klaviyo.fail(1, match="POST /oauth/revoke", status=status, body=refusal)
        sweep(world)
        (line,) = world.read().left_behind
        assert line.startswith(f"Klaviyo account {ACCOUNT} still shows the app as installed, because ")

    def test_a_tenant_that_was_deleted_since_keeps_nothing(self, merchant: Merchant, world: World) -> None:
        ask(merchant, world, ACCOUNT)
        world.services.tenants.delete(TENANT)
        world.clock.advance(OVER)
        sweep(world)
        assert revokes(world) == 1

    def test_one_that_cannot_be_read_holds_up_no_other(self, merchant: Merchant, world: World) -> None:
        ask(merchant, world, ACCOUNT)
        ask(merchant, world, NEW)
        world.clock.advance(OVER)
        found = world.services.documents.find("pending_installs", after="confirm-")
        first = next(one for one in found if one.id.startswith("confirm-"))
        sealed = str(first.fields["kept"])
        world.services.documents.update("pending_installs", first.id, {"kept": f"gone{sealed}"})
        sweep(world)
        assert revokes(world) == 1

    def test_it_is_forgotten_in_the_end_whatever_happens(self, merchant: Merchant, world: World) -> None:
        word = ask(merchant, world, ACCOUNT)
        found = world.services.documents.find("pending_installs", after="confirm-")
        (expiry,) = [one.fields["expire_at"] for one in found if one.id.startswith("confirm-")]
        assert expiry == world.clock() + LIFE + KEPT_UNANSWERED
        assert PendingInstalls.of(world.services).look(Step.CONFIRM, word) is not None


class TestKlaviyoDoesNotSayWhoseAccountItIs:
    @pytest.fixture
    def stopped(self, merchant: Merchant, world: World) -> None:
        """Let an install end at the look-up of the account, right after Klaviyo has given the grant."""
        world.clock.advance(60)
        world.sandbox.klaviyo.account(ACCOUNT)
        world.sandbox.klaviyo.oauth.consent_account = ACCOUNT
        world.sandbox.klaviyo.fail(1, match="GET /api/accounts*", status=503)
        page = merchant.come_back(merchant.begin())
        assert (page.status_code, title(page)) == (503, "Klaviyo does not answer at the moment")
        assert world.read().klaviyo is None

    @pytest.fixture
    def after(self, stopped: None, world: World) -> None:
        """Let the time pass in which the merchant may try again."""
        sweep(world)
        assert revokes(world) == 0
        world.clock.advance(OVER)

    @pytest.mark.usefixtures("after")
    def test_the_grant_is_given_back(self, world: World) -> None:
        for _ in range(2):
            sweep(world)
            assert (revokes(world), world.read().left_behind) == (1, ())

    @pytest.mark.usefixtures("after")
    def test_a_klaviyo_that_still_does_not_answer_is_asked_again(self, world: World) -> None:
        world.sandbox.klaviyo.fail(1, match="GET /api/accounts*", status=503)
        sweep(world)
        assert revokes(world) == 0
        world.clock.advance(3600)  # the access token has ended since
        sweep(world)
        assert (revokes(world), world.read().left_behind) == (1, ())

    @pytest.mark.usefixtures("stopped")
    def test_it_stays_where_the_merchant_has_connected_the_account_since(
        self, merchant: Merchant, world: World
    ) -> None:
        world.clock.advance(60)
        assert title(merchant.install()) == "Klaviyo is connected"
        world.clock.advance(OVER)
        sweep(world)
        assert (revokes(world), is_honoured(world), world.read().left_behind) == (0, True, ())

    @pytest.mark.usefixtures("after")
    def test_one_that_has_ended_by_itself_is_forgotten(self, world: World) -> None:
        world.sandbox.klaviyo.uninstall(ACCOUNT)
        sweep(world)
        calls = len(world.sandbox.klaviyo.calls.all())
        sweep(world)
        assert (len(world.sandbox.klaviyo.calls.all()), world.read().left_behind) == (calls, ())

    @pytest.mark.usefixtures("after")
    def test_one_whose_account_klaviyo_refuses_to_name_is_told_of(self, world: World) -> None:
        world.sandbox.klaviyo.fail(1, match="GET /api/accounts*", status=403)
        sweep(world)
        assert revokes(world) == 0
        (line,) = world.read().left_behind
        assert "not known which account" in line
