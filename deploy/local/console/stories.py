"""Each call as one story: what the gateway, the functions' logs, the queue and both sandboxes have seen of it, joined. Pure: no clock.

What joins them, from the surest on: the trace that the gateway gives a call and that every job carries on; the id of a job; the id
that Klaviyo gives a request; and, where none is there (Omneo has no such id, the queue knows no job), the time within which
something has happened, beside the method and the path. A step says where only the time joined it.
"""

import json
import re
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from deploy.local.console.story import Filter, Job, Part, Step, Story
from deploy.local.console.titles import about, of_job

STORIES = 600
_KEYS = 20_000  # a forgotten call's key is kept: what is told of it late begins no story without a beginning
STEPS = 80
LATE = 3.0  # seconds within which a log line is read after what it tells of
_BLUR = 0.002  # seconds: a line's time has whole milliseconds

# A job that only hands on to another: the story goes on until one of that kind has run for the tenant.
_SPREAD = "spread-events"
_FOLLOWED_BY = {_SPREAD: "flush-inbox", "send-records": "pack-records"}
_KIND_OF_FUNCTION = {
    "omneo_webhooks": "profile", "system_webhooks": "consent", "rewards_webhook": "reward", "install": "install",
    "admin": "admin",
}  # fmt: skip
_KIND_OF_TARGET = {"metric": "event", "upsert-profile-data": "profile", "record": "records"}
_KIND_OF_JOB = {
    "send-metric": "event", "sync-profile": "profile", "delete-profile": "profile", "send-records": "records",
    "pack-records": "records", "spread-events": "consent", "flush-inbox": "consent", "provision": "install",
    "compare-consent": "consent", "pull-opt-out": "consent",
}  # fmt: skip
_TRACE = "logging.googleapis.com/trace"
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_PERSON = frozenset(
    {"profile_id", "person_id", "external_id", "phone_number", "mobile_phone", "phone", "email", "klaviyo_id"}
)
_PERSON_IN_PATH = re.compile(r"/profiles/([0-9A-Za-z-]{8,64})")


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


class Book:
    """The newest stories. What is told of a call may come in any order, and what is more than fits is forgotten, the oldest first."""

    def __init__(self) -> None:
        self.changes = 0
        self.total = 0
        self._numbers = count(1)
        self._steps = count(1)
        self._stories: OrderedDict[int, Story] = OrderedDict()
        self._by_key: OrderedDict[str, Story] = OrderedDict()
        self._calls: deque[Outside] = deque(maxlen=2_000)
        self._attempts: OrderedDict[int, Mapping[str, Any]] = OrderedDict()
        self._attempts_taken: OrderedDict[int, tuple[Story, int]] = OrderedDict()  # and the worker's step
        self._left_out: deque[str] = deque(maxlen=200)
        self._exchanges: deque[tuple[str, bytes, float, Story]] = deque(maxlen=1_000)

    def newest(self, wanted: Filter, most: int, *, since: int = -1) -> list[Story]:
        """Return the newest stories that are wanted and have changed after `since`, the newest first."""
        found = sorted(filter(wanted.takes, self._stories.values()), key=lambda story: story.began_at)
        return [story for story in reversed(found[-most:]) if story.changed > since]

    def unwanted(self, wanted: Filter, *, since: int) -> list[int]:
        """Return the numbers of the stories that have changed after `since` and are not wanted, or not any more."""
        stories = self._stories.values()
        return [story.number for story in stories if story.changed > since and not wanted.takes(story)]

    def story(self, number: int) -> Story | None:
        """Return a story by its number."""
        return self._stories.get(number)

    def tenants(self) -> list[str]:
        """Return the tenants of the stories."""
        return sorted({story.tenant for story in self._stories.values()} - {""})

    def exchange(
        self,
        *,
        method: str,
        target: str,
        trace: str,
        status: int,
        began_at: float,
        answered_at: float,
        sent: Part,
        answer: Part,
    ) -> None:
        """Take in a call of a function by way of the gateway. `sent` and `answer` are what was sent and answered."""
        path = target.partition("?")[0]
        tenant, kind, title = about(method, path, sent.body)
        story = self._story(f"trace:{trace}" if trace else "", began_at)
        story.began_at = min(story.began_at, began_at)
        story.tenant = story.tenant or tenant
        story.kind = kind
        story.answered = status
        self._name(story, title, 2)
        said = _json_of(answer.body)
        told = said.get("status") if isinstance(said, dict) and kind != "admin" else None
        if told == "queued":
            self._queued(story, said)
        story.is_dry_run = told == "dry_run"
        if status >= 400:
            story.reason = _message(said)
        _see_people(story, target, sent.body)
        story.steps = [step for step in story.steps if not step.stands_in]
        # An answer that broke off has the status 0.
        mood = "good" if 200 <= status < 400 else "bad"
        words = f"{method} {path} → {status or 'no answer'}"
        self._add(story, Step(began_at, "Extension", words, answered_at - began_at, mood, (sent, answer)))
        self._exchanges.append((path, sent.body, began_at, story))

    def _queued(self, story: Story, said: Mapping[str, Any]) -> None:
        """Note what a call was promised: a job by its id, or, for consent events, one that has no id in the answer."""
        if isinstance(id := said.get("id"), str):
            self._job(story, id, "", "queued", known=False)
        elif said.get("events") and not any(job.kind == _SPREAD for job in story.jobs.values()):
            story.awaits.add(_SPREAD)

    def delivery(
        self,
        *,
        tenant: str,
        trigger: str,
        handle: str,
        path: str,
        body: bytes,
        attempt: int,
        fired_at: float,
        sent_at: float | None,
        status: int | None,
        error: str,
    ) -> None:
        """Take in that an event in Omneo has fired a target, which was rendered and sent, or was not for its `error`."""
        story = self._of_exchange(path, body, sent_at) if sent_at else None
        if story is None:
            story = self._story("", fired_at)
            story.kind, story.answered, story.reason = "event", status or 0, error
        story.tenant = tenant
        story.began_at = min(story.began_at, fired_at)
        self._name(story, f"{trigger} in Omneo", 3)
        _see_people(story, "", body)
        again = f", attempt {attempt}" if attempt > 1 else ""
        what = "renders and sends" if sent_at else "cannot render"
        shown = Part("Rendered target", handle, (("Content-Type", "application/json"),), body)
        words = f"The reaction to {trigger} {what} the target {handle}{again}{': ' + error if error else ''}"
        self._add(
            story, Step(fired_at, "Omneo", words, None, "bad" if error else "", (shown,) if body else ())
        )

    def call(self, call: Outside) -> None:
        """Take in a call that a sandbox has received; a log line tells whose it is."""
        self._calls.append(call)

    def attempt(self, attempt: Mapping[str, Any]) -> None:
        """Take in that the queue has given a task to a worker, as its record tells, again once it is answered; a log line tells which
        job's it was.
        """
        if taken := self._attempts_taken.get(attempt["id"]):
            self._show_parts(*taken, _parts_of(attempt))
        else:
            self._attempts[attempt["id"]] = attempt
        for held in (self._attempts, self._attempts_taken):
            while len(held) > 2_000:
                held.popitem(last=False)

    def _show_parts(self, story: Story, number: int, parts: tuple[Part, ...]) -> None:
        """Let a step have what was sent and answered in it, where it was told before the answer had come."""
        for place, step in enumerate(story.steps):
            if step.number == number and len(step.parts) < len(parts):
                story.steps[place] = replace(step, parts=parts)
                self._touch(story)

    def leave_out(self, trace: str) -> None:
        """Make no story of this trace, and show none that a line has begun already."""
        self._left_out.append(trace)
        if begun := self._by_key.get(f"trace:{trace}"):
            begun.hidden = True
            self.total -= 1
            self._touch(begun)

    def line(self, at: float, fields: Mapping[str, Any]) -> None:
        """Take in a line that a function has logged."""
        if self._trace_of(fields) in self._left_out:
            return
        match fields.get("message"):
            case "call answered":
                self._answered(at, fields)
            case "outside call":
                self._outside(at, fields)
            case _ if "outcome" in fields and "job" in fields and not _is_round(fields):
                self._outcome(at, fields)
            case _:
                pass

    def _answered(self, at: float, fields: Mapping[str, Any]) -> None:
        story = self._of_line(at - float(fields.get("seconds", 0)), fields)
        function, target = str(fields.get("function", "")), str(fields.get("target", ""))
        kind = _KIND_OF_FUNCTION.get(function) or _KIND_OF_TARGET.get(target) or story.kind
        story.kind = story.kind or kind
        if (
            story.answered is None
        ):  # the gateway's exchange is not known, or not yet: an earlier start's, or one that ends now
            story.answered = int(fields.get("status", 0))
            words = f"{fields.get('method')} {fields.get('path')} → {story.answered}"
            seconds = float(fields.get("seconds", 0))
            mood = "good" if story.answered < 400 else "bad"
            self._add(story, Step(at - seconds, "Extension", words, seconds, mood, stands_in=True))
            self._name(story, words, 1)
        if metric := fields.get("metric"):
            story.about = str(metric)
        if said := fields.get("said"):
            story.reason = str(said)
        if job := fields.get("job"):
            self._job(story, str(job), str(fields.get("kind", "")), "queued", known=False)

    def _outside(self, at: float, fields: Mapping[str, Any]) -> None:
        service, status = str(fields.get("service")), int(fields.get("status", 0))
        seconds = float(fields.get("seconds", 0))
        story = self._of_line(at - seconds, fields)
        call, guessed = self._call_of(at, fields)
        path = call.path if call else fields.get("path")
        words = f"{fields.get('method')} {path} → {status or 'no answer'}"
        if call and call.fault:
            words += f" (a fault that was ordered: {call.fault})"
        mood = "good" if 200 <= status < 400 else "warn" if status in (404, 409, 429) else "bad"
        parts = (call.sent, call.answer) if call else ()
        if call:
            _see_people(story, call.path, call.sent.body)
        began = call.received_at if call and not guessed else at - seconds
        self._add(story, Step(began, service, words, seconds, mood, parts, guessed=guessed))

    def _outcome(self, at: float, fields: Mapping[str, Any]) -> None:
        outcome, kind, id = (str(fields.get(name, "")) for name in ("outcome", "kind", "job"))
        story = self._of_line(at - float(fields.get("age", 0) or 0), fields)
        story.kind = story.kind or _KIND_OF_JOB.get(kind, "schedule")
        self._name(story, of_job(kind), 0)
        state = {"waiting": "waiting", "dead": "dead"}.get(outcome, "delivered")
        self._job(story, id, kind, state, known=True)
        story.awaits.discard(kind)
        if state != "delivered":
            story.reason = str(fields.get("reason", ""))
        elif story.state == "delivered":
            story.reason = ""
        self._hand_on(story, kind, state, fields)
        attempt = self._attempt_of(at, fields)
        mood = {"waiting": "warn", "dead": "bad"}.get(state, "good")
        words = f"{fields.get('function')}: {kind} {_ended(fields)}"
        if attempt is None:
            self._add(story, Step(at, "Worker", words, None, mood))
            return
        self._queue_step(story, attempt)
        took = at - float(attempt["dispatched_epoch"])
        number = self._add(story, Step(at, "Worker", words, took, mood, _parts_of(attempt)))
        self._attempts_taken[attempt["id"]] = story, number

    def _queue_step(self, story: Story, attempt: Mapping[str, Any]) -> None:
        created, dispatched = float(attempt["created_epoch"]), float(attempt["dispatched_epoch"])
        again = f", delivery {attempt['attempt']}" if attempt["attempt"] != 1 else ""
        words = f"The job stands in {attempt['queue']}{again}"
        self._add(story, Step(created, "Queue", words, dispatched - created, "", guessed=True))

    def _hand_on(self, story: Story, kind: str, state: str, fields: Mapping[str, Any]) -> None:
        if state != "delivered":
            return
        if kind in _FOLLOWED_BY and not ("received" in fields and not fields["received"].get("added")):
            story.awaits.add(_FOLLOWED_BY[kind])
        if kind in _FOLLOWED_BY.values():
            for other in self._stories.values():
                if kind in other.awaits and other.tenant == story.tenant:
                    other.awaits.discard(kind)
                    self._touch(other)

    def _call_of(self, at: float, fields: Mapping[str, Any]) -> tuple[Outside | None, bool]:
        """Return the call that a line tells of, and whether only time and path say so; each call is taken once."""
        if request := fields.get("request"):
            for call in reversed(self._calls):
                if call.request == request:
                    self._calls.remove(call)
                    return call, False
        began = at - float(fields.get("seconds", 0))
        matches = _template(str(fields.get("path", "")))
        near = [
            call
            for call in self._calls
            if call.service == fields.get("service")
            and call.method == fields.get("method")
            and (call.status or 0) == (fields.get("status") or 0)
            and (not call.tenant or call.tenant == fields.get("tenant"))
            and began - LATE <= call.received_at <= at + _BLUR
            and matches.fullmatch(call.path)
        ]
        if not near:
            return None, False
        call = min(near, key=lambda call: abs(call.received_at - began))
        self._calls.remove(call)
        return call, True

    def _attempt_of(self, at: float, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        direction = str(fields.get("function", "")).removesuffix("_worker")
        queue = f"{fields.get('tenant')}-klaviyo-{direction}"
        near = [
            row
            for row in self._attempts.values()
            if row["queue"] == queue
            and float(row["dispatched_epoch"] or at + 1) <= at + _BLUR
            and (row["answered_epoch"] is None or float(row["answered_epoch"]) >= at - LATE)
        ]
        if not near:
            return None
        # The task's body holds the job's id; where it is forgotten, the time alone tells.
        its = [row for row in near if f'"{fields.get("job")}"' in (row.get("sent") or {}).get("body", "")]
        found = min(its or near, key=lambda row: abs(float(row["answered_epoch"] or at) - at))
        return self._attempts.pop(found["id"])

    def _of_exchange(self, path: str, body: bytes, sent_at: float | None) -> Story | None:
        for other_path, other_body, began_at, story in reversed(self._exchanges):
            near = sent_at is not None and abs(began_at - sent_at) < LATE
            if near and path == other_path and body == other_body and story.number in self._stories:
                return story
        return None

    @staticmethod
    def _trace_of(fields: Mapping[str, Any]) -> str:
        return str(fields.get(_TRACE, "")).rpartition("/")[2]

    def _of_line(self, began_at: float, fields: Mapping[str, Any]) -> Story:
        trace = self._trace_of(fields)
        job = str(fields.get("job", ""))
        # A job's id may be made of what it is about, and then another call has had it too; a trace is one call's.
        key = f"trace:{trace}" if trace else f"job:{job}" if job else ""
        story = self._story(key, began_at)
        story.tenant = story.tenant or str(fields.get("tenant", ""))
        return story

    def _story(self, key: str, began_at: float) -> Story:
        found = self._by_key.get(key)
        if found is None:
            found = Story(next(self._numbers), began_at)
            self.total += 1
            self._stories[found.number] = found
            while len(self._stories) > STORIES:
                _, forgotten = self._stories.popitem(last=False)
                forgotten.steps.clear()
                forgotten.people.clear()
        if key:
            self._by_key[key] = found
        while len(self._by_key) > _KEYS:
            self._by_key.popitem(last=False)
        self._touch(found)
        return found

    def _touch(self, story: Story) -> None:
        self.changes += 1
        story.changed = self.changes

    def _name(self, story: Story, title: str, rank: float) -> None:
        if rank > story.rank or not story.title:
            story.title, story.rank = title, rank

    def _job(self, story: Story, id: str, kind: str, state: str, *, known: bool) -> None:
        """Note where a job is. What `known` says takes the place of what was said when it was queued, never the other way."""
        if known or id not in story.jobs:
            story.jobs[id] = Job(kind, state)

    def _add(self, story: Story, step: Step) -> int:
        """Add a step, unless there are too many or the story is forgotten, and return its number."""
        number = next(self._steps)
        if story.number in self._stories and len(story.steps) < STEPS:
            story.steps.append(replace(step, number=number))
        self._touch(story)
        return number


def _parts_of(attempt: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return what a worker was sent and what it has answered, as far as the queue's record tells."""
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


def _is_round(fields: Mapping[str, Any]) -> bool:
    """Return whether it is a round of the schedule that went well, of which there is one a minute."""
    return str(fields.get("kind")).startswith("sweep-") and fields.get("outcome") == "done"


def _ended(fields: Mapping[str, Any]) -> str:
    match fields.get("outcome"):
        case "waiting":
            return f"waits: {fields.get('reason', '')}; tried again in {_span(float(fields.get('delay', 0)))}"
        case "dead":
            return f"is dead: {fields.get('reason', '')}"
        case "done":
            told = "done" if fields.get("message") == "job done" else str(fields.get("message"))
            return f"is {told}" if told == "done" else told
        case other:
            return str(fields.get("message", other))


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _template(path: str) -> re.Pattern[str]:
    """Return what matches the paths of a template as logs have it: /api/profiles/{id}, an Omneo one with its tenant in front."""
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
    return re.compile(rf"(?:/[^/]+)?{pattern}/?")


def _message(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def _json_of(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


def _see_people(story: Story, target: str, body: bytes) -> None:
    if len(story.people) > 200:
        return
    for person in (
        *_PERSON_IN_PATH.findall(target),
        *_EMAIL.findall(body[:20_000].decode("utf-8", errors="replace")),
        *_people_in(_json_of(body)),
    ):
        story.people[person.lower()] = None


def _people_in(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > 8:
        return
    if isinstance(value, list):
        for item in value[:100]:
            yield from _people_in(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _PERSON and isinstance(item, str | int) and item:
                yield str(item)
            elif name == "profile" and isinstance(item, dict) and isinstance(item.get("id"), str):
                yield item["id"]
                yield from _people_in(item, depth + 1)
            else:
                yield from _people_in(item, depth + 1)
