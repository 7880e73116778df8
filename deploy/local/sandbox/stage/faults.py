"""The next calls that go wrong, and how. `server.py` puts a fault on the wire."""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

Kind = Literal[
    "status",  # the given status, headers and body; the service's own error body by default
    "reset",  # the connection is reset without an answer
    "hang",  # nothing is answered for `seconds`, then the connection is closed
    "slow",  # the true answer after `seconds`
    "drip",  # the true answer, a byte at a time, taking `seconds` in all
    "html403",  # the challenge page of the edge in front of the service
    "truncated",  # half the answer, then the connection is closed
    "empty",  # 200 with nothing in it
    "broken_json",  # 200 with JSON that breaks off
]
KINDS: tuple[str, ...] = get_args(Kind)
# These give the true answer, only badly: the call always takes effect.
_LONGEST = 3600
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
TRUE_ANSWER = frozenset({"slow", "drip"})


@dataclass
class Fault:
    """One order: the next `left` calls that match go wrong like this."""

    left: int
    kind: Kind
    match: str | None
    status: int
    headers: Mapping[str, str] | None
    body: bytes | None = field(repr=False)
    seconds: float
    takes_effect: bool

    def to_json(self) -> dict[str, object]:
        """Return the fault as the control interface shows it."""
        hidden = ("headers", "body")
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def matches(self, line: str) -> bool:
        """Return whether this fault is meant for `line`, a method and a path."""
        return self.left > 0 and (self.match is None or fnmatchcase(line, self.match))


class Faults:
    """The faults ordered and not yet used up, in the order they were ordered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def fail(
        self,
        next: int = 1,
        *,
        match: str | None = None,
        kind: Kind = "status",
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = 1.0,
        takes_effect: bool = False,
    ) -> None:
        """Let the next calls fail; with `next` 0 let everything go well from now on.

        `match` is a method and a path, `*` standing for anything ("POST /api/events", "* */auth/token"); without it
        every call is meant. `body` is bytes, text, or anything that becomes JSON; without it the service's own error
        body for `status` is sent. `headers` take the place of those that come with `status` (Retry-After with
        Klaviyo's 429), Content-Type apart. With `takes_effect` the call is carried out first and only its answer is
        lost.

        Raises:
            ValueError: the kind is unknown, or a number or the match can never be.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        _check(next, match, status, seconds, headers or {})
        if next == 0:
            self.clear()
            return
        fault = Fault(next, kind, match, status, headers, _as_bytes(body), seconds, takes_effect)
        with self._lock:
            self._faults.append(fault)

    def take(self, line: str) -> Fault | None:
        """Return the fault for this call and count it as used, None if the call is to go well."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(line):
                    fault.left -= 1
                    return fault
        return None

    def ordered(self) -> list[Fault]:
        """Return the faults that calls are still to meet, in the order they were ordered."""
        with self._lock:
            return [replace(fault) for fault in self._faults if fault.left > 0]

    def clear(self) -> None:
        """Let everything go well from now on."""
        with self._lock:
            self._faults.clear()


def _check(next: int, match: str | None, status: int, seconds: float, headers: Mapping[str, str]) -> None:
    if next < 0:
        raise ValueError("next must be 0 or more")
    if not 200 <= status <= 599:
        raise ValueError("status must be a status of HTTP that ends a call: 200 to 599")
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"seconds must be 0 to {_LONGEST}")
    if match is not None and match != "*" and " " not in match:
        raise ValueError('match must be a method and a path, as in "POST /api/events"')
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise ValueError("headers must have names and values that HTTP can hold")


def _as_bytes(body: object) -> bytes | None:
    match body:
        case None | bytes():
            return body
        case str():
            return body.encode()
        case _:
            return json.dumps(body).encode()
