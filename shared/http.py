"""One try of one HTTP call, to Klaviyo or Omneo, and what its answer means.

No retries live here: the queue owns them. Whatever goes wrong comes out as one of our errors (errors.py); no exception of
`requests` escapes. Nothing is logged: addresses and bodies hold personal data.
"""

import http.client
import io
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from shared.errors import NotFoundError, RefusedError, ServiceError, TokenRejectedError, WaitError

DETAIL_LENGTH = 10_000  # a dead job keeps it beside its body, and a document has room for little more
# How a code or the path of a field looks. Anything else could be a value, and would end up in a log.
_NAME = re.compile(r"[\w $./~\[\]-]{1,200}")

# It would log the address of an answer with malformed headers, and an address may hold an email.
logging.getLogger("urllib3").propagate = False

# Statuses that say "not now": request timeout, too early, throttled. Every 5xx says so too.
_NOT_NOW = {408, 425, 429}


@dataclass(frozen=True)
class Limits:
    """How long one call may take, in seconds, and how large its answer may be, in bytes."""

    connect: float = 3.05  # a little over TCP's 3 s retransmission, as the requests documentation advises
    read: float = 10.0
    total: float = 20.0
    answer: int = 32_000_000


@dataclass(frozen=True)
class Answer:
    """A service's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Problem:
    """What a service says is wrong: its `code`, where (`field`), and in its own words (`detail`, may be personal)."""

    code: str = ""
    field: str = ""
    detail: str = ""


_time_left: ContextVar[Callable[[], float]] = ContextVar("time_left")


class _PunctualReader(io.RawIOBase):
    """Reads an answer no longer than the call may last: a socket's own time-out begins anew with every byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock
        self._patience = sock.gettimeout()
        self._time_left = _time_left.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._time_left()
        if left <= 0:
            raise TimeoutError("the call has lasted too long")
        self._socket.settimeout(left if self._patience is None else min(left, self._patience))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = io.BufferedReader(_PunctualReader(self.fp.detach(), sock))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _PunctualResponse


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _PunctualResponse


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _PunctualAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Find no redirect: even when told not to follow, requests reads its body to the end and parses the address."""
        return None


class Connections:
    """Kept-alive connections, each thread its own, to whichever hosts are called."""

    def __init__(self) -> None:
        self._local = threading.local()

    def session(self) -> requests.Session:
        """Return this thread's session."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.trust_env = False  # no proxy, no netrc: only settings.py reads the environment
            session.headers.clear()
            # One tenant's cookie would travel with another's call: their hosts share a domain.
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
            session.mount("http://", _PunctualAdapter())
            session.mount("https://", _PunctualAdapter())
            self._local.session = session
        return session


class HttpClient:
    """Calls one service. Safe for threads."""

    def __init__(
        self,
        service: str,
        base_url: str,
        read_problem: Callable[[Any], Problem],
        connections: Connections,
        *,
        limits: Limits = Limits(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self._base_url = base_url
        self._read_problem = read_problem
        self._connections = connections
        self._limits = limits
        self._monotonic = monotonic

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Any:
        """Return the answer's JSON, None if it has no body.

        Raises:
            WaitError: throttled, failing, unreachable, too slow, or answering what makes no sense.
            TokenRejectedError: 401.
            NotFoundError: 404.
            RefusedError: any other refusal.
        """
        return self._understand(self._send(method, path, headers, params, data))

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        data: bytes | None,
    ) -> Answer:
        deadline = self._monotonic() + self._limits.total
        _time_left.set(lambda: deadline - self._monotonic())
        try:
            with self._connections.session().request(
                method,
                self._base_url + path,
                headers=dict(headers),
                params=params,
                data=data,
                timeout=(self._limits.connect, self._limits.read),
                allow_redirects=False,  # a redirect would carry our token elsewhere
                stream=True,
            ) as response:
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

    def _understand(self, answer: Answer) -> Any:
        if 200 <= answer.status < 300:
            return self._json(answer) if answer.body.strip() else None
        raise self._error(answer)

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise self._wait("answered with a body that is not JSON", answer.status) from None

    def _error(self, answer: Answer) -> ServiceError:
        status = answer.status
        problem = self._problem(answer)
        if status in _NOT_NOW or status >= 500:
            return self._wait(f"answered {status}", status, problem, retry_after(answer.headers))
        if status == 403 and problem is None:
            # Klaviyo's edge sometimes challenges a server as if it were a browser; that passes. Its API says 403 in JSON.
            return self._wait("answered 403 from its edge, not its API", status)
        if status < 400:
            return self._wait(f"answered {status}, which this call never should", status)
        problem = problem or Problem()
        kind = {401: TokenRejectedError, 404: NotFoundError}.get(status, RefusedError)
        said = " ".join(
            part for part in (problem.code, f"at {problem.field}" if problem.field else "") if part
        )
        return kind(
            f"{self.service} answered {status}" + (f": {said}" if said else ""),
            service=self.service,
            status=status,
            code=problem.code,
            detail=problem.detail,
        )

    def _problem(self, answer: Answer) -> Problem | None:
        """Return what the body says is wrong, None if it is not JSON."""
        try:
            body = json.loads(answer.body)
        except (ValueError, RecursionError):
            return None
        try:
            problem = self._read_problem(body)
        except (TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return Problem()  # JSON, but not in the shape that the service documents
        return Problem(_name(problem.code), _name(problem.field), problem.detail[:DETAIL_LENGTH])

    def _wait(
        self,
        what: str,
        status: int | None = None,
        problem: Problem | None = None,
        retry_after: float | None = None,
    ) -> WaitError:
        problem = problem or Problem()
        return WaitError(
            f"{self.service} {what}",
            service=self.service,
            status=status,
            code=problem.code,
            detail=problem.detail,
            retry_after=retry_after,
        )


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
