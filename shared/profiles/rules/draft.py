"""A Klaviyo profile in the making: the values that are set, cleared, or left out and noted.

mapping.py decides which value goes where.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.klaviyo.rules.attributes import LONGEST_NAME, PROFILE_BYTES, fitted, plain, plain_text
from shared.profiles.rules.omneo_paths import MISSING
from shared.values import read_text

Json = Any


class NoteReason(StrEnum):
    """Why something did not go to Klaviyo, for `explain`."""

    EMAIL_INVALID = "email_invalid"
    PHONE_INVALID = "phone_invalid"  # or its country is not known: the setting default_region says
    VALUE_UNFIT = "value_unfit"  # the attribute would not take it, or it is no JSON
    NAME_UNFIT = "name_unfit"
    NAME_RESERVED = "name_reserved"  # a mapping may not say how a profile is found
    TOO_LARGE = "too_large"  # the profile would be larger than Klaviyo takes


@dataclass(frozen=True)
class Note:
    """Something left out, by the name it would have in Klaviyo; never its value."""

    reason: NoteReason
    name: str


@dataclass(frozen=True)
class MappedProfile:
    """A profile in Klaviyo's form. `attributes` hold None for a field to clear, `unset` names the properties to remove.
    `filled` names the fields that have a value now, such as `first_name`, `location.city` and `properties.omneo_tier`:
    keep it for the next sync's `filled_before`. `cleared` names the cleared and removed fields, in the same way.
    """

    attributes: dict[str, Json]
    unset: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    filled: frozenset[str] = frozenset()
    cleared: frozenset[str] = frozenset()

    def resource(self, klaviyo_id: str = "") -> dict[str, Json]:
        """Return the `data` of Klaviyo's create-or-update. `klaviyo_id` is given when it is known."""
        known = {"id": klaviyo_id} if klaviyo_id else {}
        return _resource({"type": "profile", **known}, self.attributes, [*self.unset])


def with_cleared(resource: Mapping[str, Json], names: Collection[str]) -> dict[str, Json]:
    """Return the `data` of a call that also clears these fields, named as in `filled`, if it gives them no value.

    >>> with_cleared({"attributes": {"title": "Dr"}}, ["title", "location.city", "properties.a"])["attributes"]
    {'title': 'Dr', 'location': {'city': None}}
    """
    attributes = {
        name: {**value} if isinstance(value, Mapping) else value
        for name, value in resource["attributes"].items()
    }
    meta = resource.get("meta", {}).get("patch_properties", {})
    unset = {*meta.get("unset", ()), *(name for name in map(_property, names) if name)}
    for name in sorted(name for name in names if not _property(name)):
        first, _, rest = name.partition(".")
        held = attributes.setdefault(first, {}) if rest else attributes
        if isinstance(held, dict):
            held.setdefault(rest or first, None)
    left = sorted(unset - attributes.get("properties", {}).keys())
    return _resource(resource, attributes, left)


def _resource(
    resource: Mapping[str, Json], attributes: Mapping[str, Json], unset: list[str]
) -> dict[str, Json]:
    rest = {name: value for name, value in resource.items() if name != "meta"}
    meta = {"meta": {"patch_properties": {"unset": unset}}} if unset else {}
    return {**rest, "attributes": attributes, **meta}


@dataclass
class Draft:
    """A Klaviyo profile under construction, and the result of each value that was offered to it."""

    region: str
    before: frozenset[str]
    values: dict[str, Json] = field(default_factory=dict)  # by the names of `filled`
    emptied: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)

    def attribute(self, name: str, value: Json) -> None:
        """Take the value of an attribute, by its name as in `location.city`."""
        if self.is_empty(name, value):
            return
        found = fitted(name, value, self.region)
        if found is None:
            self.notes.append(Note(NoteReason.VALUE_UNFIT, name))
        else:
            self.values[name] = found

    def property(self, name: str, value: Json) -> None:
        """Take the value of a property."""
        if not name.strip() or len(name) > LONGEST_NAME or plain_text(name) != name:
            self.notes.append(Note(NoteReason.NAME_UNFIT, plain_text(name)[:LONGEST_NAME]))
            return
        if self.is_empty(f"properties.{name}", value):
            return
        try:
            self.values[f"properties.{name}"] = plain(value)
        except ValueError:
            self.notes.append(Note(NoteReason.VALUE_UNFIT, f"properties.{name}"))

    def is_empty(self, key: str, value: Json) -> bool:
        """Return whether there is no value to send, and remember values that are empty, but not missing."""
        if value is MISSING:
            return True
        if value is None or value in ([], {}) or (isinstance(value, str) and not read_text(value)):
            self.emptied.add(key)
            return True
        return False

    def finished(self, external_id: str) -> MappedProfile:
        """Return the profile, cut to the size that Klaviyo takes."""
        self._fit()
        cleared = (self.emptied & self.before) - self.values.keys() - {"email"}
        unset = sorted(_property(key) for key in cleared if _property(key))
        nulls = dict.fromkeys(key for key in cleared if not _property(key))
        return MappedProfile(
            _nested({**nulls, **self.values}, external_id),
            tuple(unset),
            tuple(self.notes),
            # A value that an earlier sync has filled and this one could not change is still in Klaviyo.
            frozenset(self.values.keys() | (self.before - cleared)),
            frozenset(cleared),
        )

    def _fit(self) -> None:
        """Leave out the largest values, properties first, until the rest fits."""
        sizes = {key: _size(key) + _size(value) for key, value in self.values.items()}
        excess = sum(sizes.values()) + sum(map(_size, self.emptied & self.before)) - PROFILE_BYTES
        for key in sorted(sizes, key=lambda key: (not _property(key), -sizes[key])):
            if excess <= 0:
                return
            excess -= sizes[key]
            del self.values[key]
            self.notes.append(Note(NoteReason.TOO_LARGE, key))


def _property(key: str) -> str:
    return key.removeprefix("properties.") if key.startswith("properties.") else ""


def _nested(flat: Mapping[str, Json], external_id: str) -> dict[str, Json]:
    found: dict[str, Json] = {"external_id": external_id} if external_id else {}
    for key, value in sorted(flat.items()):
        first, _, rest = key.partition(".")
        if rest:
            found.setdefault(first, {})[rest] = value
        else:
            found[key] = value
    return found


def _size(value: Json) -> int:
    # As the client may write it, every other alphabet as escapes; and what stands between two values.
    return len(json.dumps(value)) + 4
