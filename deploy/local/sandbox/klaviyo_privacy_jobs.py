"""Klaviyo's endpoint that deletes a profile for good. Klaviyo's page "Request Profile Deletion".

Exactly one identifier: the id, an email or a phone number. The job cannot be looked at.

Assumed: an identifier that nobody has is 202 as well; the profile's events go with it.
"""

from collections.abc import Iterator
from typing import Any

from deploy.local.sandbox import klaviyo_errors
from deploy.local.sandbox.klaviyo_accounts import Account
from deploy.local.sandbox.klaviyo_asked import Asked
from deploy.local.sandbox.klaviyo_errors import Problem
from deploy.local.sandbox.klaviyo_events import profile_attribute_problems
from deploy.local.sandbox.klaviyo_subscription_bodies import unknown_fields
from deploy.local.sandbox.messages import Answer

JOB = "data-privacy-deletion-job"
_PROFILE = "/data/attributes/profile/data"
_ADDRESSES = ("email", "phone_number")


def request_deletion(asked: Asked) -> Answer:
    """`POST /api/data-privacy-deletion-jobs`: 202, and carried out after `job_seconds`."""
    if found := list(_problems(asked.document)):
        return klaviyo_errors.invalid(found)
    account, row = asked.account, asked.document["data"]["attributes"]["profile"]["data"]
    account.schedule.add(lambda at: _delete(account, row), after=asked.consent.job_seconds)
    return Answer(202)


def _delete(account: Account, row: dict[str, Any]) -> None:
    named = row.get("attributes") or {}
    owners = (account.owner(name, named[name]) for name in _ADDRESSES if named.get(name))
    profile = account.profile(row["id"]) if row.get("id") else next(owners)
    if profile is not None:
        account.forget(profile)


def _problems(document: Any) -> Iterator[Problem]:
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or data.get("type") != JOB:
        yield Problem(f"'type' must be '{JOB}'.", "/data/type")
        return
    yield from unknown_fields(data, ("type", "attributes"), "/data")
    row = data.get("attributes")
    for name in ("profile", "data"):
        row = row.get(name) if isinstance(row, dict) else None
    if (
        not isinstance(row, dict)
        or row.get("type") != "profile"
        or not isinstance(row.get("attributes"), dict)
    ):
        yield Problem("Give a profile's 'type' and 'attributes'.", _PROFILE)
        return
    yield from unknown_fields(row, ("type", "id", "attributes"), _PROFILE)
    yield from unknown_fields(row["attributes"], _ADDRESSES, f"{_PROFILE}/attributes")
    yield from profile_attribute_problems(row["attributes"], f"{_PROFILE}/attributes")
    named = [row.get("id"), *(row["attributes"].get(name) for name in _ADDRESSES)]
    if sum(bool(value) for value in named) != 1:
        yield Problem("Give exactly one of id, email and phone_number.", _PROFILE)
