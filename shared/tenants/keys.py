"""Installation keys: an operator gives one to a merchant, and callers of `admin` send it.

A key is shown once and stored as a hash. It holds 160 random bits, so a plain SHA-256 is enough: there is nothing to guess.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

_PREFIX = "oik_"  # lets a secret scanner, and a person, see what it is


def new_installation_key() -> str:
    """Return a key with 160 random bits."""
    return _PREFIX + secrets.token_urlsafe(20)


def hash_of(key: str) -> str:
    """Return what is stored of a key: the hex SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(hashed: str) -> str:
    """Return what names a key where neither it nor its hash may stand."""
    return hashed[:8]


def matches(key: str, hashes: Iterable[str]) -> bool:
    """Return whether `key` is one of those hashed, comparing with every one in constant time."""
    given = hash_of(key)
    found = False
    for hashed in hashes:
        found |= hmac.compare_digest(given, hashed)
    return found
