"""The refusals that are Omneo's own, and what they say. Pure.

Omneo's public sources show two forms: `{"errors": {field: [message]}}` with 422, and `{"message": "Unauthenticated."}` with 401. Both are
Laravel's, which says `{"message": "No query results for model [App\\\\Models\\\\Profile] ID"}` with the 404 of a thing that is not there. A
gateway in front of an API also answers `{"message": ...}`, for a path that it has lost or a caller that it does not let in. So the text of
a lone message decides.
"""

import re
from http import HTTPStatus
from typing import Any

from shared.http.answers import Problem

# What an error of Laravel's may hold beside; a gateway adds names of its own.
_LARAVELS = frozenset({"message", "errors", "exception", "file", "line", "trace"})
_THINGS = re.compile(
    r"profile|identit|reward|definition|webhook|interaction|attribute|comms|external.?id", re.IGNORECASE
)
# A path that is not known, or a caller that is not let through.
_GATEWAYS = re.compile(
    r"\broutes?\b|\bendpoint|\bno apis?\b|\bthis api\b|\bupstream|\bgateway|\burl\b|\bpage\b|\bpath\b|authentication token"
    r"|\bservices?\b|maintenance|ip address|\bwaf\b|/api/|\bcannot (?:get|post|put|patch|delete)\b",
    re.IGNORECASE,
)
# Whoever stands in front lets nobody in with such words; Laravel's own are "This action is unauthorized."
_BARRED = re.compile(r"\bnot authori[sz]ed|access (?:is )?denied|\bblocked\b", re.IGNORECASE)
# Some have had other names. No gateway speaks of a conflict.
_PHRASES = frozenset(status.phrase.casefold() for status in HTTPStatus) - {"conflict"} | {
    *(
        "",
        "request entity too large",
        "payload too large",
        "request-uri too long",
        "unprocessable entity",
        "bad gateway",
    ),
}
_REFUSALS = frozenset(range(400, 500)) - {401}  # a token that a gateway rejects is rejected


def read_problem(body: Any) -> Problem:
    """Read Laravel's validation errors, `{"errors": {field: [message]}}`, or its plain `{"message": ...}`.

    Raises:
        TypeError, KeyError, AttributeError: the body is neither.
    """
    errors = body.get("errors") or {}
    if not isinstance(errors, dict):
        raise TypeError("not Laravel's form of an error")
    for field, said in errors.items():
        if not isinstance(said, str | list):
            raise TypeError("not Laravel's form of an error")
        return Problem(code="invalid", field=str(field), detail=str(said))
    message = body["message"]
    if not isinstance(message, str) or body.keys() - _LARAVELS or _GATEWAYS.search(message):
        raise TypeError("not Laravel's form of an error, or a gateway's words")
    return Problem(detail=message, is_anybodys=_anybodys(message))


def _anybodys(message: str) -> frozenset[int]:
    """Return the statuses with which anybody might say this: every refusal if it is no more than a status' phrase, else a 404 of
    no thing, and a 403 of whoever lets nobody in.
    """
    if message.strip(" .!").casefold() in _PHRASES:
        return _REFUSALS
    barred = frozenset({403}) if _BARRED.search(message) else frozenset[int]()
    return barred if _THINGS.search(message) else barred | {404}
