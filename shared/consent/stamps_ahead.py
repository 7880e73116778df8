"""Consent stamps that lay in the future when Omneo reported them. A sync may run later, when nothing shows that any
longer.

A note exists under a keyed hash of profile, channel and stamp, and expires after a month. It does not contain the
consent itself.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from shared.consent.rules.decisions import read_stamp, stamp_name
from shared.consent.rules.memory import CLOCKS_APART, Memory
from shared.consent_events import Channel
from shared.errors import DocumentExistsError
from shared.storage.documents import Documents, delete_all
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services

# As long as Cloud Tasks keeps a task that it cannot deliver.
KEPT = timedelta(days=31)


class StampsAhead:
    """Keeps the stamps that lay in the future."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def ahead_in(self, comms: Mapping[str, Any]) -> dict[Channel, datetime]:
        """Return the stamps among Omneo's comms fields that lie in the future now."""
        stamps = {channel: read_stamp(comms.get(stamp_name(channel))) for channel in Channel}
        now = self._clock()
        return {
            channel: stamp
            for channel, stamp in stamps.items()
            if stamp is not None and stamp > now + CLOCKS_APART
        }

    def note(self, tenant: Tenant, profile_id: str, stamps: Mapping[Channel, datetime]) -> None:
        """Remember that these stamps of an Omneo profile lay in the future."""
        for channel, stamp in stamps.items():
            with suppress(DocumentExistsError):
                self._documents.create(
                    _collection(tenant),
                    _id(tenant, profile_id, channel, stamp),
                    {"expire_at": self._clock() + KEPT},
                )

    def told(
        self, tenant: Tenant, profile_id: str, comms: Mapping[str, Any], known: Mapping[Channel, Memory]
    ) -> dict[Channel, datetime]:
        """Return the stamps among Omneo's comms fields that lay in the future when Omneo reported them.

        Stamps that a memory has seen already are left out. Code that compares Omneo's stamps gives these to the memories first: see
        `with_stamps_ahead`.
        """
        found: dict[Channel, datetime] = {}
        oldest = self._clock() - KEPT
        for channel in known if tenant.ledger_key is not None else ():
            stamp, seen = read_stamp(comms.get(stamp_name(channel))), known[channel].seen
            # A stamp that lay in the future when it was noted is not older than the note.
            if stamp is None or stamp < oldest or (seen is not None and seen.stamp == stamp):
                continue
            if self._documents.get(_collection(tenant), _id(tenant, profile_id, channel, stamp)) is not None:
                found[channel] = stamp
        return found

    def forget(self, tenant: str) -> None:
        """Forget all of them."""
        delete_all(self._documents, f"tenants/{tenant}/stamps_ahead")


def _id(tenant: Tenant, profile_id: str, channel: Channel, stamp: datetime) -> str:
    if tenant.ledger_key is None:
        raise ValueError("the tenant has no ledger key")
    text = f"stamp\0{profile_id.casefold()}\0{channel}\0{stamp.isoformat()}"
    key = tenant.ledger_key.get_secret_value().encode()
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def _collection(tenant: Tenant) -> str:
    return f"tenants/{tenant.name}/stamps_ahead"
