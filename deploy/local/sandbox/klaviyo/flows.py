"""Flows with a webhook action, as merchants set them up: the call for a recipient, and its repeats.

Klaviyo's pages "How to add a webhook action to a flow" and "Understanding webhook status codes": POST and JSON; any 2xx is
success; 429, 500, 502 and 503 are tried up to 17 times over 24 hours, with growing waits, and then failed; any other
answer is skipped and never tried again. Calls are not signed.

Assumed (flow-actions-are-tried-17-times, webhook-action-waits-nine-seconds):
- The waits double, and the 17th try comes 24 hours after the first; Retry-After changes nothing.
- An answer may take 10 seconds. Without one the recipient is skipped, as for a status that is not tried again.
- The body is rendered once, before the first try. One that is no JSON then is sent as it is; one that cannot be rendered is
  skipped. Header values are no templates.
- `http` is refused but for loopback, so that one machine can be used. Klaviyo's two headers win over a merchant's,
  and it has no User-Agent of its own.
- `person` is the profile's id, its attributes and its custom properties; an attribute wins over a property of its name.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deploy.local.sandbox.klaviyo.accounts import Account, Profile
from deploy.local.sandbox.klaviyo.webhooks import is_endpoint
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.posting import Attempt, post

RETRIED = (429, 500, 502, 503)
MOST_TRIES = 17
TRIED_SECONDS = 24 * 3600.0
ANSWER_SECONDS = 10.0
State = Literal["waiting", "succeeded", "failed", "skipped"]


@dataclass(frozen=True)
class Flow:
    """A flow's webhook action. `body` is the template as it was typed."""

    id: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)
    autoescape: bool = False


@dataclass(frozen=True)
class FlowRun:
    """The result of the action for one recipient.

    `due_at` is the time of the next try, in Unix seconds; None if there is none, or while a try is under way. `error`
    is the reason why it could not be sent, "" if it was sent. `body` is the sent body.
    """

    id: str
    flow_id: str
    profile_id: str
    state: State = "waiting"
    attempts: tuple[Attempt, ...] = ()
    due_at: float | None = None
    error: str = ""
    body: bytes = field(default=b"", repr=False)

    def to_json(self, *, bodies: bool = False) -> dict[str, Any]:
        """Return the run as the control interface shows it."""
        shown = {name: value for name, value in vars(self).items() if name != "body"}
        shown["attempts"] = [attempt.to_json() for attempt in self.attempts]
        return shown | ({"body": self.body.decode()} if bodies else {})

    def after(self, attempt: Attempt) -> "FlowRun":
        """Return the run as it is after one more attempt."""
        attempts = (*self.attempts, attempt)
        state: State = "skipped"
        if attempt.status is not None and 200 <= attempt.status < 300:
            state = "succeeded"
        elif attempt.status in RETRIED:
            state = "waiting" if len(attempts) < MOST_TRIES else "failed"
        due_at = attempt.sent_at + wait(len(attempts)) if state == "waiting" else None
        return replace(self, state=state, attempts=attempts, due_at=due_at)


class Flows:
    """The flows of all accounts. Every method may be called from any thread; none holds the lock while it calls."""

    def __init__(
        self, find: Callable[[str], Account], lock: threading.RLock, clock: Clock, identifiers: Identifiers
    ) -> None:
        self._find = find
        self._lock = lock
        self._clock = clock
        self._identifiers = identifiers
        self._flows: dict[tuple[str, str], Flow] = {}
        self._runs: dict[str, dict[str, FlowRun]] = {}

    def flow(
        self,
        account: str,
        *,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: str,
        flow_id: str | None = None,
        autoescape: bool = False,
    ) -> Flow:
        """Set up a flow with a webhook action, in place of one with that id, and return it.

        Raises:
            ValueError: the url is not https, or the body is no template.
        """
        from deploy.local.sandbox.klaviyo.flow_templates import parse

        if not is_endpoint(url):
            raise ValueError("url must be an https URL")
        parse(body)
        with self._lock:
            id = self._identifiers.short_id() if flow_id is None else flow_id
            flow = Flow(id, url, dict(headers or {}), body, autoescape)
            self._flows[account, id] = flow
        return flow

    def run_flow(
        self, account: str, flow_id: str, profile_id: str, event: Mapping[str, Any] | None = None
    ) -> FlowRun:
        """Let a profile reach the action, and return the run after its first try.

        `event` holds the custom properties of the event that triggered the flow, None if no metric did.

        Raises:
            KeyError: there is no such flow or profile.
        """
        with self._lock:
            flow = self._flows[account, flow_id]
            variables = {"person": _person(self._find(account).profiles[profile_id])}
            run = FlowRun(self._identifiers.uuid(), flow_id, profile_id)
            run = _rendered(run, flow, variables if event is None else {**variables, "event": dict(event)})
            self._runs.setdefault(account, {})[run.id] = run
        return self._try(account, flow, run) if run.state == "waiting" else run

    def flow_due(self, account: str) -> list[FlowRun]:
        """Make the tries that are due, and return their runs as they are after them."""
        with self._lock:
            now, kept = self._clock(), self._runs.get(account, {})
            due = [run for run in kept.values() if run.due_at is not None and run.due_at <= now]
            kept |= {run.id: replace(run, due_at=None) for run in due}
            pairs = [(self._flows[account, run.flow_id], run) for run in due]
        return [self._try(account, flow, run) for flow, run in pairs]

    def runs(self, account: str) -> list[FlowRun]:
        """Return the account's runs, oldest first."""
        with self._lock:
            return list(self._runs.get(account, {}).values())

    def clear(self) -> None:
        """Forget every flow and run. Callers hold the lock of the service."""
        self._flows.clear()
        self._runs.clear()

    def _try(self, account: str, flow: Flow, run: FlowRun) -> FlowRun:
        # Not under the lock: the called function will call back.
        attempt = post(flow.url, run.body, _headers(flow), within=ANSWER_SECONDS, clock=self._clock)
        done = run.after(attempt)
        with self._lock:
            if run.id in (kept := self._runs.get(account, {})):  # a reset forgets those on their way too
                kept[run.id] = done
        return done


def wait(tries: int) -> float:
    """Return the seconds from the try with this number, counted from 1, to the next.

    >>> round(wait(1), 1), round(wait(16) / 3600), round(sum(wait(tries) for tries in range(1, 17)))
    (1.3, 12, 86400)
    """
    return TRIED_SECONDS * 2.0 ** (tries - 1) / (2.0 ** (MOST_TRIES - 1) - 1)


def _rendered(run: FlowRun, flow: Flow, variables: Mapping[str, Any]) -> FlowRun:
    from deploy.local.sandbox.klaviyo.flow_templates import FlowTemplateError, parse, render

    try:
        text = render(parse(flow.body), variables, autoescape=flow.autoescape)
    except FlowTemplateError as error:
        return replace(run, state="skipped", error=f"{type(error).__name__}: {error}")
    return replace(run, body=text.encode())


def _person(profile: Profile) -> dict[str, Any]:
    return {**profile.properties, **profile.attributes, "id": profile.id}


def _headers(flow: Flow) -> dict[str, str]:
    ours = {"Content-Type": "application/json", "X-Klaviyo-Flow-ID": flow.id}
    taken = {name.lower() for name in ours}
    return {name: value for name, value in flow.headers.items() if name.lower() not in taken} | ours
