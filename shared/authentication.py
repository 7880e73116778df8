"""Who is calling: Omneo by signature or shared secret. Pure; which tenant and which secrets arrive as arguments.

Every check goes through all secrets in constant time, newest first. An empty secret matches nothing.
"""

import hashlib
import hmac
from collections.abc import Iterable

from pydantic import SecretStr

from shared.tenants import StoredSecret


def omneo_signature_matches(signature: str, body: bytes, secrets: Iterable[StoredSecret]) -> bool:
    """Return whether `X-Omneo-Hmac-SHA256` is the lowercase hex HMAC-SHA256 of the raw body.

    As Omneo's PHP SDK and its sample app verify it: nothing but the body is signed.
    """
    return _matches_any(
        signature, (hmac.new(key, body, hashlib.sha256).hexdigest() for key in _keys(secrets))
    )


def shared_secret_matches(given: str, secrets: Iterable[StoredSecret]) -> bool:
    """Return whether `x-omneo-secret` is one of the tenant's webhook secrets."""
    return _matches_any(given, (key.decode() for key in _keys(secrets)))


def _keys(secrets: Iterable[StoredSecret]) -> Iterable[bytes]:
    return (value for secret in secrets if (value := _bytes(secret.value)))


def _bytes(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()


def _matches_any(given: str, expected: Iterable[str]) -> bool:
    # Headers are Latin-1 text; compare_digest takes only ASCII text, so compare bytes.
    found = False
    for candidate in expected:
        found |= hmac.compare_digest(given.encode("utf-8", "surrogatepass"), candidate.encode())
    return found
