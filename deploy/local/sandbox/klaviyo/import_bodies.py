"""The bodies that Klaviyo accepts for a bulk import, and whether a problem refuses the whole request or one profile.
It only finds problems.

Klaviyo's pages "Bulk Import Profiles" and "Create or Update Profile", and a recorded refusal of a phone number, which
names the rows so that they can be left out.

Assumed (bad-rows-of-an-import):
an invalid email and a missing identifier are the profile's own; whatever else is wrong with a row, a malformed
phone number and its size among it, refuses the whole request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deploy.local.sandbox.klaviyo import job_bodies
from deploy.local.sandbox.klaviyo.documents import is_identifier
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.events import INVALID_EMAIL
from deploy.local.sandbox.klaviyo.job_bodies import job_in, unknown_fields
from deploy.local.sandbox.klaviyo.profiles import NO_IDENTIFIER, import_problems
from deploy.local.sandbox.klaviyo.profiles import TYPE as PROFILE

TYPE = "profile-bulk-import-job"
MOST_PROFILES = 10_000
ROW = "/data/attributes/profiles/data/{index}"
_ROWS = "/data/attributes/profiles/data"
_LISTS = "/data/relationships/lists"


def envelope_problems(document: Any) -> Iterator[Problem]:
    """Yield every problem with the envelope around the profiles."""
    yield from job_bodies.envelope_problems(document, TYPE, ("profiles",))
    data = job_in(document)
    if data is None:
        return
    profiles = data["attributes"].get("profiles")
    rows = profiles.get("data") if isinstance(profiles, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_PROFILES:
        yield Problem(f"A job is for 1 to {MOST_PROFILES} profiles.", _ROWS)
    yield from _list_problems(data.get("relationships"))


def row_problems(rows: Sequence[Any]) -> tuple[list[Problem], dict[int, Problem]]:
    """Return the problems that refuse the whole request, and by place those that only keep one profile from being imported."""
    refusing: list[Problem] = []
    single: dict[int, Problem] = {}
    for index, row in enumerate(rows):
        for problem in _problems_of_row(row):
            placed = _placed(problem, index)
            if problem == NO_IDENTIFIER or problem.detail == INVALID_EMAIL:
                single.setdefault(index, placed)
            else:
                refusing.append(placed)
    return refusing, single


def named_lists(data: Mapping[str, Any]) -> list[str]:
    """Return the ids of the lists that an acceptable job names, each once."""
    lists = (data.get("relationships") or {}).get("lists") or {}
    return list(dict.fromkeys(row["id"] for row in lists.get("data") or ()))


def _problems_of_row(row: Any) -> Iterator[Problem]:
    if isinstance(row, dict):
        yield from import_problems({"data": row})
    else:
        yield Problem(f"'type' must be '{PROFILE}'.", "/data")


def _placed(problem: Problem, index: int) -> Problem:
    return replace(problem, pointer=ROW.format(index=index) + problem.pointer.removeprefix("/data"))


def _list_problems(related: Any) -> Iterator[Problem]:
    if related is None:
        return
    if not isinstance(related, dict):
        yield Problem("'relationships' must be an object.", "/data/relationships")
        return
    yield from unknown_fields(related, ("lists",), "/data/relationships")
    lists = related.get("lists")
    rows = lists.get("data") if isinstance(lists, dict) else None
    if lists is None:
        return
    if not isinstance(rows, list):
        yield Problem("'lists' must be an object with 'data'.", _LISTS)
        return
    for index, row in enumerate(rows):
        if not is_identifier(row, "list"):
            yield Problem("Name a list by 'type' and 'id'.", f"{_LISTS}/data/{index}")
