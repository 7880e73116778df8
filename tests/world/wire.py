"""The wire between the bundle and the two services, below `http/`: calls reach the sandbox in process, late, spoiled, or not at all."""

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlencode, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.record import Call
from deploy.local.sandbox.stage.server import CHALLENGE
from shared.http.connections import Connections

if TYPE_CHECKING:
    from tests.world.bundle import Process

KLAVIYO, OMNEO = "http://klaviyo.invalid", "http://omneo.invalid"
_READ_SECONDS = 10.0
_SLOW_SECONDS = 9.0
_HTML = {"Content-Type": "text/html"}
_JSON = {"Content-Type": "application/json"}
# The errors in place of an answer; the call has had no effect.
_INSTEAD: Mapping[str, Answer] = {
    "502 html": Answer(502, _HTML, b"<html>Bad Gateway</html>"),
    "403 html": CHALLENGE,
    "404 html": Answer(404, _HTML, b"<html>Not Found</html>"),
}
# The faults in the answer of a call that has had its effect.
_GARBLED: Mapping[str, Answer] = {
    "200 empty": Answer(200, _JSON),
    "200 broken": Answer(200, _JSON, b'{"data": {"tok'),
}


class WireResponse:
    """An answer as `requests` would give it, as far as http/ looks."""

    def __init__(self, answer: Answer, *, is_cut_off: bool) -> None:
        self.status_code = answer.status
        self.headers = CaseInsensitiveDict(answer.headers)
        self._body = answer.body
        self._is_cut_off = is_cut_off

    def iter_content(self, size: int) -> Iterator[bytes]:
        """Yield the body, or break off."""
        if self._is_cut_off:
            raise requests.exceptions.ChunkedEncodingError("cut off")
        yield self._body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class WireSession:
    """Stands in for a session of `requests`."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        data: bytes | None,
        **_: Any,
    ) -> WireResponse:
        """Make a call."""
        parts = urlsplit(url)
        query = urlencode(params) if params else parts.query
        lower = {name.lower(): value for name, value in headers.items()}
        asked = Request(method, parts.path, query, lower, data or b"")
        return self._process.outside("klaviyo" if url.startswith(KLAVIYO) else "omneo", asked)


class WireConnections(Connections):
    """Connections of one process that end in the sandbox."""

    def __init__(self, process: "Process") -> None:
        super().__init__()
        self._session = WireSession(process)

    def session(self) -> requests.Session:
        """Return the one session."""
        return cast(requests.Session, self._session)


def exchange(process: "Process", service: str, asked: Request) -> WireResponse:
    """Carry one call there and back, with the faults that are due on the way.

    Raises:
        requests.RequestException: as the real one would.
        DiedError: the process died before or after the call.
    """
    world = process.world
    line = f"{asked.method} {plain(asked.path)}"
    world.watch(service, asked)
    fault = world.faults.take(service, world.timeline.seconds, line)
    if fault == "dies before":
        process.die()
    process.wait(world.latency())
    if fault in ("lost before", "timeout before"):
        raise _lost(process, fault)
    if fault in _INSTEAD or fault.isdigit():
        process.wait(world.latency())
        return WireResponse(_spoiled(world.service(service), fault), is_cut_off=False)
    answer = world.answer(service, asked, line)
    if fault == "dies after":
        process.die()
    if fault in ("lost after", "timeout after"):
        raise _lost(process, fault)
    process.wait(_SLOW_SECONDS if fault == "slow" else world.latency())
    return WireResponse(_GARBLED.get(fault, answer), is_cut_off=fault == "cut off")


def call_of(asked: Request, now: float) -> Call:
    """Return the call as the sandbox notes it."""
    return Call(0, asked.method, asked.path, asked.query, now, [], {}, asked.body)


def plain(path: str) -> str:
    """Return a path without tenant and ids."""
    return "/".join(
        "*" if any(c.isdigit() for c in part) and part not in ("v1", "v3") else part
        for part in path.split("/")
    )


def _spoiled(service: Any, fault: str) -> Answer:
    return _INSTEAD.get(fault) or cast(Answer, service.refusal(int(fault)))


def _lost(process: "Process", fault: str) -> requests.RequestException:
    if fault.startswith("timeout"):
        process.wait(_READ_SECONDS)
        return requests.ReadTimeout("too late")
    return requests.ConnectionError("lost")


def json_of(asked: Request) -> Any:
    """Return the body of a call."""
    return json.loads(asked.content() or b"{}")
