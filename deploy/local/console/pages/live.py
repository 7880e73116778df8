"""Live: each call through sandbox and functions as one story, as it happens."""

import json
from collections.abc import Iterator
from functools import partial

from flask import Response, abort, render_template, request, stream_with_context

from deploy.local.console.here import Here
from deploy.local.console.page import Page, here
from deploy.local.console.story import KINDS, STATES, Filter, Story

MOST = 50  # articles on a page at once
EVERY = 0.4  # seconds from one part of the stream to the next, however much happens
_BEAT = 10.0  # seconds after which a stream says something though nothing has happened
_LONGEST = 200  # characters of a filter

page = Page("Live", __name__, at="/")


@page.get("/")
def show() -> str:
    """Show the newest stories; a stream brings later ones."""
    wanted, around = _wanted(), here()
    around.watching.ask()
    stored = around.tenants.names()
    with around.watching.lock:
        book = around.watching.book
        articles = [_article(story, around) for story in book.newest(wanted, MOST)]
        tenants, since, total = book.tenants(), book.changes, book.total
    return page.render(
        "live.html",
        articles=articles,
        wanted=wanted,
        tenants=sorted({*tenants, *stored}),
        kinds=KINDS,
        states=STATES,
        since=since,
        total=total,
        most=MOST,
    )


@page.get("/console/live/stream")
def stream() -> Response:
    """Stream the changes.

    Each part holds the new and changed articles, the newest last; the articles that the filter no longer wants; and the
    number of calls.
    """
    since = request.args.get("since", "0")
    if not since.isdecimal():
        abort(400, "since must be a number")
    parts = _parts(here(), _wanted(), int(since[:18]))
    return Response(stream_with_context(parts), mimetype="text/event-stream")


@page.get("/console/live/stories/<int:number>/<int:step>")
def step(number: int, step: int) -> str:
    """Show the headers and bodies of a step."""
    around = here()
    with around.watching.lock:
        story = around.watching.book.story(number)
        found = next((one for one in story.steps if one.number == step), None) if story else None
    if found is None:
        abort(404, "This call is so long ago that it was forgotten.")
    mask = around.watching.mask
    shown = [
        (part.title, mask.text(part.line), mask.headers(part.headers), mask.body(part.body, part.media_type))
        for part in found.parts
    ]
    # Once more: a secret that a later part has shown stands in an earlier one too.
    again = [(title, mask.text(line), headers, mask.text(body)) for title, line, headers, body in shown]
    return page.render("_step.html", parts=again)


def _wanted() -> Filter:
    asked = {name: request.args.get(name, "")[:_LONGEST] for name in ("tenant", "profile", "kind", "state")}
    return Filter(**asked)


def _parts(around: Here, wanted: Filter, since: int) -> Iterator[str]:
    """Yield the parts of a stream, without an end."""
    watching = around.watching
    yield "retry: 1000\n\n"
    while not watching.stopped:
        watching.ask()
        with watching.lock:
            watching.lock.wait_for(partial(watching.is_news, since), timeout=_BEAT)
            stories = watching.book.newest(wanted, MOST, since=since)
            gone = [_id(number) for number in watching.book.unwanted(wanted, since=since)]
            since, total = watching.book.changes, watching.book.total
            articles = [_told(story, around) for story in reversed(stories)]
        news = {"total": total, "since": since, "articles": articles, "gone": gone}
        yield f"data: {json.dumps(news)}\n\n"
        watching.rest(EVERY)


def _told(story: Story, around: Here) -> dict[str, object]:
    return {"id": _id(story.number), "html": _article(story, around)}


def _id(number: int) -> str:
    return f"story-{number}"


def _article(story: Story, around: Here) -> str:
    return render_template("_story.html", story=story, mask=around.watching.mask.text)
