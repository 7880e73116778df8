"""Which events stand in one bulk job: as many as it holds, and none twice."""

import json
from typing import Any

import pytest

from shared.klaviyo.bulk import bulk_row
from shared.metrics.rules.bulk import BULK_BYTES, MOST_EVENTS, Filling, Place, bytes_sent

JANE = "canary-jane@example.org"


def an_event(
    unique_id: str = "u", *, id: str = "", metric: str = "Seen", **attributes: Any
) -> dict[str, Any]:
    named = {"id": id} if id else {}
    return {
        "metric": {"data": {"attributes": {"name": metric}}},
        "profile": {"data": {**named, "attributes": attributes}},
        "properties": {},
        "unique_id": unique_id,
    }


def places(*events: dict[str, Any]) -> list[Place]:
    filling = Filling(set())
    return [filling.offer(event) for event in events]


def test_a_thousand_events_fill_a_job() -> None:
    """Klaviyo takes no more."""
    found = places(*(an_event(f"u-{n}", email=JANE) for n in range(1001)))
    assert found == [Place.TAKEN] * 1000 + [Place.FULL]


def test_a_job_is_full_before_it_is_too_large() -> None:
    events = [
        an_event(f"u-{n}", email=JANE) | {"properties": {"text": "é" * 2000}} for n in range(MOST_EVENTS)
    ]
    taken = places(*events).count(Place.TAKEN)
    assert sum(map(bytes_sent, events[:taken])) <= BULK_BYTES < sum(map(bytes_sent, events[: taken + 1]))
    rows = [bulk_row(event) for event in events[:taken]]
    assert len(json.dumps(rows)) <= sum(map(bytes_sent, events[:taken])) <= 5_000_000


def test_a_job_may_be_as_large_as_klaviyo_takes_it_to_the_byte() -> None:
    first = an_event("u-1", email=JANE)
    last = an_event("u-2", email=JANE, title="")
    left = BULK_BYTES - bytes_sent(first) - bytes_sent(last)
    whole, larger = (an_event("u-2", email=JANE, title="x" * length) for length in (left, left + 1))
    assert places(first, whole) == [Place.TAKEN, Place.TAKEN]
    assert places(first, larger) == [Place.TAKEN, Place.FULL]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (an_event(email=JANE), an_event(email=JANE.upper())),
        (an_event(email=JANE, external_id="o"), an_event(external_id="o")),
        (an_event(id="01HX"), an_event(id="01HX", email=JANE)),
        (an_event(email=JANE, phone_number="+61400000001"), an_event(id="01HX", phone_number="+61400000001")),
    ],
)
def test_an_event_that_may_be_the_same_is_not_taken_twice(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert places(first, second) == [Place.TAKEN, Place.REPEATED]


def test_the_same_unique_id_of_another_profile_or_metric_is_another_event() -> None:
    others = (
        an_event(email="canary-ann@example.org"),
        an_event(email=JANE, metric="Earned"),
        an_event("v", email=JANE),
    )
    assert places(an_event(email=JANE), *others) == [Place.TAKEN] * 4
