"""Bodies of metric calls: the four shapes with one person in them, and Klaviyo's own model as a referee."""

from collections.abc import Callable
from typing import Any

from tests.support.world import EMAIL

Json = dict[str, Any]
# From a person (`id`, `email` and the like) to the body of a call and the metric's name in its URL.
Shape = Callable[[Json], tuple[Json, str]]


def attributes(**changes: Any) -> Json:
    """Return the attributes of an event that Klaviyo takes, changed."""
    return {
        "metric": metric("Reward Issued"),
        "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
        "properties": {"amount": 20},
        **changes,
    }


def event(**changes: Any) -> Json:
    return {"attributes": attributes(**changes)}


def profile(attributes: object = None, **data: Any) -> Json:
    return {"data": {**data, "attributes": {"email": EMAIL} if attributes is None else attributes}}


def metric(name: object) -> Json:
    return {"data": {"type": "metric", "attributes": {"name": name}}}


def bare(person: Json) -> tuple[Json, str]:
    beside = {name: value for name, value in person.items() if name != "id"}
    return event(profile=profile(beside, **{key: person[key] for key in ("id",) if key in person})), ""


def enveloped(person: Json) -> tuple[Json, str]:
    return {"data": {"type": "event", **bare(person)[0]}}, ""


def track(person: Json) -> tuple[Json, str]:
    # Track has no Klaviyo id: its $id is the merchant's own.
    customer = {f"${name}": value for name, value in person.items()}
    body = {"event": "Reward Issued", "customer_properties": customer, "properties": {"amount": 20}}
    return body, ""


def context(person: Json) -> tuple[Json, str]:
    return {"profile": person, "amount": 20}, "Reward Issued"


SHAPES: list[Shape] = [enveloped, bare, track, context]


def objections(event: Json) -> list[str]:
    """Return the faults that Klaviyo's own model finds in the event."""
    from openapi_client.models.event_create_query_v2 import EventCreateQueryV2
    from pydantic import ValidationError

    body = {"data": {"type": "event", "attributes": event}}
    try:
        EventCreateQueryV2.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        found = [(".".join(map(str, row["loc"])), row["type"]) for row in error.errors(include_input=False)]
        return [f"{path.removeprefix('data.attributes.')} {kind}" for path, kind in found]
    return []
