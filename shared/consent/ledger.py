"""The consent ledger: a record of each consent decision, either way, kept three years. The answer to "why is she unsubscribed?".

A profile appears only as a hash under a key of its tenant. So a person who has only the database cannot find the
profile of a record, and cannot try out ids. The key is sealed in the tenant: sealing it again with a new encryption key
changes no hash.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from shared.consent_events import Channel
from shared.errors import DocumentExistsError
from shared.storage.documents import Document, Documents, Value, delete_all, each_document
from shared.tenants.tenants import Tenant, TenantStore

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(days=3 * 365 + 1)


@dataclass(frozen=True)
class ConsentRecord:
    """A decision on one channel.

    `at` is the time of the event that caused it. `before` and `after` are short words such as "subscribed",
    "unsubscribed", "unset" or "bounced". `source` is the author: "klaviyo:unsubscribed_from_email_marketing", "omneo",
    "resync". `event_id` names the one act, so that it is recorded once: the event's id, or without an event the stamp
    of the decision.
    """

    at: datetime
    channel: Channel
    before: str
    after: str
    source: str
    event_id: str
    recorded_at: datetime | None = None  # the ledger's own clock; None until it is recorded


class ConsentLedger:
    """Keeps and gives records. Every tenant it is handed has a key: see `ensure_ledger_key`; one without is a ValueError."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def record(self, tenant: Tenant, omneo_profile_id: str, record: ConsentRecord) -> None:
        """Record a decision. Again by the same profile, channel, source and event id changes nothing.

        Raises:
            ValueError: the event id is missing; with none, a second decision would pass for the first.
        """
        if not record.event_id:
            raise ValueError("a consent record needs an event id")
        id = _hash(tenant, "record", omneo_profile_id, record.channel, record.source, record.event_id)
        now = self._clock()
        written: dict[str, Value] = {
            **asdict(replace(record, recorded_at=now)),
            "profile": _hash(tenant, "profile", omneo_profile_id),
            "expire_at": now + KEPT,
        }
        try:
            self._documents.create(_collection(tenant.name), id, written)
        except DocumentExistsError:
            return

    def records_of(self, tenant: Tenant, omneo_profile_id: str, limit: int) -> list[ConsentRecord]:
        """Return the profile's records, at most `limit`, newest first by the times of their events."""
        found = self._all(tenant, omneo_profile_id)
        standing = [_decode(document) for document in found if not self._has_expired(document)]
        standing.sort(key=_age, reverse=True)
        return standing[:limit]

    def forget_profile(self, tenant: Tenant, omneo_profile_id: str) -> None:
        """Forget every record of the profile."""
        for document in self._all(tenant, omneo_profile_id):
            self._documents.delete(_collection(tenant.name), document.id)

    def forget(self, tenant: str) -> None:
        """Forget every record of the tenant."""
        delete_all(self._documents, _collection(tenant))

    def _all(self, tenant: Tenant, omneo_profile_id: str) -> Iterator[Document]:
        where = {"profile": _hash(tenant, "profile", omneo_profile_id)}
        return each_document(self._documents, _collection(tenant.name), where=where)

    def _has_expired(self, found: Document) -> bool:
        expiry = found.fields["expire_at"]
        return not isinstance(expiry, datetime) or expiry <= self._clock()


def new_ledger_key() -> SecretStr:
    """Return a key of 256 random bits."""
    return SecretStr(secrets.token_hex(32))


def ensure_ledger_key(tenants: TenantStore, name: str) -> Tenant:
    """Return the tenant as it is stored now, with a ledger key: its own, or for a tenant from before there were any, a new one.

    Raises:
        DocumentMissingError: there is no such tenant.
    """

    def with_key(tenant: Tenant) -> Tenant:
        if tenant.ledger_key is not None:
            return tenant
        return tenant.model_copy(update={"ledger_key": new_ledger_key()})

    return tenants.change(name, with_key)


def _hash(tenant: Tenant, *parts: str) -> str:
    if tenant.ledger_key is None:
        raise ValueError("the tenant has no ledger key")
    # Joined by a character that no id holds, so that no two lists of parts make the same text.
    text = "\0".join(parts)
    return hmac.new(tenant.ledger_key.get_secret_value().encode(), text.encode(), hashlib.sha256).hexdigest()


_STORED = frozenset(field.name for field in fields(ConsentRecord))


def _decode(document: Document) -> ConsentRecord:
    stored: dict[str, Any] = {name: value for name, value in document.fields.items() if name in _STORED}
    return ConsentRecord(**stored)


def _age(record: ConsentRecord) -> tuple[datetime, datetime]:
    return record.at, record.recorded_at or record.at


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/consent_ledger"
