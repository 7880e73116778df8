"""Reads the reports of each call into the book of stories, while a page asks for it, and a while after. While nobody
looks, it reads nothing; each source keeps its reports until somebody looks.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from deploy.local.console.asking import CONSOLE, UnansweredError
from deploy.local.console.masking import Mask
from deploy.local.console.reports import Fired, Outside
from deploy.local.console.stories import Book
from deploy.local.console.story import Part
from deploy.local.exchange import Exchange
from deploy.local.logs import Follower
from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.omneo.delivery import Delivery
from deploy.local.sandbox.stage.messages import Answer
from deploy.local.sandbox.stage.record import Call

EVERY = 0.25  # seconds from one reading to the next
IDLE = 20.0  # seconds after the last page asked until nothing is read any more
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_DRY_RUN = "dryRun=1"  # as the page Targets asks for it
_UNANSWERED = ("reset", "hang")  # faults whose call has no answer


class Watching:
    """The book of stories and its writer. `exchanges` holds the gateway's calls; `attempts` returns the queue's record
    after an id; `follower` reads the functions' logs.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        exchanges: deque[Exchange],
        attempts: Callable[[int], list[dict[str, object]]],
        follower: Follower,
        secrets: Iterable[str],
    ) -> None:
        self.mask = Mask(secrets)
        self.lock = threading.Condition()
        self.book = Book()
        self._sandbox = sandbox
        self._exchanges = exchanges
        self._attempts = attempts
        self._follower = follower
        self._asked_at = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._reading = threading.Lock()
        self._calls_read = {"Klaviyo": 0, "Omneo": 0}
        # Only the logs know the calls of an earlier start: their bodies are lost.
        self._began = time.time()
        self._deliveries_read = {
            tenant: len(sandbox.omneo.deliveries(tenant)) for tenant in sandbox.omneo.tenants()
        }
        self._attempt_read = 0
        self._open: dict[tuple[str, int], Call] = {}

    def ask(self) -> None:
        """Have the book written, for a while; the first time, return once all that has happened so far is in it."""
        self._asked_at = time.monotonic()
        with self._reading:
            alive = self._thread is not None and self._thread.is_alive()
            if not alive and not self._stopping.is_set():
                self._read()
                self._thread = threading.Thread(target=self._run, name="console-watching", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop reading, and wake everybody who waits for a change."""
        self._stopping.set()
        with self.lock:
            self.lock.notify_all()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def rest(self, seconds: float) -> None:
        """Wait so long, or until it is stopped."""
        self._stopping.wait(seconds)

    def is_news(self, since: int) -> bool:
        """Return whether the book has changed since then, or has stopped changing."""
        return self.stopped or self.book.changes > since

    @property
    def stopped(self) -> bool:
        """Whether no further changes come."""
        return self._stopping.is_set()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            with self._reading:
                if time.monotonic() - self._asked_at > IDLE:
                    self._thread = None
                    return
                self._read()

    def _read(self) -> None:
        # The logs come first, because every other source sees an act before its log line is written. The calls of
        # functions come after the targets, because the gateway has reported a target's answer earlier.
        lines = self._follower.new_lines()
        attempts = self._new_attempts()
        deliveries = self._new_deliveries()
        with self.lock:
            before = self.book.changes
            while self._exchanges:
                self._exchange(self._exchanges.popleft())
            for delivery in deliveries:
                self._delivery(delivery)
            self._calls("Klaviyo", self._sandbox.klaviyo.calls.all())
            self._calls("Omneo", self._sandbox.omneo.calls.all())
            for attempt in attempts:
                self.book.attempt(attempt)
            for line in lines:
                at = _epoch(line.at)
                if at >= self._began and (fields := line.fields):
                    self.book.line(at, fields)
            if self.book.changes != before:
                self.lock.notify_all()

    def _exchange(self, seen: Exchange) -> None:
        named = {name.lower(): value for name, value in seen.headers}
        given = _TRACEPARENT.fullmatch(named.get("traceparent", ""))
        trace = given[1] if given else ""  # a caller's own that is none: the function begins another
        if named.get("user-agent") == CONSOLE and (seen.method == "GET" or _DRY_RUN in seen.target):
            self.book.leave_out(trace)  # a page has looked at something; a template is tried with every key
            return
        self.book.exchange(
            method=seen.method,
            target=seen.target,
            trace=trace,
            status=seen.status,
            began_at=seen.began_at,
            answered_at=seen.answered_at,
            sent=Part("Request", f"{seen.method} {seen.target}", tuple(seen.headers), seen.body),
            answer=Part("Answer", str(seen.status), tuple(seen.answer_headers), bytes(seen.answer_body)),
        )

    def _new_deliveries(self) -> list[Delivery]:
        new: list[Delivery] = []
        for tenant in self._sandbox.omneo.tenants():
            deliveries = self._sandbox.omneo.deliveries(tenant)
            new += deliveries[self._deliveries_read.get(tenant, 0) :]
            self._deliveries_read[tenant] = len(deliveries)
        return new

    def _delivery(self, delivery: Delivery) -> None:
        self.book.delivery(
            Fired(
                tenant=delivery.tenant,
                trigger=delivery.trigger,
                handle=delivery.target,
                path=urlsplit(delivery.url).path,
                body=delivery.body,
                attempt=delivery.attempt,
                fired_at=delivery.fired_at,
                sent_at=delivery.sent_at,
                status=delivery.status,
                error=delivery.error,
            )
        )

    def _calls(self, service: str, calls: list[Call]) -> None:
        if calls and calls[-1].number < self._calls_read[service]:
            self._calls_read[service] = 0  # it was reset
        read = self._calls_read[service]
        for call in reversed(calls):
            if call.number <= read:
                break
            self._open[service, call.number] = call
            self._calls_read[service] = max(self._calls_read[service], call.number)
        for key, call in sorted(self._open.items()):
            if call.answered_at is not None or call.fault in _UNANSWERED:
                del self._open[key]
                self.book.call(_outside(key[0], call))

    def _new_attempts(self) -> list[dict[str, object]]:
        try:
            rows = self._attempts(self._attempt_read)
        except UnansweredError:
            return []  # the queue is being stopped, or has not started
        ids = [int(str(row["id"])) for row in rows]
        running = [id for id, row in zip(ids, rows, strict=True) if row["answered_epoch"] is None]
        # One that is still running is read again, until it has ended.
        self._attempt_read = min(running) - 1 if running else max(ids, default=self._attempt_read)
        return rows


def _outside(service: str, call: Call) -> Outside:
    sent = tuple((name, call.headers.get(name, "")) for name in call.header_names)
    line = f"{call.method} {call.path}" + (f"?{call.query}" if call.query else "")
    answer = Answer(call.status or 0, call.answer_headers, call.answer_body)
    names = {name.lower(): value for name, value in answer.headers.items()}
    return Outside(
        service=service,
        method=call.method,
        path=call.path,
        status=call.status,
        received_at=call.received_at,
        answered_at=call.answered_at,
        request=names.get("x-klaviyo-req-id", ""),
        tenant=(call.account or "") if service == "Omneo" else "",
        sent=Part("Request", line, sent, call.body[:65536]),
        answer=Part("Answer", str(call.status or "none"), tuple(answer.headers.items()), answer.body),
        fault=call.fault or "",
    )


def _epoch(at: str) -> float:
    try:
        return datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
