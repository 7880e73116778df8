"""Klaviyo's API, one method per endpoint, over the one HTTP core. No rules about what to send live here."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.errors import TokenRejectedError, WaitError
from shared.http import HttpClient, Problem

_JSON_API = "application/vnd.api+json"

T = TypeVar("T")


class Account(BaseModel):
    """A Klaviyo account. `timezone` is an IANA name, `country` as the merchant wrote it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    name: str = ""
    timezone: str = ""
    country: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Account":
        """Read an account resource."""
        attributes = row.get("attributes") or {}
        contact = attributes.get("contact_information") or {}
        return cls(
            id=row["id"],
            name=contact.get("organization_name") or "",
            timezone=attributes.get("timezone") or "",
            country=(contact.get("street_address") or {}).get("country") or "",
        )


@dataclass(frozen=True)
class Webhook:
    """A webhook as Klaviyo shows it: the address is masked, the secret never shown."""

    id: str
    name: str
    enabled: bool
    topics: frozenset[str]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Webhook":
        """Read a webhook resource."""
        topics = ((row.get("relationships") or {}).get("webhook-topics") or {}).get("data") or ()
        return cls(
            id=str(row["id"]),
            name=str(row["attributes"]["name"]),
            enabled=bool(row["attributes"].get("enabled", True)),
            topics=frozenset(str(topic["id"]) for topic in topics),
        )


class AccessTokens(Protocol):
    """Where the bearer token of a call comes from."""

    def current(self) -> str:
        """Return a token that should work now."""

    def instead_of(self, rejected: str) -> str:
        """Return another token, after Klaviyo did not accept `rejected`."""


class FixedToken:
    """A token that cannot be renewed: the account it belongs to is nobody's yet."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def current(self) -> str:
        """Return the token."""
        return self._token.get_secret_value()

    def instead_of(self, rejected: str) -> str:
        """Return the same token: there is no other."""
        return rejected


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

    def account(self) -> Account:
        """Return the one account that the token belongs to. 15 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_accounts
        return _read(lambda body: Account.read(body["data"][0]), self._get("/api/accounts"))

    def data_sources(self) -> dict[str, str]:
        """Return the ids of all data sources by their titles."""
        # https://developers.klaviyo.com/en/reference/get_data_sources
        found: dict[str, str] = {}
        cursor: str | None = ""
        while cursor is not None:
            params = {"page[size]": "100"} | ({"page[cursor]": cursor} if cursor else {})
            page = self._get("/api/data-sources", params)
            found |= _read(
                lambda body: {row["attributes"]["title"]: str(row["id"]) for row in body["data"]}, page
            )
            cursor = _read(partial(_next_cursor, before=cursor), page)
        return found

    def create_data_source(self, title: str, description: str) -> str:
        """Make a private data source and return its id. Titles are unique; repeating this call is refused."""
        # https://developers.klaviyo.com/en/reference/create_data_source
        attributes = {
            "title": title,
            "description": description,
            "visibility": "private",
            "namespace": "custom-objects",
        }
        made = self._post("/api/data-sources", {"data": {"type": "data-source", "attributes": attributes}})
        return _read(lambda body: str(body["data"]["id"]), made)

    def webhook_topics(self) -> set[str]:
        """Return the topics that the account offers. 15 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_webhook_topics
        return _read(lambda body: {str(row["id"]) for row in body["data"]}, self._get("/api/webhook-topics"))

    def webhooks(self) -> list[Webhook]:
        """Return the account's webhooks, ours and others'. 15 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_webhooks
        return _read(
            lambda body: [Webhook.read(row) for row in body["data"]],
            self._get("/api/webhooks", {"include": "webhook-topics"}),
        )

    def create_webhook(self, name: str, url: str, secret: SecretStr, topics: Collection[str]) -> str:
        """Make a webhook and return its id. Names are not unique: look before repeating this call."""
        # https://developers.klaviyo.com/en/reference/create_webhook
        attributes = {
            "name": name,
            "description": "Keeps consent in Omneo true. Managed by the Omneo extension.",
            "endpoint_url": url,
            "secret_key": secret.get_secret_value(),
        }
        made = self._post("/api/webhooks", {"data": _webhook(attributes, topics)})
        return _read(lambda body: str(body["data"]["id"]), made)

    def update_webhook(
        self, id: str, name: str, url: str, secret: SecretStr, topics: Collection[str]
    ) -> None:
        """Make an existing webhook what a new one would be, and enable it. Repeating this call is harmless."""
        # https://developers.klaviyo.com/en/reference/update_webhook
        attributes = {
            "name": name,
            "endpoint_url": url,
            "secret_key": secret.get_secret_value(),
            "enabled": True,
        }
        body = {"data": {**_webhook(attributes, topics), "id": id}}
        self._send("PATCH", f"/api/webhooks/{quote(id, safe='')}", body=body)

    def delete_webhook(self, id: str) -> None:
        """Remove a webhook; one that is gone already raises NotFoundError."""
        # https://developers.klaviyo.com/en/reference/delete_webhook
        self._send("DELETE", f"/api/webhooks/{quote(id, safe='')}")

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        return self._send("GET", path, params=params)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("POST", path, body=body)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        token = self._tokens.current()
        try:
            return self._http.call(method, path, headers=self._headers(token, data), params=params, data=data)
        except TokenRejectedError:
            # Expired early, or renewed by another worker: once more with another token, then it is somebody else's to judge.
            other = self._tokens.instead_of(token)
            return self._http.call(method, path, headers=self._headers(other, data), params=params, data=data)

    def _headers(self, token: str, data: bytes | None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}", "revision": self._revision, "Accept": _JSON_API}
        return headers if data is None else headers | {"Content-Type": _JSON_API}


def _webhook(attributes: Mapping[str, Any], topics: Collection[str]) -> dict[str, Any]:
    rows = [{"type": "webhook-topic", "id": topic} for topic in sorted(topics)]
    return {
        "type": "webhook",
        "attributes": attributes,
        "relationships": {"webhook-topics": {"data": rows}},
    }


def _next_cursor(page: Any, *, before: str) -> str | None:
    """Return the cursor of the next page: `links.next` is a whole address, or null on the last page."""
    link = (page.get("links") or {}).get("next")
    cursor = parse_qs(urlsplit(link).query)["page[cursor]"][0] if link else None
    if cursor == before:
        raise ValueError("a page that follows itself")
    return cursor


def _read(reader: Callable[[Any], T], body: Any) -> T:
    try:
        return reader(body)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        raise WaitError("Klaviyo answered with what cannot be read", service="Klaviyo") from None


def read_problem(body: Any) -> Problem:
    """Read a JSON:API error document: https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling."""
    first = body["errors"][0]
    source = first.get("source") or {}
    return Problem(
        code=str(first.get("code", "")),
        field=str(source.get("pointer") or source.get("parameter") or ""),
        detail=str(first.get("detail", "")),
    )
