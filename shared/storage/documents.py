"""The base of every store: named JSON-like documents in collections.

Two implementations pass the same contract tests: Firestore (`firestore.py`) in the cloud and SQLite (`sqlite.py`) on one machine. Typed
stores (`tenants.py`, `dead_jobs.py`, ...) are written once, on top of this protocol. Nothing here knows what a document means.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol, TypeAlias

Scalar: TypeAlias = str | int | float | bool | datetime | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Version = NewType("Version", object)

# Firestore's limits (its "Usage and limits" page), held by every implementation so that none accepts what another refuses.
MAX_DOCUMENT_BYTES = 1_048_576
MOST_WRITES = 500
_MAX_NAME_BYTES = 1500
_MAX_DEPTH = 20
_ALWAYS_STORABLE = frozenset({str, bool, type(None)})  # what most values are, and every write looks at all


@dataclass(frozen=True)
class Document:
    """A document as it was read. `version` is opaque: hand it back to `update` or `delete`."""

    id: str
    fields: dict[str, Value]
    version: Version


@dataclass(frozen=True)
class Write:
    """One write of several: the document as it is to be, whatever was there before; without `fields` it is to be gone."""

    collection: str
    id: str
    fields: Mapping[str, Value] | None = None


class Documents(Protocol):
    """A document database. Every method raises StoreUnavailableError when it cannot answer.

    `collection` is a path with an odd number of segments: `tenants`, or `tenants/acme/dead_jobs`. Datetimes are aware, are kept to the
    microsecond, and come back in UTC. A document whose field `expire_at` has passed is removed some time later: within a day in Firestore
    (`deploy/gcp/firestore.yaml` names the collections), within an hour or so in SQLite. A reader checks the time itself. A path or
    a value that cannot be stored (see `check_path` and `check_fields`; over 1 MiB) is a ValueError or TypeError: a bug of ours, which no
    waiting mends.
    """

    def get(self, collection: str, id: str) -> Document | None:
        """Return the document, None when there is none."""

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """Write a document that must not exist yet. Exactly one of many callers at once succeeds.

        Raises:
            DocumentExistsError: it exists.
        """

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        """Replace the named top-level fields and leave the others.

        At least one field is named. An update that changes nothing leaves the version as it is.

        Raises:
            DocumentMissingError: `version` is not given and there is no such document.
            DocumentChangedError: `version` is given and the document has changed or gone since it was read.
        """

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """Remove the document; one that is not there is no error, unless `version` is given.

        Documents in collections below it stay: delete those by name first.

        Raises:
            DocumentChangedError: `version` is given and the document has changed or gone since it was read.
        """

    def write_all(self, writes: Sequence[Write]) -> None:
        """Make all of these writes or none, in one call: at most 500, of as many documents, and at most a few MB together.

        Nobody sees some of them without the others. Repeating it is harmless.
        """

    def count(self, collection: str, *, where: Mapping[str, Scalar] | None = None) -> int:
        """Return how many documents this collection holds; with `where`, how many of them `find` would find."""

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """Return documents of this collection in the order of their ids, at most `limit`.

        `where` keeps those whose top-level fields equal the given values: None only where the field holds None, not where it is missing; 1
        equals 1.0 but not True. `after` is the id of the last document of the page before.
        """


def each_document(
    documents: Documents,
    collection: str,
    *,
    where: Mapping[str, Scalar] | None = None,
    after: str | None = None,
    at_once: int = 100,
) -> Iterator[Document]:
    """Yield every document that `find` would find, in the order of their ids; one call of `find` brings at most `at_once`."""
    while page := documents.find(collection, where=where, after=after, limit=at_once):
        yield from page
        after = page[-1].id


def delete_all(documents: Documents, collection: str, *, at_once: int = 100) -> None:
    """Remove every document of a collection; one call of `find` brings at most `at_once`."""
    while page := documents.find(collection, limit=at_once):
        for document in page:
            documents.delete(collection, document.id)


def check_path(collection: str, id: str) -> None:
    """Raise ValueError unless the two name one document of that very collection.

    This also keeps tenants apart: an id with a slash in it would name a document of another collection.
    """
    segments = collection.split("/")
    if len(segments) % 2 == 0:
        raise ValueError("a collection path has an odd number of segments")
    if not all(map(_is_name, segments)):
        raise ValueError("a segment of the collection path cannot be used as a name")
    if "/" in id or not _is_name(id):
        raise ValueError("the document id cannot be used as a name")


def check_writes(writes: Sequence[Write]) -> None:
    """Raise ValueError, or TypeError, unless these writes can be made in one call."""
    if len(writes) > MOST_WRITES:
        raise ValueError(f"at most {MOST_WRITES} writes are made in one call")
    if len({(write.collection, write.id) for write in writes}) < len(writes):
        raise ValueError("a document is written once in one call")
    for write in writes:
        check_path(write.collection, write.id)
        check_fields(write.fields or {})


def check_fields(fields: Mapping[str, Value]) -> None:
    """Raise ValueError, or TypeError, unless every value can be stored and read back as it is.

    Numbers are finite and integers fit 64 bits, datetimes are aware, names of fields are neither empty nor of the reserved form `__x__`,
    those of the document itself are printable, and maps and lists are nested at most 20 deep, the document itself counted (a list directly
    in a list counts twice).
    """
    _check(dict(fields), depth=1)
    # Firestore's path of a field does not carry a carriage return: the update would be dropped without an error.
    if not all(map(str.isprintable, fields)):
        raise ValueError("the name of a field of the document itself must be printable")


def _is_name(segment: str) -> bool:
    return (
        segment not in ("", ".", "..") and _bytes_of(segment) <= _MAX_NAME_BYTES and not _is_reserved(segment)
    )


def _bytes_of(name: str) -> int:
    return len(name) if name.isascii() else len(name.encode())


def _is_reserved(name: str) -> bool:
    """Return whether a name is of the form `__x__`, which Firestore keeps for itself; `____` is, too."""
    return name.startswith("__") and name.endswith("__") and len(name) >= len("____")


def _check(value: Value, depth: int) -> None:
    match value:
        case dict() | list() if depth > _MAX_DEPTH:
            raise ValueError(f"values are nested more than {_MAX_DEPTH} deep")
        case dict():
            _check_names(value)
            for inner in value.values():
                if type(inner) not in _ALWAYS_STORABLE:
                    _check(inner, depth + 1)
        case list():
            for inner in value:
                if type(inner) not in _ALWAYS_STORABLE:
                    _check(inner, depth + (2 if isinstance(inner, list) else 1))
        case _:
            _check_scalar(value)


def _check_scalar(value: Scalar) -> None:
    match value:
        case datetime() if value.utcoffset() is None:
            raise ValueError("a datetime must be aware: give it a time zone")
        case float() if not math.isfinite(value):
            raise ValueError("a number must be finite")
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError("an integer must fit 64 bits")
        case None | str() | bool() | int() | float() | datetime():
            pass
        case _:
            raise TypeError(f"a value of type {type(value).__name__} cannot be stored")


def _check_names(fields: "dict[str, Value]") -> None:
    for name in fields:
        if not isinstance(name, str):
            raise TypeError("the name of a field must be a string")
        if not name or _bytes_of(name) > _MAX_NAME_BYTES or _is_reserved(name):
            raise ValueError("the name of a field is empty, too long or of the reserved form __x__")
