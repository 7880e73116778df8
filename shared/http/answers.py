"""The meaning of a service's answer: its JSON, or one of our errors (errors.py).

Only the API's own JSON is a verdict. A proxy or an edge may answer in its place; that says nothing about the call, whatever the status, so
the job waits.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import (
    NotFoundError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
    UnsureError,
    WaitError,
)
from shared.http.words import without_values

DETAIL_LENGTH = (
    10_000  # a dead job keeps it beside its body, and a document has room for little more than both
)
# The form of a code or of the path of a field. Any other text could be a value, and would come into a log.
_NAME = re.compile(r"[\w $./~\[\]-]{1,200}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Statuses that say "not now": request timeout, too early, throttled. Every 5xx says so too.
_NOT_NOW = {408, 425, 429}
# Statuses of success that may come without a body: accepted, no content, reset content.
_SAY_ENOUGH = frozenset({202, 204, 205})
# https://developers.klaviyo.com: Klaviyo's name for one request.
_REQUEST_ID = "X-Klaviyo-Req-Id"


@dataclass(frozen=True)
class Answer:
    """A service's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        """The service's own name of the request, "" if it gave none."""
        id = self.headers.get(_REQUEST_ID, "")
        return id if _ID.fullmatch(id) else ""


@dataclass(frozen=True)
class Problem:
    """A problem as a service describes it: its `code`, the `field` it is about, and the service's own words, which may be personal (`detail`).

    `duplicate_of` is the id of the thing that exists already. `other_fields` are the fields of further problems. `request_id` is the service's
    name of the request. With a status of `is_anybodys`, a gateway could have answered the same, so the answer is no verdict.
    """

    code: str = ""
    field: str = ""
    detail: str = ""
    duplicate_of: str = ""
    other_fields: tuple[str, ...] = ()
    request_id: str = ""
    is_anybodys: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Answers:
    """Reads the answers of one service.

    `read_problem` reads the JSON of a refusal. It raises TypeError, KeyError, IndexError or AttributeError if the JSON is not the service's
    own form of an error.
    """

    service: str
    read_problem: Callable[[Any], Problem]

    def understand(self, answer: Answer, without_body: frozenset[int], *, any_success: bool) -> Any:
        """Return the answer's JSON, or raise its meaning. Arguments and errors are those of `HttpClient.call`."""
        if not 200 <= answer.status < 300:
            raise self._error(answer)
        try:
            return self._json(answer, without_body)
        except WaitError:
            if any_success:
                return None
            raise

    def _json(self, answer: Answer, without_body: frozenset[int]) -> Any:
        if not answer.body.strip():
            if answer.status in without_body:
                return None
            raise self.wait("answered without a body", answer.status, request_id=answer.request_id) from None
        try:
            return json.loads(answer.body, parse_constant=_refuse)
        except (ValueError, RecursionError):
            what = "answered with a body that is not JSON"
            raise self.wait(what, answer.status, request_id=answer.request_id) from None

    def _error(self, answer: Answer) -> ServiceError:
        status, problem = answer.status, self._problem(answer)
        if status in _NOT_NOW or status >= 500:
            return self.wait(
                f"answered {status}",
                status,
                problem or Problem(),
                retry_after=retry_after(answer.headers),
                request_id=answer.request_id,
            )
        if status < 400:
            return self.wait(f"answered {status}, which this call never should", status)
        if problem is None:
            return self.wait(f"answered {status} from its edge, not its API", status)
        if status in problem.is_anybodys:
            kind = UnsureError if status == 404 else WaitError
            words = "in words that may be its gateway's"
            return kind(f"{self.service} answered {status} {words}", service=self.service, status=status)
        return self._refusal(status, problem, answer.request_id or problem.request_id)

    def _refusal(self, status: int, problem: Problem, request_id: str) -> ServiceError:
        kind = {401: TokenRejectedError, 404: NotFoundError}.get(status, RefusedError)
        # Only the words of a 403 name the missing permission or plan.
        words = without_values(problem.detail) if status == 403 else ""
        said = " ".join(
            filter(None, (problem.code, problem.field and f"at {problem.field}", words and f"({words})"))
        )
        error = kind(
            f"{self.service} answered {status}" + (f": {said}" if said else ""),
            service=self.service,
            status=status,
            code=problem.code,
            field=problem.field,
            detail=problem.detail,
            fields=tuple(filter(None, (problem.field, *problem.other_fields))),
            request_id=request_id,
        )
        error.duplicate_of = problem.duplicate_of
        return error

    def _problem(self, answer: Answer) -> Problem | None:
        """Return the problem that the body describes, None if the body is not the API's own JSON."""
        try:
            problem = self.read_problem(json.loads(answer.body))
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return None
        return Problem(
            _name(problem.code),
            _name(problem.field),
            problem.detail[:DETAIL_LENGTH],
            problem.duplicate_of if _ID.fullmatch(problem.duplicate_of) else "",
            tuple(map(_name, problem.other_fields)),
            problem.request_id if _ID.fullmatch(problem.request_id) else "",
            problem.is_anybodys,
        )

    def wait(
        self,
        what: str,
        status: int | None = None,
        problem: Problem = Problem(),
        *,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> WaitError:
        """Return the error of a call without a verdict; `what` tells what the service did."""
        return WaitError(
            f"{self.service} {what}",
            service=self.service,
            status=status,
            code=problem.code,
            detail=problem.detail,
            retry_after=retry_after,
            request_id=request_id or problem.request_id,
        )


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, None if it is missing or cannot be read.

    Klaviyo sends whole seconds. Neither service uses the HTTP-date form of RFC 9110.

    >>> retry_after({"Retry-After": "17"}), retry_after({"Retry-After": "soon"})
    (17.0, None)
    """
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
