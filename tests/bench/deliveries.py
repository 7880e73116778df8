"""Deliveries as Klaviyo's system webhooks make them: of a realistic size, and signed. Pure. An event has about 2 KB
with its `event_properties`, which Klaviyo sends whole. Their content is made up, since Klaviyo does not document it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from deploy.local.sandbox.klaviyo.delivery import VERSION, sign
from tests.bench.wire import request_bytes
from tests.support.world import ACCOUNT, TENANT, WEBHOOK_SECRET

WEBHOOK_ID = "01KBENCH000000000000000000"
OPT_IN = "subscribed_to_email_marketing"
# No twins among them: each makes its own interaction.
TOPICS = (
    OPT_IN, "unsubscribed_from_email_marketing", "subscribed_to_list", "bounced_email", "subscribed_to_sms_marketing",
    "updated_email_preferences", "unsubscribed_from_sms_marketing", "failed_to_deliver_sms",
)  # fmt: skip
_TEXT = "Spring in the shop: what is new, what is back, and what is kept for members alone. " * 2
_PROPERTIES = {
    "Campaign Name": _TEXT, "Subject": _TEXT, "List": "Newsletter", "Email Domain": "example.org", "Bounce Type": "Soft",
    "$message": "01JBENCHMESSAGE00000000000", "$message_interaction": "01JBENCHMESSAGE00000000000", "$flow": None,
    "Client Type": "Browser", "Client OS": "Linux", "Client Canonical": "firefox", "$extra": {"html": _TEXT, "page": _TEXT},
    "$attribution": {"$attributed_event_id": "4L3cwQae2TX", "$attributed_channel": "email", "$group_ids": ["VuJgbN", "XaYbZc"]},
    **{f"Custom Property {number}": f"what a merchant has written here, {number}" for number in range(8)},
}  # fmt: skip


@dataclass(frozen=True)
class Happening:
    """One event to deliver; `topic` is without `event:klaviyo.`."""

    id: str
    topic: str
    profile: str
    at: datetime


def profile_id(number: int) -> str:
    """Return the id of a Klaviyo profile."""
    return f"01JD{number:022d}"


def a_body(happenings: Sequence[Happening], now: datetime) -> dict[str, Any]:
    """Return the delivery of these events, sent at `now`."""
    meta = {
        "timestamp": now.isoformat(),
        "klaviyo_webhook_id": WEBHOOK_ID,
        "klaviyo_account_id": ACCOUNT,
        "version": VERSION,
    }
    return {"meta": meta, "data": [_row(happening) for happening in happenings]}


def a_delivery(count: int, now: datetime, *, text: str = "") -> bytes:
    """Return the signed request that delivers so many events, each of another profile, of all topics in turn. Each
    event also contains `text`.
    """
    happenings = [
        Happening(f"4L3cw{number:06d}", TOPICS[number % len(TOPICS)], profile_id(number), now)
        for number in range(count)
    ]
    delivery = a_body(happenings, now)
    for row in delivery["data"] if text else ():
        row["payload"]["data"]["attributes"]["event_properties"]["text"] = text
    body = json.dumps(delivery, ensure_ascii=False).encode()
    timestamp = format_datetime(now, usegmt=True)
    headers = {
        "Klaviyo-Signature": sign(WEBHOOK_SECRET, body, timestamp),
        "Klaviyo-Timestamp": timestamp,
        "Klaviyo-Webhook-Id": WEBHOOK_ID,
    }
    return request_bytes(f"/{TENANT}/api/v1/webhooks/klaviyo/system", headers, body)


def _row(happening: Happening) -> dict[str, Any]:
    resource = {
        "type": "event",
        "id": happening.id,
        "attributes": {
            "timestamp": int(happening.at.timestamp()),
            "event_properties": {**_PROPERTIES, "$event_id": happening.id},
            "datetime": happening.at.isoformat(sep=" "),
            "uuid": str(uuid5(NAMESPACE_OID, happening.id)),
        },
        "relationships": {
            "profile": {"data": {"type": "profile", "id": happening.profile}},
            "metric": {"data": {"type": "metric", "id": "VuJgbN"}},
        },
    }
    topic = f"event:klaviyo.{happening.topic}"
    return {"topic": topic, "external_id": happening.id, "payload": {"data": resource}}
