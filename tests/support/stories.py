"""Stories with times: one customer of a shop, a clock that moves by the second, and two services that report each act at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shared.consent.ledger import ConsentLedger
from shared.consent.rules.decisions import direction_in
from shared.consent_events import Channel, Direction
from shared.tenants.settings import Unset
from tests.support.mortal import Fate, watched_everywhere
from tests.support.syncing import PHONE, SUBSCRIBE, UNSUBSCRIBE, Shop, a_shop
from tests.support.world import ACCOUNT, TENANT, World

IN: dict[str, Direction] = {"SUBSCRIBED": "in"}


class Story:
    """One customer, whom both sides know and who has decided nothing yet.

    Seconds count from the moment when both know her.
    """

    def __init__(self, shop: Shop, channel: Channel = Channel.EMAIL) -> None:
        self.shop, self.channel, self.world = shop, channel, shop.world
        self.id = shop.customer(mobile_phone_e164=PHONE)
        shop.settle()
        shop.forget_calls()
        self.begin()

    def begin(self) -> None:
        """Count the seconds from now."""
        self.began_at = self.world.clock.timestamp()

    @property
    def second(self) -> float:
        """How many seconds have passed."""
        return self.world.clock.timestamp() - self.began_at

    def goes_on(self, until: float, *, told: bool = True) -> None:
        """Let the seconds pass. With `told`, both services report each act at once; without it, Klaviyo does not."""
        while self.second < until:
            self.world.work(1)
            self.shop.omneo.deliver(TENANT)
            if told:
                self.shop.klaviyo.deliver(ACCOUNT)

    def goes_on_until_we_ask(self, path: str = SUBSCRIBE, most: float = 120) -> None:
        """Let the seconds pass until we have called Klaviyo, and count them from there."""
        before, began = len(self.shop.klaviyo_calls(path)), self.second
        while len(self.shop.klaviyo_calls(path)) == before:
            assert self.second < began + most, "nothing was asked"
            self.goes_on(self.second + 1)
        self.begin()

    def lands_after(self, seconds: float) -> None:
        """Let Klaviyo take so long for each later consent job."""
        self.shop.klaviyo.consent.job_seconds = seconds

    def decides_in_omneo(
        self, direction: Direction, *, stamped: bool = True, ahead: float = 0.0, tells: bool = True
    ) -> None:
        """Opt in or out in Omneo, with a stamp or without, or with one that lies ahead."""
        comms: dict[str, Any] = {f"{self.channel}_promo": direction == "in"}
        if direction == "in":
            comms[f"{self.channel}_optout"] = False
        if stamped:
            comms[f"{self.channel}_consent_updated_at"] = self.shop.now(ahead)
        self.shop.omneo.change_profile(TENANT, self.id, comms=comms, tells=tells)

    def subscribes(self, **how: Any) -> None:
        """Sign up on a form of Klaviyo's."""
        self.shop.klaviyo.subscribe(ACCOUNT, self.shop.profile().id, channel=self.channel.value, **how)

    def unsubscribes(self) -> None:
        """Unsubscribe in Klaviyo."""
        self.shop.klaviyo.unsubscribe(ACCOUNT, self.shop.profile().id, channel=self.channel.value)

    def asked(self) -> list[str]:
        """Return our calls to Klaviyo, in order."""
        words = {SUBSCRIBE: "in", UNSUBSCRIBE: "out"}
        return [words[call.path] for call in self.shop.klaviyo_calls() if call.path in words]

    def ends(self) -> tuple[str, str]:
        """Return which way it ends in Klaviyo and in Omneo; the ledger must know, and nothing may be left open or dead."""
        comms = self.shop.omneo.comms(TENANT, self.id)
        omneo = direction_in(comms, self.channel) or "unset"
        assert self.world.dead_jobs() == []
        records = ConsentLedger.of(self.world.services).records_of(self.world.read(), self.id, 1)
        words = {"subscribed": "in", "unsubscribed": "out"}
        assert [words[record.after] for record in records] == [omneo]
        return IN.get(self.shop.consent(self.channel.value), "out"), omneo

    def interactions(self) -> list[str]:
        """Return the names of her interactions, in order of the events."""
        rows = sorted(self.shop.omneo.interactions(TENANT), key=lambda row: (row["interacted_at"], row["id"]))
        return [row["name"] for row in rows]


class _WhenAsked(Fate):
    """A life in which something happens once, right after a call that begins like this was answered."""

    def __init__(self, call: str, happens: Callable[[], object]) -> None:
        super().__init__(-1, kills=False)
        self._call, self._happens = f"after {call}", happens

    def pass_by(self, what: str) -> None:
        if what.startswith(self._call) and not self.struck:
            self.struck = True
            self._happens()


@contextmanager
def meanwhile(world: World, call: str, happens: Callable[[], object]) -> Iterator[None]:
    """Let something happen while we wait for the answer to a call, such as `GET /api/profiles/`; it must be made."""
    fate, services = _WhenAsked(call, happens), world.services
    before = services.__dict__.get("_connections")
    services.__dict__["_connections"] = watched_everywhere(fate)
    yield
    services.__dict__.pop("_connections")
    if before is not None:
        services.__dict__["_connections"] = before
    assert fate.struck


@contextmanager
def a_story(world: World, channel: Channel = Channel.EMAIL, **settings: Any) -> Iterator[Story]:
    """Open a shop with one customer, who is subscribed to nothing."""
    unset = {"email_consent_unset": Unset.LEAVE, "sms_consent_unset": Unset.LEAVE}
    with a_shop(world, **{**unset, **settings}) as shop:
        yield Story(shop, channel)
