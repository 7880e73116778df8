"""The pace of a tenant's calls: an endpoint that Klaviyo has just throttled is not called, and the caller learns when its turn comes.

A worker's calls follow the pace, because the queue can wait. A call for which a person waits is made anyway: it is one call, and Klaviyo may
take it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from shared.errors import RestingError
from shared.klaviyo.limits import Endpoint, Limit
from shared.klaviyo.rests import Rests


class Pace(Protocol):
    """The pace of a client, which asks it before each call and reports each refusal."""

    def check(self, endpoint: Endpoint) -> None:
        """Return if the endpoint may be called, or raise a RestingError."""

    def answered(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Read the limits in the headers of an answer."""

    def refused(self, endpoint: Endpoint, asked: float | None) -> None:
        """Note that Klaviyo throttles the endpoint for so many seconds, None if it does not say how many."""


class Unpaced:
    """Every call is made."""

    def check(self, endpoint: Endpoint) -> None:
        """Let the call be made at once."""

    def answered(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Ignore the limits: no call waits."""

    def refused(self, endpoint: Endpoint, asked: float | None) -> None:
        """Ignore the refusal: no endpoint rests."""


class TenantPace:
    """The pace of one tenant's calls, which all its jobs keep."""

    def __init__(self, tenant: str, rests: Rests, clock: Callable[[], datetime]) -> None:
        self._tenant = tenant
        self._rests = rests
        self._clock = clock

    def check(self, endpoint: Endpoint) -> None:
        """Return if the endpoint may be called.

        Raises:
            RestingError: the endpoint rests.
        """
        turn = self._rests.turn(self._tenant, endpoint, self._rests.limit(self._tenant, endpoint))
        if turn is not None:
            raise RestingError(
                "Klaviyo answered 429, and is not called again yet",
                service="Klaviyo",
                status=429,
                retry_after=(turn - self._clock()).total_seconds(),
            )

    def answered(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Note the account's own limit, which may differ from the documented one, and whether the calls of this second are spent."""
        if limit := Limit.read(headers.get("RateLimit-Limit", "")):
            self._rests.learn(self._tenant, endpoint, limit)
        if headers.get("RateLimit-Remaining", "").strip() == "0":  # of the second, not of the minute
            self._rests.fill(self._tenant, endpoint)

    def refused(self, endpoint: Endpoint, asked: float | None) -> None:
        """Let the endpoint rest."""
        self._rests.refused(self._tenant, endpoint, asked)
