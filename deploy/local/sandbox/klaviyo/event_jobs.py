"""Klaviyo's jobs of many events: the accepted bodies, and the effect of a job.

Klaviyo's page "Bulk Create Events": at most 1,000 events, 5 MB and 100 KB a string; another event with the `unique_id` of
one that the same profile and metric have refuses the whole request, where the single call drops it without a word. The answer
is empty: no job can be looked at.

Assumed (bulk-refuses-a-known-event, bulk-events-are-recorded-at-once):
- A refused request has no effect at all, and names every event that is wrong; one that is repeated is 400.
- An event is repeated if it stands twice in the request, or was recorded before, by this call or the single one.
- An id that no profile has is 404 for the whole request.
- The events are recorded at once, where the real ones may take minutes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo import errors, events
from deploy.local.sandbox.klaviyo.accounts import META_MOVED
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.documents import problems as document_problems
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.stage.messages import Answer

TYPE = "event-bulk-create-job"
MOST_EVENTS = 1000
_LIST = "events-bulk-create"
_ROWS = f"/data/attributes/{_LIST}/data"

Json = Mapping[str, Any]


def create_event_job(asked: Asked) -> Answer:
    """`POST /api/event-bulk-create-jobs`."""
    if found := list(_envelope_problems(asked.document)):
        return errors.invalid(found)
    rows = asked.document["data"]["attributes"][_LIST]["data"]
    if found := list(_row_problems(rows, asked.now)):
        return errors.invalid(found)
    placed = [(at, _attributes(row, event)) for at, row, event in _events(rows)]
    for _, attributes in placed:
        id = attributes["profile"]["data"].get("id")
        if id and asked.account.profile(id) is None:
            return errors.missing("profile", id)
    repeated = list(_repeats(placed, asked))
    if repeated and not asked.is_otherwise("bulk-refuses-a-known-event"):
        return errors.invalid(repeated)
    for _, attributes in placed:
        # Here `meta` has always stood beside the profile's attributes.
        asked.account.create_event(attributes, revision=max(asked.revision, META_MOVED))
    return Answer(202)


def _envelope_problems(document: Any) -> Iterator[Problem]:
    rule = (
        lambda value: isinstance(value, dict) and isinstance(value.get("data"), list),
        "an object with 'data'",
    )
    yield from document_problems(document, TYPE, {_LIST: rule}, required=[_LIST])


def _row_problems(rows: list[Any], now: float) -> Iterator[Problem]:
    for index, row in enumerate(rows):
        attributes = row.get("attributes") if isinstance(row, dict) else None
        inner = attributes.get("events") if isinstance(attributes, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("data"), list) or not inner["data"]:
            yield Problem("'events' is required and must hold events.", f"{_ROWS}/{index}/attributes/events")
            return
        if row.get("type") != "event-bulk-create":
            yield Problem("'type' must be 'event-bulk-create'.", f"{_ROWS}/{index}/type")
        if not isinstance(row["attributes"].get("backfill"), bool | None):
            yield Problem("'backfill' must be a boolean.", f"{_ROWS}/{index}/attributes/backfill")
    if not 1 <= sum(1 for _ in _events(rows)) <= MOST_EVENTS:
        yield Problem(f"A job is for 1 to {MOST_EVENTS} events.", _ROWS)
    for at, row, event in _events(rows):
        resource = {**event, "attributes": _attributes(row, event)} if isinstance(event, dict) else event
        for problem in events.problems({"data": resource}, now=now):
            yield Problem(problem.detail, _place(problem.pointer, at))


def _events(rows: list[Any]) -> Iterator[tuple[tuple[int, int], Json, Json]]:
    """Yield every event with its place and the row with its profile."""
    for index, row in enumerate(rows):
        for number, event in enumerate(row["attributes"]["events"]["data"]):
            yield (index, number), row, event


def _attributes(row: Json, event: Json) -> Any:
    """Return the attributes in the form of the single call; a value that is not an object stays unchanged."""
    inner = event.get("attributes")
    if not isinstance(inner, dict):
        return inner
    backfill = inner.get("backfill", row["attributes"].get("backfill"))
    return {**inner, "backfill": backfill, "profile": row["attributes"].get("profile")}


def _place(pointer: str, at: tuple[int, int]) -> str:
    row = f"{_ROWS}/{at[0]}/attributes"
    if pointer.startswith("/data/attributes/profile"):
        return row + pointer.removeprefix("/data/attributes")
    return f"{row}/events/data/{at[1]}{pointer.removeprefix('/data')}"


def _repeats(placed: list[tuple[tuple[int, int], Any]], asked: Asked) -> Iterator[Problem]:
    seen: set[tuple[object, ...]] = set()
    for at, attributes in placed:
        key = asked.account.key_of(attributes)
        if key in seen or asked.account.is_recorded(key):
            detail = "An event with this unique_id exists for the profile and metric."
            yield Problem(detail, _place("/data/attributes/unique_id", at))
        seen.add(key)
