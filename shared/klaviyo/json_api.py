"""The parts that all calls of Klaviyo's API share: bearer token, revision, JSON:API, pages and problems. No endpoint lives here."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from shared.errors import TokenRejectedError, WaitError
from shared.http.answers import Problem
from shared.http.client import HttpClient
from shared.http.paths import path_segment
from shared.http.strangers import is_strangers
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.pace import Pace, Unpaced

_JSON_API = "application/vnd.api+json"
_THROTTLED = 429

T = TypeVar("T")

segment = partial(path_segment, service="Klaviyo")


class AccessTokens(Protocol):
    """The source of a call's bearer token."""

    def current(self) -> str:
        """Return a token that should work now."""

    def instead_of(self, rejected: str) -> str:
        """Return another token, after Klaviyo did not accept `rejected`."""


class FixedToken:
    """A token that nobody can renew, because its account belongs to no tenant yet."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def current(self) -> str:
        """Return the token."""
        return self._token.get_secret_value()

    def instead_of(self, rejected: str) -> str:
        """Return the same token: there is no other."""
        return rejected


class JsonApi:
    """Calls Klaviyo for one connected account.

    Every method raises the errors of `HttpClient.call`, those of the access tokens, and RestingError where the pace forbids the call.
    """

    def __init__(
        self, http: HttpClient, tokens: AccessTokens, revision: str, pace: Pace | None = None
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._revision = revision
        self._pace = pace or Unpaced()

    @property
    def retirement(self) -> str:
        """When Klaviyo retires the revision that we ask for, in its own words; "" if no answer has said so yet."""
        return self._http.retirement

    def need_token(self) -> None:
        """Return if a call would have a token that should work. None is made: a caller that must know of each call whether it was made
        asks this first.

        Raises:
            DisconnectedError: only a new install can help.
            WaitError: there is no token now.
        """
        self._tokens.current()

    def _get(self, endpoint: Endpoint, path: str, params: Mapping[str, str] | None = None) -> Any:
        return self._send(endpoint, "GET", path, params=params)

    def _post(self, endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> Any:
        return self._send(endpoint, "POST", path, body=body)

    def _send(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()

        def call(token: str) -> Any:
            try:
                return self._http.call(
                    method,
                    path,
                    headers=self._headers(token, data),
                    params=params,
                    data=data,
                    without_body=_without_body(endpoint, method),
                    answered=partial(self._pace.answered, endpoint),
                )
            except WaitError as error:
                if error.status == _THROTTLED:
                    self._pace.refused(endpoint, error.retry_after)
                raise

        self._pace.check(endpoint)
        token = self._tokens.current()
        try:
            answer = call(token)
        except TokenRejectedError:
            # Expired early, or renewed by another worker: once more with another token, then it is somebody else's to judge.
            answer = call(self._tokens.instead_of(token))
        if is_strangers(answer):
            raise WaitError(
                "Klaviyo answered with what cannot be read", service="Klaviyo", status=200
            ) from None
        return answer

    def _headers(self, token: str, data: bytes | None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}", "revision": self._revision, "Accept": _JSON_API}
        return headers if data is None else headers | {"Content-Type": _JSON_API}


def _without_body(endpoint: Endpoint, method: str) -> frozenset[int]:
    """Return the statuses with which Klaviyo takes such a call and says no more; whoever answers for it would say another."""
    if method == "DELETE" or endpoint in (Endpoint.RECORDS, Endpoint.BULK_RECORDS):
        return frozenset({204})
    return frozenset({202} if method == "POST" else ())


def next_cursor(page: Any, *, before: str) -> str | None:
    """Return the cursor of the next page: `links.next` is a whole address, or null on the last page."""
    link = (page.get("links") or {}).get("next")
    cursor = parse_qs(urlsplit(link).query)["page[cursor]"][0] if link else None
    if cursor == before:
        raise ValueError("a page that follows itself")
    return cursor


def read(reader: Callable[[Any], T], body: Any) -> T:
    try:
        return reader(body)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        raise WaitError("Klaviyo answered with what cannot be read", service="Klaviyo") from None


def rows_of(page: Any) -> list[Any]:
    """Return the resources of a page, or raise what `read` takes for an answer that makes no sense."""
    rows = page["data"]
    if not isinstance(rows, list):
        raise TypeError("no list: nobody may be taken for missing")
    return rows


def read_problem(body: Any) -> Problem:
    """Read a JSON:API error document: https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling.

    Raises:
        TypeError, KeyError, IndexError, AttributeError: the body is none.
    """
    errors = body["errors"]
    if not isinstance(errors, list):
        raise TypeError("no list of errors")
    first, others = errors[0], errors[1:]
    if not any(isinstance(first.get(name), str) for name in ("code", "title", "detail")):
        raise TypeError("an error that says nothing")
    meta = first.get("meta") or {}
    return Problem(
        code=str(first.get("code", "")),
        field=_place(first),
        detail=str(first.get("detail", "")),
        duplicate_of=str(meta.get("duplicate_profile_id") or "") if isinstance(meta, dict) else "",
        other_fields=tuple(filter(None, map(_place, others))),
        request_id=str(first.get("id") or ""),
    )


def _place(error: Mapping[str, Any]) -> str:
    source = error.get("source") or {}
    return str(source.get("pointer") or source.get("parameter") or "")
