"""The queries of Omneo's `GET /profiles`: its orders, its filters, and its refusals.

Omneo's SDK: `sort=-created_at`, `filter[<field>][gte]=v` and its like, times as `Y-m-d H:i:s` in UTC.

Assumed (omneos-orders-and-filters, profiles-by-time-made):
it can be sorted by created_at, updated_at and id, the times turned round as well; without a `sort` profiles come
in the order of their making; an order or filter unknown here is 501, because ignoring it would return the wrong rows; a
time that is none is 422; filters all have to hold.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from deploy.local.sandbox.omneo.answers import error, invalid, page_of
from deploy.local.sandbox.omneo.directory import COMPARE, Profiles, Query
from deploy.local.sandbox.stage.messages import Answer, Request

_SORTS = ("", "created_at", "-created_at", "updated_at", "-updated_at", "id")
_TIMES = ("created_at", "updated_at")
_FILTER = re.compile(r"filter\[(\w+)\](?:\[(\w+)\])?")
_TIME = "%Y-%m-%d %H:%M:%S"


class UnknownQueryError(Exception):
    """The sandbox does not know the order or a filter."""


class InvalidTimeError(Exception):
    """A filter's time is none. `name` is the parameter."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def list_profiles(profiles: Profiles, request: Request, url: str, *, turned_round: bool = False) -> Answer:
    """Return the page of profiles that the request asks for, in the other order if it is `turned_round`."""
    try:
        wanted = query(request.parameters)
        if turned_round:
            wanted = replace(wanted, descending=not wanted.descending)
        found = profiles.find(wanted)
    except UnknownQueryError:
        return error(501)
    except InvalidTimeError as wrong:
        return invalid({wrong.name: [f"The {wrong.name} does not match the format Y-m-d H:i:s."]})
    return page_of(found.total, found.between, request, url)


def query(parameters: Mapping[str, str]) -> Query:
    """Return what the parameters ask for.

    Raises:
        UnknownQueryError: an order or a filter that is not known here.
        InvalidTimeError: a filter by a time with something else.
    """
    sort = parameters.get("sort", "")
    if sort not in _SORTS:
        raise UnknownQueryError
    exact: dict[str, str] = {}
    spans: dict[str, dict[str, str]] = {}
    for name, value in parameters.items():
        if not name.startswith("filter["):
            continue
        field, operator = _named(name)
        if field in _TIMES and operator in COMPARE:
            spans.setdefault(field, {})[operator] = _time(name, value)
        elif field in ("email", "profile_type") and operator == "eq":
            exact[field] = value
        else:
            raise UnknownQueryError
    return Query(sort.removeprefix("-"), sort.startswith("-"), **exact, spans=spans)


def _named(parameter: str) -> tuple[str, str]:
    match = _FILTER.fullmatch(parameter)
    if match is None:
        raise UnknownQueryError
    return match[1], match[2] or "eq"


def _time(name: str, value: str) -> str:
    try:
        return datetime.strptime(value, _TIME).strftime(_TIME)  # noqa: DTZ007 (Omneo writes UTC without a zone)
    except ValueError as error:
        raise InvalidTimeError(name) from error
