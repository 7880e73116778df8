"""Secrets at rest: AES-256-GCM under a ring of named keys.

A reader of the database alone learns nothing, because the keys are in the environment. Tenant and field are bound into each ciphertext as
associated data, so a secret that is moved to another tenant or field does not decrypt. This module knows no store.
"""

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import UndecryptableError
from shared.settings import encryption_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # NIST SP 800-38D: 96 bits is the length GCM is made for


def new_key() -> str:
    """Return 32 random bytes in base64, fit for ENCRYPTION_KEYS."""
    return base64.b64encode(os.urandom(32)).decode()


@dataclass(frozen=True)
class KeyRing:
    """Named keys. The first one encrypts; every one decrypts."""

    keys: Mapping[str, bytes] = field(repr=False)
    random_bytes: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read `id:key,id:key`, each key base64 of 32 bytes.

        Raises:
            ValueError: the message says what is wrong, without any part of a key.
        """
        return cls(encryption_keys(text))

    @property
    def writing_key(self) -> str:
        """The id of the key that encrypts."""
        return next(iter(self.keys))

    def encrypt(self, secret: str, *, tenant: str, field: str) -> str:
        """Return `key id`.`base64(nonce + ciphertext)`."""
        return self.encrypt_bytes(secret.encode(), tenant=tenant, field=field)

    def encrypt_bytes(self, secret: bytes, *, tenant: str, field: str) -> str:
        """Return the same for bytes."""
        nonce = self.random_bytes(_NONCE_BYTES)
        sealed = self._cipher(self.writing_key).encrypt(nonce, secret, _context(tenant, field))
        return f"{self.writing_key}.{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, sealed: str, *, tenant: str, field: str) -> str:
        """Return the secret.

        Raises:
            UndecryptableError: the key is not in the ring, or the text belongs elsewhere or was changed.
        """
        try:
            return self.decrypt_bytes(sealed, tenant=tenant, field=field).decode()
        except UnicodeDecodeError:  # carries the secret
            raise UndecryptableError(f"{field} of {tenant} does not hold text") from None

    def decrypt_bytes(self, sealed: str, *, tenant: str, field: str) -> bytes:
        """Return the same as bytes. Raises as `decrypt` does."""
        id, _, encoded = sealed.partition(".")
        if id not in self.keys:
            raise UndecryptableError(
                f"{field} of {tenant} was written with a key that ENCRYPTION_KEYS no longer lists"
            )
        from cryptography.exceptions import InvalidTag

        try:
            raw = base64.b64decode(encoded, validate=True)
            return self._cipher(id).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _context(tenant, field))
        except (InvalidTag, ValueError) as error:
            raise UndecryptableError(f"{field} of {tenant} does not decrypt") from error

    def derive(self, id: str, purpose: bytes) -> bytes:
        """Return 32 bytes that follow from one key, for `purpose` alone: HKDF, RFC 5869."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), 32, salt=None, info=purpose).derive(self.keys[id])

    def is_current(self, sealed: str) -> bool:
        """Return whether `sealed` was written with the key that encrypts now."""
        return sealed.partition(".")[0] == self.writing_key

    def _cipher(self, id: str) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self.keys[id])


def _context(tenant: str, field: str) -> bytes:
    # Tenant names hold no slash, so no two pairs share a context.
    return f"{tenant}/{field}".encode()
