"""A tenant with a shopper and a reward definition, a Flow's body, and the services of a process that lives only so long."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from shared.http.connections import Connections
from shared.rewards.making import Result
from shared.rewards.rewards import issue_reward
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.documents import Documents
from tests.support.mortal import Fate, WatchedDocuments, watched_connections
from tests.support.wire import Direct
from tests.support.world import EMAIL, TENANT, Clock, World

PERSON = "01HCANARYPERSON"
PROFILE = "5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11"
DEFINITION = 6
MELBOURNE = "Australia/Melbourne"
FLOW = "canary-flow"


@dataclass
class Shop:
    """A tenant in Omneo and in our store, and its rewards. `documents` is where claims are kept, if not beside the tenant."""

    world: World
    documents: Documents | None = None
    tenant: str = TENANT

    def open(self, **settings: Any) -> "Shop":
        """Make the tenant, a profile known by both its Klaviyo id and its email, and a definition of thirty days."""
        omneo = self.world.sandbox.omneo
        self.world.tenant(self.tenant, installed=False)
        self.set(timezone=MELBOURNE, **settings)
        identity = {"handle": "klaviyo", "identifier": PERSON}
        omneo.profile(self.tenant, id=PROFILE, email=EMAIL, identities=[identity])
        omneo.reward_definition(self.tenant, id=DEFINITION, handle="birthday", period=30, period_type="days")
        return self

    def another_person(self) -> dict[str, Any]:
        """Return the fields of a call about somebody else, who has another profile."""
        john = {"person_id": "01HCANARYJOHN", "email": "canary-john@example.org"}
        identity = {"handle": "klaviyo", "identifier": john["person_id"]}
        self.world.sandbox.omneo.profile(self.tenant, id="other", email=john["email"], identities=[identity])
        return john

    def set(self, **settings: Any) -> None:
        """Change the tenant's settings."""
        services = self.world.services
        services.tenants.change(
            self.tenant, lambda t: t.model_copy(update={"settings": t.settings.model_copy(update=settings)})
        )

    def call(self, body: dict[str, Any], *, services: Services | None = None, flow: str = FLOW) -> Result:
        """Call as the function does."""
        services = services or self.world.services
        return issue_reward(self.world.read(self.tenant), body, flow=flow, services=services)

    def rewards(self) -> list[dict[str, Any]]:
        """Return the rewards in Omneo, with the external ids that it does not show."""
        return self.world.sandbox.omneo.rewards(self.tenant)

    def asked(self, line: str) -> int:
        """Return how often Omneo got this call, a method and the path below the version."""
        method, path = line.split(" ")
        calls = self.world.sandbox.omneo.calls.all()
        return sum((call.method, call.path) == (method, f"/{self.tenant}/api/v3{path}") for call in calls)

    def lives(self, fate: Fate) -> Services:
        """Return the services of a process with this fate."""
        services = self.another_process()
        services.__dict__["_connections"] = watched_connections(fate)
        if fate.kills:
            services.__dict__["documents"] = WatchedDocuments(services.documents, fate)
        return services

    def another_process(self) -> Services:
        """Return services that have nothing in memory yet."""
        settings = Settings.from_env(self.world.environment, Needs.STORE)
        clock = self.world.clock
        services = Services(settings, clock=clock, random=self.world.services.random, sleep=clock.sleep)
        if self.documents is not None:
            services.__dict__["documents"] = self.documents
        return services


def a_body(*, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a body; a value that is `...` is left out."""
    inner = {"reward_definition_id": DEFINITION, "amount": 10, **(data or {})}
    whole = {"person_id": PERSON, "email": EMAIL, "data": inner, **changes}
    whole["data"] = {name: value for name, value in inner.items() if value is not ...}
    return {name: value for name, value in whole.items() if value is not ...}


class Sluggish(Direct):
    """A wire on which every call that `is_slow` takes so many seconds of the test's clock, or ends when its time-out does.

    A call that ends so has reached the service all the same.
    """

    def __init__(self, clock: Clock, seconds: float, is_slow: Callable[[str], bool]) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds
        self._is_slow = is_slow

    def send(self, request: requests.PreparedRequest, *args: Any, **named: Any) -> requests.Response:
        answer = super().send(request, *args, **named)
        if not self._is_slow(f"{request.method} {request.path_url}"):
            return answer
        _, patience = named["timeout"]
        self._clock.advance(min(self._seconds, patience))
        if self._seconds >= patience:
            answer.close()
            raise requests.ReadTimeout
        return answer


def sluggish(
    services: Services, clock: Clock, seconds: float, is_slow: Callable[[str], bool] = lambda line: True
) -> Services:
    """Return the services with such a wire, for this thread."""
    connections = Connections()
    connections.session().mount("http://", Sluggish(clock, seconds, is_slow))
    services.__dict__["_connections"] = connections
    return services
