"""The console as a Flask application: its pages, its callers, and the headers of every answer."""

import ipaddress
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, render_template, request
from werkzeug.exceptions import HTTPException

from deploy.local.console.asking import UnansweredError
from deploy.local.console.here import Here
from deploy.local.console.page import EXTENSION, Page

NAMES = ("127.0.0.1", "localhost", "[::1]")
LARGEST_FORM = 2_000_000  # bytes
_SAFE = ("GET", "HEAD", "OPTIONS")
_FOREIGN = "The console answers on this machine alone, under the address that make run has printed."
_FORGED = "Another page has sent this. The console takes orders from its own pages alone."


def make_app(here: Here, pages: Iterable[Page]) -> Flask:
    """Return the application; `here` holds the parts that its pages may ask."""
    app = Flask("deploy.local.console", static_url_path="/console/static")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_FORM
    app.config["MAX_FORM_MEMORY_SIZE"] = LARGEST_FORM
    app.config["TEMPLATES_AUTO_RELOAD"] = True  # a changed template shows at the next load of the page
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.extensions[EXTENSION] = here
    shown = list(pages)
    for page in shown:
        app.register_blueprint(page)
    app.context_processor(lambda: {"pages": shown, "csp_nonce": g.get("csp_nonce", "")})
    app.jinja_env.filters["moment"] = lambda at: datetime.fromtimestamp(at, UTC).isoformat(
        timespec="milliseconds"
    )
    app.jinja_env.filters["clock"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    app.jinja_env.filters["utc"] = _utc
    app.before_request(lambda: _only_from_here(here.place.url))
    app.after_request(_keep_to_itself)
    app.register_error_handler(HTTPException, _tell)
    app.register_error_handler(UnansweredError, _tell_unanswered)
    return app


def _utc(text: str) -> str:
    """Return a time of an API as a person reads it, to the second; any other text as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at.tzinfo else text


def _only_from_here(url: str) -> None:
    """Refuse a caller on another machine, and a page of another address in a browser on this machine."""
    g.csp_nonce = secrets.token_urlsafe(16)
    port = urlsplit(url).port
    hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
    if request.host.lower() not in hosts or not all(map(_is_loopback, _callers())):
        abort(403, _FOREIGN)
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.host.lower()}":
        abort(403, _FORGED)
    if request.method not in _SAFE and request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        abort(403, _FORGED)


def _callers() -> list[str]:
    """Return the addresses that the gateway and any proxy before it have given."""
    told = request.headers.get("X-Forwarded-For", "").split(",")
    return [name.strip() for name in (*told, request.remote_addr or "") if name.strip()]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _keep_to_itself(response: Response) -> Response:
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"style-src 'self' 'nonce-{g.get('csp_nonce', '')}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers.update(
        {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
    )
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response


def _tell(error: HTTPException) -> tuple[str, int]:
    return _problem(error.description or error.name), error.code or 500


def _tell_unanswered(error: UnansweredError) -> tuple[str, int]:
    return _problem(str(error)), 502


def _problem(sentence: str) -> str:
    part = "_problem.html" if request.headers.get("HX-Request") else "problem.html"
    return render_template(part, sentence=sentence)
