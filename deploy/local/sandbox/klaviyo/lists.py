"""Klaviyo's lists: their fields and their form in the API. Each profile keeps the lists that it is on. No HTTP here.

Klaviyo's pages "Get Lists", "Get List" and "Create List".

Assumed (lists-stay-as-made): `updated` stays the time of the making; a list that a test makes is single opt-in unless said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.klaviyo import documents
from deploy.local.sandbox.klaviyo.documents import Resource, Rule, iso
from deploy.local.sandbox.klaviyo.errors import Problem

TYPE = "list"
SINGLE, DOUBLE = "single_opt_in", "double_opt_in"
_RULES: dict[str, Rule] = {
    "name": (lambda value: isinstance(value, str) and value != "", "a string that is not empty"),
    "opt_in_process": (lambda value: value in (SINGLE, DOUBLE), f"'{SINGLE}' or '{DOUBLE}'"),
}


def problems(document: Any) -> Iterator[Problem]:
    """Yield everything wrong with the body of Create List."""
    yield from documents.problems(document, TYPE, _RULES, required=["name"])


@dataclass(frozen=True)
class MarketingList:
    """One list. `created_at` is Unix seconds."""

    id: str
    name: str
    opt_in_process: str
    created_at: float

    def to_resource(self, url: str) -> Resource:
        """Return it as the API at `url` shows it."""
        path = f"{url}/api/lists/{self.id}"
        related = ("profiles", "tags", "flow-triggers")
        return {
            "type": TYPE,
            "id": self.id,
            "attributes": {
                "name": self.name,
                "created": iso(self.created_at),
                "updated": iso(self.created_at),
                "opt_in_process": self.opt_in_process,
            },
            "relationships": {
                name: {"links": {"self": f"{path}/relationships/{name}/", "related": f"{path}/{name}/"}}
                for name in related
            },
            "links": {"self": f"{path}/"},
        }
