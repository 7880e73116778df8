"""A tenant as an install leaves it, and its set-up, run by the queue or by hand, in a process with a fate (mortal.py)."""

from dataclasses import dataclass
from typing import Any

from shared.errors import WaitError
from shared.http.client import HttpClient
from shared.installation.connecting import connect
from shared.installation.provision import provision, steps_of
from shared.jobs.jobs import Provision
from shared.klaviyo.client import Account, FixedToken, KlaviyoClient
from shared.klaviyo.client import read_problem as klaviyo_problem
from shared.klaviyo.oauth import TokenAnswer
from shared.klaviyo.resources import DATA_SOURCES, OMNEO_TRIGGERS, SYSTEM_TOPICS
from shared.omneo.client import OmneoClient, base_url
from shared.omneo.client import read_problem as omneo_problem
from shared.storage.encryption import KeyRing
from shared.storage.leases import Leases
from shared.tenants.tenants import Tenant, TenantStore
from tests.support.mortal import Fate, WatchedDocuments, watched_connections
from tests.support.world import ACCOUNT, EXTENSION_URL, TENANT, WEBHOOK_SECRET, World

TITLES = sorted(DATA_SOURCES)


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
    return world.services.keys


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


def webhook_of(shop: Shop) -> Any:
    """Return the one webhook in the Klaviyo account."""
    (webhook,) = shop.world.sandbox.klaviyo.webhooks(shop.account)
    return webhook
