"""A request and an answer as values. No sockets here, and no service's rules."""

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

JSON = "application/json"


class UnreadableBodyError(Exception):
    """The body does not match its headers; the message says how."""


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path` is as it came, without the query; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def parameters(self) -> dict[str, str]:
        """The query parameters; of a repeated one the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def media_type(self) -> str:
        """The body's media type in lower case, without its parameters."""
        return self.headers.get("content-type", "").split(";", 1)[0].strip().lower()

    @property
    def segments(self) -> list[str]:
        """The decoded segments of the path; a trailing slash makes no difference."""
        return [unquote(part) for part in self.path.strip("/").split("/")]

    def content(self) -> bytes:
        """Return the body, decompressed.

        Raises:
            UnreadableBodyError: it says gzip and is not.
        """
        if self.headers.get("content-encoding", "").lower() != "gzip":
            return self.body
        try:
            return gzip.decompress(self.body)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableBodyError("The body is not valid gzip.") from error

    def json(self) -> Any:
        """Return the body's JSON value.

        Raises:
            UnreadableBodyError: it is not JSON in UTF-8, or holds NaN or Infinity, which JSON does not know.
        """
        try:
            return json.loads(self.content(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise UnreadableBodyError("The body is not valid JSON.") from error


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. Content-Length is added when it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


def json_answer(status: int, value: object, *, media_type: str = JSON, **headers: str) -> Answer:
    """Return an answer with `value` as its JSON body; `Retry_After="1"` becomes the header `Retry-After: 1`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, {"Content-Type": media_type, **named}, json.dumps(value).encode())


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
