"""The last answer of a service, for the code that reports it: while `listening`, each answer replaces the one before."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """One answer: which service, its status, 0 for none, and the service's own name of the request, "" if it gives none."""

    service: str
    status: int
    request: str = ""

    def __str__(self) -> str:
        """Return it in words, as in "Klaviyo answered 202 (4f3f)"."""
        return f"{self.service} answered {self.status}" + (f" ({self.request})" if self.request else "")


_last: ContextVar[dict[str, Heard] | None] = ContextVar("heard", default=None)


@contextmanager
def listening() -> Iterator[dict[str, Heard]]:
    """Give the last answer of each service within the block. Answers to other threads do not count."""
    heard: dict[str, Heard] = {}
    token = _last.set(heard)
    try:
        yield heard
    finally:
        _last.reset(token)


def note(answer: Heard) -> None:
    """Keep an answer, if anybody listens."""
    heard = _last.get()
    if heard is not None:
        heard[answer.service] = answer
