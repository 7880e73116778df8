"""What a delivery of Klaviyo's system webhooks holds, cut down to what the extension needs. What it means stands in consent.py.

https://developers.klaviyo.com/en/docs/working_with_system_webhooks: up to 1,000 events of any topics and profiles in one call.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from shared.consent.rules.decisions import MARKER, TOPICS
from shared.consent_events import SystemEvent
from shared.errors import InvalidPayloadError

PREFIX = "event:klaviyo."
EVENTS_AT_ONCE = 100  # in one job: about 30 KB, and work for some seconds
_LONGEST_ID = 200
_NO_LETTER = re.compile(r"[^a-z]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class SystemDelivery:
    """A delivery. `left_out` counts, by reason, the events in it that are not ours to handle."""

    account: str
    webhook_id: str
    events: tuple[SystemEvent, ...]
    left_out: Counter[str] = field(default_factory=Counter)


def read_delivery(body: object, *, now: datetime) -> SystemDelivery:
    """Return what a delivery holds. Its age does not matter: an event is handled once, however late it comes.

    An event that cannot be read is left out and counted, because refusing the call would make Klaviyo send all of it again, and in the
    end nothing at all.

    Raises:
        InvalidPayloadError: it is no delivery of Klaviyo's.
    """
    meta, rows = (body.get("meta"), body.get("data")) if isinstance(body, dict) else (None, None)
    if not isinstance(meta, dict) or not isinstance(rows, list):
        raise InvalidPayloadError("Send a delivery as Klaviyo does: an object with meta and a list in data.")
    left_out: Counter[str] = Counter()
    events = []
    for row in rows:
        event = _event(row, now)
        if isinstance(event, str):
            left_out[event] += 1
        else:
            events.append(event)
    account, webhook_id = (_text(meta.get(name)) for name in ("klaviyo_account_id", "klaviyo_webhook_id"))
    return SystemDelivery(account, webhook_id, tuple(events), left_out)


def in_parts(events: tuple[SystemEvent, ...]) -> Iterator[tuple[SystemEvent, ...]]:
    """Yield the events in parts that one job can hold, those of one profile together where that is possible."""
    together = sorted(events, key=lambda event: (event.profile, event.at))
    for first in range(0, len(together), EVENTS_AT_ONCE):
        yield tuple(together[first : first + EVENTS_AT_ONCE])


def read_event(topic: str, resource: object, *, id: str, now: datetime) -> SystemEvent | None:
    """Return the event that a resource of Klaviyo's Get Event describes, None if it cannot be read."""
    if not isinstance(resource, dict) or not isinstance(attributes := resource.get("attributes"), dict):
        return None
    profile = _text(_reach(resource, "relationships", "profile", "data", "id"))
    at = _time(attributes)
    if not id or not profile or at is None:
        return None
    properties = attributes.get("event_properties")
    words = _words(properties) if isinstance(properties, dict) else {}
    # A time ahead of us would keep every later decision from counting.
    return SystemEvent(
        id=id,
        topic=topic,
        profile=profile,
        at=min(at, now.replace(microsecond=0)),
        bounce=_bounce(words.get("bouncetype", "")),
        method=_method(words.get("custommethoddetail", "")),
    )


def _event(row: object, now: datetime) -> SystemEvent | Literal["unknown topic", "unreadable"]:
    if not isinstance(row, dict):
        return "unreadable"
    topic = _text(row.get("topic"))
    if topic.removeprefix(PREFIX) not in TOPICS or not topic.startswith(PREFIX):
        return "unknown topic"
    resource = _reach(row, "payload", "data")
    id = _text(row.get("external_id")) or _text(_reach(row, "payload", "data", "id"))
    return read_event(topic.removeprefix(PREFIX), resource, id=id, now=now) or "unreadable"


def _reach(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    """Return a name or an id, "" for what cannot be one: half a surrogate pair is no text."""
    if not isinstance(value, str) or len(value) > _LONGEST_ID or _SURROGATE.search(value):
        return ""
    return value


def _time(attributes: Mapping[str, Any]) -> datetime | None:
    """Read `timestamp`, Unix seconds, or else `datetime`, which Klaviyo writes with a blank or a T."""
    return _from_seconds(attributes.get("timestamp")) or _from_text(attributes.get("datetime"))


def _from_seconds(seconds: object) -> datetime | None:
    try:
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        pass  # no such time; the event has it in words too
    return None


def _from_text(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is None:
            return None
        aware = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return aware.replace(microsecond=0)


def _words(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the text properties by the letters of their names: how Klaviyo spells them in these events is not documented."""
    return {
        _NO_LETTER.sub("", name.lower()): value
        for name, value in properties.items()
        if isinstance(value, str)
    }


def _method(detail: str) -> Literal["omneo", "other", ""]:
    """Return whose a consent is; what else a merchant has written there may be personal and is not kept."""
    if not detail:
        return ""
    return "omneo" if detail.casefold() == MARKER else "other"


def _bounce(kind: str) -> Literal["hard", "soft", ""]:
    letters = _NO_LETTER.sub("", kind.lower())
    if letters.startswith("hard"):
        return "hard"
    return "soft" if letters.startswith("soft") else ""
