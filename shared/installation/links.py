"""Signed install links: a tenant's way into an install without its installation key, for an hour, once.

Only sending the form of a link uses it up; opening it does not, so a mail scanner cannot spoil it. Links are signed with a key derived from
ENCRYPTION_KEYS: the first key signs and every key verifies, so a rotation breaks no open link.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from shared.errors import DocumentExistsError, LinkSpentError, LinkUnreadableError
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing
from shared.tenants.tenants import is_tenant_name

if TYPE_CHECKING:
    from shared.services import Services

LIFE = timedelta(hours=1)
COLLECTION = "used_links"
_PURPOSE = b"install links"
# The signed text and 32 bytes of signature, both in base64 for URLs.
_FORM = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class InstallLink:
    """The content of a link: the tenant whose install it starts, and its expiry. `id` marks it as used.

    `key` names the installation key that it was made with: the link ends with that key. It is "" for a link that an operator made.
    """

    tenant: str
    expires_at: datetime
    id: str
    key: str = ""


class InstallLinks:
    """Makes, reads and uses up links."""

    def __init__(
        self, documents: Documents, keys: KeyRing, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._documents = documents
        # It signs with the last key and reads with each.
        self._signed = URLSafeSerializer(
            [keys.derive(id, _PURPOSE) for id in reversed(list(keys.keys))],
            salt=_PURPOSE,
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )
        self._clock = clock
        self._new_id = new_id

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.keys, services.clock, services.new_id)

    def make(self, tenant: str, *, key: str = "") -> str:
        """Return the text of a new link; `key` is the id of the installation key that asks for it."""
        expiry = int((self._clock() + LIFE).timestamp())
        link = self._signed.dumps([tenant, expiry, self._new_id(), key])
        return link if isinstance(link, str) else link.decode()

    def read(self, text: str) -> InstallLink:
        """Return the content of the link, without using it up.

        Raises:
            LinkUnreadableError: the link was altered, or is not ours.
            LinkSpentError: the link has expired or was used.
        """
        if not _FORM.fullmatch(text):
            raise LinkUnreadableError("This link is not complete, or was changed.")
        try:
            # A link that an earlier revision made names no key.
            tenant, expiry, id, *key = self._signed.loads(text)
        except BadData:
            raise LinkUnreadableError("This link is not complete, or was changed.") from None
        # Base64 has several spellings of the same bytes, but only one of them is a link.
        signature = text.rpartition(".")[2]
        if base64_encode(base64_decode(signature)).decode() != signature:
            raise LinkUnreadableError("This link is not complete, or was changed.")
        link = InstallLink(tenant, datetime.fromtimestamp(expiry, UTC), id, *key)
        if link.expires_at <= self._clock() or self._documents.get(COLLECTION, id) is not None:
            raise LinkSpentError("This link has expired or was used before.")
        if not is_tenant_name(tenant):
            raise LinkUnreadableError("This link names no tenant.")
        return link

    def use(self, text: str) -> InstallLink:
        """Return the content of the link and use it up. Exactly one of several callers at once succeeds.

        Raises: as `read` does.
        """
        link = self.read(text)
        try:
            self._documents.create(COLLECTION, link.id, {"expire_at": link.expires_at + LIFE})
        except DocumentExistsError:
            raise LinkSpentError("This link has expired or was used before.") from None
        return link


def install_link(tenant: str, services: "Services", *, key: str = "") -> tuple[str, datetime]:
    """Make a link and return its address and its expiry. `key`: see `InstallLinks.make`."""
    links = InstallLinks.of(services)
    text = links.make(tenant, key=key)
    return f"{services.settings.public_url}/klaviyo/install?link={text}", links.read(text).expires_at
