"""Installation keys: an operator gives one to a merchant, and callers of `admin` send it.

A key is shown once and stored as a hash. It has 160 random bits, so nobody can guess it, and a plain SHA-256 is enough.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

_PREFIX = "oik_"  # so that a secret scanner and a person recognise a key


def new_installation_key() -> str:
    """Return a key with 160 random bits."""
    return _PREFIX + secrets.token_urlsafe(20)


def hash_of(key: str) -> str:
    """Return the stored hash of a key: the hex SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(hashed: str) -> str:
    """Return the id of a key, for places that must show neither the key nor its hash."""
    return hashed[:8]


def matches(key: str, hashes: Iterable[str]) -> bool:
    """Return whether `key` has one of these hashes. It compares with every hash in constant time."""
    given = hash_of(key)
    found = False
    for hashed in hashes:
        found |= hmac.compare_digest(given, hashed)
    return found
