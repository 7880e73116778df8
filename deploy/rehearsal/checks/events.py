"""Tries the assumptions about Klaviyo's events, with a metric of the rehearsal.

A metric stays: Klaviyo has no call that removes one.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from deploy.rehearsal.assumption import Answer, fails, holds, judged, untried
from deploy.rehearsal.stage import Person, Stage
from shared.errors import RefusedError
from shared.metrics.rules.event import EARLIEST, LATEST_AHEAD

METRIC = "Omneo Rehearsal"
_NOT_SEEN = "Klaviyo accepted the event and did not show it within three minutes"
_LATE_SECONDS = 20.0  # in which a second copy of an event would have come
_DAY = timedelta(days=1)

Row = Mapping[str, Any]


def an_event(stage: Stage, person: Person, unique_id: str, *, at: datetime | None = None) -> dict[str, Any]:
    """Return the resource of an event of this run."""
    metric = {"data": {"type": "metric", "attributes": {"name": METRIC}}}
    attributes = {
        "properties": {"rehearsal": stage.run},
        "unique_id": unique_id,
        "metric": metric,
        "profile": {"data": {"type": "profile", "id": person.id, "attributes": {}}},
        **({"time": at.isoformat()} if at else {}),
    }
    return {"type": "event", "attributes": attributes}


def copies(stage: Stage, person: Person, unique_id: str) -> list[Row]:
    """Return the events that Klaviyo shows under this id."""
    return [row for row in stage.klaviyo.events_of(person.id) if _unique_id(row) == unique_id]


def seen(stage: Stage, person: Person, unique_id: str) -> Callable[[], list[Row] | None]:
    """Return a look for an event."""
    return lambda: copies(stage, person, unique_id) or None


def meta_beside_attributes(stage: Stage) -> Answer:
    """Append to a property of a profile by the `meta` beside its attributes."""
    person, unique_id = stage.person("events"), stage.name("meta")
    event = an_event(stage, person, unique_id)
    profile = event["attributes"]["profile"]["data"]
    profile["meta"] = {"patch_properties": {"append": {"omneo_rehearsal": stage.run}}}
    stage.klaviyo.send_event(event)

    def appended() -> bool | None:
        properties = stage.klaviyo.profile_row(person.id)["attributes"].get("properties") or {}
        return "omneo_rehearsal" in properties or None

    if found := stage.until(appended):
        stage.saw("seconds until the property was seen", found[1].seconds)
        return holds()
    if not copies(stage, person, unique_id):
        return untried(_NOT_SEEN)
    return fails("the event was recorded, and the property that `meta` appends was not")


def one_event_a_unique_id(stage: Stage) -> Answer:
    """Send an event twice with one `unique_id`."""
    person, unique_id = stage.person("events"), stage.name("once")
    for _ in range(2):
        stage.klaviyo.send_event(an_event(stage, person, unique_id))
    first = stage.until(seen(stage, person, unique_id))
    if first is None:
        return untried(_NOT_SEEN)
    stage.saw("seconds until the event was seen", first[1].seconds)
    stage.pause(_LATE_SECONDS)
    count = len(copies(stage, person, unique_id))
    stage.saw("events recorded of two calls", count)
    return judged(count == 1, "one `unique_id` was recorded more than once")


def bulk_refuses_a_known_event(stage: Stage) -> Answer:
    """Send a bulk job of two events, and one with one of them and another."""
    person = stage.person("events")
    known, beside, new = (stage.name(name) for name in ("known", "beside", "new"))
    _send_in_bulk(stage, person, known, beside)
    first = stage.until(lambda: (copies(stage, person, known) and copies(stage, person, beside)) or None)
    if first is None:
        return untried(_NOT_SEEN)
    stage.saw("seconds until the events of a job were seen", first[1].seconds)
    try:
        _send_in_bulk(stage, person, known, new)
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        if error.status != 400:
            return fails("the refusal has another status than 400")
    else:
        stage.pause(_LATE_SECONDS)
        stage.saw("copies of the known event", len(copies(stage, person, known)))
        return fails("the job is accepted")
    stage.pause(_LATE_SECONDS)
    return judged(not copies(stage, person, new), "the other event of the refused job is recorded")


def _send_in_bulk(stage: Stage, person: Person, *unique_ids: str) -> None:
    rows = [an_event(stage, person, unique_id)["attributes"] for unique_id in unique_ids]
    stage.klaviyo.bulk_create_events(rows)


def far_back_and_ahead(stage: Stage) -> Answer:
    """Send events at both ends of the range, and two beyond it."""
    person, now = stage.person("events"), stage.now()
    inside = {"back": EARLIEST + _DAY, "ahead": now + LATEST_AHEAD - 2 * _DAY}
    for name, at in inside.items():
        unique_id = stage.name(name)
        try:
            stage.klaviyo.send_event(an_event(stage, person, unique_id, at=at))
        except RefusedError as error:
            stage.saw(f"status of the event far {name}", error.status or 0)
            return fails(f"Klaviyo refuses an event as far {name} as the targets let in")
        found = stage.until(seen(stage, person, unique_id))
        if found is None:
            return fails(f"Klaviyo accepted an event far {name} and did not show it within three minutes")
        shown = found[0][0]["attributes"].get("timestamp")
        if shown != int(at.timestamp()):
            return fails(f"the event far {name} was recorded with another time")
    return _beyond(stage, person, now)


def _beyond(stage: Stage, person: Person, now: datetime) -> Answer:
    beyond = {"back": EARLIEST - 2 * _DAY, "ahead": now + LATEST_AHEAD + 2 * _DAY}
    taken = []
    for name, at in beyond.items():
        try:
            stage.klaviyo.send_event(an_event(stage, person, stage.name(f"beyond-{name}"), at=at))
            taken.append(name)
        except RefusedError as error:
            stage.saw(f"status of the event too far {name}", error.status or 0)
    return judged(not taken, f"Klaviyo takes an event too far {' and '.join(taken)}: the targets refuse it")


def _unique_id(row: Row) -> object:
    attributes = row.get("attributes") or {}
    return (attributes.get("event_properties") or {}).get("$event_id")
