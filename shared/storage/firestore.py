"""The document store on Google Cloud: Firestore.

`shared/storage/documents.py` says what every method means and what may be stored. Nothing here knows what a document means.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.api_core.exceptions import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    GoogleAPIError,
    InternalServerError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceUnavailable,
)
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot, FieldFilter
from google.cloud.firestore_v1.field_path import FieldPath

from shared.errors import (
    ConfigurationError,
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    ExtensionError,
    StoreUnavailableError,
)
from shared.http.deadlines import seconds_left
from shared.storage.documents import (
    Document,
    Scalar,
    Value,
    Version,
    Write,
    check_fields,
    check_path,
    check_writes,
)

T = TypeVar("T")
_Outcomes = Mapping[type[GoogleAPICallError], ExtensionError]

_NOT_APPLIED = (Aborted, ResourceExhausted)
_READ_AGAIN = (*_NOT_APPLIED, InternalServerError, ServiceUnavailable)
# The argument that stops the library from repeating a call by its own policy.
_ONCE = Retry(predicate=lambda _: False)
_LEAST_SECONDS = 0.1
_TAG = "$list"


def firestore_client(project: str, database: str = "(default)") -> Client:
    """Return a client; FIRESTORE_EMULATOR_HOST, which the library reads itself, sends it to the emulator.

    Raises:
        ConfigurationError: there are no Google credentials here.
    """
    try:
        return Client(project=project, database=database)
    except DefaultCredentialsError as error:
        raise ConfigurationError(
            "No Google credentials were found: set GOOGLE_APPLICATION_CREDENTIALS, run "
            "`gcloud auth application-default login`, or name an emulator in FIRESTORE_EMULATOR_HOST."
        ) from error


class FirestoreDocuments:
    """`shared.storage.documents.Documents` in Firestore.

    A call ends within `timeout` seconds and the deadline around it (deadlines.py), repeats included. This class alone repeats calls: a read when Firestore is
    briefly unavailable, a write only when Firestore says that it was not applied (ABORTED, RESOURCE_EXHAUSTED). A
    write with an unknown result is never repeated: a second `create` would take its own first success for somebody else's, and a second
    `delete` could remove what another caller has made since. StoreUnavailableError after a write therefore means "perhaps written".
    """

    def __init__(self, client: Client, *, timeout: float = 5.0) -> None:
        self._client = client
        self._timeout = timeout

    def get(self, collection: str, id: str) -> Document | None:
        """See `Documents.get`."""
        document = self._reference(collection, id)
        snapshot = self._call(lambda seconds: document.get(retry=_ONCE, timeout=seconds), _READ_AGAIN, {})
        return _document(snapshot) if snapshot.exists else None

    def create(self, collection: str, id: str, fields: Mapping[str, Value]) -> None:
        """See `Documents.create`."""
        document = self._reference(collection, id)
        check_fields(fields)
        data = _encode(dict(fields))
        self._call(
            lambda seconds: document.create(data, retry=_ONCE, timeout=seconds),
            _NOT_APPLIED,
            {AlreadyExists: DocumentExistsError("The document exists already.")},
        )

    def update(
        self, collection: str, id: str, fields: Mapping[str, Value], *, version: Version | None = None
    ) -> None:
        """See `Documents.update`."""
        document = self._reference(collection, id)
        check_fields(fields)
        if not fields:
            raise ValueError("an update names at least one field")
        # Keys are read as paths, so a name with a dot would lead into a map unless it is quoted.
        data = {_path(name): _encode(value) for name, value in fields.items()}
        self._call(
            lambda seconds: document.update(
                data, option=self._unless_changed(version), retry=_ONCE, timeout=seconds
            ),
            _NOT_APPLIED,
            _changed()
            if version is not None
            else {NotFound: DocumentMissingError("There is no such document.")},
        )

    def delete(self, collection: str, id: str, *, version: Version | None = None) -> None:
        """See `Documents.delete`."""
        document = self._reference(collection, id)
        self._call(
            lambda seconds: document.delete(
                option=self._unless_changed(version), retry=_ONCE, timeout=seconds
            ),
            _NOT_APPLIED,
            _changed() if version is not None else {},
        )

    def write_all(self, writes: Sequence[Write]) -> None:
        """See `Documents.write_all`."""
        check_writes(writes)

        def commit(seconds: float) -> None:
            batch = self._client.batch()
            for write in writes:
                document = self._reference(write.collection, write.id)
                if write.fields is None:
                    batch.delete(document)
                else:
                    batch.set(document, _encode(dict(write.fields)))
            batch.commit(retry=_ONCE, timeout=seconds)

        if writes:
            self._call(commit, _NOT_APPLIED, {})

    def find(
        self,
        collection: str,
        *,
        where: Mapping[str, Scalar] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """See `Documents.find`. Firestore's automatic indexes serve it, however many fields `where` names."""
        check_path(collection, after if after is not None else "any")
        if limit < 0:
            raise ValueError("limit must not be negative")
        check_fields(where or {})
        query = self._client.collection(collection).order_by("__name__").limit(limit)
        for name, value in (where or {}).items():
            query = query.where(filter=FieldFilter(_path(name), "==", value))
        if after is not None:
            query = query.start_after({"__name__": after})
        found = self._call(lambda seconds: list(query.stream(retry=_ONCE, timeout=seconds)), _READ_AGAIN, {})
        return [_document(snapshot) for snapshot in found]

    def count(self, collection: str, *, where: Mapping[str, Scalar] | None = None) -> int:
        """See `Documents.count`. Firestore bills one read for each thousand counted."""
        check_path(collection, "any")
        check_fields(where or {})
        counted: Any = self._client.collection(collection)
        for name, value in (where or {}).items():
            counted = counted.where(filter=FieldFilter(_path(name), "==", value))
        query = counted.count()
        rows = self._call(lambda seconds: query.get(retry=_ONCE, timeout=seconds), _READ_AGAIN, {})
        return int(rows[0][0].value)

    def _reference(self, collection: str, id: str) -> DocumentReference:
        check_path(collection, id)
        return self._client.collection(collection).document(id)

    def _unless_changed(self, version: Version | None) -> Any:
        return None if version is None else self._client.write_option(last_update_time=version)

    def _call(
        self, call: Callable[[float], T], repeat_on: tuple[type[Exception], ...], outcomes: _Outcomes
    ) -> T:
        """Return the result of `call`, which gets the seconds that are left."""
        timeout = min(self._timeout, seconds_left())
        if timeout < _LEAST_SECONDS:
            raise StoreUnavailableError("No time was left to ask the store.")
        end = time.monotonic() + timeout
        repeat = Retry(
            predicate=if_exception_type(*repeat_on),
            initial=0.1,
            maximum=1.0,
            timeout=timeout - _LEAST_SECONDS,
        )
        try:
            return repeat(lambda: call(max(end - time.monotonic(), _LEAST_SECONDS)))()
        except GoogleAPIError as error:
            raise _meaning(error, outcomes) from error


def _meaning(error: GoogleAPIError, outcomes: _Outcomes) -> Exception:
    for kind, outcome in outcomes.items():
        if isinstance(error, kind):
            return outcome
    if isinstance(error, InvalidArgument):
        return ValueError("Firestore refuses the value or the query; a document holds at most 1 MiB")
    return StoreUnavailableError("Firestore does not answer, or refuses this project's calls.")


def _changed() -> _Outcomes:
    gone_or_changed = DocumentChangedError("The document has changed or gone since it was read.")
    return {FailedPrecondition: gone_or_changed, NotFound: gone_or_changed}


def _document(snapshot: DocumentSnapshot[Any]) -> Document:
    return Document(id=snapshot.id, fields=_decode(snapshot.to_dict()), version=Version(snapshot.update_time))


def _path(name: str) -> str:
    return str(FieldPath(_encode_name(name)).to_api_repr())


def _encode(value: Value) -> Any:
    """Return `value` for Firestore, which takes no list directly in a list: the inner one becomes a map with a tagged key."""
    match value:
        case dict():
            return {_encode_name(name): _encode(inner) for name, inner in value.items()}
        case list():
            encoded = [_encode(inner) for inner in value]
            return [{_TAG: inner} if isinstance(inner, list) else inner for inner in encoded]
        case _:
            return value


def _decode(value: Any) -> Any:
    match value:
        case {"$list": list(inner)}:
            return _decode(inner)
        case dict():
            return {_decode_name(name): _decode(inner) for name, inner in value.items()}
        case list():
            return [_decode(inner) for inner in value]
        case datetime():
            # The library's own subclass with nanoseconds: equal, but it does not copy or print as a datetime does.
            return datetime.combine(value.date(), value.time(), tzinfo=UTC)
        case _:
            return value


def _encode_name(name: str) -> str:
    return f"${name}" if _is_tag(name) else name


def _decode_name(name: str) -> str:
    return name.removeprefix("$") if _is_tag(name) else name


def _is_tag(name: str) -> bool:
    """Whether this is the tag, or a real name kept apart from it by further `$` signs."""
    return name.startswith("$") and name.lstrip("$") == "list"
