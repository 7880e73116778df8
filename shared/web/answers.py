"""The answers to callers: the one table from errors to statuses, and the log line of a call. This module knows no path and no room."""

import json
import logging
import math
import time
from collections.abc import Mapping

from flask import Response

from shared import logs
from shared.errors import (
    CapReachedError,
    ConflictError,
    DocumentMissingError,
    ExtensionError,
    InvalidPayloadError,
    NotAuthenticatedError,
    NotInstalledError,
    OwnServiceError,
    PayloadTooLargeError,
    ProfileNotFoundError,
    UnknownPathError,
    UnsupportedMediaTypeError,
    WaitError,
    WrongMethodError,
)
from shared.traffic.rules.counts import message_shown, reason_shown

RETRY_AFTER_SECONDS = 5
LONGEST_RETRY_AFTER = 3600

# The status and the code of each error. Any other error is a bug: 500.
ANSWERS: Mapping[type[ExtensionError], tuple[int, str]] = {
    UnknownPathError: (404, "not_found"),
    WrongMethodError: (405, "method_not_allowed"),
    NotAuthenticatedError: (401, "unauthorized"),
    UnsupportedMediaTypeError: (415, "unsupported_media_type"),
    PayloadTooLargeError: (413, "payload_too_large"),
    InvalidPayloadError: (400, "invalid_payload"),
    NotInstalledError: (409, "not_installed"),
    ConflictError: (409, "conflict"),
    ProfileNotFoundError: (404, "profile_not_found"),
    CapReachedError: (429, "limit_reached"),
    DocumentMissingError: (409, "conflict"),  # the tenant was deleted while the call ran
    OwnServiceError: (503, "unavailable"),
    WaitError: (503, "unavailable"),
}
BUG = (500, "internal_error")
NOTHING_THERE = "There is nothing at this path."


def refuse(error: Exception, started: float) -> Response:
    """Answer an error by the table, and log it. The log of a caller's mistake has the message, the log of our own has the place in the
    code.
    """
    status, code = next((row for kind, row in ANSWERS.items() if isinstance(error, kind)), BUG)
    message = "Something went wrong on our side; it has been logged." if status == 500 else str(error)
    if status < 500:
        log_answer(logging.WARNING, status, started, code, said=_said(error))
    else:
        severity = logging.CRITICAL if status == 500 else logging.ERROR
        log_answer(severity, status, started, code, error=logs.where(error), said=message_shown(message))
    response = as_json(status, {"error": {"code": code, "message": message}})
    if status in {429, 503}:
        response.headers["Retry-After"] = str(_seconds_to_wait(error))
    if isinstance(error, WrongMethodError):
        response.headers["Allow"] = error.allowed
    return response


def _said(error: Exception) -> str:
    """Return the message of a refusal. For a wrong credential it is the true reason, which the caller does not get."""
    because = error.because if isinstance(error, NotAuthenticatedError) else ""
    return message_shown(because or str(error))


def reason_of(status: int, error: Exception) -> str:
    """Return the reason under which a refused call counts."""
    return reason_shown(status, "a bug of ours" if status == 500 else _said(error))


def _seconds_to_wait(error: Exception) -> int:
    asked = error.retry_after if isinstance(error, WaitError | CapReachedError) else None
    return RETRY_AFTER_SECONDS if asked is None else min(max(1, math.ceil(asked)), LONGEST_RETRY_AFTER)


def as_json(status: int, reply: Mapping[str, object]) -> Response:
    """Return a JSON answer that nobody caches."""
    response = Response(json.dumps(reply), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def log_answer(severity: int, status: int, started: float, reason: str, **fields: str) -> None:
    """Write the one line of a call. `started` is of the monotonic clock."""
    seconds = round(time.monotonic() - started, 4)
    logs.write(severity, "call answered", status=status, reason=reason, seconds=seconds, **fields)
