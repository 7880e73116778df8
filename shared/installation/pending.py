"""Installs that are on their way: what must be remembered between two steps of a merchant's browser.

Each is kept under the hash of a random word that the browser carries, is bound to that browser by a cookie, lives 15 minutes, and can
be taken out once. What is secret in it is encrypted.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentChangedError, DocumentExistsError
from shared.storage.documents import Document, Documents, Value
from shared.storage.encryption import KeyRing

if TYPE_CHECKING:
    from shared.services import Services

LIFE = timedelta(minutes=15)
WATCHED = timedelta(hours=1)
COLLECTION = "pending_installs"


class Step(StrEnum):
    """What the browser is expected to come back with."""

    AUTHORIZE = "authorize"  # Klaviyo's answer; kept: the PKCE verifier
    CONFIRM = "confirm"  # the merchant's yes; kept: the tokens and the account


@dataclass(frozen=True)
class PendingInstall:
    """An install between two steps. `kept` is what the next step needs."""

    tenant: str
    browser: str
    kept: dict[str, object]

    def is_bound_to(self, cookie: str) -> bool:
        """Return whether this cookie came from the browser that began it."""
        return bool(cookie) and hmac.compare_digest(self.browser, hash_of(cookie))


class PendingInstalls:
    """Issues and consumes pending installs: two verbs, and consuming works once."""

    def __init__(
        self, documents: Documents, keys: KeyRing, clock: Callable[[], datetime], new_word: Callable[[], str]
    ) -> None:
        self._documents = documents
        self._keys = keys
        self._clock = clock
        self._new_word = new_word

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.keys, services.clock, services.new_word)

    def issue(self, step: Step, tenant: str, *, cookie: str, kept: Mapping[str, object]) -> str:
        """Remember an install and return the word that takes it out again."""
        word = self._new_word()
        self._documents.create(
            COLLECTION,
            _id(step, word),
            {
                "tenant": tenant,
                "browser": hash_of(cookie),
                "kept": self._keys.encrypt(json.dumps(dict(kept)), tenant=tenant, field=f"pending.{step}"),
                "expire_at": self._clock() + LIFE,
            },
        )
        return word

    def consume(self, step: Step, word: str) -> PendingInstall | None:
        """Take the install out; None if the word is unknown, was used, or is too old."""
        found = self._documents.get(COLLECTION, _id(step, word)) if word else None
        if found is None:
            return None
        try:
            self._documents.delete(COLLECTION, found.id, version=found.version)
        except DocumentChangedError:
            return None  # somebody else took it out between the two lines above
        if not _is_alive(found, self._clock()):
            return None
        tenant = str(found.fields["tenant"])
        kept = self._keys.decrypt(str(found.fields["kept"]), tenant=tenant, field=f"pending.{step}")
        return PendingInstall(tenant, str(found.fields["browser"]), json.loads(kept))

    def watch(self, cookie: str, tenant: str) -> None:
        """Let the browser with this cookie see the tenant's set-up, for an hour."""
        fields: dict[str, Value] = {"tenant": tenant, "expire_at": self._clock() + WATCHED}
        try:
            self._documents.create(COLLECTION, _watch_id(cookie), fields)
        except DocumentExistsError:
            self._documents.update(COLLECTION, _watch_id(cookie), fields)

    def watched(self, cookie: str) -> str:
        """Return the tenant whose set-up this browser may see, "" if none."""
        found = self._documents.get(COLLECTION, _watch_id(cookie)) if cookie else None
        if found is None or not _is_alive(found, self._clock()):
            return ""
        return str(found.fields["tenant"])


def _is_alive(found: Document, now: datetime) -> bool:
    expiry = found.fields["expire_at"]
    return isinstance(expiry, datetime) and now < expiry


def _watch_id(cookie: str) -> str:
    return f"watch-{hash_of(cookie)}"


def hash_of(word: str) -> str:
    """Return what is stored of a random word: the store must not hold what a browser carries."""
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()


def _id(step: Step, word: str) -> str:
    return f"{step}-{hash_of(word)}"
