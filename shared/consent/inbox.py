"""The inbox of consent events: one entry for each event. It is open until it is handled, and stays for 30 days so that it is not handled
again.

The only personal data in it are Klaviyo's profile ids. It does not decide what an event means, and does not keep its result.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Self

from shared.consent_events import Bounce, SystemEvent
from shared.errors import DocumentChangedError, DocumentExistsError, StoreUnavailableError
from shared.storage.documents import Document, Documents, Scalar, Value, delete_all, each_document

if TYPE_CHECKING:
    from shared.services import Services

REMEMBERED = timedelta(days=30)
_ATTEMPTS = 20


class Receipt(StrEnum):
    """The inbox's answer to an event: new here, here before and still to be handled, or handled before."""

    ADDED = "added"
    OPEN = "open"
    HANDLED = "handled"


@dataclass(frozen=True)
class Entry:
    """An event, and whether it is still to be handled."""

    id: str
    event_id: str
    topic: str  # without `event:klaviyo.`
    profile: str  # Klaviyo's profile id
    at: datetime  # the event's own time
    bounce: Bounce
    method: Literal["omneo", "other", ""]
    received_at: datetime
    open: bool = True


class Inbox:
    """Takes in events and gives out entries. Lists come in the order of the events' own times."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def add(self, tenant: str, account: str, event: SystemEvent) -> Receipt:
        """Take in an event of a Klaviyo account. If many add the same event at once, exactly one gets ADDED."""
        entry = Entry(
            id=entry_id(account, event.id),
            event_id=event.id,
            topic=event.topic,
            profile=event.profile,
            at=event.at,
            bounce=event.bounce,
            method=event.method,
            received_at=self._clock(),
        )
        for _ in range(_ATTEMPTS):
            if receipt := self._received(tenant, account, entry):
                return receipt
        raise StoreUnavailableError("the inbox entry is being changed too often to be written")

    def get(self, tenant: str, id: str) -> Entry | None:
        """Return the entry, None when it is not remembered."""
        found = self._documents.get(_collection(tenant), id)
        return _decode(found) if found is not None and self._is_remembered(found) else None

    def open_of(self, tenant: str, profile: str) -> list[Entry]:
        """Return every open entry of a Klaviyo profile, however many and however old."""
        return _in_order(self._all(tenant, {"profile": profile, "open": True}))

    def older_than(self, tenant: str, moment: datetime) -> Iterator[Entry]:
        """Yield the open entries received before `moment`, a page at a time, in no order of time."""
        entries = map(_decode, self._all(tenant, {"open": True}))
        return (entry for entry in entries if entry.received_at < moment)

    def close(self, tenant: str, entry: Entry) -> None:
        """Remember that the event was handled.

        Raises:
            DocumentMissingError: the entry is not there any more: it expired, or the tenant was deleted.
        """
        self._documents.update(_collection(tenant), entry.id, {"open": False})

    def forget_profile(self, tenant: str, profile: str) -> int:
        """Forget every entry of a Klaviyo profile, and return how many there were."""
        found = [*self._all(tenant, {"profile": profile})]
        for document in found:
            self._documents.delete(_collection(tenant), document.id)
        return len(found)

    def forget(self, tenant: str) -> None:
        """Forget every entry."""
        delete_all(self._documents, _collection(tenant))

    def _received(self, tenant: str, account: str, entry: Entry) -> Receipt | None:
        """Write the entry, or say how far the one before is. None: it was changed in this very moment."""
        written: dict[str, Value] = {**_encode(entry), "expire_at": entry.received_at + REMEMBERED}
        try:
            self._documents.create(_collection(tenant), entry.id, written)
        except DocumentExistsError:
            before = self._documents.get(_collection(tenant), entry.id)
        else:
            return Receipt.ADDED
        if before is None:
            return None
        if before.fields["topic"] != entry.topic:
            own = entry_id(account, entry.event_id, entry.topic)
            return None if entry.id == own else self._received(tenant, account, replace(entry, id=own))
        if not self._has_expired(before):
            return Receipt.OPEN if before.fields["open"] else Receipt.HANDLED
        try:
            self._documents.update(_collection(tenant), entry.id, written, version=before.version)
        except DocumentChangedError:
            return None
        return Receipt.ADDED

    def _all(self, tenant: str, where: dict[str, Scalar]) -> Iterator[Document]:
        return each_document(self._documents, _collection(tenant), where=where)

    def _is_remembered(self, found: Document) -> bool:
        # One that is still open is worth handling as long as it is there.
        return found.fields["open"] is True or not self._has_expired(found)

    def _has_expired(self, found: Document) -> bool:
        expiry = found.fields["expire_at"]
        return not isinstance(expiry, datetime) or expiry <= self._clock()


def entry_id(account: str, event_id: str, topic: str = "") -> str:
    """Return the id under which the event of a Klaviyo account is kept; with its topic, where another topic has the event's id already."""
    text = f"{account}|{event_id}|{topic}" if topic else f"{account}|{event_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def event_of(entry: Entry) -> SystemEvent:
    """Return the event that an entry is about."""
    return SystemEvent(
        id=entry.event_id,
        topic=entry.topic,
        profile=entry.profile,
        at=entry.at,
        bounce=entry.bounce,
        method=entry.method,
    )


_STORED = frozenset(field.name for field in fields(Entry)) - {"id"}


def _encode(entry: Entry) -> dict[str, Value]:
    return {name: value for name, value in asdict(entry).items() if name in _STORED}


def _decode(document: Document) -> Entry:
    # A field that a newer revision wrote is passed over, one that an older did not know has its default.
    stored: dict[str, Any] = {name: value for name, value in document.fields.items() if name in _STORED}
    return Entry(id=document.id, **stored)


def _in_order(documents: Iterator[Document]) -> list[Entry]:
    return sorted(map(_decode, documents), key=lambda entry: (entry.at, entry.event_id))


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/inbox"
