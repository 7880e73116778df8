"""Authorization codes: each is made at a consent and exchanged once. No HTTP here, and no tokens.

Klaviyo's pages "Set up OAuth" and "Troubleshoot OAuth errors": a code lives five minutes, the verifier matches
`^[a-zA-Z0-9\\-._~]{43,128}$`, and the messages about it are theirs. RFC 6749, 4.1.3: a code is bound to its client and
its redirect URI.

Assumed (authorization-codes):
a malformed or missing parameter is `invalid_request` and anything else `invalid_grant` (RFC 6749 and 7636); an
exchange that was refused does not use the code up; a second exchange does not end the tokens of the first.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.local.sandbox.stage.identifiers import Identifiers

LIFETIME = 300.0
_VERIFIER = re.compile(r"[a-zA-Z0-9\-._~]{43,128}")


class RefusedError(Exception):
    """The code cannot be exchanged; `code` and `description` are the answer's."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(code)
        self.code = code
        self.description = description


@dataclass
class Code:
    """The merchant's consent to an install. `expires_at` is in Unix seconds."""

    account: str
    scope: str
    client_id: str
    redirect_uri: str
    challenge: str = field(repr=False)
    expires_at: float
    used: bool = False


class Codes:
    """The codes given out. Callers hold the lock of the authorization server."""

    def __init__(self, clock: Callable[[], float], identifiers: Identifiers) -> None:
        self._clock = clock
        self._identifiers = identifiers
        self._codes: dict[str, Code] = {}

    def issue(self, *, account: str, scope: str, client_id: str, redirect_uri: str, challenge: str) -> str:
        """Return a new code."""
        text = self._identifiers.token("code")
        expires_at = self._clock() + LIFETIME
        self._codes[text] = Code(account, scope, client_id, redirect_uri, challenge, expires_at)
        return text

    def redeem(self, form: Mapping[str, str], *, client_id: str) -> Code:
        """Use up the code that an exchange's form names, and return its grant.

        Raises:
            RefusedError: it cannot be used, or not with these parameters.
        """
        if not form.get("code"):
            raise RefusedError("invalid_request", 'Missing "code" in request.')
        code = self._codes.get(form["code"])
        if code is None or code.used or self._clock() >= code.expires_at or code.client_id != client_id:
            raise RefusedError("invalid_grant", 'Invalid "code" in request.')
        if form.get("redirect_uri") != code.redirect_uri:
            raise RefusedError("invalid_grant", 'Invalid "redirect_uri" in request.')
        verifier = form.get("code_verifier", "")
        if not verifier:
            raise RefusedError("invalid_request", 'Missing "code_verifier"')
        if not _VERIFIER.fullmatch(verifier):
            raise RefusedError("invalid_request", 'Invalid "code_verifier"')
        if _challenge(verifier) != code.challenge:
            raise RefusedError("invalid_grant", "Code challenge failed.")
        code.used = True
        return code

    def clear(self) -> None:
        """Forget every code."""
        self._codes.clear()


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
