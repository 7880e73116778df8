"""One try of one HTTP call, to Klaviyo or Omneo, and the meaning of its answer.

Only the API's own JSON is a verdict. A proxy or an edge may answer in its place; that says nothing about the call, whatever the status, so
the job waits. The queue owns retries; this module repeats a throttled call only where a person waits for the answer (`ShortWaits`). Every
failure comes out as one of our errors (errors.py); no exception of `requests` escapes. Each try is logged by service, method, path
template, status, time and the service's own name of the request: ids, addresses and bodies hold personal data.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from shared import logs
from shared.errors import (
    NotFoundError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
    UnsureError,
    WaitError,
)
from shared.http import heard
from shared.http.connections import Connections
from shared.http.deadlines import lasting, seconds_left
from shared.http.paths import path_template
from shared.http.words import without_values

DETAIL_LENGTH = 10_000  # a dead job keeps it beside its body, and a document has room for little more
# How a code or the path of a field looks. Anything else could be a value, and would end up in a log.
_NAME = re.compile(r"[\w $./~\[\]-]{1,200}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Statuses that say "not now": request timeout, too early, throttled. Every 5xx says so too.
_NOT_NOW = {408, 425, 429}
# Statuses of success that may come without a body: accepted, no content, reset content.
_SAY_ENOUGH = frozenset({202, 204, 205})
# https://developers.klaviyo.com: Klaviyo's name for one request, and the date on which it retires the revision that was asked for.
_REQUEST_ID = "X-Klaviyo-Req-Id"
_RETIREMENT = "X-Klaviyo-Api-Retirement-Date"


@dataclass(frozen=True)
class Limits:
    """How long one call may take, in seconds, and how large its answer may be, in bytes."""

    connect: float = 3.05  # a little over TCP's 3 s retransmission, as the requests documentation advises
    read: float = 10.0
    total: float = 20.0
    answer: int = 32_000_000


@dataclass(frozen=True)
class ShortWaits:
    """How often a call that was throttled, and so has done nothing, waits in place as long as it was asked to.

    Never for a worker: there the queue does the waiting. For a person who waits for an answer, a second is better than an error.
    """

    most: int = 0
    longest: float = 3.0
    sleep: Callable[[float], None] = time.sleep

    def covers(self, error: WaitError) -> bool:
        """Return whether the wait that was asked for is one of these."""
        return error.status == 429 and error.retry_after is not None and error.retry_after <= self.longest


@dataclass(frozen=True)
class Sent:
    """A call as it is sent; its `path` holds ids, its `headers` a token."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, str] | None
    data: bytes | None


@dataclass(frozen=True)
class Answer:
    """A service's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Problem:
    """A problem as a service describes it: its `code`, where (`field`), and in its own words (`detail`, may be personal).

    `duplicate_of` is the id of what is there already, `other_fields` are the places of what else it says is wrong, `request_id` is
    the service's name for the request. `is_anybodys` are the statuses with which a gateway would say the same: no verdict of the service's.
    """

    code: str = ""
    field: str = ""
    detail: str = ""
    duplicate_of: str = ""
    other_fields: tuple[str, ...] = ()
    request_id: str = ""
    is_anybodys: frozenset[int] = frozenset()


class HttpClient:
    """Calls one service. Safe for threads.

    `read_problem` reads the JSON of a refusal. It raises TypeError, KeyError, IndexError or AttributeError where the JSON is not the
    service's own form of an error. `retirement` is what the service last said of when it retires the revision we ask for, "" if nothing.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        read_problem: Callable[[Any], Problem],
        connections: Connections,
        *,
        limits: Limits = Limits(),
        monotonic: Callable[[], float] = time.monotonic,
        short_waits: ShortWaits = ShortWaits(),
    ) -> None:
        self.service = service
        self._base_url = base_url
        self._read_problem = read_problem
        self._connections = connections
        self._limits = limits
        self._monotonic = monotonic
        self._short_waits = short_waits
        self.retirement = ""

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        any_success: bool = False,
        without_body: frozenset[int] = _SAY_ENOUGH,
        answered: Callable[[Mapping[str, str]], None] | None = None,
    ) -> Any:
        """Return the answer's JSON, None if it has no body and needs none.

        `without_body` are the statuses of success with which the service answers this call so. With `any_success` every 2xx is enough,
        whatever its body is, and what is not JSON comes back as None. `answered` hears the headers of every answer.

        Raises:
            WaitError: throttled, failing, unreachable, too slow, or not an answer of the API's own. UnsureError: perhaps one, a 404.
            TokenRejectedError: 401.
            NotFoundError: 404.
            RefusedError: any other refusal.
        """
        sent, waits = Sent(method, path, headers, params, data), self._short_waits
        for left in range(waits.most, -1, -1):
            try:
                answer = self._send(sent)
                if answered is not None:
                    answered(answer.headers)
                return self._understand(answer, without_body, any_success=any_success)
            except WaitError as error:
                if not left or not waits.covers(error):
                    raise
                waits.sleep(error.retry_after or 0.0)
        raise AssertionError("the last try returns or raises")

    def _send(self, sent: Sent) -> Answer:
        started, answer = time.monotonic(), None
        try:
            answer = self._exchange(sent)
            self.retirement = answer.headers.get(_RETIREMENT, self.retirement)[:100]
            return answer
        finally:
            heard.note(
                heard.Heard(
                    self.service, answer.status if answer else 0, _request_id(answer) if answer else ""
                )
            )
            logs.write(
                logging.INFO,
                "outside call",
                service=self.service,
                method=sent.method,
                path=path_template(sent.path),
                status=answer.status if answer else 0,  # no answer is status 0
                seconds=round(time.monotonic() - started, 4),
                **({"request": request_id} if answer and (request_id := _request_id(answer)) else {}),
            )

    def _exchange(self, sent: Sent) -> Answer:
        left = seconds_left()
        if left <= 0:
            raise self._wait("was not called: no time was left")
        deadline = self._monotonic() + self._limits.total
        try:
            with (
                lasting(lambda: deadline - self._monotonic()),
                self._connections.session().request(
                    sent.method,
                    self._base_url + sent.path,
                    headers=dict(sent.headers),
                    params=sent.params,
                    data=sent.data,
                    timeout=(min(self._limits.connect, left), min(self._limits.read, left)),
                    allow_redirects=False,  # a redirect would carry our token elsewhere
                    stream=True,
                ) as response,
            ):
                return Answer(response.status_code, response.headers, self._read(response))
        except (requests.exceptions.InvalidHeader, UnicodeError):
            # Most likely a token that was stored with a line break; an operator can mend that.
            raise self._wait("was not called: the token is not fit for a header") from None
        except requests.Timeout:
            raise self._wait("did not answer in time") from None
        except requests.RequestException:
            raise self._wait("could not be reached") from None

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        try:
            for chunk in response.iter_content(64 * 1024):
                body += chunk
                if len(body) > self._limits.answer:
                    raise self._wait("answered with more than can be read", response.status_code)
        except requests.RequestException:
            raise self._wait("broke off its answer, or took too long over it", response.status_code) from None
        return bytes(body)

    def _understand(self, answer: Answer, without_body: frozenset[int], *, any_success: bool) -> Any:
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
            raise self._wait(
                "answered without a body", answer.status, request_id=_request_id(answer)
            ) from None
        try:
            return json.loads(answer.body, parse_constant=_refuse)
        except (ValueError, RecursionError):
            what = "answered with a body that is not JSON"
            raise self._wait(what, answer.status, request_id=_request_id(answer)) from None

    def _error(self, answer: Answer) -> ServiceError:
        status, problem = answer.status, self._problem(answer)
        if status in _NOT_NOW or status >= 500:
            return self._wait(
                f"answered {status}",
                status,
                problem or Problem(),
                retry_after=retry_after(answer.headers),
                request_id=_request_id(answer),
            )
        if status < 400:
            return self._wait(f"answered {status}, which this call never should", status)
        if problem is None:
            return self._wait(f"answered {status} from its edge, not its API", status)
        if status in problem.is_anybodys:
            kind = UnsureError if status == 404 else WaitError
            words = "in words that its gateway may have said as well"
            return kind(f"{self.service} answered {status} {words}", service=self.service, status=status)
        return self._refusal(status, problem, _request_id(answer) or problem.request_id)

    def _refusal(self, status: int, problem: Problem, request_id: str) -> ServiceError:
        kind = {401: TokenRejectedError, 404: NotFoundError}.get(status, RefusedError)
        # Which permission or plan is missing stands in the words of a 403 alone.
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
        """Return what the body says is wrong, None if it is not the API's own JSON."""
        try:
            problem = self._read_problem(json.loads(answer.body))
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

    def _wait(
        self,
        what: str,
        status: int | None = None,
        problem: Problem = Problem(),
        *,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> WaitError:
        return WaitError(
            f"{self.service} {what}",
            service=self.service,
            status=status,
            code=problem.code,
            detail=problem.detail,
            retry_after=retry_after,
            request_id=request_id or problem.request_id,
        )


def _request_id(answer: Answer) -> str:
    id = answer.headers.get(_REQUEST_ID, "")
    return id if _ID.fullmatch(id) else ""


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds that `Retry-After` asks for, None if it asks for none we can read.

    Klaviyo sends whole seconds; the HTTP-date form of RFC 9110 is not used by either service.

    >>> retry_after({"Retry-After": "17"}), retry_after({"Retry-After": "soon"})
    (17.0, None)
    """
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
