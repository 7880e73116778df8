"""Posts a body to an address once and says how it went. It knows no service, signs nothing and never tries again.

The status counts once the whole answer is there; one that takes longer than it may is no answer. Redirects are not followed,
cookies are not kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from time import perf_counter
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from deploy.local.sandbox.clock import Clock

TOO_LATE = "Timeout"


@dataclass(frozen=True)
class Attempt:
    """One POST. `sent_at` is Unix seconds of the sandbox's clock, `seconds` how long it really took.

    `status` is None when no answer came in time, and `error` then says why: the name of what went wrong, never a value.
    """

    sent_at: float
    seconds: float
    status: int | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the attempt as the control interface shows it."""
        return dict(vars(self))


class Poster:
    """Makes the calls. Any thread may use it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine is none of loopback's business
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=64))

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, within: float) -> Attempt:
        """Post `body` and return how it went; the answer has `within` seconds."""
        sent_at, started = self._clock(), perf_counter()
        status, error = None, ""
        try:
            answer = self._session.post(
                url, data=body, headers=dict(headers), timeout=within, allow_redirects=False
            )
            status = answer.status_code
        except requests.Timeout:
            error = TOO_LATE
        except requests.RequestException as problem:
            error = type(problem).__name__
        seconds = perf_counter() - started
        if status is not None and seconds > within:
            status, error = None, TOO_LATE  # bytes that came one by one, each in time
        return Attempt(sent_at, seconds, status, error)

    def close(self) -> None:
        """Close the connections kept open."""
        self._session.close()
