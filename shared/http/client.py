"""One HTTP call to Klaviyo or Omneo. answers.py holds the meaning of its answer.

The queue owns retries; this module repeats a throttled call only where a person waits for the answer (`ShortWaits`). Every failure comes out as
one of our errors (errors.py); no exception of `requests` escapes. Each try is logged by service, method, path template, status, time and the
service's own name of the request: ids, addresses and bodies hold personal data.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from shared import logs
from shared.errors import WaitError
from shared.http import heard
from shared.http.answers import Answer, Answers, Problem
from shared.http.connections import Connections
from shared.http.deadlines import lasting, seconds_left
from shared.http.paths import path_template

# Statuses of success that may come without a body: accepted, no content, reset content.
_SAY_ENOUGH = frozenset({202, 204, 205})
# https://developers.klaviyo.com: the date on which Klaviyo retires the revision that was asked for.
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
    """How often a throttled call waits here and is repeated, and how long at the longest. A throttled call had no effect.

    A worker never waits here, because its queue does the waiting. For a person, an answer a second later is better than an error.
    """

    most: int = 0
    longest: float = 3.0
    sleep: Callable[[float], None] = time.sleep

    def covers(self, error: WaitError) -> bool:
        """Return whether the service throttled the call and asked for a short wait."""
        return error.status == 429 and error.retry_after is not None and error.retry_after <= self.longest


@dataclass(frozen=True)
class Sent:
    """A call as it is sent. Its `path` holds ids, and its `headers` hold a token."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, str] | None
    data: bytes | None


class HttpClient:
    """Calls one service. Safe for threads.

    `read_problem` reads the JSON of a refusal (see `Answers`). `retirement` is the date on which the service retires the revision that we ask
    for, as its last answer named it, "" if no answer has.
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
        self._answers = Answers(service, read_problem)
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

        An answer of success needs no body if its status is in `without_body`. With `any_success`, every 2xx is a success, and a body that is
        not JSON comes back as None. `answered` gets the headers of every answer.

        Raises:
            WaitError: the service throttles, fails, cannot be reached or is too slow, or the answer is not the API's own.
            UnsureError: a 404 that a gateway could have sent.
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
                return self._answers.understand(answer, without_body, any_success=any_success)
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
            status, request_id = (answer.status, answer.request_id) if answer else (0, "")
            heard.note(heard.Heard(self.service, status, request_id))
            logs.write(
                logging.INFO,
                "outside call",
                service=self.service,
                method=sent.method,
                path=path_template(sent.path),
                status=status,
                seconds=round(time.monotonic() - started, 4),
                **({"request": request_id} if request_id else {}),
            )

    def _exchange(self, sent: Sent) -> Answer:
        left = seconds_left()
        if left <= 0:
            raise self._answers.wait("was not called: no time was left")
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
            raise self._answers.wait("was not called: the token is not fit for a header") from None
        except requests.Timeout:
            raise self._answers.wait("did not answer in time") from None
        except requests.RequestException:
            raise self._answers.wait("could not be reached") from None

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        try:
            for chunk in response.iter_content(64 * 1024):
                body += chunk
                if len(body) > self._limits.answer:
                    raise self._answers.wait("answered with more than can be read", response.status_code)
        except requests.RequestException:
            raise self._answers.wait(
                "broke off its answer, or took too long over it", response.status_code
            ) from None
        return bytes(body)
