"""Klaviyo's data sources: their fields, and the rules for new ones. No HTTP, and no records.

Klaviyo's page "Create Data Source": a title of 1 to 255 characters, unique within its namespace; `visibility` is private
unless said.

Assumed (titles-are-exact): titles are compared exactly.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.klaviyo import documents
from deploy.local.sandbox.klaviyo.documents import Resource, Rule
from deploy.local.sandbox.klaviyo.errors import Problem

TYPE = "data-source"
LONGEST_TITLE = 255


@dataclass(frozen=True)
class DataSource:
    """One data source."""

    id: str
    title: str
    visibility: str = "private"
    description: str = ""
    namespace: str = "custom-objects"

    def to_resource(self, url: str) -> Resource:
        """Return it as the API at `url` shows it."""
        attributes = {name: value for name, value in vars(self).items() if name != "id"}
        links = {"self": f"{url}/api/data-sources/{self.id}/"}
        return {"type": TYPE, "id": self.id, "attributes": attributes, "links": links}

    def clashes(self, others: Iterable["DataSource"]) -> bool:
        """Return whether one of the others has its title already."""
        return any((other.namespace, other.title) == (self.namespace, self.title) for other in others)


_RULES: dict[str, Rule] = {
    "title": (
        lambda value: isinstance(value, str) and 1 <= len(value) <= LONGEST_TITLE,
        f"a string of 1 to {LONGEST_TITLE} characters",
    ),
    "visibility": (lambda value: value in ("private", "shared"), "'private' or 'shared'"),
    "description": (lambda value: isinstance(value, str), "a string"),
    "namespace": (lambda value: isinstance(value, str) and value != "", "a string that is not empty"),
}


def problems(document: Any) -> Iterator[Problem]:
    """Yield everything wrong with the body of Create Data Source."""
    yield from documents.problems(document, TYPE, _RULES, required=["title"])
