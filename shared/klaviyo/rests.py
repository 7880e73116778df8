"""The rests of Klaviyo's endpoints, each for one tenant: after the first refusal, no instance calls the endpoint until the rest ends.

Each endpoint has one document. A refused caller writes it only if it holds no later time: of a hundred refusals at once one writes, and no
caller waits for another. Before a call, the caller looks into a memory that is a second old at most. A rest only saves calls: when the store
cannot answer, the memory counts, and the call is made.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.klaviyo.limits import Endpoint, Limit
from shared.klaviyo.rules.line import Line
from shared.storage.documents import Document, Documents, Value, delete_all

KNOWN_FOR = timedelta(seconds=1)
LONGEST = 3600.0  # seconds; the longest wait that a service can ask of a job
LONGEST_UNASKED = 60.0  # seconds
# The rests of refusals at the same moment end within so much of each other, because Klaviyo asks for whole seconds.
_AS_LATE = timedelta(seconds=1)
_SECOND = timedelta(seconds=1)
_REMEMBERED = timedelta(minutes=2)  # after a rest's end: within this time, the next rest is longer
_TENANTS = 1000
_LINES = 10_000
_TRIES = 3


@dataclass(frozen=True)
class _Rest:
    until: datetime
    seconds: float  # its length in seconds


class Rests:
    """Stores and reads rests. Safe for threads."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[datetime, Mapping[str, _Rest]]] = {}
        self._lines: dict[tuple[str, str], Line] = {}
        self._limits: dict[tuple[str, Endpoint], Limit] = {}
        self._full: dict[tuple[str, str], datetime] = {}

    def until(self, tenant: str, thing: str) -> datetime | None:
        """Return the end of the rest of an endpoint, or of another name; None if it does not rest."""
        now = self._clock()
        rest, full = self._seen(tenant, now).get(thing), self._full.get((tenant, thing), now)
        until = full if rest is None else max(rest.until, full)
        return until if until > now else None

    def look(self, tenant: str, thing: str) -> datetime | None:
        """Do what `until` does, with a read of the store."""
        now = self._clock()
        rest = self._read(tenant, now).get(thing)
        return rest.until if rest is not None and rest.until > now else None

    def turn(self, tenant: str, thing: str, limit: Limit) -> datetime | None:
        """Return the turn of one more caller that waits for the end of a rest, None if nothing rests.

        The callers come one after the other, as fast as the limit allows: all at once they would be refused again.
        """
        until = self.until(tenant, thing)
        if until is None:
            return None
        with self._lock:
            if len(self._lines) >= _LINES:
                self._lines.clear()
            line = self._lines.setdefault((tenant, thing), Line(until))
            self._lines[tenant, thing], at = line.joined(until, limit.a_second, limit.a_minute)
        return min(at, until + timedelta(seconds=LONGEST))

    def learn(self, tenant: str, endpoint: Endpoint, limit: Limit) -> None:
        """Keep in this process a limit that Klaviyo has named."""
        if self.limit(tenant, endpoint) == limit:
            return
        with self._lock:
            if len(self._limits) >= _LINES:
                self._limits.clear()
            self._limits[tenant, endpoint] = limit

    def fill(self, tenant: str, endpoint: Endpoint) -> None:
        """Let this process make no more calls in the present second: Klaviyo has said that this was the last that it takes.

        Nothing is stored: the second is over before others would know.
        """
        with self._lock:
            if len(self._full) >= _LINES:
                self._full.clear()
            self._full[tenant, endpoint] = self._clock().replace(microsecond=0) + _SECOND

    def limit(self, tenant: str, endpoint: Endpoint) -> Limit:
        """Return the limit of an endpoint that Klaviyo has named last, or the documented limit."""
        return self._limits.get((tenant, endpoint), endpoint.limit)

    def rest(self, tenant: str, thing: str, until: datetime) -> None:
        """Let the endpoint rest until then, unless a longer rest is noted."""
        self._note(tenant, thing, _Rest(until, (until - self._clock()).total_seconds()))

    def spend(self, tenant: str, thing: str, many: int, *, until: datetime) -> int:
        """Note that so many more calls are spent until then, and return the known sum.

        Of several notes at the same moment, some may be lost: no caller waits for another.
        """
        for _ in range(_TRIES):
            try:
                return self._spent(tenant, thing, many, until)
            except (DocumentExistsError, DocumentChangedError, DocumentMissingError):
                continue
            except StoreUnavailableError:
                break
        return many

    def _spent(self, tenant: str, thing: str, many: int, until: datetime) -> int:
        found = self._documents.get(_collection(tenant), thing)
        if found is not None and found.fields["until"] == until:
            many += cast(int, found.fields["spent"])
        # The fields of a rest, because rests are read together; nobody reads the end of this one.
        fields: dict[str, Value] = {"until": until, "seconds": 0.0, "spent": many, "expire_at": until}
        if found is None:
            self._documents.create(_collection(tenant), thing, fields)
        else:
            self._documents.update(_collection(tenant), thing, fields, version=found.version)
        return many

    def refused(self, tenant: str, thing: str, asked: float | None, *, at_least: float = 1.0) -> None:
        """Let a refused endpoint rest for the seconds that Klaviyo asks for; without a number, longer after each refusal in a row."""
        now = self._clock()
        seconds = asked or 0.0
        if seconds < at_least:
            before = self._read(tenant, now).get(thing)
            if before is not None and before.until > now:
                return
            seconds = at_least
            if before is not None and now - before.until < _REMEMBERED:
                seconds = min(max(2 * before.seconds, at_least), LONGEST_UNASKED)
        seconds = min(seconds, LONGEST)
        self._note(tenant, thing, _Rest(now + timedelta(seconds=seconds), seconds))

    def end(self, tenant: str, thing: str) -> None:
        """End the rest."""
        self._documents.delete(_collection(tenant), thing)
        self._remember(tenant, thing, None)
        with self._lock:
            self._lines.pop((tenant, thing), None)

    def forget(self, tenant: str) -> None:
        """Forget all rests, waiting lines and limits of the tenant: they may come from another account."""
        delete_all(self._documents, _collection(tenant))
        with self._lock:
            self._known.pop(tenant, None)
            self._lines = {key: line for key, line in self._lines.items() if key[0] != tenant}
            self._limits = {key: limit for key, limit in self._limits.items() if key[0] != tenant}
            self._full = {key: end for key, end in self._full.items() if key[0] != tenant}

    def _seen(self, tenant: str, now: datetime) -> Mapping[str, _Rest]:
        with self._lock:
            looked_at, rests = self._known.get(tenant, (None, {}))
            if looked_at is not None and timedelta() <= now - looked_at < KNOWN_FOR:
                return rests
            # The other threads use the old memory while this one reads.
            self._keep(tenant, now, rests)
        return self._read(tenant, now)

    def _read(self, tenant: str, now: datetime) -> Mapping[str, _Rest]:
        try:
            rests = {
                document.id: _decoded(document) for document in self._documents.find(_collection(tenant))
            }
        except StoreUnavailableError:
            with self._lock:
                return self._known.get(tenant, (now, {}))[1]
        with self._lock:
            self._keep(tenant, now, rests)
        return rests

    def _keep(self, tenant: str, now: datetime, rests: Mapping[str, _Rest]) -> None:
        if len(self._known) >= _TENANTS and tenant not in self._known:
            self._known.clear()
        self._known[tenant] = (now, rests)

    def _note(self, tenant: str, thing: str, rest: _Rest) -> None:
        with suppress(StoreUnavailableError):  # then only this instance knows of the rest
            rest = self._written(tenant, thing, rest)
        self._remember(tenant, thing, rest)

    def _written(self, tenant: str, thing: str, rest: _Rest) -> _Rest:
        """Write the rest, unless the store holds one that ends as late; return the stored rest."""
        fields: dict[str, Value] = {
            "until": rest.until,
            "seconds": rest.seconds,
            "expire_at": rest.until + _REMEMBERED,
        }
        for _ in range(_TRIES):
            found = self._documents.get(_collection(tenant), thing)
            try:
                if found is None:
                    self._documents.create(_collection(tenant), thing, fields)
                elif (known := _decoded(found)).until + _AS_LATE >= rest.until:
                    return known
                else:
                    self._documents.update(_collection(tenant), thing, fields, version=found.version)
            except (DocumentExistsError, DocumentChangedError):
                continue  # another caller was refused at the same moment
            return rest
        return rest

    def _remember(self, tenant: str, thing: str, rest: _Rest | None) -> None:
        with self._lock:
            looked_at, rests = self._known.get(tenant, (self._clock() - KNOWN_FOR, {}))
            others = {name: known for name, known in rests.items() if name != thing}
            self._keep(tenant, looked_at, others if rest is None else {**others, thing: rest})


def _decoded(document: Document) -> _Rest:
    return _Rest(cast(datetime, document.fields["until"]), cast(float, document.fields["seconds"]))


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/rests"
