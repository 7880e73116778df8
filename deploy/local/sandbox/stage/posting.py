"""Posts a body to an address once and returns the result. It knows no service, signs nothing and never tries again.

Every call has a new connection, because the other side may close an open one just as it is used again, which is not the
receiver's fault. The status counts once the whole answer is there; one that takes too long does not count as an answer.
Redirects are not followed, cookies are not kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from deploy.local.sandbox.stage.clock import Clock

TOO_LATE = "Timeout"
# The function that posts. A process that contains the receivers may set one that reaches them without sockets.
adapter: Callable[[], HTTPAdapter] = HTTPAdapter


@dataclass(frozen=True)
class Attempt:
    """One POST. `sent_at` is Unix seconds of the sandbox's clock, `seconds` how long it really took.

    `status` is None if no answer came in time, and then `error` is the name of the fault, never a value. `answer` is
    the answer's JSON, None if it had none.
    """

    sent_at: float
    seconds: float
    status: int | None = None
    error: str = ""
    answer: Any = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the attempt as the control interface shows it."""
        return dict(vars(self))


def post(url: str, body: bytes, headers: Mapping[str, str], *, within: float, clock: Clock) -> Attempt:
    """Post `body` and return how it went; the answer has `within` seconds."""
    sent_at, started = clock(), perf_counter()
    status, error, said = _exchange(url, body, headers, within)
    seconds = perf_counter() - started
    if status is not None and seconds > within:
        status, error, said = None, TOO_LATE, None  # bytes that came one by one, each in time
    return Attempt(sent_at, seconds, status, error, said)


def _exchange(
    url: str, body: bytes, headers: Mapping[str, str], within: float
) -> tuple[int | None, str, Any]:
    with requests.Session() as session:
        session.trust_env = False  # loopback calls use no proxy of the machine
        session.mount("http://", adapter())
        try:
            answer = session.post(
                url,
                data=body,
                headers={**headers, "Connection": "close"},
                timeout=within,
                allow_redirects=False,
            )
        except requests.Timeout:
            return None, TOO_LATE, None
        except requests.RequestException as error:
            return None, type(error).__name__, None
        try:
            return answer.status_code, "", answer.json()
        except ValueError:
            return answer.status_code, "", None
