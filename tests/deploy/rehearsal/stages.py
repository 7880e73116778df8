"""What the tests of the rehearsal stand on: a world with a staging twin that is connected, a test customer, and what an account has recorded."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from deploy.rehearsal.assumption import Assumption, Verdict
from deploy.rehearsal.assumptions.table import ASSUMPTIONS, BY_NAME
from deploy.rehearsal.exchanges import Exchange
from deploy.rehearsal.rehearsal import Order, Rehearsed, Result, rehearse
from shared.services import Services
from tests.support.world import ACCOUNT, World

TWIN = "acme-stg"
CUSTOMER = "0191f7e2-0000-7000-8000-00000000000a"
KLAVIYO_ID = "01HCANARYCANARYCANARYCANAR"


@dataclass
class Twin:
    """A staging twin in a world."""

    world: World
    told: list[Result] = field(default_factory=list)
    heard: list[Exchange] = field(default_factory=list)

    def otherwise(self, *names: str) -> None:
        """Let both services behave the other way in these assumptions."""
        self.world.sandbox.klaviyo.consent.otherwise = names
        self.world.sandbox.omneo.otherwise = names

    def rehearse(
        self, names: Iterable[str] = (), *, services: Services | None = None, resume: bool = False
    ) -> Rehearsed:
        """Rehearse these assumptions, or all."""
        chosen: list[Assumption] = [BY_NAME[name] for name in names] or [*ASSUMPTIONS]
        return rehearse(
            self.world.read(TWIN),
            Order(chosen, CUSTOMER, resume=resume),
            services or self.world.services,
            tell=self.told.append,
            listeners=[self.heard.append],
        )

    def verdicts(self, names: Iterable[str] = ()) -> dict[str, Verdict]:
        """Rehearse, and return the verdicts by name."""
        return {result.name: result.verdict for result in self.rehearse(names).results}

    def leftovers(self) -> list[str]:
        """Return what a rehearsal has made and is still there, but for interactions and metrics, which nothing removes."""
        klaviyo, omneo, mark = self.world.sandbox.klaviyo, self.world.sandbox.omneo, "omneo-rehearsal"
        klaviyo.run_jobs()
        account = klaviyo._account(ACCOUNT)
        found = [
            *(profile.attributes.get("email") for profile in klaviyo.profiles(ACCOUNT)),
            *(source.title for source in klaviyo.data_sources(ACCOUNT)),
            *(webhook.name for webhook in klaviyo.webhooks(ACCOUNT)),
            *(one.name for one in account.lists.values()),
            *(profile["email"] for profile in omneo.profiles(TWIN)),
            *(webhook["namespace"] for webhook in omneo.webhooks(TWIN)),
            *(reward["external_id"] for reward in omneo.rewards(TWIN)),
        ]
        return [str(name) for name in found if mark in str(name)]


def a_twin(world: World) -> Twin:
    """Return a staging twin with a customer, and an account in which somebody bounced, and somebody subscribed by SMS."""
    world.tenant(TWIN)
    omneo = world.sandbox.omneo
    identities = [{"handle": "klaviyo", "identifier": KLAVIYO_ID}]
    omneo.profile(TWIN, id=CUSTOMER, email="canary-customer@example.org", identities=identities)
    world.clock.advance(60)
    omneo.profile(TWIN, email="canary-later@example.org")
    omneo.reward_definition(TWIN, period=30, period_type="days")
    omneo.webhook(TWIN, trigger="profile.updated", url="https://canary.example.org/hook", namespace="other")
    return Twin(world)


def record_what_people_did(twin: Twin) -> None:
    """Let a mail bounce, and a number be subscribed."""
    klaviyo = twin.world.sandbox.klaviyo
    person = klaviyo.profile(ACCOUNT, email="canary-person@example.org", phone_number="+61412345678")
    klaviyo.bounce(ACCOUNT, person.id, hard=True)
    klaviyo.subscribe(ACCOUNT, person.id, channel="sms")
