"""The bodies that Klaviyo accepts for a subscribe or an unsubscribe job. It only finds problems, and has no effects.

Klaviyo's pages "Bulk Subscribe Profiles" and "Bulk Unsubscribe Profiles" and their OpenAPI schemas: up to 1,000 and up to
100 profiles; `consented_at` with `historical_import` alone, then required and in the past; an identifier for each channel.

Assumed (subscription-bodies):
every unknown field is 400; an identifier of the channel is asked for even beside an id; a profile names at least
one channel; push, WhatsApp and open tracking, which Klaviyo knows, are 501.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo.documents import is_identifier
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.events import parse_time, profile_attribute_problems
from deploy.local.sandbox.klaviyo.job_bodies import envelope_problems, job_in, unknown_fields

CREATION, DELETION = "profile-subscription-bulk-create-job", "profile-subscription-bulk-delete-job"
MOST_SUBSCRIBED, MOST_UNSUBSCRIBED = 1000, 100
# Klaviyo's channel and kind, and the name under which a profile keeps that consent.
CHANNELS = {
    ("email", "marketing"): "email",
    ("sms", "marketing"): "sms",
    ("sms", "transactional"): "sms_transactional",
}
_NOT_HERE = ("whatsapp", "push")
_KINDS = {"email": ("marketing", "open_tracking"), "sms": ("marketing", "transactional")}
_IDENTIFIER = {"email": "email", "sms": "phone_number"}
_ROWS = "/data/attributes/profiles/data"


def creation_problems(document: Any, *, now: float) -> Iterator[Problem]:
    """Yield everything wrong with the body of a subscribe job."""
    yield from _job_problems(
        document, CREATION, ("profiles", "custom_source", "historical_import"), MOST_SUBSCRIBED
    )
    attributes = _attributes(document)
    if not isinstance(attributes.get("custom_source"), str | None):
        yield Problem("'custom_source' must be a string.", "/data/attributes/custom_source")
    history = attributes.get("historical_import")
    if not isinstance(history, bool | None):
        yield Problem("'historical_import' must be a boolean.", "/data/attributes/historical_import")
    for pointer, row in _rows(attributes):
        allowed = ("email", "phone_number", "subscriptions", "age_gated_date_of_birth")
        yield from _row_problems(row, pointer, ("type", "id", "attributes"), allowed)
        for where, consent in _consents(row, pointer):
            yield from _consent_problems(consent, where, "SUBSCRIBED", ("consent", "consented_at"))
            yield from _time_problems(consent, where, is_history=history is True, now=now)


def deletion_problems(document: Any) -> Iterator[Problem]:
    """Yield everything wrong with the body of an unsubscribe job."""
    yield from _job_problems(document, DELETION, ("profiles",), MOST_UNSUBSCRIBED)
    attributes = _attributes(document)
    for pointer, row in _rows(attributes):
        allowed = ("email", "phone_number", "subscriptions")
        yield from _row_problems(row, pointer, ("type", "attributes"), allowed)
        for where, consent in _consents(row, pointer):
            yield from _consent_problems(consent, where, "UNSUBSCRIBED", ("consent",))


def unknown_channels(document: Any) -> Iterator[Problem]:
    """Yield the channels of an acceptable job that Klaviyo knows and the sandbox does not."""
    for pointer, row in _rows(_attributes(document)):
        subscriptions = row["attributes"]["subscriptions"]
        named = [name for name in _NOT_HERE if subscriptions.get(name) is not None]
        if (subscriptions.get("email") or {}).get("open_tracking") is not None:
            named.append("open_tracking")
        for name in named:
            yield Problem(
                f"The sandbox does not know '{name}'.", f"{pointer}/attributes/subscriptions/{name}"
            )


def list_problems(data: Mapping[str, Any], allowed: tuple[str, ...]) -> Iterator[Problem]:
    """Yield the faults of a job's relationships, which name at most one resource each."""
    related = data.get("relationships")
    if related is None:
        return
    if not isinstance(related, dict):
        yield Problem("'relationships' must be an object.", "/data/relationships")
        return
    for name, value in related.items():
        pointer = f"/data/relationships/{name}"
        if name not in allowed:
            yield Problem(f"'{name}' is not a valid relationship.", pointer)
        elif not isinstance(value, dict) or not is_identifier(value.get("data"), name):
            yield Problem(f"Name the {name} by 'type' and 'id'.", pointer)


def _job_problems(document: Any, type: str, allowed: tuple[str, ...], most: int) -> Iterator[Problem]:
    yield from envelope_problems(document, type, allowed)
    data = job_in(document)
    if data is None:
        return
    yield from _row_count_problems(data["attributes"], most)
    yield from list_problems(data, ("list",))


def _attributes(document: Any) -> Mapping[str, Any]:
    data = job_in(document)
    return data["attributes"] if data is not None else {}


def _rows(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    profiles = attributes.get("profiles")
    rows = profiles.get("data") if isinstance(profiles, dict) else None
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        yield f"{_ROWS}/{index}", row


def _row_count_problems(attributes: Mapping[str, Any], most: int) -> Iterator[Problem]:
    profiles = attributes.get("profiles")
    rows = profiles.get("data") if isinstance(profiles, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= most:
        yield Problem(f"A job is for 1 to {most} profiles.", _ROWS)


def _row_problems(
    row: Any, pointer: str, allowed: tuple[str, ...], attribute_names: tuple[str, ...]
) -> Iterator[Problem]:
    if not isinstance(row, dict) or row.get("type") != "profile":
        yield Problem("'type' must be 'profile'.", f"{pointer}/type")
        return
    yield from unknown_fields(row, allowed, pointer)
    if not isinstance(row.get("id"), str | None):
        yield Problem("'id' must be a string.", f"{pointer}/id")
    attributes = row.get("attributes")
    if not isinstance(attributes, dict):
        yield Problem("'attributes' is required and must be an object.", f"{pointer}/attributes")
        return
    yield from unknown_fields(attributes, attribute_names, f"{pointer}/attributes")
    yield from profile_attribute_problems(attributes, f"{pointer}/attributes")
    yield from _channel_problems(attributes, f"{pointer}/attributes")


def _channel_problems(attributes: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    subscriptions = attributes.get("subscriptions")
    where = f"{pointer}/subscriptions"
    if not isinstance(subscriptions, dict) or all(value is None for value in subscriptions.values()):
        yield Problem("'subscriptions' is required and must name a channel.", where)
        return
    yield from unknown_fields(subscriptions, (*_KINDS, *_NOT_HERE), where)
    for channel, kinds in _KINDS.items():
        value = subscriptions.get(channel)
        if value is None:
            continue
        if not isinstance(value, dict) or all(kind is None for kind in value.values()):
            yield Problem(f"'{channel}' must be an object that names a consent.", f"{where}/{channel}")
            continue
        yield from unknown_fields(value, kinds, f"{where}/{channel}")
        if not attributes.get(_IDENTIFIER[channel]):
            name = _IDENTIFIER[channel]
            yield Problem(f"'{name}' is required for the channel '{channel}'.", f"{pointer}/{name}")


def _consents(row: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    attributes = row.get("attributes") if isinstance(row, dict) else None
    subscriptions = attributes.get("subscriptions") if isinstance(attributes, dict) else None
    for channel, kind in CHANNELS:
        value = subscriptions.get(channel) if isinstance(subscriptions, dict) else None
        consent = value.get(kind) if isinstance(value, dict) else None
        if consent is not None:
            yield f"{pointer}/attributes/subscriptions/{channel}/{kind}", consent


def _consent_problems(consent: Any, pointer: str, wanted: str, allowed: tuple[str, ...]) -> Iterator[Problem]:
    if not isinstance(consent, dict) or consent.get("consent") != wanted:
        yield Problem(f"'consent' must be '{wanted}'.", f"{pointer}/consent")
    elif unknown := set(consent) - set(allowed):
        yield from (
            Problem(f"'{name}' is not a valid field.", f"{pointer}/{name}") for name in sorted(unknown)
        )


def _time_problems(consent: Any, pointer: str, *, is_history: bool, now: float) -> Iterator[Problem]:
    time = consent.get("consented_at") if isinstance(consent, dict) else None
    where = f"{pointer}/consented_at"
    if time is None:
        if is_history:
            yield Problem("'consented_at' is required with 'historical_import'.", where)
        return
    seconds = parse_time(time) if isinstance(time, str) else None
    if not is_history:
        yield Problem("'consented_at' is for 'historical_import' alone.", where)
    elif seconds is None or seconds > now:
        yield Problem("'consented_at' must be an RFC 3339 date-time in the past.", where)
