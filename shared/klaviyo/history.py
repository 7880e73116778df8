"""Calls that read the metrics and events that Klaviyo has recorded. One method per endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from shared.klaviyo.filters import equals, from_then_on
from shared.klaviyo.json_api import JsonApi, next_cursor, read, rows_of
from shared.klaviyo.limits import Endpoint

EVENTS_A_PAGE = 1000


@dataclass(frozen=True)
class Metric:
    """A metric of the account, and the integration that records it."""

    id: str
    name: str
    integration: str

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Metric":
        """Read a metric resource."""
        attributes = row["attributes"]
        integration = attributes.get("integration") or {}
        return cls(str(row["id"]), str(attributes["name"]), str(integration.get("name") or ""))


@dataclass(frozen=True)
class EventPage:
    """A page of events as Klaviyo shows them, and the cursor of the next one, "" on the last page."""

    events: tuple[Mapping[str, Any], ...]
    cursor: str


class HistoryCalls(JsonApi):
    """Calls that read metrics and events."""

    def metrics(self) -> list[Metric]:
        """Return every metric of the account, Klaviyo's own and others'. 150 calls a minute."""
        # https://developers.klaviyo.com/en/reference/get_metrics
        found: list[Metric] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(
                Endpoint.READ_METRICS, "/api/metrics", {"page[cursor]": cursor} if cursor else {}
            )
            found += read(lambda body: [Metric.read(row) for row in rows_of(body)], page)
            cursor = read(partial(next_cursor, before=cursor), page)
        return found

    def events(self, metric_id: str, *, since: datetime, cursor: str = "") -> EventPage:
        """Return a page of the metric's events from that moment on, oldest first; of all metrics if none is named.

        Klaviyo cannot filter by metrics that an app or a merchant has made, only by its own and its integrations'.
        """
        # https://developers.klaviyo.com/en/reference/get_events
        start = from_then_on("datetime", since)
        params = {
            "filter": f"{equals('metric_id', metric_id)},{start}" if metric_id else start,
            "sort": "datetime",
            "page[size]": str(EVENTS_A_PAGE),
        }
        page = self._get(
            Endpoint.READ_EVENTS, "/api/events", params | ({"page[cursor]": cursor} if cursor else {})
        )
        rows = read(lambda body: tuple({**row} for row in rows_of(body)), page)
        return EventPage(rows, read(partial(next_cursor, before=cursor), page) or "")
