"""An event that was recorded, and how Klaviyo's API shows it; a system webhook carries it the same way. No HTTP here.

Klaviyo's pages "Get Events" and "Working with system webhooks", and recorded answers of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5


@dataclass(frozen=True)
class Event:
    """An event that was recorded, which a repeated unique_id is not. Times are Unix seconds.

    `sent` is `data.attributes` as it came. `topic` is the webhook topic of an event that Klaviyo itself records, "" for others.
    """

    id: str
    profile_id: str
    metric: str
    unique_id: str
    time: float
    received_at: float
    revision: str
    properties: Mapping[str, Any] = field(repr=False)
    value: float | None = None
    value_currency: str | None = None
    backfill: bool = False
    sent: Mapping[str, Any] = field(default_factory=dict, repr=False)
    topic: str = ""


def event_resource(event: Event, metric_id: str) -> dict[str, Any]:
    """Return the event with its profile and metric, both named by id alone."""
    return {
        "type": "event",
        "id": event.id,
        "attributes": {
            "timestamp": int(event.time),
            "event_properties": {**event.properties, **_beside(event)},
            # With a space instead of the T of RFC 3339, as Klaviyo writes it.
            "datetime": datetime.fromtimestamp(event.time, UTC).isoformat(sep=" "),
            "uuid": str(uuid5(NAMESPACE_OID, event.id)),
        },
        "relationships": {
            "profile": {"data": {"type": "profile", "id": event.profile_id}},
            "metric": {"data": {"type": "metric", "id": metric_id}},
        },
    }


def _beside(event: Event) -> dict[str, Any]:
    """Return the values that an event had beside its properties.

    Klaviyo shows them among the properties, under its own names.
    """
    beside = {
        "$event_id": event.unique_id or None,
        "$value": event.value,
        "$value_currency": event.value_currency,
    }
    return {name: value for name, value in beside.items() if value is not None}
