"""Any history of consent, delivered in any order, in any parts, any number of times: the same Omneo profiles at the end.

Through the real handlers, on SQLite and the sandbox's Omneo and Klaviyo.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.consent.inbox import Inbox
from shared.consent.memories import ConsentMemories
from shared.consent.rules.decisions import TOPICS, canonical
from shared.consent.rules.whose import Verdict, verdicts
from shared.consent_events import Channel, Direction, SystemEvent
from shared.errors import WaitError
from shared.jobs.jobs import CompareConsent, KeepMasterList
from tests.support.consenting import IDENTITY, Inflow, Person, Retailer, an_installed_tenant, remember_a_call
from tests.support.mortal import Fate
from tests.support.world import ACCOUNT, TENANT, World

SECONDS = 6
KLAVIYO_PROFILES = 3  # the first two are one Omneo profile's
OLDER = (
    3600.0  # seconds; what Klaviyo holds is of none of the events, or it would show whose some of them are
)


@dataclass(frozen=True)
class Told:
    """An event of a history: whose it is by number, what it is, and its second."""

    profile: int
    topic: str
    second: int
    bounce: Any = ""
    method: Any = ""


@dataclass(frozen=True)
class Before:
    """What is so before the history: consent in Omneo, calls of ours, and what Klaviyo says of each profile."""

    comms: dict[str, Any]
    stamps: dict[Channel, int | None]
    calls: frozenset[tuple[int, Channel, Direction, int]]
    klaviyo: tuple[tuple[bool, bool], ...]


# Nobody does in the sandbox's Klaviyo what these histories tell. So nothing that asks Klaviyo what is so can come to the same each time:
# no event that needs it, and no look. The simulated world has both, and people who act.
TELLING = sorted(TOPICS - {"dropped_email", "updated_email_preferences", "unsubscribed_from_list"})
UNDONE = (KeepMasterList, CompareConsent)
events = st.builds(
    Told,
    profile=st.integers(0, KLAVIYO_PROFILES - 1),
    topic=st.sampled_from(TELLING),
    second=st.integers(0, SECONDS),
    bounce=st.sampled_from(["", "hard", "soft"]),
    method=st.sampled_from(["", "", "", "omneo", "other"]),
)
flags = st.dictionaries(
    st.sampled_from(["email_promo", "email_optout", "email_bounced", "sms_promo", "sms_bounced"]),
    st.booleans(),
)
befores = st.builds(
    Before,
    comms=flags,
    stamps=st.fixed_dictionaries({channel: st.none() | st.integers(0, SECONDS) for channel in Channel}),
    calls=st.frozensets(
        st.tuples(
            st.integers(0, KLAVIYO_PROFILES - 1),
            st.sampled_from(list(Channel)),
            st.sampled_from(["in", "out"]),
            st.integers(-1, SECONDS),
        ),
        max_size=2,
    ),
    klaviyo=st.tuples(*[st.tuples(st.booleans(), st.booleans())] * KLAVIYO_PROFILES),
)
histories = st.lists(events, min_size=1, max_size=7)
few = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # to shrink takes minutes; what failed is printed whole
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def shop(world: World) -> Retailer:
    """Return a tenant whose events are handed in without a door."""
    an_installed_tenant(world)
    return Retailer(world)


class Run:
    """One history, told to people of its own."""

    def __init__(self, shop: Retailer, before: Before, history: Sequence[Told]) -> None:
        self.shop = shop
        self.start = shop.world.clock()
        self.people = self._people(before)
        self._call(before)
        shop.world.clock.now = self.start + timedelta(minutes=5)
        self.events = [self._event(number, told) for number, told in enumerate(history)]

    def _people(self, before: Before) -> list[Person]:
        shop = self.shop
        stamps = {
            f"{channel}_consent_updated_at": f"{self.start + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}"
            for channel, second in before.stamps.items()
            if second is not None
        }
        ids = []
        for subscribed, bounced in before.klaviyo:
            number = next(shop.numbers)
            id = shop.klaviyo.profile(ACCOUNT, email=f"canary-{number}@example.org").id
            if subscribed:
                shop.klaviyo.subscribe(ACCOUNT, id, at=self.start.timestamp() - OLDER)
            if bounced:
                shop.klaviyo.bounce(ACCOUNT, id, hard=True)
            ids.append(id)
        of_two, of_one = (
            shop.omneo.profile(
                TENANT,
                identities=[{"handle": IDENTITY, "identifier": id} for id in part],
                attributes={"comms": before.comms | stamps},
            )["id"]
            for part in (ids[:2], ids[2:])
        )
        return [Person(ids[0], of_two), Person(ids[1], of_two), Person(ids[2], of_one)]

    def _call(self, before: Before) -> None:
        for profile, channel, direction, second in sorted(before.calls, key=lambda call: call[3]):
            self.shop.world.clock.now = self.start + timedelta(seconds=second)
            remember_a_call(self.shop, self.people[profile], direction, channel)

    def _event(self, number: int, told: Told) -> SystemEvent:
        profile = self.people[told.profile].klaviyo
        return SystemEvent(
            id=f"{profile} {number}",
            topic=told.topic,
            profile=profile,
            at=self.start + timedelta(seconds=told.second),
            bounce=told.bounce,
            method=told.method,
        )

    def result(self) -> tuple[list[dict[str, Any]], Counter[tuple[int, str, int, int]]]:
        """Return the consent of both Omneo profiles, times from the start, and their interactions."""
        comms = []
        for person in self.people[1:]:
            held = self.shop.comms(person)
            comms.append({name: self._second(value) for name, value in held.items()})
        numbers = {person.omneo: number for number, person in enumerate(self.people)}
        made = Counter(
            (numbers[row["profile_id"]], row["name"], row["signal"], self._second(row["interacted_at"]))
            for row in self.shop.omneo.interactions(TENANT)
            if row["profile_id"] in numbers
        )
        return comms, made

    def _second(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        moment = datetime.fromisoformat(f"{value}+00:00")
        return int((moment - self.start.replace(microsecond=0)).total_seconds())

    def open(self) -> int:
        """Return how many of its events wait."""
        inbox = Inbox.of(self.shop.world.services)
        return sum(len(inbox.open_of(TENANT, person.klaviyo)) for person in self.people)

    def together(self) -> "Run":
        """Tell everything in one delivery."""
        inflow = Inflow.of(self.shop.world)
        inflow.spread(*self.events)
        inflow.work(but=UNDONE)
        return self


@few
@given(before=befores, history=histories, data=st.data())
def test_order_parts_and_repetition_make_no_difference(
    shop: Retailer, before: Before, history: list[Told], data: st.DataObject
) -> None:
    wanted = Run(shop, before, history).together().result()
    run, inflow = Run(shop, before, history), Inflow.of(shop.world)
    again = data.draw(st.lists(st.integers(0, len(history) - 1), max_size=3))
    order = data.draw(st.permutations([*range(len(history)), *again]))
    size = data.draw(st.integers(1, len(order)))
    works = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    for first in range(0, len(order), size):
        inflow.spread(*(run.events[number] for number in order[first : first + size]))
        if works[first]:
            inflow.work(but=UNDONE)
        shop.world.clock.advance(11)
    inflow.work(but=UNDONE)
    assert run.open() == 0
    assert run.result() == wanted


class _Interrupted(Fate):
    """A life in which somebody else does something at some of its moments."""

    def __init__(self, happens: Callable[[], None], moments: set[int]) -> None:
        super().__init__(-1, kills=False)
        self._happens, self._moments, self._inside = happens, moments, False

    def pass_by(self, what: str) -> None:
        if self._inside:
            return
        self.moment += 1
        if self.moment in self._moments:
            self._inside = True
            self._happens()
            self._inside = False


@few
@given(before=befores, history=histories, data=st.data())
def test_deliveries_that_overlap_a_running_flush_make_no_difference(
    shop: Retailer, before: Before, history: list[Told], data: st.DataObject
) -> None:
    wanted = Run(shop, before, history).together().result()
    order = data.draw(st.permutations(range(len(history))))
    moments = data.draw(st.sets(st.integers(0, 40), max_size=6))
    run, other = Run(shop, before, history), Inflow.of(shop.world)
    waiting = [run.events[number] for number in order]

    def meanwhile() -> None:
        if waiting:
            other.spread(waiting.pop())
        shop.world.clock.advance(13)  # a flush never runs before its window is over
        _work(other)
        shop.world.clock.advance(11)  # its window is over, as the list does not wait for that

    inflow = Inflow.of(shop.world, _Interrupted(meanwhile, moments))
    while waiting:
        inflow.spread(waiting.pop())
        _work(inflow)
        shop.world.clock.advance(11)
    for _ in range(20):
        _work(other)
        _work(inflow)
    assert run.open() == 0
    assert run.result() == wanted


def _work(inflow: Inflow) -> None:
    """Do every job that waits and is to be done; one that meets another waits on."""
    for job in [job for job in inflow.queue.jobs if not isinstance(job, UNDONE)]:
        inflow.queue.jobs.remove(job)
        try:
            inflow.run(job)
        except WaitError:
            inflow.queue.jobs.append(job)


@few
@given(before=befores, history=histories)
def test_every_event_is_told_once_or_dropped_for_a_reason(
    shop: Retailer, before: Before, history: list[Told]
) -> None:
    run = Run(shop, before, history).together()
    _, made = run.result()
    store = ConsentMemories.of(shop.world.services)
    whose: dict[tuple[str, str], Verdict] = {}
    for omneo in {person.omneo for person in run.people}:
        for memory in store.find(TENANT, omneo).values():
            whose |= verdicts(memory)
    told = Counter(
        canonical(event.topic)
        for event in run.events
        if whose.get((event.id, event.topic), Verdict.PERSON) is Verdict.PERSON
    )
    names: Counter[str] = Counter()
    for (_, name, _, _), times in made.items():
        names[name] += times
    assert names == told
