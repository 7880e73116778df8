"""The calls that the sandbox has received. No rules, no wire."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.stage.messages import Request

# Enough for any test, and little enough for a sandbox that runs for weeks.
KEPT = 20_000
SHOWN = 8 * 1024
_SAFE_HEADERS = (
    "accept",
    "content-encoding",
    "content-type",
    "retry-after",
    "revision",
    "traceparent",
    "user-agent",
)


@dataclass
class Call:
    """One call. Times are Unix seconds; `status` and `answered_at` are None until it is answered.

    A call whose connection was reset or left hanging keeps `status` None. `headers` holds the harmless ones with their
    values, in lower case; `header_names` names them all. `account` is the Klaviyo account or the Omneo tenant, once the
    call has shown its credential. The first `SHOWN` bytes of the answer's body are kept.
    """

    number: int
    method: str
    path: str
    query: str
    received_at: float
    header_names: list[str]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    account: str | None = None
    status: int | None = None
    answered_at: float | None = None
    fault: str | None = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    answer_body: bytes = field(default=b"", repr=False)

    @property
    def seconds(self) -> float | None:
        """How long it took, None while it is open."""
        return None if self.answered_at is None else self.answered_at - self.received_at

    def to_json(self, *, bodies: bool) -> dict[str, Any]:
        """Return the call as the control interface shows it."""
        shown: dict[str, Any] = {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "account": self.account,
            "status": self.status,
            "received_at": self.received_at,
            "answered_at": self.answered_at,
            "seconds": self.seconds,
            "header_names": self.header_names,
            "headers": dict(self.headers),
            "fault": self.fault,
        }
        return shown | ({"query": self.query, "body": self.body.decode(errors="replace")} if bodies else {})


class Calls:
    """The newest calls, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._count = 0

    def begin(self, request: Request, now: float) -> Call:
        """Note a call as it arrives, so that one never answered is seen too."""
        with self._lock:
            self._count += 1
            call = Call(
                number=self._count,
                method=request.method,
                path=request.path,
                query=request.query,
                received_at=now,
                header_names=sorted(request.headers),
                headers={name: request.headers[name] for name in _SAFE_HEADERS if name in request.headers},
                body=request.body,
            )
            self._calls.append(call)
        return call

    def all(self) -> list[Call]:
        """Return the calls kept, oldest first."""
        with self._lock:
            return list(self._calls)

    def clear(self) -> None:
        """Forget every call."""
        with self._lock:
            self._calls.clear()
