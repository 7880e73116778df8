"""Notes of the consent calls that the extension sends to Klaviyo, so that their echo is known for one when it comes back.

A note stands for 72 hours. The four that a Klaviyo profile can have, two channels in two directions, lie in one document, so that
deciding on an event takes one read.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeAlias

from shared.consent_events import Channel, Direction
from shared.errors import DocumentChangedError, DocumentExistsError, StoreUnavailableError
from shared.storage.documents import Document, Documents, Value

if TYPE_CHECKING:
    from shared.services import Services

STANDING = timedelta(hours=72)
_ATTEMPTS = 20

Key: TypeAlias = tuple[Channel, Direction]
# The same as text, for the store.
_NAMES: dict[Key, str] = {
    (Channel.EMAIL, "in"): "email in",
    (Channel.EMAIL, "out"): "email out",
    (Channel.SMS, "in"): "sms in",
    (Channel.SMS, "out"): "sms out",
}


class EchoNotes:
    """Makes, tells and ends notes. Two who do so at once lose nothing of each other's."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.clock)

    def note(self, tenant: str, profile: str, channel: Channel, direction: Direction) -> None:
        """Note a call, or renew its note. Before the call is sent: the echo may be back before the answer."""
        now = self._clock()

        def renewed(notes: dict[Key, datetime]) -> dict[Key, datetime]:
            before = notes.get((channel, direction), now)
            return {**notes, (channel, direction): max(before, now)}

        self._change(tenant, profile, renewed)

    def notes_of(self, tenant: str, profile: str) -> Mapping[Key, datetime]:
        """Return when each note of the Klaviyo profile that still stands was made."""
        found = self._documents.get(_collection(tenant), _id(profile))
        return {} if found is None else self._standing(found)

    def end(
        self, tenant: str, profile: str, channel: Channel, direction: Direction, *, before: datetime
    ) -> None:
        """Remove the note if it was made before that moment."""

        def without(notes: dict[Key, datetime]) -> dict[Key, datetime]:
            return {key: made for key, made in notes.items() if key != (channel, direction) or made >= before}

        self._change(tenant, profile, without)

    def forget(self, tenant: str) -> None:
        """Forget every note."""
        while found := self._documents.find(_collection(tenant)):
            for document in found:
                self._documents.delete(_collection(tenant), document.id)

    def _change(
        self, tenant: str, profile: str, edit: Callable[[dict[Key, datetime]], dict[Key, datetime]]
    ) -> None:
        for _ in range(_ATTEMPTS):
            found = self._documents.get(_collection(tenant), _id(profile))
            before = {} if found is None else self._standing(found)
            after = edit(before)
            if after == before:
                return
            try:
                self._write(tenant, _id(profile), found, after)
            except (DocumentExistsError, DocumentChangedError):
                continue
            return
        raise StoreUnavailableError("the echo notes are being changed too often to be written")

    def _write(self, tenant: str, id: str, found: Document | None, notes: Mapping[Key, datetime]) -> None:
        if found is not None and not notes:
            self._documents.delete(_collection(tenant), id, version=found.version)
            return
        stored: dict[str, Value] = {_NAMES[key]: made for key, made in notes.items()}
        fields: dict[str, Value] = {"notes": stored, "expire_at": max(notes.values()) + STANDING}
        if found is None:
            self._documents.create(_collection(tenant), id, fields)
        else:
            self._documents.update(_collection(tenant), id, fields, version=found.version)

    def _standing(self, found: Document) -> dict[Key, datetime]:
        stored, now = found.fields["notes"], self._clock()
        if not isinstance(stored, dict):
            raise TypeError("echo notes are not a map")
        return {
            key: made
            for key, name in _NAMES.items()
            if isinstance(made := stored.get(name), datetime) and now - made < STANDING
        }


def _id(profile: str) -> str:
    return hashlib.sha256(profile.encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/echo_notes"
