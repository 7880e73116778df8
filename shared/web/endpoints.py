"""The edge of HTTP: the two policies `endpoint` and `worker`. answers.py holds the table of statuses.

`endpoint` answers people and services: the status says what they should do. `worker` answers Cloud Tasks: the status decides whether the
task is delivered again. Only this room, installation/pages/policy.py and the functions' main.py know Flask.
"""

import io
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flask import Request, Response, current_app, has_app_context, request
from werkzeug.exceptions import HTTPException

from shared import logs
from shared.direction import Direction
from shared.errors import UnknownPathError
from shared.http.deadlines import lasting, time_to_answer
from shared.web.answers import NOTHING_THERE, as_json, log_answer, reason_of, refuse
from shared.web.calls import Call, Counted, Reply, body_of, check_query, traceparent_of
from shared.web.routes import Route, match_route
from shared.web.slow_bodies import SlowBodies

if TYPE_CHECKING:
    from shared.jobs.jobs import Delivery, Outcome

TASK_LARGEST = 2_000_000  # a task holds at most 1 MiB


def endpoint(
    method: str, path: str, *, largest: int, within: float = math.inf
) -> Callable[[Callable[[Call], Reply]], Callable[[Request], Response]]:
    """Answer callers of one path with the result or the error of the function. See `endpoints`."""

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
    """Answer callers of these methods and paths with the result or the error of the route's function.

    If a path has `{tenant}`, it must be a tenant's name. `largest` is the most bytes that a body may have. The answer leaves within
    `within` seconds, a cold start included: every wait of a route ends before (deadlines.py).
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
                route, variables = match_route(table, request)
                fields |= {name: value for name, value in variables.items() if name == "tenant"}
                fields |= {"method": route.method, "path": route.path}
                body = body_of(request, largest, slow)
                check_query(request)
                call = Call(variables, request.args, request.headers, body, fields["traceparent"], counted)
                status, reply = route.function(call)
            except Exception as error:  # noqa: BLE001 - the one place where an unforeseen error becomes an answer
                response = refuse(error, started)
                counted.refused(reason_of(response.status_code, error), fields)
                return response
            counted.accepted(status, reply, fields)
            log_answer(logging.INFO, status, started, "accepted")
            return as_json(status, reply)

    answer.__name__ = name  # functions-framework looks functions up by name
    return answer


def worker(
    direction: Direction,
) -> "Callable[[Callable[[Delivery], Outcome]], Callable[[Request], Response]]":
    """Answer Cloud Tasks: 200 when it may forget the task, 503 when our store or queue fails, 500 for a bug.

    Cloud Run checks Google's identity token before the call arrives and strips its signature, so nothing is checked here.
    """

    slow = SlowBodies.up_to(TASK_LARGEST)

    def decorate(function: "Callable[[Delivery], Outcome]") -> Callable[[Request], Response]:
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
    """Answer a path that the framework gives to no function like any unknown path, and let only a function read a body.

    Such paths are /robots.txt, and every path with a line break in it. Before it answers, the framework reads the rest of a body, and waits
    without limit for its end: half-sent bodies to unknown paths would hold every thread. gunicorn waits some seconds at most. The framework
    loads a function within the application that serves it.
    """

    def refused(_: HTTPException) -> Response:
        with logs.context(function=name, traceparent=traceparent_of(request.headers)):
            return refuse(UnknownPathError(NOTHING_THERE), time.monotonic())

    def put_body_aside() -> None:
        request.stream = io.BytesIO()

    if has_app_context():
        current_app.register_error_handler(404, refused)
        current_app.before_request(put_body_aside)


def _delivery(direction: Direction, request: Request, slow: SlowBodies) -> "Delivery":
    from shared.jobs.jobs import Delivery

    if (request.method, request.path) != ("POST", f"/tasks/{direction}"):
        raise UnknownPathError(f"Tasks are delivered by POST to /tasks/{direction}.")
    headers = request.headers
    retries = headers.get("X-CloudTasks-TaskRetryCount", "0")
    return Delivery(
        direction=direction,
        body=body_of(request, TASK_LARGEST, slow),
        queue=headers.get("X-CloudTasks-QueueName", ""),
        task=headers.get("X-CloudTasks-TaskName", ""),
        tenant=headers.get("X-Extension-Tenant", ""),
        retries=int(retries) if retries.isascii() and retries.isdigit() else 0,
    )
