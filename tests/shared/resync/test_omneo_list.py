"""Omneo's list read to its end while it changes: nobody who stays is missed, however many were made in one second."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.omneo.client import ProfilesPage
from shared.resync.omneo_list import OmneoList
from shared.resync.rules.place import PAGE_SIZE, START, Place

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Listing:
    """An Omneo whose list changes: profiles by the second in which they were made."""

    def __init__(self, made: list[int]) -> None:
        self.rows = [{"id": f"p{n:05}", "created_at": stamp(at)} for n, at in enumerate(sorted(made))]
        self.calls = 0

    def profiles_page(
        self, number: int, *, made_since: datetime | None, size: int, **named: Any
    ) -> ProfilesPage:
        self.calls += 1
        since = "" if made_since is None else f"{made_since:%Y-%m-%d %H:%M:%S}"
        rows = [row for row in self.rows if row["created_at"] >= since]
        shown = tuple(rows[(number - 1) * size : number * size])
        return ProfilesPage(shown, max(1, -(-len(rows) // size)), len(rows))


def stamp(second: int) -> str:
    """Return a time as Omneo writes it."""
    return f"{BEGIN + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}"


def read_all(omneo: Listing, place: Place = START, between: Any = lambda: None) -> list[str]:
    """Read the list to its end, and let something happen after each page."""
    listed, found = OmneoList(omneo), list[str]()  # type: ignore[arg-type] # of Omneo only this is called
    for _ in range(10_000):
        page = listed.page(place)
        found += [row["id"] for row in page.rows]
        place = page.after
        if place.is_over:
            return found
        between()
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("made", [[0] * 1000, list(range(1000)), [n // 250 for n in range(1000)], [0], []])
def test_a_list_that_stays_is_read_once(made: list[int]) -> None:
    omneo = Listing(made)
    assert read_all(omneo) == [row["id"] for row in omneo.rows]
    assert omneo.calls <= 1 + len(made) / PAGE_SIZE * 1.25


@given(
    made=st.lists(st.integers(0, 6), min_size=1, max_size=700),
    deletions=st.lists(st.integers(0, 40), max_size=12),
    seed=st.integers(0, 1000),
)
def test_whoever_stays_is_read_whoever_goes_meanwhile(
    made: list[int], deletions: list[int], seed: int
) -> None:
    omneo, random, left = Listing(made), Random(seed), list(deletions)

    def go() -> None:
        for _ in range(min(left.pop(), len(omneo.rows)) if left else 0):
            del omneo.rows[random.randrange(len(omneo.rows))]

    found = read_all(omneo, between=go)
    assert {row["id"] for row in omneo.rows} <= set(found)


def test_a_deletion_before_the_place_costs_one_page_again_at_most() -> None:
    omneo = Listing([0] * 600)
    calls = len(read_all(Listing([0] * 600))) and omneo.calls
    found = read_all(omneo, between=lambda: omneo.rows.pop(0))
    assert len(found) == len(set(found))
    assert calls <= omneo.calls <= 9


def test_where_all_that_were_read_last_have_gone_the_second_is_read_again() -> None:
    omneo = Listing([0] * 300)
    place = OmneoList(omneo).page(START).after  # type: ignore[arg-type] # of Omneo only this is called
    del omneo.rows[80:110]
    assert {row["id"] for row in omneo.rows} <= {*read_all(omneo, place), *(f"p{n:05}" for n in range(100))}


def test_the_total_is_what_was_read_and_what_is_left() -> None:
    omneo = Listing([n // 70 for n in range(500)])
    read = 0
    for page in OmneoList(omneo).pages(START):  # type: ignore[arg-type] # of Omneo only this is called
        read += len(page.rows)
        assert read + page.left == 500
    assert read == 500
