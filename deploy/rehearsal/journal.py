"""The things that a rehearsal has made and found so far, in the tenant's store. Each is noted before it is made, so
that the next run removes the leftovers of a dead one. It keeps only names and verdicts. It calls no service.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from shared.errors import BusyError, DocumentMissingError
from shared.services import Services
from shared.storage.documents import Documents, Value
from shared.storage.leases import Lease

COLLECTION = "rehearsals"
HELD = timedelta(minutes=5)  # by a run that shows no sign of life


@dataclass(frozen=True)
class Made:
    """Something that was made, or may have been: its kind, its name, and its owner, "" for nobody."""

    kind: str
    name: str
    owner: str = ""


@dataclass
class Journal:
    """The one rehearsal of a tenant. Every change is stored before it is returned from."""

    documents: Documents
    tenant: str
    made: list[Made] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)  # as text: a store takes no list within a list
    of: str = ""  # the subject of the results: the revision, the account, the profile
    _keeps: bool = True

    @classmethod
    def open(cls, services: Services, tenant: str) -> "Journal":
        """Return the journal as the last run has left it; an empty one if it left nothing."""
        found = services.documents.get(COLLECTION, tenant)
        if found is None:
            services.documents.create(COLLECTION, tenant, {"made": [], "results": {}})
            return cls(services.documents, tenant)
        made = [Made(**cast(dict[str, str], row)) for row in cast(list[Any], found.fields["made"])]
        results, of = cast(dict[str, str], found.fields["results"]), str(found.fields.get("of", ""))
        return cls(services.documents, tenant, made, results, of)

    def begin(self, *, resume: bool, of: str = "", keeps: bool = True) -> None:
        """Begin a run.

        With `resume`, keep the results of the last run, if it was `of` the same. A run that does not `keep` cannot be
        resumed.
        """
        self._keeps = keeps
        if not resume or of != self.of:
            self.results = {}
        self.of = of
        self._write(results=self.results, of=of)

    def note(self, made: Made) -> None:
        """Note a thing before it is made."""
        if made not in self.made:
            self.made.append(made)
            self._write(made=self._rows())

    def forget(self, made: Made) -> None:
        """Note that it is gone; where the tenant was deleted meanwhile, and the journal with it, nothing is left to note."""
        self.made.remove(made)
        with suppress(DocumentMissingError):
            self._write(made=self._rows())

    def keep(self, name: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a check."""
        if self._keeps:
            self.results[name] = json.dumps(result)
            self._write(results=self.results)

    def result(self, name: str) -> Any:
        """Return the kept result of a check, None if there is none."""
        return json.loads(self.results[name]) if name in self.results else None

    def finish(self) -> None:
        """End a run: its results are reported, and the things that it could not remove stay noted."""
        if self.made:
            self._write(results={})
        else:
            self.documents.delete(COLLECTION, self.tenant)

    def _rows(self) -> Value:
        return [{"kind": row.kind, "name": row.name, "owner": row.owner} for row in self.made]

    def _write(self, **fields: Any) -> None:
        self.documents.update(COLLECTION, self.tenant, fields)


class Turn:
    """The right to rehearse: one run at a time for a tenant, by a lease that has to be kept up."""

    def __init__(self, services: Services, tenant: str) -> None:
        self._leases, self._clock = services.leases, services.clock
        lease = self._leases.acquire(f"rehearsal of {tenant}", lasting=HELD)
        if lease is None:
            raise BusyError(
                "A rehearsal of this tenant is under way, or was killed less than five minutes ago. Wait, and try again."
            )
        self._lease: Lease = lease
        self._kept_at: datetime = self._clock()

    def keep(self) -> None:
        """Show a sign of life."""
        if self._clock() - self._kept_at >= HELD / 10:
            self._leases.renew(self._lease, lasting=HELD)
            self._kept_at = self._clock()

    def end(self) -> None:
        """Let the next run begin."""
        self._leases.release(self._lease)


def left_of(services: Services, tenant: str) -> int:
    """Return of how many things that it made no rehearsal of the tenant knows that they are gone."""
    found = services.documents.get(COLLECTION, tenant)
    return 0 if found is None else len(cast(list[Any], found.fields["made"]))


def forget(services: Services, tenant: str) -> None:
    """Forget the rehearsal of a tenant that is deleted."""
    services.documents.delete(COLLECTION, tenant)
