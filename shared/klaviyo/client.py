"""Klaviyo's API, one method per endpoint, over the one HTTP core. No rules about what to send live here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from shared.klaviyo.bulk import BulkCalls
from shared.klaviyo.grant import Account
from shared.klaviyo.history import HistoryCalls
from shared.klaviyo.json_api import AccessTokens, FixedToken, read, read_problem, rows_of, segment
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.profiles import ProfileCalls
from shared.klaviyo.records import RecordCalls

__all__ = ["AccessTokens", "Account", "FixedToken", "KlaviyoClient", "Webhook", "read_problem"]


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


class KlaviyoClient(ProfileCalls, HistoryCalls, RecordCalls, BulkCalls):
    """Calls Klaviyo for one connected account. Its base classes hold the calls about profiles, history, records and bulk jobs."""

    def create_event(self, attributes: Mapping[str, Any]) -> None:
        """Record an event. Success means accepted: Klaviyo processes it later.

        Klaviyo keeps one event for each profile, metric and `unique_id`, so repeating this call is harmless.
        """
        # https://developers.klaviyo.com/en/reference/create_event
        self._post(Endpoint.EVENTS, "/api/events", {"data": {"type": "event", "attributes": attributes}})

    def account(self) -> Account:
        """Return the one account that the token belongs to. 15 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_accounts
        return read(
            lambda body: Account.read(body["data"][0]), self._get(Endpoint.READ_ACCOUNT, "/api/accounts")
        )

    def webhook_topics(self) -> set[str]:
        """Return the topics that the account offers. 15 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_webhook_topics
        return read(
            lambda body: {str(row["id"]) for row in rows_of(body)},
            self._get(Endpoint.READ_WEBHOOK_TOPICS, "/api/webhook-topics"),
        )

    def webhooks(self) -> list[Webhook]:
        """Return the account's webhooks, ours and others'. 15 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_webhooks
        return read(
            lambda body: [Webhook.read(row) for row in rows_of(body)],
            self._get(Endpoint.READ_WEBHOOKS, "/api/webhooks", {"include": "webhook-topics"}),
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
        made = self._post(Endpoint.CREATE_WEBHOOK, "/api/webhooks", {"data": _webhook(attributes, topics)})
        return read(lambda body: str(body["data"]["id"]), made)

    def update_webhook(
        self, id: str, name: str, url: str, secret: SecretStr, topics: Collection[str]
    ) -> None:
        """Give a webhook this name, address, secret and topics, and enable it. Repeating this call is harmless."""
        # https://developers.klaviyo.com/en/reference/update_webhook
        attributes = {
            "name": name,
            "endpoint_url": url,
            "secret_key": secret.get_secret_value(),
            "enabled": True,
        }
        body = {"data": {**_webhook(attributes, topics), "id": id}}
        self._send(Endpoint.UPDATE_WEBHOOK, "PATCH", f"/api/webhooks/{segment(id)}", body=body)

    def delete_webhook(self, id: str) -> None:
        """Remove a webhook; one that is gone already raises NotFoundError."""
        # https://developers.klaviyo.com/en/reference/delete_webhook
        self._send(Endpoint.DELETE_WEBHOOK, "DELETE", f"/api/webhooks/{segment(id)}")


def _webhook(attributes: Mapping[str, Any], topics: Collection[str]) -> dict[str, Any]:
    rows = [{"type": "webhook-topic", "id": topic} for topic in sorted(topics)]
    return {
        "type": "webhook",
        "attributes": attributes,
        "relationships": {"webhook-topics": {"data": rows}},
    }
