"""The audit: who did what to a tenant with a credential, kept for 400 days, and one log line for each act.

An entry holds only names: of settings, of profiles (by a keyed hash), of jobs (by their ids). It never holds a value or a secret. The audit
of a deleted tenant stays, because the deletion is part of it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from shared import logs
from shared.errors import StoreUnavailableError
from shared.storage.documents import Document, Documents, Value, each_document

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(days=400)
OPERATOR = "operator"  # a command: whoever can read the environment of the functions

EXTENSION = "extension"  # what the extension does by itself

LONGEST = 300  # characters of `about`


class Act(StrEnum):
    """An act with a credential."""

    CREATED = "tenant created"
    SETTINGS_CHANGED = "settings changed"
    LINK_MADE = "install link made"
    SECRET_ADDED = "secret added"  # noqa: S105 - an act, no secret
    SECRET_ENDED = "secret ended"  # noqa: S105 - an act, no secret
    INSTALLED = "installed"
    UNINSTALLED = "uninstalled"
    REPLAYED = "replayed"
    REVEALED = "personal values shown"
    RUN_BEGUN = "run begun"
    RUN_CHANGED = "run changed"
    HEALED = "heal begun"
    REPAIRED = "repaired"
    ERASED = "person erased"
    REHEARSED = "rehearsal begun"
    DELETED = "tenant deleted"
    TOLD = "operator told"


@dataclass(frozen=True)
class Entry:
    """One act: when, what, with which credential (`by`), and about what."""

    at: datetime
    act: str
    by: str
    about: str


class Audit:
    """Notes acts and tells them."""

    def __init__(
        self, documents: Documents, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._new_id = new_id

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the audit that these services keep."""
        return cls(services.documents, services.clock, services.new_id)

    def note(self, tenant: str, act: Act, *, by: str, about: str = "") -> None:
        """Note an act that was done just now. If the store cannot answer, only the log has the act, and the act is still done.

        `about` names what it was done to, and holds no value and nothing personal.
        """
        now, about = self._clock(), about[:LONGEST]
        logs.write(
            logging.INFO,
            "act with a credential",
            kind=logs.AUDIT,
            tenant=tenant,
            act=act.value,
            by=by,
            about=about,
        )
        fields: dict[str, Value] = {
            "at": now,
            "act": act.value,
            "by": by,
            "about": about,
            "expire_at": now + KEPT,
        }
        try:
            self._documents.create(_collection(tenant), f"{now:%Y%m%dT%H%M%S.%f}-{self._new_id()}", fields)
        except StoreUnavailableError:
            logs.write(
                logging.ERROR, "an act could not be recorded", kind=logs.AUDIT, tenant=tenant, act=act.value
            )

    def acts(self, tenant: str, *, since: datetime | None = None, limit: int = 1000) -> list[Entry]:
        """Return the last acts, at most `limit`, newest first; those since then alone, if given."""
        after = f"{since:%Y%m%dT%H%M%S.%f}" if since else None
        found = [
            _entry(document)
            for document in each_document(self._documents, _collection(tenant), after=after)
            if not self._has_expired(document)
        ]
        return found[::-1][:limit]

    def _has_expired(self, found: Document) -> bool:
        expiry = found.fields["expire_at"]
        return not isinstance(expiry, datetime) or expiry <= self._clock()


def by_key(id: str) -> str:
    """Return how the holder of an installation key stands in the audit. `id` is the key's: see tenants/keys.py."""
    return f"installation key {id}"


def _entry(document: Document) -> Entry:
    fields = document.fields
    at = fields["at"]
    if not isinstance(at, datetime):
        raise TypeError("an act's time is not a time")
    return Entry(at, str(fields["act"]), str(fields["by"]), str(fields["about"]))


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/audit"
