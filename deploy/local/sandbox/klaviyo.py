"""Klaviyo's API as one service: credentials, limits, revisions and routes, and what a test may ask of it.

`POST /api/events` and `POST /oauth/token` for now; one row in `ENDPOINTS` and one method make another. Whatever has no
row is 404. Klaviyo's pages "API overview", "Rate limits, status codes, and errors", "API versioning and deprecation
policy".

Assumed: an unknown path is 404 and a wrong method 405 before the credential is looked at, a missing scope is 403 before
limits and body; a refused body still counts against the limits; `application/json` is not taken for
`application/vnd.api+json`; any date is a revision, since an unknown one falls to a neighbour.
"""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from deploy.local.sandbox import klaviyo_errors
from deploy.local.sandbox.clock import Clock
from deploy.local.sandbox.faults import Faults
from deploy.local.sandbox.identifiers import Identifiers
from deploy.local.sandbox.klaviyo_accounts import Account, Event, Profile
from deploy.local.sandbox.klaviyo_control import control
from deploy.local.sandbox.klaviyo_errors import MEDIA_TYPE, Problem
from deploy.local.sandbox.klaviyo_events import LARGEST_REQUEST, problems
from deploy.local.sandbox.klaviyo_oauth import SCOPES, OAuth, Tokens
from deploy.local.sandbox.messages import Answer, Request, UnreadableBodyError
from deploy.local.sandbox.record import Call, Calls
from deploy.local.sandbox.windows import Verdict, Window, Windows

REVISION = "2026-10-15"
XL = (Window(1, 350), Window(60, 3500))
_REVISION = re.compile(r"(\d{4}-\d{2}-\d{2})(\.[a-z0-9-]+)?")


@dataclass(frozen=True)
class Endpoint:
    """One row of Klaviyo's reference: the scopes it needs, its limits, and what carries it out."""

    scopes: frozenset[str]
    windows: Sequence[Window]
    carry_out: Callable[["Klaviyo", Account, Any, str], Answer]


class Klaviyo:
    """A Klaviyo with accounts, installs and everything they are sent. Every method may be called from any thread.

    `oauth` has the switches of the token endpoint.
    """

    def __init__(self, clock: Clock, identifiers: Identifiers, *, client_id: str, client_secret: str) -> None:
        self.url = ""
        self.calls = Calls()
        self.faults = Faults()
        self.fail = self.faults.fail
        self.clock = clock
        self.oauth = OAuth(clock, identifiers, client_id, client_secret)
        self._identifiers = identifiers
        self._lock = threading.RLock()
        self._windows = Windows(clock)
        self._accounts: dict[str, Account] = {}

    # What a test asks and arranges.

    def install(
        self,
        account: str,
        *,
        scopes: str = SCOPES,
        access_token: str | None = None,
        refresh_token: str | None = None,
    ) -> Tokens:
        """Install the app in `account`, which is made if needed, and return its tokens; made up if not given."""
        self._account(account)
        return self.oauth.install(
            account, scope=scopes, access_token=access_token, refresh_token=refresh_token
        )

    def profile(self, account: str, *, id: str | None = None, **attributes: Any) -> Profile:
        """Write a profile as Klaviyo's users would: found by id or identifier, else created."""
        with self._lock:
            return self._account(account).apply_profile(
                {"id": id, "attributes": attributes}, revision=REVISION
            )

    def events(self, account: str) -> list[Event]:
        """Return the events recorded, oldest first; a repeated unique_id is not among them."""
        with self._lock:
            return list(self._account(account).events)

    def profiles(self, account: str) -> list[Profile]:
        """Return the account's profiles, oldest first."""
        with self._lock:
            return list(self._account(account).profiles.values())

    def revoke(self, refresh_token: str) -> None:
        """End a refresh token: the next refresh is `invalid_grant`. KeyError if there is none like it."""
        self.oauth.revoke(refresh_token)

    def expire(self, access_token: str) -> None:
        """End an access token now: its next call is 401. KeyError if there is none like it."""
        self.oauth.expire(access_token)

    def uninstall(self, account: str) -> None:
        """Remove the app as a merchant does: calls are 401 and refreshes `invalid_grant`. The account's data stays."""
        self.oauth.uninstall(account)

    def reset(self) -> None:
        """Forget everything but the app's own credentials and switches."""
        with self._lock:
            self._accounts.clear()
            self._windows.clear()
            self.oauth.clear()
            self.calls.clear()
            self.faults.clear()

    # What the server asks.

    def answer(self, request: Request, call: Call) -> Answer:
        """Do what Klaviyo would do."""
        if request.path == "/oauth/token":
            return self._token(request, call)
        methods = {method for method, path in ENDPOINTS if path == request.path}
        if not methods:
            return klaviyo_errors.error(404)
        if request.method not in methods:
            return klaviyo_errors.error(405, Allow=", ".join(sorted(methods)))
        return self._call(request, call, ENDPOINTS[request.method, request.path])

    def control(self, request: Request) -> Answer:
        """Answer a call below `/_sandbox`."""
        return control(self, request)

    def refusal(self, status: int) -> Answer:
        """Return Klaviyo's own error answer for `status`."""
        return klaviyo_errors.throttled(1) if status == 429 else klaviyo_errors.error(status)

    def _token(self, request: Request, call: Call) -> Answer:
        if request.method != "POST":
            return klaviyo_errors.error(405, Allow="POST")
        answer, call.account = self.oauth.token(request)
        return answer

    def _call(self, request: Request, call: Call, endpoint: Endpoint) -> Answer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        install = self.oauth.holder(token) if scheme.lower() == "bearer" else None
        if install is None:
            return klaviyo_errors.error(401)
        call.account = install.account
        if missing := endpoint.scopes - set(install.scope.split()):
            return klaviyo_errors.error(403, Problem(f"Missing scopes: {', '.join(sorted(missing))}"))
        verdict = self._windows.take((install.account, request.method, request.path), endpoint.windows)
        if verdict.retry_after is not None:
            return klaviyo_errors.throttled(verdict.retry_after)
        answer = self._carry_out(request, endpoint, install.account)
        return Answer(answer.status, {**answer.headers, **_limits(endpoint.windows, verdict)}, answer.body)

    def _carry_out(self, request: Request, endpoint: Endpoint, account: str) -> Answer:
        revision = _revision(request.headers.get("revision", ""))
        if revision is None:
            return klaviyo_errors.error(400, Problem("The 'revision' header must be a date: YYYY-MM-DD."))
        if request.media_type != MEDIA_TYPE:
            return klaviyo_errors.error(415)
        try:
            if len(request.content()) > LARGEST_REQUEST:
                return klaviyo_errors.error(400, Problem("A request is at most 5 MB.", "/data"))
            document = request.json()
        except UnreadableBodyError as error:
            return klaviyo_errors.error(400, Problem(str(error), "/"))
        with self._lock:
            return endpoint.carry_out(self, self._account(account), document, revision)

    def _create_event(self, account: Account, document: Any, revision: str) -> Answer:
        if found := list(problems(document, now=self.clock())):
            return klaviyo_errors.invalid(found)
        account.create_event(document["data"]["attributes"], revision=revision)
        return Answer(202)

    def _account(self, id: str) -> Account:
        with self._lock:
            if id not in self._accounts:
                self._accounts[id] = Account(id, self.clock, self._identifiers)
            return self._accounts[id]


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", "/api/events"): Endpoint(frozenset({"events:write"}), XL, Klaviyo._create_event),
}


def _revision(text: str) -> str | None:
    match = _REVISION.fullmatch(text)
    try:
        return date.fromisoformat(match[1]).isoformat() if match else None
    except ValueError:
        return None


def _limits(windows: Sequence[Window], verdict: Verdict) -> dict[str, str]:
    sheet = ", ".join(f"{window.calls};w={window.seconds}" for window in windows)
    return {
        "RateLimit-Limit": f"{windows[0].calls}, {sheet}",
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(verdict.reset),
    }
