"""Delivers events to an account's system webhooks: body, signature and call. `parcels.py` decides the due time of each.

Klaviyo's page "Working with system webhooks", its Python sample for the signature, and recorded deliveries: lowercase hex
HMAC-SHA256 of the raw body followed by the header Klaviyo-Timestamp, which says GMT and is five hours ahead; 5 seconds for
the answer.

Assumed (deliveries-are-signed-anew):
a new try carries the same events under a new timestamp and signature; `meta.timestamp` is when the request was
sent; an event that no enabled webhook wants is not kept for one.
"""

import hashlib
import hmac
import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate

from deploy.local.sandbox.klaviyo.accounts import Account
from deploy.local.sandbox.klaviyo.event_resources import event_resource
from deploy.local.sandbox.klaviyo.parcels import MOST_EVENTS, Parcel, WebhookDelivery
from deploy.local.sandbox.klaviyo.webhooks import Webhook
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.posting import post

VERSION = "2024-06-28"
ANSWER_SECONDS = 5.0
_AHEAD = 5 * 3600


@dataclass(frozen=True)
class Forgery:
    """The wrong parts of a forged delivery; None where a part is right."""

    secret: str | None = None
    webhook_id: str | None = None
    account_id: str | None = None


_GENUINE = Forgery()


class Courier:
    """Delivers for all accounts. Every method may be called from any thread; none holds the lock while it calls."""

    def __init__(self, find: Callable[[str], Account], lock: threading.RLock, clock: Clock) -> None:
        self._find = find
        self._lock = lock
        self._clock = clock
        self._closed = threading.Event()

    def deliver(
        self,
        account: str,
        *,
        batch: int = MOST_EVENTS,
        copies: int = 1,
        seed: int | None = None,
        sign_with: str | None = None,
        webhook_id_header: str | None = None,
        account_id: str | None = None,
    ) -> list[WebhookDelivery]:
        """Send the due events and the account's outbox to every enabled webhook, and return every attempt.

        A request carries at most `batch` events and is made `copies` times. With a `seed`, events and requests come in
        a random order. With another secret, webhook id or account id, the requests are a forgery of the outbox: the
        outbox stays unchanged, and nothing is tried again.

        Raises:
            ValueError: `batch` is not 1 to 1,000, or `copies` less than 1.
        """
        if not 1 <= batch <= MOST_EVENTS or copies < 1:
            raise ValueError(f"batch must be 1 to {MOST_EVENTS}, copies 1 or more")
        forgery = Forgery(sign_with, webhook_id_header, account_id)
        done = self.deliver_due(account) if forgery == _GENUINE else []
        with self._lock:
            known = self._find(account)
            outbox, webhooks = list(known.outbox), list(known.webhooks.values())
            shuffle = None if seed is None else random.Random(seed)
            parcels = known.parcels.pack(outbox, webhooks, batch=batch, copies=copies, shuffle=shuffle)
            if forgery == _GENUINE:
                known.outbox.clear()
        return done + self._send(known, parcels, forgery)

    def deliver_due(self, account: str) -> list[WebhookDelivery]:
        """Repeat the failed deliveries that are due, and return every attempt."""
        with self._lock:
            known = self._find(account)
            parcels = known.parcels.take_due(self._clock())
        return self._send(known, parcels, _GENUINE)

    def send_raw(self, account: str, webhook_id: str, body: bytes) -> WebhookDelivery:
        """Send any body to a webhook, signed as it should be; it is not tried again.

        Raises:
            KeyError: there is no such webhook.
        """
        with self._lock:
            known = self._find(account)
            webhook = known.webhooks[webhook_id]
            url, headers = webhook.endpoint_url, self._headers(webhook, body, _GENUINE)
        delivery = WebhookDelivery(
            webhook_id, 0, post(url, body, headers, within=ANSWER_SECONDS, clock=self._clock)
        )
        with self._lock:
            known.parcels.deliveries.append(delivery)
        return delivery

    def deliveries(self, account: str) -> list[WebhookDelivery]:
        """Return every attempt to deliver to the account's webhooks, in the order they ended."""
        with self._lock:
            return list(self._find(account).parcels.deliveries)

    def close(self) -> None:
        """Send nothing more."""
        self._closed.set()

    def _send(self, account: Account, parcels: Iterable[Parcel], forgery: Forgery) -> list[WebhookDelivery]:
        done = []
        for parcel in parcels:
            if self._closed.is_set():
                break
            if (delivery := self._send_one(account, parcel, forgery)) is not None:
                done.append(delivery)
        return done

    def _send_one(self, account: Account, parcel: Parcel, forgery: Forgery) -> WebhookDelivery | None:
        with self._lock:
            webhook = account.webhooks.get(parcel.webhook_id)
            if webhook is None or not webhook.enabled:
                return None  # it was disabled or removed since the parcel was packed
            body = self._body(account, parcel, forgery)
            url, headers = webhook.endpoint_url, self._headers(webhook, body, forgery)
        # Not under the lock: the called function will call back.
        attempt = post(url, body, headers, within=ANSWER_SECONDS, clock=self._clock)
        delivery = WebhookDelivery(parcel.webhook_id, len(parcel.events), attempt)
        with self._lock:
            if forgery == _GENUINE:
                account.parcels.settle(parcel, delivery, account.webhooks.get(parcel.webhook_id))
            else:
                account.parcels.deliveries.append(delivery)
        return delivery

    def _body(self, account: Account, parcel: Parcel, forgery: Forgery) -> bytes:
        rows = [
            {
                "topic": event.topic,
                "external_id": event.id,
                "payload": {"data": event_resource(event, account.metric_id(event.metric))},
            }
            for event in parcel.events
        ]
        meta = {
            "timestamp": datetime.fromtimestamp(self._clock(), UTC).isoformat(),
            "klaviyo_webhook_id": parcel.webhook_id,
            "klaviyo_account_id": account.id if forgery.account_id is None else forgery.account_id,
            "version": VERSION,
        }
        return json.dumps({"meta": meta, "data": rows}).encode()

    def _headers(self, webhook: Webhook, body: bytes, forgery: Forgery) -> Mapping[str, str]:
        timestamp = formatdate(self._clock() + _AHEAD, usegmt=True)
        secret = webhook.secret_key if forgery.secret is None else forgery.secret
        return {
            "Content-Type": "application/json",
            "Klaviyo-Signature": sign(secret, body, timestamp),
            "Klaviyo-Timestamp": timestamp,
            "Klaviyo-Webhook-Id": webhook.id if forgery.webhook_id is None else forgery.webhook_id,
        }


def sign(secret: str, body: bytes, timestamp: str) -> str:
    """Return the signature of a body that is sent under this header Klaviyo-Timestamp."""
    return hmac.new(secret.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()
