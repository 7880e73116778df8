"""Omneo's answers: one row, a page of rows, and Laravel's errors. Nothing here decides which is due.

Omneo's SDK (pagination types) for the pages.

Assumed (words-of-omneo, missing-profile-is-named): the bodies of 404, 405, 409, 429, 5xx and 501.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from deploy.local.sandbox.stage.messages import Answer, Request, json_answer

PAGE_SIZE = 15
LARGEST_PAGE = 100
_MESSAGES = {
    401: "Unauthenticated.",
    403: "This action is unauthorized.",
    404: "Not Found",
    405: "The method is not supported for this route.",
    409: "Conflict",
    429: "Too Many Attempts.",
    501: "The sandbox does not know this filter.",
}


def one(row: object, status: int = 200) -> Answer:
    """Return a single row in its envelope."""
    return json_answer(status, {"data": row})


def error(status: int, **headers: str) -> Answer:
    """Return Laravel's error for `status`."""
    return json_answer(status, {"message": _MESSAGES.get(status, "Server Error")}, **headers)


def missing(thing: str) -> Answer:
    """Return Laravel's 404 for a missing object, which names its class; `error(404)` is for an unknown path."""
    return json_answer(404, {"message": f"No query results for model [App\\Models\\{thing}]."})


def repeated() -> Answer:
    """Return 409 for a reward with an `external_id` that exists already."""
    return json_answer(409, {"message": "The external id has already been taken."})


def invalid(errors: dict[str, list[str]]) -> Answer:
    """Return 422, naming the fields."""
    return json_answer(422, {"message": "The given data was invalid.", "errors": errors})


def page(rows: list[dict[str, Any]], request: Request, url: str) -> Answer:
    """Return the page that the query asks for (`page[size]`, `page[number]` or `page`), of `rows` at `url`."""
    return page_of(len(rows), lambda first, last: rows[first:last], request, url)


def page_of(
    total: int, between: Callable[[int, int], list[dict[str, Any]]], request: Request, url: str
) -> Answer:
    """Return a page as `page` does, of rows that are only counted until those between two places are asked for."""
    asked = request.parameters
    size = max(1, min(LARGEST_PAGE, _number(asked.get("page[size]"), PAGE_SIZE)))
    number = max(1, _number(asked.get("page[number]", asked.get("page")), 1))
    last = max(1, -(-total // size))
    first = (number - 1) * size
    shown = between(first, first + size)

    def link(to: int) -> str | None:
        return f"{url}?{urlencode({**asked, 'page[number]': to})}" if 1 <= to <= last else None

    meta: dict[str, Any] = {
        "current_page": number,
        "from": first + 1 if shown else None,
        "last_page": last,
        "links": [],
        "path": url,
        "per_page": size,
        "to": first + len(shown) if shown else None,
        "total": total,
    }
    links = {"first": link(1), "last": link(last), "prev": link(number - 1), "next": link(number + 1)}
    return json_answer(200, {"data": shown, "links": links, "meta": meta})


def _number(text: str | None, fallback: int) -> int:
    return int(text) if text and text.isdecimal() else fallback
