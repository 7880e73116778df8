"""The events that may stand in one bulk job. Pure; shared/klaviyo/bulk.py holds Klaviyo's limits.

If Klaviyo already has one event, or if a job holds an event twice, Klaviyo refuses the whole job. Two events are the same if their profile,
metric and `unique_id` are the same. Two profiles are the same if any of their identifiers is the same.
"""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from shared.metrics.rules.event import metric_name_of

MOST_EVENTS = 1000
BULK_BYTES = 4_750_000  # of Klaviyo's 5 MB: the rest is for the text around the events
# A larger event goes singly. So a page of the backlog has a bound, and a thousand usual events fit a job.
LARGEST_EVENT = 16_000
_ENVELOPE = 160  # bytes that a row of a job has around its event
_IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id", "_kx")

Json = Mapping[str, Any]


class Place(Enum):
    """The decision about an event that is offered to a job."""

    TAKEN = "taken"
    REPEATED = "repeated"
    FULL = "full"


class Filling:
    """A job that is being filled: `offer` takes one event after the other. `known` holds the events of the jobs before, and grows."""

    def __init__(self, known: set[int]) -> None:
        self.count = 0
        self._bytes = 0
        self._known = known

    def offer(self, event: Json) -> Place:
        """Take an event as it is sent, unless the job is full, or this job or an earlier one may hold the same event."""
        size = bytes_sent(event)
        if self.count >= MOST_EVENTS or self._bytes + size > BULK_BYTES:
            return Place.FULL
        # As numbers, because there may be a hundred thousand. If two are equal by chance, an event only goes singly.
        keys = set(map(hash, _keys(event)))
        if keys & self._known:
            return Place.REPEATED
        self.count += 1
        self._bytes += size
        self._known |= keys
        return Place.TAKEN


def bytes_sent(event: Json) -> int:
    """Return how many bytes of a job an event takes."""
    return len(json.dumps(event)) + _ENVELOPE


def _keys(event: Json) -> Iterator[tuple[str, ...]]:
    data = event["profile"]["data"]
    named = {"id": data.get("id"), **{name: data["attributes"].get(name) for name in _IDENTIFIERS}}
    what = metric_name_of(event), str(event["unique_id"])
    yield from ((*what, name, str(value).casefold()) for name, value in named.items() if value)
