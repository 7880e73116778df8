"""Packs profiles for Klaviyo's bulk imports. Pure.

A bulk import clears nothing: "Only fields explicitly provided with non-null values will be updated", says Klaviyo's guide. So nothing that
would clear a field or remove a property goes into one; a profile of which something is to be cleared is synced alone as well.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.resync.rules.place import Place

# https://developers.klaviyo.com/en/reference/bulk_import_profiles
MOST_PROFILES = 10_000
MOST_BYTES = 5_000_000
ENVELOPE = 1_000  # the bytes around the profiles
_BETWEEN = 2  # a comma and a space

Resource = Mapping[str, Any]


class Parcel:
    """Profiles for one import, and the places in Omneo's list at which they begin and end.

    `unsure` are the Klaviyo ids among them that may not exist in Klaviyo. `changed` are the Omneo ids whose emails
    Klaviyo may have on another person's profile. `alone` are the Omneo ids to sync alone instead.
    """

    def __init__(self, begins: Place) -> None:
        self.begins = self.ends = begins
        self.resources: list[Resource] = []
        self.unsure: set[str] = set()
        self.changed: set[str] = set()
        self.alone: list[str] = []
        self._size = ENVELOPE

    def add(
        self,
        page: Sequence[Resource],
        ends: Place,
        unsure: Iterable[str] = (),
        changed: Iterable[str] = (),
        alone: Iterable[str] = (),
    ) -> bool:
        """Take a page of profiles, if it fits, and return whether it did. An empty parcel takes any page.

        A page is never torn apart, because a run goes on from the end of a page.
        """
        size = self._size + sum(map(size_of, page))
        is_too_much = len(self.resources) + len(page) > MOST_PROFILES or size > MOST_BYTES
        if self.resources and is_too_much:
            return False
        self.resources += page
        self.unsure.update(unsure)
        self.changed.update(changed)
        self.alone += alone
        self.ends, self._size = ends, size
        return True


def size_of(resource: Resource) -> int:
    """Return the bytes of a profile among others, as it travels."""
    return len(json.dumps(resource).encode()) + _BETWEEN


def jobs_of(resources: Iterable[Resource]) -> Iterator[list[Resource]]:
    """Yield the profiles in lists that an import takes: a single page may be too large for one."""
    found: list[Resource] = []
    size = ENVELOPE
    for resource in resources:
        own = size_of(resource)
        if found and (len(found) == MOST_PROFILES or size + own > MOST_BYTES):
            yield found
            found, size = [], ENVELOPE
        found.append(resource)
        size += own
    if found:
        yield found


def without_clearing(resource: Resource) -> Resource:
    """Return the profile without the parts that would clear a field or remove a property.

    >>> without_clearing({"attributes": {"title": None, "location": {"city": None}}, "meta": {"patch_properties": {"unset": ["a"]}}})
    {'attributes': {}}
    """
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return {**rest, "attributes": _given(resource["attributes"])}


def clears(resource: Resource) -> bool:
    """Return whether the profile would clear a field or remove a property."""
    return without_clearing(resource) != resource


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in attributes.items() if value is not None}
    if location := given.pop("location", None):
        given |= {"location": rest} if (rest := _given(location)) else {}
    return given
