"""A run over a whole base in the world: begun as an operator begins it, done by the queue and the worker, on the world's clock."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from shared.resync.orders import Order, begin, change_state, find
from shared.resync.rules.run import Kind, State
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from tests.support.syncing import Shop, a_shop
from tests.support.world import ACCOUNT, TENANT, World

IMPORTS = "/api/profile-bulk-import-jobs"
PROFILES = "/api/profiles"
DAY = 86_400.0


class Whole(Shop):
    """A shop whose whole base is sent."""

    def begin(self, kind: Kind = Kind.RESYNC, **order: Any) -> Run:
        """Begin a run."""
        return begin(self.world.read(), kind, Order(**order), self.world.services)

    def run(self, kind: Kind = Kind.RESYNC, **order: Any) -> Run:
        """Begin a run, and let it come to its end."""
        return self.end(self.begin(kind, **order))

    def end(self, run: Run, most: int = 100) -> Run:
        """Let time pass until the run is no longer under way."""
        for _ in range(most):
            if (now := self.now_of(run)).state is not State.RUNNING:
                return now
            self.world.work(10)
        raise AssertionError("the run never ends")

    def now_of(self, run: Run) -> Run:
        """Return the run as it is now."""
        return find(self.world.read(), run.id, self.world.services)

    def order(self, run: Run, to: State) -> Run:
        """Pause it, let it go on, or cancel it."""
        return change_state(self.world.read(), run.id, to, self.world.services)

    def told(self, run: Run) -> dict[str, list[str]]:
        """Return the report of each profile."""
        told: dict[str, list[str]] = {}
        for row in Resyncs.of(self.world.services).rows(TENANT, run.id):
            told.setdefault(row["profile"], []).append(row["what"])
        return told

    def base(self, count: int, **fields: Any) -> list[str]:
        """Make that many customers in Omneo, an hour ago, without webhooks; `{n}` in a field is the number."""
        ids = [
            self.customer(tells=False, **{"email": f"canary-{n}@example.org", **_numbered(fields, n)})
            for n in range(count)
        ]
        self.hush()
        self.world.clock.advance(3600)
        return ids

    def hush(self) -> None:
        """Let Omneo never report the acts so far."""
        self.omneo._tenants[TENANT].happened.clear()

    def change_quietly(self, id: str, **fields: Any) -> None:
        """Change the customer in Omneo, which never tells of it."""
        self.omneo.change_profile(TENANT, id, tells=False, **fields)
        self.hush()

    def of(self, omneo_id: str) -> Any:
        """Return the Klaviyo profile of an Omneo profile."""
        (found,) = [
            one for one in self.klaviyo.profiles(ACCOUNT) if one.attributes.get("external_id") == omneo_id
        ]
        return found

    def consent_of(self, omneo_id: str, channel: str = "email") -> str:
        """Return a consent of the Klaviyo profile of an Omneo profile."""
        return str(self.of(omneo_id).subscriptions.consents[channel].status)

    def writes(self) -> list[str]:
        """Return every call on either side that could have changed something."""
        calls = [*self.klaviyo_calls(), *self.omneo_calls()]
        return [f"{call.method} {call.path}" for call in calls if call.method != "GET"]


@contextmanager
def a_base(world: World, **settings: Any) -> Iterator[Whole]:
    """Open a shop with nobody in it yet."""
    with a_shop(world, **settings) as shop:
        yield Whole(shop.world)


def _numbered(fields: Mapping[str, Any], n: int) -> dict[str, Any]:
    return {name: value.format(n=n) if isinstance(value, str) else value for name, value in fields.items()}


def opt_in(shop: Shop, *channels: str, days: float = 1) -> dict[str, object]:
    """Return the consents of a person who opted in some days ago, by default to email."""
    at = shop.now(-days * DAY)
    named = channels or ("email",)
    return {
        **{f"{channel}_promo": True for channel in named},
        **{f"{channel}_consent_updated_at": at for channel in named},
    }


def opt_out(shop: Shop, *channels: str, days: float = 1) -> dict[str, object]:
    """Return the consents of a person who opted out some days ago."""
    given = opt_in(shop, *channels, days=days)
    return {name: False if value is True else value for name, value in given.items()}


def listed(shop: Whole, world: World) -> None:
    """Give the shop a master list."""
    shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
    world.services.tenants.change(
        TENANT,
        lambda known: known.model_copy(
            update={"settings": known.settings.model_copy(update={"master_list_id": "LIST1"})}
        ),
    )


def on_each_page(world: World, happens: Callable[[int], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen after each page of Omneo's list; it is given the page's number among all."""
    services, turns = world.services, count()
    real = services.omneo

    class Watched:
        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        def profiles_page(self, number: int, **named: Any) -> Any:
            page = self._client.profiles_page(number, **named)
            happens(next(turns))
            return page

    monkeypatch.setattr(type(services), "omneo", lambda self, tenant: Watched(real(tenant)))
