"""The third policy, for browsers: every outcome of an install is a page that a merchant understands, sent safely."""

import io
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared import logs
from shared.errors import OwnServiceError, UnknownPathError, WrongMethodError
from shared.installation.pages import render
from shared.installation.pages.refusals import OUR_FAULT, OUR_PAUSE, Explanation, explained
from shared.installation.pending import attempt_of
from shared.installation.steps import Handler
from shared.installation.visits import GoTo, InstallRefusedError, Page, Visit
from shared.services import Services
from shared.settings import Settings
from shared.traffic.rules.counts import message_shown
from shared.web.answers import NOTHING_THERE, as_json, log_answer, refuse
from shared.web.calls import read_body, traceparent_of
from shared.web.endpoints import take_over_from_the_framework
from shared.web.slow_bodies import SlowBodies

COOKIE = "klaviyo_install"  # the name of the attempt follows
COOKIE_SECONDS = 3600
LARGEST_FORM = 16_000
_SLOW = SlowBodies.up_to(LARGEST_FORM)
_AHEAD = ("Sec-Purpose", "Purpose", "X-Moz")  # the headers of a browser that loads a page in advance


def pages(
    name: str, services: Services, routes: Mapping[tuple[str, str], Handler]
) -> Callable[[Request], Response]:
    """Return the function that serves these routes. A route is a method and a path."""

    def show(request: Request) -> Response:
        started = time.monotonic()
        with logs.context(function=name, traceparent=traceparent_of(request.headers)):
            try:
                handler = _handler(routes, request)
                shown = handler(_visit(request), services)
            except (UnknownPathError, WrongMethodError) as error:
                return refuse(error, started)
            except Exception as error:  # noqa: BLE001 - the one place where an unforeseen error becomes a page
                return _explain(error, services.settings, started)
            response = _response(shown, services.settings)
            log_answer(logging.INFO, response.status_code, started, "shown", **_said(shown))
            return response

    show.__name__ = name
    take_over_from_the_framework(name)
    return show


def _handler(routes: Mapping[tuple[str, str], Handler], request: Request) -> Handler:
    asked = request.path.rstrip("/")  # somebody may have written the app's address with a slash at its end
    methods = [method for method, path in routes if path == asked]
    if not methods:
        raise UnknownPathError(NOTHING_THERE)
    if request.method not in methods:
        raise WrongMethodError(f"Use {' or '.join(methods)} here.", allowed=", ".join(methods))
    logs.note(method=request.method, path=asked)
    return routes[request.method, asked]


def _visit(request: Request) -> Visit:
    try:
        with _SLOW.watched(request.environ):
            body = read_body(
                request, LARGEST_FORM
            )  # the limit holds for every body, whatever its content type
        if len(body) > LARGEST_FORM:
            raise RequestEntityTooLarge
        fields = request.form if request.method == "POST" else request.args
    except (HTTPException, OSError):
        fields = request.args  # a form that is too large, broken or late counts as an empty one
        request.stream = (
            io.BytesIO()
        )  # the framework reads the rest of the body, and would fail at the limit again
    return Visit(
        fields=fields.to_dict(),
        cookies=tuple(word for name, word in request.cookies.items() if name.startswith(COOKIE)),
        origin=request.headers.get("Origin", ""),
        is_ahead=any(request.headers.get(name, "").startswith("prefetch") for name in _AHEAD),
    )


def _response(shown: Page | GoTo | list[dict[str, str]], settings: Settings) -> Response:
    match shown:
        case Page():
            return _html(shown, settings)
        case GoTo():
            response = _guarded(Response(status=302, headers={"Location": shown.url}), settings, nonce="")
            response.set_cookie(
                f"{COOKIE}_{attempt_of(shown.cookie)}",
                shown.cookie,
                max_age=COOKIE_SECONDS,
                path="/klaviyo",
                secure=settings.public_url.startswith("https:"),
                httponly=True,
                samesite="Lax",
            )
            return response
        case list():
            return as_json(200, {"steps": shown})


def _said(shown: Page | GoTo | list[dict[str, str]]) -> dict[str, str]:
    """Return the message of a form that is shown again after a refusal, as a field of a log line."""
    problem = shown.values.get("problem") if isinstance(shown, Page) else None
    return {"said": message_shown(problem)} if isinstance(problem, str) and problem else {}


def _explain(error: Exception, settings: Settings, started: float) -> Response:
    fields = {"error": logs.where(error)}
    if isinstance(error, InstallRefusedError):
        explanation, severity, reason = (
            explained(error.refusal, error.reason),
            logging.WARNING,
            error.refusal.value,
        )
        fields = {}
    elif isinstance(error, OwnServiceError):
        explanation, severity, reason = OUR_PAUSE, logging.ERROR, "unavailable"
    else:
        explanation, severity, reason = OUR_FAULT, logging.CRITICAL, "internal_error"
    said = message_shown(explanation.message)
    log_answer(severity, explanation.status, started, reason, said=said, **fields)
    return _html(_problem(explanation), settings)


def _problem(explanation: Explanation) -> Page:
    values = {"title": explanation.title, "message": explanation.message, "advice": explanation.advice}
    return Page("problem", values, explanation.status)


def _html(page: Page, settings: Settings) -> Response:
    nonce = secrets.token_urlsafe(16)
    about = {
        "publisher": settings.app_publisher,
        "help_url": settings.help_url,
        "privacy_url": settings.privacy_url,
    }
    html = render(page.name, nonce=nonce, **about, **page.values)
    return _guarded(Response(html, page.status, mimetype="text/html"), settings, nonce)


def _form_targets(settings: Settings) -> str:
    """Return the other hosts to which a form may lead. Klaviyo sends merchants on to other hosts of its own for the login."""
    klaviyo = urlsplit(settings.klaviyo_authorize_url)
    is_klaviyo = f".{klaviyo.hostname}".endswith(".klaviyo.com")
    return f"{klaviyo.scheme}://{klaviyo.netloc}" + (" https://*.klaviyo.com" if is_klaviyo else "")


def _guarded(response: Response, settings: Settings, nonce: str) -> Response:
    """Add the headers that isolate a page: no foreign script, style, frame or form target, no cache, no referrer to others."""
    response.headers.update(
        {
            # The form leads to Klaviyo by a redirect, and browsers hold redirects of forms to form-action too.
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self';"
                f" form-action 'self' {_form_targets(settings)}; base-uri 'none'; frame-ancestors 'none'"
            ),
            # Not no-referrer: with it, a browser would send "null" as the origin of our own forms.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cache-Control": "no-store",
        }
    )
    if settings.public_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response
