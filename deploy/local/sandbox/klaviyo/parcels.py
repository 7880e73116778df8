"""The waiting deliveries of an account's system webhooks, with their times. It has rules and memory, and sends nothing.

Klaviyo's page "Working with system webhooks" and its guide: up to 1,000 events a request, of many profiles and topics;
success is 200, 201 or 202; exponential backoff of at most an hour; a webhook in error for more than 48 hours is disabled,
and what it missed is not sent again.

Assumed (webhooks-deliver-at-once):
- The first new try comes after a minute, and the wait doubles from there. Each batch waits for itself, and new events do
  not wait for it.
- A webhook is in error from its first failure until a success; whether the 48 hours are over is looked at when a try fails.
- Events that happened before a webhook was made or enabled again, and whatever waits as it is disabled, are not for it.
- A webhook delivers from the moment it is made, where the real one may take three minutes.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from deploy.local.sandbox.klaviyo.event_resources import Event
from deploy.local.sandbox.klaviyo.webhooks import Webhook
from deploy.local.sandbox.stage.posting import Attempt

MOST_EVENTS = 1000
SUCCESSES = (200, 201, 202)
DISABLED_AFTER = 48 * 3600.0
_FIRST_WAIT = 60.0
_LONGEST_WAIT = 3600.0


@dataclass(frozen=True)
class Parcel:
    """Events for one webhook that go in one request. `due_at` is Unix seconds; `tries` were made so far."""

    webhook_id: str
    events: tuple[Event, ...]
    tries: int = 0
    due_at: float = 0.0


@dataclass(frozen=True)
class WebhookDelivery:
    """One attempt to deliver to a webhook; `events` is how many it carried."""

    webhook_id: str
    events: int
    attempt: Attempt

    @property
    def succeeded(self) -> bool:
        """Whether Klaviyo counts it as delivered."""
        return self.attempt.status in SUCCESSES

    def to_json(self) -> dict[str, Any]:
        """Return the delivery as the control interface shows it."""
        return {"webhook_id": self.webhook_id, "events": self.events, **self.attempt.to_json()}


class Parcels:
    """One account's parcels. Callers hold the lock of the service."""

    def __init__(self) -> None:
        self.deliveries: list[WebhookDelivery] = []
        self._waiting: list[Parcel] = []
        self._missed: dict[str, set[str]] = {}
        self._failing_since: dict[str, float] = {}

    def start(self, webhook_id: str, outbox: Iterable[Event]) -> None:
        """Begin to deliver to a webhook that is new or enabled again: it gets no earlier events."""
        self._forget(webhook_id)
        self._missed[webhook_id] = {event.id for event in outbox}

    def pack(
        self,
        outbox: Iterable[Event],
        webhooks: Iterable[Webhook],
        *,
        batch: int,
        copies: int,
        shuffle: random.Random | None,
    ) -> list[Parcel]:
        """Return the parcels that bring the outbox to every enabled webhook, each of them `copies` times."""
        parcels = []
        for webhook in webhooks:
            missed = self._missed.get(webhook.id, ())
            events = [event for event in outbox if event.topic in webhook.topics and event.id not in missed]
            if shuffle is not None:
                shuffle.shuffle(events)
            for first in range(0, len(events) if webhook.enabled else 0, batch):
                parcels += [Parcel(webhook.id, tuple(events[first : first + batch]))] * copies
        if shuffle is not None:
            shuffle.shuffle(parcels)
        return parcels

    def take_due(self, now: float) -> list[Parcel]:
        """Take out the parcels whose next try is due, the oldest due time first."""
        due = sorted((parcel for parcel in self._waiting if parcel.due_at <= now), key=_due_at)
        self._waiting = [parcel for parcel in self._waiting if parcel.due_at > now]
        return due

    def settle(self, parcel: Parcel, delivery: WebhookDelivery, webhook: Webhook | None) -> None:
        """Note the result of a try: keep a failed parcel for later, and disable a webhook that has failed for too long."""
        self.deliveries.append(delivery)
        if webhook is None or not webhook.enabled:
            self._forget(parcel.webhook_id)
            return
        if delivery.succeeded:
            self._failing_since.pop(webhook.id, None)
            return
        now = delivery.attempt.sent_at
        if now - self._failing_since.setdefault(webhook.id, now) > DISABLED_AFTER:
            webhook.enabled = False
            self._forget(webhook.id)
            return
        self._waiting.append(replace(parcel, tries=parcel.tries + 1, due_at=now + wait(parcel.tries + 1)))

    def _forget(self, webhook_id: str) -> None:
        self._waiting = [parcel for parcel in self._waiting if parcel.webhook_id != webhook_id]
        self._failing_since.pop(webhook_id, None)


def wait(tries: int) -> float:
    """Return the seconds from the try with this number, counted from 1, to the next.

    >>> [wait(tries) for tries in (1, 2, 6, 7, 100)]
    [60.0, 120.0, 1920.0, 3600.0, 3600.0]
    """
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tries - 1, 10))


def _due_at(parcel: Parcel) -> float:
    return parcel.due_at
