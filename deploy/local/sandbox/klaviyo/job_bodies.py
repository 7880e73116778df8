"""The common part of the bodies of Klaviyo's bulk jobs: the envelope around their profiles.

Each job's own module checks its rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo.documents import attributes_of, data_of
from deploy.local.sandbox.klaviyo.errors import Problem


def envelope_problems(document: Any, type: str, attributes: tuple[str, ...]) -> Iterator[Problem]:
    """Yield everything wrong with a job's type, and with the names of its fields and attributes."""
    data = yield from data_of(document, type)
    if data is None:
        return
    yield from unknown_fields(data, ("type", "attributes", "relationships"), "/data")
    given = yield from attributes_of(data)
    if given is not None:
        yield from unknown_fields(given, attributes, "/data/attributes")


def job_in(document: Any) -> Mapping[str, Any] | None:
    """Return a job's `data` with its attributes, None if the body has no such thing."""
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, dict) and isinstance(data.get("attributes"), dict) else None


def unknown_fields(fields: Mapping[str, Any], allowed: tuple[str, ...], pointer: str) -> Iterator[Problem]:
    """Yield a problem for each field that is not allowed at `pointer`."""
    for name in fields:
        if name not in allowed:
            yield Problem(f"'{name}' is not a valid field.", f"{pointer}/{name}")
