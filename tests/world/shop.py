"""The other traffic of a shop: flows give rewards, reactions send events and records.

Each request is noted with its answer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.omneo.delivery import SIGNATURE, sign
from tests.world.oracle import Person
from tests.world.plans import Act
from tests.world.world import SIGNING_SECRET, TENANT, WEBHOOK_SECRET, SimulatedWorld

DEFINITION = 6
_FLOW_WAITS = (60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0, 3600.0)
_REPEATED = (0, 429, 500, 502, 503)


@dataclass
class Asked:
    """A request to us: a reward, an event or a record, by a key of the caller; `taken` once we have accepted it."""

    what: str
    key: str
    person: Person
    number: int
    taken: bool = False
    statuses: list[int] = field(default_factory=list)
    taken_at: float = 0.0
    asked_at: float = 0.0

    def is_in_order(self, calls: "list[Asked]", apart: float) -> bool:
        """Return whether we said of every earlier call that we have it before this one was made, by more than clocks are `apart`."""
        return all(one.taken_at + apart <= self.asked_at for one in calls if one is not self)


def happens(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let a flow or a reaction call us, once for each telling; of records several may come, a second apart."""
    if world.omneo_profile(person) is None or person.is_excluded:
        return False
    what = act.what.partition(".")[2]
    if what == "record":
        object, count = (*act.how, 1)[:2]
        for number in range(count):
            one = Asked(what, f"object {object}", person, len(world.asked) + 1)
            _ask(world, one, [act.told[0] + number])
    else:
        number = len(world.asked) + 1
        _ask(world, Asked(what, f"{what} {number}", person, number), act.told)
    return True


def _ask(world: SimulatedWorld, asked: Asked, told: Sequence[float]) -> None:
    world.asked.append(asked)
    asked.asked_at = world.timeline.now + told[0]
    world.note(f"{asked.person.name}: {asked.key}, as number {asked.number}, {len(told)} calls")
    for seconds in told:
        world.timeline.after(seconds, lambda: _call(world, asked, 0))


def _call(world: SimulatedWorld, asked: Asked, tries: int) -> None:
    function, path, body = _request(world, asked)
    text = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", SIGNATURE: sign(SIGNING_SECRET, text)}
    if asked.what == "reward":
        headers = {
            "Content-Type": "application/json",
            "x-omneo-secret": WEBHOOK_SECRET,
            "X-Klaviyo-Flow-ID": "canary-flow",
        }

    def settle(status: int) -> None:
        asked.statuses.append(status)
        if 200 <= status < 300:
            asked.taken, asked.taken_at = True, world.timeline.now
        world.news()
        if status in _REPEATED and tries < len(_FLOW_WAITS):
            world.timeline.after(_FLOW_WAITS[tries], lambda: _call(world, asked, tries + 1))

    world.knock(function, path, headers, text, settle)


def _request(world: SimulatedWorld, asked: Asked) -> tuple[str, str, dict[str, Any]]:
    base, person = f"/{TENANT}/api/v1", asked.person
    if asked.what == "reward":
        data = {"reward_definition_id": DEFINITION, "amount": 10, "timezone": "Australia/Melbourne"}
        profile = world.klaviyo_profile(person)
        body = {
            "person_id": profile.id if profile else "",
            "email": person.email,
            "id": asked.key,
            "data": data,
        }
        return "rewards_webhook", f"{base}/webhooks/klaviyo/rewards", body
    if asked.what == "record":
        record = {"object": asked.key, "n": asked.number, "email": person.email, "omneo_record_id": asked.key}
        return (
            "targets",
            f"{base}/targets/klaviyo/data-source-record",
            {"data_source": "Omneo Rewards", "record": record},
        )
    body = {
        "profile": {"id": person.omneo, "email": person.email if asked.what == "event" else ""},
        "reward": {"amount": asked.number},
        "unique_id": asked.key,
    }
    return "targets", f"{base}/targets/klaviyo/metric?metric=canary-{asked.number}", body
