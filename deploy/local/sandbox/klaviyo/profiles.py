"""The form of a profile in Klaviyo's API, for reads and writes, and the refusals. No HTTP and no store.

Klaviyo's pages "Get Profile", "Create or Update Profile" and "Update Profile".

Assumed (sizes-are-of-1024, profile-bodies):
100 KB are a multiple of 1024 of the body without spaces; a `location` with another key is 400; `properties` are
not looked into; `anonymous_id` is shown and cannot be written, `_kx` the other way round.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo import documents
from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.documents import InvalidParameterError, Resource, Rule, iso
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.events import profile_attribute_problems

TYPE = "profile"
LARGEST_PROFILE = 100 * 1024
NO_IDENTIFIER = Problem("At least one profile identifier is required.", "/data/attributes")
UNIQUE = ("email", "phone_number", "external_id")
_SHOWN = (
    *UNIQUE,
    "anonymous_id",
    "first_name",
    "last_name",
    "organization",
    "locale",
    "title",
    "image",
)
_LOCATION = (
    "address1",
    "address2",
    "city",
    "country",
    "latitude",
    "longitude",
    "region",
    "zip",
    "timezone",
    "ip",
)
_RELATED = ("lists", "segments", "push-tokens", "conversations")
_ADDITIONAL = "additional-fields[profile]"
_PATCHES = ("append", "unappend", "unset")


def to_resource(profile: Profile, url: str, *, with_subscriptions: bool = False) -> Resource:
    """Return the profile as the API at `url` shows it."""
    path, last = f"{url}/api/profiles/{profile.id}", profile.last_event_at
    location = profile.attributes.get("location") or {}
    attributes: dict[str, Any] = {
        **{name: profile.attributes.get(name) for name in _SHOWN},
        "created": iso(profile.created_at),
        "updated": iso(profile.updated_at),
        "last_event_date": None if last is None else iso(last),
        "location": {name: location.get(name) for name in _LOCATION},
        "properties": profile.properties,
        "whatsapp_bsuid": None,
    }
    if with_subscriptions:
        attributes["subscriptions"] = profile.subscriptions.to_json()
    return {
        "type": TYPE,
        "id": profile.id,
        "attributes": attributes,
        "relationships": {
            name: {"links": {"self": f"{path}/relationships/{name}/", "related": f"{path}/{name}/"}}
            for name in _RELATED
        },
        "links": {"self": f"{path}/"},
    }


def wants_subscriptions(parameters: Mapping[str, str]) -> bool:
    """Return whether the query asks for subscriptions.

    Raises:
        InvalidParameterError: it asks for an additional field that does not exist, or that the sandbox does not know.
    """
    if _ADDITIONAL not in parameters:
        return False
    named = parameters[_ADDITIONAL].split(",")
    if set(named) <= {"subscriptions"}:
        return True
    raise InvalidParameterError("The sandbox knows the additional field 'subscriptions' alone.", _ADDITIONAL)


def import_problems(document: Any) -> Iterator[Problem]:
    """Yield everything wrong with the body of Create or Update Profile."""
    yield from _problems(document, _RULES)
    data = document.get("data") if isinstance(document, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(attributes, dict):
        return  # said already
    if not isinstance(data.get("id"), str | None):
        yield Problem("'id' must be a string.", "/data/id")
    elif not data.get("id") and not any(attributes.get(name) for name in (*UNIQUE, "_kx")):
        yield NO_IDENTIFIER


def create_problems(document: Any) -> Iterator[Problem]:
    """Yield everything wrong with the body of Create Profile: it names no id, and patches nothing."""
    yield from import_problems(document)
    data = document.get("data") if isinstance(document, dict) else None
    for name in ("id", "meta"):
        if isinstance(data, dict) and name in data:
            yield Problem(f"'{name}' is not a valid field for the resource '{TYPE}'.", f"/data/{name}")


def update_problems(document: Any, *, id: str) -> Iterator[Problem]:
    """Yield everything wrong with the body of Update Profile."""
    yield from _problems(document, {name: rule for name, rule in _RULES.items() if name != "_kx"}, id=id)


def _problems(document: Any, rules: Mapping[str, Rule], *, id: str | None = None) -> Iterator[Problem]:
    if (
        len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))
        > LARGEST_PROFILE
    ):
        yield Problem("A profile is at most 100 KB.", "/data")
    yield from documents.problems(document, TYPE, rules, id=id)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        return
    for name in set(data) - {"type", "id", "attributes", "meta"}:
        yield Problem(f"'{name}' is not a valid field for the resource '{TYPE}'.", f"/data/{name}")
    if isinstance(data.get("attributes"), dict):
        yield from profile_attribute_problems(data["attributes"], "/data/attributes")
    yield from _meta_problems(data.get("meta"))


def _meta_problems(meta: object) -> Iterator[Problem]:
    if meta is None:
        return
    if not isinstance(meta, dict) or not set(meta) <= {"patch_properties", "patch_identifiers"}:
        yield Problem("'meta' must be an object of 'patch_properties' and 'patch_identifiers'.", "/data/meta")
        return
    patch = meta.get("patch_properties")
    if patch is not None and not _is_patch(patch):
        yield Problem(
            f"'patch_properties' must be an object of {', '.join(_PATCHES)}.", "/data/meta/patch_properties"
        )


def _is_patch(patch: object) -> bool:
    if not isinstance(patch, dict) or not set(patch) <= set(_PATCHES):
        return False
    unset = patch.get("unset")
    names = unset if isinstance(unset, list) else [unset or ""]
    objects = all(isinstance(patch.get(name), dict | None) for name in ("append", "unappend"))
    return objects and all(isinstance(name, str) for name in names)


def _is_anything(value: object) -> bool:
    return True


# The check of an event's profile covers the kinds of the values; this covers only the names.
_RULES: dict[str, Rule] = {
    **dict.fromkeys((*UNIQUE, "_kx", *_SHOWN[4:], "properties"), (_is_anything, "")),
    "location": (
        lambda value: not isinstance(value, dict) or set(value) <= set(_LOCATION),
        f"an object of {', '.join(_LOCATION)}",
    ),
}
