"""The person of an event, and the other values that the event holds about the person.

The identifiers by which Klaviyo finds the profile must be right. A wrong identifier beside a right one is left out, and so is every other
value that does not fit: a wrong phone number or zip code must not stop an event. A value that is left out is named by its path, never
shown.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import InvalidPayloadError
from shared.klaviyo.rules.attributes import fitted
from shared.metrics.rules.paths import Paths
from shared.values import read_id, read_text
from shared.values.attribute_names import LOCATION, TOP
from shared.values.emails import read_email
from shared.values.omneo_ids import read_omneo_id
from shared.values.phones import e164, is_like_a_phone

Json = dict[str, Any]

# https://developers.klaviyo.com/en/docs/events_api_overview
MOST_ITEMS = 4000
MOST_LEVELS = 10

_PROFILE = "attributes.profile.data"
_ATTRIBUTES = f"{_PROFILE}.attributes"
PHONE = f"{_ATTRIBUTES}.phone_number"
_KLAVIYO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OTHER_KEYS = ("external_id", "anonymous_id", "_kx")
_OBJECTS = ("location", "properties", "meta")
# Klaviyo takes consent in other calls; as a property it would mislead.
_NOT_OURS = "subscriptions"
# The names of Klaviyo and of Omneo.
_NUMBERS = ("phone_number", "mobile_phone", "mobile", "phone")


def settled_profile(
    data: Mapping[str, Any], *, omneo_id: str, left_out: list[str], paths: Paths
) -> tuple[Json, str]:
    """Return the profile of an event as Klaviyo takes it, and the id of the Omneo profile, "" if none is known.

    `data` is the caller's `profile.data`, and `omneo_id` is known from elsewhere. A refusal names fields by `paths`. The phone number is not
    in E.164 yet, see `with_phone`.

    Raises:
        InvalidPayloadError: it does not name the person of the event.
    """
    given = data.get("attributes") or {}  # PHP writes an empty object as []
    if not isinstance(given, dict):
        raise InvalidPayloadError(f"{paths.person} must be an object.")
    id = read_id(data.get("id"))
    omneo_id = omneo_id or read_omneo_id(id) or read_omneo_id(given.get("external_id"))
    klaviyo_id = id if id and _KLAVIYO_ID.fullmatch(id) and not read_omneo_id(id) else ""
    email = read_email(given.get("email"))
    if not (klaviyo_id or email or omneo_id):
        raise InvalidPayloadError(_nobody_is_meant(id, given, paths))
    if id != "" and not klaviyo_id and not read_omneo_id(id):
        left_out.append(f"{_PROFILE}.id")
    if not email and read_id(given.get("email")) != "":
        left_out.append(f"{_ATTRIBUTES}.email")
    keys = {"email": email, **_other_keys(given, left_out)}
    if not (email or klaviyo_id):
        keys["external_id"] = (
            omneo_id  # the sync finds the profile by this id, so no other value may be its external_id
        )
    attributes = {name: value for name, value in keys.items() if value} | _beside(given, left_out)
    profile: Json = {
        "type": "profile",
        **({"id": klaviyo_id} if klaviyo_id else {}),
        "attributes": attributes,
    }
    meta = data.get("meta") or given.get("meta")  # until revision 2026-10-15 it stood among the attributes
    if isinstance(meta, dict):
        profile["meta"] = meta
    elif meta:
        left_out.append(f"{_PROFILE}.meta")
    return profile, omneo_id


def with_phone(attributes: Mapping[str, Any], region: str) -> tuple[Json, bool]:
    """Return an event with its profile's phone number in E.164, and whether a number was left out because it cannot be read.

    `region` is the ISO country of numbers without a prefix.
    """
    data = attributes["profile"]["data"]
    phone = data["attributes"].get("phone_number")
    if phone is None:
        return {**attributes}, False
    found = e164(phone, region)
    others = {name: value for name, value in data["attributes"].items() if name != "phone_number"}
    settled = {**others, "phone_number": found} if found else others
    return {**attributes, "profile": {"data": {**data, "attributes": settled}}}, found is None


def without_blamed(event: Mapping[str, Any], places: Iterable[str]) -> Json | None:
    """Return the event without the values that a refusal blames, as JSON pointers; None if a blamed value is needed, or none is named.

    >>> event = {"profile": {"data": {"id": "01HX", "attributes": {"email": "jane@example.org"}}}, "properties": {}}
    >>> without_blamed(event, ["/data/attributes/profile/data/id"])["profile"]
    {'data': {'attributes': {'email': 'jane@example.org'}}}
    """
    data = event["profile"]["data"]
    profile, attributes, properties, rest = (
        {**data},
        {**data["attributes"]},
        {**event["properties"]},
        {**event},
    )
    for place in places:
        match place.strip("/").split("/")[2:]:
            case ["profile", "data", "attributes", name, *_]:
                attributes.pop(name, None)
            case ["profile", "data", name, *_] if name != "type":
                profile.pop(name, None)
            case ["properties", name, *_]:
                properties.pop(name, None)
            case ["value_currency"]:
                rest.pop("value_currency", None)
            case _:
                pass  # the profile, the metric or the key
    after = {**rest, "profile": {"data": {**profile, "attributes": attributes}}, "properties": properties}
    has_a_key = profile.get("id") or attributes.get("email") or attributes.get("external_id")
    return after if has_a_key and after != event else None


def names_of(left_out: Iterable[str]) -> list[str]:
    """Return the left-out values by the names of Klaviyo's attributes, for the log: deeper names are the caller's own.

    >>> names_of(["attributes.profile.data.attributes.location.zip", "attributes.properties.odd"])
    ['location', 'properties']
    """
    inner = (path.removeprefix(f"{_ATTRIBUTES}.").removeprefix("attributes.") for path in left_out)
    return sorted({path.removeprefix("profile.data.").partition(".")[0] for path in inner})


def _nobody_is_meant(id: str | None, given: Mapping[str, Any], paths: Paths) -> str:
    """Return what to change in an event that names no person."""
    if read_id(given.get("email")) != "":
        return f"{paths.email} must be an email address."
    if id != "":
        return f"{paths.person_id} must be text: a Klaviyo profile id."
    by_id = f"{paths.person_id} (the Klaviyo profile id) or " if paths.person_id else ""
    return f"Say whose event it is: {by_id}{paths.email}. {what_is_missing(given)}"


def names_a_person(fields: Mapping[str, Any]) -> bool:
    """Return whether an email or a number stands here, though it may be empty."""
    return any(name in fields for name in ("email", *_NUMBERS))


def what_is_missing(profile: Mapping[str, Any]) -> str:
    """Return in words what is missing in a profile without an email and an id."""
    email = "The email is empty" if "email" in profile else "The email is missing"
    has_a_number = any(read_id(profile.get(name)) != "" for name in _NUMBERS)
    number = " A mobile number alone does not say it: families share one." if has_a_number else ""
    return f"{email}, and there is no id.{number}"


def _other_keys(given: Mapping[str, Any], left_out: list[str]) -> dict[str, str]:
    keys = {name: read_id(given.get(name)) for name in _OTHER_KEYS}
    left_out += [f"{_ATTRIBUTES}.{name}" for name, key in keys.items() if key is None]
    phone = given.get("phone_number")
    keys["phone_number"] = read_id(phone)
    if keys["phone_number"] != "" and not is_like_a_phone(phone):
        left_out.append(PHONE)
        keys["phone_number"] = ""
    return {name: key or "" for name, key in keys.items()}


def _beside(given: Mapping[str, Any], left_out: list[str]) -> Json:
    """Return the values that are no identifiers: the attributes that fit, the place, and properties. A value that is no attribute becomes a
    property.
    """
    keys = {"email", "phone_number", *_OTHER_KEYS}
    found: Json = {}
    others: Json = {}
    for name, value in given.items():
        if name in keys or name in _OBJECTS:
            continue
        if name in TOP:
            _put(found, name, value, left_out, f"{_ATTRIBUTES}.{name}")
        elif name == _NOT_OURS:
            left_out.append(f"{_ATTRIBUTES}.{name}")
        else:
            others[name] = value
    if place := _object(given, "location", left_out):
        inner: Json = {}
        for name, value in place.items():
            _put(inner, f"location.{name}", value, left_out, f"{_ATTRIBUTES}.location.{name}")
        if inner:
            found["location"] = {name.removeprefix("location."): value for name, value in inner.items()}
    properties = fitting(
        {**others, **_object(given, "properties", left_out)}, f"{_ATTRIBUTES}.properties", left_out
    )
    return {**found, "properties": properties} if properties else found


def fitting(properties: Mapping[str, Any], path: str, left_out: list[str]) -> Json:
    """Return the properties that Klaviyo takes, unchanged. It leaves out those with too deep nesting or too long a list."""
    left_out += [f"{path}.{name}" for name, value in properties.items() if not _is_taken(value, MOST_LEVELS)]
    return {name: value for name, value in properties.items() if _is_taken(value, MOST_LEVELS)}


def _is_taken(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    if not levels or (isinstance(value, list) and len(value) > MOST_ITEMS):
        return False
    return all(
        _is_taken(inner, levels - 1) for inner in (value.values() if isinstance(value, dict) else value)
    )


def _put(found: Json, name: str, value: Any, left_out: list[str], path: str) -> None:
    """Take an attribute's value if it fits. An empty value is ignored."""
    if value in (None, [], {}) or (isinstance(value, str) and not read_text(value)):
        return
    is_known = name in TOP or name.removeprefix("location.") in LOCATION
    text = fitted(name, value, "") if is_known else None
    if text is None:
        left_out.append(path)
    else:
        found[name] = text


def _object(given: Mapping[str, Any], name: str, left_out: list[str]) -> Json:
    value = given.get(name) or {}
    if isinstance(value, dict):
        return value
    left_out.append(f"{_ATTRIBUTES}.{name}")
    return {}
