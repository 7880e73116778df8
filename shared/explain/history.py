"""What the extension has stored about a profile: its jobs, its rewards and its consent records. Nothing is asked of Omneo or
Klaviyo here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.consent.inbox import Inbox
from shared.consent.ledger import ConsentLedger, ConsentRecord
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.rules.persons import hashed_name
from shared.jobs.rules.wanted import Wanted
from shared.profiles.calls import deletion_id, sync_id
from shared.receipts import Receipts
from shared.rewards.claims import RewardClaims
from shared.services import Services
from shared.tenants.tenants import Tenant

LEDGER_RECORDS = 20
EVENTS_SHOWN = 20

Row = dict[str, Any]


@dataclass(frozen=True)
class History:
    """The stored history of a profile. `klaviyo_id` and `email` are "" if they are unknown."""

    tenant: Tenant
    omneo_id: str
    klaviyo_id: str
    email: str
    services: Services

    def told(self) -> Row:
        """Return it as JSON values."""
        return {
            "open_jobs": [*self._open_jobs()],
            "events": [*self._events()],
            "rewards": [*self._rewards()],
            "ledger": self._ledger(),
        }

    def _open_jobs(self) -> Iterator[Row]:
        """Yield the open jobs of the profile that the store knows; the queue cannot be searched."""
        name = self.tenant.name
        for id in (sync_id(name, self.omneo_id), deletion_id(name, self.omneo_id)):
            if dead := DeadJobStore.of(self.services).find(name, id):
                yield {
                    "kind": dead.kind,
                    "state": "dead",
                    "at": dead.died_at.isoformat(),
                    "why": dead.reason,
                }
        for entry in Inbox.of(self.services).open_of(name, self.klaviyo_id) if self.klaviyo_id else ():
            yield {
                "kind": "flush-inbox",
                "state": "waiting",
                "at": entry.received_at.isoformat(),
                "why": f"Klaviyo has reported {entry.topic}.",
            }

    def _events(self) -> Iterator[Row]:
        """Yield the known jobs of the person: dead jobs, waiting jobs, and done jobs if receipts are on."""
        persons = {"omneo_id": self.omneo_id, "email": self.email, "klaviyo_id": self.klaviyo_id}
        yield from self._dead_jobs(filter(None, persons.values()))
        for receipt in Receipts.of(self.services).of_person(self.tenant, persons)[:EVENTS_SHOWN]:
            yield {
                "id": receipt.id,
                "kind": receipt.kind,
                "metric": receipt.metric,
                "state": receipt.state.value,
                "at": receipt.at.isoformat(),
                "why": receipt.why or receipt.answered,
            }

    def _dead_jobs(self, names: Iterable[str]) -> Iterator[Row]:
        """Yield the person's jobs on the desk, the newest first."""
        if self.tenant.ledger_key is None:
            return
        key, now = self.tenant.ledger_key.get_secret_value(), self.services.clock()
        desk = DeadJobStore.of(self.services)
        found: dict[str, DeadJob] = {}
        for name in names:
            wanted = Wanted(profile=hashed_name(key, name))
            rows, _ = desk.scan(self.tenant.name, wanted, now=now, most=EVENTS_SHOWN)
            found |= {row.id: row for row in rows}
        for dead in sorted(found.values(), key=lambda row: row.died_at, reverse=True):
            yield {
                "id": dead.id,
                "kind": dead.kind,
                "metric": dead.metric,
                "state": dead.state.value,
                "at": dead.died_at.isoformat(),
                "why": dead.reason,
            }

    def _rewards(self) -> Iterator[Row]:
        """Yield the newest rewards that Flows have issued to the profile."""
        rewards = RewardClaims.of(self.services).issued_to(self.tenant.name, self.omneo_id)
        for at, issued in rewards[:EVENTS_SHOWN]:
            yield {"reward_id": issued.reward_id, "at": at.isoformat()}

    def _ledger(self) -> list[Row]:
        if self.tenant.ledger_key is None:
            return []
        records = ConsentLedger.of(self.services).records_of(self.tenant, self.omneo_id, LEDGER_RECORDS)
        return [_recorded(record) for record in records]


def _recorded(record: ConsentRecord) -> Row:
    return {
        "at": record.at.isoformat(),
        "channel": record.channel,
        "before": record.before,
        "after": record.after,
        "source": record.source,
    }
