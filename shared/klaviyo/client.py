"""Klaviyo's API, one method per endpoint, over the one HTTP core. No rules about what to send live here."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from shared.errors import TokenRejectedError
from shared.http import HttpClient, Problem

_JSON_API = "application/vnd.api+json"


class AccessTokens(Protocol):
    """Where the bearer token of a call comes from."""

    def current(self) -> str:
        """Return a token that should work now."""

    def instead_of(self, rejected: str) -> str:
        """Return another token, after Klaviyo did not accept `rejected`."""


class KlaviyoClient:
    """Calls Klaviyo for one connected account.

    Every method raises the errors of `HttpClient.call`, and those of the access tokens.
    """

    def __init__(self, http: HttpClient, tokens: AccessTokens, revision: str) -> None:
        self._http = http
        self._tokens = tokens
        self._revision = revision

    def create_event(self, attributes: Mapping[str, Any]) -> None:
        """Record an event. Success means accepted: Klaviyo processes it later.

        Klaviyo keeps one event for each profile, metric and `unique_id`, so repeating this call is harmless.
        """
        # https://developers.klaviyo.com/en/reference/create_event
        self._post("/api/events", {"data": {"type": "event", "attributes": attributes}})

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        token = self._tokens.current()
        try:
            return self._call("POST", path, token, body)
        except TokenRejectedError:
            # Expired early, or renewed by another worker: once more with another token, then it is somebody else's to judge.
            return self._call("POST", path, self._tokens.instead_of(token), body)

    def _call(self, method: str, path: str, token: str, body: Mapping[str, Any]) -> Any:
        headers = {
            "Authorization": f"Bearer {token}",
            "revision": self._revision,
            "Accept": _JSON_API,
            "Content-Type": _JSON_API,
        }
        return self._http.call(method, path, headers=headers, data=json.dumps(body).encode())


def read_problem(body: Any) -> Problem:
    """Read a JSON:API error document: https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling."""
    first = body["errors"][0]
    source = first.get("source") or {}
    return Problem(
        code=str(first.get("code", "")),
        field=str(source.get("pointer") or source.get("parameter") or ""),
        detail=str(first.get("detail", "")),
    )
