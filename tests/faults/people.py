"""The acts of people, tills and Flows during a run, each in its own thread, and the journal of their answers."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from deploy.local.sandbox.omneo.profiles import stamp
from tests.faults.shop import DEFINITION, Shop, Tenant

OBJECTS = 4
IN, OUT = "in", "out"
METRIC = "Points Earned"


@dataclass
class Journal:
    """The acts of a tenant's callers, and the answers to them.

    `consents` holds each person's last decision; `records` the last record of each object.
    """

    events: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    rewards: dict[tuple[str, str], int] = field(default_factory=dict)
    unanswered_rewards: set[tuple[str, str]] = field(default_factory=set)
    records: dict[str, int] = field(default_factory=dict)
    maybe_records: dict[str, int] = field(default_factory=dict)
    consents: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How much was done in all."""
        return len(self.events) + len(self.rewards) + sum(self.records.values()) + len(self.consents)


class Callers:
    """Everybody who calls for one tenant, from `start` until `over` is set."""

    def __init__(
        self, shop: Shop, tenant: Tenant, seed: int, over: threading.Event, pause: float, *, quick: bool
    ) -> None:
        self.journal = Journal()
        self._shop = shop
        self._tenant = tenant
        self._over = over
        self._pause = pause
        # Each person is one thread's, so that their last act is known.
        halves = [tenant.people[start::2] for start in range(0 if quick else 2)]
        consents = [partial(self._consent, half) for half in halves]
        self._threads = [
            threading.Thread(target=self._act, args=(act, random.Random(f"{seed} {tenant.name} {number}")))
            for number, act in enumerate((self._event, self._event, self._reward, self._record, *consents))
        ]

    def start(self) -> None:
        """Begin to call."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Return when the last call is answered."""
        for thread in self._threads:
            thread.join()

    def _act(self, act: Any, chance: random.Random) -> None:
        number = 0
        while not self._over.wait(self._pause * 2 * chance.random()):
            number += 1
            act(number, chance)

    def _event(self, number: int, chance: random.Random) -> None:
        omneo_id, _ = chance.choice(self._tenant.people)
        unique = f"{threading.get_ident()}-{number}"
        email = self._email(omneo_id)
        body = {"profile": {"email": email}, "unique_id": unique, "points": number}
        status, _answer = self._call(f"/targets/klaviyo/metric?metric={quote(METRIC)}", body, chance)
        if status == 202:
            self.journal.events.add(unique)
        elif status:
            self.journal.refused[f"event {status}"] += 1

    def _reward(self, number: int, chance: random.Random) -> None:
        omneo_id, _ = chance.choice(self._tenant.people)
        id = f"gift-{chance.randrange(40)}-{omneo_id[:8]}"
        data = {"reward_definition_id": DEFINITION, "amount": "5"}
        body = {"id": id, "person_id": "", "email": self._email(omneo_id), "data": data}
        status, answer = self._call("/webhooks/klaviyo/rewards", body, chance)
        if status == 200:
            self.journal.rewards.setdefault((omneo_id, id), int(answer["reward_id"]))
        elif status in {0, 429, 500, 503}:
            self.journal.unanswered_rewards.add((omneo_id, id))
        else:
            self.journal.refused[f"reward {status}"] += 1

    def _record(self, number: int, chance: random.Random) -> None:
        name = f"object-{number % OBJECTS}"
        n = self.journal.maybe_records.get(name, 0) + 1
        self.journal.maybe_records[name] = n
        body = {"data_source": "rewards", "record": {"id": name, "n": n}}
        status, _ = self._call("/targets/klaviyo/data-source-record", body, chance)
        if status == 202:
            self.journal.records[name] = n
        elif status:
            self.journal.refused[f"record {status}"] += 1

    def _consent(self, people: list[tuple[str, str]], number: int, chance: random.Random) -> None:
        """Let one of these people decide, on one side or the other."""
        omneo_id, klaviyo_id = chance.choice(people)
        way = chance.choice((IN, OUT))
        if chance.random() < 0.5:
            decide = (
                self._shop.sandbox.klaviyo.subscribe if way == IN else self._shop.sandbox.klaviyo.unsubscribe
            )
            decide(self._tenant.name, klaviyo_id)
        else:
            self._decide_in_omneo(omneo_id, way)
        self.journal.consents[omneo_id] = way
        self._over.wait(2.0)  # stamps count seconds: a person with two decisions in one second has opted out

    def _decide_in_omneo(self, omneo_id: str, way: str) -> None:
        omneo, name = self._shop.sandbox.omneo, self._tenant.name
        now = stamp(self._shop.sandbox.clock())
        comms = {"email_promo": way == IN, "email_optout": way == OUT, "email_consent_updated_at": now}
        omneo.change_profile(name, omneo_id, tells=False, comms=comms)
        while any((told.status or 0) // 100 != 2 for told in omneo.deliver(name)) and not self._over.wait(
            0.5
        ):
            omneo.change_profile(name, omneo_id, tells=False)

    def _email(self, omneo_id: str) -> str:
        number = next(n for n, (id, _) in enumerate(self._tenant.people) if id == omneo_id)
        return f"canary-{number}@{self._tenant.name}.example.org"

    def _call(self, path: str, body: dict[str, Any], chance: random.Random) -> tuple[int, dict[str, Any]]:
        return self._shop.post_until_answered(self._tenant.name, path, body, over=self._over, chance=chance)
