"""Omneo's identities: the endpoints below a profile, and the rules for new ones. Credentials are checked before them.

Omneo's page "Working with identities" and its SDKs: `/profiles/{id}/identities` and `.../identities/{handle}`; handle and
identifier together are unique over all profiles.

Assumed (taken-identity-is-422, newest-identity-of-a-handle):
an identity that any profile holds is 422 on `identifier`, one that the profile itself holds too; PUT, GET and DELETE by a
handle mean the newest of that handle and are 404 where there is none; a PUT changes only the fields it names; one that does not say is
active and not primary. A change of identities moves the profile's `updated_at`.
"""

from collections.abc import Mapping
from typing import Any

from deploy.local.sandbox.omneo.answers import invalid, missing, one
from deploy.local.sandbox.omneo.asked import Asked
from deploy.local.sandbox.omneo.profiles import stamp
from deploy.local.sandbox.omneo.reactions import Errors, Row
from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.stage.messages import Answer

FIELDS = ("handle", "identifier", "is_active", "is_primary")
_FLAGS = ("is_active", "is_primary")


def list_identities(asked: Asked) -> Answer:
    """`GET /profiles/{id}/identities`: all at once."""
    profile = asked.tenant.profiles.get(asked.id)
    return missing("Profile") if profile is None else one(profile["identities"])


def create_identity(asked: Asked) -> Answer:
    """`POST /profiles/{id}/identities`."""
    profile = asked.tenant.profiles.get(asked.id)
    if profile is None:
        return missing("Profile")
    return _kept(asked, profile, {"is_active": True, "is_primary": False}, 201)


def read_identity(asked: Asked) -> Answer:
    """`GET /profiles/{id}/identities/{handle}`."""
    found = _of_handle(asked.tenant.profiles.get(asked.id), asked.handle)
    return missing("Identity") if found is None else one(found)


def update_identity(asked: Asked) -> Answer:
    """`PUT /profiles/{id}/identities/{handle}`."""
    profile = asked.tenant.profiles.get(asked.id)
    found = _of_handle(profile, asked.handle)
    return missing("Identity") if profile is None or found is None else _kept(asked, profile, found, 200)


def delete_identity(asked: Asked) -> Answer:
    """`DELETE /profiles/{id}/identities/{handle}`."""
    profile = asked.tenant.profiles.get(asked.id)
    found = _of_handle(profile, asked.handle)
    if profile is None or found is None:
        return missing("Identity")
    profile["identities"].remove(found)
    profile["updated_at"] = stamp(asked.now)
    return Answer(204)


def _kept(asked: Asked, profile: dict[str, Any], row: Row, status: int) -> Answer:
    changed = {**row, **{name: asked.fields[name] for name in FIELDS if name in asked.fields}}
    may_be_taken = asked.is_otherwise("taken-identity-is-422")
    if errors := _errors(asked.tenant, row, changed, may_be_taken=may_be_taken):
        return invalid(errors)
    now = stamp(asked.now)
    if "id" not in row:
        taken = [known["id"] for other in asked.tenant.profiles.values() for known in other["identities"]]
        row |= {"id": max(taken, default=0) + 1, "merged_from": None, "profile_id": profile["id"]}
        row["created_at"] = now
        profile["identities"].append(row)
    row |= {**changed, "updated_at": now}
    profile["updated_at"] = now
    return one(row, status)


def _errors(tenant: Tenant, row: Row, changed: Mapping[str, Any], *, may_be_taken: bool) -> Errors:
    errors: Errors = {
        name: [f"The {name} field is required."]
        for name in ("handle", "identifier")
        if not isinstance(changed.get(name), str) or not changed[name]
    }
    errors |= {
        name: [f"The {name} field must be true or false."]
        for name in _FLAGS
        if changed.get(name) not in (True, False)
    }
    if (
        not errors
        and not may_be_taken
        and any(
            (other["handle"], other["identifier"]) == (changed["handle"], changed["identifier"])
            for profile in tenant.profiles.values()
            for other in profile["identities"]
            if other is not row
        )
    ):
        errors["identifier"] = ["The identifier has already been taken."]
    return errors


def _of_handle(profile: Mapping[str, Any] | None, handle: str) -> Row | None:
    rows = [] if profile is None else [row for row in profile["identities"] if row["handle"] == handle]
    return max(rows, key=lambda row: (str(row["created_at"]), row["id"]), default=None)
