"""Klaviyo's system webhooks and their topics: their fields, and the rules for new ones. It delivers nothing.

Klaviyo's pages "Webhooks API overview", "Working with system webhooks" and "Create Webhook", and recorded answers:
`endpoint_url` is masked wherever it is read, the secret is never shown, names need not be unique, topics are replaced
whole, `description: null` is ignored.

Assumed (webhook-bodies):
- `http` is refused as the reference says, but for loopback, so that one machine can be used.
- Any other null in an update is ignored as well; a webhook has at least one topic; a topic named twice counts once.
- `updated_at` is shown from the first update on.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from deploy.local.sandbox.klaviyo import documents
from deploy.local.sandbox.klaviyo.documents import Resource, Rule, iso
from deploy.local.sandbox.klaviyo.errors import Problem

TYPE = "webhook"
TOPIC = "webhook-topic"
MOST_WEBHOOKS = 10
SHORTEST_SECRET = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_POINTER = "/data/relationships/webhook-topics"


@dataclass
class Webhook:
    """One webhook, with its address and secret as they were set. Times are Unix seconds."""

    id: str
    name: str
    endpoint_url: str
    secret_key: str = field(repr=False)
    topics: list[str]
    created_at: float
    description: str | None = None
    enabled: bool = True
    updated_at: float | None = None

    def update(self, document: Mapping[str, Any], now: float) -> None:
        """Apply the acceptable body of an update."""
        for name, value in documents.given(document).items():
            setattr(self, name, value)
        self.topics = topics(document) or self.topics
        self.updated_at = now

    def to_resource(self, url: str) -> Resource:
        """Return it as the API at `url` shows it."""
        attributes = {
            "name": self.name,
            "endpoint_url": masked(self.endpoint_url),
            "enabled": self.enabled,
            "description": self.description,
            "created_at": iso(self.created_at),
        }
        if self.updated_at is not None:
            attributes["updated_at"] = iso(self.updated_at)
        links = {"self": f"{url}/api/webhooks/{self.id}/"}
        named = {"webhook-topics": {"data": [{"type": TOPIC, "id": topic} for topic in self.topics]}}
        return {
            "type": TYPE,
            "id": self.id,
            "attributes": attributes,
            "relationships": named,
            "links": links,
        }


def topic_resource(id: str, url: str) -> Resource:
    """Return a topic as the API at `url` shows it."""
    links = {"self": f"{url}/api/webhook-topics/{id}/"}
    return {"type": TOPIC, "id": id, "attributes": {}, "links": links}


def masked(url: str) -> str:
    """Return a webhook's address as Klaviyo shows it.

    >>> masked("https://user:word@example.org:8443/acme?key=1")
    'https://example.org:8443/*****'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/*****"


def topics(document: Mapping[str, Any]) -> list[str]:
    """Return the topics that an acceptable document names, each once; none if it names none."""
    related = document["data"].get("relationships") or {}
    rows = (related.get("webhook-topics") or {}).get("data") or []
    return list(dict.fromkeys(row["id"] for row in rows))


def creation_problems(document: Any, offered: Collection[str]) -> Iterator[Problem]:
    """Yield everything wrong with the body of Create Webhook; `offered` are the account's topics."""
    rules = {name: rule for name, rule in _RULES.items() if name != "enabled"}
    required = ["name", "endpoint_url", "secret_key"]
    yield from documents.problems(document, TYPE, rules, required=required)
    yield from _topic_problems(document, offered, required=True)


def update_problems(document: Any, offered: Collection[str], *, id: str) -> Iterator[Problem]:
    """Yield everything wrong with the body of Update Webhook."""
    yield from documents.problems(document, TYPE, _RULES, id=id)
    yield from _topic_problems(document, offered, required=False)


def _topic_problems(document: Any, offered: Collection[str], *, required: bool) -> Iterator[Problem]:
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        return  # said already
    related = data.get("relationships")
    named = related.get("webhook-topics") if isinstance(related, dict) else None
    if named is None and not required:
        return
    rows = named.get("data") if isinstance(named, dict) else None
    if not isinstance(rows, list) or not rows:
        yield Problem("'webhook-topics' must name at least one topic.", _POINTER)
        return
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.get("type") != TOPIC:
            yield Problem(f"'type' must be '{TOPIC}'.", f"{_POINTER}/data/{index}/type")
        elif row.get("id") not in offered:
            yield Problem("There is no such webhook topic.", f"{_POINTER}/data/{index}/id")


def is_endpoint(value: object) -> bool:
    """Return whether this is an address that Klaviyo would call: https, or http on loopback."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return False
    if parts is None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


_RULES: dict[str, Rule] = {
    "name": (lambda value: isinstance(value, str) and value != "", "a string that is not empty"),
    "description": (lambda value: isinstance(value, str), "a string"),
    "endpoint_url": (is_endpoint, "an https URL"),
    "secret_key": (
        lambda value: isinstance(value, str) and len(value) >= SHORTEST_SECRET,
        f"a string of {SHORTEST_SECRET} characters or more",
    ),
    "enabled": (lambda value: isinstance(value, bool), "a boolean"),
}
