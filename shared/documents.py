"""What every store is built on: named JSON-like documents in collections.

Two implementations sit the same contract tests: Firestore (`gcp/firestore.py`) in the cloud and SQLite
(`sqlite/documents.py`) on one machine. Typed stores (`tenants.py`, `dead_jobs.py`, ...) are written once, on top
of this protocol. Nothing here knows what a document means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol, TypeAlias

Scalar: TypeAlias = str | int | float | bool | datetime | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Version = NewType("Version", object)


@dataclass(frozen=True)
class Document:
    """A document as it was read. `version` is opaque: hand it back to `update` or `delete`."""

    id: str
    fields: dict[str, Value]
    version: Version


class Documents(Protocol):
    """A document database. Every method raises StoreUnavailableError when it cannot answer.

    `collection` is a path with an odd number of segments: `tenants`, or `tenants/acme/dead_jobs`. Datetimes are aware,
    are kept to the microsecond, and come back in UTC.
    """

    def get(self, collection: str, id: str) -> Document | None:
        """Return the document, None when there is none."""

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """Write a document that must not exist yet. Of any number of callers at once exactly one succeeds.

        Raises:
            DocumentExistsError: it exists.
        """

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        """Replace the named top-level fields and leave the others.

        Raises:
            DocumentMissingError: there is no such document.
            DocumentChangedError: `version` is given and the document has changed since it was read.
        """

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """Remove the document; one that is not there is no error, unless `version` is given.

        Documents in collections below it stay: delete those by name first.

        Raises:
            DocumentChangedError: `version` is given and the document has changed or gone since it was read.
        """

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """Return documents of this collection in the order of their ids, at most `limit`.

        `where` keeps those whose top-level fields equal the given values. `after` is the id of the last document of
        the page before.
        """
