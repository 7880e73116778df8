"""Where HTTP ends: two policies, `endpoint` and `worker`, that hold every status code of the extension.

`endpoint` answers people and services: the status says what they should do. `worker` answers Cloud Tasks: the status
decides whether it delivers again. Flask is known here and in the functions' main.py, nowhere else.
"""

import io
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flask import Request, Response, current_app, has_app_context, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared import logs
from shared.direction import Direction
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
    SlowBodyError,
    UnknownPathError,
    UnsupportedMediaTypeError,
    WaitError,
    WrongMethodError,
)
from shared.http.deadlines import lasting, time_to_answer
from shared.jobs.jobs import Delivery, Outcome
from shared.receipts import Receipts
from shared.services import Services
from shared.tenants.tenants import Tenant, is_tenant_name
from shared.traffic.rules.counts import Row, What, message_shown, reason_shown
from shared.traffic.traffic import Traffic
from shared.web.json_bodies import parse_json
from shared.web.slow_bodies import SlowBodies

RETRY_AFTER_SECONDS = 5
LONGEST_RETRY_AFTER = 3600
TASK_LARGEST = 2_000_000  # a task holds at most 1 MiB

# What an error means to a caller. Whatever is not here is a bug: 500.
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

Reply: TypeAlias = tuple[int, Mapping[str, object]]


@dataclass
class Counted:
    """Where a call counts, once it is known whose it is: one that names no tenant of ours counts nowhere."""

    tenant: Tenant | None = None
    services: Services | None = None
    is_left_out: bool = False

    def by(self, tenant: Tenant, services: Services) -> None:
        """Let the call count as one of this tenant's."""
        self.tenant, self.services = tenant, services

    def leave_out(self) -> None:
        """Let the call count nowhere, however it ends: it is a question, as a dry run is."""
        self.is_left_out = True

    def accepted(self, status: int, reply: Mapping[str, object], fields: Mapping[str, Any]) -> None:
        """Count the call, and leave a receipt of the job that it is answered with. `fields` are those of its log line."""
        self._count(Row(fields["target"], What.ACCEPTED, fields.get("metric", "")), fields.get("records", 1))
        id = reply.get("id")
        if status == 202 and isinstance(id, str) and self.tenant and self.services:
            kind, metric = fields.get("kind", ""), fields.get("metric", "")
            Receipts.of(self.services).queued(self.tenant, id, kind, metric)

    def refused(self, reason: str, fields: Mapping[str, Any]) -> None:
        """Count the call as one that was refused for this reason."""
        self._count(Row(fields["target"], What.REFUSED, fields.get("metric", ""), reason))

    def _count(self, row: Row, number: int = 1) -> None:
        if self.tenant and self.services and not self.is_left_out:
            Traffic.of(self.services).count(self.tenant.name, row, number)


@dataclass(frozen=True)
class Call:
    """A call that has come in: its path's variables, query, headers (any case) and raw body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    traceparent: str
    counted: Counted = field(default_factory=Counted)


def endpoint(
    method: str, path: str, *, largest: int, within: float = math.inf
) -> Callable[[Callable[[Call], Reply]], Callable[[Request], Response]]:
    """Answer callers of one path with what the function returns or raises. See `endpoints`."""

    def decorate(function: Callable[[Call], Reply]) -> Callable[[Request], Response]:
        return endpoints(function.__name__, {(method, path): function}, largest=largest, within=within)

    return decorate


def endpoints(
    name: str,
    routes: Mapping[tuple[str, str], Callable[[Call], Reply]],
    *,
    largest: int,
    within: float = math.inf,
) -> Callable[[Request], Response]:
    """Answer callers of these methods and paths with what each route's function returns or raises.

    `{tenant}` in a path, if it is there, must be a tenant's name. `largest` is the most a body may hold, in bytes. The answer leaves
    `within` so many seconds, a cold start included: everything that a route waits for ends before (deadlines.py).
    """
    table = [Route(method, path, function) for (method, path), function in routes.items()]
    slow = SlowBodies.up_to(largest)
    take_over_from_the_framework(name)

    def answer(request: Request) -> Response:
        started, counted = time.monotonic(), Counted()
        with (
            logs.context(function=name, traceparent=traceparent_of(request.headers), target=name) as fields,
            lasting(time_to_answer(started, within)),
        ):
            try:
                route, variables = _match(table, request)
                fields |= {name: value for name, value in variables.items() if name == "tenant"}
                fields |= {"method": route.method, "path": route.path}
                body = _body(request, largest, slow)
                _check_query(request)
                call = Call(variables, request.args, request.headers, body, fields["traceparent"], counted)
                status, reply = route.function(call)
            except Exception as error:  # noqa: BLE001 - the one place where an unforeseen error becomes an answer
                response = refuse(error, started)
                counted.refused(_reason(response.status_code, error), fields)
                return response
            counted.accepted(status, reply, fields)
            log_answer(logging.INFO, status, started, "accepted")
            return as_json(status, reply)

    answer.__name__ = name  # functions-framework looks functions up by name
    return answer


def worker(
    direction: Direction,
) -> Callable[[Callable[[Delivery], Outcome]], Callable[[Request], Response]]:
    """Answer Cloud Tasks: 200 when it may forget the task, 503 when our store or queue fails, 500 for a bug.

    Cloud Run checks Google's identity token before the call arrives and strips its signature, so nothing is checked here.
    """

    slow = SlowBodies.up_to(TASK_LARGEST)

    def decorate(function: Callable[[Delivery], Outcome]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            started = time.monotonic()
            with logs.context(function=function.__name__):
                try:
                    outcome = function(_delivery(direction, request, slow))
                except Exception as error:  # noqa: BLE001 - the same, for the queue
                    return refuse(error, started)
                return as_json(200, {"outcome": outcome})

        answer.__name__ = function.__name__
        take_over_from_the_framework(function.__name__)
        return answer

    return decorate


def take_over_from_the_framework(name: str) -> None:
    """Let paths that the framework hands to no function be answered as other unknown paths are, and no body be read but by a function.

    Such paths are one with a line break in it, and /robots.txt. Before it answers, the framework reads whatever is left of a body, and waits
    for its end as long as the caller likes: half-sent bodies to unknown paths would hold every thread. gunicorn waits some seconds at most.
    The framework loads a function within the application that serves it.
    """

    def refused(_: HTTPException) -> Response:
        with logs.context(function=name, traceparent=traceparent_of(request.headers)):
            return refuse(UnknownPathError(NOTHING_THERE), time.monotonic())

    def put_body_aside() -> None:
        request.stream = io.BytesIO()

    if has_app_context():
        current_app.register_error_handler(404, refused)
        current_app.before_request(put_body_aside)


def read_body(request: Request, largest: int) -> bytes:
    """Return the body, cut behind `largest` bytes and one more. A body in chunks does not say its length.

    Raises:
        RequestEntityTooLarge, HTTPException, OSError: it is larger and says so; it ends early.
    """
    vars(request).pop("stream", None)  # it was put aside
    request.max_content_length = largest + 1
    return request.get_data()


def json_body(call: Call, *, lenient: bool = False) -> Any:
    """Return the body's JSON value. Takes what `parse_json` takes, and raises as it does."""
    return parse_json(call.headers.get("Content-Type", ""), call.body, lenient=lenient)


class Route:
    """A method and a path's template, and what answers there."""

    def __init__(self, method: str, path: str, function: Callable[[Call], Reply]) -> None:
        self.method = method
        self.path = path
        self.function = function
        self.pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def _check_query(request: Request) -> None:
    """Raise InvalidPayloadError where a parameter stands in the URL twice: which is meant cannot be told."""
    if any(len(values) > 1 for values in request.args.listvalues()):
        raise InvalidPayloadError("A parameter stands in the URL more than once.")


def _match(table: list[Route], request: Request) -> tuple[Route, Mapping[str, str]]:
    matching = [
        (route, found.groupdict())
        for route in table
        if (found := route.pattern.fullmatch(request.path)) and _is_anybodys(found.groupdict())
    ]
    if not matching:
        raise UnknownPathError(NOTHING_THERE)
    for route, variables in matching:
        if route.method == request.method:
            return route, variables
    methods = [route.method for route, _ in matching]
    raise WrongMethodError(f"Use {' or '.join(methods)} here.", allowed=", ".join(methods))


def _is_anybodys(variables: Mapping[str, str]) -> bool:
    """Return whether a path's variables name what could be a tenant, or its path is of none."""
    return "tenant" not in variables or is_tenant_name(variables["tenant"])


def _body(request: Request, largest: int, slow: SlowBodies) -> bytes:
    body, ended_early = None, False
    with slow.watched(request.environ) as reading:
        try:
            body = read_body(request, largest)
        except RequestEntityTooLarge:
            pass  # no body was read, which is refused below as too large
        except (HTTPException, OSError):
            ended_early = True
    if reading is not None and reading.is_late:
        raise SlowBodyError(f"The body was not here after {slow.seconds:.0f} seconds. Send it again.")
    if ended_early:
        raise InvalidPayloadError("The body ended early.")
    if body is None or len(body) > largest:
        # The framework reads what is left of a body, and would stumble over the limit again.
        request.stream = io.BytesIO()
        raise PayloadTooLargeError(f"Send at most {largest // 1000} KB.")
    return body


def _delivery(direction: Direction, request: Request, slow: SlowBodies) -> Delivery:
    if (request.method, request.path) != ("POST", f"/tasks/{direction}"):
        raise UnknownPathError(f"Tasks are delivered by POST to /tasks/{direction}.")
    headers = request.headers
    retries = headers.get("X-CloudTasks-TaskRetryCount", "0")
    return Delivery(
        direction=direction,
        body=_body(request, TASK_LARGEST, slow),
        queue=headers.get("X-CloudTasks-QueueName", ""),
        task=headers.get("X-CloudTasks-TaskName", ""),
        tenant=headers.get("X-Extension-Tenant", ""),
        retries=int(retries) if retries.isascii() and retries.isdigit() else 0,
    )


def refuse(error: Exception, started: float) -> Response:
    """Answer with what the table says of the error, and log it: a caller's fault is theirs to read, ours says where."""
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
    """Return what a refused caller was told; of a credential rather what is wrong with it, which the caller is not told."""
    because = error.because if isinstance(error, NotAuthenticatedError) else ""
    return message_shown(because or str(error))


def _reason(status: int, error: Exception) -> str:
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


def traceparent_of(headers: Headers) -> str:
    """Return the caller's W3C trace context, or begin a trace."""
    given = headers.get("traceparent", "")
    if re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", given):
        return given
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
