"""Log lines in Cloud Logging's format: one JSON object a line, on standard output; a command's on standard error.

Only the fields named here can be logged, so that no body, address or token gets in by accident. An exception is logged only with its type and
the place where it was raised, because its text may quote personal data.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal

# https://cloud.google.com/logging/docs/structured-logging
_TRACE = "logging.googleapis.com/trace"
_SPAN = "logging.googleapis.com/spanId"
_FIELDS = frozenset(
    {
        "function",
        "tenant",
        "job",
        "kind",
        "outcome",
        "status",
        "reason",
        "cause",  # what a job died of, in a word
        "attempts",
        "age",  # seconds since a job was accepted
        "delay",
        "seconds",
        "target",
        "metric",  # its name, or a data source's
        "method",
        "path",  # its template
        "said",  # the message of a refusal
        "service",
        "request",  # the service's own name of our request
        "error",
        "events",  # how many
        "records",  # how many
        "syncs",  # how many
        "left_out",  # how many by reason
        "received",  # how many by their state in the inbox
        "decisions",  # how many by decision
        "removed",  # how many by kind, when a person was erased
        "swept",
        "run",
        "replayed",  # how many
        "unreadable",  # how many
        "tenants",
        "act",  # with a credential
        "by",  # which kind of credential
        "about",  # the name of the object of an act
    }
)
AUDIT = "audit"  # the `kind` of a line about an act with a credential
_IN_CONTEXT = _FIELDS | {"traceparent"}
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

_log = logging.getLogger("extension")
_context: ContextVar[dict[str, Any] | None] = ContextVar("log_context", default=None)


class _Formatter(logging.Formatter):
    def __init__(self, project: str) -> None:
        super().__init__()
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"severity": record.levelname, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if match := _TRACEPARENT.fullmatch(line.pop("traceparent", "")):
            line[_TRACE] = f"projects/{self._project}/traces/{match[1]}"
            line[_SPAN] = match[2]
        # ASCII, because half a surrogate pair cannot be written. Of any other object only the type, because its text may be personal.
        return json.dumps(line, default=lambda value: type(value).__name__)


class _Standard(logging.Handler):
    """Writes to the present standard stream, with one write for each line, so that threads do not mix their lines."""

    def __init__(self, stream: Literal["stdout", "stderr"]) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        stream = getattr(sys, self._stream)
        stream.write(self.format(record) + "\n")
        stream.flush()


def configure(project: str) -> None:
    """Send log lines to standard output; `project` completes the trace field. Safe to call again."""
    _configure(project, "stdout", logging.INFO)


def configure_command(project: str) -> None:
    """Send errors, and the line of each act with a credential, to standard error. The command itself prints everything else."""
    _configure(project, "stderr", logging.INFO, _is_error_or_act)


def _is_error_or_act(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or getattr(record, "fields", {}).get("kind") == AUDIT


def _configure(
    project: str,
    stream: Literal["stdout", "stderr"],
    least: int,
    wanted: Callable[[logging.LogRecord], bool] | None = None,
) -> None:
    handler = _Standard(stream)
    handler.setFormatter(_Formatter(project))
    if wanted:
        handler.addFilter(wanted)
    _log.handlers[:] = [handler]
    _log.setLevel(least)
    _log.propagate = False


@contextmanager
def context(**fields: str) -> Iterator[dict[str, Any]]:
    """Add fields to every line within: `tenant`, `job`, `kind`, `function`, and `traceparent` for the trace."""
    merged = {**(_context.get() or {}), **fields}
    token = _context.set(merged)
    try:
        yield merged
    finally:
        _context.reset(token)


def carried() -> Callable[[], None]:
    """Return a function that gives another thread the present fields, for an executor's `initializer`: threads start without fields."""
    fields = dict(_context.get() or {})

    def carry() -> None:
        _context.set(dict(fields))

    return carry


def note(**fields: Any) -> None:
    """Add fields to the lines that follow within the present context."""
    current = _context.get()
    if current is not None:
        current.update(fields)


def write(severity: int, message: str, **fields: Any) -> None:
    """Write one line. A field that is not allowed in logs is a bug, found by the first test that runs the line."""
    around = _context.get() or {}
    if unknown := (fields.keys() - _FIELDS) | (around.keys() - _IN_CONTEXT):
        raise ValueError(f"not a log field: {', '.join(sorted(unknown))}")
    _log.log(severity, "%s", message, extra={"fields": {**around, **fields}})


def where(error: BaseException) -> str:
    """Return the error's type and its places in the code, without its text."""
    names = [type(error).__name__]
    cause = error.__cause__ or error.__context__
    while cause is not None and len(names) < 5:
        names.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return f"{' from '.join(names)} at {_frames(error.__traceback__)}"


def _frames(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-6:]
    return " < ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
