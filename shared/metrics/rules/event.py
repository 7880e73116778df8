"""From the body of a metric call to the attributes of Klaviyo's Create Event.

Four shapes become the same event: Klaviyo's own, with or without its `data` envelope; the retired Track shape that Omneo's
connecting-comms-platform page still shows; and an Omneo context beside a metric name in the URL. What is checked is what
the extension needs and what Klaviyo would surely refuse; everything else travels on untouched.

Templates render text: a number may arrive as a string, and an empty value as "". Both are understood.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.errors import InvalidPayloadError
from shared.metrics.rules.track import from_track
from shared.values import read_number

# https://developers.klaviyo.com/en/reference/create_event
METRIC_NAME_LENGTH = 128
PROPERTIES = 400
TOKEN_PROPERTIES = 2
STRING_BYTES = 100 * 1024
UNIQUE_ID_LENGTH = 255
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST_AHEAD = timedelta(days=366)

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_BOOLEANS = {True: True, "true": True, "1": True, False: False, "false": False, "0": False}
_IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id", "_kx")

Json = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """An event as Klaviyo takes it, and the Omneo profile it is about if the call named that."""

    attributes: Json
    omneo_profile_id: str = ""


def read_metric(body: object, *, metric_name: str, with_token: bool, now: datetime, unique_id: str) -> Metric:
    """Return the event that `body` describes, its `unique_id` and `time` fixed.

    `metric_name` is the URL's, "" if it gives none. `now` and `unique_id` serve where the body gives none.

    Raises:
        InvalidPayloadError: names the field and the fix.
    """
    if not isinstance(body, dict):
        raise InvalidPayloadError("Send a JSON object.")
    metric = _in_any_shape(body, metric_name, now)
    attributes = metric.attributes
    _settle_name(attributes, metric_name)
    _settle_profile(attributes, is_known=bool(metric.omneo_profile_id))
    _settle_properties(attributes, PROPERTIES - (TOKEN_PROPERTIES if with_token else 0))
    _settle_unique_id(attributes, unique_id)
    _settle_time(attributes, now)
    _settle_value(attributes)
    _settle_backfill(attributes)
    _check_strings(attributes, "attributes")
    return metric


def with_id_token(attributes: Mapping[str, Any], token: str, expiry: float) -> Json:
    """Return the event with the ID token in its properties: `token` already in base64, `expiry` in Unix seconds."""
    properties = {**attributes["properties"], "IDToken": token, "IDTokenExpiry": expiry}
    return {**attributes, "properties": properties}


def klaviyo_profile_id(attributes: Mapping[str, Any]) -> str:
    """Return the Klaviyo profile id of an event made by `read_metric`, "" if it has none."""
    return str(attributes["profile"]["data"].get("id", ""))


def email_of(attributes: Mapping[str, Any]) -> str:
    """Return the email of an event made by `read_metric`, "" if it has none."""
    return str(attributes["profile"]["data"]["attributes"].get("email", ""))


# Which shape


def _in_any_shape(body: Json, metric_name: str, now: datetime) -> Metric:
    profile = body.get("profile")
    if metric_name and isinstance(profile, dict) and (profile.get("email") or profile.get("id")):
        return _from_context(body, profile, now)
    if "data" in body:
        return Metric(_from_resource(body["data"], "data."))
    if "attributes" in body:
        return Metric(_from_resource(body, ""))
    if "event" in body or "customer_properties" in body:
        return Metric(from_track(body))
    raise InvalidPayloadError(
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


def _from_context(body: Json, profile: Json, now: datetime) -> Metric:
    id, email = profile.get("id"), profile.get("email")
    data: Json = {"type": "profile", "attributes": {}}
    omneo_profile_id = ""
    if email:
        data["attributes"]["email"] = email
    if isinstance(id, str) and _UUID.fullmatch(id):
        omneo_profile_id = id  # Omneo's ids are UUIDs, Klaviyo's never are
        if not email:
            data["attributes"]["external_id"] = id
    elif id:
        data["id"] = id
    properties = {key: value for key, value in body.items() if key not in ("profile", "unique_id", "time")}
    if rest := {key: value for key, value in profile.items() if key not in ("id", "email")}:
        properties["profile"] = rest
    event: Json = {"profile": {"data": data}, "properties": properties}
    if body.get("unique_id"):
        event["unique_id"] = body["unique_id"]
    if body.get("time"):
        # A context may use the word for something else; then it is one more property.
        is_ours = _is_event_time(body["time"], now)
        (event if is_ours else properties)["time"] = body["time"]
    return Metric(event, omneo_profile_id)


# What every shape must satisfy


def _settle_name(attributes: Json, metric_name: str) -> None:
    path = "attributes.metric.data.attributes.name"
    if not attributes.get("metric"):
        attributes["metric"] = {"data": {"type": "metric", "attributes": {"name": metric_name}}}
    metric = _copied(attributes, "metric", "attributes.metric")
    data = _copied(metric, "data", "attributes.metric.data")
    if data.setdefault("type", "metric") != "metric":
        raise InvalidPayloadError('attributes.metric.data.type must be "metric".')
    inner = _copied(data, "attributes", "attributes.metric.data.attributes")
    name = inner.get("name") or metric_name
    if not isinstance(name, str) or not name.strip():
        raise InvalidPayloadError(f"{path} is needed: the metric's name, as text.")
    if len(name) >= METRIC_NAME_LENGTH:
        raise InvalidPayloadError(f"{path} must be shorter than {METRIC_NAME_LENGTH} characters.")
    inner["name"] = name


def _settle_profile(attributes: Json, *, is_known: bool) -> None:
    profile = _copied(attributes, "profile", "attributes.profile")
    data = _copied(profile, "data", "attributes.profile.data")
    if data.setdefault("type", "profile") != "profile":
        raise InvalidPayloadError('attributes.profile.data.type must be "profile".')
    if data.get("attributes") in (None, []):  # PHP writes an empty object as []
        data["attributes"] = {}
    inner = _copied(data, "attributes", "attributes.profile.data.attributes")
    _drop_empty(inner, _IDENTIFIERS, (None, ""))
    _drop_empty(inner, ("location", "properties", "meta"), ([],))
    if "id" in data and data["id"] in (None, ""):
        del data["id"]
    _check_identifiers(data, inner, is_known)
    if "meta" in inner and "meta" not in data:
        data["meta"] = inner.pop(
            "meta"
        )  # where revision 2026-10-15 has it; older ones had it among the attributes


def _check_identifiers(data: Json, inner: Json, is_known: bool) -> None:
    id, email = data.get("id"), inner.get("email")
    if id is not None and not isinstance(id, str):
        raise InvalidPayloadError("attributes.profile.data.id must be text.")
    if email is not None and not (isinstance(email, str) and _EMAIL.fullmatch(email)):
        raise InvalidPayloadError("attributes.profile.data.attributes.email must be an email address.")
    if id is None and email is None and not is_known:
        raise InvalidPayloadError(
            "Say whose event it is: attributes.profile.data.id (the Klaviyo profile id) or"
            " attributes.profile.data.attributes.email."
        )


def _settle_properties(attributes: Json, most: int) -> None:
    if attributes.get("properties") in (None, []):
        attributes["properties"] = {}
    properties = _copied(attributes, "properties", "attributes.properties")
    if len(properties) > most:
        raise InvalidPayloadError(f"attributes.properties may hold at most {most} properties here.")


def _settle_unique_id(attributes: Json, default: str) -> None:
    given = attributes.get("unique_id")
    if given in (None, ""):
        given = default
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or len(given) > UNIQUE_ID_LENGTH:
        raise InvalidPayloadError(
            f"attributes.unique_id must be text of at most {UNIQUE_ID_LENGTH} characters."
        )
    attributes["unique_id"] = given


def _settle_time(attributes: Json, now: datetime) -> None:
    given = attributes.get("time")
    if given in (None, ""):
        attributes["time"] = now.isoformat(timespec="seconds")
        return
    time = _read_time(given)
    if time is None:
        raise InvalidPayloadError(
            "attributes.time must be RFC 3339, as in 2026-07-23T10:00:00+00:00, or Unix seconds."
        )
    if not EARLIEST < time <= now + LATEST_AHEAD:
        raise InvalidPayloadError("attributes.time must lie after 1990 and at most a year ahead.")
    attributes["time"] = time.isoformat()


def _settle_value(attributes: Json) -> None:
    _drop_empty(attributes, ("value", "value_currency"), (None, ""))
    if "value" not in attributes:
        return
    number = read_number(attributes["value"])
    if number is None:
        raise InvalidPayloadError("attributes.value must be a number.")
    attributes["value"] = number


def _settle_backfill(attributes: Json) -> None:
    """Read what Twig makes of a boolean: "1", or nothing."""
    _drop_empty(attributes, ("backfill",), (None, ""))
    if "backfill" not in attributes:
        return
    given = attributes["backfill"]
    word = given.strip().lower() if isinstance(given, str) else given
    if not isinstance(word, str | int) or word not in _BOOLEANS:
        raise InvalidPayloadError("attributes.backfill must be true or false.")
    attributes["backfill"] = _BOOLEANS[word]


def _check_strings(value: object, path: str) -> None:
    """Refuse a string that Klaviyo would refuse. Nesting is bounded where the body is parsed."""
    match value:
        case str() if len(value) > STRING_BYTES // 4 and _bytes(value) > STRING_BYTES:
            raise InvalidPayloadError(f"{path} holds a string of more than {STRING_BYTES // 1024} KB.")
        case dict():
            for key, item in value.items():
                _check_strings(key, path)
                _check_strings(item, path)
        case list():
            for item in value:
                _check_strings(item, path)
        case _:
            pass


# Reading


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _drop_empty(fields: Json, names: tuple[str, ...], empty: tuple[object, ...]) -> None:
    for name in names:
        if name in fields and fields[name] in empty:
            del fields[name]


def _copied(parent: Json, name: str, path: str) -> Json:
    """Replace `parent[name]` by a copy and return that, so that the caller's body is never changed."""
    value = parent.get(name)
    if not isinstance(value, dict):
        raise InvalidPayloadError(f"{path} must be an object.")
    parent[name] = dict(value)
    return parent[name]  # type: ignore[no-any-return]  # the copy made above


def _is_event_time(value: object, now: datetime) -> bool:
    time = _read_time(value)
    return time is not None and EARLIEST < time <= now + LATEST_AHEAD


def _read_time(value: object) -> datetime | None:
    """Read RFC 3339, Omneo's `Y-m-d H:i:s` (UTC), or Unix seconds as a number or text; None for anything else."""
    number = None if isinstance(value, str) and "-" in value.strip()[1:] else read_number(value)
    try:
        if number is not None:
            return datetime.fromtimestamp(number, UTC)
        time = datetime.fromisoformat(str(value).strip()) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    if time is None:
        return None
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        return None
