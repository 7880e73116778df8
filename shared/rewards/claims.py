"""The claims on rewards: one `id` is one reward for one person, over all instances, retries and deaths.

One caller takes a claim: `create` and versioned updates let exactly one succeed, and expiry is checked here. A caller that dies leaves its
claim to expire. The caller that takes over a claim must look for the reward before it makes one, because Omneo may have made it for the
caller before.

A claim is for an id and an Omneo profile. The profile of a call is stored before Omneo is asked for the reward, under the person fields of
the call. So its retry goes to the same profile, even if a search finds another one by then. No id, email or body is stored, only hashes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import (
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
)
from shared.storage.documents import Document, Documents, Value, delete_all, each_document

if TYPE_CHECKING:
    from shared.services import Services

# Longer than all time-outs together: Omneo may still work on a call that we gave up.
LIFE = timedelta(seconds=90)
KEPT = timedelta(days=400)
_MEMORY = (
    "person-"  # the prefix of documents that store the profile of a call; a claim's own id is a bare hash
)


@dataclass(frozen=True)
class Issued:
    """A reward that was issued. `body` is the fingerprint of the call's body."""

    reward_id: int | str
    profile_id: str
    body: str


@dataclass(frozen=True)
class Person:
    """The person of a call: the Klaviyo id and the email that it gives, "" for a missing one."""

    klaviyo_id: str
    email: str


@dataclass(frozen=True)
class Claim:
    """The proof that a caller holds a claim, for a reward of this Omneo profile.

    `key` identifies the reward in Omneo. `in_doubt` says that the caller must look for the reward first. `memory` is the document that
    stores the profile, "" if the claim itself does.
    """

    collection: str
    id: str
    holder: str
    key: str
    profile_id: str
    in_doubt: bool
    memory: str = ""


class HeldDocuments:
    """Documents that are held by one caller at a time until `until`. A subclass adds further fields."""

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
        """End a claim for which a reward may have been made. Omneo is done with the call, so the next caller may look at once."""
        self._change(claim, {"until": self._clock()})

    def wait_out(self, claim: Claim) -> float:
        """Leave a claim for which Omneo may still work; return the seconds until the next caller may look."""
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

    def _take_over(self, claim: Claim, found: Document, fields: Mapping[str, Value]) -> Claim | None:
        """Return the claim once it is held in doubt, None if somebody else was faster."""
        try:
            self._documents.update(
                claim.collection, claim.id, {**fields, "holder": claim.holder}, version=found.version
            )
        except (DocumentChangedError, DocumentMissingError):
            return None
        return replace(claim, in_doubt=True)


class RewardClaims(HeldDocuments):
    """Claims on the `id` of a reward, one for each person."""

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock, services.new_id)

    def meant(self, tenant: str, id: str, person: Person) -> str:
        """Return the Omneo profile to which an earlier call with this id and person went, "" if none is stored."""
        return self._remembered(_collection(tenant), _memory(tenant, id, person))

    def take(self, tenant: str, id: str, person: Person, profile_id: str, body: str) -> Claim | Issued | None:
        """Return a claim, or the reward if it has been issued, None while somebody else is issuing it.

        It is also None if another call for this person went to another profile meanwhile: the caller must ask `meant` again.
        """
        collection, now = _collection(tenant), self._clock()
        claim = Claim(
            collection,
            _hashed(tenant, id, profile_id),
            self._new_id(),
            key=id,
            profile_id=profile_id,
            in_doubt=False,
            memory=_memory(tenant, id, person),
        )
        found = self._documents.get(collection, claim.id)
        if found is not None and (issued := _issued(found, now)):
            return issued
        if found is not None and found.fields.get("state") == "working" and is_ahead(found, "until", now):
            return None
        fields: dict[str, Value] = {
            "state": "working",
            "body": body,
            "until": now + LIFE,
            "expire_at": now + KEPT,
        }
        if found is None:
            is_doubtful = self._documents.get(collection, _hashed_for_all(tenant, id)) is not None
            held = self._make(replace(claim, in_doubt=is_doubtful), fields)
        else:
            held = self._take_over(claim, found, fields)
        return held if held is None or self._remember(held) else None

    def give_back(self, claim: Claim) -> None:
        """End a claim for which nothing was made. A later call for the person may go to another profile: only a possible reward fixes the
        profile.
        """
        if self._held(claim) is not None:
            self._documents.delete(claim.collection, claim.memory)
        super().give_back(claim)

    def issued(self, claim: Claim, issued: Issued) -> None:
        """Note the reward. It counts for every present holder of the claim."""
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

    def forget_person(self, tenant: str, profile_id: str) -> int:
        """Forget that calls went to this Omneo profile, and return how many documents named it.

        An issued reward stays issued: its claim keeps its number without the person, and is found by a hash.
        """
        collection = _collection(tenant)
        found = [*each_document(self._documents, collection, where={"profile_id": profile_id})]
        for document in found:
            if document.id.startswith(_MEMORY):
                self._documents.delete(collection, document.id)
            else:
                with suppress(DocumentMissingError):
                    self._documents.update(collection, document.id, {"profile_id": ""})
        return len(found)

    def issued_to(self, tenant: str, profile_id: str) -> list[tuple[datetime, Issued]]:
        """Return the rewards that were issued to an Omneo profile for an id, and when, newest first."""
        found: list[tuple[datetime, Issued]] = []
        where = {"profile_id": profile_id, "state": "done"}
        for document in each_document(self._documents, _collection(tenant), where=where):
            issued, end = _issued(document, self._clock()), document.fields.get("expire_at")
            if issued is not None and isinstance(end, datetime):
                found.append((end - KEPT, issued))
        return sorted(found, key=lambda one: one[0], reverse=True)

    def forget(self, tenant: str) -> None:
        """Forget every claim and every reward of a tenant."""
        delete_all(self._documents, _collection(tenant))

    def _remember(self, claim: Claim) -> bool:
        """Return whether the stored profile is this claim's profile; if not, give the claim back."""
        fields: dict[str, Value] = {"profile_id": claim.profile_id, "expire_at": self._clock() + KEPT}
        try:
            self._documents.create(claim.collection, claim.memory, fields)
        except DocumentExistsError:
            if self._remembered(claim.collection, claim.memory) != claim.profile_id:
                end = self.leave_in_doubt if claim.in_doubt else super().give_back
                end(claim)
                return False
        return True

    def _remembered(self, collection: str, memory: str) -> str:
        found = self._documents.get(collection, memory)
        return str(found.fields.get("profile_id", "")) if found is not None else ""

    def _make(self, claim: Claim, fields: Mapping[str, Value]) -> Claim | None:
        try:
            self._documents.create(claim.collection, claim.id, {**fields, "holder": claim.holder})
        except DocumentExistsError:
            return None
        return claim


def is_ahead(document: Document, name: str, now: datetime) -> bool:
    """Return whether the time in a field of the document lies in the future; False if there is no time."""
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


def _memory(tenant: str, id: str, person: Person) -> str:
    """Return the id of the document that stores the profile of a call."""
    return _MEMORY + _hashed(tenant, id, person.klaviyo_id, person.email.lower())


def _hashed_for_all(tenant: str, id: str) -> str:
    """Return the id of a claim of an earlier release, in which an id was one reward for everybody. It does not name the person."""
    return hashlib.sha256(f"{tenant}\n{id}".encode()).hexdigest()[:32]


def _hashed(*names: str) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/reward_claims"
