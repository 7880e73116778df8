"""Klaviyo's token endpoint and the installs it knows. Whoever holds an access token is looked up here; what the token
may do is for the caller to check.

Klaviyo's pages "Set up OAuth" and "Troubleshoot OAuth errors", and recorded answers: the refresh token comes back
unchanged, and older access tokens work until they expire.

Assumed: `invalid_client` is 401, other refusals 400 (RFC 6749, 5.2); the answer beyond ten refreshes a minute is the
API's 429; the limit counts refreshes that would have succeeded.
"""

import base64
import hmac
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from deploy.local.sandbox import klaviyo_errors
from deploy.local.sandbox.clock import Clock
from deploy.local.sandbox.identifiers import Identifiers
from deploy.local.sandbox.messages import Answer, Request, json_answer
from deploy.local.sandbox.windows import Window, Windows

FORM = "application/x-www-form-urlencoded"
SCOPES = (
    "accounts:read events:write events:read metrics:read profiles:read profiles:write lists:read lists:write"
    " subscriptions:read subscriptions:write custom-objects:read custom-objects:write webhooks:read webhooks:write"
    " data-privacy:write"
)


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint hands out, and the account it is for. `expires_in` is in seconds."""

    account: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    scope: str
    token_type: str = "bearer"  # noqa: S105 (RFC 6749's word, no secret)

    def to_json(self) -> dict[str, object]:
        """Return the body of a successful answer."""
        return {
            "access_token": self.access_token,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "refresh_token": self.refresh_token,
            "scope": self.scope,
        }


@dataclass(eq=False)
class Install:
    """One installation of the app in one account."""

    account: str
    scope: str
    refresh_token: str = field(repr=False)
    revoked: bool = False


@dataclass
class Grant:
    """An access token and when it stops working, in Unix seconds."""

    install: Install
    expires_at: float


@dataclass
class OAuth:
    """The authorization server. The plain fields are switches; change them at any time.

    `rotates`: each refresh gives a new refresh token and ends the old one. `docs_spelling`: refusals say
    `invalid_grant_type`, as the troubleshooting page has it.
    """

    clock: Clock
    identifiers: Identifiers
    client_id: str
    client_secret: str = field(repr=False)
    access_token_seconds: int = 3600
    refreshes_per_minute: int = 10
    rotates: bool = False
    docs_spelling: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._windows = Windows(self.clock)
        self._grants: dict[str, Grant] = {}
        self._installs: dict[str, Install] = {}

    def install(
        self, account: str, *, scope: str, access_token: str | None = None, refresh_token: str | None = None
    ) -> Tokens:
        """Install the app, as if a merchant had gone through the pages, and return the first tokens."""
        install = Install(account, scope, refresh_token or self.identifiers.token("refresh"))
        with self._lock:
            self._installs[install.refresh_token] = install
            return self._grant(install, access_token)

    def holder(self, access_token: str) -> Install | None:
        """Return the install an access token belongs to, None if it is unknown or has expired."""
        with self._lock:
            grant = self._grants.get(access_token)
        return grant.install if grant and self.clock() < grant.expires_at else None

    def expire(self, access_token: str) -> None:
        """End an access token now."""
        with self._lock:
            self._grants[access_token].expires_at = self.clock()

    def revoke(self, refresh_token: str) -> None:
        """End a refresh token; access tokens given out for it work until they expire."""
        with self._lock:
            self._installs[refresh_token].revoked = True

    def uninstall(self, account: str) -> None:
        """End everything that the account's installs were given."""
        with self._lock:
            for install in self._installs.values():
                install.revoked = install.revoked or install.account == account
            self._grants = {
                token: grant for token, grant in self._grants.items() if grant.install.account != account
            }

    def clear(self) -> None:
        """Forget every install."""
        with self._lock:
            self._grants.clear()
            self._installs.clear()
            self._windows.clear()

    def token(self, request: Request) -> tuple[Answer, str | None]:
        """Answer `POST /oauth/token`, and say which account it was for."""
        if not self._is_client(request.headers.get("authorization", "")):
            return _refuse(401, "invalid_client", "Client authentication failed."), None
        form = _form(request)
        if form is None:
            return self._refuse_grant("invalid_request", "Send the parameters form-encoded."), None
        match form.get("grant_type"):
            case "refresh_token":
                return self._refresh(form.get("refresh_token", ""))
            case _:
                return self._refuse_grant("unsupported_grant_type", "Unsupported grant type."), None

    def _refresh(self, refresh_token: str) -> tuple[Answer, str | None]:
        with self._lock:
            install = self._installs.get(refresh_token)
            if install is None or install.revoked or install.refresh_token != refresh_token:
                return self._refuse_grant("invalid_grant", "The refresh token is invalid."), None
            verdict = self._windows.take(install, [Window(60, self.refreshes_per_minute)])
            if verdict.retry_after is not None:
                return klaviyo_errors.throttled(verdict.retry_after), install.account
            if self.rotates:
                install.refresh_token = self.identifiers.token("refresh")
                self._installs[install.refresh_token] = install
            return json_answer(200, self._grant(install, None).to_json()), install.account

    def _grant(self, install: Install, access_token: str | None) -> Tokens:
        token = access_token or self.identifiers.token("access")
        self._grants[token] = Grant(install, self.clock() + self.access_token_seconds)
        return Tokens(install.account, token, install.refresh_token, self.access_token_seconds, install.scope)

    def _is_client(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except ValueError:
            return False
        expected = f"{self.client_id}:{self.client_secret}"
        return scheme.lower() == "basic" and hmac.compare_digest(pair.encode(), expected.encode())

    def _refuse_grant(self, code: str, description: str) -> Answer:
        return _refuse(400, "invalid_grant_type" if self.docs_spelling else code, description)


def _form(request: Request) -> dict[str, str] | None:
    if request.media_type != FORM:
        return None
    try:
        return dict(parse_qsl(request.body.decode("ascii"), keep_blank_values=True))
    except ValueError:
        return None


def _refuse(status: int, code: str, description: str) -> Answer:
    return json_answer(status, {"error": code, "error_description": description})
