"""The names by which a caller knows the fields of an event, so that a refusal names what stands in the caller's own body."""

from dataclasses import dataclass

_PROFILE = "attributes.profile.data"


@dataclass(frozen=True)
class Paths:
    """The fields that a refusal may name, as one shape calls them: by default Klaviyo's. `person_id` is "" where a shape has no place for it."""

    whole: str = "attributes"
    metric: str = "attributes.metric.data.attributes.name"
    person: str = f"{_PROFILE}.attributes"
    person_id: str = f"{_PROFILE}.id"
    email: str = f"{_PROFILE}.attributes.email"
    properties: str = "attributes.properties"
    unique_id: str = "attributes.unique_id"
    time: str = "attributes.time"
    value: str = "attributes.value"
    backfill: str = "attributes.backfill"


CONTEXT = Paths(
    whole="The body",
    metric="?metric",
    person="profile",
    person_id="profile.id",
    email="profile.email",
    properties="The body",
    unique_id="unique_id",
    time="time",
)
TRACK = Paths(
    whole="The body",
    metric="event",
    person="customer_properties",
    person_id="",
    email="customer_properties.$email",
    properties="properties",
    unique_id="properties.$event_id",
    time="time",
    value="properties.$value",
)
