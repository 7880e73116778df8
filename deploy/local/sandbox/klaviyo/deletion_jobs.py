"""Klaviyo's jobs that delete a profile for good. No call shows such a job.

Klaviyo's page "Request Profile Deletion": exactly one of id, email and phone_number; asynchronous.

One that nobody has is 404, recorded. Assumed (deletion-by-one-identifier):
an identifier that is empty or null is none; the id of a
profile that was merged a while ago deletes the one it became part of, as it finds that one everywhere else.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo import errors
from deploy.local.sandbox.klaviyo.accounts import Account, Profile
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.events import profile_attribute_problems
from deploy.local.sandbox.klaviyo.job_bodies import unknown_fields
from deploy.local.sandbox.klaviyo.profiles import TYPE as PROFILE
from deploy.local.sandbox.stage.messages import Answer

TYPE = "data-privacy-deletion-job"
_PROFILE = "/data/attributes/profile/data"
_IDENTIFIERS = ("email", "phone_number")


def request_deletion(asked: Asked) -> Answer:
    """`POST /api/data-privacy-deletion-jobs`: 202, and carried out after `job_seconds`."""
    if found := list(_problems(asked.document)):
        return errors.invalid(found)
    account, named = asked.account, asked.document["data"]["attributes"]["profile"]["data"]
    if _profile(account, named) is None:
        given = {"id": named.get("id"), **named["attributes"]}
        return errors.nobody_to_delete(next(f"{name} `{value}`" for name, value in given.items() if value))
    account.schedule.add(lambda at: _delete(account, named), after=asked.consent.job_seconds)
    return Answer(202)


def _profile(account: Account, named: Mapping[str, Any]) -> Profile | None:
    identifiers = {name: named["attributes"].get(name) for name in _IDENTIFIERS}
    return account.find(named.get("id"), identifiers)


def _delete(account: Account, named: Mapping[str, Any]) -> None:
    profile = _profile(account, named)
    if profile is not None:
        account.forget(profile)


def _problems(document: Any) -> Iterator[Problem]:
    data = document.get("data") if isinstance(document, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    profile = attributes.get("profile") if isinstance(attributes, dict) else None
    named = profile.get("data") if isinstance(profile, dict) else None
    if not isinstance(data, dict) or not isinstance(attributes, dict) or not isinstance(named, dict):
        yield Problem("'profile' with 'data' is required and must be an object.", "/data/attributes/profile")
        return
    if data.get("type") != TYPE:
        yield Problem(f"'type' must be '{TYPE}'.", "/data/type")
    yield from unknown_fields(data, ("type", "attributes"), "/data")
    yield from unknown_fields(attributes, ("profile",), "/data/attributes")
    yield from _profile_problems(named)


def _profile_problems(named: Mapping[str, Any]) -> Iterator[Problem]:
    attributes = named.get("attributes")
    if named.get("type") != PROFILE:
        yield Problem(f"'type' must be '{PROFILE}'.", f"{_PROFILE}/type")
    if not isinstance(attributes, dict):
        yield Problem("'attributes' is required and must be an object.", f"{_PROFILE}/attributes")
        return
    yield from unknown_fields(named, ("type", "id", "attributes"), _PROFILE)
    yield from unknown_fields(attributes, _IDENTIFIERS, f"{_PROFILE}/attributes")
    yield from profile_attribute_problems(attributes, f"{_PROFILE}/attributes")
    if not isinstance(named.get("id"), str | None):
        yield Problem("'id' must be a string.", f"{_PROFILE}/id")
    given = [named.get("id"), *(attributes.get(name) for name in _IDENTIFIERS)]
    if len([value for value in given if value]) != 1:
        yield Problem("Give exactly one of 'id', 'email' and 'phone_number'.", _PROFILE)
