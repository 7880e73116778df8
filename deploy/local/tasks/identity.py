"""Identity tokens as Cloud Tasks sends them, signed with a key of the emulator's own.

Nobody outside this machine trusts the key. It is kept in the database, whose file only its owner can read.
Source: OidcToken in the Cloud Tasks API reference, and "Authenticating service-to-service" (Cloud Run) for the claims.
"""

import hashlib
import sqlite3
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from deploy.local.tasks.database import Database
from deploy.local.tasks.model import SECOND, HttpRequest

ISSUER = "https://accounts.google.com"
_LIFETIME_SECONDS = 3600


class Identity:
    """Signs tokens and publishes the key to check them with."""

    def __init__(self, database: Database) -> None:
        """Read the key pair from the database; make one at the first start."""
        key_id, private_pem = database.write(_stored_key)
        self._signer = crypt.RSASigner.from_string(private_pem, key_id)  # type: ignore[no-untyped-call]  # google-auth has no annotation here
        self._certificates = {key_id: _public_pem(private_pem)}

    @property
    def certificates(self) -> dict[str, str]:
        """The public key as Google publishes its own: {key id: PEM}."""
        return dict(self._certificates)

    def token(self, request: HttpRequest, *, now: int) -> str:
        """Return the token for a request that asks for one, valid for an hour; an empty string for any other.

        The audience is the one asked for, else the URL without its query.
        """
        email = request.service_account_email
        if not email:
            return ""
        subject = str(int.from_bytes(hashlib.sha256(email.encode()).digest()[:8], "big"))
        claims = {
            "iss": ISSUER,
            "aud": request.audience or urlsplit(request.url)._replace(query="", fragment="").geturl(),
            "azp": subject,
            "sub": subject,
            "email": email,
            "email_verified": True,
            "iat": now // SECOND,
            "exp": now // SECOND + _LIFETIME_SECONDS,
        }
        encoded: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]  # nor here
        return encoded.decode()


def _stored_key(connection: sqlite3.Connection) -> tuple[str, bytes]:
    row = connection.execute("SELECT id, private_pem FROM signing_keys").fetchone()
    if row is not None:
        return row["id"], row["private_pem"]
    private_pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key_id = hashlib.sha256(_public_pem(private_pem).encode()).hexdigest()[:40]
    connection.execute("INSERT INTO signing_keys VALUES (?, ?)", (key_id, private_pem))
    return key_id, private_pem


def _public_pem(private_pem: bytes) -> str:
    public = serialization.load_pem_private_key(private_pem, password=None).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()
