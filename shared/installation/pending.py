"""Installs that are not finished: the data between two steps of a merchant's browser.

Each is stored under the hash of a random word that the browser carries. A cookie binds it to that browser. It is valid for 15 minutes and
can be taken out once. Its secrets are encrypted. A question that nobody answers in time holds a grant, so it is kept until the grant is
given back.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentChangedError, DocumentExistsError, UndecryptableError
from shared.storage.documents import Document, Documents, Value, each_document
from shared.storage.encryption import KeyRing

if TYPE_CHECKING:
    from shared.services import Services

LIFE = timedelta(minutes=15)
KEPT_UNANSWERED = timedelta(days=1)
WATCHED = timedelta(hours=1)
_ANSWERING = timedelta(minutes=1)  # how long the answer of the last moment may take
COLLECTION = "pending_installs"


class Step(StrEnum):
    """The step from which the browser comes back."""

    AUTHORIZE = "authorize"  # Klaviyo's answer; kept: the PKCE verifier
    CONFIRM = "confirm"  # the merchant's yes; kept: the tokens and the account
    NONE = "none"  # nowhere: Klaviyo did not say which account it is; kept: the tokens, until they are given back


_HOLDS_A_GRANT = (Step.CONFIRM, Step.NONE)


@dataclass(frozen=True)
class PendingInstall:
    """An install between two steps. `kept` is what the next step needs."""

    tenant: str
    browser: str
    kept: dict[str, object]

    def bound_to(self, cookies: Iterable[str]) -> str:
        """Return the cookie with which the install was begun, "" if this is another browser."""
        found = ""
        for cookie in cookies:
            if cookie and hmac.compare_digest(self.browser, hash_of(cookie)):
                found = cookie
        return found


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
        """Return the store of these services."""
        return cls(services.documents, services.keys, services.clock, services.new_word)

    def issue(
        self, step: Step, tenant: str, *, cookie: str, kept: Mapping[str, object], account: str = ""
    ) -> str:
        """Store an install and return the word that takes it out again. `account` is the account of the stored grant, "" if there is none."""
        word, ends_at = self._new_word(), self._clock() + LIFE
        self._documents.create(
            COLLECTION,
            _id(step, word),
            {
                "tenant": tenant,
                "browser": hash_of(cookie),
                "kept": self._keys.encrypt(json.dumps(dict(kept)), tenant=tenant, field=f"pending.{step}"),
                "account": account,
                "ends_at": ends_at,
                "expire_at": ends_at + KEPT_UNANSWERED if step in _HOLDS_A_GRANT else ends_at,
            },
        )
        return word

    def look(self, step: Step, word: str) -> PendingInstall | None:
        """Return the install without taking it out; None if the word is unknown, was used, or is too old."""
        found = self._documents.get(COLLECTION, _id(step, word)) if word else None
        return None if found is None else self._read(step, found)

    def consume(self, step: Step, word: str) -> PendingInstall | None:
        """Take the install out; None if the word is unknown, was used, or is too old."""
        found = self._documents.get(COLLECTION, _id(step, word)) if word else None
        if found is None or not _is_alive(found, self._clock()):
            return None
        try:
            self._documents.delete(COLLECTION, found.id, version=found.version)
        except DocumentChangedError:
            return None  # somebody else took it out between the two lines above
        return self._opened(step, found)

    def asks_about(self, account: str) -> bool:
        """Return whether a merchant is being asked about this account now: the answer then decides about the grant."""
        found = self._documents.find(COLLECTION, where={"account": account})
        return any(_is_alive(document, self._clock()) for document in found)

    def unanswered(self) -> Iterator[tuple[str, PendingInstall]]:
        """Yield, with its id, each question that got no answer in time or could not be asked."""
        for step in _HOLDS_A_GRANT:
            yield from self._unanswered(step)

    def _unanswered(self, step: Step) -> Iterator[tuple[str, PendingInstall]]:
        prefix = f"{step}-"
        for found in each_document(self._documents, COLLECTION, after=prefix):
            if not found.id.startswith(prefix):
                return
            if _is_alive(found, self._clock() - _ANSWERING):
                continue
            with suppress(UndecryptableError):  # a key was dropped: nobody can give that grant back
                yield found.id, self._opened(step, found)

    def forget(self, id: str) -> None:
        """Forget an install."""
        self._documents.delete(COLLECTION, id)

    def reencrypt(self, tenant: str, *, dry_run: bool = False) -> int:
        """Seal with the first key each of the tenant's installs that an older key sealed, and return their number."""
        due = 0
        for found in self._of(tenant):
            sealed = found.fields.get("kept")
            if sealed is None or not self._is_kept(found) or self._keys.is_current(str(sealed)):
                continue
            due += 1
            if not dry_run:
                self._renew(tenant, found, str(sealed))
        return due

    def _is_kept(self, found: Document) -> bool:
        expiry = found.fields["expire_at"]
        return isinstance(expiry, datetime) and self._clock() < expiry

    def _of(self, tenant: str) -> Iterator[Document]:
        return each_document(self._documents, COLLECTION, where={"tenant": tenant})

    def _renew(self, tenant: str, found: Document, sealed: str) -> None:
        field = f"pending.{found.id.partition('-')[0]}"
        plain = self._keys.decrypt(sealed, tenant=tenant, field=field)
        kept: dict[str, Value] = {"kept": self._keys.encrypt(plain, tenant=tenant, field=field)}
        try:
            self._documents.update(COLLECTION, found.id, kept, version=found.version)
        except DocumentChangedError:
            return  # taken out meanwhile

    def _read(self, step: Step, found: Document) -> PendingInstall | None:
        return self._opened(step, found) if _is_alive(found, self._clock()) else None

    def _opened(self, step: Step, found: Document) -> PendingInstall:
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
    ends_at = (
        found.fields.get("ends_at") or found.fields["expire_at"]
    )  # an earlier release has set only the second one
    return isinstance(ends_at, datetime) and now < ends_at


def _watch_id(cookie: str) -> str:
    return f"watch-{hash_of(cookie)}"


def attempt_of(cookie: str) -> str:
    """Return the name of an attempt that may be shown: a part of its cookie's hash."""
    return hash_of(cookie)[:12]


def hash_of(word: str) -> str:
    """Return the hash of a random word: the store must not hold a word that a browser carries."""
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()


def _id(step: Step, word: str) -> str:
    return f"{step}-{hash_of(word)}"
