"""Who is issuing which reward, so that one `id` is one reward over all instances, retries and deaths.

A claim is taken by one caller alone: `create` and versioned updates let exactly one win, and expiry is checked here. A caller that dies
leaves its claim to expire. Whoever takes over a claim must look for the reward before it makes one, because Omneo may have made it
for the caller before. No id, email or body is stored, only hashes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
)
from shared.storage.documents import Document, Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

# Longer than every time-out together: Omneo may still be at work on a call that we gave up.
LIFE = timedelta(seconds=90)
KEPT = timedelta(days=400)


@dataclass(frozen=True)
class Issued:
    """A reward that was issued. `body` is the fingerprint of the call's body."""

    reward_id: int | str
    profile_id: str
    body: str


@dataclass(frozen=True)
class Claim:
    """Proof of holding. `key` is what the reward is known by in Omneo; `in_doubt`: look for it before making it."""

    collection: str
    id: str
    holder: str
    key: str
    in_doubt: bool


class HeldDocuments:
    """Documents that are held by one caller at a time until `until`. What stands in them besides is a subclass's."""

    def __init__(
        self, documents: Documents, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._new_id = new_id

    def give_back(self, claim: Claim) -> None:
        """End a claim for which nothing was made."""
        held = self._held(claim)
        if held is None:
            return
        try:
            self._documents.delete(claim.collection, claim.id, version=held.version)
        except DocumentChangedError:
            return  # taken over between the two lines above

    def leave_in_doubt(self, claim: Claim) -> None:
        """End a claim for which something may have been made, and Omneo is done with it: the next caller may look at once."""
        self._change(claim, {"until": self._clock()})

    def wait_out(self, claim: Claim) -> float:
        """Leave a claim for which Omneo may still be at work; return the seconds until the next caller may look."""
        held = self._held(claim)
        until = held.fields.get("until") if held else None
        return (until - self._clock()).total_seconds() if isinstance(until, datetime) else 0.0

    def _held(self, claim: Claim) -> Document | None:
        held = self._documents.get(claim.collection, claim.id)
        return held if held is not None and held.fields.get("holder") == claim.holder else None

    def _change(self, claim: Claim, fields: Mapping[str, Value]) -> None:
        held = self._held(claim)
        if held is None:
            return
        try:
            self._documents.update(claim.collection, claim.id, fields, version=held.version)
        except DocumentChangedError:
            return  # taken over between the two lines above

    def _take_over(
        self, collection: str, found: Document, key: str, fields: dict[str, Value]
    ) -> Claim | None:
        claim = Claim(collection, found.id, self._new_id(), key, in_doubt=True)
        try:
            self._documents.update(
                collection, found.id, {**fields, "holder": claim.holder}, version=found.version
            )
        except (DocumentChangedError, DocumentMissingError):
            return None
        return claim


class RewardClaims(HeldDocuments):
    """Claims on the `id` of a reward."""

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.clock, services.new_id)

    def take(self, tenant: str, id: str, body: str) -> Claim | Issued | None:
        """Return a claim, or the reward if it has been issued, None while somebody else is issuing it."""
        collection, hashed = _collection(tenant), _hashed(tenant, id)
        now = self._clock()
        fields: dict[str, Value] = {
            "state": "working",
            "body": body,
            "until": now + LIFE,
            "expire_at": now + KEPT,
        }
        found = self._documents.get(collection, hashed)
        if found is None:
            return self._make(Claim(collection, hashed, self._new_id(), id, in_doubt=False), fields)
        if issued := _issued(found, now):
            return issued
        if found.fields.get("state") == "working" and is_ahead(found, "until", now):
            return None
        return self._take_over(collection, found, id, fields)

    def issued(self, claim: Claim, issued: Issued) -> None:
        """Note the reward. This is so whoever holds the claim by now."""
        fields: dict[str, Value] = {
            "state": "done",
            "reward_id": issued.reward_id,
            "profile_id": issued.profile_id,
            "body": issued.body,
            "holder": claim.holder,
            "expire_at": self._clock() + KEPT,
        }
        try:
            self._documents.update(claim.collection, claim.id, fields)
        except DocumentMissingError:
            try:
                self._documents.create(claim.collection, claim.id, fields)
            except DocumentExistsError:
                return  # somebody who took the claim over will find the reward

    def forget(self, tenant: str) -> None:
        """Forget every claim and every reward of a tenant."""
        delete_all(self._documents, _collection(tenant))

    def _make(self, claim: Claim, fields: Mapping[str, Value]) -> Claim | None:
        try:
            self._documents.create(claim.collection, claim.id, {**fields, "holder": claim.holder})
        except DocumentExistsError:
            return None
        return claim


def is_ahead(document: Document, name: str, now: datetime) -> bool:
    """Return whether the time in a field of the document is yet to come; what is no time is not."""
    moment = document.fields.get(name)
    return isinstance(moment, datetime) and moment > now


def _issued(document: Document, now: datetime) -> Issued | None:
    match document.fields:
        case {
            "state": "done",
            "reward_id": int() | str() as id,
            "profile_id": str(profile),
            "body": str(body),
        }:
            return Issued(id, profile, body) if is_ahead(document, "expire_at", now) else None
        case _:
            return None


def _hashed(tenant: str, id: str) -> str:
    return hashlib.sha256(f"{tenant}\n{id}".encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/reward_claims"
