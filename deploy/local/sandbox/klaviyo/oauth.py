"""Klaviyo's token and revoke endpoints and the installs they know. The account of an access token is looked up here;
the caller checks the rights of the token. `authorization.py` is the page for the merchant.

Klaviyo's pages "Set up OAuth" and "Troubleshoot OAuth errors", its samples, and recorded answers: the refresh token comes
back unchanged, and older access tokens work until they expire.

Assumed (token-endpoint):
`invalid_client` is 401, other refusals 400 (RFC 6749, 5.2); the answer beyond ten refreshes a minute is the
API's 429; the limit counts refreshes that would have succeeded; the body of a revocation's 200 is empty; either token of
an install may be revoked, and one that nobody knows is 200 too (RFC 7009).
"""

import base64
import hmac
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from deploy.local.sandbox.klaviyo import errors
from deploy.local.sandbox.klaviyo.codes import Codes, RefusedError
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Answer, Request, json_answer
from deploy.local.sandbox.stage.windows import Window, Windows

FORM = "application/x-www-form-urlencoded"
SCOPES = (
    "accounts:read events:write events:read metrics:read profiles:read profiles:write lists:read lists:write"
    " subscriptions:read subscriptions:write custom-objects:read custom-objects:write webhooks:read webhooks:write"
    " data-privacy:write"
)


@dataclass(frozen=True)
class Tokens:
    """The tokens of the token endpoint, and their account. `expires_in` is in seconds."""

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

    `rotates`: each refresh gives a new refresh token and ends the old one. `docs_spelling`: refusals of a refresh say
    `invalid_grant_type`, as the troubleshooting page has it. `reinstall_ends_older`: a new install of an account ends
    its older refresh tokens. `app_scopes` are those enabled in the app, `redirect_uris` its allow list, None for
    anything on loopback. `auto_consent` answers for the merchant, and `consent_account` says for which account, which
    is made if needed; None for the first there is.
    """

    clock: Clock
    identifiers: Identifiers
    client_id: str
    client_secret: str = field(repr=False)
    access_token_seconds: int = 3600
    refreshes_per_minute: int = 10
    rotates: bool = False
    docs_spelling: bool = False
    reinstall_ends_older: bool = False
    app_name: str = "Omneo"
    app_scopes: str = SCOPES
    redirect_uris: Sequence[str] | None = None
    auto_consent: Literal["allow", "deny"] | None = None
    consent_account: str | None = None

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._windows = Windows(self.clock)
        self._codes = Codes(self.clock, self.identifiers)
        self._grants: dict[str, Grant] = {}
        self._installs: dict[str, Install] = {}

    def install(
        self, account: str, *, scope: str, access_token: str | None = None, refresh_token: str | None = None
    ) -> Tokens:
        """Install the app without the pages for the merchant, and return the first tokens."""
        install = Install(account, scope, refresh_token or self.identifiers.token("refresh"))
        with self._lock:
            if self.reinstall_ends_older:
                self._end_refresh_tokens(account)
            self._installs[install.refresh_token] = install
            return self._grant(install, access_token)

    def issue_code(self, account: str, asked: Mapping[str, str]) -> str:
        """Return an authorization code for the parameters of an acceptable authorize request."""
        with self._lock:
            return self._codes.issue(
                account=account,
                scope=asked["scope"],
                client_id=asked["client_id"],
                redirect_uri=asked["redirect_uri"],
                challenge=asked["code_challenge"],
            )

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
            self._end_refresh_tokens(account)
            self._grants = {
                token: grant for token, grant in self._grants.items() if grant.install.account != account
            }

    def clear(self) -> None:
        """Forget every install."""
        with self._lock:
            self._grants.clear()
            self._codes.clear()
            self._installs.clear()
            self._windows.clear()

    def token(self, request: Request) -> tuple[Answer, str | None]:
        """Answer `POST /oauth/token`, and say which account it was for."""
        if not self._is_client(request.headers.get("authorization", "")):
            return _refuse(401, "invalid_client", "Client authentication failed."), None
        form = read_form(request)
        if form is None:
            return self._refuse_grant("invalid_request", "Send the parameters form-encoded."), None
        match form.get("grant_type"):
            case "authorization_code":
                return self._exchange(form)
            case "refresh_token":
                return self._refresh(form.get("refresh_token", ""))
            case _:
                return self._refuse_grant("unsupported_grant_type", "Unsupported grant type."), None

    def revocation(self, request: Request) -> tuple[Answer, str | None]:
        """Answer `POST /oauth/revoke`, which disconnects the app in the token's account, and say which that was."""
        if not self._is_client(request.headers.get("authorization", "")):
            return _refuse(401, "invalid_client", "Client authentication failed."), None
        form = read_form(request) or {}
        if not form.get("token"):
            return _refuse(400, "invalid_request", "Send 'token' form-encoded."), None
        if form.get("token_type_hint", "refresh_token") not in ("refresh_token", "access_token"):
            return _refuse(400, "unsupported_token_type", "Unsupported token type."), None
        with self._lock:
            install = self._live_install(form["token"]) or self.holder(form["token"])
            if install is None:
                return Answer(200), None
            self.uninstall(install.account)
        return Answer(200), install.account

    def _exchange(self, form: dict[str, str]) -> tuple[Answer, str | None]:
        with self._lock:
            try:
                code = self._codes.redeem(form, client_id=self.client_id)
            except RefusedError as refused:
                return _refuse(400, refused.code, refused.description), None
            tokens = self.install(code.account, scope=code.scope)
        return json_answer(200, tokens.to_json()), code.account

    def _refresh(self, refresh_token: str) -> tuple[Answer, str | None]:
        with self._lock:
            install = self._live_install(refresh_token)
            if install is None:
                return self._refuse_grant("invalid_grant", "The refresh token is invalid."), None
            verdict = self._windows.take(install, [Window(60, self.refreshes_per_minute)])
            if verdict.retry_after is not None:
                return errors.throttled(verdict.retry_after), install.account
            if self.rotates:
                install.refresh_token = self.identifiers.token("refresh")
                self._installs[install.refresh_token] = install
            return json_answer(200, self._grant(install, None).to_json()), install.account

    def _live_install(self, refresh_token: str) -> Install | None:
        install = self._installs.get(refresh_token)
        if install is None or install.revoked or install.refresh_token != refresh_token:
            return None
        return install

    def _end_refresh_tokens(self, account: str) -> None:
        for install in self._installs.values():
            install.revoked = install.revoked or install.account == account

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


def read_form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form-encoded body, None if it is not one."""
    if request.media_type != FORM:
        return None
    try:
        return dict(parse_qsl(request.body.decode("ascii"), keep_blank_values=True))
    except ValueError:
        return None


def _refuse(status: int, code: str, description: str) -> Answer:
    return json_answer(status, {"error": code, "error_description": description})
