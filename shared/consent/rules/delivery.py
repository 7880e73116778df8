"""A delivery of Klaviyo's system webhooks, cut down to the fields that the extension needs. decisions.py says what they mean.

https://developers.klaviyo.com/en/docs/working_with_system_webhooks: up to 1,000 events of any topics and profiles in one call.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal, TypeAlias

from shared.consent.rules.decisions import MARKER, TOPICS
from shared.consent_events import SystemEvent
from shared.errors import InvalidPayloadError

PREFIX = "event:klaviyo."
EVENTS_AT_ONCE = 100  # in one job: about 30 KB, and work for some seconds
_LONGEST_ID = 200
_MILLISECONDS = 1e11  # as seconds, three thousand years from now
Row: TypeAlias = Mapping[str, Any]

_NO_LETTER = re.compile(r"[^a-z]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class SystemDelivery:
    """A delivery, and when it was sent.

    `unread` are the events of known topics that cannot be read, cut down to what would be needed; `left_out` counts, by reason, those that
    are not ours to handle.
    """

    account: str
    webhook_id: str
    sent_at: datetime
    events: tuple[SystemEvent, ...]
    unread: tuple[Row, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)


def read_delivery(body: object, *, now: datetime) -> SystemDelivery:
    """Return the contents of a delivery. Its age does not matter: an event is handled once, even if it comes late.

    An event of an unknown topic is left out and counted, because refusing the call would make Klaviyo send all of it again, and in the
    end nothing at all. An event without a time has that of the delivery.

    Raises:
        InvalidPayloadError: the body is no delivery of Klaviyo's.
    """
    meta, rows = (body.get("meta"), body.get("data")) if isinstance(body, dict) else (None, None)
    if not isinstance(meta, dict) or not isinstance(rows, list):
        raise InvalidPayloadError("Send a delivery as Klaviyo does: an object with meta and a list in data.")
    sent_at = min(_time_in(meta.get("timestamp")) or now, now)
    read = [(row, read_row(row, sent_at=sent_at, now=now)) for row in rows if _topic(row)]
    left_out = Counter(
        "unknown topic" if isinstance(row, dict) else "unreadable" for row in rows if not _topic(row)
    )
    account, webhook_id = (_text(meta.get(name)) for name in ("klaviyo_account_id", "klaviyo_webhook_id"))
    return SystemDelivery(
        account,
        webhook_id,
        sent_at,
        events=tuple(event for _, event in read if event is not None),
        unread=tuple(_cut_down(row) for row, event in read if event is None),
        left_out=left_out,
    )


def read_row(row: Row, *, sent_at: datetime | None, now: datetime) -> SystemEvent | None:
    """Return the event in a row of a delivery that was sent then, None if it cannot be read."""
    resource = _reach(row, "payload", "data")
    id = _text(row.get("external_id")) or _text(_reach(row, "payload", "data", "id"))
    return read_event(_topic(row), resource, id=id, sent_at=sent_at, now=now)


def unread_row(topic: str, resource: Row) -> Row:
    """Return the row of a delivery that a resource of Klaviyo's Get Event would have come in, cut down to what is needed."""
    return _cut_down({"topic": f"{PREFIX}{topic}", "payload": {"data": resource}})


def in_parts(events: tuple[SystemEvent, ...]) -> Iterator[tuple[SystemEvent, ...]]:
    """Yield the events in parts that one job can hold, those of one profile together where that is possible."""
    together = sorted(events, key=lambda event: (event.profile, event.at))
    for first in range(0, len(together), EVENTS_AT_ONCE):
        yield tuple(together[first : first + EVENTS_AT_ONCE])


def read_event(
    topic: str, resource: object, *, id: str, now: datetime, sent_at: datetime | None = None
) -> SystemEvent | None:
    """Return the event that a resource of Klaviyo's Get Event describes, None if it cannot be read.

    One without a time happened when it was sent, if that is known.
    """
    profile = _text(_reach(resource, "relationships", "profile", "data", "id"))
    attributes = _reach(resource, "attributes")
    known: Row = attributes if isinstance(attributes, dict) else {}
    at = _time_in(known.get("timestamp")) or _time_in(known.get("datetime")) or sent_at
    if not id or not topic or not profile or at is None:
        return None
    properties = known.get("event_properties")
    words = _words(properties) if isinstance(properties, dict) else {}
    # A time ahead of us would keep every later decision from counting.
    return SystemEvent(
        id=id,
        topic=topic,
        profile=profile,
        at=min(at, now),
        bounce=_bounce(words.get("bouncetype", "")),
        method=_method(words.get("custommethoddetail", "")),
    )


def _topic(row: object) -> str:
    """Return the topic of a row without its prefix, "" if it is not one of our topics."""
    topic = _text(row.get("topic")) if isinstance(row, dict) else ""
    name = topic.removeprefix(PREFIX)
    return name if topic.startswith(PREFIX) and name in TOPICS else ""


def _cut_down(row: Row) -> Row:
    """Return only the fields of a row that its reader needs: a person's own words are not kept."""
    attributes = {
        name: _scalar(_reach(row, "payload", "data", "attributes", name))
        for name in ("timestamp", "datetime")
    }
    profile = {
        "data": {"id": _scalar(_reach(row, "payload", "data", "relationships", "profile", "data", "id"))}
    }
    data = {
        "id": _scalar(_reach(row, "payload", "data", "id")),
        "attributes": attributes,
        "relationships": {"profile": profile},
    }
    return {"topic": row["topic"], "external_id": _scalar(row.get("external_id")), "payload": {"data": data}}


def _scalar(value: object) -> str | int | float | None:
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, int) and abs(value) < 2**63 else _text(value) or None


def _reach(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    """Return a name or an id, which may be a number; "" for any other value: half a surrogate pair is no text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 2**63 else ""
    if not isinstance(value, str) or len(value) > _LONGEST_ID or _SURROGATE.search(value):
        return ""
    return value


def _time_in(value: object) -> datetime | None:
    """Read a time: Unix seconds or milliseconds, as a number or in a text, or ISO 8601, which Klaviyo writes with a blank or a T."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return _from_number(float(text))
        except ValueError:
            return _from_text(text)
    return _from_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _from_number(number: float) -> datetime | None:
    seconds = number / 1000 if abs(number) >= _MILLISECONDS else number
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None  # no such time; the event may have it in words too


def _from_text(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _words(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the text properties by the letters of their names: how Klaviyo spells them in these events is not documented."""
    return {
        _NO_LETTER.sub("", name.lower()): value
        for name, value in properties.items()
        if isinstance(value, str)
    }


def _method(detail: str) -> Literal["omneo", "other", ""]:
    """Return "omneo" for our mark, "other" for any other text, "" for none. A merchant's own text may be personal and is not kept."""
    if not detail:
        return ""
    return "omneo" if detail.casefold() == MARKER else "other"


def _bounce(kind: str) -> Literal["hard", "soft", ""]:
    letters = _NO_LETTER.sub("", kind.lower())
    if letters.startswith("hard"):
        return "hard"
    return "soft" if letters.startswith("soft") else ""
