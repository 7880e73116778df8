"""The store and the queue of a worker, counted. What a call is for is not known here."""

from collections import Counter
from collections.abc import Mapping

from shared.documents import Document, Documents, Scalar, Value, Version
from shared.jobs import AnyJob, Direction
from shared.tenants import Tenant

READS, WRITES, QUEUE_CALLS = "store reads", "store writes", "queue calls"


class CountingDocuments:
    """A document store that counts reads and writes."""

    def __init__(self, documents: Documents, counts: Counter[str]) -> None:
        self._documents = documents
        self._counts = counts

    def get(self, collection: str, id: str) -> Document | None:
        """Count a read."""
        self._counts[READS] += 1
        return self._documents.get(collection, id)

    def count(self, collection: str) -> int:
        """Count a read."""
        self._counts[READS] += 1
        return self._documents.count(collection)

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """Count a read."""
        self._counts[READS] += 1
        return self._documents.find(collection, where=where, after=after, limit=limit)

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """Count a write."""
        self._counts[WRITES] += 1
        self._documents.create(collection, id, fields)

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        """Count a write."""
        self._counts[WRITES] += 1
        self._documents.update(collection, id, fields, version=version)

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """Count a write."""
        self._counts[WRITES] += 1
        self._documents.delete(collection, id, version=version)


class CountingQueue:
    """A queue that keeps what it is given in `jobs` and counts every call."""

    def __init__(self, counts: Counter[str]) -> None:
        self.jobs: list[AnyJob] = []
        self._counts = counts

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Keep it."""
        self._counts[QUEUE_CALLS] += 1
        self.jobs.append(job)

    def put_back(self, queue: str, body: bytes, *, tenant: str, direction: Direction, delay: float) -> None:
        """Count it."""
        self._counts[QUEUE_CALLS] += 1

    def pause(self, tenant: Tenant, direction: Direction) -> None:
        """Count it."""
        self._counts[QUEUE_CALLS] += 1

    def resume(self, tenant: Tenant, direction: Direction) -> None:
        """Count it."""
        self._counts[QUEUE_CALLS] += 1
