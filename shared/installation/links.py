"""Signed install links: a tenant's way into an install without its installation key, for an hour, once.

Opening a link proves nothing and uses nothing up, so a mail scanner cannot burn it; sending its form does. Links are signed with a
key derived from ENCRYPTION_KEYS: the first key signs, every key verifies, so a rotation breaks no link that is out.
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
# What is signed, and 32 bytes of signature, both in base64 for URLs.
_FORM = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class InstallLink:
    """The content of a link: whose install it starts, until when. `id` is what marks it as used.

    `key` names the installation key that it was made with, and ends with; "" for one that an operator made.
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
        """Return the store that these services stand on."""
        return cls(services.documents, services.keys, services.clock, services.new_id)

    def make(self, tenant: str, *, key: str = "") -> str:
        """Return the text of a new link; `key` is the id of the installation key that asks for it."""
        expiry = int((self._clock() + LIFE).timestamp())
        link = self._signed.dumps([tenant, expiry, self._new_id(), key])
        return link if isinstance(link, str) else link.decode()

    def read(self, text: str) -> InstallLink:
        """Return what the link says, without using it up.

        Raises:
            LinkUnreadableError: it was altered, or is none of ours.
            LinkSpentError: it has expired or was used.
        """
        if not _FORM.fullmatch(text):
            raise LinkUnreadableError("This link is not complete, or was changed.")
        try:
            # One that an earlier revision made says no key.
            tenant, expiry, id, *key = self._signed.loads(text)
        except BadData:
            raise LinkUnreadableError("This link is not complete, or was changed.") from None
        # Base64 has several spellings of the same bytes; a link has one.
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
        """Return what the link says and use it up; of any number of callers at once exactly one may.

        Raises: as `read` does.
        """
        link = self.read(text)
        try:
            self._documents.create(COLLECTION, link.id, {"expire_at": link.expires_at + LIFE})
        except DocumentExistsError:
            raise LinkSpentError("This link has expired or was used before.") from None
        return link


def install_link(tenant: str, services: "Services", *, key: str = "") -> tuple[str, datetime]:
    """Make a link and return its address, and until when it is valid. `key`: see `InstallLinks.make`."""
    links = InstallLinks.of(services)
    text = links.make(tenant, key=key)
    return f"{services.settings.public_url}/klaviyo/install?link={text}", links.read(text).expires_at
