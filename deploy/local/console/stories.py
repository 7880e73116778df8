"""Each call as one story: it joins the reports of the gateway, the functions' logs, the queue and both sandboxes. Pure:
no clock.

They are joined by these, the most certain first: the trace that the gateway gives a call and that every job carries;
the id of a job; the id that Klaviyo gives a request. Omneo has no such id, and the queue knows no job: there the
method, the path and the time join them. A step says if only the time joined it.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from math import inf
from typing import Any

from deploy.local.console.counterparts import Counterparts
from deploy.local.console.people import see_people
from deploy.local.console.reports import (
    Fired,
    Line,
    Outside,
    Received,
    Sent,
    attempts_apart,
    calls_apart,
    exchanges_apart,
    parts_of,
)
from deploy.local.console.shelf import Shelf
from deploy.local.console.story import Job, Part, Step, Story, json_of
from deploy.local.console.titles import about, kind_of_call, kind_of_job, of_job

# A job that only hands on to another: the story goes on until one of that kind has run for the tenant.
_SPREAD = "spread-events"
_FOLLOWED_BY = {_SPREAD: "flush-inbox", "send-records": "pack-records"}
_TRACE = "logging.googleapis.com/trace"


class Book(Shelf):
    """Writes the newest stories from reports, which may come in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: Counterparts[Line, Outside] = Counterparts(calls_apart, most=2_000)
        self._attempts: Counterparts[Line, Mapping[str, Any]] = Counterparts(attempts_apart, most=2_000)
        self._attempts_taken: OrderedDict[int, Line] = OrderedDict()
        self._left_out: deque[str] = deque(maxlen=200)
        self._exchanges: Counterparts[Sent, Received] = Counterparts(exchanges_apart, most=1_000)
        # When one of this kind that another hands on to was done last, by tenant.
        self._ended: dict[tuple[str, str], float] = {}

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
        said = json_of(answer.body)
        told = said.get("status") if isinstance(said, dict) and kind != "admin" else None
        if told == "queued":
            self._queued(story, said, began_at)
        story.is_dry_run = told == "dry_run"
        if status >= 400:
            story.refusal.learn(_message(said), 0, began_at)
        see_people(story, target, sent.body, began_at)
        story.steps = [step for step in story.steps if not step.stands_in]
        # An answer that broke off has the status 0.
        mood = "good" if 200 <= status < 400 else "bad"
        words = f"{method} {path} → {status or 'no answer'}"
        self._add(story, Step(began_at, "Extension", words, answered_at - began_at, mood, (sent, answer)))
        if met := self._exchanges.one_of(Received(path, sent.body, began_at, story)):
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
        sent = Sent(fired)
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
        see_people(story, "", fired.body, fired.fired_at)
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
            self._show_parts(taken, parts_of(attempt))
        elif line := self._attempts.one_of(attempt, attempt["id"]):
            self._show_attempt(line, attempt)

    def _show_parts(self, line: Line, parts: tuple[Part, ...]) -> None:
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
        story.sort.learn(kind_of_call(function, target), 1, at)
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
        line = Line(at, fields, story, number)
        if call := self._calls.other_of(line):
            self._show_call(line, call)

    def _show_call(self, line: Line, call: Outside) -> None:
        guessed = not line.fields.get("request")
        see_people(line.story, call.path, call.sent.body, call.received_at)
        words = f"{call.method} {call.path} → {call.status or 'no answer'}"
        if call.fault:
            words += f" (a fault that was ordered: {call.fault})"
        began = {} if guessed else {"at": call.received_at}
        self._change(line, text=words, parts=(call.sent, call.answer), guessed=guessed, **began)

    def _outcome(self, at: float, fields: Mapping[str, Any]) -> None:
        outcome, kind, id = (str(fields.get(name, "")) for name in ("outcome", "kind", "job"))
        story = self._of_line(at - float(fields.get("age", 0) or 0), fields)
        story.sort.learn(kind_of_job(kind), 0, at)
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
        line = Line(at, fields, story, self._add(story, Step(at, "Worker", words, None, mood)))
        if attempt := self._attempts.other_of(line):
            self._show_attempt(line, attempt)

    def _show_attempt(self, line: Line, attempt: Mapping[str, Any]) -> None:
        self._queue_step(line.story, attempt)
        self._change(line, seconds=line.at - float(attempt["dispatched_epoch"]), parts=parts_of(attempt))
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


def _message(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""
