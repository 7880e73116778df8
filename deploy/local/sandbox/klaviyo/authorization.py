"""Klaviyo's authorize page: checks what the app asks for, lets the merchant choose, and sends the browser back.

Klaviyo's pages "Set up OAuth" and "Handle your app's OAuth flow", its samples, and RFC 6749, 4.1.1 and 4.1.2.1: this
page shows faults of the client or the redirect URI, because no address is safe for the browser; all other faults go
back to the app.

Assumed (authorize-page):
the codes of what goes back (RFC 6749); a missing `state` goes back as `invalid_request`; whoever sees the page
is logged in and may install in every account there is.
"""

import re
from collections import Counter
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit

from deploy.local.sandbox.klaviyo.oauth import OAuth, read_form
from deploy.local.sandbox.klaviyo.webhooks import LOOPBACK
from deploy.local.sandbox.stage.messages import Answer, Request

_CHALLENGE = re.compile(r"[a-zA-Z0-9\-_]{43}")
_HTML = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}


def authorize(oauth: OAuth, request: Request, accounts: Mapping[str, str]) -> tuple[Answer, str | None]:
    """Answer `GET` or `POST /oauth/authorize`, and say which account has decided; `accounts` are names by id."""
    asked = request.parameters
    if wrong := _untrusted(oauth, request):
        return _message(wrong), None
    if refusal := _refusal(oauth, asked):
        return _back(asked, **refusal), None
    decision, account = _decision(oauth, request, accounts)
    if decision is None:
        return _ask(oauth, asked["scope"], accounts), None
    if decision not in ("allow", "deny") or account not in accounts:
        return _message("Choose an account, and Allow or Deny."), None
    if decision == "deny":
        description = "The resource owner or authorization server denied the request."
        return _back(asked, error="access_denied", error_description=description), account
    return _back(asked, code=oauth.issue_code(account, asked)), account


def _untrusted(oauth: OAuth, request: Request) -> str:
    names = Counter(name for name, _ in parse_qsl(request.query, keep_blank_values=True))
    asked = request.parameters
    if any(count > 1 for count in names.values()):
        return "A parameter is there more than once."
    if asked.get("client_id") != oauth.client_id:
        return "This app is not known: check client_id."
    if not _is_allowed(asked.get("redirect_uri", ""), oauth):
        return "This redirect_uri is not on the app's list."
    return ""


def _is_allowed(uri: str, oauth: OAuth) -> bool:
    if oauth.redirect_uris is not None:
        return uri in oauth.redirect_uris
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.hostname in LOOPBACK and "#" not in uri


def _refusal(oauth: OAuth, asked: Mapping[str, str]) -> dict[str, str]:
    scopes = set(asked.get("scope", "").split())
    error, description = "invalid_request", ""
    if asked.get("response_type") != "code":
        error, description = "unsupported_response_type", "response_type must be 'code'."
    elif not asked.get("state"):
        description = "state is required."
    elif not scopes or scopes - set(oauth.app_scopes.split()):
        error, description = "invalid_scope", "Ask for scopes that are enabled in the app."
    elif asked.get("code_challenge_method") != "S256":
        description = "code_challenge_method must be 'S256'."
    elif not _CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        description = 'Missing or invalid "code_challenge"'
    return {"error": error, "error_description": description} if description else {}


def _decision(oauth: OAuth, request: Request, accounts: Mapping[str, str]) -> tuple[str | None, str]:
    if request.method == "POST":
        form = read_form(request) or {}
        return form.get("decision", ""), form.get("account", "")
    return oauth.auto_consent, oauth.consent_account or next(iter(accounts), "")


def _back(asked: Mapping[str, str], **outcome: str) -> Answer:
    uri = asked["redirect_uri"]
    joint = "&" if urlsplit(uri).query else "?"
    echoed = {"state": asked["state"]} if "state" in asked else {}
    location = f"{uri}{joint}{urlencode({**outcome, **echoed})}"
    return Answer(302, {"Location": location, "Cache-Control": "no-store"})


def _ask(oauth: OAuth, scope: str, accounts: Mapping[str, str]) -> Answer:
    if not accounts:
        return _message("There is no account yet. Make one in the sandbox first.")
    choices = "".join(
        f'<option value="{escape(id)}">{escape(name)} ({escape(id)})</option>'
        for id, name in accounts.items()
    )
    scopes = "".join(f"<li>{escape(name)}</li>" for name in scope.split())
    app = escape(oauth.app_name)
    # No action: the form goes to this very address, query and all.
    return _page(
        200,
        f"Connect {app}",
        f"""<form method="post">
<h1>Allow {app} to access <select name="account" aria-label="Klaviyo account">{choices}</select>?</h1>
<ul>{scopes}</ul>
<button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
</form>""",
    )


def _message(text: str) -> Answer:
    return _page(400, "This request cannot be completed", f"<h1>{escape(text)}</h1>")


def _page(status: int, title: str, content: str) -> Answer:
    page = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title} - sandbox Klaviyo</title></head>
<body>
{content}
<p>This is the sandbox, not Klaviyo.</p>
</body>
</html>
"""
    return Answer(status, _HTML, page.encode())
