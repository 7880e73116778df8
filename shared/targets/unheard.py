"""Calls of targets whose answer may not have reached the caller. Such a caller calls again, and the repeat takes the same id.

We answered such a call with 503 because the queue's or the store's own answer was lost, or we answered it late. It is noted for an hour under a
hash of the parts that equal calls share. Equal calls that were answered in time are separate calls: a till may well send the same twice.
"""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentExistsError, DocumentMissingError, StoreUnavailableError
from shared.jobs.rules.windows import hashed
from shared.storage.documents import Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(hours=1)
_NEXT_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Acceptance:
    """The id of a call and the time at which it was accepted.

    `is_repeat`: an equal call was accepted before under the same id. `is_stored`: our store surely holds the data of that call.
    """

    id: str
    at: datetime
    is_repeat: bool = False
    is_stored: bool = False


class UnheardCalls:
    """The calls that may come again. `call` is the hash that equal calls share."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def find(self, tenant: str, call: str) -> Acceptance | None:
        """Return how an equal call without a sure answer was accepted; None if there was no such call, or if the store cannot answer."""
        try:
            found = self._documents.get(_collection(tenant), call)
        except StoreUnavailableError:
            return None  # two failures at once may turn one event into two, but the call is not refused
        fields = found.fields if found else {}
        match fields:
            case {"id": str(id), "at": datetime() as at, "expire_at": datetime() as end} if (
                end > self._clock()
            ):
                return Acceptance(id, at, is_repeat=True, is_stored=fields.get("is_stored") is not False)
            case _:
                return None

    def note(self, tenant: str, call: str, acceptance: Acceptance) -> None:
        """Note for an hour that the caller may not get the answer to this call."""
        fields: dict[str, Value] = {
            "id": acceptance.id,
            "at": acceptance.at,
            "is_stored": acceptance.is_stored,
            "expire_at": self._clock() + KEPT,
        }
        with suppress(StoreUnavailableError, DocumentMissingError):  # nothing more can be done for it
            try:
                self._documents.create(_collection(tenant), call, fields)
            except DocumentExistsError:
                self._documents.update(_collection(tenant), call, fields)

    def heard(self, tenant: str, call: str) -> None:
        """Forget the note: the repeat was answered, so the next equal call is a new call."""
        with suppress(StoreUnavailableError):
            self._documents.delete(_collection(tenant), call)

    def forget(self, tenant: str) -> None:
        """Forget every call of a tenant."""
        delete_all(self._documents, _collection(tenant))


class Moments:
    """The moments at which this process accepts calls, each later than the one before, also if the clock stands or steps back."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: datetime | None = None

    @classmethod
    def of(cls, services: "Services") -> "Moments":
        """Return the moments of this process."""
        return services.kept(cls, lambda: cls(services.clock))

    def next(self) -> datetime:
        """Return a moment: now, or right after the last."""
        with self._lock:
            now = self._clock()
            self._last = now if self._last is None else max(now, self._last + _NEXT_MOMENT)
            return self._last


def in_common(target: str, query: Mapping[str, str], body: object) -> str:
    """Return the hash that equal calls of a target share."""
    return hashed(target, json.dumps([sorted(query.items()), body], sort_keys=True))


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/unheard_calls"
