"""The shapes in which a metric call tells its event, each as the attributes of Klaviyo's Create Event.

Four shapes become the same event: Klaviyo's own, with or without its `data` envelope; the retired Track shape that Omneo's
connecting-comms-platform page still shows (`track.py`); and an Omneo context beside a metric name in the URL. Whether a value is right is
not asked here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidPayloadError
from shared.metrics.rules.event_profile import names_a_person, what_is_missing
from shared.metrics.rules.paths import CONTEXT, TRACK, Paths
from shared.metrics.rules.track import from_track
from shared.values import read_id
from shared.values.omneo_ids import read_omneo_id

METRIC_IN_URL = "?metric"

Json = dict[str, Any]


@dataclass(frozen=True)
class Shaped:
    """What a body means, in Klaviyo's shape, each value as the caller wrote it.

    `paths` are the names by which the caller knows the fields, `omneo_id` the Omneo profile's id, "" if the shape does not tell it.
    """

    attributes: Json
    paths: Paths
    omneo_id: str = ""


def read_shape(body: Json, metric_name: str, *, is_time: Callable[[object], bool]) -> Shaped:
    """Return what the body means.

    `metric_name` is the URL's, "" if it gives none. `is_time` says whether a value can be an event's time.

    Raises:
        InvalidPayloadError: the body has none of the shapes; it says what to change.
    """
    profile = body.get("profile")
    if (
        metric_name
        and isinstance(profile, dict)
        and any(read_id(profile.get(key)) != "" for key in ("email", "id"))
    ):
        return _from_context(body, profile, is_time)
    if "data" in body:
        return Shaped(_from_resource(body["data"], "data."), Paths())
    if "attributes" in body:
        return Shaped(_from_resource(body, ""), Paths())
    if "event" in body or "customer_properties" in body:
        return Shaped(from_track(body), TRACK)
    raise InvalidPayloadError(_no_shape(body, metric_name))


def _no_shape(body: Json, metric_name: str) -> str:
    """Return what to change in a body that is none of the shapes."""
    profile = {} if body.get("profile") == [] else body.get("profile")  # PHP writes an empty object as []
    if isinstance(profile, dict) and metric_name:
        return f"Say whose event it is: profile.email or profile.id. {what_is_missing(profile)}"
    if isinstance(profile, dict):
        return (
            "Name the metric in the URL, as ?metric=NAME: the body has a profile, and names no metric itself."
        )
    if metric_name and names_a_person(body):
        where = "Say whose event it is below profile, as profile.email or profile.id: a person at the root of the body is not read."
        return where if read_id(body.get("email")) != "" else f"{where} {what_is_missing(body)}"
    return (
        "Send Klaviyo's event as {data: {type, attributes}} or {attributes}, or any object with profile.email or profile.id"
        " and the metric's name as ?metric=NAME."
    )


def _from_resource(resource: object, path: str) -> Json:
    if not isinstance(resource, dict):
        raise InvalidPayloadError(f"{path.rstrip('.')} must be an object.")
    if resource.get("type", "event") != "event":
        raise InvalidPayloadError(f'{path}type must be "event".')
    attributes = resource.get("attributes")
    if not isinstance(attributes, dict):
        raise InvalidPayloadError(f"{path}attributes must be an object.")
    return dict(attributes)


def _from_context(body: Json, profile: Json, is_time: Callable[[object], bool]) -> Shaped:
    data: Json = {"attributes": {"email": profile.get("email")}, "id": profile.get("id")}
    properties = {key: value for key, value in body.items() if key not in ("profile", "unique_id", "time")}
    if rest := {key: value for key, value in profile.items() if key not in ("id", "email")}:
        properties["profile"] = rest
    event: Json = {"profile": {"data": data}, "properties": properties, "unique_id": body.get("unique_id")}
    if body.get("time"):
        # A context may use the word for something else; then it is one more property.
        (event if is_time(body["time"]) else properties)["time"] = body["time"]
    return Shaped(event, CONTEXT, read_omneo_id(profile.get("id")))
