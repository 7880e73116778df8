"""Each call as one story: it joins the reports of the gateway, the functions' logs, the queue and both sandboxes. Pure:
no clock.

What joins them, from the surest on: the trace that the gateway gives a call and that every job carries on; the id of a job; the id
that Klaviyo gives a request; and, where none is there (Omneo has no such id, the queue knows no job), the time within which
something has happened, beside the method and the path. A step says where only the time joined it.
"""

import json
import re
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from math import inf
from typing import Any
from urllib.parse import urlsplit

from deploy.local.console.counterparts import Counterparts
from deploy.local.console.story import Filter, Job, Part, Step, Story
from deploy.local.console.titles import about, of_job

STORIES = 600
_KEYS = 20_000  # the key of a forgotten call is kept, so that a late report of it starts no story without a beginning
STEPS = 80
LATE = 3.0  # seconds within which a log line is read after the act that it reports
_BLUR = 0.002  # seconds: a line's time has whole milliseconds
_GUESSED = 1e6  # farther than any that is sure

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
class _Received:
    """A call of a function, for the target that was sent as it."""

    path: str
    body: bytes
    began_at: float
    story: Story


@dataclass
class _Sent:
    """A target that was sent, and its own story as long as nobody has seen the call that it was."""

    fired: Fired
    story: Story | None = None


@dataclass(frozen=True)
class _Line:
    """A log line, and the step that it is."""

    at: float
    fields: Mapping[str, Any]
    story: Story
    step: int


class Book:
    """The newest stories.

    The reports of a call may come in any order. If there are too many stories, the oldest are forgotten.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.total = 0
        self._numbers = count(1)
        self._steps = count(1)
        self._stories: OrderedDict[int, Story] = OrderedDict()
        self._by_key: OrderedDict[str, Story] = OrderedDict()
        self._calls: Counterparts[_Line, Outside] = Counterparts(_calls_apart, most=2_000)
        self._attempts: Counterparts[_Line, Mapping[str, Any]] = Counterparts(_attempts_apart, most=2_000)
        self._attempts_taken: OrderedDict[int, _Line] = OrderedDict()
        self._left_out: deque[str] = deque(maxlen=200)
        self._exchanges: Counterparts[_Sent, _Received] = Counterparts(_exchanges_apart, most=1_000)
        self._ended: dict[
            tuple[str, str], float
        ] = {}  # when one of this kind that another hands on to was done last, by tenant

    def newest(self, wanted: Filter, most: int, *, since: int = -1) -> list[Story]:
        """Return the newest stories that are wanted and have changed after `since`, the newest first."""
        found = sorted(filter(wanted.takes, self._stories.values()), key=lambda story: story.began_at)
        return [story for story in reversed(found[-most:]) if story.changed > since]

    def unwanted(self, wanted: Filter, *, since: int) -> list[int]:
        """Return the numbers of the stories that have changed after `since` and that the filter does not want."""
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
        """Take in a call of a function through the gateway. `sent` is the request, `answer` its answer."""
        path = target.partition("?")[0]
        tenant, kind, title = about(method, path, sent.body)
        story = self._story(f"trace:{trace}" if trace else "", began_at)
        story.begin(began_at, seen=True)
        story.tenant = story.tenant or tenant
        story.sort.learn(kind, 3, began_at)
        story.answered = status
        story.named.learn(title, 2, began_at)
        said = _json_of(answer.body)
        told = said.get("status") if isinstance(said, dict) and kind != "admin" else None
        if told == "queued":
            self._queued(story, said, began_at)
        story.is_dry_run = told == "dry_run"
        if status >= 400:
            story.refusal.learn(_message(said), 0, began_at)
        _see_people(story, target, sent.body, began_at)
        story.steps = [step for step in story.steps if not step.stands_in]
        # An answer that broke off has the status 0.
        mood = "good" if 200 <= status < 400 else "bad"
        words = f"{method} {path} → {status or 'no answer'}"
        self._add(story, Step(began_at, "Extension", words, answered_at - began_at, mood, (sent, answer)))
        if met := self._exchanges.one_of(_Received(path, sent.body, began_at, story)):
            if met.story is not None:
                self._hide(met.story)
            self._fired(story, met.fired)

    def _queued(self, story: Story, said: Mapping[str, Any], at: float) -> None:
        """Note the job that a call has queued: by its id, or, for consent events, a job without an id in the answer."""
        if isinstance(id := said.get("id"), str):
            story.jobs.setdefault(id, Job("", "queued"))
        elif said.get("events") and not any(job.kind == _SPREAD for job in story.jobs.values()):
            story.awaits[_SPREAD] = at

    def delivery(self, fired: Fired) -> None:
        """Take in a target of Omneo's: it is part of the call that it was, or of none, if it was not sent or nobody has seen that call."""
        sent = _Sent(fired)
        if fired.sent_at and (met := self._exchanges.other_of(sent)):
            self._fired(met.story, fired)
            return
        sent.story = self._story("", fired.fired_at)
        sent.story.sort.learn("event", 2, fired.fired_at)
        sent.story.answered = fired.status or 0
        sent.story.refusal.learn(fired.error, 2, fired.fired_at)
        self._fired(sent.story, fired)

    def _fired(self, story: Story, fired: Fired) -> None:
        if story.number not in self._stories:
            return
        story.tenant = fired.tenant
        story.begin(fired.fired_at, seen=True)
        story.named.learn(f"{fired.trigger} in Omneo", 3, fired.fired_at)
        _see_people(story, "", fired.body, fired.fired_at)
        again = f", attempt {fired.attempt}" if fired.attempt > 1 else ""
        what = "renders and sends" if fired.sent_at else "cannot render"
        shown = Part("Rendered target", fired.handle, (("Content-Type", "application/json"),), fired.body)
        words = f"The reaction to {fired.trigger} {what} the target {fired.handle}{again}{': ' + fired.error if fired.error else ''}"
        mood, parts = "bad" if fired.error else "", (shown,) if fired.body else ()
        self._add(story, Step(fired.fired_at, "Omneo", words, None, mood, parts))

    def call(self, call: Outside) -> None:
        """Take in a call that a sandbox has received; a log line tells the story to which it belongs."""
        if line := self._calls.one_of(call):
            self._show_call(line, call)

    def attempt(self, attempt: Mapping[str, Any]) -> None:
        """Take in that the queue has given a task to a worker, as its record tells, again once it is answered; a log line tells which
        job's it was.
        """
        if taken := self._attempts_taken.get(attempt["id"]):
            self._show_parts(taken, _parts_of(attempt))
        elif line := self._attempts.one_of(attempt, attempt["id"]):
            self._show_attempt(line, attempt)

    def _show_parts(self, line: _Line, parts: tuple[Part, ...]) -> None:
        """Add the request and the answer to a step that was reported before the answer came."""
        if any(step.number == line.step and len(step.parts) < len(parts) for step in line.story.steps):
            self._change(line, parts=parts)

    def leave_out(self, trace: str) -> None:
        """Make no story of this trace, and show none that a line has begun already."""
        self._left_out.append(trace)
        if begun := self._by_key.get(f"trace:{trace}"):
            self._hide(begun)

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
        story.sort.learn(_KIND_OF_FUNCTION.get(function) or _KIND_OF_TARGET.get(target, ""), 1, at)
        # The gateway's exchange is not known, or not yet: it belongs to an earlier start, or ends now.
        if story.answered is None:
            story.answered = int(fields.get("status", 0))
            words = f"{fields.get('method')} {fields.get('path')} → {story.answered}"
            seconds = float(fields.get("seconds", 0))
            mood = "good" if story.answered < 400 else "bad"
            self._add(story, Step(at - seconds, "Extension", words, seconds, mood, stands_in=True))
            story.named.learn(words, 1, at)
        if metric := fields.get("metric"):
            story.about = str(metric)
        if said := fields.get("said"):
            story.refusal.learn(str(said), 1, at)
        if job := fields.get("job"):
            story.jobs.setdefault(str(job), Job(str(fields.get("kind", "")), "queued"))

    def _outside(self, at: float, fields: Mapping[str, Any]) -> None:
        service, status = str(fields.get("service")), int(fields.get("status", 0))
        seconds = float(fields.get("seconds", 0))
        story = self._of_line(at - seconds, fields)
        mood = "good" if 200 <= status < 400 else "warn" if status in (404, 409, 429) else "bad"
        words = f"{fields.get('method')} {fields.get('path')} → {status or 'no answer'}"
        number = self._add(story, Step(at - seconds, service, words, seconds, mood))
        line = _Line(at, fields, story, number)
        if call := self._calls.other_of(line):
            self._show_call(line, call)

    def _show_call(self, line: _Line, call: Outside) -> None:
        guessed = not line.fields.get("request")
        _see_people(line.story, call.path, call.sent.body, call.received_at)
        words = f"{call.method} {call.path} → {call.status or 'no answer'}"
        if call.fault:
            words += f" (a fault that was ordered: {call.fault})"
        began = {} if guessed else {"at": call.received_at}
        self._change(line, text=words, parts=(call.sent, call.answer), guessed=guessed, **began)

    def _outcome(self, at: float, fields: Mapping[str, Any]) -> None:
        outcome, kind, id = (str(fields.get(name, "")) for name in ("outcome", "kind", "job"))
        story = self._of_line(at - float(fields.get("age", 0) or 0), fields)
        story.sort.learn(_KIND_OF_JOB.get(kind, "schedule"), 0, at)
        story.named.learn(of_job(kind), 0, at)
        state = {"waiting": "waiting", "dead": "dead"}.get(outcome, "delivered")
        reason = "" if state == "delivered" else str(fields.get("reason", ""))
        if id not in story.jobs or story.jobs[id].at <= at:
            story.jobs[id] = Job(kind, state, at, reason)
        story.awaits.pop(kind, None)
        if state == "delivered":
            self._hand_on(story, kind, at, fields)
        mood = {"waiting": "warn", "dead": "bad"}.get(state, "good")
        words = f"{fields.get('function')}: {kind} {_ended(fields)}"
        line = _Line(at, fields, story, self._add(story, Step(at, "Worker", words, None, mood)))
        if attempt := self._attempts.other_of(line):
            self._show_attempt(line, attempt)

    def _show_attempt(self, line: _Line, attempt: Mapping[str, Any]) -> None:
        self._queue_step(line.story, attempt)
        self._change(line, seconds=line.at - float(attempt["dispatched_epoch"]), parts=_parts_of(attempt))
        self._attempts_taken[attempt["id"]] = line
        if len(self._attempts_taken) > 2_000:
            self._attempts_taken.popitem(last=False)

    def _queue_step(self, story: Story, attempt: Mapping[str, Any]) -> None:
        created, dispatched = float(attempt["created_epoch"]), float(attempt["dispatched_epoch"])
        again = f", delivery {attempt['attempt']}" if attempt["attempt"] != 1 else ""
        words = f"The job stands in {attempt['queue']}{again}"
        self._add(story, Step(created, "Queue", words, dispatched - created, "", guessed=True))

    def _hand_on(self, story: Story, kind: str, at: float, fields: Mapping[str, Any]) -> None:
        if kind in _FOLLOWED_BY and not ("received" in fields and not fields["received"].get("added")):
            follower = _FOLLOWED_BY[kind]
            if self._ended.get((story.tenant, follower), -inf) < at:
                story.awaits[follower] = at
        if kind in _FOLLOWED_BY.values():
            self._ended[story.tenant, kind] = max(at, self._ended.get((story.tenant, kind), at))
            for other in self._stories.values():
                if other.tenant == story.tenant and other.awaits.get(kind, inf) <= at:
                    del other.awaits[kind]
                    self._touch(other)

    @staticmethod
    def _trace_of(fields: Mapping[str, Any]) -> str:
        return str(fields.get(_TRACE, "")).rpartition("/")[2]

    def _of_line(self, began_at: float, fields: Mapping[str, Any]) -> Story:
        trace = self._trace_of(fields)
        job = str(fields.get("job", ""))
        # A job's id may depend only on its subject, and then another call has had it too; a trace belongs to one call.
        key = f"trace:{trace}" if trace else f"job:{job}" if job else ""
        story = self._story(key, began_at)
        story.begin(began_at, seen=False)
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

    def _hide(self, story: Story) -> None:
        if not story.hidden:
            story.hidden = True
            self.total -= 1
            self._touch(story)

    def _change(self, line: _Line, **changes: Any) -> None:
        """Let a line's step say more."""
        for place, step in enumerate(line.story.steps):
            if step.number == line.step:
                line.story.steps[place] = replace(step, **changes)
                self._touch(line.story)

    def _add(self, story: Story, step: Step) -> int:
        """Add a step, unless there are too many or the story is forgotten, and return its number."""
        number = next(self._steps)
        if story.number in self._stories and len(story.steps) < STEPS:
            story.steps.append(replace(step, number=number))
        self._touch(story)
        return number


def _calls_apart(line: _Line, call: Outside) -> float | None:
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


def _attempts_apart(line: _Line, attempt: Mapping[str, Any]) -> float | None:
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


def _exchanges_apart(sent: _Sent, received: _Received) -> float | None:
    """Return how far a target that was sent is from a call of a function, None if it is another's."""
    if sent.fired.sent_at is None or (sent.fired.path, sent.fired.body) != (received.path, received.body):
        return None
    apart = abs(received.began_at - sent.fired.sent_at)
    return apart if apart < LATE else None


def _parts_of(attempt: Mapping[str, Any]) -> tuple[Part, ...]:
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


@lru_cache(256)
def _template(path: str) -> re.Pattern[str]:
    """Return a pattern for the paths of a template as logs have it: /api/profiles/{id}, an Omneo one with its tenant in front."""
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


def _see_people(story: Story, target: str, body: bytes, at: float) -> None:
    if len(story.people) > 200:
        return
    for person in (
        *_PERSON_IN_PATH.findall(target),
        *_EMAIL.findall(body[:20_000].decode("utf-8", errors="replace")),
        *_people_in(_json_of(body)),
    ):
        story.people[person.lower()] = min(at, story.people.get(person.lower(), at))


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
