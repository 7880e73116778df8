"""An event as Klaviyo's API shows it, which is also how a system webhook carries it. No HTTP here.

Klaviyo's pages "Get Events" and "Working with system webhooks", and recorded answers of both.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from deploy.local.sandbox.klaviyo.accounts import Event


def event_resource(event: Event, metric_id: str) -> dict[str, Any]:
    """Return the event with its profile and metric, both named by id alone."""
    return {
        "type": "event",
        "id": event.id,
        "attributes": {
            "timestamp": int(event.time),
            "event_properties": dict(event.properties),
            # With a space instead of the T of RFC 3339, as Klaviyo writes it.
            "datetime": datetime.fromtimestamp(event.time, UTC).isoformat(sep=" "),
            "uuid": str(uuid5(NAMESPACE_OID, event.id)),
        },
        "relationships": {
            "profile": {"data": {"type": "profile", "id": event.profile_id}},
            "metric": {"data": {"type": "metric", "id": metric_id}},
        },
    }
