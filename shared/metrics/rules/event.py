"""From the body of a metric call to the attributes of Klaviyo's Create Event.

`shapes.py` reads the shape of the body. The person and the metric must be right. Every other value is corrected or left out, and `left_out`
names those that are left out. A refusal names a field as the caller's shape calls it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.errors import InvalidPayloadError
from shared.metrics.rules.event_profile import fitting, settled_profile
from shared.metrics.rules.paths import Paths
from shared.metrics.rules.shapes import METRIC_IN_URL, read_shape
from shared.values import is_unrendered, lacks_a_part, read_id, read_number, read_plain, read_text
from shared.values.amounts import rounded, with_rounded_money
from shared.values.booleans import read_boolean
from shared.values.dates import read_time

# https://developers.klaviyo.com/en/reference/create_event
METRIC_NAME_LENGTH = 128
PROPERTIES = 400
TOKEN_PROPERTIES = 2
STRING_BYTES = 100 * 1024
UNIQUE_ID_LENGTH = 255
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST_AHEAD = timedelta(days=366)

_CURRENCY = re.compile(r"[A-Z]{3}")
_KNOWN = {"properties", "time", "value", "value_currency", "unique_id", "backfill", "metric", "profile"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """An event as Klaviyo takes it, and its Omneo profile if the call named one.

    `left_out` are the paths of values that Klaviyo would not take. The phone number is checked when the event is sent.
    """

    attributes: Json
    omneo_profile_id: str = ""
    left_out: tuple[str, ...] = ()


def read_metric(body: object, *, metric_name: str, with_token: bool, now: datetime, unique_id: str) -> Metric:
    """Return the event that `body` describes, its `unique_id` and `time` fixed.

    `metric_name` is the name in the URL, "" if there is none. `now` and `unique_id` count if the body gives no time or no key.

    Raises:
        InvalidPayloadError: names the field and the fix.
    """
    if not isinstance(body, dict):
        raise InvalidPayloadError("Send a JSON object.")
    shaped = read_shape(body, metric_name, is_time=lambda value: _is_time(value, now))
    given, paths = shaped.attributes, shaped.paths
    _check_strings(given, paths.whole)
    left_out: list[str] = []
    profile, omneo_id = settled_profile(
        _profile_data(given), omneo_id=shaped.omneo_id, left_out=left_out, paths=paths
    )
    event: Json = {
        "metric": {"data": {"type": "metric", "attributes": _metric_attributes(given, metric_name, paths)}},
        "profile": {"data": profile},
        "properties": _properties(
            given, PROPERTIES - (TOKEN_PROPERTIES if with_token else 0), left_out, paths
        ),
        "unique_id": _unique_id(given.get("unique_id"), paths) or unique_id,
        "time": _time(given.get("time"), now, paths),
        **_amount(given, left_out, paths),
    }
    if read_id(given.get("backfill")) != "":
        event["backfill"] = _backfill(given["backfill"], paths)
    return Metric(event, omneo_id, tuple(left_out))


def metric_called(body: object, metric_name: str) -> str:
    """Return the metric's name in a body, even if the name cannot be accepted; else the name in the URL, which may be ""."""
    if not isinstance(body, dict):
        return metric_name
    resource = body.get("data", body)
    found = _inside(resource, "attributes", "metric", "data", "attributes", "name") or body.get("event")
    return found if isinstance(found, str) and read_id(found) != "" else metric_name


def metric_name_of(attributes: Mapping[str, Any]) -> str:
    """Return the metric's name of an event made by `read_metric`."""
    return str(attributes["metric"]["data"]["attributes"]["name"])


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


def _inside(value: object, *path: str) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


# The checks for every shape


def _metric_attributes(given: Json, metric_name: str, paths: Paths) -> Json:
    path = paths.metric
    metric = given.get("metric") or {"data": {"attributes": {}}}
    data = _object_in(metric, "data", "attributes.metric")
    if data.get("type", "metric") != "metric":
        raise InvalidPayloadError('attributes.metric.data.type must be "metric".')
    attributes = _object_in(data, "attributes", "attributes.metric.data")
    name = attributes.get("name")
    if read_id(name) == "" and metric_name:  # no value, or a template's text for none
        name, path = metric_name, METRIC_IN_URL
    if not isinstance(name, str) or is_unrendered(name) or not read_text(name):
        raise InvalidPayloadError(f"{path} is needed: the metric's name, as text.")
    name = read_text(name)
    if len(name) >= METRIC_NAME_LENGTH:
        raise InvalidPayloadError(f"{path} must be shorter than {METRIC_NAME_LENGTH} characters.")
    service = attributes.get("service")
    return {"name": name, **({"service": service} if isinstance(service, str) else {})}


def _profile_data(given: Json) -> Json:
    data = _object_in(given, "profile", "attributes")
    inner = _object_in(data, "data", "attributes.profile")
    if inner.get("type", "profile") != "profile":
        raise InvalidPayloadError('attributes.profile.data.type must be "profile".')
    return inner


def _properties(given: Json, most: int, left_out: list[str], paths: Paths) -> Json:
    """Return the event's properties. An attribute that Klaviyo's event does not have becomes a property, because Klaviyo would refuse it."""
    properties = given.get("properties") or {}
    if not isinstance(properties, dict):
        raise InvalidPayloadError("attributes.properties must be an object.")
    others = {name: value for name, value in given.items() if name not in _KNOWN}
    properties = {**others, **properties}
    if len(properties) > most:
        raise InvalidPayloadError(f"{paths.properties} may hold at most {most} properties here.")
    return fitting(with_rounded_money(properties), "attributes.properties", left_out)


def _unique_id(given: object, paths: Paths) -> str:
    id = read_id(given)
    if id is None or len(id) > UNIQUE_ID_LENGTH:
        raise InvalidPayloadError(f"{paths.unique_id} must be text of at most {UNIQUE_ID_LENGTH} characters.")
    if lacks_a_part(id):
        raise InvalidPayloadError(
            f"{paths.unique_id} lacks a part: what its template puts beside the fixed text was empty. Klaviyo would keep one event"
            " of all events with this key. Fill it, or leave it away."
        )
    return id


def _time(given: object, now: datetime, paths: Paths) -> str:
    if read_id(given) == "":
        return now.isoformat(timespec="seconds")
    moment = _moment(given)
    if moment is None:
        raise InvalidPayloadError(
            f"{paths.time} must be RFC 3339, as in 2026-07-23T10:00:00+00:00, or Unix seconds."
        )
    if not _is_in_range(moment, now):
        raise InvalidPayloadError(f"{paths.time} must lie after 1990 and at most a year ahead.")
    return moment.isoformat()


def _amount(given: Json, left_out: list[str], paths: Paths) -> Json:
    found: Json = {}
    if read_id(given.get("value")) != "":
        value = read_number(given["value"])
        if value is None:
            raise InvalidPayloadError(f"{paths.value} must be a number.")
        found["value"] = rounded(value, given.get("value_currency"))
    currency = given.get("value_currency")
    if read_id(currency) != "":
        code = read_plain(currency).upper() if isinstance(currency, str) else ""
        if _CURRENCY.fullmatch(code):
            found["value_currency"] = code
        else:
            left_out.append("attributes.value_currency")
    return found


def _backfill(given: object, paths: Paths) -> bool:
    found = read_boolean(given)
    if found is None:
        raise InvalidPayloadError(f"{paths.backfill} must be true or false.")
    return found


def _check_strings(value: object, path: str) -> None:
    """Refuse a string that Klaviyo would refuse. The parser of the body limits the nesting."""
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


def _object_in(parent: Any, name: str, path: str) -> Json:
    value = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(value, dict):
        where = f"{path}.{name}" if isinstance(parent, dict) else path
        raise InvalidPayloadError(f"{where} must be an object.")
    return value


def _is_time(value: object, now: datetime) -> bool:
    moment = _moment(value)
    return moment is not None and _is_in_range(moment, now)


def _is_in_range(moment: datetime, now: datetime) -> bool:
    return EARLIEST < moment <= now + LATEST_AHEAD


def _moment(value: object) -> datetime | None:
    """Read RFC 3339, Omneo's `Y-m-d H:i:s` (UTC), or Unix seconds as a number or text; None for anything else."""
    number = read_number(value)
    if number is None:
        return read_time(value)
    try:
        return datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None
