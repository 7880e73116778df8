"""A document as one text: JSON that keeps times and every name of a field, and that can be searched as text. Nothing here knows of a database."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.storage.documents import MAX_DOCUMENT_BYTES, Scalar, Value

TAG = "$datetime"


def to_text(fields: Mapping[str, Value]) -> str:
    """Return the text of a document with these fields.

    Raises:
        ValueError: the document is larger than 1 MiB.
    """
    return _text(_encode(dict(fields)))


def from_text(text: str) -> dict[str, Value]:
    """Return the fields of the document whose text this is."""
    fields: dict[str, Value] = _decode(json.loads(text))
    return fields


def with_fields(text: str, fields: Mapping[str, Value]) -> str:
    """Return the text of the same document with these top-level fields replaced. Raises as `to_text`."""
    return _text(json.loads(text) | _encode(dict(fields)))


def _text(encoded: object) -> str:
    text = json.dumps(encoded, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise ValueError("the document is larger than 1 MiB")
    return text


def _encode(value: Value) -> Any:
    """Return `value` for JSON: a datetime becomes a map with one tagged key, and a real key that begins with `$` gets a second one."""
    match value:
        case datetime():
            return {TAG: time_text(value)}
        case dict():
            return {_encode_name(name): _encode(inner) for name, inner in value.items()}
        case list():
            return [_encode(inner) for inner in value]
        case _:
            return value


def time_text(value: datetime) -> str:
    """Return a time as it is stored: text that sorts as times do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _decode(encoded: Any) -> Any:
    match encoded:
        case {"$datetime": str(text)}:
            return datetime.fromisoformat(text)
        case dict():
            return {_decode_name(name): _decode(inner) for name, inner in encoded.items()}
        case list():
            return [_decode(inner) for inner in encoded]
        case _:
            return encoded


def _encode_name(name: str) -> str:
    return f"${name}" if name.startswith("$") else name


def _decode_name(name: str) -> str:
    return name.removeprefix("$")


def matches(fields: Mapping[str, Value], wanted: Mapping[str, Scalar]) -> bool:
    """Return whether a document has each wanted field with an equal value."""
    return all(name in fields and _equal(fields[name], value) for name, value in wanted.items())


def _equal(stored: Value, wanted: Scalar) -> bool:
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return stored is wanted
    return stored == wanted


def trace_of(wanted: Mapping[str, Scalar]) -> str:
    """Return a part of text that every matching document contains, so that a search in the text passes over most other documents.

    A number has no such part, because 1 equals 1.0.
    """
    traces = [
        _text({_encode_name(name): _encode(value)})[1:-1]
        for name, value in wanted.items()
        if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    return max(traces, key=len, default="")
