"""Which refusals are Omneo's own, and their contents. Pure.

Omneo's public sources show two forms: `{"errors": {field: [message]}}` with 422, and `{"message": "Unauthenticated."}` with 401. Both are
Laravel's, which says `{"message": "No query results for model [App\\\\Models\\\\Profile] ID"}` with the 404 of a thing that is not there. A
gateway in front of an API also answers `{"message": ...}`, for a path that it has lost or a caller that it does not let in. So the text of
a lone message decides.
"""

import re
from http import HTTPStatus
from typing import Any

from shared.http.answers import Problem

# The further names in an error of Laravel's; a gateway adds names of its own.
_LARAVELS = frozenset({"message", "errors", "exception", "file", "line", "trace"})
_THINGS = re.compile(
    r"profile|identit|reward|definition|webhook|interaction|attribute|comms|external.?id", re.IGNORECASE
)
# The words of a gateway about an unknown path or a caller that it refuses.
_GATEWAYS = re.compile(
    r"\broutes?\b|\bendpoint|\bno apis?\b|\bthis api\b|\bupstream|\bgateway|\burl\b|\bpage\b|\bpath\b|authentication token"
    r"|\bservices?\b|maintenance|ip address|\bwaf\b|/api/|\bcannot (?:get|post|put|patch|delete)\b",
    re.IGNORECASE,
)
# A gateway refuses a caller with such words; Laravel's own are "This action is unauthorized."
_BARRED = re.compile(r"\bnot authori[sz]ed|access (?:is )?denied|\bblocked\b", re.IGNORECASE)
# Some statuses have had other names. No gateway answers with a conflict.
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
_REFUSALS = frozenset(range(400, 500)) - {401}  # a gateway's 401 rejects the token too


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
    """Return the statuses with which a gateway could say this: every refusal for the bare phrase of a status, else a 404 of no thing, and a
    403 of whoever lets nobody in.
    """
    if message.strip(" .!").casefold() in _PHRASES:
        return _REFUSALS
    barred = frozenset({403}) if _BARRED.search(message) else frozenset[int]()
    return barred if _THINGS.search(message) else barred | {404}
