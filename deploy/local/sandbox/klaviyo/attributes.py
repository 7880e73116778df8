"""How new attributes are written over a profile's old ones: merged, cleared, patched. Nothing else about profiles.

Klaviyo's page "Create or Update Profile": null clears, absent leaves, properties merge by key, and
`meta.patch_properties` appends, unappends and unsets.
"""

from collections.abc import Mapping
from typing import Any


def merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Write the changes; null takes the attribute away."""
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        else:
            into[name] = value


def patch(properties: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Carry out `patch_properties`."""
    for name, value in (changes.get("append") or {}).items():
        properties[name] = [*_listed(properties.get(name)), *_listed(value)]
    for name, value in (changes.get("unappend") or {}).items():
        properties[name] = [item for item in _listed(properties.get(name)) if item not in _listed(value)]
    for name in _listed(changes.get("unset")):
        properties.pop(name, None)


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
