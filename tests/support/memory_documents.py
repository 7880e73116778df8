"""The document store in memory: as exact as the others (one exam holds all three), and as quick as a simulated world needs it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from threading import Lock
from typing import cast

from shared.errors import DocumentChangedError, DocumentExistsError, DocumentMissingError
from shared.storage.documents import (
    MAX_DOCUMENT_BYTES,
    Document,
    Scalar,
    Value,
    Version,
    Write,
    check_fields,
    check_path,
    check_writes,
)


class MemoryDocuments:
    """`shared.documents.Documents` for as long as this object lives."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Document]] = {}
        self._versions = count(1)  # of the whole store, so that none comes twice
        self._writing = Lock()

    def get(self, collection: str, id: str) -> Document | None:
        """See `Documents.get`."""
        check_path(collection, id)
        found = self._collections.get(collection, {}).get(id)
        return None if found is None else _copy_of(found)

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """See `Documents.create`."""
        check_path(collection, id)
        kept = _kept(fields)
        _check_size(kept)
        with self._writing:
            documents = self._collections.setdefault(collection, {})
            if id in documents:
                raise DocumentExistsError("The document exists already.")
            documents[id] = Document(id, kept, self._new_version())

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        """See `Documents.update`."""
        check_path(collection, id)
        kept = _kept(fields)
        if not fields:
            raise ValueError("an update names at least one field")
        with self._writing:
            documents = self._collections.get(collection, {})
            found = documents.get(id)
            if version is not None and (found is None or found.version != version):
                raise DocumentChangedError("The document has changed since it was read.")
            if found is None:
                raise DocumentMissingError("There is no such document.")
            whole = found.fields | kept
            _check_size(whole)
            if (
                not _is_same({name: found.fields.get(name) for name in kept}, kept)
                or kept.keys() - found.fields
            ):
                documents[id] = Document(id, whole, self._new_version())

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """See `Documents.delete`."""
        check_path(collection, id)
        with self._writing:
            documents = self._collections.get(collection, {})
            found = documents.get(id)
            if version is not None and (found is None or found.version != version):
                raise DocumentChangedError("The document has changed or gone since it was read.")
            documents.pop(id, None)

    def write_all(self, writes: Sequence[Write]) -> None:
        """See `Documents.write_all`."""
        check_writes(writes)
        kept = [(write, None if write.fields is None else _kept(write.fields)) for write in writes]
        for _, fields in kept:
            _check_size(fields or {})
        with self._writing:
            for write, fields in kept:
                documents = self._collections.setdefault(write.collection, {})
                if fields is None:
                    documents.pop(write.id, None)
                else:
                    documents[write.id] = Document(write.id, fields, self._new_version())

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """See `Documents.find`."""
        check_path(collection, after if after is not None else "any")
        if limit < 0:
            raise ValueError("limit must not be negative")
        wanted = dict(where or {})
        check_fields(wanted)
        found: list[Document] = []
        with self._writing:
            documents = dict(self._collections.get(collection, {}))  # as it is at one moment
        for id in sorted(documents):
            if len(found) == limit:
                break
            document = documents[id]
            if (after is None or id > after) and _matches(document.fields, wanted):
                found.append(_copy_of(document))
        return found

    def count(self, collection: str, *, where: Mapping[str, Scalar] | None = None) -> int:
        """See `Documents.count`."""
        check_path(collection, "any")
        wanted = dict(where or {})
        check_fields(wanted)
        with self._writing:
            documents = list(self._collections.get(collection, {}).values())
        return sum(_matches(found.fields, wanted) for found in documents)

    def copy(self) -> "MemoryDocuments":
        """Return a store that holds the same, and goes its own way from here."""
        other = MemoryDocuments()
        # Documents are never changed in place, so both may hold the same ones.
        other._collections = {name: dict(documents) for name, documents in self._collections.items()}
        other._versions = count(next(self._versions))
        return other

    def _new_version(self) -> Version:
        return Version(next(self._versions))


_NEVER_CHANGED = frozenset({str, int, float, bool, type(None)})


def _kept(fields: Mapping[str, Value]) -> dict[str, Value]:
    check_fields(fields)
    return cast(dict[str, Value], _copy(dict(fields)))


def _copy_of(document: Document) -> Document:
    return Document(document.id, cast(dict[str, Value], _copy(document.fields)), document.version)


def _copy(value: Value) -> Value:
    if type(value) in _NEVER_CHANGED:  # the types of most values
        return value
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not UTC else value


def _check_size(fields: Mapping[str, Value]) -> None:
    if _bytes(dict(fields)) > MAX_DOCUMENT_BYTES:
        raise ValueError("the document is larger than 1 MiB")


def _bytes(value: Value) -> int:
    """Return about how much it takes as JSON."""
    if isinstance(value, str):
        return _bytes_of_text(value)
    if isinstance(value, dict):
        return 2 + sum([_bytes_of_text(name) + 2 + _bytes(inner) for name, inner in value.items()])
    if isinstance(value, list):
        return 2 + sum([1 + _bytes(inner) for inner in value])
    return 8


def _bytes_of_text(text: str) -> int:
    return 2 + (len(text) if text.isascii() else len(text.encode()))


def _is_same(kept: Value, given: Value) -> bool:
    """Return whether both are one value: 1, 1.0 and True are three."""
    if type(kept) is not type(given):
        return False
    if isinstance(kept, dict) and isinstance(given, dict):
        return kept.keys() == given.keys() and all(_is_same(kept[name], given[name]) for name in kept)
    if isinstance(kept, list) and isinstance(given, list):
        return len(kept) == len(given) and all(map(_is_same, kept, given))
    return kept == given


def _matches(fields: Mapping[str, Value], wanted: Mapping[str, Scalar]) -> bool:
    return all(name in fields and _equal(fields[name], value) for name, value in wanted.items())


def _equal(stored: Value, wanted: Scalar) -> bool:
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return stored is wanted
    return stored == wanted
