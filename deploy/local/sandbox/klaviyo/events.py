"""The create-event bodies that Klaviyo accepts. It only finds problems, and records nothing.

Klaviyo's pages "Create Event" and "Events API overview". Further attributes are accepted, because the specification
closes no object.

Assumed (sizes-are-of-1024, event-bodies, events-far-back-and-ahead):
100 KB and 5 MB are multiples of 1024; more than 5 MB is 400, not 413; "after 1990" takes in 1990 itself; a
string identifier that is empty is none; nesting is counted below `properties`.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.local.sandbox.klaviyo.documents import attributes_of, data_of
from deploy.local.sandbox.klaviyo.errors import Problem

LARGEST_REQUEST = 5 * 1024 * 1024
LARGEST_STRING = 100 * 1024
MOST_PROPERTIES = 400
MOST_ITEMS = 4000
DEEPEST = 10
IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id", "_kx")
INVALID_EMAIL = "Invalid email address"

DAY_SECONDS = 24 * 3600
YEAR_SECONDS = 366 * DAY_SECONDS
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_TEXTS = (*IDENTIFIERS, "first_name", "last_name", "organization", "locale", "title", "image")
_PLACES = ("address1", "address2", "city", "country", "region", "zip", "timezone", "ip")
_COORDINATES = ("latitude", "longitude")
_ATTRIBUTES = "/data/attributes"
_PROFILE = f"{_ATTRIBUTES}/profile/data"


def problems(document: object, *, now: float, ahead: float = YEAR_SECONDS) -> Iterator[Problem]:
    """Yield everything wrong with a create-event body, in the order of the document; nothing if it is acceptable.

    A time may be so many seconds `ahead`.
    """
    data = yield from data_of(document, "event")
    attributes = None if data is None else (yield from attributes_of(data))
    if attributes is None:
        return
    yield from _properties(attributes.get("properties"))
    yield from _scalars(attributes)
    yield from _time(attributes.get("time"), now + ahead)
    yield from _metric(attributes.get("metric"))
    yield from _profile(attributes.get("profile"))


def parse_time(text: str) -> float | None:
    """Return the Unix seconds of an RFC 3339 date-time, cut to the whole second; None if it is not one."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return float(int(datetime.fromisoformat(text.upper()).timestamp()))
    except (ValueError, OverflowError):
        return None


def _properties(properties: object) -> Iterator[Problem]:
    pointer = f"{_ATTRIBUTES}/properties"
    if not isinstance(properties, dict):
        yield Problem("'properties' is required and must be an object.", pointer)
        return
    if len(properties) > MOST_PROPERTIES:
        yield Problem(f"An event has at most {MOST_PROPERTIES} properties.", pointer)
    for name, value in properties.items():
        yield from _size(value, f"{pointer}/{name}", 1)


def _size(value: object, pointer: str, depth: int) -> Iterator[Problem]:
    if isinstance(value, str) and len(value.encode(errors="surrogatepass")) > LARGEST_STRING:
        yield Problem("A string is at most 100 KB.", pointer)
    if not isinstance(value, dict | list):
        return
    if depth > DEEPEST:
        yield Problem(f"Properties are nested at most {DEEPEST} levels.", pointer)
        return
    if isinstance(value, list) and len(value) > MOST_ITEMS:
        yield Problem(f"An array has at most {MOST_ITEMS} items.", pointer)
        return
    for inner in value.values() if isinstance(value, dict) else value:
        yield from _size(inner, pointer, depth + 1)


def _scalars(attributes: Mapping[str, Any]) -> Iterator[Problem]:
    value = attributes.get("value")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield Problem("'value' must be a number.", f"{_ATTRIBUTES}/value")
    currency = attributes.get("value_currency")
    if currency is not None and not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
        yield Problem("'value_currency' must be an ISO 4217 code.", f"{_ATTRIBUTES}/value_currency")
    unique_id = attributes.get("unique_id")
    if unique_id is not None and not (isinstance(unique_id, str) and 1 <= len(unique_id) <= 255):
        yield Problem("'unique_id' must be a string of 1 to 255 characters.", f"{_ATTRIBUTES}/unique_id")
    if not isinstance(attributes.get("backfill"), bool | None):
        yield Problem("'backfill' must be a boolean.", f"{_ATTRIBUTES}/backfill")


def _time(time: object, latest: float) -> Iterator[Problem]:
    if time is None:
        return
    seconds = parse_time(time) if isinstance(time, str) else None
    if seconds is None:
        yield Problem("'time' must be an RFC 3339 date-time.", f"{_ATTRIBUTES}/time")
    elif not _EARLIEST <= seconds <= latest:
        yield Problem("'time' must be after 1990 and at most 1 year ahead.", f"{_ATTRIBUTES}/time")


def _metric(metric: object) -> Iterator[Problem]:
    pointer = f"{_ATTRIBUTES}/metric"
    data = metric.get("data") if isinstance(metric, dict) else None
    if not isinstance(data, dict):
        yield Problem("'metric.data' is required and must be an object.", pointer)
        return
    if data.get("type") != "metric":
        yield Problem("'type' must be 'metric'.", f"{pointer}/data/type")
    attributes = data.get("attributes")
    name = attributes.get("name") if isinstance(attributes, dict) else None
    if not isinstance(name, str) or not name:
        yield Problem("A metric name is required.", f"{pointer}/data/attributes/name")
    elif len(name) >= 128:
        yield Problem("A metric name has fewer than 128 characters.", f"{pointer}/data/attributes/name")


def _profile(profile: object) -> Iterator[Problem]:
    data = profile.get("data") if isinstance(profile, dict) else None
    if not isinstance(data, dict):
        yield Problem("'profile.data' is required and must be an object.", f"{_ATTRIBUTES}/profile")
        return
    if data.get("type") != "profile":
        yield Problem("'type' must be 'profile'.", f"{_PROFILE}/type")
    attributes = data.get("attributes")
    if not isinstance(attributes, dict):
        yield Problem("'attributes' is required and must be an object.", f"{_PROFILE}/attributes")
        return
    if not isinstance(data.get("id"), str | None):
        yield Problem("'id' must be a string.", f"{_PROFILE}/id")
    yield from profile_attribute_problems(attributes, f"{_PROFILE}/attributes")
    if not data.get("id") and not any(attributes.get(name) for name in IDENTIFIERS):
        yield Problem("At least one profile identifier is required.", _PROFILE)


def _location(location: object, pointer: str) -> Iterator[Problem]:
    """Yield the faults of a location by its schema: all values are texts, and only a coordinate may be a number."""
    for name, value in location.items() if isinstance(location, dict) else ():
        if value is None or isinstance(value, str) or name not in (*_PLACES, *_COORDINATES):
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _PLACES or not is_number:
            kinds = "a string" if name in _PLACES else "a string or a number"
            yield Problem(f"'{name}' must be {kinds}.", f"{pointer}/{name}")


def profile_attribute_problems(attributes: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    """Yield the faults in the values of a profile's attributes at `pointer`."""
    for name in _TEXTS:
        if not isinstance(attributes.get(name), str | None):
            yield Problem(f"'{name}' must be a string.", f"{pointer}/{name}")
    for name in ("location", "properties"):
        if not isinstance(attributes.get(name), dict | None):
            yield Problem(f"'{name}' must be an object.", f"{pointer}/{name}")
    yield from _location(attributes.get("location"), f"{pointer}/location")
    email, phone = attributes.get("email"), attributes.get("phone_number")
    if isinstance(email, str) and email and not _EMAIL.fullmatch(email):
        yield Problem(INVALID_EMAIL, f"{pointer}/email")
    if isinstance(phone, str) and phone and not _PHONE.fullmatch(phone):
        yield Problem(
            "Invalid phone number format (Example of a valid format: +12345678901)", f"{pointer}/phone_number"
        )
