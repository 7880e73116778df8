"""The store of consent memories: one document for each Omneo profile, with a memory for each channel.

The only personal data in it are Klaviyo's and Omneo's profile ids, and hashes of email addresses under the tenant's own key.
`rules/memory.py` says what a memory means. This module makes sure that each of two writers of a memory keeps the
changes of the other.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from shared.consent.rules.calls import with_calls_before
from shared.consent.rules.decisions import Decided
from shared.consent.rules.memory import Call, Memory, Seen
from shared.consent_events import Channel, Consent, Decision
from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.storage.documents import Document, Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

_ATTEMPTS = 20
_VALUES = (
    "omneo_in",
    "omneo_out",
    "seen_at",
    "ahead",
    "merged_at",
    "own_in",
    "others_out",
    "mailed",
    "told_in",
    "told_out",
)

Memories: TypeAlias = Mapping[Channel, Memory]


class ConsentMemories:
    """Keeps and gives memories. A channel of which nothing is known has an empty one."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents)

    def find(self, tenant: str, profile_id: str) -> dict[Channel, Memory]:
        """Return the consent memories of an Omneo profile."""
        return _decode(self._documents.get(_collection(tenant), _id(profile_id)))

    def change(
        self, tenant: str, profile_id: str, edit: Callable[[Memories], Memories]
    ) -> dict[Channel, Memory]:
        """Store the memories that `edit` returns, and return them. `edit` may be called again with a newer state that somebody else has
        written.

        Raises:
            StoreUnavailableError: the memories are being changed too often.
        """
        for _ in range(_ATTEMPTS):
            found = self._documents.get(_collection(tenant), _id(profile_id))
            before = _decode(found)
            after = {**before, **edit(before)}
            if after == before:
                return before
            try:
                return {**self._write(tenant, profile_id, found, before, after)}
            except (DocumentExistsError, DocumentChangedError):
                continue
        raise StoreUnavailableError(
            "what is remembered of a consent is being changed too often to be written"
        )

    def profile_asked_about(self, tenant: str, klaviyo_id: str) -> str:
        """Return the Omneo profile for whose sake a consent of this Klaviyo profile was last asked for, "" if none was."""
        found = self._documents.get(_asked(tenant), _id(klaviyo_id))
        return "" if found is None else str(found.fields["profile"])

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget the memories of the profile, and return the number of documents: one or none."""
        found = self._documents.get(_collection(tenant), _id(profile_id))
        for memory in _decode(found).values():
            for call in memory.calls:
                self._documents.delete(_asked(tenant), _id(call.profile))
        self._documents.delete(_collection(tenant), _id(profile_id))
        return int(found is not None)

    def forget(self, tenant: str) -> None:
        """Forget every profile."""
        delete_all(self._documents, _collection(tenant))
        delete_all(self._documents, _asked(tenant))

    def _write(
        self, tenant: str, profile_id: str, found: Document | None, before: Memories, after: Memories
    ) -> Memories:
        """Write it, and return what was written: who asks about a Klaviyo profile that was another's takes over what was asked about it."""
        taken_over = []
        for klaviyo_id in _profiles_asked(after) - _profiles_asked(before):
            if other := self._point(tenant, klaviyo_id, profile_id):
                taken_over.append(klaviyo_id)
                after = _with_calls(after, self.find(tenant, other), klaviyo_id)
        fields: dict[str, Value] = {channel.value: _encode(memory) for channel, memory in after.items()}
        if found is None:
            self._documents.create(_collection(tenant), _id(profile_id), fields)
        else:
            self._documents.update(_collection(tenant), _id(profile_id), fields, version=found.version)
        for klaviyo_id in taken_over:
            with suppress(DocumentMissingError):  # forgotten in this very moment
                self._documents.update(_asked(tenant), _id(klaviyo_id), {"profile": profile_id})
        return after

    def _point(self, tenant: str, klaviyo_id: str, profile_id: str) -> str:
        """Note for whose sake a Klaviyo profile is asked about; return whose it was if it is another's, which is then left as it is."""
        try:
            self._documents.create(_asked(tenant), _id(klaviyo_id), {"profile": profile_id})
        except DocumentExistsError:
            other = self.profile_asked_about(tenant, klaviyo_id)
            return "" if other == profile_id else other
        return ""


def _with_calls(memories: Memories, others: Memories, klaviyo_id: str) -> Memories:
    return {
        channel: with_calls_before(
            memory, [call for call in others[channel].calls if call.profile == klaviyo_id]
        )
        for channel, memory in memories.items()
    }


def _profiles_asked(memories: Memories) -> set[str]:
    return {call.profile for memory in memories.values() for call in memory.calls if call.profile}


def _encode(memory: Memory) -> dict[str, Value]:
    return {name: value for name, value in _plain(memory).items() if name != "channel"}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    # Unlike `asdict` this copies nothing that cannot change.
    return {name: _plain(one) for name, one in vars(value).items()} if is_dataclass(value) else value


def _decode(found: Document | None) -> dict[Channel, Memory]:
    stored: Mapping[str, Any] = {} if found is None else found.fields
    return {channel: _memory(channel, stored.get(channel.value) or {}) for channel in Channel}


def _memory(channel: Channel, stored: Mapping[str, Any]) -> Memory:
    # A field that a newer revision wrote is passed over, one that an older did not know has its default.
    known = {name: stored[name] for name in _VALUES if name in stored}
    seen = stored.get("seen")
    return replace(
        Memory(channel, **known),
        events=tuple(_decided(row) for row in stored.get("events") or ()),
        calls=tuple(_call(row) for row in stored.get("calls") or ()),
        seen=None if seen is None else Seen(**_known(Seen, seen)),
    )


def _decided(row: Mapping[str, Any]) -> Decided:
    return Decided(**{**_known(Decided, row), "decision": Decision(row["decision"])})


def _call(row: Mapping[str, Any]) -> Call:
    return Call(**{**_known(Call, row), "consent": Consent(row["consent"])})


def _known(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in row.items() if name in names}


def _id(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/consent"


def _asked(tenant: str) -> str:
    return f"tenants/{tenant}/consent_asked"
