"""A call of a function and its answer, as a watcher of the gateway sees it. How a call is forwarded stands in caller.py."""

from collections.abc import Callable
from dataclasses import dataclass, field

SHOWN = 64 * 1024  # bytes of a body that a watcher is shown


@dataclass
class Exchange:
    """A call of a function and its answer, for a watcher. Times are Unix seconds; of a body the first `SHOWN` bytes.

    `status` is 0 when the caller was given no answer.
    """

    began_at: float
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    status: int = 0
    answer_headers: list[tuple[str, str]] = field(default_factory=list)
    answer_body: bytearray = field(default_factory=bytearray)
    answered_at: float = 0.0


Watch = Callable[[Exchange], None]
