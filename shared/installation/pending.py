"""Installs that are on their way: what must be remembered between two steps of a merchant's browser.

Each is kept under the hash of a random word that the browser carries, is bound to that browser by a cookie, lives 15 minutes, and can
be taken out once. Its secrets are encrypted. A question that nobody answers in time holds a grant, so it is kept until the grant is given back.
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
_ANSWERING = timedelta(minutes=1)  # who answers at the last moment is at it so long
COLLECTION = "pending_installs"


class Step(StrEnum):
    """The step from which the browser comes back."""

    AUTHORIZE = "authorize"  # Klaviyo's answer; kept: the PKCE verifier
    CONFIRM = "confirm"  # the merchant's yes; kept: the tokens and the account
    NONE = "none"  # with nothing: Klaviyo did not say whose account it is; kept: the tokens, until they are given back


_HOLDS_A_GRANT = (Step.CONFIRM, Step.NONE)


@dataclass(frozen=True)
class PendingInstall:
    """An install between two steps. `kept` is what the next step needs."""

    tenant: str
    browser: str
    kept: dict[str, object]

    def bound_to(self, cookies: Iterable[str]) -> str:
        """Return the one of a browser's cookies that it was begun with, "" if this is another browser."""
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
        """Return the store that these services stand on."""
        return cls(services.documents, services.keys, services.clock, services.new_word)

    def issue(
        self, step: Step, tenant: str, *, cookie: str, kept: Mapping[str, object], account: str = ""
    ) -> str:
        """Remember an install and return the word that takes it out again. `account` is whose grant is kept, "" if none is."""
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
        """Return whether a merchant is being asked about this account right now: the grant is then theirs to keep or to give back."""
        found = self._documents.find(COLLECTION, where={"account": account})
        return any(_is_alive(document, self._clock()) for document in found)

    def unanswered(self) -> Iterator[tuple[str, PendingInstall]]:
        """Yield each question that nobody has answered in time, or could be asked, with its id."""
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
        """Seal again with the first key what an older one sealed of the tenant's installs, and return how many there were."""
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
    )  # one of an earlier release has but the second
    return isinstance(ends_at, datetime) and now < ends_at


def _watch_id(cookie: str) -> str:
    return f"watch-{hash_of(cookie)}"


def attempt_of(cookie: str) -> str:
    """Return what names an attempt where its cookie must not stand: a part of the cookie's hash."""
    return hash_of(cookie)[:12]


def hash_of(word: str) -> str:
    """Return what is stored of a random word: the store must not hold what a browser carries."""
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()


def _id(step: Step, word: str) -> str:
    return f"{step}-{hash_of(word)}"
