"""The reports of one call from different sources, and how far apart two of them are: whether they are about the same
thing. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from deploy.local.console.story import Part, Story

LATE = 3.0  # seconds within which a log line is read after the act that it reports
_BLUR = 0.002  # seconds: a line's time has whole milliseconds
_GUESSED = 1e6  # farther than any that is sure


@dataclass(frozen=True)
class Outside:
    """A call that a sandbox has received, as Klaviyo or Omneo."""

    service: str
    method: str
    path: str
    status: int | None
    received_at: float
    answered_at: float | None
    request: str  # the id that Klaviyo gave it, "" if none
    tenant: str  # of an Omneo call
    sent: Part
    answer: Part
    fault: str = ""


@dataclass(frozen=True)
class Fired:
    """That an event in Omneo has fired a target, which was rendered and sent, or was not for its `error`."""

    tenant: str
    trigger: str
    handle: str
    path: str
    body: bytes
    attempt: int
    fired_at: float
    sent_at: float | None
    status: int | None
    error: str


@dataclass
class Received:
    """A call of a function, for the target that was sent as it."""

    path: str
    body: bytes
    began_at: float
    story: Story


@dataclass
class Sent:
    """A target that was sent, and its own story as long as nobody has seen the call that it was."""

    fired: Fired
    story: Story | None = None


@dataclass(frozen=True)
class Line:
    """A log line, and the step that it is."""

    at: float
    fields: Mapping[str, Any]
    story: Story
    step: int


def calls_apart(line: Line, call: Outside) -> float | None:
    """Return how far a line that tells of a call is from a call, None if it is another's."""
    fields = line.fields
    if request := fields.get("request"):
        return 0.0 if call.request == request else None
    began = line.at - float(fields.get("seconds", 0))
    is_its = (
        call.service == fields.get("service")
        and call.method == fields.get("method")
        and (call.status or 0) == (fields.get("status") or 0)
        and (not call.tenant or call.tenant == fields.get("tenant"))
        and began - LATE <= call.received_at <= line.at + _BLUR
        and _template(str(fields.get("path", ""))).fullmatch(call.path)
    )
    return abs(call.received_at - began) if is_its else None


def attempts_apart(line: Line, attempt: Mapping[str, Any]) -> float | None:
    """Return the distance between a line about the result of a job and an attempt in the queue's record, None if they
    are of different jobs.

    If the record still has the task's body, the job's id in it decides, however late the line was read. If not, only
    the time decides.
    """
    direction = str(line.fields.get("function", "")).removesuffix("_worker")
    dispatched, answered = attempt["dispatched_epoch"], attempt["answered_epoch"]
    if (
        attempt["queue"] != f"{line.fields.get('tenant')}-klaviyo-{direction}"
        or dispatched is None
        or float(dispatched) > line.at + _BLUR
    ):
        return None
    ended = float(line.at if answered is None else answered)
    if sent := attempt.get("sent"):
        return abs(ended - line.at) if f'"{line.fields.get("job")}"' in sent["body"] else None
    return _GUESSED + abs(ended - line.at) if ended >= line.at - LATE else None


def exchanges_apart(sent: Sent, received: Received) -> float | None:
    """Return how far a target that was sent is from a call of a function, None if it is another's."""
    if sent.fired.sent_at is None or (sent.fired.path, sent.fired.body) != (received.path, received.body):
        return None
    apart = abs(received.began_at - sent.fired.sent_at)
    return apart if apart < LATE else None


@lru_cache(256)
def _template(path: str) -> re.Pattern[str]:
    """Return a pattern for the paths of a template as logs have it: /api/profiles/{id}, an Omneo one with its tenant in front."""
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
    return re.compile(rf"(?:/[^/]+)?{pattern}/?")


def parts_of(attempt: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the request to a worker and its answer, as far as the queue's record has them."""
    sent, received = attempt.get("sent"), attempt.get("received")
    parts = []
    if sent:
        parts.append(_part("Request", f"{sent['method']} {urlsplit(sent['url']).path}", sent))
    if received:
        parts.append(_part("Answer", str(attempt["status"]), received))
    return tuple(parts)


def _part(title: str, line: str, told: Mapping[str, Any]) -> Part:
    headers = tuple((name, value) for name, value in told["headers"])
    return Part(title, line, headers, told["body"].encode())
