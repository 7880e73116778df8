"""Identity tokens as Cloud Tasks sends them, signed with a key of the emulator's own.

Only this machine trusts the key. The database keeps it; only the owner can read its file.
Source: OidcToken in the Cloud Tasks API reference, and "Authenticating service-to-service" (Cloud Run) for the claims.
"""

import hashlib
import sqlite3
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from deploy.local.tasks.database import Database, DatabaseFormatError
from deploy.local.tasks.model import SECOND, HttpRequest

ISSUER = "https://accounts.google.com"
_LIFETIME_SECONDS = 3600


class Identity:
    """Signs tokens and publishes the key to check them with."""

    def __init__(self, database: Database) -> None:
        """Read the key pair from the database; make one at the first start."""
        private_key = database.write(_stored_key)
        public_pem = _public_pem(private_key)
        key_id = hashlib.sha256(public_pem.encode()).hexdigest()[:40]
        self._signer = crypt.RSASigner(private_key, key_id)  # type: ignore[no-untyped-call]  # google-auth has no annotation here
        self._certificates = {key_id: public_pem}

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


def _stored_key(connection: sqlite3.Connection) -> rsa.RSAPrivateKey:
    row = connection.execute("SELECT private_pem FROM signing_keys").fetchone()
    if row is not None:
        # validating a key takes longer than everything else at a start, and this one is our own
        stored = serialization.load_pem_private_key(
            row["private_pem"], None, unsafe_skip_rsa_key_validation=True
        )
        if not isinstance(stored, rsa.RSAPrivateKey):
            raise DatabaseFormatError("the database holds a signing key of another kind; remove the file")
        return stored
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private_pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    connection.execute("INSERT INTO signing_keys VALUES (?)", (private_pem,))
    return private_key


def _public_pem(private_key: rsa.RSAPrivateKey) -> str:
    pem = private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()
