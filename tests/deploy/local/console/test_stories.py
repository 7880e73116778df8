"""One call, one story: what gateway, logs, queue and sandboxes have seen is joined, whatever the order."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deploy.local.console.reports import Fired, Outside
from deploy.local.console.shelf import STORIES
from deploy.local.console.stories import Book
from deploy.local.console.story import Filter, Part, Story

NOON = 1_800_000_000.0
TRACE = "a" * 32
JOB = "5762ad08435f44bd83a92aca1083e168"
EVENT = json.dumps({"profile": {"email": "jane@canary.example"}, "points": 120}).encode()
EVERY = Filter()
_TRACE = "logging.googleapis.com/trace"


def exchange(
    book: Book,
    *,
    trace: str = TRACE,
    at: float = NOON,
    status: int = 202,
    target: str = "",
    body: bytes = EVENT,
    said: dict[str, Any] | None = None,
) -> None:
    """Let the gateway tell of a call of the metric target."""
    target = target or "/demo/api/v1/targets/klaviyo/metric?metric=Points"
    usual = (
        {"status": "queued", "id": JOB} if status == 202 else {"error": {"message": "the profile is missing"}}
    )
    book.exchange(
        method="POST",
        target=target,
        trace=trace,
        status=status,
        began_at=at,
        answered_at=at + 0.01,
        sent=Part("Request", target, (), body),
        answer=Part("Answer", str(status), (), json.dumps(usual if said is None else said).encode()),
    )


def line(message: str, trace: str = TRACE, **fields: Any) -> dict[str, Any]:
    """Return a function's line."""
    around = {"tenant": "demo", "function": "outbound_worker", "job": JOB, "kind": "send-metric"}
    return {
        "message": message,
        **around,
        "logging.googleapis.com/trace": f"projects/local/traces/{trace}",
        **fields,
    }


def klaviyo(status: int = 202, request: str = "request-1", at: float = NOON + 0.02) -> Outside:
    """Return a call that Klaviyo has received."""
    sent = Part("Request", "POST /api/events", (), b'{"data": 1}')
    answer = Part("Answer", str(status))
    return Outside("Klaviyo", "POST", "/api/events", status, at, at + 0.005, request, "", sent, answer)


def omneo_call(profile: str, received_at: float, answered_at: float) -> Outside:
    path, empty = f"/demo/api/v3/profiles/{profile}", Part("", "")
    return Outside("Omneo", "GET", path, 200, received_at, answered_at, "", "demo", empty, empty)


def outside(at: float = NOON + 0.03, **fields: Any) -> tuple[float, dict[str, Any]]:
    """Return when a worker has logged its call of Klaviyo, and the line."""
    told = {"service": "Klaviyo", "method": "POST", "path": "/api/events", "status": 202, "seconds": 0.005}
    return at, line("outside call", **{**told, **fields})


def done(at: float = NOON + 0.04, **fields: Any) -> tuple[float, dict[str, Any]]:
    """Return when a worker has logged that it is done, and the line."""
    return at, line("job done", **{"outcome": "done", "attempts": 0, "age": 0.1, **fields})


def attempt(id: int = 1, at: float = NOON + 0.015, answered: float | None = NOON + 0.045) -> dict[str, Any]:
    """Return a row of the queue's record."""
    return {"id": id, "queue": "demo-klaviyo-outbound", "attempt": 1, "created_epoch": at - 0.005, "dispatched_epoch": at,
            "answered_epoch": answered}  # fmt: skip


def only(book: Book) -> Story:
    """Return the one story of a book."""
    (story,) = book.newest(EVERY, 10)
    return story


def places(story: Story) -> list[str]:
    """Return who has seen each step, in the order of time."""
    return [step.place for step in story.in_order()]


def worked(book: Book) -> None:
    """Let the queue, Klaviyo and the worker tell of a job that is done."""
    book.attempt(attempt())
    book.call(klaviyo())
    book.line(*outside(request="request-1"))
    book.line(*done())


def answered(book: Book) -> None:
    """Let the function tell that it has answered."""
    fields = line(
        "call answered", function="targets", target="metric", metric="Points", status=202, seconds=0.01
    )
    book.line(NOON + 0.011, fields)


Told = Callable[[Book], None]


def seen(book: Book) -> list[object]:
    """Return all that the pages show of the stories but for numbers, which tell who was first."""
    return [
        (
            story.began_at, story.title, story.about, story.tenant, story.kind, story.reason, story.answered, story.state, story.person,
            [replace(step, number=0) for step in story.in_order()], sorted(story.people), story.jobs.keys(), story.seconds,
        )
        for story in book.newest(EVERY, 10)
    ]  # fmt: skip


def in_any_order(*told: Told | tuple[Told, ...]) -> Book:
    """Return the book that all of this makes, having tried that it is the same whatever is told first. A tuple is told in its own order."""
    groups = [one if isinstance(one, tuple) else (one,) for one in told]
    places = [place for place, group in enumerate(groups) for _ in group]
    books = []
    for order in sorted(set(itertools.permutations(places))):
        book, left = Book(), [iter(group) for group in groups]
        for place in order:
            next(left[place])(book)
        books.append(book)
    for book in books:
        assert seen(book) == seen(books[0])
        assert book.total == books[0].total
    return books[0]


def test_a_call_and_what_came_of_it_are_one_story_in_any_order() -> None:
    book = in_any_order(
        exchange,
        fired,
        answered,
        lambda book: book.attempt(carried()),
        lambda book: book.call(klaviyo()),
        lambda book: book.line(*outside(request="request-1")),
        lambda book: book.line(*done()),
    )
    story = only(book)
    assert story.state == "delivered"
    assert (story.title, story.tenant, story.kind, story.about, story.person) == (
        "reward.created in Omneo",
        "demo",
        "event",
        "Points",
        "jane@canary.example",
    )
    assert places(story) == ["Omneo", "Extension", "Queue", "Klaviyo", "Worker"]
    assert [len(step.parts) for step in story.in_order()] == [1, 2, 0, 2, 2]
    assert not any(step.stands_in or (step.guessed and step.place != "Queue") for step in story.steps)


def test_a_call_that_is_refused_is_one_story_in_any_order() -> None:
    refused = line(
        "call answered",
        function="targets",
        target="metric",
        status=401,
        seconds=0.01,
        said="the secret is wrong",
        job="",
    )
    book = in_any_order(
        lambda book: exchange(book, status=401, said={"error": {"message": "not authenticated"}}),
        lambda book: book.line(NOON + 0.011, refused),
        lambda book: fired(book, error=""),
    )
    story = only(book)
    assert (story.state, story.reason, places(story)) == (
        "refused",
        "the secret is wrong",
        ["Omneo", "Extension"],
    )


def test_a_job_that_waited_and_was_replayed_is_one_story_in_any_order() -> None:
    """Each delivery of its task finds its own line, however late the line is read."""
    book = in_any_order(
        exchange,
        (
            lambda book: book.attempt(carried(1, answered=False)),
            lambda book: book.attempt(carried(1)),
            lambda book: book.attempt(carried(2, at=NOON + 2)),
        ),
        (
            lambda book: book.line(*done(outcome="waiting", reason="Klaviyo answered 503", delay=2)),
            lambda book: book.line(*done(NOON + 2.04)),
        ),
    )
    story = only(book)
    assert (story.state, story.reason) == ("delivered", "")
    assert places(story) == ["Extension", "Queue", "Worker", "Queue", "Worker"]
    assert [round(step.seconds or 0, 3) for step in story.in_order() if step.place == "Worker"] == [
        0.025,
        0.04,
    ]


def test_an_omneo_call_that_only_time_joins_is_joined_in_any_order() -> None:
    near = omneo_call("x2", NOON + 0.02, NOON + 0.025)
    told: dict[str, Any] = {
        "service": "Omneo",
        "path": "/api/v3/profiles/{id}",
        "method": "GET",
        "status": 200,
        "seconds": 0.005,
    }
    book = in_any_order(
        exchange,
        lambda book: book.call(near),
        lambda book: book.line(NOON + 0.03, line("outside call", **told)),
        lambda book: book.line(*outside(request="request-1")),
        lambda book: book.call(klaviyo()),
    )
    assert sorted(places(only(book))) == ["Extension", "Klaviyo", "Omneo"]
    (step,) = (step for step in only(book).steps if step.place == "Omneo")
    assert (step.guessed, step.text) == (True, "GET /demo/api/v3/profiles/x2 → 200")


def test_a_line_with_a_requests_id_takes_no_other_request() -> None:
    book = Book()
    exchange(book)
    book.call(klaviyo(request="request-2"))
    book.line(*outside(request="request-1"))
    assert [step.parts for step in only(book).steps if step.place == "Klaviyo"] == [()]
    call = klaviyo(request="request-1")
    book.call(call)
    assert [step.parts for step in only(book).steps if step.place == "Klaviyo"] == [(call.sent, call.answer)]


def test_a_consent_ends_with_the_flush_in_any_order() -> None:
    target = "/demo/api/v1/webhooks/klaviyo/system"
    other = "f" * 32

    def flushed(book: Book, at: float = NOON + 10, trace: str = other) -> None:
        at, fields = done(at, kind="flush-inbox", job="another", age=0)
        book.line(at, {**fields, _TRACE: f"projects/local/traces/{trace}"})

    told: list[Told] = [
        lambda book: exchange(book, target=target, said={"status": "queued", "events": 1, "left_out": {}}),
        lambda book: book.line(*done(kind="spread-events", received={"added": 1}, age=0)),
        lambda book: flushed(book, NOON - 10, "0" * 32),  # of what came before
    ]
    assert [story.state for story in in_any_order(*told).newest(EVERY, 10)] == ["queued", "delivered"]
    assert [story.state for story in in_any_order(*told, flushed).newest(EVERY, 10)] == ["delivered"] * 3


def test_a_job_is_queued_until_the_worker_has_said_more() -> None:
    book = Book()
    exchange(book)
    assert only(book).state == "queued"
    book.line(*done(outcome="waiting", reason="Klaviyo answered 503", delay=2.5))
    assert (only(book).state, only(book).reason) == ("waiting", "Klaviyo answered 503")
    book.line(*done(NOON + 3))
    assert (only(book).state, only(book).reason) == ("delivered", "")


def carried(
    id: int = 1, job: str = JOB, *, answered: bool = True, at: float = NOON + 0.015
) -> dict[str, Any]:
    """Return a row of the queue's record that holds what the worker was sent and has answered."""
    sent = {
        "method": "POST", "url": "http://127.0.0.1:9/demo/x?y=1", "headers": [["Authorization", "Bearer canary-token"]],
        "body": json.dumps({"id": job, "email": "jane@canary.example"}),
    }  # fmt: skip
    received = {"headers": [["Content-Type", "application/json"]], "body": "{}"} if answered else None
    ended = at + 0.03 if answered else None
    return {**attempt(id, at, ended), "status": 200 if answered else None, "sent": sent, "received": received}


def worker(story: Story) -> list[tuple[str, ...]]:
    """Return the parts of each of the worker's steps: their lines."""
    return [tuple(part.line for part in step.parts) for step in story.in_order() if step.place == "Worker"]


def test_what_the_worker_was_sent_and_has_answered_is_in_its_step() -> None:
    book = Book()
    book.attempt(carried())
    book.line(*done())
    assert worker(only(book)) == [("POST /demo/x", "200")]


def test_an_answer_that_comes_after_the_line_is_added_to_the_workers_step() -> None:
    book = Book()
    book.attempt(carried(answered=False))
    book.line(*done())
    assert worker(only(book)) == [("POST /demo/x",)]
    since = book.changes
    book.attempt(carried())
    assert worker(only(book)) == [("POST /demo/x", "200")]
    assert only(book).changed > since
    book.attempt(carried())
    assert len(only(book).steps) == 2


def test_of_two_tasks_at_once_the_workers_is_the_one_that_holds_the_job() -> None:
    book = Book()
    book.attempt(carried(1, "another", at=NOON + 0.016))
    book.attempt(carried(2, JOB, at=NOON + 0.001))
    book.line(*done())
    (step,) = [step for step in only(book).steps if step.place == "Worker"]
    assert JOB.encode() in step.parts[0].body


def test_a_dry_run_is_not_delivered_and_is_found_by_its_state() -> None:
    book = Book()
    exchange(book, status=200, said={"status": "dry_run", "notes": []})
    assert only(book).state == "dry run"
    assert book.newest(Filter(state="delivered"), 10) == []
    assert book.newest(Filter(state="dry run"), 10) == [only(book)]
    exchange(book, trace="c" * 32, status=401, said={"error": {"message": "the secret is wrong"}})
    assert [story.state for story in book.newest(EVERY, 10)] == ["refused", "dry run"]


def test_a_dead_job_is_dead_and_its_replay_delivers_it() -> None:
    book = Book()
    exchange(book)
    book.line(*done(outcome="dead", reason="Klaviyo answered 400: invalid."))
    assert (only(book).state, only(book).reason) == ("dead", "Klaviyo answered 400: invalid.")
    book.line(*done(NOON + 60))
    assert only(book).state == "delivered"


def test_a_call_that_we_refuse_is_refused_with_its_reason() -> None:
    book = Book()
    exchange(book, status=400)
    assert (only(book).state, only(book).reason) == ("refused", "the profile is missing")


def fired(
    book: Book,
    *,
    sent_at: float | None = NOON - 0.005,
    attempt: int = 1,
    body: bytes = EVENT,
    error: str = "",
) -> None:
    """Let Omneo tell of a reaction that has sent the metric target."""
    book.delivery(
        Fired(
            tenant="demo", trigger="reward.created", handle="klaviyo-reward", path="/demo/api/v1/targets/klaviyo/metric", body=body,
            attempt=attempt, fired_at=NOON - 0.01, sent_at=sent_at, status=None if error else 202, error=error,
        )
    )  # fmt: skip


def test_what_omneo_rendered_belongs_to_the_call_with_this_body() -> None:
    book = Book()
    exchange(book)
    fired(book)
    story = only(book)
    assert (story.title, places(story)) == ("reward.created in Omneo", ["Omneo", "Extension"])


def test_a_target_that_was_sent_elsewhere_is_a_story_of_its_own_until_its_call_is_seen() -> None:
    book = Book()
    fired(book)
    own = only(book)
    assert (own.title, own.state, places(own)) == ("reward.created in Omneo", "delivered", ["Omneo"])
    since = book.changes
    exchange(book)
    assert (only(book).title, places(only(book))) == ("reward.created in Omneo", ["Omneo", "Extension"])
    assert book.unwanted(EVERY, since=since) == [own.number]
    assert book.total == 1


def test_each_attempt_of_a_target_belongs_to_its_own_call() -> None:
    book = Book()
    for number, trace in enumerate(("b" * 32, "c" * 32)):
        exchange(book, trace=trace, at=NOON + number)
    for number in (0, 1):
        fired(book, sent_at=NOON + number - 0.005, attempt=number + 1)
    assert [places(story) for story in book.newest(EVERY, 10)] == [["Omneo", "Extension"]] * 2


def test_a_target_that_cannot_be_rendered_is_a_refused_story_of_its_own() -> None:
    book = Book()
    fired(book, sent_at=None, body=b"", error="TemplateFailedError: line 3")
    assert (only(book).state, only(book).reason) == ("refused", "TemplateFailedError: line 3")


def test_two_calls_at_once_get_each_its_own_klaviyo_call_by_the_requests_id() -> None:
    book = Book()
    traces = ["b" * 32, "c" * 32]
    for number, trace in enumerate(traces):
        exchange(book, trace=trace, at=NOON + number / 1000)
        book.call(klaviyo(request=f"request-{number}"))
    for number, trace in reversed(list(enumerate(traces))):
        at, fields = outside(request=f"request-{number}")
        book.line(at, {**fields, "logging.googleapis.com/trace": f"projects/local/traces/{trace}"})
    for number, story in enumerate(reversed(book.newest(EVERY, 10))):
        (step,) = (step for step in story.steps if step.place == "Klaviyo")
        assert step.parts
        assert not step.guessed
        assert story.number == number + 1


def test_without_an_id_the_time_and_the_path_join_and_the_step_says_so() -> None:
    book = Book()
    exchange(book)
    far = omneo_call("x1", NOON - 60, NOON - 60)
    near = omneo_call("x2", NOON + 0.02, NOON + 0.025)
    for call in (far, near):
        book.call(call)
    book.line(
        NOON + 0.03,
        line(
            "outside call",
            service="Omneo",
            method="GET",
            path="/api/v3/profiles/{id}",
            status=200,
            seconds=0.005,
        ),
    )
    (step,) = (step for step in only(book).steps if step.place == "Omneo")
    assert step.guessed
    assert "/profiles/x2" in step.text


def test_a_job_id_that_was_there_before_takes_no_other_calls_story() -> None:
    """The id of a sync is made of the profile: two calls may have the same."""
    book = Book()
    for number, trace in enumerate(("b" * 32, "c" * 32)):
        exchange(book, trace=trace, at=NOON + 60 * number)
        at, fields = done(NOON + 60 * number + 0.04)
        book.line(at, {**fields, "logging.googleapis.com/trace": f"projects/local/traces/{trace}"})
    assert [places(story) for story in book.newest(EVERY, 10)] == [["Extension", "Worker"]] * 2


def test_a_consent_is_under_way_until_the_inbox_is_flushed() -> None:
    book = Book()
    target = "/demo/api/v1/webhooks/klaviyo/system"
    topic = json.dumps({"data": [{"topic": "event:klaviyo.unsubscribed_from_email"}]}).encode()
    exchange(book, target=target, body=topic, said={"status": "queued", "events": 1, "left_out": {}})
    assert only(book).state == "queued"
    assert only(book).title == "Unsubscribed from email in Klaviyo"
    book.line(*done(kind="spread-events", received={"added": 1}))
    assert only(book).state == "queued"
    book.line(*done(NOON + 10, kind="flush-inbox", job="another"))
    assert only(book).state == "delivered"


def test_a_webhook_of_which_no_event_counts_is_delivered() -> None:
    book = Book()
    exchange(book, target="/demo/api/v1/webhooks/klaviyo/system", said={"status": "queued", "events": 0})
    assert only(book).state == "delivered"


def test_stories_are_filtered_by_tenant_profile_kind_and_state() -> None:
    book = Book()
    exchange(book)
    exchange(
        book,
        trace="d" * 32,
        target="/acme/api/v1/webhooks/klaviyo/rewards",
        status=400,
        body=b'{"person_id": "01ABCDEFGH"}',
    )
    assert [story.tenant for story in book.newest(Filter(tenant="acme"), 10)] == ["acme"]
    assert [story.tenant for story in book.newest(Filter(profile=" JANE@ "), 10)] == ["demo"]
    assert [story.kind for story in book.newest(Filter(profile="01abcd"), 10)] == ["reward"]
    assert [story.kind for story in book.newest(Filter(kind="event"), 10)] == ["event"]
    assert [story.state for story in book.newest(Filter(state="refused"), 10)] == ["refused"]
    assert book.newest(Filter(tenant="demo", state="refused"), 10) == []


def test_what_changes_is_told_once_and_what_is_no_longer_wanted_is_named() -> None:
    book, queued = Book(), Filter(state="queued")
    exchange(book)
    since = book.changes
    assert book.newest(queued, 10, since=since) == []
    book.line(*done())
    assert book.newest(queued, 10, since=since) == []
    assert book.unwanted(queued, since=since) == [only(book).number]
    assert len(book.newest(EVERY, 10, since=since)) == 1


def test_the_book_is_bounded_however_much_happens() -> None:
    book = Book()
    for number in range(STORIES + 300):
        exchange(book, trace=f"{number:032x}", at=NOON + number)
    assert len(book.newest(EVERY, 10 * STORIES)) == STORIES
    assert book.total == STORIES + 300
    for _ in range(500):
        book.line(*outside(request="none"))
    assert len(only_of(book, TRACE).steps) <= 80


def test_what_is_told_late_of_a_burst_begins_no_story_without_a_beginning() -> None:
    book, burst = Book(), 5 * STORIES
    for number in range(burst):
        exchange(book, trace=f"{number:032x}", at=NOON + number / burst)
    for number in range(burst):
        book.line(
            *done(NOON + 60, **{_TRACE: f"projects/local/traces/{number:032x}", "job": f"job-{number}"})
        )
    assert book.total == burst
    assert {story.title for story in book.newest(EVERY, burst)} == {"An event for Klaviyo"}


def only_of(book: Book, trace: str) -> Story:
    """Return the story of a trace."""
    exchange(book, trace=trace)
    return book.newest(Filter(), 10 * STORIES)[-1]


def test_a_round_of_the_schedule_is_no_story_unless_something_goes_wrong() -> None:
    book = Book()
    book.line(*done(kind="sweep-inbox", job="sweep"))
    assert book.newest(EVERY, 10) == []
    book.line(*done(kind="sweep-inbox", job="sweep", outcome="waiting", reason="the store is away", delay=1))
    assert only(book).state == "waiting"


def test_what_a_page_of_the_console_looks_at_is_no_story() -> None:
    book = Book()
    book.leave_out(TRACE)
    answered = line("call answered", function="admin", status=200)
    book.line(NOON, answered)
    assert book.newest(EVERY, 10) == []
    other = "e" * 32
    book.line(NOON, {**answered, "logging.googleapis.com/trace": f"projects/local/traces/{other}"})
    since = book.changes
    book.leave_out(other)  # the gateway tells of it only once it is answered
    assert book.newest(EVERY, 10) == []
    assert len(book.unwanted(EVERY, since=since)) == 1
    assert book.total == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[" * 50_000, b"null", b"[1, 2]", b'{"error": 3}', b'{"id": 7, "status": "queued"}'],
)
def test_whatever_is_sent_and_answered_makes_a_story(body: bytes) -> None:
    book = Book()
    book.exchange(
        method="POST", target="/demo/api/v1/targets/klaviyo/metric", trace=TRACE, status=500, began_at=NOON, answered_at=NOON,
        sent=Part("Request", "", (), body), answer=Part("Answer", "", (), body),
    )  # fmt: skip
    assert only(book).title


def test_a_line_with_strange_fields_makes_no_harm() -> None:
    book = Book()
    exchange(book)
    book.attempt(attempt())
    book.call(klaviyo())
    for fields in (
        {},
        {"message": 3},
        {"message": "job done"},
        {"message": "call answered"},
        {"message": "outside call"},
    ):
        book.line(NOON + 0.03, fields)
    book.line(*outside())
    book.line(*done())
    (story,) = book.newest(Filter(tenant="demo"), 10)
    assert (story.state, places(story)) == ("delivered", ["Extension", "Queue", "Klaviyo", "Worker"])
    call = klaviyo()
    assert story.in_order()[2].parts == (call.sent, call.answer)  # no strange line has taken it
