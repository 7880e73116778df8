"""Headers and query parameters: those that Klaviyo refuses, and those of its answers about limits."""

import re
from collections.abc import Sequence
from datetime import date

from deploy.local.sandbox.klaviyo import errors
from deploy.local.sandbox.klaviyo.asked import Endpoint
from deploy.local.sandbox.klaviyo.errors import MEDIA_TYPE, Problem
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.windows import Verdict, Window

_WITH_BODY = ("POST", "PATCH")
_REVISION = re.compile(r"(\d{4}-\d{2}-\d{2})(\.[a-z0-9-]+)?")


def refuse_parameters(request: Request, endpoint: Endpoint) -> Answer | None:
    """Return the refusal of a query parameter that the endpoint does not list."""
    unknown = set(request.parameters) - endpoint.parameters
    if any(name.startswith("fields[") for name in unknown):
        return errors.error(501, Problem("The sandbox does not know sparse fieldsets."))
    wrong = [Problem(f"'{name}' is not a valid parameter.", parameter=name) for name in sorted(unknown)]
    return errors.invalid(wrong) if wrong else None


def refuse_headers(request: Request) -> Answer | None:
    """Return the refusal of a header that is missing or wrong."""
    if not revision_of(request):
        return errors.error(400, Problem("The 'revision' header must be a date: YYYY-MM-DD."))
    if has_body(request) and request.media_type != MEDIA_TYPE:
        return errors.error(415)
    return None


def has_body(request: Request) -> bool:
    """Return whether the call has a document."""
    return request.method in _WITH_BODY or (request.method == "DELETE" and request.body != b"")


def revision_of(request: Request) -> str:
    """Return the revision that the call names, "" if it names none."""
    match = _REVISION.fullmatch(request.headers.get("revision", ""))
    try:
        return date.fromisoformat(match[1]).isoformat() if match else ""
    except ValueError:
        return ""


def limits(windows: Sequence[Window], verdict: Verdict) -> dict[str, str]:
    """Return the headers that tell the limits of a call."""
    sheet = ", ".join(f"{window.calls};w={window.seconds}" for window in windows)
    return {
        "RateLimit-Limit": f"{windows[0].calls}, {sheet}",
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(verdict.reset),
    }
