"""The check of a caller: Omneo by signature or shared secret, Klaviyo by signature. Pure; the tenant and the secrets arrive as arguments.

Every check goes through all secrets in constant time, newest first. An empty secret matches nothing.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable

from shared.tenants.tenants import StoredSecret


def signing_secret(signature: str, body: bytes, secrets: Iterable[StoredSecret]) -> str:
    """Return the id of the secret with which `X-Omneo-Hmac-SHA256` signs the raw body, "" if there is none.

    The signature is the lowercase hex HMAC-SHA256, as Omneo's PHP SDK and its sample app verify it: only the body is signed.
    """
    return _matching(signature, secrets, lambda key: hmac.new(key, body, hashlib.sha256).hexdigest().encode())


def shared_secret(given: str, secrets: Iterable[StoredSecret]) -> str:
    """Return the id of the webhook secret in `x-omneo-secret`, "" if it is not valid."""
    return _matching(given, secrets, lambda key: key)


def klaviyo_secret(signature: str, timestamp: str, body: bytes, secrets: Iterable[StoredSecret]) -> str:
    """Return the id of the webhook secret with which `Klaviyo-Signature` signs a delivery, "" if there is none.

    The signature is the lowercase hex HMAC-SHA256 of the raw body followed by the unchanged `Klaviyo-Timestamp` header. The clock in that
    header is hours off, so nothing else uses it. https://developers.klaviyo.com/en/docs/working_with_system_webhooks
    """
    stamped = timestamp.encode("utf-8", "surrogatepass")

    def signed(key: bytes) -> bytes:
        mac = hmac.new(key, body, hashlib.sha256)  # a body of 25 MB is not copied
        mac.update(stamped)
        return mac.hexdigest().encode()

    return _matching(signature, secrets, signed)


def _matching(given: str, secrets: Iterable[StoredSecret], expected: Callable[[bytes], bytes]) -> str:
    # Headers are Latin-1 text; compare_digest takes only ASCII text, so compare bytes.
    encoded, found = given.encode("utf-8", "surrogatepass"), ""
    for secret in secrets:
        key = secret.value.get_secret_value().encode()
        if hmac.compare_digest(encoded, expected(key)) and key and not found:
            found = secret.id
    return found
