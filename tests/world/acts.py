"""Every act by its name.

An act that is impossible at its moment (there is no such profile, or nothing to confirm) does not count.
"""

from collections.abc import Callable, Mapping
from functools import partial

from tests.world import consent_acts, merchant, operators, people, shop
from tests.world.oracle import Person
from tests.world.plans import Act
from tests.world.timeline import START
from tests.world.world import SimulatedWorld


def scheduled(world: SimulatedWorld, acts: tuple[Act, ...]) -> None:
    """Have the acts done when they are due."""
    for act in acts:
        world.timeline.at(START + act.at, partial(do, world, act))


def do(world: SimulatedWorld, act: Act) -> None:
    """Do an act now."""
    person = world.persons[act.who % len(world.persons)]
    if _doer(act.what)(world, person, act):
        world.fired[f"act {act.what}"] += 1
        world.news()


def _doer(what: str) -> Callable[[SimulatedWorld, Person, Act], bool]:
    return _SINGLE.get(what) or _FAMILIES[what.partition(".")[0]]


_SINGLE: Mapping[str, Callable[[SimulatedWorld, Person, Act], bool]] = {
    "p.create": lambda world, person, act: people.enters(world, act),
    "p.restore": people.rises,
    "k.stranger": people.stranger,
    "k.merge": merchant.merges,
    "k.delete": merchant.deletes,
    "k.unsuppress": merchant.unsuppresses,
}
_FAMILIES: Mapping[str, Callable[[SimulatedWorld, Person, Act], bool]] = {
    "k": consent_acts.in_klaviyo,
    "o": consent_acts.in_omneo,
    "p": people.changes,
    "s": shop.happens,
    "op": operators.acts,
}
