"""A document store that passes everything on, with a place to stand in the way: before and after every operation."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from shared.storage.documents import Document, Documents, Scalar, Value, Version, Write

T = TypeVar("T")

READS = frozenset({"get", "find", "count"})


class Through:
    """`documents`, with `passing` around every operation. The operations' names are those of the protocol."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        """Do the operation. Override this to count it, to refuse it, or to let something happen first."""
        return call()

    def get(self, collection: str, id: str) -> Document | None:
        return self.passing("get", lambda: self.documents.get(collection, id))

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        self.passing("create", lambda: self.documents.create(collection, id, fields))

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        self.passing("update", lambda: self.documents.update(collection, id, fields, version=version))

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        self.passing("delete", lambda: self.documents.delete(collection, id, version=version))

    def write_all(self, writes: Sequence[Write]) -> None:
        self.passing("write_all", lambda: self.documents.write_all(writes))

    def count(self, collection: str, *, where: Mapping[str, Scalar] | None = None) -> int:
        return self.passing("count", lambda: self.documents.count(collection, where=where))

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        return self.passing(
            "find", lambda: self.documents.find(collection, where=where, after=after, limit=limit)
        )
