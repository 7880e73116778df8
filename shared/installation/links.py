"""Signed install links: a tenant's way into an install without its installation key, for an hour, once.

Opening a link proves nothing and uses nothing up, so a mail scanner cannot burn it; sending its form does. Links are signed with a
key derived from ENCRYPTION_KEYS: the first key signs, every key verifies, so a rotation breaks no link that is out.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentExistsError, LinkSpentError, LinkUnreadableError
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing
from shared.tenants.tenants import is_tenant_name

if TYPE_CHECKING:
    from shared.services import Services

LIFE = timedelta(hours=1)
COLLECTION = "used_links"
_PURPOSE = b"install links"


@dataclass(frozen=True)
class InstallLink:
    """What a link says: whose install it starts, until when. `id` is what marks it as used."""

    tenant: str
    expires_at: datetime
    id: str


class InstallLinks:
    """Makes, reads and uses up links."""

    def __init__(
        self, documents: Documents, keys: KeyRing, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._documents = documents
        self._keys = keys
        self._clock = clock
        self._new_id = new_id

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.keys, services.clock, services.new_id)

    def make(self, tenant: str) -> str:
        """Return the text of a new link."""
        expiry = int((self._clock() + LIFE).timestamp())
        said = _encode(json.dumps([tenant, expiry, self._new_id()]).encode())
        return f"{said}.{self._signature(self._keys.writing_key, said)}"

    def read(self, text: str) -> InstallLink:
        """Return what the link says, without using it up.

        Raises:
            LinkUnreadableError: it was altered, or is none of ours.
            LinkSpentError: it has expired or was used.
        """
        said, _, signature = text.partition(".")
        if not self._is_ours(said, signature):
            raise LinkUnreadableError("This link is not complete, or was changed.")
        tenant, expiry, id = json.loads(_decode(said))
        link = InstallLink(tenant, datetime.fromtimestamp(expiry, UTC), id)
        if link.expires_at <= self._clock() or self._documents.get(COLLECTION, id) is not None:
            raise LinkSpentError("This link has expired or was used before.")
        if not is_tenant_name(tenant):
            raise LinkUnreadableError("This link names no tenant.")
        return link

    def use(self, text: str) -> InstallLink:
        """Return what the link says and use it up; of any number of callers at once exactly one may.

        Raises: as `read` does.
        """
        link = self.read(text)
        try:
            self._documents.create(COLLECTION, link.id, {"expire_at": link.expires_at + LIFE})
        except DocumentExistsError:
            raise LinkSpentError("This link has expired or was used before.") from None
        return link

    def _is_ours(self, said: str, signature: str) -> bool:
        # As text: base64 has several spellings of the same bytes.
        given = signature.encode("utf-8", "replace")
        found = False
        for id in self._keys.keys:
            found |= hmac.compare_digest(given, self._signature(id, said).encode())
        return found

    def _signature(self, key_id: str, said: str) -> str:
        key = self._keys.derive(key_id, _PURPOSE)
        return _encode(hmac.new(key, said.encode("utf-8", "replace"), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii", "strict") + b"=" * (-len(text) % 4))
