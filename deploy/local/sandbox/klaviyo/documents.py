"""JSON:API in Klaviyo's form: checks the envelope of every resource, and writes one resource or a page of them.

Klaviyo's pages "API overview" (pagination, self links) and the OpenAPI descriptions of the resources.

Assumed (unknown-attributes-are-400, cursors-are-positions):
an attribute that the reference does not list is 400; null counts as absent; a cursor holds a position in the
list, so what is removed meanwhile shifts it; where it is an id, it is that of the next page's first row, and 400 once that row is gone.
"""

import base64
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from deploy.local.sandbox.klaviyo.errors import MEDIA_TYPE, Problem
from deploy.local.sandbox.stage.messages import Answer, json_answer

Resource = dict[str, Any]
# The rule of a value, and the same in words: "'title' must be ...".
Rule = tuple[Callable[[Any], bool], str]

PAGE_SIZE = 20
LARGEST_PAGE = 100
_ATTRIBUTES = "/data/attributes"


class InvalidParameterError(Exception):
    """A query parameter has a value that it cannot have."""

    def __init__(self, detail: str, parameter: str) -> None:
        super().__init__(detail)
        self.problem = Problem(detail, parameter=parameter)


def problems(
    document: object,
    type: str,
    rules: Mapping[str, Rule],
    *,
    required: Collection[str] = (),
    id: str | None = None,
) -> Iterator[Problem]:
    """Yield the faults of a document of one resource. With an `id`, the resource must have that id."""
    data = yield from data_of(document, type)
    if data is None:
        return
    if id is not None and data.get("id") != id:
        yield Problem("'id' is required and must be the one in the path.", "/data/id")
    attributes = yield from attributes_of(data)
    if attributes is not None:
        yield from _attribute_problems(attributes, type, rules, required)


def data_of(document: object, type: str) -> Generator[Problem, None, dict[str, Any] | None]:
    """Yield the faults of a document's `data` and its type; return `data`, None if it is not an object."""
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        yield Problem("'data' is required and must be an object.", "/data")
        return None
    if data.get("type") != type:
        yield Problem(f"'type' must be '{type}'.", "/data/type")
    return data


def attributes_of(data: Mapping[str, Any]) -> Generator[Problem, None, dict[str, Any] | None]:
    """Yield the faults of the attributes of a document's `data`; return them, None if they are not an object."""
    attributes = data.get("attributes")
    if not isinstance(attributes, dict):
        yield Problem("'attributes' is required and must be an object.", _ATTRIBUTES)
        return None
    return attributes


def _attribute_problems(
    attributes: Mapping[str, Any], type: str, rules: Mapping[str, Rule], required: Collection[str]
) -> Iterator[Problem]:
    for name in attributes:
        if name not in rules:
            yield Problem(
                f"'{name}' is not a valid field for the resource '{type}'.", f"{_ATTRIBUTES}/{name}"
            )
    for name, (fits, expected) in rules.items():
        value = attributes.get(name)
        if value is None and name in required:
            yield Problem(f"'{name}' is required.", f"{_ATTRIBUTES}/{name}")
        elif value is not None and not fits(value):
            yield Problem(f"'{name}' must be {expected}.", f"{_ATTRIBUTES}/{name}")


def given(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an acceptable document that are not null."""
    return {name: value for name, value in document["data"]["attributes"].items() if value is not None}


def one(resource: Resource, *, status: int = 200, included: list[Resource] | None = None) -> Answer:
    """Return a single resource."""
    whole: dict[str, Any] = {"data": resource, "links": {"self": resource["links"]["self"]}}
    return json_answer(status, whole | _included(included), media_type=MEDIA_TYPE)


def everything(resources: list[Resource], url: str, *, included: list[Resource] | None = None) -> Answer:
    """Return a list that has no pages, found at `url`."""
    links = {"self": url, "next": None, "prev": None}
    return json_answer(200, {"data": resources, "links": links} | _included(included), media_type=MEDIA_TYPE)


def page(
    rows: Sequence[Any],
    url: str,
    parameters: Mapping[str, str],
    *,
    size: int = PAGE_SIZE,
    largest: int = LARGEST_PAGE,
    by_id: bool = False,
    show: Callable[[Any], Resource] = lambda row: row,
    include: Callable[[list[Resource]], list[Resource] | None] = lambda rows: None,
) -> Answer:
    """Return the page of `page[cursor]`, with `page[size]` rows or else `size`, and the resources of `include`. `show`
    turns a row of this page into a resource. With `by_id`, the rows are resources already, and a cursor is the id of
    the page's first one. Raises: InvalidParameterError: a parameter is not allowed.
    """
    size_text = parameters.get("page[size]", str(size))
    if not size_text.isdecimal() or not 1 <= int(size_text) <= largest:
        raise InvalidParameterError(f"Page size must be between 1 and {largest}.", "page[size]")
    cursor = parameters.get("page[cursor]")
    size, first = int(size_text), _place_of(cursor, rows) if by_id else _position(cursor)

    def link(to: int) -> str:
        cursor = rows[to]["id"] if by_id else _cursor(to)
        return f"{url}?{urlencode({**parameters, 'page[cursor]': cursor})}"

    links = {
        "self": f"{url}?{urlencode(parameters)}" if parameters else url,
        "next": link(first + size) if first + size < len(rows) else None,
        "prev": link(max(0, first - size)) if first else None,
    }
    resources = [show(row) for row in rows[first : first + size]]
    whole = {"data": resources, "links": links} | _included(include(resources))
    return json_answer(200, whole, media_type=MEDIA_TYPE)


def iso(seconds: float) -> str:
    """Return Unix seconds as most of Klaviyo's attributes write a time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def is_identifier(row: object, type: str) -> bool:
    """Return whether a row names one resource of the type by its id."""
    return isinstance(row, dict) and row.get("type") == type and isinstance(row.get("id"), str)


def _included(resources: list[Resource] | None) -> dict[str, Any]:
    return {} if resources is None else {"included": resources}


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f"next::position::{position}".encode()).decode()


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        head, _, position = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().rpartition("::")
        if head == "next::position":
            return int(position)
    except ValueError:
        pass  # the same refusal as for a cursor that says something else
    raise _invalid_cursor()


def _place_of(cursor: str | None, rows: Sequence[Resource]) -> int:
    if cursor is None:
        return 0
    place = next((place for place, row in enumerate(rows) if row["id"] == cursor), None)
    if place is None:
        raise _invalid_cursor()
    return place


def _invalid_cursor() -> InvalidParameterError:
    return InvalidParameterError("Invalid page cursor.", "page[cursor]")
