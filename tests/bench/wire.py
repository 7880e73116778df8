"""Just enough HTTP/1.1 to call a function and read its answer: requests as bytes, answers by Content-Length. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

_BLANK_LINE = b"\r\n\r\n"


class UnreadableAnswerError(Exception):
    """The answer is not delimited by Content-Length."""


@dataclass(frozen=True)
class Answer:
    """A complete answer at the start of the received bytes: its status, and its length in bytes."""

    status: int
    length: int


def request_bytes(path: str, headers: Mapping[str, str], body: object) -> bytes:
    """Return a POST of `body` on a connection that is kept open, as JSON unless it is bytes, which are JSON already."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + _BLANK_LINE + data


def read_answer(received: bytes) -> Answer | None:
    """Return the answer that `received` begins with, None until it is complete.

    Raises:
        UnreadableAnswerError: its length is not given.

    >>> read_answer(b"HTTP/1.1 202 ACCEPTED\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
    Answer(status=202, length=46)
    """
    head, blank, rest = received.partition(_BLANK_LINE)
    if not blank:
        return None
    status, *fields = head.split(b"\r\n")
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
            return Answer(int(status.split(b" ")[1]), len(head) + 4 + length) if len(rest) >= length else None
    raise UnreadableAnswerError("the answer has no Content-Length")
