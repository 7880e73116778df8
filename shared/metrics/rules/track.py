"""The retired Track shape, which Omneo's connecting-comms-platform page still shows, as the attributes of Create Event."""

from typing import Any

from shared.errors import InvalidPayloadError
from shared.values.rendered import read_id

# https://developers.klaviyo.com: migration from v1, Track to Create Event
_TRACK_PROFILE = {
    "id": "external_id",
    "exchange_id": "_kx",
    "anonymous": "anonymous_id",
    **{
        name: name
        for name in ("email", "phone_number", "first_name", "last_name", "organization", "title", "image")
    },
}
_TRACK_LOCATION = (
    "address1", "address2", "city", "country", "latitude", "longitude", "region", "timezone", "zip",
)  # fmt: skip
_TRACK_EVENT = {"$value": "value", "$value_currency": "value_currency", "$event_id": "unique_id"}

Json = dict[str, Any]


def from_track(body: Json) -> Json:
    """Return the attributes of the body. `token` is ignored: the installation decides the account."""
    customer = _object(body, "customer_properties")
    given = _object(body, "properties")
    profile: Json = {}
    location: Json = {}
    others: Json = {}
    # If both `$email` and `email` are given, the first counts.
    for key, value in sorted(customer.items(), key=lambda item: item[0].startswith("$")):
        name = key.removeprefix("$")
        if key != name and name in customer and read_id(value) == "":
            continue  # it is empty, and the plain name is not
        # Plain `id` was the merchant's own property; only `$id` identified.
        if name in _TRACK_PROFILE and (key != name or name not in ("id", "exchange_id", "anonymous")):
            profile[_TRACK_PROFILE[name]] = value
        elif key != name and name in _TRACK_LOCATION:
            location[name] = value
        else:
            others[key] = value
    if location:
        profile["location"] = location
    if others:
        profile["properties"] = others
    special = {_TRACK_EVENT[key]: value for key, value in given.items() if key in _TRACK_EVENT}
    rest = {
        key: value
        for key, value in body.items()
        if key not in ("token", "event", "customer_properties", "properties", "time")
    }
    event: Json = {
        "metric": {"data": {"type": "metric", "attributes": {"name": body.get("event")}}},
        "profile": {"data": {"type": "profile", "attributes": profile}},
        "properties": {**rest, **{key: value for key, value in given.items() if key not in _TRACK_EVENT}},
        **special,
    }
    if "time" in body:
        event["time"] = body["time"]
    return event


def _object(body: Json, name: str) -> Json:
    value = body.get(name)
    if value in (None, []):
        return {}
    if not isinstance(value, dict):
        raise InvalidPayloadError(f"{name} must be an object.")
    return value
